//! Query strings: `application/x-www-form-urlencoded` of the URL Standard.

use ampoule_sdk::prelude::*;
use percent_encoding::percent_decode_str;

use crate::tree::{Bounds, Place, malformed, scalar};

/// Reads pairs; a leading `?` is passed over, repeated keys become lists.
pub(crate) fn read(text: &str) -> Result<Value> {
    let text = text.strip_prefix('?').unwrap_or(text);
    // The parser would put U+FFFD for what is not UTF-8.
    let is_not_utf8 = |pair| percent_decode_str(pair).decode_utf8().is_err();
    if let Some(index) = text.split('&').position(is_not_utf8) {
        let error = format!("pair {} is not UTF-8 once decoded", index + 1);
        return Err(malformed("query string", error));
    }
    let bounds = Bounds::new();
    let mut fields = Map::new();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        let place = Place::ROOT.key(&key);
        bounds.value(&place)?;
        bounds.text(&place, &key)?;
        bounds.text(&place, &value)?;
        push(&mut fields, &key, value.into_owned().into());
    }
    Ok(Value::Object(fields))
}

/// Adds a field; one that is there already becomes a list.
pub(crate) fn push(fields: &mut Map<String, Value>, key: &str, value: Value) {
    match fields.get_mut(key) {
        None => {
            fields.insert(key.into(), value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

pub(crate) fn write(value: &Value) -> Result<String> {
    let Value::Object(fields) = value else {
        return Err(Error::bad_arguments("a query string needs an object: wrap the value in one"));
    };
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    for (key, value) in fields {
        let place = Place::ROOT.key(key);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    serializer.append_pair(key, &text(item, &place.index(index))?);
                }
            }
            _ => {
                serializer.append_pair(key, &text(value, &place)?);
            }
        }
    }
    Ok(serializer.finish())
}

fn text(value: &Value, place: &Place<'_>) -> Result<String> {
    scalar(value).ok_or_else(|| {
        Error::bad_arguments(format!(
            "a query string cannot hold the {} at {place}: flatten it",
            if value.is_array() { "list" } else { "object" }
        ))
    })
}
