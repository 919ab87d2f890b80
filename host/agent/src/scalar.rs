//! Reading single values of front matter, so that an error says where the value stands.
//!
//! A reader gives the place only to errors that arise while a value is being visited; checks that
//! follow would be blamed on the beginning of the whole table.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, Visitor};

/// A number or a text, as it is written.
pub(crate) enum Raw<'a> {
    Number(u64),
    Text(&'a str),
}

/// Reads a number or a text by `read`; `expected` says what would do.
pub(crate) struct Scalar<F> {
    pub(crate) expected: &'static str,
    pub(crate) read: F,
}

/// Reads a text by `read`.
pub(crate) fn text<'de, D, T>(
    deserializer: D,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let expected = "a text";
    let read = |raw: Raw<'_>| match raw {
        Raw::Text(text) => read(text),
        Raw::Number(n) => Err(format!("expected {expected}, not the number {n}")),
    };
    deserializer.deserialize_str(Scalar { expected, read })
}

/// Reads a whole number between `MIN` and `MAX`.
pub(crate) fn within<'de, D, T, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let expected = "a whole number";
    let read = |raw: Raw<'_>| match raw {
        Raw::Number(n) => {
            let fits = if (MIN..=MAX).contains(&n) { T::try_from(n).ok() } else { None };
            fits.ok_or_else(|| format!("{n} is not between {MIN} and {MAX}"))
        }
        Raw::Text(text) => Err(format!("expected {expected}, not `{text}`")),
    };
    deserializer.deserialize_u64(Scalar { expected, read })
}

impl<'de, T, F: FnOnce(Raw<'_>) -> Result<T, String>> Visitor<'de> for Scalar<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<T, E> {
        (self.read)(Raw::Number(n)).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(Raw::Text(text)).map_err(E::custom)
    }
}

impl<'de, T, F: FnOnce(Raw<'_>) -> Result<T, String>> DeserializeSeed<'de> for Scalar<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}
