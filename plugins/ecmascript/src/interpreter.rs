//! QuickJS: made once, before the plugin's file is written, and then the life of one program.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{block_on, serde_json};
use rquickjs::context::EvalOptions;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::promise::PromiseState;
use rquickjs::{
    Array, ArrayBuffer, Context, Ctx, Function, Module, Object, Persistent, Promise, Runtime, qjs,
};

use crate::exception::Thrown;
use crate::work::{self, Done, Driver, Event};
use crate::{Ran, Run, natives, time};

/// The name of the program in stacks.
pub(crate) const MAIN: &str = "code";

/// Inputs that are not there.
const NO_INPUTS: &str = "{}";

/// How much of the stack a program may use before it gets a `RangeError`; below what the host gives
/// an instance, with room for what stands above it.
const STACK_BYTES: usize = 400 << 10;

/// How much QuickJS allocates before it looks for cycles: more than most programs ever take, and a
/// quarter of the memory that a call has by default.
const GC_THRESHOLD: usize = 16 << 20;

/// The prelude's parts, in the order in which they stand on each other.
const PARTS: [(&str, &str); 8] = [
    ("format", include_str!("prelude/format.js")),
    ("console", include_str!("prelude/console.js")),
    ("async", include_str!("prelude/async.js")),
    ("random", include_str!("prelude/random.js")),
    ("encoding", include_str!("prelude/encoding.js")),
    ("fetch", include_str!("prelude/fetch.js")),
    ("files", include_str!("prelude/files.js")),
    ("tools", include_str!("prelude/tools.js")),
];

type Js<T> = rquickjs::Result<T>;
type Kept<T> = Persistent<T>;

thread_local! {
    static INTERPRETER: RefCell<Option<Interpreter>> = const { RefCell::new(None) };
    /// Promises that were rejected and that nobody has looked at, with what they were rejected with.
    static REJECTED: RefCell<Vec<(Kept<rquickjs::Value<'static>>, Kept<rquickjs::Value<'static>>)>> =
        const { RefCell::new(Vec::new()) };
}

struct Interpreter {
    /// Whether a program has run in this instance.
    used: Cell<bool>,
    // The order of the fields is the order in which they go.
    hooks: Hooks,
    context: Context,
    _runtime: Runtime,
}

/// The functions of the prelude.
struct Hooks {
    begin: Kept<Function<'static>>,
    call: Kept<Function<'static>>,
    error: Kept<Function<'static>>,
    fire: Kept<Function<'static>>,
    is_async: Kept<Function<'static>>,
    plain: Kept<Function<'static>>,
    settle: Kept<Function<'static>>,
    thrown: Kept<Function<'static>>,
}

/// Makes the interpreter: what is run before the plugin's file is written.
///
/// # Panics
/// The prelude does not work: a fault of this plugin, seen when it is built.
pub(crate) fn start() {
    INTERPRETER.set(Some(Interpreter::new().unwrap_or_else(|error| panic!("{error}"))));
}

/// Runs a program.
///
/// # Errors
/// `exception` with what it has thrown; `bad-arguments` where its inputs cannot be bound.
pub(crate) fn run(run: Run) -> Result<Output<Ran>> {
    time::live();
    if INTERPRETER.with_borrow(Option::is_none) {
        start();
    }
    let Run { code, inputs, modules, max_bytes, main, .. } = run;
    work::begin(max_bytes as usize, modules);
    REJECTED.with_borrow_mut(Vec::clear);
    let program = Program {
        code: code.unwrap_or_default(),
        inputs: Value::Object(inputs).to_string(),
        max_bytes,
        wants_main: main,
    };
    INTERPRETER.with_borrow(|interpreter| match interpreter {
        Some(interpreter) => interpreter.run(&program),
        None => Err(Error::internal("the interpreter was not made")),
    })
}

/// An error of the host as JavaScript sees it.
///
/// # Errors
/// The prelude has thrown.
pub(crate) fn error<'js>(ctx: &Ctx<'js>, error: &Error) -> Js<rquickjs::Value<'js>> {
    INTERPRETER.with_borrow(|interpreter| match interpreter {
        Some(interpreter) => {
            let hook = interpreter.hooks.error.clone().restore(ctx)?;
            hook.call((natives::error_json(error),))
        }
        None => Err(rquickjs::Error::Unknown),
    })
}

