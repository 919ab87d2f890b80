//! WIT types as JSON Schema (2020-12), and which types can be one.
//!
//! | WIT | JSON |
//! | --- | --- |
//! | `bool`, `string` | the same |
//! | `s8` … `u32` | integer in its range |
//! | `s64`, `u64` | integer, or its decimal digits as a string; written as a string beyond 2^53 |
//! | `f32`, `f64` | number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `char` | string of one Unicode scalar value |
//! | `list<u8>` | string, base64 |
//! | `list<T>`, `list<T, N>` | array |
//! | `map<string, V>` | object |
//! | `map<K, V>` | array of `[key, value]` |
//! | `tuple` | array of fixed length |
//! | `record` | object without further keys |
//! | `variant` | `{"tag": "case"}`, `{"tag": "case", "value": …}` |
//! | `enum` | string |
//! | `flags` | array of the names that are set: shorter than an object of booleans, and the same when a later version knows more flags |
//! | `option<T>` | `null` or T; `null` or `{"some": …}` where T is itself an option |
//! | `result` | `{"ok": …}` or `{"err": …}`, `null` where there is no payload |
//!
//! Wherever an object has a key whose type is an option, the key may be absent and means `none`.

use serde_json::{Map, Value, json};
use wasmtime::component::types::Type;

use super::names::Scope;

/// How deep types may be nested. A level of type is at most four of schema, and
/// [`json::MAX_DEPTH`](crate::json::MAX_DEPTH) is 100.
pub(super) const MAX_DEPTH: usize = 24;

/// Types, fields, cases and flags of one function at most.
const MAX_NODES: usize = 2_000;

/// Bytes of their names at most.
const MAX_NAME_BYTES: usize = 64 << 10;

/// How many functions of that size a component may have.
const FUNCTIONS: usize = 20;

/// Bytes of documentation in the schemas of one function; what is beyond is left out.
const MAX_DOC_BYTES: usize = 32 << 10;

/// How much type may still be looked at. Types are trees whose width a few bytes of a hostile
/// component can make explode, so they are measured before anything is built from them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    nodes: usize,
    name_bytes: usize,
}

impl Allowance {
    /// What all functions of a component may take together.
    pub(super) const COMPONENT: Allowance =
        Allowance { nodes: MAX_NODES * FUNCTIONS, name_bytes: MAX_NAME_BYTES * FUNCTIONS };

    /// Runs `measure` on the smaller of this and what one function may take; what it takes is
    /// taken from this too, whether it succeeds or not.
    pub(super) fn lend<T>(&mut self, measure: impl FnOnce(&mut Allowance) -> T) -> T {
        let lent = Allowance {
            nodes: self.nodes.min(MAX_NODES),
            name_bytes: self.name_bytes.min(MAX_NAME_BYTES),
        };
        let mut left = lent;
        let result = measure(&mut left);
        self.nodes -= lent.nodes - left.nodes;
        self.name_bytes -= lent.name_bytes - left.name_bytes;
        result
    }

    /// Takes a node with a name.
    pub(super) fn take(&mut self, name: &str) -> Result<(), String> {
        match (self.nodes.checked_sub(1), self.name_bytes.checked_sub(name.len())) {
            (Some(nodes), Some(name_bytes)) => {
                *self = Allowance { nodes, name_bytes };
                Ok(())
            }
            _ => Err(format!(
                "is too large to describe: at most {MAX_NODES} types, fields and cases with \
                 {} KiB of names in a function, and {FUNCTIONS} times that in a component",
                MAX_NAME_BYTES >> 10
            )),
        }
    }

    /// Refuses a type that JSON cannot carry, and one that is too large or too deep.
    pub(super) fn check(&mut self, ty: &Type) -> Result<(), String> {
        self.check_at(ty, 1)
    }

