//! Runs jq programs over JSON, with jaq, another implementation of the language.
//!
//! `tests/manual.json` holds what the manual of jq documents; a case that jq answers otherwise is
//! skipped there and says why, and `tests/cases.json` holds what it answers here.

mod natives;
mod program;
mod value;

#[cfg(test)]
mod tests;

use ampoule_sdk::prelude::*;

use crate::program::{Failure, Program};
use crate::value::{from_val, to_val};

/// How many results there are where the caller names no number.
const DEFAULT_LIMIT: u32 = 1000;

#[data]
struct Query {
    /// The program, for example `.items[] | select(.price > 10) | .name`.
    #[schemars(length(min = 1, max = 65_536))]
    program: String,
    /// What the program runs on.
    input: Value,
    /// Variables for the program: `{"least": 10}` makes `$least` 10.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    args: Map<String, Value>,
    /// How many results to return at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: u32,
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

#[data]
struct Results {
    /// What the program answered, in order.
    results: Vec<Value>,
    /// Whether there are more results than `limit`.
    #[serde(default, skip_serializing_if = "is_false")]
    truncated: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Run a jq program over a JSON value and return its results.
///
/// The language is jq 1.8: `select`, `map`, `group_by`, `reduce`, regular expressions, `@csv`,
/// dates and so on. The program sees its input and `args`, nothing else: there is no `input`,
/// `env`, `now` or `import`. An assignment needs something to assign into: `.a.b = 1` fails where
/// `.a` is null, `setpath(["a", "b"]; 1)` does not. Integers beyond 2^53 come back as texts.
#[tool]
fn json_query(query: Query) -> Result<Output<Results>> {
    let (names, values): (Vec<String>, Vec<Value>) =
        query.args.into_iter().map(|(name, value)| (format!("${name}"), value)).unzip();
    let program = Program::compile(&query.program, &names)?;
    let limit = query.limit as usize;
    let mut results = Vec::new();
    let mut truncated = false;
    for result in program.run(to_val(query.input), values.into_iter().map(to_val)) {
        if results.len() == limit {
            truncated = true;
            break;
        }
        match result {
            Ok(val) => results.push(from_val(&val, 0)?),
            Err(Failure::Halt(0)) => break,
            Err(failure) => return Err(failed(failure, results.len())),
        }
    }
    Ok(Output::new(Results { results, truncated }).with_truncated(truncated))
}

/// The error of a program that failed after some results. `data.error` is what it failed with.
fn failed(failure: Failure, results: usize) -> Error {
    let (message, value) = match failure {
        Failure::Halt(code) => (format!("the program halted with exit code {code}"), None),
        Failure::Error(val) => match from_val(&val, 0) {
            Ok(Value::String(text)) => (with_hint(text), None),
            Ok(value) => (value.to_string(), Some(value)),
            Err(_) => (val.to_string(), None),
        },
    };
    let after = match results {
        0 => String::new(),
        1 => " (after 1 result)".into(),
        n => format!(" (after {n} results)"),
    };
    let error = Error::invalid_data(format!("{}{after}", shortened(&message)));
    match value {
        Some(value) => error.with_data(json!({ "error": value })),
        None => error,
    }
}

/// The message with what helps where a program that is right in jq fails here.
fn with_hint(message: String) -> String {
    let hint = match message.as_str() {
        text if text.starts_with("cannot use null as iterable") => {
            "an assignment makes no object where null is: begin with `{}` or use `setpath`; \
             `.[]?` passes over what has no items"
        }
        text if text.starts_with("index ") && text.ends_with(" out of bounds") => {
            "an assignment does not lengthen an array: use `setpath` or `+`"
        }
        _ => return message,
    };
    format!("{message}; {hint}")
}

/// Characters of a message that are kept at its start and its end.
const KEPT: (usize, usize) = (300, 100);

/// The message without its middle where that is long: it may hold a whole input.
fn shortened(message: &str) -> String {
    let start = message.char_indices().nth(KEPT.0).map_or(message.len(), |(at, _)| at);
    let end = message.char_indices().nth_back(KEPT.1).map_or(0, |(at, _)| at);
    if start < end {
        format!("{} … {}", &message[..start], &message[end..])
    } else {
        message.to_owned()
    }
}

export!(json_query);
