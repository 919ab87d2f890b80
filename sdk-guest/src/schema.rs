//! JSON Schemas (2020-12) of the types a plugin names.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};

/// The schema of a value that is read: arguments, settings, inputs. Its root is an object.
pub fn input<T: JsonSchema>() -> Schema {
    let mut schema = of::<T>(SchemaSettings::draft2020_12().for_deserialize());
    let root = schema.ensure_object();
    if !root.contains_key("$ref") {
        root.entry("type").or_insert_with(|| "object".into());
    }
    schema
}

/// The schema of a value that is written: the answer of a tool, the ports of a component.
pub fn output<T: JsonSchema>() -> Schema {
    of::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn of<T: JsonSchema>(mut settings: SchemaSettings) -> Schema {
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    // The name of a Rust type tells a caller nothing.
    if schema.get("title").and_then(|title| title.as_str()) == Some(&*T::schema_name()) {
        schema.remove("title");
    }
    RecursiveTransform(tidy).transform(&mut schema);
    schema
}

/// Removes what says nothing: formats such as `uint32` and `double`, which JSON Schema does not
/// know and some providers of models refuse, and the default `null` of what may be left out.
fn tidy(schema: &mut Schema) {
    let format = schema.get("format").and_then(|format| format.as_str()).unwrap_or_default();
    if matches!(format, "float" | "double") || format.trim_start_matches('u').starts_with("int") {
        schema.remove("format");
    }
    if schema.get("default").is_some_and(|default| default.is_null()) {
        schema.remove("default");
    }
}
