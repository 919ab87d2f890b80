//! Schemas of the server as the host takes them: JSON Schema 2020-12, whole in itself, with
//! references to its own parts by JSON Pointers alone.
//!
//! What can be said that way is said that way and means the same: an anchor becomes the place it
//! marks, keywords of older drafts become those that took their place, and a `$id` or `$schema` that
//! nothing depends on is left out. A pattern that the host may not run, such as one with look-around,
//! is told in the description; the server checks it anyway.
//!
//! The host compiles each schema and takes no catalogue with one that is none. So those are sorted
//! out here, by the meta-schema of 2020-12 written as [`fits`]: with the library that the host has for
//! it, this plugin would be six times as large.

use std::collections::{BTreeMap, BTreeSet};

use ampoule_sdk::Weight;
use ampoule_sdk::prelude::*;
use regex_syntax::ast::parse::Parser;

/// The longest schema, as JSON text.
const MAX_BYTES: usize = 128 << 10;

/// How deep a schema may be nested, and how many values it may hold.
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 8_000;

/// How many subschemas may apply to one value through one another; the host takes 64.
const MAX_CHAIN: usize = 60;

/// How often a pattern may repeat. The host bounds what patterns take once they are compiled: it was
/// seen to take 254 times `.` and 140 times `\S`.
const MAX_REPEATED: usize = 100;

/// The keywords that hold named subschemas.
const NAMED: [&str; 5] =
    ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// The keywords that hold values, in which nothing is a keyword.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// The keywords whose subschemas apply to the same value.
const SAME: [&str; 8] =
    ["allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"];

/// The keywords by which a schema refers to more than its own parts, or moves what a reference
/// means.
const ELSEWHERE: [&str; 6] =
    ["$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// The drafts that the host reads, all as 2020-12.
const DRAFTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// What the keys begin with to which `serde_json` gives a meaning; the host takes none.
const PRIVATE: &str = "$serde_json::private::";

/// A schema as the host takes it.
///
/// # Errors
/// Why it cannot be one.
pub(crate) fn ready(mut schema: Value) -> Result<Value, String> {
    let weight = Weight::of(&schema);
    if weight.depth > MAX_DEPTH || weight.values > MAX_VALUES {
        return Err(format!("it has more than {MAX_DEPTH} levels or {MAX_VALUES} values"));
    }
    if schema.to_string().len() > MAX_BYTES {
        return Err(format!("it is longer than {} KiB", MAX_BYTES >> 10));
    }
    if has_private(&schema) {
        return Err(format!("it has a key that begins with `{PRIVATE}`"));
    }
    if !is_schema(&schema) {
        return Err("it is neither an object nor a boolean".into());
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
        renew(keywords);
        tell_pattern(keywords);
    });
    let (mut problem, mut references) = (None, BTreeSet::new());
    let mut applies = BTreeMap::new();
    change(&mut schema, "", &mut |keywords, place| {
        if let Some(Value::String(reference)) = keywords.get_mut("$ref") {
            if let Some(place) = anchors.get(reference) {
                reference.clone_from(place);
            }
            references.insert(reference.clone());
        }
        applies.insert(decoded(place), same_value(keywords, place));
        for (keyword, value) in keywords {
            if ELSEWHERE.contains(&keyword.as_str()) {
                problem = Some(format!("it has `{keyword}`, and a schema has to stand alone"));
            } else if !fits(keyword, value) {
                problem = Some(format!("its `{keyword}` is none of JSON Schema 2020-12"));
            }
        }
    });
    match (problem, references.iter().find(|reference| !leads(&schema, reference))) {
        (Some(problem), _) => Err(problem),
        (None, Some(_)) => Err("it refers to what is no part of it, and nothing is fetched".into()),
        (None, None) if !ends(&applies) => Err("it refers to itself for the same value".into()),
        (None, None) => Ok(schema),
    }
}

/// The places of the subschemas that a subschema applies to the value itself.
fn same_value(keywords: &Map<String, Value>, place: &str) -> Vec<String> {
    let mut places = Vec::new();
    for (keyword, value) in keywords {
        let place = format!("{}/{keyword}", decoded(place));
        match (keyword.as_str(), value) {
            ("$ref", Value::String(reference)) => {
                places.push(decoded(reference.trim_start_matches('#')));
            }
            (keyword, _) if !SAME.contains(&keyword) => {}
            (_, Value::Array(list)) => {
                places.extend((0..list.len()).map(|at| format!("{place}/{at}")));
            }
            ("dependentSchemas", Value::Object(named)) => {
                places.extend(named.keys().map(|name| format!("{place}/{}", pointed(name))));
            }
            _ => places.push(place),
        }
    }
    places
}

