//! From JSON to the values of a program and back.

use ampoule_sdk::number;
use ampoule_sdk::prelude::*;
use jaq_json::{Num, Val};

/// How deep a result may be nested: with the object and the list around it, it is as deep as a
/// value may be.
pub(crate) const MAX_DEPTH: usize = 98;

/// The value a program sees. A number without a fraction is an integer however it was written, so
/// that it can be an index.
pub(crate) fn to_val(value: Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(value),
        Value::Number(number) => Val::Num(if let Some(n) = number.as_i64() {
            Num::from_integral(n)
        } else if let Some(n) = number.as_u64() {
            Num::from_integral(n)
        } else {
            match number.as_f64().unwrap_or(f64::NAN) {
                n if is_integer(n) => Num::from_integral(n as i64),
                n => Num::Float(n),
            }
        }),
        Value::String(text) => text.into(),
        Value::Array(items) => items.into_iter().map(to_val).collect(),
        Value::Object(fields) => {
            Val::obj(fields.into_iter().map(|(name, value)| (name.into(), to_val(value))).collect())
        }
    }
}

/// The JSON of a result. Integers beyond 2^53 become texts, NaN becomes null and infinity the
/// largest number, as in jq.
///
/// # Errors
/// `too-large` where it is nested deeper than [`MAX_DEPTH`], `invalid-data` where it holds what
/// JSON cannot: bytes, or a key that is no text.
pub(crate) fn from_val(val: &Val, depth: usize) -> Result<Value> {
    if depth > MAX_DEPTH {
        return Err(Error::too_large(format!(
            "a result is nested deeper than {MAX_DEPTH} levels; select a part of it"
        )));
    }
    Ok(match val {
        Val::Null => Value::Null,
        Val::Bool(value) => (*value).into(),
        Val::Num(number) => from_number(number),
        Val::TStr(text) => String::from_utf8_lossy(text).into(),
        Val::BStr(_) => {
            return Err(Error::invalid_data(
                "a result holds bytes, which JSON cannot; turn them into text with `tostring`",
            ));
        }
        Val::Arr(items) => items
            .iter()
            .map(|item| from_val(item, depth + 1))
            .collect::<Result<Vec<Value>>>()?
            .into(),
        Val::Obj(fields) => fields
            .iter()
            .map(|(name, value)| match name {
                Val::TStr(name) => {
                    Ok((String::from_utf8_lossy(name).into(), from_val(value, depth + 1)?))
                }
                name => Err(Error::invalid_data(format!(
                    "a result has the key {name}, but keys are texts in JSON; use `tostring`"
                ))),
            })
            .collect::<Result<Map<String, Value>>>()?
            .into(),
    })
}

fn from_number(num: &Num) -> Value {
    match num {
        Num::Int(n) => number::integer(*n as i64),
        Num::BigInt(n) => {
            let digits = n.to_string();
            digits.parse::<i64>().map_or_else(|_| digits.into(), number::integer)
        }
        Num::Float(n) => from_float(*n),
        Num::Dec(text) => from_float(text.parse().unwrap_or(f64::NAN)),
    }
}

fn from_float(n: f64) -> Value {
    match n {
        n if n.is_nan() => Value::Null,
        n if is_integer(n) => (n as i64).into(),
        n => n.clamp(f64::MIN, f64::MAX).into(),
    }
}

fn is_integer(n: f64) -> bool {
    n.abs() <= number::MAX_SAFE_INTEGER as f64 && n % 1.0 == 0.0
}
