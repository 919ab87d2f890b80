//! JSON (RFC 8259).

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::de::DeserializeSeed;
use ampoule_sdk::serde_json::Deserializer;

use crate::tree::{Bounds, Tree};

pub(crate) fn read(text: &str) -> Result<Value> {
    let bounds = Bounds::new();
    let mut deserializer = Deserializer::from_str(text);
    Tree::new(&bounds)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| bounds.error("JSON", error))
}
