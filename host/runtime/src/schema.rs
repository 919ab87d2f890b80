//! JSON Schemas of tools. They come from plugins, so they are hostile: no remote references,
//! linear-time patterns, bounded size.

use std::sync::OnceLock;

use ampoule_contract::Problem;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

/// The largest schema a host compiles, as JSON text: 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// Bytes a compiled pattern of a schema may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The longest message about a value that does not fit.
const MAX_MESSAGE_CHARS: usize = 400;

/// A schema, compiled at its first use.
pub(crate) struct Schema {
    text: Value,
    compiled: OnceLock<Result<Validator, String>>,
}

impl Schema {
    pub(crate) fn new(text: Value) -> Schema {
        Schema { text, compiled: OnceLock::new() }
    }

    /// Compiles the schema now.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub(crate) fn compile(&self) -> Result<&Validator, &str> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref().map_err(String::as_str)
    }

    /// Validates `value`.
    ///
    /// # Errors
    /// The first place where it does not fit, or why the schema itself is unusable.
    pub(crate) fn validate(&self, value: &Value) -> Result<(), Problem> {
        let validator = self.compile().map_err(|error| Problem {
            path: None,
            message: format!("the plugin's schema is unusable: {error}"),
        })?;
        validator.validate(value).map_err(|error| Problem {
            path: Some(error.instance_path().to_string()),
            message: shortened(error.to_string()),
        })
    }
}

fn compile(schema: &Value) -> Result<Validator, String> {
    /// Fetches nothing: a schema that refers elsewhere is refused.
    struct NoRetrieval;
    impl Retrieve for NoRetrieval {
        fn retrieve(
            &self,
            uri: &Uri<String>,
        ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
            Err(format!("schemas may not refer to other documents (`{uri}`)").into())
        }
    }
    if serde_json::to_string(schema).map_or(usize::MAX, |text| text.len()) > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(NoRetrieval)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
        .build(schema)
        .map_err(|error| shortened(error.to_string()))
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let schema = Schema::new(json!({
            "type": "object", "additionalProperties": false,
            "properties": {"n": {"type": "integer"}}, "required": ["n"]
        }));
        assert!(schema.validate(&json!({"n": 1})).is_ok());
        assert_eq!(schema.validate(&json!({"n": "x"})).unwrap_err().path.as_deref(), Some("/n"));
        assert!(schema.validate(&json!({})).unwrap_err().message.contains("\"n\""));
        let long = "y".repeat(100_000);
        assert!(schema.validate(&json!({"n": long})).unwrap_err().message.len() < 2000);
    }

    #[test]
    fn hostile_schemas_are_refused_or_harmless() {
        let remote = Schema::new(json!({"$ref": "http://example.com/schema.json"}));
        assert!(remote.compile().is_err());
        let lookahead = Schema::new(json!({"type": "string", "pattern": "(?=a)b"}));
        assert!(lookahead.compile().is_err());
        let bomb = Schema::new(json!({"type": "string", "pattern": "((a{100}){100}){100}"}));
        assert!(bomb.compile().is_err());
        let catastrophic = Schema::new(json!({"type": "string", "pattern": "^(a+)+$"}));
        assert!(catastrophic.validate(&json!("a".repeat(50_000) + "b")).is_err());
    }
}
