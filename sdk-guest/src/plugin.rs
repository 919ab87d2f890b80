//! What the macros generate for: tools, components and the plugin that holds them.
//!
//! Everything here works natively too, so a test can call a whole plugin without Wasm:
//! [`describe`], [`call`] and [`process`] take the type `Plugin` that
//! [`export!`](crate::export) makes.

use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bindings::ampoule::plugin::types;
use crate::output::encode;
use crate::{Catalog, Error, Output, Result, block_on, schema};

/// How a tool's call ends: with an output in the contract's own form.
pub type Called = Result<types::Output>;

/// A tool. Made by [`#[tool]`](crate::tool).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    note = "mark the function with `#[ampoule_sdk::tool]`",
    note = "in `export!`, components stand after `components:`"
)]
pub trait Tool {
    /// The function's name with `-` for `_`.
    fn name(&self) -> &'static str;
    /// The function's doc comment.
    fn description(&self) -> &'static str;
    /// Schema of the arguments.
    fn input_schema(&self) -> Schema;
    /// Schema of the value.
    fn output_schema(&self) -> Schema;
    /// Runs it on arguments that are a JSON text.
    ///
    /// # Errors
    /// `bad-arguments` where the arguments do not fit their type, and the tool's own.
    fn call(&self, arguments: &str) -> Called;
}

/// A component. Made by [`#[component]`](crate::component).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a component",
    note = "mark the function with `#[ampoule_sdk::component]`"
)]
pub trait Component {
    /// The function's name with `-` for `_`.
    fn name(&self) -> &'static str;
    /// The function's doc comment.
    fn description(&self) -> &'static str;
    /// Schema of an object with `settings` and `inputs`.
    fn input_schema(&self) -> Schema;
    /// Schema of the ports.
    fn output_schema(&self) -> Schema;
    /// Runs it on settings and inputs that are JSON texts; answers the JSON of the ports.
    ///
    /// # Errors
    /// `bad-arguments` where settings or inputs do not fit their types, and the component's own.
    fn process(&self, settings: &str, inputs: &str) -> Result<String>;
}

/// All that a plugin provides. Made by [`export!`](crate::export).
pub trait Plugin {
    /// Its tools, in the order they were named.
    const TOOLS: &'static [&'static dyn Tool];
    /// Its components.
    const COMPONENTS: &'static [&'static dyn Component];
    /// The services it is a connector of: `llm`.
    const SERVICES: &'static [&'static str];

    /// The schema of the binding's settings, where the plugin names their type.
    fn settings_schema() -> Option<Schema> {
        None
    }

    /// Calls a tool of the plugin's catalogue, where it has one.
    fn call_catalog(_name: &str, _arguments: &str) -> Option<Called> {
        None
    }
}

/// What the plugin `P` provides, as the build tool reads it: `tools` (components among them, by
/// their `kind`), `services` and, where the plugin names their type, `settings-schema`.
pub fn describe<P: Plugin>() -> Value {
    let tools = P::TOOLS.iter().map(|tool| {
        entry("tool", tool.name(), tool.description(), tool.input_schema(), tool.output_schema())
    });
    let components = P::COMPONENTS.iter().map(|component| {
        let (input, output) = (component.input_schema(), component.output_schema());
        entry("component", component.name(), component.description(), input, output)
    });
    let tools: Vec<Value> = tools.chain(components).collect();
    let services: Vec<Value> = P::SERVICES.iter().map(|&service| service.into()).collect();
    let mut description = Map::new();
    description.insert("tools".into(), tools.into());
    description.insert("services".into(), services.into());
    if let Some(schema) = P::settings_schema() {
        description.insert("settings-schema".into(), schema.into());
    }
    description.into()
}

fn entry(kind: &str, name: &str, description: &str, input: Schema, output: Schema) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    entry.insert("kind".into(), kind.into());
    entry.insert("description".into(), description.into());
    entry.insert("input-schema".into(), input.into());
    entry.insert("output-schema".into(), output.into());
    entry.into()
}

/// Calls the tool `name` of the plugin `P`.
///
/// # Errors
/// `not-found` where there is none of that name, `bad-arguments`, and the tool's own.
pub fn call<P: Plugin>(name: &str, arguments: &str) -> Called {
    if let Some(tool) = P::TOOLS.iter().find(|tool| tool.name() == name) {
        return tool.call(arguments);
    }
    P::call_catalog(name, arguments)
        .unwrap_or_else(|| Err(unknown("tool", name, P::TOOLS.iter().map(|tool| tool.name()))))
}