/// Whether no subschema applies through more than [`MAX_CHAIN`] others to one value, or through itself.
fn ends(applies: &BTreeMap<String, Vec<String>>) -> bool {
    // Those from which so many steps lead on.
    let mut far: BTreeSet<&String> = applies.keys().collect();
    for _ in 0..MAX_CHAIN {
        let leads_on = |others: &Vec<String>| others.iter().any(|other| far.contains(other));
        let further = applies.iter().filter(|(_, others)| leads_on(others));
        far = further.map(|(place, _)| place).collect();
    }
    far.is_empty()
}

/// Whether a reference leads to a subschema.
fn leads(schema: &Value, reference: &str) -> bool {
    let pointer = reference.strip_prefix('#').map(decoded);
    pointer.is_some_and(|pointer| schema.pointer(&pointer).is_some_and(is_schema))
}

/// A JSON Pointer out of the fragment of a URI (RFC 6901, section 6).
fn decoded(fragment: &str) -> String {
    percent_encoding::percent_decode_str(fragment).decode_utf8_lossy().into_owned()
}

fn is_schema(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Bool(_))
}

/// Whether the value of a keyword is as the meta-schema of 2020-12 has it. Keywords that it does not
/// have say nothing.
fn fits(keyword: &str, value: &Value) -> bool {
    let schemas =
        |fields: &Value| fields.as_object().is_some_and(|all| all.values().all(is_schema));
    let list = |list: &Value| {
        list.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(is_schema))
    };
    match keyword {
        "$schema" => value.as_str().is_some_and(|uri| DRAFTS.contains(&uri.trim_end_matches('#'))),
        "type" => match value {
            Value::Array(all) => {
                !all.is_empty() && all.iter().all(is_type) && unique(value).is_some()
            }
            one => is_type(one),
        },
        "$defs" | "definitions" | "dependentSchemas" | "properties" => schemas(value),
        "patternProperties" => {
            schemas(value) && value.as_object().is_some_and(|all| all.keys().all(|key| runs(key)))
        }
        "additionalItems"
        | "additionalProperties"
        | "contains"
        | "contentSchema"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => is_schema(value),
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => list(value),
        "required" => unique(value).is_some(),
        "dependentRequired" => {
            value.as_object().is_some_and(|all| all.values().all(|names| unique(names).is_some()))
        }
        "enum" | "examples" => value.is_array(),
        "maxContains" | "maxItems" | "maxLength" | "maxProperties" | "minContains" | "minItems"
        | "minLength" | "minProperties" => {
            value.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0)
        }
        "exclusiveMaximum" | "exclusiveMinimum" | "maximum" | "minimum" => value.is_number(),
        "multipleOf" => value.as_f64().is_some_and(|number| number > 0.0),
        "deprecated" | "readOnly" | "uniqueItems" | "writeOnly" => value.is_boolean(),
        "$comment" | "$ref" | "contentEncoding" | "contentMediaType" | "description" | "format"
        | "pattern" | "title" => value.is_string(),
        _ => true,
    }
}

fn is_type(name: &Value) -> bool {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    name.as_str().is_some_and(|name| TYPES.contains(&name))
}

/// The texts of a list, where each is there once and there is nothing else.
fn unique(list: &Value) -> Option<BTreeSet<&str>> {
    let list = list.as_array()?;
    let texts: Option<BTreeSet<&str>> = list.iter().map(Value::as_str).collect();
    texts.filter(|texts| texts.len() == list.len())
}

