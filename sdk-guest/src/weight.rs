//! How much a value is.

use serde_json::Value;

/// How much a value is, to bound what is done with it before it is done.
///
/// ```
/// use ampoule_sdk::{Weight, json};
///
/// let weight = Weight::of(&json!({ "name": ["a", "bc"] }));
/// assert_eq!(weight, Weight { values: 4, text: 7, depth: 3 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Values: itself and what is in it.
    pub values: usize,
    /// Bytes of its texts and names.
    pub text: usize,
    /// How many values are in one another; 1 for what holds none.
    pub depth: usize,
}

impl Weight {
    /// The weight of a value.
    pub fn of(value: &Value) -> Weight {
        let mut whole = Weight { values: 1, text: 0, depth: 0 };
        let mut add = |name: usize, part: &Value| {
            let part = Weight::of(part);
            whole.values += part.values;
            whole.text += name + part.text;
            whole.depth = whole.depth.max(part.depth);
        };
        match value {
            Value::Array(items) => items.iter().for_each(|item| add(0, item)),
            Value::Object(fields) => fields.iter().for_each(|(name, part)| add(name.len(), part)),
            Value::String(text) => whole.text = text.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        whole.depth += 1;
        whole
    }
}