    fn check_at(&mut self, ty: &Type, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH} levels"));
        }
        self.take("")?;
        let handle = |what: &str| Err(format!("holds {what}, which JSON cannot carry"));
        match ty {
            Type::Bool
            | Type::S8
            | Type::U8
            | Type::S16
            | Type::U16
            | Type::S32
            | Type::U32
            | Type::S64
            | Type::U64
            | Type::Float32
            | Type::Float64
            | Type::Char
            | Type::String => Ok(()),
            Type::List(list) => self.check_at(&list.ty(), depth + 1),
            Type::FixedLengthList(list) => self.check_at(&list.ty(), depth + 1),
            Type::Map(map) => {
                self.check_at(&map.key(), depth + 1)?;
                self.check_at(&map.value(), depth + 1)
            }
            Type::Record(record) => record.fields().try_for_each(|field| {
                self.take(field.name)?;
                self.check_at(&field.ty, depth + 1)
            }),
            Type::Tuple(tuple) => tuple.types().try_for_each(|ty| self.check_at(&ty, depth + 1)),
            Type::Variant(variant) => variant.cases().try_for_each(|case| {
                self.take(case.name)?;
                case.ty.map_or(Ok(()), |ty| self.check_at(&ty, depth + 1))
            }),
            Type::Enum(names) => names.names().try_for_each(|name| self.take(name)),
            Type::Flags(flags) => flags.names().try_for_each(|name| self.take(name)),
            Type::Option(option) => self.check_at(&option.ty(), depth + 1),
            Type::Result(result) => [result.ok(), result.err()]
                .into_iter()
                .flatten()
                .try_for_each(|ty| self.check_at(&ty, depth + 1)),
            Type::Own(_) | Type::Borrow(_) => handle("a resource"),
            Type::Future(_) => handle("a future"),
            Type::Stream(_) => handle("a stream"),
            Type::ErrorContext => handle("an error context"),
        }
    }
}

/// Writes the schemas of one function, whose types have passed [`Allowance::check`].
pub(super) struct Writer<'a> {
    scope: Scope<'a>,
    doc_bytes: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(scope: Scope<'a>) -> Writer<'a> {
        Writer { scope, doc_bytes: MAX_DOC_BYTES }
    }

    /// The schema of the parameters: an object with a key for each.
    pub(super) fn arguments(&mut self, params: &[(String, Type)]) -> Value {
        self.object(None, params.iter().map(|(name, ty)| (name.as_str(), ty.clone(), None)))
    }

    /// The schema of a type.
    pub(super) fn schema(&mut self, ty: &Type) -> Value {
        let docs = self.scope.docs(ty);
        let doc_of = |name: &str| docs.and_then(|docs| docs.items.get(name)).map(|text| &**text);
        let mut schema = match ty {
            Type::Bool => json!({ "type": "boolean" }),
            Type::S8 => integer(i8::MIN, i8::MAX),
            Type::U8 => integer(u8::MIN, u8::MAX),
            Type::S16 => integer(i16::MIN, i16::MAX),
            Type::U16 => integer(u16::MIN, u16::MAX),
            Type::S32 => integer(i32::MIN, i32::MAX),
            Type::U32 => integer(u32::MIN, u32::MAX),
            Type::S64 => long_integer(i64::MIN, i64::MAX, "^(0|-?[1-9][0-9]{0,18})$"),
            Type::U64 => long_integer(u64::MIN, u64::MAX, "^(0|[1-9][0-9]{0,19})$"),
            Type::Float32 => {
                let mut schema = float();
                schema["minimum"] = json!(f64::from(f32::MIN));
                schema["maximum"] = json!(f64::from(f32::MAX));
                schema
            }
            Type::Float64 => float(),
            Type::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
            Type::String => json!({ "type": "string" }),
            Type::List(list) if list.ty() == Type::U8 => base64(),
            Type::List(list) => json!({ "type": "array", "items": self.schema(&list.ty()) }),
            Type::FixedLengthList(list) if list.ty() == Type::U8 => {
                let mut schema = base64();
                let chars = u64::from(list.len()).div_ceil(3) * 4;
                schema["minLength"] = json!(chars);
                schema["maxLength"] = json!(chars);
                schema
            }
            Type::FixedLengthList(list) => json!({
                "type": "array",
                "items": self.schema(&list.ty()),
                "minItems": list.len(),
                "maxItems": list.len(),
            }),
            Type::Map(map) if map.key() == Type::String => {
                json!({ "type": "object", "additionalProperties": self.schema(&map.value()) })
            }
            Type::Map(map) => {
                let entry = self.tuple([map.key(), map.value()].into_iter());
                json!({ "type": "array", "items": entry })
            }
            Type::Record(record) => {
                let fields = record.fields();
                self.object(None, fields.map(|field| (field.name, field.ty, doc_of(field.name))))
            }
            Type::Tuple(tuple) => self.tuple(tuple.types()),
            Type::Variant(variant) => {
                let cases = variant.cases().map(|case| {
                    let payload = case.ty.map(|ty| ("value", ty, None));
                    let mut schema = self.object(Some(case.name), payload.into_iter());
                    self.describe(&mut schema, doc_of(case.name));
                    schema
                });
                json!({ "oneOf": cases.collect::<Vec<_>>() })
            }
            Type::Enum(names) => {
                json!({ "type": "string", "enum": names.names().collect::<Vec<_>>() })
            }
            Type::Flags(flags) => json!({
                "type": "array",
                "items": { "type": "string", "enum": flags.names().collect::<Vec<_>>() },
                "uniqueItems": true,
            }),
            Type::Option(option) => nullable(match option.ty() {
                inner @ Type::Option(_) => wrapped("some", self.schema(&inner)),
                inner => self.schema(&inner),
            }),
            Type::Result(result) => {
                let mut arm = |key, ty: Option<Type>| {
                    let nothing = || json!({ "type": "null" });
                    wrapped(key, ty.map_or_else(nothing, |ty| self.schema(&ty)))
                };
                json!({ "oneOf": [arm("ok", result.ok()), arm("err", result.err())] })
            }
            // Refused by `Allowance::check`; should one get here, nothing fits it.
            Type::Own(_)
            | Type::Borrow(_)
            | Type::Future(_)
            | Type::Stream(_)
            | Type::ErrorContext => json!({ "not": {} }),
        };
        if let Some(docs) = docs {
            let mut text = docs.text.as_deref().unwrap_or_default().to_owned();
            let listed: Vec<&str> = match ty {
                Type::Enum(names) => names.names().collect(),
                Type::Flags(flags) => flags.names().collect(),
                _ => Vec::new(),
            };
            for (name, doc) in listed.iter().filter_map(|name| Some((name, doc_of(name)?))) {
                let line_break = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{line_break}- `{name}`: {doc}"));
            }
            self.describe(&mut schema, Some(&text));
        }
        schema
    }

    /// An object with a key for each field and, for a case of a variant, its tag.
    fn object<'b>(
        &mut self,
        tag: Option<&str>,
        fields: impl Iterator<Item = (&'b str, Type, Option<&'b str>)>,
    ) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        if let Some(tag) = tag {
            properties.insert("tag".into(), json!({ "const": tag }));
            required.push("tag");
        }
        for (name, ty, doc) in fields {
            let mut schema = self.schema(&ty);
            self.describe(&mut schema, doc);
            properties.insert(name.to_owned(), schema);
            if !matches!(ty, Type::Option(_)) {
                required.push(name);
            }
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema["additionalProperties"] = json!(false);
        schema
    }

    fn tuple(&mut self, types: impl ExactSizeIterator<Item = Type>) -> Value {
        let len = types.len();
        json!({
            "type": "array",
            "prefixItems": types.map(|ty| self.schema(&ty)).collect::<Vec<_>>(),
            "items": false,
            "minItems": len,
            "maxItems": len,
        })
    }

    /// Puts documentation on a schema, in place of what its type said, while there is room.
    fn describe(&mut self, schema: &mut Value, text: Option<&str>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        if let Some(left) = self.doc_bytes.checked_sub(text.len()) {
            self.doc_bytes = left;
            schema["description"] = json!(text);
        }
    }
}

