//! Bad inputs, made from a tool's input schema and its examples. They are the same at each run.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// How deep objects inside objects are gone into.
const MAX_DEPTH: usize = 4;

/// The most places of a tool's arguments that are changed.
const MAX_PLACES: usize = 16;

/// How many inputs are random.
const RANDOM: usize = 20;

/// What the random ones start from.
const SEED: u64 = 0x616d_706f_756c_6501;

/// Bytes of a long text.
const LONG: usize = 256 << 10;

/// Nested deeper than any host reads.
const TOO_DEEP: usize = 5_000;

/// Nested as deep as a host reads, within arguments.
const DEEP: usize = 90;

/// Arguments to be made. Some are large, so none is made before it is needed.
#[derive(Clone, Debug)]
pub(crate) struct BadInput {
    /// What is bad.
    pub title: String,
    base: Arc<Value>,
    at: Vec<Step>,
    change: Change,
}

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Remove,
    Value(Value),
    /// A text of JSON, or of none.
    Text(String),
    /// A text of so many characters.
    Long(char, usize),
    /// So many copies of a value.
    Many(Value, usize),
    Nested(&'static str, &'static str, usize),
}

impl BadInput {
    /// The arguments.
    pub(crate) fn text(&self) -> String {
        let text = match &self.change {
            Change::Remove => {
                let mut arguments = (*self.base).clone();
                remove(&mut arguments, &self.at);
                return arguments.to_string();
            }
            Change::Value(value) => value.to_string(),
            Change::Text(text) => text.clone(),
            Change::Long(c, n) => format!("\"{}\"", c.to_string().repeat(*n)),
            Change::Many(value, n) => format!("[{}]", vec![value.to_string(); *n].join(",")),
            Change::Nested(open, close, n) => {
                format!("{}0{}", open.repeat(*n), close.repeat(*n))
            }
        };
        // Put in as text: not all of them are values.
        const MARK: &str = "\u{e000}the place\u{e001}";
        let mut arguments = (*self.base).clone();
        *place(&mut arguments, &self.at) = MARK.into();
        arguments.to_string().replacen(&Value::from(MARK).to_string(), &text, 1)
    }
}

/// The place in a value, which is made where there is none.
fn place<'a>(value: &'a mut Value, at: &[Step]) -> &'a mut Value {
    let Some((step, rest)) = at.split_first() else { return value };
    match step {
        Step::Field(name) => {
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            place(&mut value[name.as_str()], rest)
        }
        Step::Item(i) => {
            if !value.is_array() {
                *value = Value::Array(Vec::new());
            }
            if let Value::Array(items) = value
                && items.len() <= *i
            {
                items.resize(i + 1, Value::Null);
            }
            place(&mut value[*i], rest)
        }
    }
}

fn remove(value: &mut Value, at: &[Step]) {
    let Some((last, before)) = at.split_last() else { return };
    match (place(value, before), last) {
        (Value::Object(fields), Step::Field(name)) => drop(fields.shift_remove(name)),
        (Value::Array(items), Step::Item(i)) if *i < items.len() => drop(items.remove(*i)),
        _ => {}
    }
}

fn shown(at: &[Step]) -> String {
    let steps = at.iter().map(|step| match step {
        Step::Field(name) => format!("/{name}"),
        Step::Item(i) => format!("/{i}"),
    });
    let text = steps.collect::<String>();
    if text.is_empty() { "the arguments".into() } else { text }
}

/// The bad inputs of a tool with this schema, changed from these good ones.
pub(crate) fn bad_inputs(schema: &Value, good: &[Value]) -> Vec<BadInput> {
    let base = Arc::new(good.first().cloned().unwrap_or_else(|| json!({})));
    let mut inputs = Vec::new();
    let mut add = |title: String, at: &[Step], change: Change| {
        inputs.push(BadInput { title, base: base.clone(), at: at.to_vec(), change });
    };
    whole(&base, &mut add);
    let mut places = Vec::new();
    find_places(schema, schema, &mut Vec::new(), &mut places);
    places.truncate(MAX_PLACES);
    for (at, schema) in &places {
        add(format!("{} is missing", shown(at)), at, Change::Remove);
        for change in wrong(&base, at, schema) {
            add(format!("{}: {}", shown(at), change.describe()), at, change);
        }
    }
    let places: Vec<_> = places.into_iter().map(|(at, _)| at).collect();
    inputs.extend(random(good, &places));
    inputs
}

/// Changes of the whole arguments.
fn whole(base: &Value, add: &mut impl FnMut(String, &[Step], Change)) {
    for text in
        ["", " ", "{", "{}", "null", "[]", "\"text\"", "0", "{\"a\":1,}", "{'a': 1}", "\u{feff}{}"]
    {
        add(format!("the arguments are {text:?}"), &[], Change::Text(text.to_owned()));
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        add("nested too deep".into(), &[], Change::Nested(open, close, TOO_DEEP));
    }
    let mut more = base.clone();
    *place(&mut more, &[Step::Field("ampoule-unknown".into())]) = json!({ "a": [1] });
    add("an unknown field".into(), &[], Change::Value(more));
    add("all is empty".into(), &[], Change::Value(emptied(base)));
    if let Some((name, value)) = base.as_object().and_then(|fields| fields.iter().next()) {
        let name = Value::from(name.as_str());
        let twice = format!("{{{name}:{value},{name}:null}}");
        add("a field twice".into(), &[], Change::Text(twice));
    }
}

