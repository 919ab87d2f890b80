//! MessagePack as base64 text.

use std::io::Cursor;

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::de::DeserializeSeed;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmp_serde::Deserializer;

use crate::tree::{Bounds, Tree, malformed};

pub(crate) fn read(text: &str) -> Result<Value> {
    let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|error| malformed("base64", error))?;
    let bounds = Bounds::new();
    let mut deserializer = Deserializer::new(Cursor::new(&bytes));
    let value = Tree::new(&bounds).deserialize(&mut deserializer);
    let offset = deserializer.position();
    let value =
        value.map_err(|error| bounds.error("MessagePack", format!("{error} at byte {offset}")))?;
    if offset < bytes.len() as u64 {
        return Err(malformed(
            "MessagePack",
            format!("the value ends at byte {offset}, data goes on"),
        ));
    }
    Ok(value)
}

pub(crate) fn write(value: &Value) -> Result<String> {
    Ok(BASE64_STANDARD.encode(rmp_serde::to_vec(value).or_code("internal")?))
}
