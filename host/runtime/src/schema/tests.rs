use serde_json::{Map, json};

use super::graph::states;
use super::*;

fn refused(schema: Value) -> String {
    Schema::new(schema).compile().unwrap_err().to_owned()
}

fn check(schema: &Value, value: &Value) -> Result<(), Problem> {
    Schema::new(schema.clone()).validate(value)
}

/// `levels` of what `around` puts around `value`.
fn nested(levels: usize, value: Value, around: impl Fn(Value) -> Value) -> Value {
    (0..levels).fold(value, |value, _| around(value))
}

/// A chain of definitions, each made by `link` of a reference to the next.
fn linked(links: usize, link: impl Fn(Value) -> Value) -> Value {
    let mut defs = Map::new();
    for at in 0..links {
        let next = json!({ "$ref": format!("#/$defs/a{}", at + 1) });
        defs.insert(format!("a{at}"), link(next));
    }
    defs.insert(format!("a{links}"), json!({ "type": "object" }));
    json!({ "type": "object", "$ref": "#/$defs/a0", "$defs": defs })
}

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
    assert!(Schema::new(json!(5)).compile().is_err());
    assert!(check(&json!(true), &json!(5)).is_ok());
    assert!(check(&json!(false), &json!(5)).is_err());
}

#[test]
fn a_schema_refers_only_to_its_own_parts() {
    for schema in [
        json!({"$id": "https://a.example/"}),
        json!({"$defs": {"a": {"$id": "json-schema:///", "type": "string"}}}),
        json!({"properties": {"a": {"$anchor": "x"}}}),
        json!({"$dynamicAnchor": "x"}),
        json!({"items": {"$dynamicRef": "#x"}}),
        json!({"not": {"$recursiveRef": "#"}}),
        json!({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}),
        json!({"$schema": "json-schema:///", "$vocabulary": {}}),
        json!({"$ref": "other.json"}),
        json!({"$ref": "json-schema:///#/$defs/a", "$defs": {"a": true}}),
        json!({"$ref": ""}),
        json!({"$ref": "#name"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"$ref": "#/$defs/%FF"}),
        json!({"$ref": "#/x/y", "x": {"$id": "z", "y": true}}),
        json!({"dependencies": {"a": ["b"]}}),
    ] {
        let error = refused(schema.clone());
        assert!(error.starts_with("it") && error.contains('`'), "{schema}: {error}");
    }
    for (schema, fits, does_not) in [
        (json!({"properties": {"$id": {"type": "string"}}}), json!({"$id": ""}), json!({"$id": 1})),
        (
            json!({"type": "null", "default": {"$id": "x"}, "examples": [{"$ref": "#/no"}]}),
            json!(null),
            json!(1),
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
            json!({}),
            json!(1),
        ),
        (
            json!({"$ref": "#/$defs/a~1b%3Cc%3E", "$defs": {"a/b<c>": {"type": "string"}}}),
            json!(""),
            json!(1),
        ),
        (
            json!({"x": [true, {"type": "string"}], "items": {"$ref": "#/x/1"}}),
            json!([""]),
            json!([1]),
        ),
    ] {
        assert!(check(&schema, &fits).is_ok(), "{schema}");
        assert!(check(&schema, &does_not).is_err(), "{schema}");
    }
}

#[test]
fn long_and_doubling_chains_are_refused() {
    assert!(Schema::new(linked(29_000, |next| next)).compile().is_err());
    assert!(refused(linked(1_000, |next| next)).contains("through one another"));
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let double = |next: Value| json!({ keyword: [next.clone(), next] });
        assert!(refused(linked(60, double)).contains("through one another"));
        assert!(refused(linked(25, double)).contains("to one value"));
    }
    let both = |next: Value| json!({"if": next.clone(), "then": next.clone(), "else": next});
    assert!(refused(linked(20, both)).contains("to one value"));
    for circle in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"anyOf": [{"not": {"$ref": "#"}}]}]}),
        json!({"dependentSchemas": {"a": {"$ref": "#/x"}}, "x": {"$ref": "#"}}),
    ] {
        assert!(refused(circle).contains("refers to itself"));
    }
    let chain = linked(30, |next| json!({"minProperties": 1, "$ref": next["$ref"]}));
    assert!(check(&chain, &json!({"a": 1})).is_ok());
    assert!(check(&chain, &json!({})).is_err());
}

