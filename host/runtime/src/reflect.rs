//! The exported functions of any component as tools: a component that knows nothing of Ampoule
//! is a plugin too.
//!
//! [`exports`] reads a component's types once, when it is loaded. Each function becomes a
//! [`ReflectedTool`] with a JSON Schema of its parameters and its result; a call then goes
//! through [`ReflectedTool::arguments`] and [`ReflectedTool::call`]. How WIT types are written
//! as JSON is one table, in [`schema`].
//!
//! Not every export is a tool: `wasi:*` and `ampoule:*` interfaces are entry points with a
//! meaning of their own, and what the makers of components leave behind is hidden.

mod answers;
mod docs;
mod failure;
mod names;
mod schema;
mod signature;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{HashMap, HashSet};

use ampoule_contract::{Problem, ToolError};
use serde_json::{Value, json};
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex, Instance, Val};
use wasmtime::{AsContextMut, Engine, format_err};

pub(crate) use answers::Budget;
use answers::Unwritable;
use docs::{Docs, short_name};
use names::{Scope, TypeNames};
use schema::{Allowance, Writer};

/// The most functions of a component that are looked at.
const MAX_FUNCTIONS: usize = 1_000;

/// The longest name of a tool, which is what models take.
const MAX_NAME_BYTES: usize = 64;

/// The most codes of errors that a description lists.
const MAX_CODES: usize = 20;

/// The longest description, in characters; what is longer is cut, and ends in `…`.
const MAX_DESCRIPTION_CHARS: usize = 5_000;

/// An exported function of a component.
#[derive(Clone, Debug)]
pub(crate) struct ReflectedTool {
    /// Letters, digits, `-` and `_`, at most 64; unlike that of any other function.
    pub(crate) name: String,
    /// The interface that exports it, with its version; `None` for the component itself.
    pub(crate) interface: Option<String>,
    /// The function, as the interface calls it.
    pub(crate) function: String,
    /// Its doc comment where the component carries one, else its signature; and the codes with
    /// which it may fail.
    pub(crate) description: String,
    /// JSON Schema of the arguments.
    pub(crate) input_schema: Value,
    /// JSON Schema of the value; `None` where there is none.
    pub(crate) output_schema: Option<Value>,
    /// Why it cannot be called, and so is no tool.
    pub(crate) unsupported: Option<String>,
    params: Vec<(String, Type)>,
    result: Option<Type>,
    /// Finds the function in any instance of the component, without its name.
    index: ComponentExportIndex,
}

/// How a call ended that did not trap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// With a value; `None` where the function returns none.
    Value(Option<Value>),
    /// With the `err` of its result.
    Failed(ToolError),
    /// With a value or an error larger than the budget for it.
    TooLarge,
}

/// The functions a component exports, in byte order of their interfaces and names.
///
/// `wasm` is the component's file, for the documentation in it. Functions that cannot be called
/// are there as well, with the reason.
pub(crate) fn exports(engine: &Engine, component: &Component, wasm: &[u8]) -> Vec<ReflectedTool> {
    let mut functions = functions(engine, component);
    functions.sort_by(|a, b| (&a.interface, &a.name).cmp(&(&b.interface, &b.name)));
    let beyond = functions.len().saturating_sub(MAX_FUNCTIONS);
    functions.truncate(MAX_FUNCTIONS + 1);

    let interfaces: HashSet<&str> =
        functions.iter().filter_map(|function| function.interface.as_deref()).collect();
    let docs = Docs::read(wasm, interfaces.into_iter());
    let types = TypeNames::collect(engine, &component.component_type());
    let names = tool_names(&functions);
    let mut allowance = Allowance::COMPONENT;
    let tools = functions.iter().zip(names).enumerate().map(|(at, (function, name))| {
        let scope = types.scope(function.interface.as_deref(), &docs);
        let checked = match at {
            MAX_FUNCTIONS => Err(format!(
                "the component exports more than {MAX_FUNCTIONS} functions; this one and {} \
                 after it are not looked at",
                beyond - 1
            )),
            _ => allowance.lend(|left| check(function, left)),
        };
        match checked {
            Ok(()) => ReflectedTool::offered(function, name, scope, &docs),
            Err(reason) => ReflectedTool::refused(function, name, reason),
        }
    });
    tools.collect()
}

impl ReflectedTool {
    fn refused(function: &Function, name: String, reason: String) -> ReflectedTool {
        ReflectedTool {
            name,
            interface: function.interface.clone(),
            function: function.name.clone(),
            description: described(function),
            input_schema: json!({ "type": "object" }),
            output_schema: None,
            unsupported: Some(reason),
            params: Vec::new(),
            result: None,
            index: function.index,
        }
    }

