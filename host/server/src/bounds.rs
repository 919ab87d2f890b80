//! A bound on how many values a message may hold, checked before anything is built from it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How many values a message may hold; parsed, each takes about a hundred bytes.
pub(crate) const MAX_VALUES: usize = 1_000_000;

/// Whether a JSON text holds more than [`MAX_VALUES`]. What is not JSON does not.
pub(crate) fn too_many_values(json: &[u8]) -> bool {
    // A value takes at least one byte, and another one to part it from the next.
    if json.len() / 2 < MAX_VALUES {
        return false;
    }
    let mut left = MAX_VALUES;
    let counted = Count(&mut left).deserialize(&mut serde_json::Deserializer::from_slice(json));
    counted.is_err() && left == 0
}

/// Counts values down, builds nothing, and fails at zero.
struct Count<'a>(&'a mut usize);

impl Count<'_> {
    fn one<E: Error>(&mut self) -> Result<(), E> {
        *self.0 = self.0.checked_sub(1).ok_or_else(|| E::custom("too many values"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.one()
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: Error>(mut self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.one()?;
        while items.next_element_seed(Count(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.one()?;
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(Count(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_bytes_are_not() {
        let array = |n: usize| format!("[{}0]", "0,".repeat(n - 1)).into_bytes();
        assert!(!too_many_values(&array(MAX_VALUES - 1)), "the array itself is one more");
        assert!(too_many_values(&array(MAX_VALUES)));
        let objects = format!(r#"{{"a":[{}{{}}]}}"#, r#"{"k":null},"#.repeat(MAX_VALUES / 2));
        assert!(too_many_values(objects.as_bytes()));
        let text = format!("\"{}\"", "0,".repeat(MAX_VALUES));
        assert!(!too_many_values(text.as_bytes()), "a long text is one value");
        let broken = format!("[{}", "0,".repeat(MAX_VALUES / 2));
        assert!(!too_many_values(broken.as_bytes()), "what is not JSON is not counted");
    }
}
