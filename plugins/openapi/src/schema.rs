//! Schemas of the document as JSON Schema 2020-12, whole in themselves.
//!
//! They are what a host checks arguments against, and may not refuse what the API would take: what
//! is not understood is left out, `oneOf` becomes `anyOf` (documents often list alternatives that
//! overlap), and a `pattern`, whose dialect nobody names, is told in the description only.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;

use crate::document::Document;

/// How deep schemas may stand in each other; what is deeper may be anything.
const MAX_DEPTH: usize = 24;

/// The longest description of a field, in characters.
const MAX_DESCRIPTION: usize = 500;

/// The most values of an `enum`.
const MAX_ENUM: usize = 300;

/// The most schemas that are referred to.
const MAX_DEFS: usize = 200;

/// Formats that JSON Schema knows.
const FORMATS: &[&str] =
    &["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];

/// Turns schemas of a document into ones of their own.
pub(crate) struct Schemas<'a> {
    document: &'a Document,
    max_depth: usize,
    /// Name in `$defs` and what it is, by the reference in the document; `None` while it is made.
    defs: BTreeMap<String, (String, Option<Value>)>,
}

impl<'a> Schemas<'a> {
    /// With at most `max_depth` levels.
    pub(crate) fn new(document: &'a Document, max_depth: usize) -> Schemas<'a> {
        Schemas { document, max_depth: max_depth.min(MAX_DEPTH), defs: BTreeMap::new() }
    }

    /// All that was referred to, for `$defs`.
    pub(crate) fn into_defs(self) -> Map<String, Value> {
        self.defs.into_values().map(|(name, schema)| (name, schema.unwrap_or_default())).collect()
    }

    /// A schema of the document.
    pub(crate) fn convert(&mut self, schema: &Value) -> Value {
        self.at(schema, 0)
    }

    fn at(&mut self, schema: &Value, depth: usize) -> Value {
        let anything = || Value::Object(Map::new());
        let Some(old) = schema.as_object() else {
            return if *schema == false { false.into() } else { anything() };
        };
        if depth >= self.max_depth {
            return anything();
        }
        if let Some(reference) = old.get("$ref").and_then(Value::as_str) {
            return self.reference(reference, depth);
        }
        let mut new = Map::new();
        self.types(old, &mut new);
        // What is required is kept only where it is a field.
        let fields = old.get_key_value("properties");
        for (name, value) in fields.into_iter().chain(old) {
            if name != "properties" || !new.contains_key("properties") {
                self.keyword(name, value, depth, &mut new);
            }
        }
        self.bounds(old, &mut new);
        describe(old, &mut new);
        Value::Object(new)
    }

    fn reference(&mut self, reference: &str, depth: usize) -> Value {
        let link = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
        if let Some((name, _)) = self.defs.get(reference) {
            return link(name);
        }
        let Ok(target) = self.document.target(reference) else { return json!({}) };
        if self.defs.len() >= MAX_DEFS {
            return json!({});
        }
        let last = reference.rsplit('/').next().unwrap_or_default();
        let mut name: String = last.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
        if name.is_empty() || self.defs.values().any(|(other, _)| *other == name) {
            name = format!("{name}_{}", self.defs.len());
        }
        self.defs.insert(reference.to_owned(), (name.clone(), None));
        let schema = self.at(target, depth + 1);
        // A schema that is nothing but itself has no meaning and would lead in a circle.
        let circle = schema.get("$ref").is_some_and(|_| self.leads_back(&schema, &name));
        let schema = if circle { json!({}) } else { schema };
        self.defs.insert(reference.to_owned(), (name.clone(), Some(schema)));
        link(&name)
    }

    /// Whether a schema that is a reference alone leads to `name`.
    fn leads_back(&self, schema: &Value, name: &str) -> bool {
        let mut next = schema.get("$ref").and_then(Value::as_str);
        for _ in 0..=MAX_DEFS {
            let Some(at) = next.and_then(|next| next.strip_prefix("#/$defs/")) else {
                return false;
            };
            if at == name {
                return true;
            }
            let found = self.defs.values().find(|(other, _)| other == at);
            let Some((_, schema)) = found else { return false };
            // Still being made: it refers back to where this began.
            let Some(schema) = schema else { return true };
            next = schema.get("$ref").and_then(Value::as_str);
        }
        true
    }

    fn types(&self, old: &Map<String, Value>, new: &mut Map<String, Value>) {
        const TYPES: &[&str] =
            &["string", "number", "integer", "boolean", "array", "object", "null"];
        let mut types: Vec<&str> = match old.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        types.retain(|name| TYPES.contains(name));
        if !types.is_empty() && old.get("nullable") == Some(&true.into()) {
            types.push("null");
        }
        types.dedup();
        match types[..] {
            [] => {}
            [one] => drop(new.insert("type".into(), one.into())),
            _ => drop(new.insert("type".into(), types.into())),
        }
    }

    fn keyword(&mut self, name: &str, value: &Value, depth: usize, new: &mut Map<String, Value>) {
        let kept = match (name, value) {
            ("properties", Value::Object(fields)) => {
                let mut kept = Map::new();
                for (name, field) in fields {
                    if !self.only_read(field) {
                        kept.insert(name.clone(), self.at(field, depth + 1));
                    }
                }
                Value::Object(kept)
            }
            ("items" | "additionalProperties", Value::Object(_) | Value::Bool(_)) => {
                self.at(value, depth + 1)
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(list))
                if !list.is_empty() && list.len() <= 100 =>
            {
                let list: Vec<Value> =
                    list.iter().map(|schema| self.at(schema, depth + 1)).collect();
                let name = if name == "oneOf" { "anyOf" } else { name };
                // Two lists of alternatives would both have to hold.
                if new.contains_key(name) {
                    return;
                }
                new.insert(name.into(), list.into());
                return;
            }
            ("required", Value::Array(names)) => {
                let fields = new_fields(new);
                let mut kept: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                kept.sort_unstable();
                kept.dedup();
                // What is only read is not asked for.
                kept.retain(|name| fields.is_none_or(|fields| fields.contains_key(*name)));
                if kept.is_empty() {
                    return;
                }
                kept.into()
            }
            ("enum", Value::Array(values)) if !values.is_empty() && values.len() <= MAX_ENUM => {
                let mut values = values.clone();
                let null = new.get("type").and_then(Value::as_array);
                if null.is_some_and(|types| types.contains(&"null".into()))
                    && !values.contains(&Value::Null)
                {
                    values.push(Value::Null);
                }
                let mut unique: Vec<Value> = Vec::new();
                for value in values {
                    if !unique.contains(&value) {
                        unique.push(value);
                    }
                }
                unique.into()
            }
            ("const" | "default", value) if depth_of(value) < 8 => value.clone(),
            ("format", Value::String(format)) if FORMATS.contains(&format.as_str()) => {
                value.clone()
            }
            ("title", Value::String(title)) => title.chars().take(100).collect::<String>().into(),
            (
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties"
                | "maxProperties",
                Value::Number(number),
            ) if number.is_u64() => value.clone(),
            ("minimum" | "maximum", Value::Number(_)) => value.clone(),
            ("multipleOf", Value::Number(number)) if number.as_f64() > Some(0.0) => value.clone(),
            ("uniqueItems", Value::Bool(_)) => value.clone(),
            _ => return,
        };
        new.insert(name.into(), kept);
    }

    /// Whether a field is only ever answered.
    fn only_read(&self, field: &Value) -> bool {
        let field = self.document.resolve(field).unwrap_or(field);
        field.get("readOnly") == Some(&true.into())
    }

    /// Bounds that exclude themselves: a number, or with version 3.0 whether they do.
    fn bounds(&self, old: &Map<String, Value>, new: &mut Map<String, Value>) {
        for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")]
        {
            match old.get(exclusive) {
                Some(Value::Bool(true)) => {
                    if let Some(number) = new.remove(bound) {
                        new.insert(exclusive.into(), number);
                    }
                }
                Some(number @ Value::Number(_)) => {
                    new.insert(exclusive.into(), number.clone());
                }
                _ => {}
            }
        }
    }
}

fn new_fields(new: &Map<String, Value>) -> Option<&Map<String, Value>> {
    new.get("properties").and_then(Value::as_object)
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The description, with the pattern that is not checked here.
fn describe(old: &Map<String, Value>, new: &mut Map<String, Value>) {
    let text = |name: &str| old.get(name).and_then(Value::as_str).unwrap_or_default().trim();
    let mut description: String = text("description").chars().take(MAX_DESCRIPTION).collect();
    let pattern = text("pattern");
    if !pattern.is_empty() && pattern.len() <= 200 {
        if !description.is_empty() {
            description.push(' ');
        }
        description.push_str(&format!("Pattern: {pattern}"));
    }
    if !description.is_empty() {
        new.insert("description".into(), description.into());
    }
}