/// The value with nothing in it: empty texts and lists, zeros.
fn emptied(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => false.into(),
        Value::Number(_) => 0.into(),
        Value::String(_) => "".into(),
        Value::Array(_) => json!([]),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::Object(_) => (name.clone(), json!({})),
                value => (name.clone(), emptied(value)),
            });
            Value::Object(fields.collect())
        }
    }
}

/// The places that a schema names, outer ones first.
fn find_places<'a>(
    root: &'a Value,
    schema: &'a Value,
    at: &mut Vec<Step>,
    found: &mut Vec<(Vec<Step>, &'a Value)>,
) {
    let mut below = Vec::new();
    for part in parts(root, schema) {
        if let Some(properties) = part.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                below.push((Step::Field(name.clone()), property));
            }
        }
        if let Some(items) = part.get("items") {
            below.push((Step::Item(0), items));
        }
    }
    for (step, schema) in &below {
        let mut at = at.clone();
        at.push(step.clone());
        if !found.iter().any(|(known, _)| *known == at) {
            found.push((at, schema));
        }
    }
    if at.len() + 1 < MAX_DEPTH && found.len() < MAX_PLACES {
        for (step, schema) in below {
            at.push(step);
            find_places(root, schema, at, found);
            at.pop();
        }
    }
}

/// A schema and the alternatives in it, references followed.
fn parts<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut parts: Vec<&Value> = Vec::new();
    let mut next = vec![schema];
    while let Some(schema) = next.pop() {
        if parts.len() == 32 || parts.iter().any(|known| std::ptr::eq(*known, schema)) {
            continue;
        }
        parts.push(schema);
        let target = schema.get("$ref").and_then(Value::as_str);
        next.extend(target.and_then(|target| root.pointer(target.strip_prefix('#')?)));
        for key in ["anyOf", "oneOf", "allOf"] {
            next.extend(schema.get(key).and_then(Value::as_array).into_iter().flatten());
        }
    }
    parts
}

