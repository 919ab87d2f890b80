//! Other plugins' tools. Capability `tools`, a list of names and patterns.
//!
//! A called tool runs under its own grants, never its caller's, and draws its budget from what
//! the caller has left.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::ampoule::plugin::tools as wit;
use crate::output::encode;
use crate::{Output, Result, host, task};

/// A tool that may be called.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The id: `binding`, or `binding/tool` where a binding has several.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the value.
    pub output_schema: Option<Value>,
}

/// The tools this plugin may call.
///
/// # Errors
/// `denied` without the capability.
pub fn list() -> Result<Vec<Definition>> {
    host::require("tools")?;
    let tools = wit::list()?.into_iter().map(|tool| {
        Ok(Definition {
            name: tool.name,
            description: tool.description,
            input_schema: serde_json::from_str(&tool.input_schema)?,
            output_schema: tool
                .output_schema
                .map(|schema| serde_json::from_str(&schema))
                .transpose()?,
        })
    });
    tools.collect()
}

/// Calls a tool and gives its value. Dropping the future cancels the call.
///
/// # Errors
/// The tool's own; `denied` where it may not be called, `limit` where it met one, `invalid-data`
/// where the value does not fit `T`.
pub async fn call<T: DeserializeOwned>(name: &str, arguments: &impl Serialize) -> Result<T> {
    let output = output::<T>(name, arguments).await?;
    match output.value {
        Some(value) => Ok(value),
        None => Ok(serde_json::from_value(Value::Null)?),
    }
}

/// Calls a tool and gives all of its answer: value, blocks, and where to go on.
///
/// # Errors
/// As [`call`].
pub async fn output<T: DeserializeOwned>(
    name: &str,
    arguments: &impl Serialize,
) -> Result<Output<T>> {
    host::require("tools")?;
    let pending = wit::start(name, &encode(arguments)?)?;
    task::ready(pending.subscribe()).await;
    Output::decode(pending.take()?)
}