/// The function `main` that programs have defined.
fn main<'js>(ctx: &Ctx<'js>) -> Js<Option<Function<'js>>> {
    let main: rquickjs::Value<'js> = ctx.globals().get("main")?;
    Ok(main.into_function())
}

/// A program and what it is given.
struct Program {
    code: String,
    /// A JSON object.
    inputs: String,
    max_bytes: u32,
    wants_main: bool,
}

/// Why a program has no result.
enum Failure {
    Thrown(Thrown),
    Refused(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Refused(error)
    }
}

/// Where a program's value is to be found once its promise is settled.
enum Source {
    Script(Kept<Promise<'static>>),
    /// With the namespace of the module.
    Module(Kept<Object<'static>>, Kept<Promise<'static>>),
}

impl Interpreter {
    fn new() -> Result<Interpreter, String> {
        let failed = |error: rquickjs::Error| error.to_string();
        let runtime = Runtime::new().map_err(failed)?;
        runtime.set_max_stack_size(STACK_BYTES);
        runtime.set_gc_threshold(GC_THRESHOLD);
        runtime.set_loader(Sources, Sources);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(note_rejection)));
        let context = Context::full(&runtime).map_err(failed)?;
        let hooks = context.with(|ctx| {
            let hooks = Hooks::new(&ctx).map_err(|error| {
                let thrown = ctx.catch();
                let exception = thrown.as_exception();
                let message = exception.and_then(|exception| exception.message());
                let stack = exception.and_then(|exception| exception.stack());
                format!("{error}: {} {}", message.unwrap_or_default(), stack.unwrap_or_default())
            })?;
            // What the first program would have to make.
            let warm = ctx.eval::<i32, _>("1 + 1").map_err(failed)?;
            if warm == 2 { Ok(hooks) } else { Err("1 + 1 is not 2".to_owned()) }
        })?;
        runtime.run_gc();
        Ok(Interpreter { used: Cell::new(false), hooks, context, _runtime: runtime })
    }

    fn run(&self, program: &Program) -> Result<Output<Ran>> {
        let ended = self.evaluate(program);
        let (console, mut cuts) = work::with(|work| (work.console(), work.cuts()));
        let value = match ended {
            Ok(value) => value,
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Thrown(thrown)) => {
                let is_module = |name: &str| work::with(|work| work.modules.contains_key(name));
                return Err(thrown.error(console, is_module));
            }
        };
        let (result, more) = value;
        cuts.splice(0..0, more);
        let (blocks, files) = work::with(|work| work.blocks());
        let truncated = !cuts.is_empty();
        let ran = Ran { result, console, cut: cuts, files, declarations: None };
        let output = Output { blocks, ..Output::new(ran) };
        Ok(output.with_truncated(truncated))
    }

    /// Runs the program to its end and gives its result as JSON, with what was cut of it.
    fn evaluate(&self, program: &Program) -> Result<(Option<Value>, Vec<String>), Failure> {
        let source = self.with(|ctx| {
            // In a fresh instance there is none yet.
            let before = if self.used.get() { main(&ctx)? } else { None };
            Ok((self.begin(&ctx, program)?, before.map(|main| Persistent::save(&ctx, main))))
        })?;
        let (source, before) = source;
        let mut driver = Driver::default();
        self.settle(&mut driver, source.promise())?;
        let (mut value, called) = self.with(|ctx| {
            let value = source.value(&ctx)?;
            let main = if value.is_undefined() || program.wants_main { main(&ctx)? } else { None };
            let before = before.map(|before| before.restore(&ctx)).transpose()?;
            let main = main.filter(|main| program.wants_main || before.as_ref() != Some(main));
            let Some(main) = main else {
                if program.wants_main {
                    let message = "No main function found at root level";
                    return Err(Error::bad_arguments(message).into());
                }
                return Ok((Persistent::save(&ctx, value), false));
            };
            let is_async = self.hooks.is_async.clone().restore(&ctx)?;
            if program.wants_main && !is_async.call::<_, bool>((main.clone(),))? {
                let message = "Main function exists but is not async";
                return Err(Error::bad_arguments(message).into());
            }
            let call = self.hooks.call.clone().restore(&ctx)?;
            let value: rquickjs::Value<'_> = call.call((main, program.inputs.as_str()))?;
            Ok((Persistent::save(&ctx, value), true))
        })?;
        // The promise of an `async` function that was called last, of a tool, of a request.
        let promise = self.with(|ctx| {
            let promise = value.clone().restore(&ctx)?.into_promise();
            Ok(promise.map(|promise| Persistent::save(&ctx, promise)))
        })?;
        if let Some(promise) = promise {
            self.settle(&mut driver, &promise)?;
            value = self.with(|ctx| {
                let promise = promise.restore(&ctx)?;
                let settled = promise.result::<rquickjs::Value<'_>>();
                let value = settled.unwrap_or(Err(rquickjs::Error::WouldBlock))?;
                Ok(Persistent::save(&ctx, value))
            })?;
        } else if called {
            self.jobs();
        }
        self.rest(&mut driver)?;
        self.with(|ctx| {
            let value = value.restore(&ctx)?;
            self.result(&ctx, value, program.max_bytes)
        })
    }

    /// Works in the interpreter; what is thrown becomes a failure.
    fn with<T>(
        &self,
        work: impl for<'js> FnOnce(Ctx<'js>) -> Result<T, Stop>,
    ) -> Result<T, Failure> {
        self.context.with(|ctx| {
            // SAFETY: the runtime is alive. Where the stack begins may differ between calls.
            unsafe { qjs::JS_UpdateStackTop(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) };
            work(ctx.clone()).map_err(|stop| match stop {
                Stop::Refused(error) => Failure::Refused(error),
                Stop::Js(rquickjs::Error::Exception) => {
                    let thrown = ctx.catch();
                    Failure::Thrown(self.thrown(&ctx, thrown))
                }
                Stop::Js(error) => Failure::Thrown(Thrown::internal(error.to_string())),
            })
        })
    }

    /// Binds the inputs and begins the program.
    fn begin<'js>(&self, ctx: &Ctx<'js>, program: &Program) -> Result<Source, Stop> {
        if self.used.replace(true) || program.inputs != NO_INPUTS {
            let begin = self.hooks.begin.clone().restore(ctx)?;
            let wrong: Option<String> = begin.call((program.inputs.as_str(),))?;
            if let Some(wrong) = wrong {
                return Err(Error::bad_arguments(wrong).into());
            }
        } else {
            // All there is to do for most programs, without running any JavaScript.
            ctx.globals().set("inputs", Object::new(ctx.clone())?)?;
        }
        let mut options = EvalOptions::default();
        options.strict = false;
        options.promise = true;
        options.filename = Some(MAIN.to_owned());
        // What fails at once is no script: all that happens later is in the promise.
        match ctx.eval_with_options::<Promise<'js>, _>(program.code.as_str(), options) {
            Ok(promise) => Ok(Source::Script(Persistent::save(ctx, promise))),
            Err(rquickjs::Error::Exception) if has_module_syntax(&program.code) => {
                drop(ctx.catch());
                let module = Module::declare(ctx.clone(), MAIN, program.code.as_str())?;
                let (module, promise) = module.eval()?;
                let namespace = Persistent::save(ctx, module.namespace()?);
                Ok(Source::Module(namespace, Persistent::save(ctx, promise)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs what is ready to run.
    fn jobs(&self) {
        self.context.with(|ctx| while ctx.execute_pending_job() {});
    }

    /// Drives the program until a promise is settled; what it was rejected with is a failure.
    fn settle(&self, driver: &mut Driver, promise: &Kept<Promise<'static>>) -> Result<(), Failure> {
        let state = || {
            self.jobs();
            self.with(|ctx| Ok(promise.clone().restore(&ctx)?.state()))
        };
        while matches!(state()?, PromiseState::Pending) {
            let Some(event) = block_on(driver.next(true)) else {
                let message = "the program waits for a promise that nothing will settle";
                return Err(Failure::Thrown(Thrown::internal(message.into())));
            };
            self.handle(event)?;
        }
        self.with(|ctx| {
            let promise = promise.clone().restore(&ctx)?;
            let settled = promise.result::<rquickjs::Value<'_>>();
            settled.unwrap_or(Err(rquickjs::Error::WouldBlock)).map(drop).map_err(Stop::from)
        })
    }

    /// Lets what was begun and not awaited come to its end; then what was rejected and that nobody
    /// has looked at is a failure.
    fn rest(&self, driver: &mut Driver) -> Result<(), Failure> {
        loop {
            self.jobs();
            if driver.is_idle() {
                break;
            }
            let Some(event) = block_on(driver.next(false)) else { break };
            self.handle(event)?;
        }
        let rejected = REJECTED.with_borrow_mut(|rejected| rejected.drain(..).next());
        match rejected {
            None => Ok(()),
            Some((_, reason)) => self.with(|ctx| {
                let reason = reason.restore(&ctx)?;
                Err(ctx.throw(reason).into())
            }),
        }
    }

    fn handle(&self, event: Event) -> Result<(), Failure> {
        self.with(|ctx| {
            match event {
                Event::Timer(id) => self.hooks.fire.clone().restore(&ctx)?.call::<_, ()>((id,))?,
                Event::Settled(id, done) => {
                    let settle = self.hooks.settle.clone().restore(&ctx)?;
                    match done {
                        Done::Text(text) => settle.call::<_, ()>((id, false, text))?,
                        Done::Bytes(bytes) => {
                            let bytes = ArrayBuffer::new_copy(ctx.clone(), bytes)?;
                            settle.call::<_, ()>((id, false, bytes))?;
                        }
                        Done::Failed(error) => {
                            settle.call::<_, ()>((id, true, natives::error_json(&error)))?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// The JSON of a result and what was cut of it.
    fn result<'js>(
        &self,
        ctx: &Ctx<'js>,
        value: rquickjs::Value<'js>,
        max_bytes: u32,
    ) -> Result<(Option<Value>, Vec<String>), Stop> {
        if value.is_undefined() {
            return Ok((None, Vec::new()));
        }
        if let Some(number) = value.as_int() {
            return Ok((Some(number.into()), Vec::new()));
        }
        let plain = self.hooks.plain.clone().restore(ctx)?;
        let written: Array<'js> = plain.call((value, max_bytes, "result"))?;
        let json: String = written.get(0)?;
        let cuts = (1..written.len()).map(|at| written.get(at)).collect::<Js<Vec<String>>>()?;
        let value = serde_json::from_str(&json)
            .map_err(|error| Error::internal(format!("the result is no JSON: {error}")))?;
        Ok((Some(value), cuts))
    }

    fn thrown<'js>(&self, ctx: &Ctx<'js>, value: rquickjs::Value<'js>) -> Thrown {
        let read = || -> Js<Thrown> {
            let thrown = self.hooks.thrown.clone().restore(ctx)?;
            let parts: Array<'js> = thrown.call((value,))?;
            Ok(Thrown {
                name: parts.get::<natives::Text>(0)?.0,
                message: parts.get::<natives::Text>(1)?.0,
                stack: parts.get::<natives::Text>(2)?.0,
                tool: parts.get(3)?,
            })
        };
        read().unwrap_or_else(|error| {
            // The program is out of memory or of stack, or has broken what shows an error.
            drop(ctx.catch());
            Thrown::internal(format!("something was thrown that cannot be shown: {error}"))
        })
    }
}

/// Why work in the interpreter stops.
enum Stop {
    Js(rquickjs::Error),
    Refused(Error),
}

impl From<rquickjs::Error> for Stop {
    fn from(error: rquickjs::Error) -> Stop {
        Stop::Js(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

impl Source {
    fn promise(&self) -> &Kept<Promise<'static>> {
        match self {
            Source::Script(promise) | Source::Module(_, promise) => promise,
        }
    }

    /// The value of a program that has come to its end.
    fn value<'js>(self, ctx: &Ctx<'js>) -> Js<rquickjs::Value<'js>> {
        match self {
            Source::Script(promise) => {
                let settled = promise.restore(ctx)?.result::<Object<'js>>();
                settled.unwrap_or(Err(rquickjs::Error::WouldBlock))?.get("value")
            }
            Source::Module(namespace, _) => namespace.restore(ctx)?.get("default"),
        }
    }
}

impl Hooks {
    fn new(ctx: &Ctx<'_>) -> Js<Hooks> {
        let script = |name: &str, source: &str| {
            let mut options = EvalOptions::default();
            options.filename = Some(format!("ampoule:{name}"));
            ctx.eval_with_options::<Function<'_>, _>(source, options)
        };
        let parts = Array::new(ctx.clone())?;
        for (at, (name, source)) in PARTS.into_iter().enumerate() {
            parts.set(at, script(name, &wrapped(source))?)?;
        }
        let main = script("main", &wrapped(include_str!("prelude/main.js")))?;
        let hooks: Object<'_> = main.call((natives::host(ctx)?, parts))?;
        let hook = |name: &str| -> Js<Kept<Function<'static>>> {
            Ok(Persistent::save(ctx, hooks.get::<_, Function<'_>>(name)?))
        };
        Ok(Hooks {
            begin: hook("begin")?,
            call: hook("call")?,
            error: hook("error")?,
            fire: hook("fire")?,
            is_async: hook("isAsync")?,
            plain: hook("plain")?,
            settle: hook("settle")?,
            thrown: hook("thrown")?,
        })
    }
}

/// A part of the prelude, which is an arrow function after its comment, as an expression.
fn wrapped(source: &str) -> String {
    let mut script = String::with_capacity(source.len() + 2);
    let _ = write!(script, "({}\n)", source.trim_end());
    script
}

/// Keeps promises that are rejected until somebody looks at them.
fn note_rejection<'js>(
    ctx: Ctx<'js>,
    promise: rquickjs::Value<'js>,
    reason: rquickjs::Value<'js>,
    is_handled: bool,
) {
    REJECTED.with_borrow_mut(|rejected| {
        if is_handled {
            rejected.retain(|(other, _)| {
                other.clone().restore(&ctx).is_ok_and(|other| other.as_raw() != promise.as_raw())
            });
        } else if rejected.len() < 100 {
            rejected.push((Persistent::save(&ctx, promise), Persistent::save(&ctx, reason)));
        }
    });
}

/// Whether a line begins as only modules do.
fn has_module_syntax(code: &str) -> bool {
    code.lines().any(|line| {
        let line = line.trim_start();
        ["import", "export"].iter().any(|word| {
            let rest = line.strip_prefix(word);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    })
}

/// Finds the modules that a call brings with it.
struct Sources;

impl Resolver for Sources {
    fn resolve<'js>(
        &mut self,
        _ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Js<String> {
        work::with(|work| {
            let plain = name.strip_prefix("./").unwrap_or(name);
            let stem = plain.strip_suffix(".js").unwrap_or(plain);
            let found = [name, plain, stem].into_iter().find(|n| work.modules.contains_key(*n));
            match found {
                Some(found) => Ok(found.to_owned()),
                None => {
                    let names: Vec<&str> = work.modules.keys().map(String::as_str).collect();
                    let hint = match names.as_slice() {
                        [] => "the call brings no `modules`".to_owned(),
                        names => format!("there are {}", names.join(", ")),
                    };
                    Err(rquickjs::Error::new_resolving_message(base, name, hint))
                }
            }
        })
    }
}

impl Loader for Sources {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        attributes: Option<ImportAttributes<'js>>,
    ) -> Js<Module<'js, Declared>> {
        let Some(source) = work::with(|work| work.modules.get(name).cloned()) else {
            return Err(rquickjs::Error::new_loading(name));
        };
        let json = match attributes {
            Some(attributes) => attributes.get_type()?.as_deref() == Some("json"),
            None => false,
        };
        let source = if json { format!("export default ({source});") } else { source };
        Module::declare(ctx.clone(), name, source)
    }
}
