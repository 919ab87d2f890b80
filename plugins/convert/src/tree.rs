//! Reads any self-describing format into a JSON value, within bounds.

use std::cell::Cell;
use std::fmt;

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use ampoule_sdk::serde_json::Number;
use ampoule_sdk::shortened;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How deep lists and objects may nest.
pub(crate) const MAX_DEPTH: usize = 100;
/// How many values there may be, lists and objects counted too.
pub(crate) const MAX_VALUES: usize = 500_000;
/// How many bytes keys and text may have together. YAML aliases are counted where they stand.
pub(crate) const MAX_TEXT_BYTES: usize = 8 << 20;

/// How many characters of a key or of a parser's message an error shows.
const SHOWN_CHARS: usize = 200;

/// Where a value stands; shown as a JSON Pointer (RFC 6901).
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    above: Option<(&'a Place<'a>, Step<'a>)>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    pub(crate) const ROOT: Place<'static> = Place { above: None, depth: 1 };

    pub(crate) fn key(&'a self, key: &'a str) -> Place<'a> {
        Place { above: Some((self, Step::Key(key))), depth: self.depth + 1 }
    }

    pub(crate) fn index(&'a self, index: usize) -> Place<'a> {
        Place { above: Some((self, Step::Index(index))), depth: self.depth + 1 }
    }

    fn write_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((above, step)) = self.above else { return Ok(()) };
        above.write_steps(f)?;
        match step {
            Step::Key(key) => {
                write!(f, "/{}", shortened(&key.replace('~', "~0").replace('/', "~1"), SHOWN_CHARS))
            }
            Step::Index(index) => write!(f, "/{index}"),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.above.is_none() {
            return f.write_str("the root");
        }
        f.write_str("`")?;
        self.write_steps(f)?;
        f.write_str("`")
    }
}

/// What may still be read, and why reading was refused.
pub(crate) struct Bounds {
    values: Cell<usize>,
    text_bytes: Cell<usize>,
    refused: Cell<Option<Error>>,
}

impl Bounds {
    pub(crate) fn new() -> Bounds {
        Bounds {
            values: Cell::new(MAX_VALUES),
            text_bytes: Cell::new(MAX_TEXT_BYTES),
            refused: Cell::new(None),
        }
    }

    /// Counts a value.
    pub(crate) fn value(&self, place: &Place<'_>) -> Result<()> {
        spend(&self.values, 1, || format!("there are more than {MAX_VALUES} values, at {place}"))
    }

    /// Counts the bytes of a key or text.
    pub(crate) fn text(&self, place: &Place<'_>, text: &str) -> Result<()> {
        spend(&self.text_bytes, text.len(), || {
            format!("there are more than {MAX_TEXT_BYTES} bytes of text, at {place}")
        })
    }

    /// Checks the depth of a list or object.
    pub(crate) fn depth(&self, place: &Place<'_>) -> Result<()> {
        if place.depth > MAX_DEPTH {
            return Err(Error::too_large(format!("it nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    /// The error of a format whose parser failed: ours where reading was refused.
    pub(crate) fn error(&self, format: &str, error: impl fmt::Display) -> Error {
        self.refused.take().unwrap_or_else(|| malformed(format, error))
    }

    /// Keeps an error while a parser passes a copy of its own kind on.
    fn refuse<E: de::Error>(&self, error: Error) -> E {
        let passed_on = E::custom(&error.message);
        self.refused.set(Some(error));
        passed_on
    }
}

fn spend(left: &Cell<usize>, amount: usize, message: impl Fn() -> String) -> Result<()> {
    left.set(left.get().checked_sub(amount).ok_or_else(|| Error::too_large(message()))?);
    Ok(())
}

/// The error of data that is not of its format; `error` should tell where.
pub(crate) fn malformed(format: &str, error: impl fmt::Display) -> Error {
    Error::invalid_data(format!(
        "the {format} is malformed: {}",
        shortened(&error.to_string(), SHOWN_CHARS)
    ))
}

/// The same at a byte of the text, shown as line and column (in characters), both from 1.
pub(crate) fn malformed_at(
    format: &str,
    error: impl fmt::Display,
    text: &str,
    offset: usize,
) -> Error {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    let mut malformed = malformed(format, error);
    malformed.message += &format!(" at line {line} column {column}");
    malformed
}

/// A number that JSON can hold.
///
/// # Errors
/// `invalid-data` where it is not finite.
pub(crate) fn float(place: &Place<'_>, number: f64) -> Result<Value> {
    let number = Number::from_f64(number).ok_or_else(|| {
        Error::invalid_data(format!("the number at {place} is {number}: only finite ones convert"))
    })?;
    Ok(Value::Number(number))
}

/// The text of a value that is neither list nor object; `null` is empty.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Holds a value that is there already to the bounds.
pub(crate) fn check(value: Value) -> Result<Value> {
    let bounds = Bounds::new();
    Tree::new(&bounds).deserialize(value).map_err(|error| bounds.error("JSON", error))
}

/// Reads one value that stands at a place.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    bounds: &'a Bounds,
    place: Place<'a>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(bounds: &'a Bounds) -> Tree<'a> {
        Tree { bounds, place: Place::ROOT }
    }

    fn allow<E: de::Error>(&self, check: Result<()>) -> Result<(), E> {
        check.map_err(|error| self.bounds.refuse(error))
    }

    fn text<E: de::Error>(&self, text: String) -> Result<Value, E> {
        self.allow(self.bounds.text(&self.place, &text))?;
        Ok(Value::String(text))
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.allow(self.bounds.value(&self.place))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        self.text(value.to_string())
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        self.text(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        float(&self.place, value).map_err(|error| self.bounds.refuse(error))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.allow(self.bounds.text(&self.place, value))?;
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        self.text(BASE64_STANDARD.encode(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.allow(self.bounds.depth(&self.place))?;
        let mut items = Vec::new();
        while let Some(item) = access
            .next_element_seed(Tree { bounds: self.bounds, place: self.place.index(items.len()) })?
        {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.allow(self.bounds.depth(&self.place))?;
        let mut fields = Map::new();
        while let Some(key) = access.next_key_seed(Key)? {
            let place = self.place.key(&key);
            self.allow(self.bounds.text(&place, &key))?;
            if fields.contains_key(&key) {
                let message = format!("the key {place} stands twice: keep one");
                return Err(self.bounds.refuse(Error::invalid_data(message)));
            }
            let value = access.next_value_seed(Tree { bounds: self.bounds, place })?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        let message = format!("there is a YAML tag at {}: remove it", self.place);
        Err(self.bounds.refuse(Error::invalid_data(message)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Value, D::Error> {
        let message = format!("there is a MessagePack extension type at {}", self.place);
        Err(self.bounds.refuse(Error::invalid_data(message)))
    }
}

/// Reads a key as text.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key of text, a number, a boolean or null")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        Ok(key.into())
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_i128<E: de::Error>(self, key: i128) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_u128<E: de::Error>(self, key: u128) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_f64<E: de::Error>(self, key: f64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_unit<E: de::Error>(self) -> Result<String, E> {
        Ok("null".into())
    }
}
