//! A JSON Schema as a table of parameters.

use serde_json::{Map, Value};

use super::{CODE, FAINT, Table, one_line, paint};

/// How deep objects inside objects are shown.
const MAX_DEPTH: usize = 3;

/// The most rows: a schema may be of any size.
const MAX_ROWS: usize = 200;

/// The most alternatives named of a type.
const MAX_ALTERNATIVES: usize = 12;

/// A parameter in words, each safe and in one line.
pub(crate) struct Parameter {
    pub(crate) path: String,
    pub(crate) kind: String,
    pub(crate) required: bool,
    /// Empty where there is none.
    pub(crate) default: String,
    pub(crate) description: String,
}

/// The parameters of a tool: name, type, whether it is required, default, description.
pub(crate) fn parameters(schema: &Value, indent: usize) -> Table {
    let mut table =
        Table::new(["parameter", "type", "required", "default", "description"]).indent(indent);
    for parameter in list(schema) {
        table.row([
            paint(CODE, parameter.path),
            parameter.kind,
            if parameter.required { "yes".into() } else { paint(FAINT, "no") },
            parameter.default,
            parameter.description,
        ]);
    }
    table
}

/// The parameters of a tool, those of objects inside it after it.
pub(crate) fn list(schema: &Value) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    add(schema, schema, "", 0, &mut parameters);
    parameters
}

fn add(root: &Value, schema: &Value, prefix: &str, depth: usize, rows: &mut Vec<Parameter>) {
    let schema = resolved(root, schema);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let required = schema.get("required").and_then(Value::as_array);
    for (name, property) in properties {
        if rows.len() == MAX_ROWS {
            return;
        }
        let property = resolved(root, property);
        let path = format!("{prefix}{}", one_line(name, 60));
        let is_required = required.is_some_and(|names| names.iter().any(|n| n == name.as_str()));
        let default = property.get("default").map(|value| one_line(&value.to_string(), 40));
        let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
        rows.push(Parameter {
            path: path.clone(),
            kind: kind(root, property, 0),
            required: is_required,
            default: default.unwrap_or_default(),
            description: one_line(description, 400),
        });
        if depth + 1 < MAX_DEPTH {
            add(root, property, &format!("{path}."), depth + 1, rows);
            if let Some(items) = property.get("items") {
                add(root, items, &format!("{path}[]."), depth + 1, rows);
            }
        }
    }
}

/// The schema that a reference inside the document stands for; itself where it is none.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// A type in a few words.
fn kind(root: &Value, schema: &Value, depth: usize) -> String {
    let schema = resolved(root, schema);
    let Value::Object(object) = schema else { return "anything".into() };
    if depth > MAX_DEPTH {
        return "…".into();
    }
    let values = |values: &[Value]| {
        alternatives(values.iter().map(|value| one_line(&value.to_string(), 30)))
    };
    if let Some(constant) = object.get("const") {
        return values(std::slice::from_ref(constant));
    }
    if let Some(Value::Array(list)) = object.get("enum") {
        return values(list);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(Value::Array(schemas)) = object.get(key) {
            return alternatives(schemas.iter().map(|schema| kind(root, schema, depth + 1)));
        }
    }
    match object.get("type") {
        Some(Value::String(name)) => named(root, object, name, depth),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            alternatives(names.map(|name| named(root, object, name, depth)))
        }
        _ => "anything".into(),
    }
}

fn named(root: &Value, object: &Map<String, Value>, name: &str, depth: usize) -> String {
    match (name, object.get("items")) {
        ("array", Some(items)) => format!("array of {}", kind(root, items, depth + 1)),
        _ => one_line(name, 20),
    }
}

fn alternatives(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<_> = words.take(MAX_ALTERNATIVES + 1).collect();
    words.dedup();
    if words.len() > MAX_ALTERNATIVES {
        words[MAX_ALTERNATIVES] = "…".into();
    }
    words.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(schema: &Value) -> String {
        let mut out = Vec::new();
        parameters(schema, 0).print(&mut out, None).expect("a vector takes all");
        anstream::adapter::strip_str(&String::from_utf8_lossy(&out)).to_string()
    }

    #[test]
    fn parameters_are_told_in_words() {
        let schema = json!({
            "type": "object",
            "required": ["input"],
            "properties": {
                "input": { "description": "What to\nread." },
                "mode": { "enum": ["keep", "drop"], "default": "keep" },
                "fields": { "type": "array", "items": { "type": "string" } },
                "limit": { "type": ["integer", "null"] },
                "site": { "$ref": "#/$defs/Site" },
            },
            "$defs": { "Site": {
                "type": "object",
                "properties": { "url": { "type": "string" } },
                "required": ["url"],
            } },
        });
        assert_eq!(
            shown(&schema),
            "parameter  type             required  default  description\n\
             input      anything         yes                What to read.\n\
             mode       \"keep\" | \"drop\"  no        \"keep\"\n\
             fields     array of string  no\n\
             limit      integer | null   no\n\
             site       object           no\n\
             site.url   string           yes\n"
        );
    }

    #[test]
    fn schemas_that_go_in_circles_end() {
        let schema = json!({
            "properties": { "a": { "$ref": "#" }, "b": { "anyOf": [{ "$ref": "#/properties/b" }] } },
        });
        assert!(shown(&schema).contains("a.a.a"));
        assert!(shown(&json!({ "properties": { "x": true }, "required": 1 })).contains("anything"));
    }
}