fn integer(minimum: impl Into<i64>, maximum: impl Into<i64>) -> Value {
    json!({ "type": "integer", "minimum": minimum.into(), "maximum": maximum.into() })
}

fn long_integer(minimum: impl Into<Value>, maximum: impl Into<Value>, pattern: &str) -> Value {
    json!({
        "type": ["integer", "string"],
        "minimum": minimum.into(),
        "maximum": maximum.into(),
        "pattern": pattern,
    })
}

fn float() -> Value {
    json!({ "type": ["number", "string"], "pattern": "^(NaN|-?Infinity)$" })
}

fn base64() -> Value {
    json!({ "type": "string", "contentEncoding": "base64" })
}

/// An object with one key, which it must have.
fn wrapped(key: &str, schema: Value) -> Value {
    json!({
        "type": "object",
        "properties": { key: schema },
        "required": [key],
        "additionalProperties": false,
    })
}

/// Lets `null` through as well. Every schema of this file has `oneOf` or `type` at its root.
fn nullable(mut schema: Value) -> Value {
    if let Some(Value::Array(alternatives)) = schema.get_mut("oneOf") {
        alternatives.push(json!({ "type": "null" }));
        return schema;
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    match &mut schema["type"] {
        Value::Array(types) => types.push(json!("null")),
        one => *one = json!([one.take(), "null"]),
    }
    schema
}
