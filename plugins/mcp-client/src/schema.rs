//! Schemas of the server as the host takes them: JSON Schema 2020-12, whole in itself, with
//! references to its own parts by JSON Pointers alone.
//!
//! What can be said that way is said that way and means the same: an anchor becomes the place it
//! marks, `dependencies` become the two keywords that took its place, and a `$id` or `$schema` that
//! nothing depends on is left out. A pattern with look-around or back references, which the host
//! does not run, is told in the description; the server checks it anyway. What is left is compiled
//! with the library that the host compiles it with.

use std::collections::BTreeMap;

use ampoule_sdk::Weight;
use ampoule_sdk::prelude::*;
use shared_json_schema::{Checked, Draft};

/// The longest schema, as JSON text.
const MAX_BYTES: usize = 128 << 10;

/// How deep a schema may be nested; the compiler takes as much.
const MAX_DEPTH: usize = 64;

/// The keywords that hold named subschemas.
const NAMED: [&str; 5] =
    ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// The keywords that hold values, in which nothing is a keyword.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// The keywords by which a schema refers to more than its own parts, or moves what a reference
/// means.
const ELSEWHERE: [&str; 6] =
    ["$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// What the keys begin with to which `serde_json` gives a meaning; the host takes none.
const PRIVATE: &str = "$serde_json::private::";

/// A schema as the host takes it.
///
/// # Errors
/// Why it cannot be one.
pub(crate) fn ready(mut schema: Value) -> Result<Value, String> {
    if Weight::of(&schema).depth > MAX_DEPTH {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    if schema.to_string().len() > MAX_BYTES {
        return Err(format!("it is longer than {} KiB", MAX_BYTES >> 10));
    }
    if has_private(&schema) {
        return Err(format!("it has a key that begins with `{PRIVATE}`"));
    }
    if let Some(keywords) = schema.as_object_mut() {
        // Where the schema says it is: of use to references alone, which are judged below.
        keywords.remove("$id");
    }
    let mut anchors = BTreeMap::new();
    change(&mut schema, "", &mut |keywords, place| {
        if !place.is_empty() {
            keywords.remove("$schema");
        }
        if let Some(Value::String(anchor)) = keywords.remove("$anchor") {
            anchors.insert(format!("#{anchor}"), format!("#{place}"));
        }
        split_dependencies(keywords);
        tell_pattern(keywords);
    });
    let mut problem = None;
    change(&mut schema, "", &mut |keywords, _| {
        if let Some(Value::String(reference)) = keywords.get_mut("$ref") {
            if let Some(place) = anchors.get(reference) {
                reference.clone_from(place);
            }
            if *reference != "#" && !reference.starts_with("#/") {
                problem = Some("it refers to another schema, and nothing is fetched".to_owned());
            }
        }
        if let Some(keyword) = ELSEWHERE.iter().find(|keyword| keywords.contains_key(**keyword)) {
            problem = Some(format!("it has `{keyword}`, and a schema has to stand alone"));
        }
    });
    if let Some(problem) = problem {
        return Err(problem);
    }
    compile(&schema)?;
    Ok(schema)
}

fn compile(schema: &Value) -> Result<(), String> {
    Checked::new(schema, &Value::Null, &Map::new(), Some(Draft::Draft202012), None)
        .map(drop)
        .map_err(|error| error.message)
}

fn has_private(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_private),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.starts_with(PRIVATE) || has_private(value))
        }
        _ => false,
    }
}

/// `dependencies` of the drafts before 2019-09, in the words of those since.
fn split_dependencies(keywords: &mut Map<String, Value>) {
    let Some(Value::Object(all)) = keywords.get("dependencies") else { return };
    let (names, schemas): (Map<_, _>, Map<_, _>) =
        all.clone().into_iter().partition(|(_, value)| value.is_array());
    let new = [("dependentRequired", names), ("dependentSchemas", schemas)];
    if new.iter().all(|(keyword, _)| !keywords.contains_key(*keyword)) {
        keywords.remove("dependencies");
        keywords.extend(
            new.into_iter()
                .filter(|(_, fields)| !fields.is_empty())
                .map(|(keyword, fields)| (keyword.to_owned(), fields.into())),
        );
    }
}

/// Moves a pattern that the host cannot run into the description.
fn tell_pattern(keywords: &mut Map<String, Value>) {
    let Some(pattern @ Value::String(_)) = keywords.get("pattern") else { return };
    if compile(&json!({ "pattern": pattern })).is_ok() {
        return;
    }
    let pattern = pattern.as_str().unwrap_or_default().to_owned();
    keywords.remove("pattern");
    let described = match keywords.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description} Pattern: {pattern}"),
        None => format!("Pattern: {pattern}"),
    };
    keywords.insert("description".into(), described.into());
}