    fn offered(function: &Function, name: String, scope: Scope<'_>, docs: &Docs) -> ReflectedTool {
        let params: Vec<_> = function.ty.params().map(|(name, ty)| (name.to_owned(), ty)).collect();
        let result = function.ty.results().next();
        let (value, error) = match &result {
            Some(Type::Result(result)) => (result.ok(), result.err()),
            other => (other.clone(), None),
        };
        let mut description = match docs.of_function(function.interface.as_deref(), &function.name)
        {
            Some(text) => text.to_owned(),
            None => {
                let wit = signature::function(&function.name, &params, result.as_ref(), scope);
                format!("{}\n\nWIT: `{wit}`", described(function))
            }
        };
        if let Some(codes) = codes(error.as_ref()) {
            description.push_str(&format!("\n\nMay fail with {codes}"));
        }
        let mut writer = Writer::new(scope);
        ReflectedTool {
            name,
            interface: function.interface.clone(),
            function: function.name.clone(),
            description: clipped(&description, MAX_DESCRIPTION_CHARS),
            input_schema: writer.arguments(&params),
            output_schema: value.map(|ty| writer.schema(&ty)),
            unsupported: None,
            params,
            result,
            index: function.index,
        }
    }

    /// Reads the arguments of a call, an object with a key for each parameter; a parameter whose
    /// type is an option may be absent. At most `nodes` values are built.
    ///
    /// # Errors
    /// The first place where they do not fit, or the reason why the function cannot be called.
    pub(crate) fn arguments(
        &self,
        arguments: &Value,
        mut nodes: usize,
    ) -> Result<Vec<Val>, Problem> {
        let refused = |message: String| Problem { path: Some(String::new()), message };
        if let Some(reason) = &self.unsupported {
            return Err(refused(format!(
                "{} cannot be called: {reason}",
                full_name(self.interface.as_deref(), &self.function)
            )));
        }
        let Value::Object(object) = arguments else {
            return Err(refused("expected an object with the arguments".into()));
        };
        let names: Vec<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        values::no_others(object, &names)?;
        let params = self.params.iter();
        params.map(|(name, ty)| values::member(object, name, ty, &mut nodes)).collect()
    }

    /// Calls the function in an instance of the component it comes from, with what
    /// [`arguments`](Self::arguments) has read.
    ///
    /// How many bytes the engine copies out of the guest is bounded by the store's
    /// `set_hostcall_fuel`; `budget` bounds the JSON built from them.
    ///
    /// # Errors
    /// A trap, a limit, or whatever else an import ends the call with.
    pub(crate) async fn call(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        instance: &Instance,
        arguments: &[Val],
        mut budget: Budget,
    ) -> wasmtime::Result<Answer> {
        let function = instance.get_func(&mut store, self.index).ok_or_else(|| {
            format_err!(
                "the instance has no function {}",
                full_name(self.interface.as_deref(), &self.function)
            )
        })?;
        // The engine overwrites it, whatever it is.
        let mut results = vec![Val::Bool(false); usize::from(self.result.is_some())];
        function.call_async(&mut store, arguments, &mut results).await?;

        let budget = &mut budget;
        let answer = match (results.pop(), &self.result) {
            (None, None) => Ok(Answer::Value(None)),
            (Some(Val::Result(Ok(value))), Some(Type::Result(result))) => {
                let (ty, returns) = (result.ok(), value.is_some());
                answers::to_json_or_null(value, ty.as_ref(), budget)
                    .map(|json| Answer::Value(returns.then_some(json)))
            }
            (Some(Val::Result(Err(error))), Some(Type::Result(result))) => {
                let ty = result.err();
                answers::to_json_or_null(error, ty.as_ref(), budget)
                    .map(|json| Answer::Failed(failure::failure(&self.function, json, ty.as_ref())))
            }
            (Some(value), Some(ty)) => {
                answers::to_json(value, ty, budget).map(|json| Answer::Value(Some(json)))
            }
            _ => Err(Unwritable::Mismatch),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(Unwritable::TooLarge) => Ok(Answer::TooLarge),
            Err(mismatch) => Err(mismatch.into()),
        }
    }
}

/// An exported function before it is judged.
struct Function {
    interface: Option<String>,
    name: String,
    ty: ComponentFunc,
    index: ComponentExportIndex,
}