#[test]
fn what_asks_for_the_unevaluated_does_not_double() {
    let asking = |part: Value| json!({"allOf": [part], "unevaluatedProperties": false});
    assert!(refused(nested(25, json!({"minProperties": 1}), asking)).contains("to one value"));
    let schema = json!({
        "allOf": [{"$ref": "#/$defs/base"}], "properties": {"b": {"$ref": "#"}},
        "unevaluatedProperties": false,
        "$defs": {"base": {"properties": {"a": {"type": "integer"}}}},
    });
    assert!(check(&schema, &json!({"a": 1, "b": {"a": 2}})).is_ok());
    assert!(check(&schema, &json!({"b": {"c": 2}})).is_err());
    let items =
        json!({"prefixItems": [true], "contains": {"type": "null"}, "unevaluatedItems": false});
    assert!(check(&items, &json!([1, null])).is_ok());
    assert!(check(&items, &json!([1, null, 2])).is_err());
}

#[test]
fn large_schemas_are_refused() {
    assert!(refused(json!({"allOf": vec![true; 20_000]})).contains("10000 subschemas"));
    assert!(refused(json!({"enum": vec![0; 510_000]})).contains("values and texts"));
    // The place of each subschema is kept as text.
    let under = |name: String| json!({"properties": {name: {"allOf": vec![true; 9_000]}}});
    assert!(refused(under("x".repeat(400_000))).contains("names are too long"));
    assert!(refused(under("x".repeat(6_000))).contains("memory"));
    assert!(Schema::new(under("x".repeat(600))).compile().is_ok());
    // These have the same hash to the library that compares them.
    let alike = nested(20, json!([]), |value| json!([value]));
    assert!(refused(json!({"required": [[], alike]})).contains("names"));
}

#[test]
fn patterns_are_bounded_together() {
    let many: Map<String, Value> = (0..200).map(|at| (format!("^k{at}+"), json!(true))).collect();
    assert!(refused(json!({"patternProperties": many})).contains("different patterns"));
    for long in ["a".repeat(70_000), r"\s".repeat(600)] {
        assert!(refused(json!({"items": {"pattern": long}})).contains("too long"));
    }
    for (pattern, fits, does_not) in [
        (r"^\w{1,100}$", "name_1", "name 1"),
        (r"^.{1,100}$", "é", ""),
        (
            r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            "00000000-0000-0000-0000-000000000000",
            "0",
        ),
        (r"^([01]?\d?\d|2[0-4]\d|25[0-5])(\.\d{1,3}){3}$", "127.0.0.1", "127.0.0"),
    ] {
        let schema = json!({"type": "string", "pattern": pattern});
        assert!(check(&schema, &json!(fits)).is_ok(), "{pattern}");
        assert!(check(&schema, &json!(does_not)).is_err(), "{pattern}");
    }
    // Linear, but in the number of states too.
    let schema = json!({"pattern": "^[ab]*a[ab]{400}$"});
    assert!(check(&schema, &json!("ab".repeat(500) + "a")).is_ok());
    let problem = check(&schema, &json!("ab".repeat(500_000))).unwrap_err();
    assert!(problem.message.contains("too large"), "{problem}");
}

#[test]
fn states_of_patterns_are_counted_from_above() {
    assert_eq!(states("^a+$"), 4);
    assert_eq!(states("[0-9]{8}-[0-9]{1,4}"), 19 + 12);
    assert_eq!(states("(ab{3}){5}"), 10 * 15);
    assert_eq!(states("a{3}?{5}"), 8 * 15);
    assert_eq!(states(r"\p{L}{2,}"), 9 * 2);
    assert_eq!(states("(?x)a {9}"), 9 * 9);
    assert_eq!(states("(?:a{99}){99}"), 8192);
}