/// Whether the host can run a pattern: in linear time, without flags of its own and classes of Unicode
/// (there are too many to tell whether one is), and in the memory it has for that.
fn runs(pattern: &str) -> bool {
    let (mut sum, mut product, mut nested) = (0_usize, 1_usize, false);
    for (at, _) in pattern.match_indices('{') {
        let counts = pattern[at + 1..].split('}').next().unwrap_or_default().split(',');
        if let Some(count) = counts.filter_map(|count| count.trim().parse::<usize>().ok()).max() {
            nested |= pattern[..at].ends_with([')', '}', '?', '*', '+']);
            (sum, product) = (sum.saturating_add(count), product.saturating_mul(count.max(1)));
        }
    }
    pattern.len() <= 1_000
        && (if nested { product } else { sum }) <= MAX_REPEATED
        && pattern.split("(?").skip(1).all(|rest| rest.starts_with([':', '<']))
        && !pattern.contains("\\p")
        && !pattern.contains("\\P")
        && Parser::new().parse(pattern).is_ok()
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

/// Says what keywords of older drafts say in the words of 2020-12.
fn renew(keywords: &mut Map<String, Value>) {
    if let Some(Value::Object(all)) = keywords.get("dependencies") {
        let (names, schemas): (Map<_, _>, Map<_, _>) =
            all.clone().into_iter().partition(|(_, value)| value.is_array());
        keywords.remove("dependencies");
        for (keyword, fields) in [("dependentRequired", names), ("dependentSchemas", schemas)] {
            if !fields.is_empty() {
                keywords.entry(keyword).or_insert_with(|| fields.into());
            }
        }
    }
    if let Some(Value::Array(_)) = keywords.get("items") {
        let rest = keywords.remove("additionalItems");
        if let Some(items) = keywords.remove("items") {
            keywords.insert("prefixItems".into(), items);
        }
        keywords.extend(rest.map(|rest| ("items".to_owned(), rest)));
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(&Value::Bool(excludes)) = keywords.get(exclusive) {
            keywords.remove(exclusive);
            let number = if excludes { keywords.remove(bound) } else { None };
            keywords.extend(number.map(|number| (exclusive.to_owned(), number)));
        }
    }
}

/// Moves a pattern that the host may not run into the description.
fn tell_pattern(keywords: &mut Map<String, Value>) {
    let Some(Value::String(pattern)) = keywords.get("pattern") else { return };
    if runs(pattern) {
        return;
    }
    let pattern = pattern.clone();
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

/// A name as a part of a JSON Pointer.
fn pointed(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The same in the fragment of a URI, as far as names in schemas go.
fn escaped(name: &str) -> String {
    pointed(name).replace('%', "%25").replace(' ', "%20")
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
            json!({ "properties": { "next": { "$ref": "#" } }, "anyOf": [{ "minLength": 2.0 }] }),
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
                json!({ "items": [{ "type": "string" }, true], "additionalItems": false }),
                json!({ "prefixItems": [{ "type": "string" }, true], "items": false }),
            ),
            (
                json!({ "minimum": 1, "exclusiveMinimum": true, "maximum": 2, "exclusiveMaximum": false }),
                json!({ "maximum": 2, "exclusiveMinimum": 1 }),
            ),
            (json!({ "pattern": "^.{1,500}$" }), json!({ "description": "Pattern: ^.{1,500}$" })),
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
    fn patterns_are_those_that_take_linear_time() {
        for pattern in
            ["^[a-z0-9-]+$", r"^\d{3}-\w{1,40}$", "(?:a|b)*", r"\u0041", r"[\w.+-]+@\S+", ""]
        {
            assert!(runs(pattern), "{pattern}");
        }
        let long = "a".repeat(1_001);
        for pattern in [
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            r"(a)\1",
            "[[]",
            "a{",
            r"\cA",
            "(",
            ".{101}",
            "(a{20}){20}",
            "(?i)a",
            r"\p{L}",
            &long,
        ] {
            assert!(!runs(pattern), "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused() {
        let mut deep = json!({});
        for _ in 0..MAX_DEPTH {
            deep = json!({ "items": deep });
        }
        for (schema, problem) in [
            (deep, "more than 64 levels"),
            (json!({ "enum": vec![0; MAX_VALUES] }), "8000 values"),
            (json!({ "description": "x".repeat(MAX_BYTES) }), "longer than 128 KiB"),
            (json!({ "$ref": "https://example.com/schema" }), "nothing is fetched"),
            (json!({ "items": { "$ref": "other.json" } }), "nothing is fetched"),
            (json!({ "$ref": "#/$defs/none" }), "nothing is fetched"),
            (json!({ "$ref": "#none" }), "nothing is fetched"),
            (json!({ "$ref": "" }), "nothing is fetched"),
            (json!({ "$ref": "\u{e9}" }), "nothing is fetched"),
            (json!({ "$ref": "#" }), "refers to itself"),
            (
                json!({ "items": { "$ref": "#/$defs/a%20~1" }, "$defs": {
                    "a /": { "anyOf": [true, { "not": { "$ref": "#/$defs/b" } }] },
                    "b": { "dependentSchemas": { "x/": { "$ref": "#/$defs/a%20~1" } } },
                } }),
                "refers to itself",
            ),
            (json!({ "$ref": "#/required", "required": ["a"] }), "nothing is fetched"),
            (json!({ "items": { "$id": "https://example.com/b" } }), "`$id`"),
            (json!({ "$dynamicRef": "#a" }), "`$dynamicRef`"),
            (json!({ "$schema": "https://example.com/own" }), "`$schema`"),
            (json!({ "$serde_json::private::RawValue": "1" }), "begins with"),
            (json!({ "type": "text" }), "`type`"),
            (json!({ "type": ["string", "string"] }), "`type`"),
            (json!({ "properties": { "a": { "required": true } } }), "`required`"),
            (json!({ "properties": { "a": { "required": ["b", "b"] } } }), "`required`"),
            (json!({ "properties": { "a": 7 } }), "`properties`"),
            (json!({ "patternProperties": { "(?=a)": {} } }), "`patternProperties`"),
            (json!({ "anyOf": [] }), "`anyOf`"),
            (json!({ "not": { "allOf": [{ "minLength": -1 }] } }), "`minLength`"),
            (json!({ "multipleOf": 0 }), "`multipleOf`"),
            (json!({ "description": 7 }), "`description`"),
            (json!(7), "neither"),
        ] {
            let found = ready(schema.clone()).unwrap_err();
            assert!(found.contains(problem), "{schema}: {found}");
        }
    }
}
