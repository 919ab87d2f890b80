//! Data at the beginning of a document.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{number, serde_json};

use crate::read;

/// Bytes of front matter.
const MAX_FRONT_BYTES: usize = 256 << 10;

/// Levels of front matter.
const MAX_DEPTH: usize = 64;

/// A document with front matter.
#[data]
pub(crate) struct Reading {
    /// The Markdown.
    markdown: Content,
}

/// What the front matter is written in.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Format {
    /// Between lines of `---`; the last may be `...`.
    Yaml,
    /// Between lines of `+++`.
    Toml,
}

/// The front matter.
#[data]
pub(crate) struct FrontMatter {
    /// What it is written in; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    /// Its fields; empty where there is none. Dates of TOML are texts.
    data: Map<String, Value>,
    /// The line on which the text begins, from 1.
    body_line: usize,
}

/// Read the front matter of a Markdown document: YAML between `---` or TOML between `+++` at its
/// very beginning, as JSON. A document without any answers no fields.
#[tool]
pub(crate) fn front_matter(reading: Reading) -> Result<FrontMatter> {
    let text = read(reading.markdown)?;
    let Some(Split { format, inner, end }) = split(&text) else {
        return Ok(FrontMatter { format: None, data: Map::new(), body_line: 1 });
    };
    if inner.len() > MAX_FRONT_BYTES {
        return Err(Error::too_large(format!(
            "the front matter has {} bytes and may have {MAX_FRONT_BYTES}; close it with a line \
             of its marks where it ends",
            inner.len()
        )));
    }
    let mut value = match format {
        Format::Yaml if inner.trim().is_empty() => Value::Object(Map::new()),
        // Its own values know a key that stands there twice.
        Format::Yaml => serde_norway::from_str::<serde_norway::Value>(inner)
            .map_err(|error| malformed("YAML", &error))
            .and_then(|value| {
                serde_json::to_value(value).map_err(|error| malformed("YAML for JSON", &error))
            })?,
        Format::Toml => toml::from_str::<toml::Table>(inner)
            .map(|table| from_toml(toml::Value::Table(table)))
            .map_err(|error| malformed("TOML", &error.message()))?,
    };
    number::make_exact(&mut value);
    let data = match value {
        Value::Object(data) => data,
        // Nothing but comments.
        Value::Null => Map::new(),
        _ => return Err(malformed("YAML", &"it has no fields, such as `title: Notes`")),
    };
    if data.values().any(|value| deeper(value, MAX_DEPTH)) {
        return Err(Error::too_large(format!(
            "the front matter is nested deeper than {MAX_DEPTH} levels"
        )));
    }
    let body_line = text[..end].lines().count() + 1;
    Ok(FrontMatter { format: Some(format), data, body_line })
}

fn malformed(format: &str, error: &dyn std::fmt::Display) -> Error {
    Error::invalid_data(format!("the front matter is no {format}: {error}"))
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        // What JSON cannot say is null.
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (name, from_toml(value))).collect(),
        ),
    }
}

fn deeper(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if left == 0 => true,
        Value::Array(items) => items.iter().any(|item| deeper(item, left - 1)),
        Value::Object(fields) => fields.values().any(|value| deeper(value, left - 1)),
        _ => false,
    }
}

/// Front matter that was found.
pub(crate) struct Split<'a> {
    format: Format,
    /// What stands between the marks.
    inner: &'a str,
    /// Where the text after it begins.
    pub(crate) end: usize,
}

/// The front matter of a text. As in Jekyll and Pandoc the first line after the mark is not empty,
/// and what is not closed is none.
pub(crate) fn split(text: &str) -> Option<Split<'_>> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    let (format, closing): (Format, &[&str]) = match first.trim_end() {
        "---" => (Format::Yaml, &["---", "..."]),
        "+++" => (Format::Toml, &["+++"]),
        _ => return None,
    };
    let mut end = first.len();
    for line in lines {
        let trimmed = line.trim_end();
        if closing.contains(&trimmed) {
            return Some(Split { format, inner: &text[first.len()..end], end: end + line.len() });
        }
        if trimmed.is_empty() && end == first.len() {
            return None;
        }
        end += line.len();
    }
    None
}