#[test]
fn a_tree_of_any_depth_is_checked_once() {
    let variant = |kind: &str| {
        json!({
            "type": "object", "required": ["kind"],
            "properties": {"child": {"$ref": "#/$defs/tree"}, "kind": {"const": kind}},
        })
    };
    let schema = json!({
        "$ref": "#/$defs/tree",
        "$defs": {"tree": {"anyOf": [variant("a"), variant("b"), {"type": "null"}]}},
    });
    let tree = |leaf: Value| nested(45, leaf, |child| json!({"child": child, "kind": "b"}));
    assert!(check(&schema, &tree(json!(null))).is_ok());
    // Telling where would take a visit for each way through the tree.
    assert_eq!(check(&schema, &tree(json!(7))).unwrap_err().path, None);
    let small = check(&schema, &json!({"child": 7, "kind": "b"})).unwrap_err();
    assert_eq!(small.path.as_deref(), Some(""));
}

#[test]
fn what_branches_with_each_level_is_bounded_by_the_value() {
    let variants = |target: &str| {
        let child = json!({"properties": {"child": {"$ref": target}}});
        json!({"type": "object", "allOf": [child, child]})
    };
    let schema = json!({
        "$ref": "#/$defs/a", "$defs": {"a": variants("#/$defs/b"), "b": variants("#/$defs/a")},
    });
    let value = |levels| nested(levels, json!({}), |child| json!({"child": child}));
    assert!(check(&schema, &value(10)).is_ok());
    let problem = check(&schema, &value(60)).unwrap_err();
    assert!(problem.message.contains("too large"), "{problem}");
    // Without a reference back, and so without a circle.
    let schema = linked(30, |next| {
        let child = json!({"properties": {"child": next}});
        json!({"allOf": [child, child]})
    });
    assert!(check(&schema, &value(10)).is_ok());
    assert!(check(&schema, &value(60)).unwrap_err().message.contains("too large"));
}

#[test]
fn work_is_bounded_by_schema_and_value_together() {
    let schema = json!({"items": {"allOf": vec![json!({"type": "integer"}); 5_000]}});
    assert!(check(&schema, &json!([1, 2, 3])).is_ok());
    let problem = check(&schema, &json!(vec![1; 100_000])).unwrap_err();
    assert!(problem.message.contains("too large"), "{problem}");
    // Deep, but only as deep as a text may be; and deeper.
    let any = json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]});
    let deep = |levels| nested(levels, json!(1), |value| json!([value]));
    assert!(check(&any, &deep(100)).is_ok());
    assert!(check(&any, &deep(400)).unwrap_err().message.contains("too deep"));
}

#[test]
fn unique_items_are_bounded_where_their_hashes_are_the_same() {
    let schema = json!({"uniqueItems": true});
    let numbers: Vec<Value> = (0..20_000).map(|at| json!(at)).collect();
    let objects: Vec<Value> = (1..20_000).map(|at| json!({"id": at, "tags": ["a"]})).collect();
    let arrays: Vec<Value> = (0..20_000).map(|at| json!([[at]])).collect();
    assert!(check(&schema, &json!(numbers)).is_ok());
    assert!(check(&schema, &json!(objects)).is_ok());
    assert!(check(&schema, &json!(arrays)).unwrap_err().message.contains("too large"));
    assert!(check(&schema, &json!([[[1]], [[2]]])).is_ok());
    assert!(check(&schema, &json!([[[1]], [[1]]])).is_err());
}

