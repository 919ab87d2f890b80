//! TOML 1.1.

use ampoule_sdk::prelude::*;

use crate::tree::{Bounds, Place, float, malformed_at};

pub(crate) fn read(text: &str) -> Result<Value> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        malformed_at("TOML", error.message(), text, offset)
    })?;
    from_toml(toml::Value::Table(table), &Bounds::new(), &Place::ROOT)
}

fn from_toml(value: toml::Value, bounds: &Bounds, place: &Place<'_>) -> Result<Value> {
    bounds.value(place)?;
    Ok(match value {
        toml::Value::String(text) => {
            bounds.text(place, &text)?;
            Value::String(text)
        }
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => float(place, number)?,
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => {
            bounds.depth(place)?;
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| from_toml(item, bounds, &place.index(index)))
                .collect::<Result<_>>()?
        }
        toml::Value::Table(fields) => {
            bounds.depth(place)?;
            let mut object = Map::new();
            for (key, value) in fields {
                let place = place.key(&key);
                bounds.text(&place, &key)?;
                let value = from_toml(value, bounds, &place)?;
                object.insert(key, value);
            }
            Value::Object(object)
        }
    })
}

pub(crate) fn write(value: &Value, pretty: bool) -> Result<String> {
    if !value.is_object() {
        return Err(Error::bad_arguments(
            "TOML needs an object at the root: wrap the value in one",
        ));
    }
    check(value, &Place::ROOT)?;
    if pretty { toml::to_string_pretty(value) } else { toml::to_string(value) }.or_code("internal")
}

/// Checks that TOML has every value there is.
fn check(value: &Value, place: &Place<'_>) -> Result<()> {
    match value {
        Value::Null => {
            Err(Error::bad_arguments(format!("TOML has no null, as at {place}: leave it out")))
        }
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            Err(Error::bad_arguments(format!(
                "the integer at {place} does not fit TOML's 64 bits with a sign: pass it as text"
            )))
        }
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| check(item, &place.index(index)))
        }
        Value::Object(fields) => {
            fields.iter().try_for_each(|(key, value)| check(value, &place.key(key)))
        }
        _ => Ok(()),
    }
}
