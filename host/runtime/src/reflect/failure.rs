//! The `err` of a function's result as a tool's error.

use ampoule_contract::ToolError;
use serde_json::{Map, Value};
use wasmtime::component::types::Type;

use super::clipped;

/// The code where the error brings none.
const CODE: &str = "failed";

/// The longest code taken from a text of the guest, in characters.
const MAX_CODE_CHARS: usize = 64;

/// The most of an error's JSON that its message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 400;

/// Reads the error a function has answered.
///
/// - an enum: its case is the code
/// - a variant: its case is the code; a payload that is a text, or has a `message`, the message
/// - a record: the fields that the contract's `error` has too (`code`, `message`, `log`,
///   `retryable`, `retry-after-ms`) mean the same, and the others are the data
/// - a text is the message
/// - all else is the data
pub(super) fn failure(function: &str, json: Value, ty: Option<&Type>) -> ToolError {
    let failed = |with: &str| format!("`{function}` failed: {with}");
    match (ty, json) {
        (None, _) => ToolError::new(CODE, format!("`{function}` failed and does not say why")),
        (Some(Type::Enum(_)), Value::String(case)) => {
            let message = failed(&case);
            ToolError::new(case, message)
        }
        (Some(Type::Variant(_)), Value::Object(mut object)) => {
            let code = text(&mut object, "tag").unwrap_or_else(|| CODE.to_owned());
            match object.remove("value") {
                Some(Value::String(message)) => ToolError::new(code, message),
                Some(Value::Object(fields)) => {
                    ToolError { code, ..record(fields, || failed("see the data")) }
                }
                data => {
                    let message = failed(&code);
                    ToolError { data, ..ToolError::new(code, message) }
                }
            }
        }
        (Some(Type::Record(_)), Value::Object(fields)) => record(fields, || failed("see the data")),
        (Some(_), Value::String(message)) => ToolError::new(CODE, message),
        (Some(_), data) => {
            let message = failed(&clipped(&data.to_string(), MAX_SHOWN_CHARS));
            ToolError { data: Some(data), ..ToolError::new(CODE, message) }
        }
    }
}

fn record(mut fields: Map<String, Value>, message: impl FnOnce() -> String) -> ToolError {
    let code = text(&mut fields, "code").map(|code| clipped(&code, MAX_CODE_CHARS));
    ToolError {
        code: code.filter(|code| !code.is_empty()).unwrap_or_else(|| CODE.to_owned()),
        message: text(&mut fields, "message").unwrap_or_else(message),
        log: text(&mut fields, "log"),
        retryable: take(&mut fields, "retryable", Value::as_bool).unwrap_or_default(),
        retry_after_ms: take(&mut fields, "retry-after-ms", Value::as_u64),
        data: (!fields.is_empty()).then_some(Value::Object(fields)),
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    take(fields, name, |value| value.as_str().map(str::to_owned))
}

/// Takes a field out where it is what `read` looks for, and leaves it where not.
fn take<T>(
    fields: &mut Map<String, Value>,
    name: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Option<T> {
    let value = read(fields.get(name)?)?;
    fields.shift_remove(name);
    Some(value)
}