#[test]
fn the_place_is_told_where_that_takes_little() {
    let schema = json!({"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}});
    let small = check(&schema, &json!(["a", 1])).unwrap_err();
    assert_eq!(small.path.as_deref(), Some("/1"));
    let large = check(&schema, &json!(vec![1; 5_000])).unwrap_err();
    assert_eq!(large.path, None);
    assert!(large.message.contains("too large to tell"), "{large}");
    // With no alternatives there is only the first mistake.
    let large = check(&json!({"items": {"type": "string"}}), &json!(vec![1; 5_000]));
    assert_eq!(large.unwrap_err().path.as_deref(), Some("/0"));
}

#[test]
fn what_generators_write_is_taken() {
    let order = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Order", "description": "What is wanted.", "type": "object",
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9a-f]{8}$"},
            "note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}], "default": null},
            "at": {
                "type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}],
                "items": false, "minItems": 2, "maxItems": 2,
            },
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["id", "lines"], "additionalProperties": false,
        "$defs": {
            "Note": {"type": "object", "properties": {"text": {"type": "string"}}},
            "Line": {
                "type": "object", "required": ["item", "count"],
                "properties": {
                    "item": {"type": "string", "enum": ["tea", "milk"]},
                    "count": {"type": "integer", "format": "uint32", "minimum": 0},
                    "note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "null"}]},
                },
            },
        },
    });
    let mut value = json!({
        "id": "00c0ffee", "note": null, "at": [1, 2.5], "labels": {"a": "b"},
        "lines": [{"item": "tea", "count": 1, "note": {"text": "hot"}}],
    });
    assert!(check(&order, &value).is_ok());
    for (place, wrong) in [
        ("/id", json!("x")),
        ("/note", json!({"text": 1})),
        ("/at/1", json!("x")),
        ("/lines/0/count", json!(-1)),
        ("/labels/a", json!(1)),
    ] {
        let right = std::mem::replace(value.pointer_mut(place).unwrap(), wrong);
        assert_eq!(check(&order, &value).unwrap_err().path.as_deref(), Some(place));
        *value.pointer_mut(place).unwrap() = right;
    }
}

#[test]
fn trees_of_alternatives_are_taken() {
    let branch = |op: &str| {
        json!({
            "type": "object", "required": ["op", "items"], "additionalProperties": false,
            "properties": {
                "items": {"type": "array", "items": {"$ref": "#/$defs/Expression"}},
                "op": {"type": "string", "const": op},
            },
        })
    };
    for alternatives in ["anyOf", "oneOf"] {
        let schema = json!({
            "type": "object", "properties": {"where": {"$ref": "#/$defs/Expression"}},
            "$defs": {"Expression": {
                alternatives: [
                    branch("all"), branch("any"), branch("none"), {"type": "string"},
                ],
            }},
        });
        let expression = |levels, leaf: Value| {
            let all = |item: Value| json!({"items": ["a", item, "b"], "op": "any"});
            json!({"where": nested(levels, leaf, all)})
        };
        assert!(check(&schema, &expression(3, json!("c"))).is_ok());
        assert!(check(&schema, &expression(40, json!("c"))).is_ok());
        assert!(check(&schema, &expression(40, json!(1))).is_err());
        let problem = check(&schema, &expression(1, json!(1))).unwrap_err();
        assert_eq!(problem.path.as_deref(), Some("/where"));
    }
    // A list of any JSON, and one that refers to itself for its rest.
    let any = json!({
        "$ref": "#/$defs/Json",
        "$defs": {"Json": {"anyOf": [
            {"type": ["null", "boolean", "number", "string"]},
            {"type": "array", "items": {"$ref": "#/$defs/Json"}},
            {"type": "object", "additionalProperties": {"$ref": "#/$defs/Json"}},
        ]}},
    });
    let value = json!([{"a": [1, "x", null, {"b": {"c": []}}]}, true]);
    assert!(check(&any, &value).is_ok());
    assert!(check(&any, &nested(48, value, |value| json!({"a": [value]}))).is_ok());
    let list = json!({
        "type": "object", "required": ["head"],
        "properties": {"head": {"type": "integer"}, "rest": {"$ref": "#"}},
    });
    let value = nested(90, json!({"head": 1}), |rest| json!({"head": 0, "rest": rest}));
    assert!(check(&list, &value).is_ok());
    let value = json!({"head": 0, "rest": {"head": "x"}});
    assert_eq!(check(&list, &value).unwrap_err().path.as_deref(), Some("/rest/head"));
}
