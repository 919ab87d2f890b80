//! Plugins whose tools depend on the settings of their binding.

use serde_json::Value;

use crate::bindings::catalog::exports::ampoule::plugin::catalog as wit;
use crate::{Output, Result};

/// A plugin whose tools depend on the settings of its binding, such as the operations of an API
/// document. Exported with `export!(catalog: MyCatalog)`.
pub trait Catalog {
    /// The tools of this binding. Called once when the binding is made, under its grants and
    /// limits; the answer is pinned.
    ///
    /// # Errors
    /// Any; the binding then has the tools of its manifest alone.
    fn discover() -> impl Future<Output = Result<Vec<Definition>>>;

    /// Calls one of them. An unknown name answers `not-found`.
    ///
    /// # Errors
    /// The tool's own.
    fn call(name: &str, arguments: Value) -> impl Future<Output = Result<Output>>;
}

/// One tool, as a manifest describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name by which it is called: letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// What it does and when to use it, for a model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments; the root is an object.
    pub input_schema: Value,
    /// JSON Schema of the value.
    pub output_schema: Option<Value>,
    /// An object with anything else a manifest's tool may have (title, effects, examples).
    pub meta: Option<Value>,
}

impl From<Definition> for wit::ToolDefinition {
    fn from(definition: Definition) -> wit::ToolDefinition {
        wit::ToolDefinition {
            name: definition.name,
            description: definition.description,
            input_schema: definition.input_schema.to_string(),
            output_schema: definition.output_schema.map(|schema| schema.to_string()),
            meta: definition.meta.map(|meta| meta.to_string()),
        }
    }
}
