//! JSON (RFC 8259).

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::de::DeserializeSeed;
use ampoule_sdk::serde_json::{Deserializer, Number};

use crate::tree::{Bounds, Tree};

/// The largest integer up to which a 64-bit float holds every one (RFC 8259, section 6).
const MAX_SAFE_INTEGER: u64 = 1 << 53;

pub(crate) fn read(text: &str) -> Result<Value> {
    let bounds = Bounds::new();
    let mut deserializer = Deserializer::from_str(text);
    Tree::new(&bounds)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| bounds.error("JSON", error))
}

/// The value with integers that many readers of JSON would round as text.
pub(crate) fn write(mut value: Value) -> Value {
    write_large_integers(&mut value);
    value
}

fn write_large_integers(value: &mut Value) {
    match value {
        Value::Number(number) if is_large_integer(number) => {
            *value = Value::String(number.to_string());
        }
        Value::Array(items) => items.iter_mut().for_each(write_large_integers),
        Value::Object(fields) => fields.values_mut().for_each(write_large_integers),
        _ => {}
    }
}

fn is_large_integer(number: &Number) -> bool {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude > MAX_SAFE_INTEGER)
}
