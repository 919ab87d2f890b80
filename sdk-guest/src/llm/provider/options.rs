//! The options of a request, by the contract's list of keys.

use crate::prelude::*;

/// What a caller may ask for beside the conversation; `None` and empty where it does not.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Tokens to write at most, thinking included.
    pub max_tokens: Option<u64>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// `auto`, `none`, `required`, or a tool's name.
    pub tool_choice: Option<String>,
    /// Whether one answer may call several tools.
    pub parallel_tools: Option<bool>,
    /// JSON Schema of the answer.
    pub response_schema: Option<Value>,
    /// How much to think first.
    pub thinking: Option<Thinking>,
    /// For answers that can be repeated.
    pub seed: Option<i64>,
    /// An opaque name of the person behind the request.
    pub user: Option<String>,
    /// Merged into the provider's own request last.
    pub provider: Map<String, Value>,
}

/// How much to think, in one of two measures.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Thinking {
    /// Tokens to think at most.
    BudgetTokens(u64),
    /// The provider's own word, such as `low`.
    Effort(String),
}

impl Options {
    /// Reads the options of a request.
    ///
    /// # Errors
    /// `bad-arguments` for an unknown key or a value of the wrong type.
    pub fn read(options: Map<String, Value>) -> Result<Options> {
        let options: Options = serde_json::from_value(options.into())
            .map_err(|error| Error::bad_arguments(format!("`options`: {error}")))?;
        if options.provider.contains_key("stream") {
            return Err(Error::bad_arguments(
                "`options`: `provider.stream` cannot be set: answers are always streamed",
            ));
        }
        Ok(options)
    }
}

/// Merges `patch` into `target` by the rules of a JSON merge patch (RFC 7396): objects are merged
/// field by field, `null` removes, anything else replaces.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(&key);
            }
            Value::Object(patch) => {
                let field = target.entry(key).or_insert(Value::Null);
                if !field.is_object() {
                    *field = Map::new().into();
                }
                if let Value::Object(field) = field {
                    merge(field, patch);
                }
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn an_unknown_option_is_named() {
        for (options, word) in [
            (json!({ "temprature": 1 }), "temprature"),
            (json!({ "stop": "x" }), "sequence"),
            (json!({ "thinking": { "effort": "low", "budget-tokens": 1 } }), "thinking"),
            (json!({ "thinking": { "mode": 1 } }), "mode"),
            (json!({ "max-tokens": -1 }), "-1"),
            (json!({ "provider": { "stream": false } }), "provider.stream"),
        ] {
            let error = Options::read(object(options.clone())).unwrap_err();
            assert_eq!(error.code, "bad-arguments");
            // The library names the wrong value, and an unknown key with those there are.
            assert!(error.message.contains(word) || word == "thinking", "{options}: {error}");
        }
        assert!(Options::read(Map::new()).is_ok());
    }

    #[test]
    fn merging_follows_rfc_7396() {
        let mut target = object(json!({ "a": "b", "c": { "d": "e", "f": "g" }, "h": [1] }));
        merge(&mut target, object(json!({ "a": "z", "c": { "f": null }, "h": { "i": 1 } })));
        assert_eq!(Value::from(target), json!({ "a": "z", "c": { "d": "e" }, "h": { "i": 1 } }));
    }
}
