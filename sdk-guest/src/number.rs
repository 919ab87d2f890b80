//! Integers in JSON: beyond 2^53 many readers round them, so the contract has them as text.

use serde_json::{Number, Value};

/// The integers up to here, and down to its negative, are the same in every reader of JSON: 2^53
/// (RFC 8259, section 6).
pub const MAX_SAFE_INTEGER: u64 = 1 << 53;

/// An integer as a value: a number up to [`MAX_SAFE_INTEGER`] either way, beyond it a text.
///
/// ```
/// use ampoule_sdk::{json, number};
///
/// assert_eq!(number::integer(7_u64), json!(7));
/// assert_eq!(number::integer(i64::MIN), json!("-9223372036854775808"));
/// ```
pub fn integer(integer: impl Into<i128>) -> Value {
    let integer = integer.into();
    match i64::try_from(integer).ok().filter(|n| n.unsigned_abs() <= MAX_SAFE_INTEGER) {
        Some(small) => small.into(),
        None => integer.to_string().into(),
    }
}

/// Writes the integers beyond [`MAX_SAFE_INTEGER`] in a value as texts, at every depth.
///
/// ```
/// use ampoule_sdk::{json, number};
///
/// let mut value = json!({ "ids": [1, 9007199254740993_u64], "share": 0.5 });
/// number::make_exact(&mut value);
/// assert_eq!(value, json!({ "ids": [1, "9007199254740993"], "share": 0.5 }));
/// ```
pub fn make_exact(value: &mut Value) {
    match value {
        Value::Number(number) if is_large(number) => *value = number.to_string().into(),
        Value::Array(items) => items.iter_mut().for_each(make_exact),
        Value::Object(fields) => fields.values_mut().for_each(make_exact),
        _ => {}
    }
}

fn is_large(number: &Number) -> bool {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude > MAX_SAFE_INTEGER)
}
