//! Converts data between JSON, YAML, TOML, XML, MessagePack and query strings.
//!
//! Every format is read into a JSON value and written from one. `tree` holds the bounds that all
//! readers keep.

mod json;
mod msgpack;
mod query;
mod toml;
mod tree;
mod xml;
mod yaml;

#[cfg(test)]
mod tests;

use ampoule_sdk::number;
use ampoule_sdk::prelude::*;

#[data]
struct Conversion {
    /// The data: text in the format `from` (MessagePack as base64). With `from` = `json` also any
    /// JSON value that is not a string, as it is; a string is parsed as JSON text.
    input: Value,
    /// The format of `input`.
    from: Format,
    /// The format of `output`.
    to: Format,
    /// Whether XML is indented and TOML spreads long lists over lines. Makes no difference to
    /// other formats.
    #[serde(default)]
    pretty: bool,
}

/// A data format.
#[data]
#[derive(Copy, PartialEq)]
enum Format {
    /// Numbers with a fraction or beyond 64 bits are 64-bit floats.
    Json,
    /// YAML 1.2, one document, no tags. Merge keys (`<<`) are applied; keys that are numbers,
    /// booleans or null become text.
    Yaml,
    /// TOML 1.1. Dates and times become text.
    Toml,
    /// XML 1.0 without DTD. The root element is the only field of an object. Attributes are
    /// `@name`, text beside them or beside elements is `#text`, repeated elements are lists, an
    /// element with nothing but text is that text. Names keep their prefix. Comments, processing
    /// instructions and the order of elements with different names are lost.
    Xml,
    /// MessagePack as base64 text. Bytes become base64 text; extension types are refused.
    Msgpack,
    /// `a=1&b=x+y`, as forms send it. Values are text, repeated keys are lists.
    Query,
}

#[data]
struct Converted {
    /// A JSON value when `to` is `json`, where integers beyond 2^53 are text; else text
    /// (MessagePack as base64).
    output: Value,
}

/// Convert data between JSON, YAML, TOML, XML, MessagePack and query strings. Data may nest 100
/// levels deep (TOML 80) and hold 500,000 values; keys that stand twice and floats that are not
/// finite are refused. What the target format cannot hold is an error that names its path.
#[tool]
fn convert(conversion: Conversion) -> Result<Converted> {
    let Conversion { input, from, to, pretty } = conversion;
    let value = read(input, from)?;
    Ok(Converted { output: write(value, to, pretty)? })
}

fn read(input: Value, from: Format) -> Result<Value> {
    match (from, input) {
        (Format::Json, Value::String(text)) => json::read(&text),
        (Format::Json, value) => tree::check(value),
        (Format::Yaml, Value::String(text)) => yaml::read(&text),
        (Format::Toml, Value::String(text)) => toml::read(&text),
        (Format::Xml, Value::String(text)) => xml::read(&text),
        (Format::Msgpack, Value::String(text)) => msgpack::read(&text),
        (Format::Query, Value::String(text)) => query::read(&text),
        _ => Err(Error::bad_arguments(
            "`input` must be a string unless `from` is `json`: pass text of the format, or set \
             `from` to `json`",
        )),
    }
}

fn write(mut value: Value, to: Format, pretty: bool) -> Result<Value> {
    Ok(Value::String(match to {
        // Many readers of JSON would round large integers.
        Format::Json => {
            number::make_exact(&mut value);
            return Ok(value);
        }
        Format::Yaml => yaml::write(&value)?,
        Format::Toml => toml::write(&value, pretty)?,
        Format::Xml => xml::write(&value, pretty)?,
        Format::Msgpack => msgpack::write(&value)?,
        Format::Query => query::write(&value)?,
    }))
}

export!(convert);
