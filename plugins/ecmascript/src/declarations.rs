//! The tools a program may call as TypeScript declarations, for a model.

use ampoule_sdk::prelude::*;
use ampoule_sdk::tools::{self, Definition};

/// How deep schemas are followed.
const MAX_DEPTH: usize = 12;

/// The longest description of a tool or field, in bytes.
const MAX_TEXT: usize = 1_000;

/// The declarations of all of them.
///
/// # Errors
/// `denied` where no tool is granted.
pub(crate) fn all() -> Result<String> {
    let tools = tools::list()?;
    let mut text = String::from(
        "/** A tool's answer with what stands beside the value. */\n\
         type Answer<T> = { value?: T; blocks: object[]; truncated: boolean; next?: string };\n\
         /** What a tool that fails throws. */\n\
         declare class ToolError extends Error { code: string; retryable: boolean; data?: any }\n\
         declare const tools: {\n",
    );
    for tool in &tools {
        declare(tool, &mut text);
    }
    text.push_str("};\n");
    Ok(text)
}

fn declare(tool: &Definition, text: &mut String) {
    comment(&tool.description, "  ", text);
    let name = camel(&tool.name);
    let input = of(&tool.input_schema, &tool.input_schema, "  ", 0);
    let answer = match &tool.output_schema {
        Some(schema) => of(schema, schema, "  ", 0),
        None => "any".into(),
    };
    let mark = match tool.input_schema.get("required").and_then(Value::as_array) {
        Some(required) if !required.is_empty() => "",
        _ => "?",
    };
    text.push_str(&format!(
        "  {name}: {{\n    (args{mark}: {input}): Promise<{answer}>;\n    \
         output(args{mark}: object): Promise<Answer<any>>;\n  }};\n"
    ));
}

/// An id in JavaScript's case, as the prelude writes it.
fn camel(id: &str) -> String {
    let mut name = String::new();
    let mut upper = false;
    for character in id.chars() {
        if !character.is_ascii_alphanumeric() {
            upper = true;
        } else if std::mem::take(&mut upper) {
            name.push(character.to_ascii_uppercase());
        } else {
            name.push(character);
        }
    }
    name
}

fn comment(description: &str, indent: &str, text: &mut String) {
    let description = description.trim().replace("*/", "* /");
    let end = description.floor_char_boundary(MAX_TEXT);
    let description = &description[..end];
    match description.contains('\n') {
        _ if description.is_empty() => {}
        false => text.push_str(&format!("{indent}/** {description} */\n")),
        true => {
            text.push_str(&format!("{indent}/**\n"));
            for line in description.lines() {
                text.push_str(format!("{indent} * {line}").trim_end());
                text.push('\n');
            }
            text.push_str(&format!("{indent} */\n"));
        }
    }
}

/// The type a schema describes, as near as TypeScript has it; what it has no word for is `any`.
fn of(schema: &Value, root: &Value, indent: &str, depth: usize) -> String {
    let any = || "any".to_owned();
    let Value::Object(fields) = schema else { return any() };
    if depth > MAX_DEPTH {
        return any();
    }
    let below = |schema: &Value| of(schema, root, indent, depth + 1);
    if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(any, below);
    }
    if let Some(value) = fields.get("const") {
        return value.to_string();
    }
    if let Some(Value::Array(values)) = fields.get("enum") {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        return values.join(" | ");
    }
    for (word, joint) in [("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")] {
        if let Some(Value::Array(schemas)) = fields.get(word) {
            let mut types: Vec<String> = Vec::new();
            for schema in schemas {
                let one = below(schema);
                if !types.contains(&one) {
                    types.push(one);
                }
            }
            return types.join(joint);
        }
    }
    match fields.get("type") {
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().map(|kind| {
                let mut one = fields.clone();
                one.insert("type".into(), kind.clone());
                below(&Value::Object(one))
            });
            kinds.collect::<Vec<_>>().join(" | ")
        }
        Some(Value::String(kind)) => match kind.as_str() {
            "string" => "string".into(),
            "integer" | "number" => "number".into(),
            "boolean" => "boolean".into(),
            "null" => "null".into(),
            "array" => match fields.get("items") {
                Some(items) => format!("Array<{}>", below(items)),
                None => "any[]".into(),
            },
            "object" => object(fields, root, indent, depth),
            _ => any(),
        },
        _ if fields.contains_key("properties") => object(fields, root, indent, depth),
        _ => any(),
    }
}

fn object(fields: &Map<String, Value>, root: &Value, indent: &str, depth: usize) -> String {
    let inner = format!("{indent}  ");
    let Some(Value::Object(properties)) = fields.get("properties") else {
        return match fields.get("additionalProperties") {
            Some(schema @ Value::Object(_)) => {
                format!("Record<string, {}>", of(schema, root, indent, depth + 1))
            }
            _ => "Record<string, any>".into(),
        };
    };
    if properties.is_empty() {
        return "{}".into();
    }
    let required = fields.get("required").and_then(Value::as_array);
    let mut text = String::from("{\n");
    for (name, schema) in properties {
        if let Some(description) = schema.get("description").and_then(Value::as_str) {
            let default = schema.get("default").map(|value| format!(" Default: {value}."));
            let description = format!("{description}{}", default.unwrap_or_default());
            comment(&description, &inner, &mut text);
        }
        let is_required = required.is_some_and(|names| names.iter().any(|other| other == name));
        let mark = if is_required { "" } else { "?" };
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        let key = if plain { name.clone() } else { Value::from(name.as_str()).to_string() };
        let kind = of(schema, root, &inner, depth + 1);
        text.push_str(&format!("{inner}{key}{mark}: {kind};\n"));
    }
    text.push_str(indent);
    text.push('}');
    text
}
