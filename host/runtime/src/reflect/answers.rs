//! JSON from values of WIT types: what a guest has answered. What JSON each type is: see
//! [`schema`](super::schema).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;
use wasmtime::component::types::Type;

/// The largest integer of which every smaller one is a double, too: 2^53.
const MAX_EXACT: u64 = 1 << 53;

/// How much JSON may be built from a value a guest has returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Values, each object, array, text and number one.
    pub(crate) nodes: usize,
    /// Bytes the values come to as JSON text, at the least.
    pub(crate) bytes: usize,
}

/// Why a value cannot be written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    /// Beyond its [`Budget`].
    #[error("the value is too large")]
    TooLarge,
    /// Not of the type it should have: the engine's fault.
    #[error("the value is not of its type")]
    Mismatch,
}

impl Budget {
    fn take(&mut self, nodes: usize, bytes: usize) -> Result<(), Unwritable> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or(Unwritable::TooLarge)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Unwritable::TooLarge)?;
        Ok(())
    }
}

/// Writes a value of type `ty`, consuming it so that texts are moved and not copied.
///
/// # Errors
/// It is larger than `budget`, which is looked at before anything is allocated.
pub(super) fn to_json(val: Val, ty: &Type, budget: &mut Budget) -> Result<Value, Unwritable> {
    budget.take(1, 1)?;
    Ok(match (val, ty) {
        (Val::Bool(value), Type::Bool) => Value::Bool(value),
        (Val::S8(n), Type::S8) => n.into(),
        (Val::U8(n), Type::U8) => n.into(),
        (Val::S16(n), Type::S16) => n.into(),
        (Val::U16(n), Type::U16) => n.into(),
        (Val::S32(n), Type::S32) => n.into(),
        (Val::U32(n), Type::U32) => n.into(),
        (Val::S64(n), Type::S64) if n.unsigned_abs() > MAX_EXACT => text(n.to_string(), budget)?,
        (Val::S64(n), Type::S64) => n.into(),
        (Val::U64(n), Type::U64) if n > MAX_EXACT => text(n.to_string(), budget)?,
        (Val::U64(n), Type::U64) => n.into(),
        (Val::Float32(n), Type::Float32) => number(shortest(n)),
        (Val::Float64(n), Type::Float64) => number(n),
        (Val::Char(one), Type::Char) => text(one.into(), budget)?,
        (Val::String(value), Type::String) => text(value, budget)?,
        (Val::List(items), Type::List(list)) => sequence(items, &list.ty(), budget)?,
        (Val::FixedLengthList(items), Type::FixedLengthList(list)) => {
            sequence(items, &list.ty(), budget)?
        }
        (Val::Map(entries), Type::Map(map)) => {
            budget.take(entries.len(), 0)?;
            let entries = entries.into_iter();
            if map.key() == Type::String {
                // Of a key that occurs twice the last value counts, as it does in WIT.
                let mut object = Map::new();
                for (key, value) in entries {
                    let Val::String(key) = key else { return Err(Unwritable::Mismatch) };
                    budget.take(0, key.len() + 3)?;
                    object.insert(key, to_json(value, &map.value(), budget)?);
                }
                return Ok(Value::Object(object));
            }
            let entries = entries.map(|(key, value)| {
                let key = to_json(key, &map.key(), budget)?;
                Ok(Value::Array(vec![key, to_json(value, &map.value(), budget)?]))
            });
            Value::Array(entries.collect::<Result<_, _>>()?)
        }
        (Val::Record(values), Type::Record(record)) => {
            let mut object = Map::new();
            for ((name, value), field) in values.into_iter().zip(record.fields()) {
                put(&mut object, name, value, &field.ty, budget)?;
            }
            Value::Object(object)
        }
        (Val::Tuple(values), Type::Tuple(tuple)) => {
            let items = values.into_iter().zip(tuple.types());
            let items = items.map(|(value, ty)| to_json(value, &ty, budget));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        (Val::Variant(tag, payload), Type::Variant(variant)) => {
            let ty = variant.cases().find(|case| case.name == tag).and_then(|case| case.ty);
            let mut object = Map::new();
            budget.take(1, tag.len() + 8)?;
            object.insert("tag".into(), Value::String(tag));
            match (payload, ty) {
                (Some(payload), Some(ty)) => {
                    put(&mut object, "value".into(), *payload, &ty, budget)?;
                }
                (None, None) => {}
                _ => return Err(Unwritable::Mismatch),
            }
            Value::Object(object)
        }
        (Val::Enum(name), Type::Enum(_)) => text(name, budget)?,
        (Val::Flags(names), Type::Flags(_)) => {
            budget.take(names.len(), 0)?;
            let names = names.into_iter().map(|name| text(name, budget));
            Value::Array(names.collect::<Result<_, _>>()?)
        }
        (Val::Option(None), Type::Option(_)) => Value::Null,
        (Val::Option(Some(inner)), Type::Option(option)) => match option.ty() {
            ty @ Type::Option(_) => wrapped("some", to_json(*inner, &ty, budget)?, budget)?,
            ty => to_json(*inner, &ty, budget)?,
        },
        (Val::Result(value), Type::Result(result)) => {
            let (key, payload, ty) = match value {
                Ok(payload) => ("ok", payload, result.ok()),
                Err(payload) => ("err", payload, result.err()),
            };
            wrapped(key, to_json_or_null(payload, ty.as_ref(), budget)?, budget)?
        }
        _ => return Err(Unwritable::Mismatch),
    })
}

/// Writes the payload of a result, `null` where it has none.
pub(super) fn to_json_or_null(
    payload: Option<Box<Val>>,
    ty: Option<&Type>,
    budget: &mut Budget,
) -> Result<Value, Unwritable> {
    match (payload, ty) {
        (Some(payload), Some(ty)) => to_json(*payload, ty, budget),
        (None, None) => Ok(Value::Null),
        _ => Err(Unwritable::Mismatch),
    }
}

/// Adds a member to an object; one that is `none` is left out.
fn put(
    object: &mut Map<String, Value>,
    name: String,
    value: Val,
    ty: &Type,
    budget: &mut Budget,
) -> Result<(), Unwritable> {
    if matches!(value, Val::Option(None)) {
        return Ok(());
    }
    budget.take(0, name.len() + 3)?;
    object.insert(name, to_json(value, ty, budget)?);
    Ok(())
}

fn sequence(items: Vec<Val>, ty: &Type, budget: &mut Budget) -> Result<Value, Unwritable> {
    if *ty == Type::U8 {
        budget.take(0, items.len().div_ceil(3) * 4 + 2)?;
        let bytes = items.into_iter().map(|item| match item {
            Val::U8(byte) => Ok(byte),
            _ => Err(Unwritable::Mismatch),
        });
        return Ok(BASE64_STANDARD.encode(bytes.collect::<Result<Vec<_>, _>>()?).into());
    }
    let items = items.into_iter().map(|item| to_json(item, ty, budget));
    Ok(Value::Array(items.collect::<Result<_, _>>()?))
}

fn text(text: String, budget: &mut Budget) -> Result<Value, Unwritable> {
    budget.take(0, text.len() + 2)?;
    Ok(Value::String(text))
}

fn wrapped(key: &str, value: Value, budget: &mut Budget) -> Result<Value, Unwritable> {
    budget.take(1, key.len() + 5)?;
    Ok(Value::Object(Map::from_iter([(key.to_owned(), value)])))
}

fn number(n: f64) -> Value {
    match Number::from_f64(n) {
        Some(n) => Value::Number(n),
        None if n.is_nan() => "NaN".into(),
        None if n > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// The double with the fewest digits that is still this number, and in its range: 0.1 and not
/// 0.10000000149011612.
fn shortest(n: f32) -> f64 {
    match n.to_string().parse::<f64>() {
        Ok(short) if short as f32 == n && short.abs() <= f32::MAX.into() => short,
        _ => n.into(),
    }
}
