//! Structured content: what becomes of values and output schemas that are no objects.
//!
//! From 2026-07-28 on, structured content is any JSON and passes as it is. Revisions before take
//! only an object, and only an output schema whose root says `"type": "object"`. There the rule is,
//! as with the official SDKs:
//!
//! - a schema whose root says something else is offered as
//!   `{"type": "object", "properties": {"result": <schema>}, "required": ["result"]}`;
//! - the value of a tool with such a schema, and a value that is no object, is answered as
//!   `{"result": <value>}`.

use rmcp::model::{JsonObject, ProtocolVersion};
use serde_json::{Map, Value, json};

/// The output schema as it is offered to a client that speaks `version`.
pub(crate) fn schema(schema: &Value, version: &ProtocolVersion) -> JsonObject {
    // JSON Schema's `true` and `false` as objects.
    let object = match schema {
        Value::Object(schema) => schema.clone(),
        Value::Bool(false) => JsonObject::from_iter([("not".to_owned(), json!({}))]),
        _ => JsonObject::new(),
    };
    if takes_any(version) || is_object(schema) {
        return object;
    }
    let mut inner = object;
    let dialect = inner.remove("$schema");
    rebase(&mut inner);
    let mut outer = JsonObject::new();
    outer.extend(dialect.map(|dialect| ("$schema".to_owned(), dialect)));
    outer.insert("type".into(), "object".into());
    outer.insert("properties".into(), json!({ "result": inner }));
    outer.insert("required".into(), json!(["result"]));
    outer
}

/// The value as it is answered to a client that speaks `version`.
pub(crate) fn value(value: Value, schema: Option<&Value>, version: &ProtocolVersion) -> Value {
    let natural = value.is_object() && schema.is_none_or(is_object);
    if natural || takes_any(version) { value } else { json!({ "result": value }) }
}

fn takes_any(version: &ProtocolVersion) -> bool {
    // Versions are dates and compare as texts.
    version.as_str() >= ProtocolVersion::V_2026_07_28.as_str()
}

fn is_object(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
}

/// Where the schema is in the one around it.
const PLACE: &str = "/properties/result";

/// Points the references within a schema at its new place.
///
/// A schema with an `$id` is its own root (JSON Schema 2020-12 §8.2.1), so its references stay.
fn rebase(schema: &mut Map<String, Value>) {
    if schema.contains_key("$id") {
        return;
    }
    for (keyword, value) in schema {
        match (keyword.as_str(), value) {
            ("$ref" | "$dynamicRef", Value::String(target)) => {
                let pointer =
                    target.strip_prefix('#').filter(|p| p.is_empty() || p.starts_with('/'));
                if let Some(pointer) = pointer {
                    *target = format!("#{PLACE}{pointer}");
                }
            }
            // Data, in which `$ref` is only a name.
            ("const" | "enum" | "default" | "examples", _) => {}
            // Names of the author's choice, each with a schema.
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(schemas),
            ) => schemas.values_mut().filter_map(Value::as_object_mut).for_each(rebase),
            (_, Value::Object(schema)) => rebase(schema),
            (_, Value::Array(schemas)) => {
                schemas.iter_mut().filter_map(Value::as_object_mut).for_each(rebase);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const OLD: ProtocolVersion = ProtocolVersion::V_2025_11_25;
    const NEW: ProtocolVersion = ProtocolVersion::V_2026_07_28;

    #[test]
    fn objects_pass_as_they_are() {
        let object = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}});
        for version in [OLD, NEW] {
            assert_eq!(Value::Object(schema(&object, &version)), object);
            assert_eq!(value(json!({"a": 1}), Some(&object), &version), json!({"a": 1}));
            assert_eq!(value(json!({"a": 1}), None, &version), json!({"a": 1}));
        }
    }

    #[test]
    fn anything_else_is_wrapped_where_it_must_be() {
        let list = json!({"type": "array", "items": {"type": "integer"}});
        assert_eq!(Value::Object(schema(&list, &NEW)), list);
        let either = json!({"anyOf": [{"type": "object"}, {"type": "null"}]});
        for (value, schema) in [
            (json!([1]), Some(&list)),
            (json!({"a": 1}), Some(&either)),
            (json!("text"), None),
            (Value::Null, None),
        ] {
            assert_eq!(super::value(value.clone(), schema, &NEW), value);
            assert_eq!(super::value(value.clone(), schema, &OLD), json!({ "result": value }));
        }
        assert_eq!(Value::Object(schema(&json!(true), &NEW)), json!({}));
        assert_eq!(Value::Object(schema(&json!(false), &NEW)), json!({"not": {}}));
    }

    #[test]
    fn a_wrapped_schema_means_the_same() {
        let dialect = "https://json-schema.org/draft/2020-12/schema";
        let tree = json!({
            "$schema": dialect,
            "anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "array", "items": {"$ref": "#"}}],
            "$defs": {
                "leaf": {"enum": [1, {"$ref": "#/no/reference"}]},
                "$ref": {"type": "null"},
            },
        });
        let wrapped = Value::Object(schema(&tree, &OLD));
        assert_eq!(wrapped["$schema"], dialect);
        let natural = jsonschema::validator_for(&tree).unwrap();
        let wrapped = jsonschema::validator_for(&wrapped).unwrap();
        for (value, expected) in [
            (json!(1), true),
            (json!([1, [1, [{"$ref": "#/no/reference"}]]]), true),
            (json!(2), false),
            (json!([[2]]), false),
        ] {
            assert_eq!(natural.is_valid(&value), expected, "{value}");
            assert_eq!(wrapped.is_valid(&json!({ "result": value })), expected, "{value}");
            assert!(!wrapped.is_valid(&value), "{value}");
        }
    }
}
