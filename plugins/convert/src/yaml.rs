//! YAML 1.2.

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::de::DeserializeSeed;
use serde_norway::Deserializer;

use crate::tree::{Bounds, Place, Tree, malformed};

/// The key whose objects are merged into the one it stands in (yaml.org/type/merge.html).
const MERGE_KEY: &str = "<<";

pub(crate) fn read(text: &str) -> Result<Value> {
    let bounds = Bounds::new();
    let mut documents = Deserializer::from_str(text);
    let document = documents.next().ok_or_else(|| malformed("YAML", "it is empty"))?;
    let mut value =
        Tree::new(&bounds).deserialize(document).map_err(|error| bounds.error("YAML", error))?;
    if documents.next().is_some() {
        return Err(Error::invalid_data(
            "the YAML has several documents: convert them one by one, split at `---`",
        ));
    }
    merge(&mut value, &Place::ROOT)?;
    Ok(value)
}

/// Applies merge keys from the inside out. Own keys win, then earlier objects.
fn merge(value: &mut Value, place: &Place<'_>) -> Result<()> {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                merge(item, &place.index(index))?;
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                merge(value, &place.key(key))?;
            }
            let merged = match fields.shift_remove(MERGE_KEY) {
                None => return Ok(()),
                Some(Value::Array(items)) => items,
                Some(value) => vec![value],
            };
            for item in merged {
                let Value::Object(item) = item else {
                    return Err(Error::invalid_data(format!(
                        "the merge key {} needs an object or a list of them",
                        place.key(MERGE_KEY)
                    )));
                };
                for (key, value) in item {
                    fields.entry(key).or_insert(value);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn write(value: &Value) -> Result<String> {
    serde_norway::to_string(value).or_code("internal")
}
