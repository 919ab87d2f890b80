//! An OpenAPI document: JSON or YAML, within bounds, and its references.

use std::cell::Cell;
use std::fmt;

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use ampoule_sdk::{serde, serde_json};

/// The longest document: 16 MiB.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// What a document may take in memory, aliases of YAML spelt out: 64 MiB. Each value counts
/// [`NODE`] bytes beside its text.
const MAX_MEMORY: usize = 64 << 20;
const NODE: usize = 48;

/// How many references may lead from one to the next.
const MAX_HOPS: usize = 16;

/// A document that was read.
pub(crate) struct Document {
    root: Value,
    /// Where it came from.
    pub(crate) url: Option<String>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// `invalid-data` where it is none, `unsupported` for Swagger 2.0, `too-large`.
    pub(crate) fn parse(text: &str, url: Option<String>) -> Result<Document> {
        if text.len() > MAX_BYTES {
            return Err(Error::too_large("the document is larger than 16 MiB"));
        }
        let left = Cell::new(MAX_MEMORY);
        let text = text.trim_start_matches('\u{feff}');
        let broken = |error: &dyn fmt::Display, what: &str| match left.get() {
            0 => Error::too_large("the document takes more than 64 MiB"),
            _ => Error::invalid_data(format!("the document is not {what}: {error}")),
        };
        let root = if text.trim_start().starts_with('{') {
            let mut reader = serde_json::Deserializer::from_str(text);
            let root = Node(&left).deserialize(&mut reader).map_err(|e| broken(&e, "JSON"))?;
            reader.end().map_err(|e| broken(&e, "JSON"))?;
            root
        } else {
            let reader = serde_norway::Deserializer::from_str(text);
            Node(&left).deserialize(reader).map_err(|e| broken(&e, "YAML"))?
        };
        Document::new(root, url)
    }

    /// A document that is a value already.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub(crate) fn new(root: Value, url: Option<String>) -> Result<Document> {
        if root.get("swagger").is_some() {
            return Err(Error::unsupported(
                "this is Swagger 2.0: convert the document to OpenAPI 3 first",
            ));
        }
        let version = root.get("openapi").and_then(Value::as_str).unwrap_or_default();
        let of = |minor: &str| {
            version.strip_prefix(minor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !of("3.0") && !of("3.1") {
            let shown: String = version.chars().take(20).collect();
            return Err(Error::invalid_data(format!(
                "the document says `openapi: {shown}`; read are 3.0 and 3.1"
            )));
        }
        Ok(Document { root, url })
    }

    /// The whole document.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// A value, or what its `$ref` refers to, and the `$ref` followed last.
    ///
    /// # Errors
    /// `unsupported` for a reference out of the document, `invalid-data` for one to nothing or in a
    /// circle.
    pub(crate) fn resolve<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value> {
        for _ in 0..MAX_HOPS {
            match value.get("$ref").and_then(Value::as_str) {
                None => return Ok(value),
                Some(reference) => value = self.target(reference)?,
            }
        }
        Err(Error::invalid_data("a `$ref` of the document leads in a circle"))
    }

    /// What a reference refers to.
    ///
    /// # Errors
    /// As [`Document::resolve`].
    pub(crate) fn target(&self, reference: &str) -> Result<&Value> {
        let shown = || reference.chars().take(200).collect::<String>();
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(Error::unsupported(format!(
                "the document refers to another, `{}`: bundle them into one first",
                shown()
            )));
        };
        let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8_lossy();
        self.root.pointer(&pointer).ok_or_else(|| {
            Error::invalid_data(format!("the document refers to `{}`, which is not there", shown()))
        })
    }
}

/// Reads a value while there is memory left. Keys that are no text, such as the unquoted status
/// codes of YAML, become one.
struct Node<'a>(&'a Cell<usize>);

impl Node<'_> {
    fn take<E: serde::de::Error>(&self, text: usize) -> Result<(), E> {
        match self.0.get().checked_sub(NODE + text) {
            Some(left) if left > 0 => {
                self.0.set(left);
                Ok(())
            }
            _ => {
                self.0.set(0);
                Err(E::custom("too large"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.take(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.take(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.take(0)?;
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.take(0)?;
        Ok(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.take(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node(self.0))? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut object = Map::new();
        while let Some(key) = fields.next_key_seed(Node(self.0))? {
            let key = match key {
                Value::String(key) => key,
                Value::Array(_) | Value::Object(_) => {
                    return Err(A::Error::custom("the name of a field is a list or an object"));
                }
                other => other.to_string(),
            };
            object.insert(key, fields.next_value_seed(Node(self.0))?);
        }
        Ok(object.into())
    }

    /// A value with a tag of YAML, which is passed over.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (_, value) = tagged.variant_seed(Node(self.0))?;
        value.newtype_variant_seed(Node(self.0))
    }
}
