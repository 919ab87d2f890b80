//! Questions to the person behind the call. Capability `ask`.
//!
//! Waiting for the answer is off the clock; where nobody can answer now, the call may end here as
//! suspended and be run again from its start later, with the host's earlier answers replayed.
//!
//! Every function answers `declined` where the person says no, `unavailable` where there is
//! nobody to ask, and `denied` without the capability.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bindings::ampoule::plugin::ask as wit;
use crate::{Result, host, schema};

/// A text.
///
/// # Errors
/// `declined`, `unavailable`, `denied`.
pub fn text(question: &str) -> Result<String> {
    ask("text", question, json!({ "type": "string" }))
}

/// Yes or no.
///
/// # Errors
/// `declined`, `unavailable`, `denied`.
pub fn confirm(question: &str) -> Result<bool> {
    ask("confirm", question, json!({ "type": "boolean" }))
}

/// One of several.
///
/// # Errors
/// `declined`, `unavailable`, `denied`.
pub fn choice(question: &str, options: &[&str]) -> Result<String> {
    ask("choice", question, json!({ "enum": options }))
}

/// A form: the fields of `T`.
///
/// # Errors
/// `declined`, `unavailable`, `denied`.
pub fn form<T: DeserializeOwned + JsonSchema>(question: &str) -> Result<T> {
    ask("form", question, schema::input::<T>().to_value())
}

fn ask<T: DeserializeOwned>(kind: &str, text: &str, schema: Value) -> Result<T> {
    host::require("ask")?;
    let answer = wit::ask(&wit::Question {
        kind: kind.into(),
        text: text.into(),
        schema: Some(schema.to_string()),
        meta: None,
    })?;
    Ok(serde_json::from_str(&answer)?)
}
