//! Runs Test262 (the conformance suite of ECMAScript) through the plugin `ecmascript` and through the
//! same QuickJS-ng compiled for this machine, and prints what passes of each part.
//!
//! ```console
//! $ cargo xtask test262 PATH/TO/test262
//! ```
//!
//! Parts: `test/language` and `test/built-ins`. A test runs in strict and in sloppy mode, as its
//! front matter has it, and passes where both do. Left out, in both columns: tests that need the
//! host-defined object `$262` (other realms, agents, detaching buffers), and those of features that
//! are not part of ECMAScript 2025.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program for people, and a surprise should stop it"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ampoule::{Call, End, Host};
use ampoule_testing::Suite;
use futures::StreamExt as _;
use rquickjs::loader::{BuiltinLoader, BuiltinResolver};
use rquickjs::{CatchResultExt as _, CaughtError, Context, Function, Module, Runtime};
use serde::Deserialize;
use serde_json::json;

/// What the catalogue of plugins says of a run of all parts.
const FIGURES: &str = "plugins/ecmascript/tests/test262.json";

/// Features that ECMAScript 2025 does not have, by their names in the suite.
const LATER: &[&str] = &[
    "Atomics.pause",
    "Array.fromAsync",
    "Error.isError",
    "Math.sumPrecise",
    "ShadowRealm",
    "Temporal",
    "canonical-tz",
    "decorators",
    "explicit-resource-management",
    "immutable-arraybuffer",
    "import-bytes",
    "import-defer",
    "import-text",
    "iterator-sequencing",
    "joint-iteration",
    "json-parse-with-source",
    "legacy-regexp",
    "nonextensible-applies-to-private",
    "source-phase-imports",
    "source-phase-imports-module-source",
    "uint8array-base64",
    "upsert",
    "await-dictionary",
    "SharedArrayBuffer",
    "Atomics",
    "IsHTMLDDA",
    "cross-realm",
    "caller",
    "tail-call-optimization",
    "host-gc-required",
];

/// What the front matter of a test says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    flags: Vec<String>,
    includes: Vec<String>,
    features: Vec<String>,
    negative: Option<Negative>,
}

#[derive(Deserialize)]
struct Negative {
    phase: String,
    r#type: String,
}

/// A test in one mode.
struct Run {
    code: String,
    modules: BTreeMap<String, String>,
    is_module: bool,
    is_async: bool,
    /// The error it must end with.
    error: Option<String>,
}