/// Runs the component `name` of the plugin `P`.
///
/// # Errors
/// `not-found` where there is none of that name, `bad-arguments`, and the component's own.
pub fn process<P: Plugin>(name: &str, settings: &str, inputs: &str) -> Result<String> {
    match P::COMPONENTS.iter().find(|component| component.name() == name) {
        Some(component) => component.process(settings, inputs),
        None => Err(unknown("component", name, P::COMPONENTS.iter().map(|c| c.name()))),
    }
}

fn unknown(kind: &str, name: &str, known: impl Iterator<Item = &'static str>) -> Error {
    let known: Vec<&str> = known.collect();
    Error::not_found(format!("there is no {kind} `{name}` here; there is: {}", known.join(", ")))
}

/// What a tool's function may return, seen as an [`Output`]. `Kind` keeps the forms apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the answer of a tool or component",
    note = "return `T`, `Output<T>` or a `Result` of one, where `T` implements `Serialize` and \
            `JsonSchema`; `#[ampoule_sdk::data]` derives both"
)]
pub trait Answer<Kind> {
    /// The type of the value.
    type Value: Serialize + JsonSchema;

    /// The answer as an output.
    ///
    /// # Errors
    /// The function's own.
    fn answer(self) -> Result<Output<Self::Value>>;
}

/// A value as it is.
pub enum Plain {}
/// An [`Output`].
pub enum Whole {}
/// A `Result` of one of the others.
pub struct Fallible<Kind>(PhantomData<Kind>);

/// The kinds of answer that are a value alone, as a component's has to be.
#[diagnostic::on_unimplemented(message = "a component answers its ports alone, not an `Output`")]
pub trait ValueAlone {}
impl ValueAlone for Plain {}
impl<Kind: ValueAlone> ValueAlone for Fallible<Kind> {}

impl<T: Serialize + JsonSchema> Answer<Plain> for T {
    type Value = T;

    fn answer(self) -> Result<Output<T>> {
        Ok(Output::new(self))
    }
}

impl<T: Serialize + JsonSchema> Answer<Whole> for Output<T> {
    type Value = T;

    fn answer(self) -> Result<Output<T>> {
        Ok(self)
    }
}

impl<A: Answer<Kind>, E: Into<Error>, Kind> Answer<Fallible<Kind>> for Result<A, E> {
    type Value = A::Value;

    fn answer(self) -> Result<Output<A::Value>> {
        self.map_err(Into::into)?.answer()
    }
}

/// The argument of a tool that takes none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(description = "No arguments.")]
pub struct NoArguments {}

/// Runs a tool's function on a JSON text.
pub fn call_tool<I, A, Kind>(tool: fn(I) -> A, arguments: &str) -> Called
where
    I: DeserializeOwned,
    A: Answer<Kind>,
{
    tool(parse("", arguments)?).answer()?.encode()
}

/// Schema of a tool's arguments.
pub fn tool_input<I: JsonSchema, A>(_: fn(I) -> A) -> Schema {
    schema::input::<I>()
}

/// Schema of a tool's value.
pub fn tool_output<I, A: Answer<Kind>, Kind>(_: fn(I) -> A) -> Schema {
    schema::output::<A::Value>()
}

/// Runs a component's function on two JSON texts.
pub fn process_component<S, I, A, Kind>(
    component: fn(S, I) -> A,
    settings: &str,
    inputs: &str,
) -> Result<String>
where
    S: DeserializeOwned,
    I: DeserializeOwned,
    A: Answer<Kind>,
    Kind: ValueAlone,
{
    let ports = component(parse("settings: ", settings)?, parse("inputs: ", inputs)?).answer()?;
    ports.value.as_ref().map_or_else(|| Ok("{}".into()), encode)
}

/// Schema of a component's settings and inputs; either may be left out where nothing in it is
/// required.
pub fn component_input<S: JsonSchema, I: JsonSchema, A>(_: fn(S, I) -> A) -> Schema {
    let parts = [("settings", schema::input::<S>()), ("inputs", schema::input::<I>())];
    let required: Vec<&str> = parts
        .iter()
        .filter(|(_, part)| part.get("required").is_some())
        .map(|part| part.0)
        .collect();
    let properties: Map<String, Value> =
        parts.iter().map(|(name, part)| ((*name).to_owned(), part.as_value().clone())).collect();
    json_schema!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Schema of a component's ports.
pub fn component_output<S, I, A: Answer<Kind>, Kind>(_: fn(S, I) -> A) -> Schema {
    schema::output::<A::Value>()
}

fn parse<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::bad_arguments(format!("{what}{error}")))
}

/// Calls a tool of the catalogue `C`.
pub fn call_catalog<C: Catalog>(name: &str, arguments: &str) -> Called {
    block_on(C::call(name, parse("", arguments)?))?.encode()
}
