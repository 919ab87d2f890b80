//! What the author of a Rust plugin sees.
//!
//! A plugin is a small library of functions. This one is whole:
//!
//! ```
//! use ampoule_sdk::prelude::*;
//!
//! #[data]
//! struct Greeting {
//!     /// Whom to greet.
//!     name: String,
//!     /// How often.
//!     #[serde(default = "once")]
//!     times: u8,
//! }
//!
//! fn once() -> u8 {
//!     1
//! }
//!
//! /// Greet somebody.
//! #[tool]
//! fn greet(greeting: Greeting) -> Result<String> {
//!     let Greeting { name, times } = greeting;
//!     if name.trim().is_empty() {
//!         return Err(Error::bad_arguments("`name` is empty: say whom to greet"));
//!     }
//!     Ok(format!("Hello, {name}! ").repeat(times.into()))
//! }
//!
//! export!(greet);
//! # fn main() {}
//! ```
//!
//! Its `Cargo.toml` has `[lib] crate-type = ["cdylib"]` and one dependency, `ampoule-sdk`. (With
//! `rlib` beside `cdylib`, Cargo does not optimise across crates and the plugin is a third larger.)
//! Beside it stand `plugin.toml`, with the capabilities it asks for, and `examples.json`. The doc
//! comments are what a model reads; the types are the JSON Schemas. A tool stays a function:
//! `cargo test` runs its unit tests natively.
//!
//! # Cheat sheet
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use ampoule_sdk::prelude::*;
//! use ampoule_sdk::{blobs, clock, context, files, http, join_all, llm, log, progress, tools};
//!
//! // Types: serde, JSON Schema, Clone and Debug; unknown fields are refused; the variants of
//! // enums are written in kebab case. `#[data(open)]` passes over unknown fields, for data that
//! // others define. Attributes of serde and schemars work as always.
//! #[data]
//! struct Query {
//!     /// What to look for.
//!     #[schemars(length(min = 1, max = 200))]
//!     text: String,
//!     #[serde(default)]
//!     order: Order,
//!     /// Where an earlier answer ended (see `Output::with_next`).
//!     cursor: Option<String>,
//! }
//! #[data]
//! #[derive(Default)]
//! enum Order {
//!     #[default]
//!     Newest,
//!     BestMatch,
//! }
//! #[data]
//! #[serde(rename_all = "kebab-case")]
//! struct Settings {
//!     base_url: String,
//! }
//! #[data(open)]
//! struct Found {
//!     hits: Vec<String>,
//!     next: Option<String>,
//! }
//!
//! /// Find notes.
//! #[tool] // `fn` or `async fn`, one argument or none; returns `T`, `Output<T>` or a `Result`
//! async fn find(query: Query) -> Result<Output<Vec<String>>> {
//!     let settings: Settings = context::settings()?;
//!     let mut response = http::get(format!("{}/notes", settings.base_url))
//!         .query("q", &query.text)
//!         .credential("api-key") // a secret by name; the host attaches it
//!         .timeout(Duration::from_secs(10))
//!         .send()
//!         .await?
//!         .ok()?; // an error status becomes an `Error` with a code
//!     let found: Found = response.json().await?; // or text(), bytes(), chunk(), into_blob()
//!     log::info(format!("{} hits", found.hits.len()));
//!     Ok(Output::new(found.hits).with_next(found.next))
//! }
//!
//! /// Summarise the files of the workspace, several at once.
//! #[tool]
//! async fn summarise() -> Result<Vec<String>> {
//!     let entries = files::list("", None)?.entries;
//!     let summaries = entries.iter().map(async |entry| {
//!         let text = files::read_to_string(&entry.path)?;
//!         let request = llm::Request::new("").system("Summarise in a line.").user(text);
//!         Ok(llm::complete(&request).await?.text())
//!     });
//!     let summaries: Vec<Result<String>> = join_all(summaries).await;
//!     progress::report(1.0, Some(1.0), None);
//!     summaries.into_iter().collect()
//! }
//!
//! /// Keep the names in an object. A plain `fn` waits with `block_on`.
//! #[tool]
//! fn names(object: Map<String, Value>) -> Result<Value> {
//!     let arguments = json!({ "input": object, "fields": ["name"] });
//!     let call = tools::call("json-filter", &arguments);
//!     ampoule_sdk::block_on(clock::timeout(Duration::from_secs(5), call))?
//! }
//!
//! /// Pass the input on when it is true, else stay silent.
//! #[component] // settings and inputs; an absent port is silent, `null` is a value
//! fn gate(_settings: Map<String, Value>, inputs: Map<String, Value>) -> Map<String, Value> {
//!     inputs.into_iter().filter(|(_, value)| *value == true).collect()
//! }
//!
//! /// Turn text into a number, and keep it as a blob.
//! #[tool]
//! fn number(text: Map<String, Value>) -> Result<Value> {
//!     let text = text.get("text").and_then(Value::as_str).unwrap_or_default();
//!     let number: f64 = text.parse().or_code("bad-arguments")?; // any error, with a code
//!     let blob = blobs::store("text/plain", text.as_bytes())?; // `{"$blob": "id"}` in JSON
//!     Ok(json!({ "number": number, "text": blob }))
//! }
//!
//! // Tools first, then what has a name; only what is named is exported:
//! export!(find, summarise, names, number; components: gate; settings: Settings);
//! // export!(catalog: MyCatalog);                      tools that depend on the settings
//! // export!(llm: MyConnector; settings: Settings);    a connector to models
//! # fn main() {}
//! ```
//!
//! | module | what | capability |
//! | --- | --- | --- |
//! | [`context`], [`log`], [`progress`], [`blobs`] | settings and facts of the call, lines for the operator, signs of life, large bytes | none |
//! | [`clock`], [`random`] | `now`, `sleep`, `timeout`; bytes for keys | `clock`, `random` |
//! | [`http`] | requests to the world | `http = ["GET https://…/**"]` |
//! | [`secrets`] | MAC and sign with secrets nobody can read | `secrets` |
//! | [`files`] | the run's workspace | `files = "read"` or `"read-write"` |
//! | [`tools`] | other plugins' tools | `tools = ["json-*"]` |
//! | [`ask`] | questions to a person | `ask` |
//! | [`llm`] | models: ask one, or be a [connector](llm::Connector) to some | `services = ["llm"]` |
//!
//! **Waiting.** What waits is `async`. [`join!`], [`join_all`], [`race`] and the combinators of
//! [`stream`] wait for several things at once (`stream::iter(…).buffer_unordered(8)` for many with
//! a cap); dropping a future gives up what it began. [`block_on`] runs a future anywhere.
//!
//! **What many tools take.** [`Content`] is a text, bytes as base64 or a blob;
//! [`Content::at_most`] bounds it before it is read. A tool that answers a list has the fields
//! `limit` and `cursor` and answers with [`Output::page`]; one that answers a long text has
//! `max_chars` and `cursor` and answers with [`Output::part`]; [`from_cursor`] is for what pages
//! otherwise. [`Weight`] bounds a value, [`shortened`] shows the start of a text in a message, and [`number`] writes integers
//! that JSON's readers would round as text.
//!
//! **Errors.** [`Error`] has a `code` from [an open list](Error), a message for the caller, who
//! may be a model, and a `log` for the operator. `?` takes the errors of this crate as they are and
//! JSON errors as `invalid-data`; [`OrCode`] gives any other error a code.
//!
//! **Panics** trap and end the call; their message goes to the log, as does what is printed.
//!
//! **Natively**, in unit tests, there is no host: imports that can fail answer `unavailable`,
//! settings are those of `{}`, log lines go nowhere. [`plugin`] calls a whole plugin.
//!
//! **No WASI.** A plugin imports only the interfaces it calls, and `log`. JSON objects keep the
//! order of their fields. `std::collections::HashMap` works, but makes the plugin import a random
//! seed from WASI: prefer `BTreeMap`, or [`Map`].

