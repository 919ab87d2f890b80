//! Sends a value down one branch of a flow, or several: each branch is a port with a condition, a
//! CEL expression or a JSON Schema, and a port whose condition does not hold stays silent.
//!
//! The expressions are those of the plugin expression, the schemas those of json-schema, with the
//! same bounds.
//!
//! Parity with the conditions and routers of SmythOS flows, which are expressions of JavaScript or a
//! model's choice. Two differences: a condition that fails, as by a member that is not there, is an
//! error that names the branch instead of a branch that is silently not taken; and where no branch
//! is taken, the value leaves by the default port, so that it is never lost without a word.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;
use shared_cel::{Language, run, shortened};
use shared_json_schema::Checked;

/// The port of what fits no branch, where the settings name none.
const DEFAULT: &str = "default";

/// The branches, and what they pass on.
#[data]
struct Settings {
    /// The branches, in order.
    #[schemars(length(min = 1, max = 100))]
    branches: Vec<Branch>,
    /// Whether the first branch that fits is taken, or all that fit. Default: the first.
    #[serde(default)]
    mode: Mode,
    /// The port of a value that fits no branch; null for none, so that all ports stay silent.
    /// Default: `default`.
    #[serde(default = "default_port")]
    default: Option<String>,
    /// The name of the input that is passed on and that schemas look at. Default: the input, where
    /// there is one; the object of all inputs, where there are several.
    pass: Option<String>,
}

fn default_port() -> Option<String> {
    Some(DEFAULT.into())
}

/// Which branches are taken.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Mode {
    /// The first that fits.
    #[default]
    First,
    /// All that fit.
    All,
}

/// A branch: its port, and one condition.
#[data]
struct Branch {
    /// The name of its port.
    #[schemars(length(min = 1, max = 100))]
    port: String,
    /// A CEL expression over the inputs by their names, for example `order.total > 100`; it must be
    /// true or false.
    #[schemars(length(min = 1, max = 8192))]
    when: Option<String>,
    /// A JSON Schema that the value must fit.
    schema: Option<Value>,
}

/// Send a value down the first branch whose condition holds, or down all of them.
///
/// A condition is a CEL expression over the inputs or a JSON Schema for the value. The ports of the
/// branches that are taken carry the value; the others stay silent. What fits no branch leaves by
/// the port `default`.
#[component]
fn switch(settings: Settings, inputs: Map<String, Value>) -> Result<Map<String, Value>> {
    check_ports(&settings)?;
    let value = passed(settings.pass.as_deref(), &inputs)?;
    let language = Language::new()?;
    let variables = language.variables(inputs.iter().map(|(name, value)| (name.as_str(), value)));
    let mut ports = Map::new();
    for branch in &settings.branches {
        let holds = match (&branch.when, &branch.schema) {
            (Some(when), None) => language
                .compile(when)
                .and_then(|program| run(&program, &variables))
                .and_then(|value| match value {
                    Value::Bool(value) => Ok(value),
                    other => Err(Error::invalid_data(format!(
                        "`when` is neither true nor false but {}",
                        shortened(&other)
                    ))),
                }),
            (None, Some(schema)) => {
                Checked::new(schema, &value, &Map::new(), None, None).map(|checked| checked.valid())
            }
            _ => Err(Error::bad_arguments("a branch has either `when` or `schema`")),
        };
        let holds = holds.map_err(|error| Error {
            message: format!("the branch `{}`: {}", branch.port, error.message),
            ..error
        })?;
        if holds {
            ports.insert(branch.port.clone(), value.clone());
            if settings.mode == Mode::First {
                break;
            }
        }
    }
    if ports.is_empty() {
        ports.extend(settings.default.map(|port| (port, value)));
    }
    Ok(ports)
}

/// Refuses two ports of one name.
fn check_ports(settings: &Settings) -> Result<()> {
    let mut names: BTreeSet<&str> = settings.default.as_deref().into_iter().collect();
    for branch in &settings.branches {
        if !names.insert(&branch.port) {
            return Err(Error::bad_arguments(format!(
                "two ports have the name `{}`; give each branch and the default a name of its own",
                branch.port
            )));
        }
    }
    Ok(())
}

/// The value that the ports carry.
fn passed(name: Option<&str>, inputs: &Map<String, Value>) -> Result<Value> {
    match name {
        Some(name) => inputs.get(name).cloned().ok_or_else(|| {
            Error::bad_arguments(format!(
                "the setting `pass` names the input `{name}`, which did not come"
            ))
        }),
        None => Ok(match inputs.values().next() {
            Some(only) if inputs.len() == 1 => only.clone(),
            _ => inputs.clone().into(),
        }),
    }
}

export!(components: switch);
