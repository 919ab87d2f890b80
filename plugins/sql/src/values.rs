//! Values of SQLite and of JSON.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{number, serde_json};
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use rusqlite::{Statement, ToSql};

/// Bytes of a text or blob that are shown.
const MAX_CELL: usize = 64 << 10;

/// A value of a row as JSON, and whether it was cut.
pub(crate) fn shown(value: ValueRef<'_>) -> (Value, bool) {
    match value {
        ValueRef::Null => (Value::Null, false),
        ValueRef::Integer(integer) => (number::integer(integer), false),
        // JSON has no infinity.
        ValueRef::Real(number) if number.is_infinite() => {
            (if number > 0.0 { "Infinity" } else { "-Infinity" }.into(), false)
        }
        ValueRef::Real(number) => (number.into(), false),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            match text.len() > MAX_CELL {
                true => (format!("{}…", &text[..text.floor_char_boundary(MAX_CELL)]).into(), true),
                false => (text.into(), false),
            }
        }
        ValueRef::Blob(bytes) => {
            let part = &bytes[..bytes.len().min(MAX_CELL)];
            let base64 = ampoule_sdk::Base64::new(part).base64;
            (json!({ "base64": base64 }), part.len() < bytes.len())
        }
    }
}

/// A value of JSON for SQLite: what has no type there is a text of JSON.
pub(crate) struct Given<'a>(pub(crate) &'a Value);

impl ToSql for Given<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(Sql::Null),
            Value::Bool(value) => ToSqlOutput::Owned(Sql::Integer((*value).into())),
            Value::Number(number) => ToSqlOutput::Owned(match number.as_i64() {
                Some(number) => Sql::Integer(number),
                None => number.as_f64().map_or(Sql::Null, Sql::Real),
            }),
            Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            other => match blob(other) {
                Some(bytes) => ToSqlOutput::Owned(Sql::Blob(bytes)),
                None => ToSqlOutput::Owned(Sql::Text(other.to_string())),
            },
        })
    }
}

/// The bytes of `{"base64": "…"}`.
fn blob(value: &Value) -> Option<Vec<u8>> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let content =
        Content::Base64(ampoule_sdk::Base64 { base64: object.get("base64")?.as_str()?.into() });
    content.bytes().ok()
}

/// Values for the parameters of statements.
#[data]
#[serde(untagged)]
#[schemars(description = "Values for `?`, in order, or for `:name` by name.")]
pub(crate) enum Parameters {
    /// In order.
    Listed(#[schemars(length(max = 1000))] Vec<Value>),
    /// By name, without the sign before it.
    Named(Map<String, Value>),
}

impl Parameters {
    /// Gives a statement its values.
    ///
    /// # Errors
    /// `bad-arguments` where one has no value, or a value no parameter.
    pub(crate) fn bind(
        parameters: Option<&Parameters>,
        statement: &mut Statement<'_>,
    ) -> Result<()> {
        let count = statement.parameter_count();
        if count == 0 {
            return Ok(());
        }
        let missing = |what: &str| {
            Error::bad_arguments(format!(
                "the statement has {count} parameters; `params` has no value for {what}"
            ))
        };
        for index in 1..=count {
            let name = statement.parameter_name(index).map(str::to_owned);
            let value = match (parameters, &name) {
                (Some(Parameters::Listed(values)), _) => values.get(index - 1),
                (Some(Parameters::Named(values)), Some(name)) => {
                    values.get(&name[1..]).or_else(|| values.get(name))
                }
                _ => None,
            };
            let value = value.ok_or_else(|| missing(&name.unwrap_or(format!("number {index}"))))?;
            statement.raw_bind_parameter(index, Given(value)).map_err(crate::failed)?;
        }
        match parameters {
            Some(Parameters::Listed(values)) if values.len() > count => {
                Err(Error::bad_arguments(format!(
                    "`params` has {} values; the statement has {count} parameters",
                    values.len()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Bytes a value takes in JSON, near enough.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Object(_) => serde_json::to_string(value).map_or(0, |text| text.len()),
        _ => 12,
    }
}