/// How many of a part's tests pass.
#[derive(Default)]
struct Tally {
    tests: usize,
    plugin: usize,
    native: usize,
    left_out: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(root) =
        arguments.first().map(PathBuf::from).filter(|root| root.join("harness").is_dir())
    else {
        eprintln!(
            "usage: test262 PATH [PART …]; PATH is a checkout of the suite, which holds `harness`"
        );
        std::process::exit(2);
    };
    let parts = match &arguments[1..] {
        [] => vec!["test/language".to_owned(), "test/built-ins".to_owned()],
        parts => parts.to_vec(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = runtime.block_on(ampoule_tests::host(
        "plugins = [\"PLUGINS/ecmascript.wasm\"]\n[bindings.ecmascript]\nlimits = { fuel = \"5G\" }",
    ));
    let mut files = Vec::new();
    for part in &parts {
        collect(&root.join(part), &mut files);
    }
    files.sort();
    let started = Instant::now();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut differ = Vec::new();
    let results = runtime.block_on(
        futures::stream::iter(files.iter().map(|file| test(&host, &root, file)))
            .buffered(4)
            .collect::<Vec<_>>(),
    );
    for (file, result) in files.iter().zip(results) {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        let part = name.split('/').take(3).collect::<Vec<_>>().join("/");
        let tally = tallies.entry(part).or_default();
        match result {
            None => tally.left_out += 1,
            Some((plugin, native)) => {
                tally.tests += 1;
                tally.plugin += usize::from(plugin.is_ok());
                tally.native += usize::from(native.is_ok());
                if plugin.is_ok() != native.is_ok() {
                    let why = plugin.err().or(native.err()).unwrap_or_default();
                    differ.push(format!("{name}: {}", why.chars().take(160).collect::<String>()));
                }
            }
        }
    }
    println!("{:<40} {:>8} {:>8} {:>8} {:>9}", "part", "tests", "plugin", "native", "left out");
    let mut all = Tally::default();
    for (part, tally) in &tallies {
        line(part, tally);
        all.tests += tally.tests;
        all.plugin += tally.plugin;
        all.native += tally.native;
        all.left_out += tally.left_out;
    }
    line("all", &all);
    let share = |count: usize| 100.0 * count as f64 / all.tests.max(1) as f64;
    println!(
        "\nplugin {:.2} %, native {:.2} %; {} tests end differently; {:.0} s",
        share(all.plugin),
        share(all.native),
        differ.len(),
        started.elapsed().as_secs_f64()
    );
    for one in differ.iter().take(60) {
        println!("  {one}");
    }
    if arguments.len() == 1 {
        let ran = Suite::read(Path::new(FIGURES)).unwrap().ran.unwrap();
        let found = (all.plugin, all.tests - all.plugin, all.left_out);
        if found != (ran.passed, ran.failed, ran.skipped) {
            eprintln!("{FIGURES} says otherwise: passed, failed and left out are {found:?}");
            std::process::exit(1);
        }
    }
}

fn line(part: &str, tally: &Tally) {
    let Tally { tests, plugin, native, left_out } = tally;
    println!("{part:<40} {tests:>8} {plugin:>8} {native:>8} {left_out:>9}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy();
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".js") && !name.contains("_FIXTURE") {
            files.push(path);
        }
    }
}

type Verdict = Result<(), String>;

/// Both verdicts on a test; none where it is left out.
async fn test(host: &Host, root: &Path, file: &Path) -> Option<(Verdict, Verdict)> {
    let source = std::fs::read_to_string(file).ok()?;
    let meta: Meta = source
        .split_once("/*---")
        .and_then(|(_, rest)| rest.split_once("---*/"))
        .and_then(|(yaml, _)| serde_norway::from_str(&yaml.replace('\r', "\n")).ok())?;
    let later = meta.features.iter().any(|feature| LATER.contains(&feature.as_str()));
    if later || source.contains("$262") || meta.includes.iter().any(|i| i == "detachArrayBuffer.js")
    {
        return None;
    }
    let (mut plugin, mut native) = (Ok(()), Ok(()));
    for run in runs(root, file, &source, &meta) {
        if plugin.is_ok() {
            plugin = in_plugin(host, &run).await;
        }
        if native.is_ok() {
            native = natively(&run);
        }
    }
    Some((plugin, native))
}

fn runs(root: &Path, file: &Path, source: &str, meta: &Meta) -> Vec<Run> {
    let flag = |name: &str| meta.flags.iter().any(|flag| flag == name);
    let mut harness = String::new();
    if !flag("raw") {
        let own = ["assert.js", "sta.js"].into_iter().map(str::to_owned);
        let done = flag("async").then(|| "doneprintHandle.js".to_owned());
        for include in own.chain(done).chain(meta.includes.iter().cloned()) {
            harness +=
                &std::fs::read_to_string(root.join("harness").join(include)).unwrap_or_default();
            harness.push('\n');
        }
    }
    let is_module = flag("module");
    let mut modules = BTreeMap::new();
    if is_module || source.contains("import") {
        for entry in std::fs::read_dir(file.parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_file() && (source.contains(&name) || name.contains("_FIXTURE")) {
                modules.insert(name, std::fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let both = !is_module && !flag("raw") && !flag("onlyStrict") && !flag("noStrict");
    let strict: &[bool] = match both {
        true => &[false, true],
        false if flag("onlyStrict") => &[true],
        false => &[false],
    };
    let one = |strict: &bool| Run {
        code: match strict {
            true => format!("\"use strict\";\nvar print = console.log;\n{harness}{source}"),
            false if flag("raw") => source.to_owned(),
            false => format!("var print = console.log;\n{harness}{source}"),
        },
        modules: modules.clone(),
        is_module,
        is_async: flag("async"),
        error: meta.negative.as_ref().map(|negative| match negative.phase.as_str() {
            "parse" | "resolution" => "SyntaxError".to_owned(),
            _ => negative.r#type.clone(),
        }),
    };
    strict.iter().map(one).collect()
}

/// What a run that has ended says of the test.
fn judge(run: &Run, error: Option<(String, String)>, printed: &[String]) -> Verdict {
    match (&run.error, error) {
        (Some(wanted), Some((name, message))) => match &name == wanted {
            true => Ok(()),
            false => Err(format!("{name}: {message} instead of {wanted}")),
        },
        (Some(wanted), None) => Err(format!("no {wanted}")),
        (None, Some((name, message))) => Err(format!("{name}: {message}")),
        (None, None) if run.is_async => {
            match printed.iter().any(|line| line == "Test262:AsyncTestComplete") {
                true => Ok(()),
                false => Err(format!("never done: {printed:?}")),
            }
        }
        (None, None) => Ok(()),
    }
}

async fn in_plugin(host: &Host, run: &Run) -> Verdict {
    // A module is told by its syntax; one that has none is made to have some.
    let code = match run.is_module {
        true => format!("{}\nexport {{}};", run.code),
        false => run.code.clone(),
    };
    let arguments = json!({ "code": code, "modules": run.modules });
    let outcome = host.call(Call::new("ecmascript", arguments)).await;
    match outcome.end {
        End::Value(output) => {
            let value = output.value.unwrap_or_default();
            let lines = value["console"].as_array().cloned().unwrap_or_default();
            let lines: Vec<String> =
                lines.iter().filter_map(|line| line["text"].as_str().map(str::to_owned)).collect();
            judge(run, None, &lines)
        }
        End::Failed(error) => {
            let data = error.data.unwrap_or_default();
            let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
            judge(run, Some((text("name"), text("message"))), &[])
        }
        other => Err(format!("{other:?}")),
    }
}

fn natively(run: &Run) -> Verdict {
    let runtime = Runtime::new().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    runtime.set_interrupt_handler(Some(Box::new(move || Instant::now() > until)));
    let (mut resolver, mut loader) = (BuiltinResolver::default(), BuiltinLoader::default());
    for (name, source) in &run.modules {
        for name in [name.clone(), format!("./{name}")] {
            resolver.add_module(&name);
            loader.add_module(name, source.clone());
        }
    }
    runtime.set_loader(resolver, loader);
    let context = Context::full(&runtime).unwrap();
    let printed = Rc::new(RefCell::new(Vec::new()));
    context.with(|ctx| {
        let lines = printed.clone();
        let print = Function::new(ctx.clone(), move |text: rquickjs::Coerced<String>| {
            lines.borrow_mut().push(text.0);
        });
        let console = rquickjs::Object::new(ctx.clone()).unwrap();
        console.set("log", print.unwrap()).unwrap();
        ctx.globals().set("console", console).unwrap();
        let error = |caught: CaughtError<'_>| match caught {
            CaughtError::Exception(exception) => {
                let name = exception.as_object().get::<_, String>("name").unwrap_or_default();
                (name, exception.message().unwrap_or_default())
            }
            CaughtError::Value(value) => ("object".to_owned(), format!("{value:?}")),
            CaughtError::Error(error) => ("error".to_owned(), error.to_string()),
        };
        let ended = if run.is_module {
            Module::evaluate(ctx.clone(), "main", run.code.as_str())
                .and_then(|promise| promise.finish::<()>())
                .catch(&ctx)
                .map_err(error)
        } else {
            let mut options = rquickjs::context::EvalOptions::default();
            options.strict = false;
            ctx.eval_with_options::<(), _>(run.code.as_str(), options).catch(&ctx).map_err(error)
        };
        while ctx.execute_pending_job() {}
        judge(run, ended.err(), &printed.borrow())
    })
}