/// Shows every subschema its keywords, to be changed, and its place as a JSON Pointer.
fn change(schema: &mut Value, place: &str, each: &mut impl FnMut(&mut Map<String, Value>, &str)) {
    match schema {
        Value::Array(list) => {
            for (at, part) in list.iter_mut().enumerate() {
                change(part, &format!("{place}/{at}"), each);
            }
        }
        Value::Object(keywords) => {
            each(keywords, place);
            for (keyword, value) in keywords {
                let place = format!("{place}/{}", escaped(keyword));
                match value {
                    Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                        for (name, part) in named {
                            change(part, &format!("{place}/{}", escaped(name)), each);
                        }
                    }
                    _ if VALUES.contains(&keyword.as_str()) => {}
                    value => change(value, &place, each),
                }
            }
        }
        _ => {}
    }
}

/// A name as a part of a JSON Pointer in the fragment of a URI (RFC 6901, section 6), as far as
/// names in schemas go.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('%', "%25").replace(' ', "%20")
}

/// Shows every subschema: its keywords and, where it is a field of the value, the names of the
/// fields that lead there.
pub(crate) fn visit(schema: &Value, each: &mut impl FnMut(&Map<String, Value>, Option<&[String]>)) {
    walk(schema, Some(&mut Vec::new()), each);
}

fn walk(
    schema: &Value,
    mut path: Option<&mut Vec<String>>,
    each: &mut impl FnMut(&Map<String, Value>, Option<&[String]>),
) {
    match schema {
        Value::Array(list) => list.iter().for_each(|part| walk(part, None, each)),
        Value::Object(keywords) => {
            each(keywords, path.as_deref().map(Vec::as_slice));
            for (keyword, value) in keywords {
                match (keyword.as_str(), value) {
                    ("properties", Value::Object(named)) => {
                        for (name, part) in named {
                            match path.as_deref_mut() {
                                Some(path) => {
                                    path.push(name.clone());
                                    walk(part, Some(path), each);
                                    path.pop();
                                }
                                None => walk(part, None, each),
                            }
                        }
                    }
                    (keyword, Value::Object(named)) if NAMED.contains(&keyword) => {
                        named.values().for_each(|part| walk(part, None, each));
                    }
                    (keyword, _) if VALUES.contains(&keyword) => {}
                    (_, value) => walk(value, None, each),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn what_the_host_takes_stays_as_it_is() {
        for schema in [
            json!({ "type": "object" }),
            json!(true),
            json!({
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "definitions": { "a b": { "type": "string", "pattern": "^\\d+$" } },
                "properties": { "x": { "$ref": "#/definitions/a%20b" }, "$id": { "const": { "$id": 1 } } },
                "patternProperties": { "^x-": {} },
                "required": ["x"],
                "additionalProperties": false,
            }),
        ] {
            assert_eq!(ready(schema.clone()).unwrap(), schema);
        }
    }

    #[test]
    fn what_can_be_said_as_the_host_takes_it_is() {
        for (given, taken) in [
            (
                json!({ "$id": "https://example.com/a", "$ref": "#/$defs/a", "$defs": { "a": {} } }),
                json!({ "$ref": "#/$defs/a", "$defs": { "a": {} } }),
            ),
            (
                json!({
                    "$defs": { "a/ b": { "$anchor": "here", "type": "string" } },
                    "items": { "$ref": "#here" },
                }),
                json!({
                    "$defs": { "a/ b": { "type": "string" } },
                    "items": { "$ref": "#/$defs/a~1%20b" },
                }),
            ),
            (
                json!({ "items": { "$schema": "http://json-schema.org/draft-07/schema#" } }),
                json!({ "items": {} }),
            ),
            (
                json!({ "dependencies": { "a": ["b"], "c": { "required": ["d"] } } }),
                json!({
                    "dependentRequired": { "a": ["b"] },
                    "dependentSchemas": { "c": { "required": ["d"] } },
                }),
            ),
            (
                json!({ "properties": { "mail": {
                    "description": "Whom.", "pattern": "^(?!\\.)\\S+@\\S+$", "format": "email",
                } } }),
                json!({ "properties": { "mail": {
                    "description": "Whom. Pattern: ^(?!\\.)\\S+@\\S+$", "format": "email",
                } } }),
            ),
        ] {
            assert_eq!(ready(given).unwrap(), taken);
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused() {
        let mut deep = json!({});
        for _ in 0..MAX_DEPTH {
            deep = json!({ "items": deep });
        }
        for (schema, problem) in [
            (deep, "deeper than 64"),
            (json!({ "description": "x".repeat(MAX_BYTES) }), "longer than 128 KiB"),
            (json!({ "$ref": "https://example.com/schema" }), "another schema"),
            (json!({ "items": { "$ref": "other.json" } }), "another schema"),
            (json!({ "items": { "$id": "https://example.com/b" } }), "`$id`"),
            (json!({ "$dynamicRef": "#a" }), "`$dynamicRef`"),
            (json!({ "$serde_json::private::RawValue": "1" }), "begins with"),
            (json!({ "type": "text" }), "unusable"),
            (json!({ "properties": { "a": { "required": true } } }), "unusable"),
            (json!({ "$ref": "#/$defs/none" }), "unusable"),
            (json!({ "patternProperties": { "(?=a)": {} } }), "unusable"),
            (json!(7), "unusable"),
        ] {
            let found = ready(schema.clone()).unwrap_err();
            assert!(found.contains(problem), "{schema}: {found}");
        }
    }
}