/// What is put in one place.
fn wrong(base: &Value, at: &[Step], schema: &Value) -> Vec<Change> {
    let mut changes: Vec<Change> = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("text"),
        json!([]),
        json!({}),
        json!([[null]]),
        json!({ "": null }),
        json!(9_007_199_254_740_993_u64),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(5e-324),
        json!({ "$blob": "unknown" }),
        json!({ "base64": "*" }),
        json!("\u{0}\u{1}\u{1b}[2J\u{7f}\u{9b}\r\n\t"),
        json!("\u{202e}\u{feff}\u{200d}e\u{301}\u{1f469}\u{200d}\u{1f467}\u{10ffff}ß\u{130}"),
        json!("../../../etc/passwd"),
        json!("%s%n%00{{7*7}}${x}$(x)`x`' OR 1=1 --<!ENTITY a \"b\">"),
        json!("-9999999999999999999999999999999999999999e999999999"),
    ]
    .map(Change::Value)
    .into();
    changes.extend([
        Change::Text(r#""\ud800""#.into()),
        Change::Text("1e999".into()),
        Change::Text("-0".into()),
        Change::Text("123456789012345678901234567890".into()),
        Change::Long('a', LONG),
        Change::Long('é', LONG / 2),
        Change::Long('(', LONG / 8),
        Change::Long('[', LONG / 8),
        Change::Long('<', LONG / 8),
        Change::Long('\u{1f600}', 1_000),
        Change::Nested("[", "]", DEEP),
        Change::Nested("{\"a\":", "}", DEEP),
        Change::Nested("[", "]", TOO_DEEP),
    ]);
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    for (key, by) in [("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0)] {
        changes.extend(bound(key).map(|n| Change::Value(n.saturating_add(by).into())));
    }
    for key in ["minimum", "maximum"] {
        changes.extend(bound(key).map(|n| Change::Value(n.into())));
    }
    let size = |key: &str| schema.get(key).and_then(Value::as_u64);
    let fits = |n: u64| usize::try_from(n).ok().filter(|n| *n <= 1 << 20);
    for n in [size("maxLength"), size("maxLength").map(|n| n + 1)] {
        changes.extend(n.and_then(fits).map(|n| Change::Long('a', n)));
    }
    if let Some(n) = size("minLength").and_then(|n| n.checked_sub(1)).and_then(fits) {
        changes.push(Change::Long('a', n));
    }
    let item = {
        let mut base = base.clone();
        let mut first = at.to_vec();
        first.push(Step::Item(0));
        match place(&mut base, at) {
            Value::Array(items) if !items.is_empty() => items[0].clone(),
            _ => Value::Null,
        }
    };
    let fits = |n: u64| usize::try_from(n).ok().filter(|n| *n <= 10_000);
    changes
        .extend(size("maxItems").and_then(|n| fits(n + 1)).map(|n| Change::Many(item.clone(), n)));
    if !item.is_null() {
        changes.push(Change::Many(item, 1_000));
    }
    if schema.get("enum").is_some() || schema.get("const").is_some() {
        changes.push(Change::Value("none-of-these".into()));
    }
    changes
}

impl Change {
    fn describe(&self) -> String {
        match self {
            Change::Remove => "missing".into(),
            Change::Value(value) => crate::compare::show(value),
            Change::Text(text) => text.clone(),
            Change::Long(c, n) => format!("{c:?} {n} times"),
            Change::Many(value, n) => format!("{n} times {}", crate::compare::show(value)),
            Change::Nested(open, _, n) => format!("{n} levels of {open}"),
        }
    }
}

/// Good inputs with random values in random places.
fn random(good: &[Value], places: &[Vec<Step>]) -> Vec<BadInput> {
    let mut random = StdRng::seed_from_u64(SEED);
    let make = |i: usize| {
        let mut value = match good.is_empty() {
            true => json!({}),
            false => good[random.random_range(0..good.len())].clone(),
        };
        for _ in 0..random.random_range(1..=4) {
            let new = random_value(&mut random, 0);
            match places.is_empty() {
                true => *place(&mut value, &[Step::Field(random_text(&mut random))]) = new,
                false => {
                    let at = &places[random.random_range(0..places.len())];
                    *place(&mut value, at) = new;
                }
            }
        }
        BadInput {
            title: format!("random {}", i + 1),
            base: Arc::new(Value::Null),
            at: Vec::new(),
            change: Change::Value(value),
        }
    };
    (0..RANDOM).map(make).collect()
}

fn random_value(random: &mut StdRng, depth: usize) -> Value {
    let kinds = if depth < 4 { 8 } else { 6 };
    match random.random_range(0..kinds) {
        0 => Value::Null,
        1 => random.random::<bool>().into(),
        2 => (random.random::<i64>() >> random.random_range(0..64)).into(),
        3 => json!(f64::from_bits(random.random())),
        4 | 5 => random_text(random).into(),
        6 => {
            let n = random.random_range(0..5);
            (0..n).map(|_| random_value(random, depth + 1)).collect()
        }
        _ => {
            let n = random.random_range(0..5);
            let fields = (0..n).map(|_| (random_text(random), random_value(random, depth + 1)));
            Value::Object(fields.collect::<Vec<_>>().into_iter().collect())
        }
    }
}

fn random_text(random: &mut StdRng) -> String {
    let n = 1 << random.random_range(0..8);
    let ascii = random.random::<bool>();
    let one = |random: &mut StdRng| match ascii {
        true => char::from(random.random_range(0x20..0x7f_u8)),
        false => char::from_u32(random.random_range(0..0x11_0000)).unwrap_or('\u{fffd}'),
    };
    (0..n).map(|_| one(random)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["input"],
            "properties": {
                "input": {},
                "limit": { "type": "integer", "minimum": 1, "maximum": 10 },
                "names": { "type": "array", "items": { "$ref": "#/$defs/Name" }, "maxItems": 3 },
                "mode": { "anyOf": [{ "$ref": "#/$defs/Name" }, { "type": "null" }] },
            },
            "$defs": { "Name": {
                "type": "object", "properties": { "first": { "type": "string", "maxLength": 5 } },
            } },
        })
    }

    #[test]
    fn they_go_into_the_schema_and_are_the_same_at_each_run() {
        let good = [json!({ "input": 1, "names": [{ "first": "a" }] })];
        let inputs = bad_inputs(&schema(), &good);
        let texts: Vec<_> = inputs.iter().map(BadInput::text).collect();
        let again: Vec<_> = bad_inputs(&schema(), &good).iter().map(BadInput::text).collect();
        assert_eq!(texts, again);
        let has = |text: &str| assert!(texts.iter().any(|t| t == text), "{text}");
        has("{");
        has(r#"{"names":[{"first":"a"}]}"#);
        has(r#"{"input":1,"names":[{"first":"a"}],"limit":11}"#);
        has(r#"{"input":1,"names":[{"first":"a"}],"limit":0}"#);
        has(r#"{"input":1,"names":[{"first":"aaaaaa"}]}"#);
        has(r#"{"input":"\ud800","names":[{"first":"a"}]}"#);
        has(r#"{"input":1,"names":[{"first":"a"}],"mode":{"first":1.5}}"#);
        let four = r#"{"first":"a"},"#.repeat(4);
        has(&format!("{{\"input\":1,\"names\":[{}]}}", four.trim_end_matches(',')));
        assert!(inputs.iter().filter(|input| input.title.starts_with("random")).count() == RANDOM);
        assert!(texts.iter().any(|text| text.len() > LONG));
    }

    #[test]
    fn schemas_that_go_in_circles_end() {
        let schema = json!({
            "properties": { "a": { "$ref": "#" }, "b": { "anyOf": [{ "$ref": "#/properties/b" }] } },
        });
        assert!(bad_inputs(&schema, &[]).len() > 100);
        assert!(!bad_inputs(&json!(true), &[]).is_empty());
    }
}