fn functions(engine: &Engine, component: &Component) -> Vec<Function> {
    let ty = component.component_type();
    let mut functions = Vec::new();
    for (name, export) in ty.exports(engine) {
        let Some(index) = component.get_export_index(None, name) else { continue };
        if is_hidden(name) || export.implements.is_some_and(is_hidden) {
            continue;
        }
        match export.ty {
            ComponentItem::ComponentFunc(ty) => {
                functions.push(Function { interface: None, name: name.to_owned(), ty, index });
            }
            ComponentItem::ComponentInstance(instance) => {
                for (inner, export) in instance.exports(engine) {
                    let ComponentItem::ComponentFunc(ty) = export.ty else { continue };
                    let Some(index) = component.get_export_index(Some(&index), inner) else {
                        continue;
                    };
                    let interface = Some(name.to_owned());
                    functions.push(Function { interface, name: inner.to_owned(), ty, index });
                }
            }
            _ => {}
        }
    }
    functions
}

/// Exports with a meaning of their own: interfaces of WASI and of Ampoule, the interface
/// `exports` by which componentize-py sets up its interpreter, the function by which Wizer does.
fn is_hidden(export: &str) -> bool {
    export.starts_with("wasi:")
        || export.starts_with("ampoule:")
        || export == "exports"
        || export == "wizer-initialize"
}

/// Refuses a function that cannot be called with JSON, or is too large to describe.
fn check(function: &Function, allowance: &mut Allowance) -> Result<(), String> {
    if function.ty.async_() {
        return Err("it is an `async func`, which this host does not call".into());
    }
    if function.ty.results().len() > 1 {
        return Err("it has several results".into());
    }
    allowance.take(&function.name).map_err(|reason| format!("its name {reason}"))?;
    for (name, ty) in function.ty.params() {
        allowance
            .take(name)
            .and_then(|()| allowance.check(&ty))
            .map_err(|reason| format!("its parameter `{}` {reason}", clipped(name, 64)))?;
    }
    let mut results = function.ty.results();
    results.try_for_each(|ty| allowance.check(&ty)).map_err(|reason| format!("its result {reason}"))
}

/// A function and where it is, for messages.
fn full_name(interface: Option<&str>, function: &str) -> String {
    match interface {
        Some(interface) => format!("`{function}` of `{interface}`"),
        None => format!("`{function}`"),
    }
}

/// What can be said of a function of which nothing more is known.
fn described(function: &Function) -> String {
    format!("Function {}.", full_name(function.interface.as_deref(), &function.name))
}

/// The codes that an error brings by its type, as the end of a sentence.
fn codes(error: Option<&Type>) -> Option<String> {
    let names: Vec<String> = match error? {
        Type::Enum(names) => names.names().map(|name| format!("`{name}`")).collect(),
        Type::Variant(variant) => variant.cases().map(|case| format!("`{}`", case.name)).collect(),
        _ => return None,
    };
    let more = if names.len() > MAX_CODES { ", …" } else { "." };
    Some(names[..names.len().min(MAX_CODES)].join(", ") + more)
}

/// A name for each function: its own; with its interface's behind it where two interfaces have
/// the same; with a number, in their order, where that is still not enough.
fn tool_names(functions: &[Function]) -> Vec<String> {
    let own: Vec<String> = functions.iter().map(|function| sanitised(&function.name)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in &own {
        *counts.entry(cut(name, MAX_NAME_BYTES)).or_default() += 1;
    }
    let mut taken = HashSet::new();
    let wanted = own.iter().zip(functions).map(|(name, function)| match &function.interface {
        Some(interface) if counts[cut(name, MAX_NAME_BYTES)] > 1 => {
            format!("{name}_{}", sanitised(short_name(interface)))
        }
        _ => name.clone(),
    });
    wanted
        .map(|wanted| {
            let name = (1u64..)
                .map(|n| match n {
                    1 => cut(&wanted, MAX_NAME_BYTES).to_owned(),
                    n => {
                        let suffix = format!("_{n}");
                        format!("{}{suffix}", cut(&wanted, MAX_NAME_BYTES - suffix.len()))
                    }
                })
                .find(|name| !taken.contains(name))
                .expect("there are more numbers than functions");
            taken.insert(name.clone());
            name
        })
        .collect()
}

/// `r-f` for `[method]r.f`; `-` for all that a name may not hold.
fn sanitised(name: &str) -> String {
    let plain = name.split_once(']').map_or(name, |(_, plain)| plain);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    plain.chars().map(|c| if fits(c) { c } else { '-' }).collect()
}

/// The first bytes of an ASCII text.
fn cut(name: &str, bytes: usize) -> &str {
    name.get(..bytes).unwrap_or(name)
}

/// At most `max` characters of a text, with `…` where there were more.
fn clipped(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