pub mod ask;
#[doc(hidden)]
pub mod bindings;
pub mod blobs;
mod catalog;
pub mod clock;
mod content;
pub mod context;
mod error;
mod exports;
pub mod files;
mod host;
pub mod http;
pub mod llm;
pub mod log;
pub mod number;
mod output;
pub mod plugin;
pub mod progress;
pub mod random;
pub mod schema;
pub mod secrets;
#[cfg(target_os = "wasi")]
mod stdio;
mod task;
mod text;
pub mod tools;
mod weight;

/// Makes a function a component: a node of a flow with settings, inputs and ports.
///
/// `fn name(settings: S, inputs: I) -> P`, where `S` and `I` are read from JSON objects and `P`, or
/// a `Result` of it, is written as the object of the ports that fired: a port that is absent
/// stays silent (`skip_serializing_if = "Option::is_none"`), `null` is a value ([`present`] reads
/// one). Else as [`tool`].
///
/// ```
/// use ampoule_sdk::prelude::*;
///
/// #[data]
/// struct Ports {
///     #[serde(skip_serializing_if = "Option::is_none")]
///     output: Option<bool>,
/// }
///
/// /// Fire when every input is true.
/// #[component]
/// fn and(_settings: Map<String, Value>, inputs: Map<String, Value>) -> Ports {
///     Ports { output: inputs.values().all(|input| *input == true).then_some(true) }
/// }
///
/// export!(components: and);
/// # fn main() {}
/// ```
pub use ampoule_sdk_macros::component;

