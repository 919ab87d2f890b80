//! Which exports become tools, under which names, how they end, and what is refused.

use ampoule_contract::ToolError;
use serde_json::{Value, json};
use wasmtime::{Config, Engine};

use super::fixture::{Loaded, component, echo, engine, exported, first, load, load_in};
use crate::reflect::{Answer, MAX_FUNCTIONS};

/// The name of an interface, and its items as (name, kind, id).
pub(super) type Interface<'a> = (&'a str, &'a [(&'a str, &'a str, &'a str)]);

/// Exported interfaces.
pub(super) fn interfaces(all: &[Interface<'_>]) -> String {
    all.iter()
        .enumerate()
        .map(|(n, (name, items))| {
            let items: String = items
                .iter()
                .map(|(name, kind, id)| format!(r#"(export "{name}" ({kind} ${id}))"#))
                .collect();
            format!(
                r#"(instance $interface{n} {items}) (export "{name}" (instance $interface{n}))"#
            )
        })
        .collect()
}

fn names(loaded: &Loaded) -> Vec<(&str, Option<&str>, &str)> {
    let tools = loaded.tools.iter();
    tools.map(|t| (t.name.as_str(), t.interface.as_deref(), t.function.as_str())).collect()
}

#[test]
fn what_has_a_meaning_of_its_own_is_hidden() {
    let f = ("parse", "func", "f");
    let loaded = load(&component(&format!(
        "{}{}{}{}",
        echo("f", "u16"),
        exported("f"),
        r#"(export "wizer-initialize" (func $f))"#,
        interfaces(&[
            ("wasi:cli/run@0.2.0", &[("run", "func", "f")]),
            ("ampoule:plugin/tool@1.0.0", &[("call", "func", "f")]),
            ("exports", &[("init", "func", "f")]),
            ("test:a/wasi@1.0.0", &[f]),
            ("inline", &[("run", "func", "f")]),
        ]),
    )));
    assert_eq!(
        names(&loaded),
        [
            ("f", None, "f"),
            ("run", Some("inline"), "run"),
            ("parse", Some("test:a/wasi@1.0.0"), "parse"),
        ]
    );
}

#[test]
fn names_are_told_apart_and_do_not_depend_on_the_order_of_exports() {
    let long = |end: &str| format!("{}-{end}", ["abcdefghi"; 7].join("-"));
    let (long_a, long_b) = (long("first"), long("second"));
    let all: &[Interface<'_>] = &[
        ("test:b/json@2.0.0", &[("parse", "func", "f")]),
        ("test:a/json@1.0.0", &[("parse", "func", "f"), ("only-here", "func", "f")]),
        ("test:a/yaml@1.0.0", &[("parse", "func", "f")]),
        ("test:a/long", &[(&long_b, "func", "f"), (&long_a, "func", "f")]),
    ];
    let top = format!(r#"{}(export "parse" (func $f))"#, echo("f", "u16"));
    let forward = load(&component(&format!("{top}{}", interfaces(all))));
    let mut reversed = all.to_vec();
    reversed.reverse();
    let backward = load(&component(&format!("{top}{}", interfaces(&reversed))));
    assert_eq!(names(&forward), names(&backward));

    let short: Vec<_> = forward.tools.iter().map(|tool| tool.name.as_str()).collect();
    let cut = &long_a[..64];
    assert_eq!(
        short,
        [
            "parse",
            "only-here",
            "parse_json",
            cut,
            &format!("{}_2", &cut[..62]),
            "parse_yaml",
            "parse_json_2"
        ]
    );
}

#[test]
fn what_json_cannot_carry_is_listed_with_the_reason() {
    let resource = r#"
        (type $r' (resource (rep i32))) (export $r "counter" (type $r'))
        (func $method (param "self" (borrow $r)) (param "n" u32) (result u32)
            (canon lift (core func $first)))"#;
    let body = format!(
        r#"{resource}{}{}{}(export "[method]counter.add" (func $method)) {}"#,
        echo("plain", "string"),
        exported("plain"),
        echo("handles", "(option (own $r))"),
        exported("handles"),
    );
    let loaded = load(&component(&body));
    let reason = |name: &str| loaded.tool(name).unsupported.clone().unwrap();
    assert_eq!(loaded.tool("plain").unsupported, None);
    assert_eq!(
        reason("counter-add"),
        "its parameter `self` holds a resource, which JSON cannot carry"
    );
    assert_eq!(reason("handles"), "its parameter `a` holds a resource, which JSON cannot carry");
    let problem = loaded.tool("handles").arguments(&json!({ "a": [] }), 10).unwrap_err();
    assert!(problem.message.contains("`handles` cannot be called: its parameter"), "{problem}");

    let mut config = Config::new();
    config.wasm_component_model_async(true).wasm_component_model_error_context(true);
    let wasm = component(&format!(
        r#"{}{}{}{}{}{}
        (func $slow async (param "a" (list u16)) (result (list u16))
            (canon lift (core func $echo) (memory $memory) (realloc $realloc))) {}"#,
        echo("later", "(future u8)"),
        exported("later"),
        echo("many", "(stream u8)"),
        exported("many"),
        echo("wrong", "error-context"),
        exported("wrong"),
        exported("slow"),
    ));
    let loaded = load_in(Engine::new(&config).unwrap(), &wasm);
    for (name, words) in [
        ("later", "holds a future"),
        ("many", "holds a stream"),
        ("wrong", "holds an error context"),
        ("slow", "it is an `async func`"),
    ] {
        let reason = loaded.tool(name).unsupported.clone().unwrap();
        assert!(reason.contains(words), "{name}: {reason}");
    }
}

#[test]
fn types_too_large_or_too_deep_are_refused_before_they_are_written_out() {
    // Each level is two of the level below: 2^13 leaves in a few hundred bytes.
    let mut wide = String::from("(type $w0 (tuple u8 u8))");
    for n in 1..13 {
        wide.push_str(&format!("(type $w{n} (tuple $w{} $w{}))", n - 1, n - 1));
    }
    let body = format!("{wide}{}{}", echo("wide", "$w12"), exported("wide"));
    let reason = load(&component(&body)).tool("wide").unsupported.clone().unwrap();
    assert!(reason.contains("its parameter `a` is too large to describe"), "{reason}");

    let nested = |n: usize| format!("{}u16{}", "(list ".repeat(n), ")".repeat(n));
    let body = ["just", "deep"].map(|name| {
        let depth = if name == "just" { 22 } else { 23 };
        format!("{}{}", echo(name, &nested(depth)), exported(name))
    });
    let loaded = load(&component(&body.concat()));
    assert_eq!(loaded.tool("just").unsupported, None);
    let reason = loaded.tool("deep").unsupported.clone().unwrap();
    assert!(reason.contains("nested deeper than 24 levels"), "{reason}");

    let names: String = (0..700).map(|n| format!("\"{}-n{n}\" ", "x".repeat(100))).collect();
    let body = format!("(type $e' (enum {names})) (export $e \"e\" (type $e'))");
    let body = format!("{body}{}{}", echo("names", "$e"), exported("names"));
    assert!(load(&component(&body)).tool("names").unsupported.is_some());
}

#[test]
fn the_deepest_and_widest_schemas_are_within_the_bounds_of_others() {
    // Variants are the type whose schema is deepest.
    let mut body = String::from("(type $t0' (variant (case \"a\" u64)))");
    body.push_str("(export $t0 \"t0\" (type $t0'))");
    for n in 1..22 {
        body.push_str(&format!("(type $t{n}' (variant (case \"a\" $t{})))", n - 1));
        body.push_str(&format!("(export $t{n} \"t{n}\" (type $t{n}'))"));
    }
    let cases: String = (0..300).map(|n| format!("(case \"c{n}\" (tuple u64))")).collect();
    body.push_str(&format!(
        "(type $wide' (variant {cases})) (export $wide \"wide\" (type $wide'))"
    ));
    for (name, ty) in [("f", "$t21"), ("g", "$wide")] {
        body.push_str(&echo(name, ty));
        body.push_str(&exported(name));
    }
    let loaded = load(&component(&body));
    for name in ["f", "g"] {
        let tool = loaded.tool(name);
        assert_eq!(tool.unsupported, None);
        for schema in [&tool.input_schema, tool.output_schema.as_ref().unwrap()] {
            let text = schema.to_string();
            assert!(text.len() < 1 << 19, "{}", text.len());
            assert!(crate::json::parse(&text).is_ok());
            assert!(jsonschema::draft202012::new(schema).is_ok());
        }
    }
}

#[test]
fn many_functions_and_much_type_are_bounded_together() {
    let mut body = echo("f", "u16");
    for n in 0..MAX_FUNCTIONS + 5 {
        body.push_str(&format!(r#"(export "f{n:05}" (func $f))"#));
    }
    let loaded = load(&component(&body));
    assert_eq!(loaded.tools.len(), MAX_FUNCTIONS + 1);
    assert_eq!(loaded.tools[MAX_FUNCTIONS - 1].unsupported, None);
    let last = loaded.tools[MAX_FUNCTIONS].unsupported.as_deref().unwrap();
    assert!(last.contains("more than 1000 functions; this one and 4 after it"), "{last}");

    // Each is within what a function may take, and all of them are not.
    let mut body = format!(
        "(type $e' (enum {})) (export $e \"e\" (type $e')){}",
        (0..900).map(|n| format!("\"n{n}\" ")).collect::<String>(),
        echo("f", "$e")
    );
    for n in 0..30 {
        body.push_str(&format!(r#"(export "f{n:02}" (func $f))"#));
    }
    let loaded = load(&component(&body));
    let offered = loaded.tools.iter().filter(|tool| tool.unsupported.is_none()).count();
    assert_eq!(offered, 22);
}

/// What `first` answers for a single value of type `ty`.
async fn answer(definitions: &str, ty: &str, value: Value) -> Answer {
    let loaded = load(&component(&format!("{definitions}{}{}", first("f", ty), exported("f"))));
    loaded.call("f", &json!({ "a": [value] })).await
}

#[tokio::test]
async fn a_result_is_a_value_or_the_tools_own_error() {
    let failed = |code: &str, message: &str| ToolError::new(code, message);
    let value = answer("", "(result string (error u8))", json!({"ok": "a"})).await;
    assert_eq!(value, Answer::Value(Some(json!("a"))));
    let value = answer("", "(result (error string))", json!({"ok": null})).await;
    assert_eq!(value, Answer::Value(None));
    let value = answer("", "(result (option u8))", json!({"ok": null})).await;
    assert_eq!(value, Answer::Value(Some(Value::Null)));

    let text = answer("", "(result (error string))", json!({"err": "no such file"})).await;
    assert_eq!(text, Answer::Failed(failed("failed", "no such file")));
    let number = answer("", "(result (error u8))", json!({"err": 7})).await;
    let data = Some(json!(7));
    assert_eq!(number, Answer::Failed(ToolError { data, ..failed("failed", "`f` failed: 7") }));
    let nothing = answer("", "(result (option u8))", json!({"err": null})).await;
    assert_eq!(nothing, Answer::Failed(failed("failed", "`f` failed and does not say why")));

    let kind = r#"(type $e' (enum "not-found" "gone")) (export $e "kind" (type $e'))"#;
    let case = answer(kind, "(result string (error $e))", json!({"err": "gone"})).await;
    assert_eq!(case, Answer::Failed(failed("gone", "`f` failed: gone")));

    let variant = r#"
        (type $at' (record (field "message" string) (field "line" u32)))
        (export $at "at" (type $at'))
        (type $e' (variant (case "empty") (case "text" string) (case "syntax" $at)
            (case "far" (tuple u8 u8))))
        (export $e "problem" (type $e'))"#;
    let ty = "(result string (error $e))";
    let fails = async |json: Value| match answer(variant, ty, json!({ "err": json })).await {
        Answer::Failed(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(fails(json!({"tag": "empty"})).await, failed("empty", "`f` failed: empty"));
    assert_eq!(fails(json!({"tag": "text", "value": "why"})).await, failed("text", "why"));
    let error = fails(json!({"tag": "syntax", "value": {"message": "bad", "line": 3}})).await;
    assert_eq!(error, ToolError { data: Some(json!({"line": 3})), ..failed("syntax", "bad") });
    let error = fails(json!({"tag": "far", "value": [1, 2]})).await;
    assert_eq!(error, ToolError { data: Some(json!([1, 2])), ..failed("far", "`f` failed: far") });

    let record = r#"
        (type $e' (record (field "code" string) (field "message" (option string))
            (field "log" (option string)) (field "retryable" bool)
            (field "retry-after-ms" (option u64)) (field "tries" u8)))
        (export $e "error" (type $e'))"#;
    let given = json!({"err": {"code": "rate-limited", "message": "slow down", "log": "429",
        "retryable": true, "retry-after-ms": 1500, "tries": 2}});
    assert_eq!(
        answer(record, ty, given).await,
        Answer::Failed(ToolError {
            code: "rate-limited".into(),
            message: "slow down".into(),
            log: Some("429".into()),
            retryable: true,
            retry_after_ms: Some(1500),
            data: Some(json!({"tries": 2})),
        })
    );
    let bare = json!({"err": {"code": "", "retryable": false, "tries": 0}});
    let Answer::Failed(error) = answer(record, ty, bare).await else { panic!() };
    assert_eq!((error.code.as_str(), error.data), ("failed", Some(json!({"tries": 0}))));
}

#[tokio::test]
async fn an_instance_of_another_component_is_refused() {
    let one = load(&component(&format!("{}{}", echo("f", "u16"), exported("f"))));
    let other = load_in(engine(), &component(&format!("{}{}", echo("g", "u16"), exported("g"))));
    let (mut store, instance) = other.instance().await;
    let tool = one.tool("f");
    let arguments = tool.arguments(&json!({ "a": [1] }), 10).unwrap();
    let called = tool.call(&mut store, &instance, &arguments, super::fixture::BUDGET).await;
    assert!(called.unwrap_err().to_string().contains("no function `f`"));
}