/// Makes a type an argument, a value or a setting: derives `Serialize`, `Deserialize`,
/// `JsonSchema`, `Clone` and `Debug`.
///
/// Unknown fields are refused, so that a misspelt one is not passed over; `#[data(open)]` allows
/// them, for data that others define, and so does a `#[serde(flatten)]` inside. Fields are written
/// as they are, the variants of enums in kebab case, unless `#[serde(rename_all = …)]` says
/// otherwise. All attributes of serde and schemars work; other derives stand below.
///
/// ```
/// use ampoule_sdk::prelude::*;
///
/// #[data]
/// #[derive(PartialEq)]
/// enum Shape {
///     UnitCircle,
///     Square { side_length: f64 },
/// }
///
/// let shape: Shape = ampoule_sdk::serde_json::from_value(json!("unit-circle"))?;
/// assert_eq!(shape, Shape::UnitCircle);
/// # Ok::<(), Error>(())
/// ```
pub use ampoule_sdk_macros::data;

/// Names what a plugin provides, once, at the root of its crate:
/// `export!(tool, …; components: component, …; catalog: Type; llm: Type; settings: Type; initialise:
/// function)`, each part at will, but one of the first four at least.
///
/// - tools and components are functions marked with [`tool`] and [`component`];
/// - `catalog` is a type that implements [`Catalog`];
/// - `llm` is a type that implements [`llm::Connector`];
/// - `settings` is the type of the binding's settings, which [`context::settings`] reads;
/// - `initialise` is a function `fn()` that is run once, when `ampoule build` makes the plugin's
///   file: every instance begins with the memory that it leaves. No import is live then, time
///   stands still and randomness is zero, so what is seeded there must be seeded anew at its first
///   use. It may print nothing and hold no handle.
///
/// The compiled component exports just the interfaces of what is named, and `describe`, by which
/// `ampoule build` learns names and schemas. The macro also defines a type `Plugin`, for
/// [`plugin::call`] in tests.
///
/// ```compile_fail,E0277
/// use ampoule_sdk::prelude::*;
///
/// /// A component is not a tool: it stands after `components:`.
/// #[component]
/// fn gate(_settings: Map<String, Value>, inputs: Map<String, Value>) -> Map<String, Value> {
///     inputs
/// }
///
/// export!(gate);
/// # fn main() {}
/// ```
pub use ampoule_sdk_macros::export;

/// Makes a function a tool, which stays callable as a function.
///
/// - Its name is the function's with `-` for `_`, its description the doc comment, which must be
///   there: it is what a model reads.
/// - It is a `fn` or `async fn` with one argument that implements `Deserialize` and `JsonSchema`,
///   usually a struct marked with [`data`], or with none.
/// - It returns a `T` that implements `Serialize` and `JsonSchema`, an [`Output<T>`](Output), or a
///   `Result` of one of them, with an error that is or becomes an [`Error`].
/// - Arguments that do not fit their type never reach it: they are an error `bad-arguments`.
///
/// ```
/// use ampoule_sdk::prelude::*;
///
/// /// Tell the answer.
/// #[tool]
/// fn the_answer() -> u8 {
///     42
/// }
///
/// export!(the_answer);
/// # fn main() {
/// assert_eq!(the_answer(), 42);
/// # }
/// ```
///
/// ```compile_fail
/// #[ampoule_sdk::tool] // without a doc comment
/// fn silent() {}
/// ```
///
/// ```compile_fail
/// /// Add two numbers.
/// #[ampoule_sdk::tool] // with two arguments: they are the fields of one struct
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
/// ```
pub use ampoule_sdk_macros::tool;

pub use blobs::BlobRef;
pub use catalog::{Catalog, Definition};
pub use content::{Base64, Content};
pub use error::{Error, OrCode, Result};
pub use futures_util::future::{join_all, try_join_all};
pub use futures_util::{join, stream, try_join};
pub use output::{Block, Output, from_cursor};
pub use serde_json::{Map, Value, json};
pub use task::{block_on, race};
pub use text::shortened;
pub use weight::Weight;
pub use {schemars, serde, serde_json};

/// All that a plugin usually names: `use ampoule_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Block, Content, Error, Map, OrCode, Output, Result, Value, component, data, export, json,
        tool,
    };
}

/// Reads a field whose `null` is a value: `#[serde(default, deserialize_with =
/// "ampoule_sdk::present")] input: Option<Value>` is `None` only where the field is absent.
///
/// # Errors
/// Those of `T`.
pub fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
