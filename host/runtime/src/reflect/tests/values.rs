//! Values there and back, and what is refused: every type by itself.

use serde_json::{Value, json};
use wasmtime::component::Val;
use wasmtime::component::types::Type;

use super::fixture::{BUDGET, Loaded, NODES, Random, component, echo, exported, load};
use crate::reflect::answers::{Unwritable, to_json};
use crate::reflect::docs::Docs;
use crate::reflect::names::TypeNames;
use crate::reflect::schema::Writer;
use crate::reflect::values::to_val;
use crate::reflect::{Answer, Budget};

/// A component that echoes lists of one type, which `definitions` may name first.
pub(super) fn echoing(definitions: &str, ty: &str) -> (Loaded, Type) {
    let loaded = load(&component(&format!("{definitions}{}{}", echo("f", ty), exported("f"))));
    let ty = loaded.element("f");
    (loaded, ty)
}

fn schema_of(ty: &Type) -> Value {
    Writer::new(TypeNames::default().scope(None, &Docs::default())).schema(ty)
}

fn valid(schema: &Value, json: &Value) -> bool {
    jsonschema::draft202012::new(schema).unwrap_or_else(|e| panic!("{e}: {schema}")).is_valid(json)
}

/// What a type takes and gives back, and what it refuses: where, and with which words.
async fn check(
    definitions: &str,
    ty: &str,
    round: &[Value],
    read: &[(Value, Value)],
    refused: &[(Value, &str, &str)],
) {
    let (loaded, element) = echoing(definitions, ty);
    let schema = schema_of(&element);
    for (given, back) in
        round.iter().map(|json| (json, json)).chain(read.iter().map(|(a, b)| (a, b)))
    {
        assert!(valid(&schema, given), "{ty}: the schema refuses {given}: {schema}");
        assert!(valid(&schema, back), "{ty}: the schema refuses {back}: {schema}");
        let val = to_val(&element, given, &mut { NODES }).unwrap_or_else(|p| panic!("{ty}: {p}"));
        let json = to_json(val, &element, &mut { BUDGET }).unwrap();
        assert_eq!(&json, back, "{ty}: {given}");
    }
    // And all of them together through a guest's memory.
    let (given, back): (Vec<_>, Vec<_>) =
        round.iter().map(|json| (json.clone(), json.clone())).chain(read.iter().cloned()).unzip();
    let tool = loaded.tool("f");
    if ty != "u8" {
        let answer = loaded.call("f", &json!({ "a": given })).await;
        assert_eq!(answer, Answer::Value(Some(Value::Array(back))), "{ty}");
    }
    for (json, path, words) in refused {
        let problem = to_val(&element, json, &mut { NODES }).unwrap_err();
        assert_eq!(problem.path.as_deref(), Some(*path), "{ty}: {json}: {problem}");
        assert!(problem.message.contains(words), "{ty}: {json}: {problem}");
        // The same through the arguments of a function, with the place in front.
        if ty != "u8" {
            let problem = tool.arguments(&json!({ "a": [json] }), NODES).unwrap_err();
            assert_eq!(problem.path, Some(format!("/a/0{path}")), "{problem}");
        }
    }
}

#[tokio::test]
async fn numbers() {
    let refused = |n: Value, words: &'static str| (n, "", words);
    check(
        "",
        "bool",
        &[json!(true), json!(false)],
        &[],
        &[
            refused(json!(1), "expected true or false, found 1"),
            refused(json!("true"), "found the string `true`"),
            refused(Value::Null, "found null"),
        ],
    )
    .await;
    for (ty, min, max) in [
        ("s8", i64::from(i8::MIN), i64::from(i8::MAX)),
        ("u8", 0, i64::from(u8::MAX)),
        ("s16", i64::from(i16::MIN), i64::from(i16::MAX)),
        ("u16", 0, i64::from(u16::MAX)),
        ("s32", i64::from(i32::MIN), i64::from(i32::MAX)),
        ("u32", 0, i64::from(u32::MAX)),
    ] {
        let range = format!("an integer from {min} to {max}");
        check(
            "",
            ty,
            &[json!(min), json!(max), json!(0)],
            &[(json!(7.0), json!(7))],
            &[
                (json!(min - 1), "", &range),
                refused(json!(max + 1), "expected an integer"),
                refused(json!(0.5), "found 0.5"),
                refused(json!(1e300), "expected an integer"),
                refused(json!("1"), "found the string `1`"),
                refused(json!([]), "found an array of 0"),
            ],
        )
        .await;
    }
    let exact = 1u64 << 53;
    let written = |n: i128| json!(n.to_string());
    check(
        "",
        "u64",
        &[json!(0), json!(exact), written(i128::from(exact) + 1), written(u64::MAX.into())],
        &[
            (json!(u64::MAX), written(u64::MAX.into())),
            (json!("12"), json!(12)),
            (json!("0"), json!(0)),
        ],
        &[
            refused(json!(-1), "or a string of digits"),
            refused(written(i128::from(u64::MAX) + 1), "from 0 to 18446744073709551615"),
            refused(json!("-1"), "expected an integer"),
            refused(json!("+1"), "expected an integer"),
            refused(json!("01"), "expected an integer"),
            refused(json!(""), "expected an integer"),
            refused(json!("-"), "expected an integer"),
            refused(json!(" 1"), "expected an integer"),
            refused(json!("1e3"), "expected an integer"),
            refused(json!("9".repeat(100_000)), "9999…`"),
            refused(json!(1.8446744073709552e19), "expected an integer"),
        ],
    )
    .await;
    check(
        "",
        "s64",
        &[json!(-5), json!(-(exact as i64)), written(i64::MIN.into()), written(i64::MAX.into())],
        &[(json!(i64::MIN), written(i64::MIN.into())), (json!("-12"), json!(-12))],
        &[
            refused(json!("-0"), "expected an integer"),
            refused(written(i128::from(i64::MIN) - 1), "expected an integer"),
            refused(json!(u64::MAX), "expected an integer"),
        ],
    )
    .await;
    let special = [json!("NaN"), json!("Infinity"), json!("-Infinity")];
    for ty in ["f32", "f64"] {
        check(
            "",
            ty,
            &special,
            &[(json!(1), json!(1.0)), (json!(-0.0), json!(-0.0))],
            &[
                refused(json!("nan"), "expected a number"),
                refused(json!("1.5"), "expected a number"),
                refused(json!(true), "found true"),
            ],
        )
        .await;
    }
    check(
        "",
        "f32",
        &[json!(0.1), json!(f64::from(f32::MAX)), json!(f64::from(f32::MIN))],
        &[
            (json!(f64::from(f32::MIN_POSITIVE)), json!(1.1754944e-38)),
            (json!(1.0 / 3.0), json!(0.33333334)),
        ],
        &[refused(json!(1e39), "in the range of f32")],
    )
    .await;
    check("", "f64", &[json!(0.1), json!(f64::MAX), json!(5e-324)], &[], &[]).await;
}

#[tokio::test]
async fn texts_and_bytes() {
    check(
        "",
        "char",
        &[json!("a"), json!("é"), json!("🦀"), json!("\u{0}")],
        &[],
        &[
            (json!(""), "", "a string of one character"),
            (json!("ab"), "", "found the string `ab`"),
            (json!("e\u{301}"), "", "one character"),
            (json!(97), "", "found 97"),
        ],
    )
    .await;
    check(
        "",
        "string",
        &[json!(""), json!("a\u{0}\"\\\n🦀")],
        &[],
        &[(json!(["x"]), "", "expected a string, found an array of 1")],
    )
    .await;
    check(
        "",
        "(list u8)",
        &[json!(""), json!("AA=="), json!("AP8="), json!("SGVsbG8h")],
        &[],
        &[
            (json!("AA"), "", "not base64"),
            (json!("A A="), "", "not base64"),
            (json!("_w=="), "", "not base64"),
            (json!([1, 2]), "", "expected bytes in base64, found an array of 2"),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_tuples_and_maps() {
    check(
        "",
        "(list string)",
        &[json!([]), json!(["a", "b"])],
        &[],
        &[
            (json!(["a", 1]), "/1", "expected a string, found 1"),
            (json!({}), "", "expected an array, found an object"),
        ],
    )
    .await;
    check(
        "",
        "(list u16 3)",
        &[json!([1, 2, 3])],
        &[],
        &[
            (json!([1, 2]), "", "expected an array of 3, found an array of 2"),
            (json!([1, 2, -3]), "/2", "expected an integer"),
        ],
    )
    .await;
    check(
        "",
        "(list u8 4)",
        &[json!("AAECAw==")],
        &[],
        &[
            (json!("AAEC"), "", "expected 4 bytes in base64"),
            (json!([0, 1, 2, 3]), "", "expected 4 bytes in base64"),
        ],
    )
    .await;
    check(
        "",
        "(tuple string u8)",
        &[json!(["a", 1])],
        &[],
        &[
            (json!(["a"]), "", "expected an array of 2, found an array of 1"),
            (json!(["a", 1, 1]), "", "found an array of 3"),
            (json!(["a", "b"]), "/1", "expected an integer from 0 to 255"),
        ],
    )
    .await;
    check(
        "",
        "(map string u32)",
        &[json!({}), json!({"b": 1, "": 2, "a": 3})],
        &[],
        &[
            (json!({"a/b~c": "x"}), "/a~1b~0c", "expected an integer"),
            (json!([]), "", "expected an object, found an array of 0"),
        ],
    )
    .await;
    check(
        "",
        "(map u32 (list string))",
        &[json!([]), json!([[1, ["a"]], [2, []]])],
        &[],
        &[
            (json!([[1, ["a"], 2]]), "/0", "expected [key, value], found an array of 3"),
            (json!([[1, ["a"]], [-1, []]]), "/1/0", "expected an integer"),
            (json!([[1, [0]]]), "/0/1/0", "expected a string"),
            (json!({}), "", "expected an array of [key, value]"),
        ],
    )
    .await;
}

#[tokio::test]
async fn records_and_flags() {
    let point = r#"(type $p' (record (field "x" f64) (field "label" (option string))))
        (export $p "point" (type $p'))"#;
    check(
        point,
        "$p",
        &[json!({"x": 1.5, "label": "a"}), json!({"x": 2.5})],
        &[(json!({"label": null, "x": 1}), json!({"x": 1.0}))],
        &[
            (json!({}), "", "`x` is missing: a number"),
            (json!({"x": 1, "label": 2}), "/label", "expected a string, found 2"),
            (json!({"x": 1, "y/z": 2}), "/y~1z", "`y/z` is not one of `x`, `label`"),
            (json!([1]), "", "expected an object, found an array of 1"),
        ],
    )
    .await;
    let flags = r#"(type $p' (flags "read" "write" "run")) (export $p "access" (type $p'))"#;
    check(
        flags,
        "$p",
        &[json!([]), json!(["read", "run"])],
        &[(json!(["run", "read"]), json!(["read", "run"]))],
        &[
            (json!(["read", "fly"]), "/1", "`fly` is not one of `read`, `write`, `run`"),
            (json!(["read", "read"]), "/1", "`read` is there twice"),
            (json!([1]), "/0", "1 is not one of"),
            (json!({"read": true}), "", "expected an array of names"),
        ],
    )
    .await;
}

#[tokio::test]
async fn variants_options_and_results() {
    let shape = r#"
        (type $u' (enum "mm" "inch")) (export $u "unit" (type $u'))
        (type $p' (variant (case "point") (case "circle" f64) (case "named" (option string))
            (case "in" $u)))
        (export $p "shape" (type $p'))"#;
    check(
        shape,
        "$p",
        &[
            json!({"tag": "point"}),
            json!({"tag": "circle", "value": 1.5}),
            json!({"tag": "named"}),
            json!({"tag": "named", "value": "a"}),
            json!({"tag": "in", "value": "inch"}),
        ],
        &[(json!({"value": null, "tag": "named"}), json!({"tag": "named"}))],
        &[
            (json!({"tag": "square"}), "/tag", "`square` is not one of `point`, `circle`"),
            (json!({"tag": 1}), "/tag", "expected the name of a case, found 1"),
            (json!({"value": 1}), "", "`tag` is missing"),
            (json!({"tag": "circle"}), "", "`value` is missing: a number"),
            (json!({"tag": "point", "value": 1}), "/value", "`value` is not `tag`"),
            (json!({"tag": "circle", "value": 1, "x": 1}), "/x", "`x` is not one of"),
            (json!({"tag": "in", "value": "km"}), "/value", "`km` is not one of `mm`, `inch`"),
            (json!("point"), "", "expected an object with `tag`"),
        ],
    )
    .await;
    check(
        "",
        "(option u16)",
        &[Value::Null, json!(1)],
        &[],
        &[(json!("x"), "", "expected an integer from 0 to 65535")],
    )
    .await;
    check(
        "",
        "(option (option (option string)))",
        &[
            Value::Null,
            json!({"some": null}),
            json!({"some": {"some": null}}),
            json!({"some": {"some": "a"}}),
        ],
        &[],
        &[
            (json!({}), "", "`some` is missing"),
            (json!({"some": {"some": 1}}), "/some/some", "expected a string"),
            (json!({"some": null, "x": 1}), "/x", "`x` is not `some`"),
            (json!("a"), "", "null or an object with `some`"),
        ],
    )
    .await;
    check(
        "",
        "(result string (error (tuple u8 u8)))",
        &[json!({"ok": "a"}), json!({"err": [1, 2]})],
        &[],
        &[
            (json!({"ok": 1}), "/ok", "expected a string"),
            (json!({"err": [1, 300]}), "/err/1", "from 0 to 255"),
            (json!({"ok": "a", "err": [1, 2]}), "", "either `ok` or `err`"),
            (json!({"okay": 1}), "", "either `ok` or `err`"),
            (json!({}), "", "either `ok` or `err`"),
        ],
    )
    .await;
    check(
        "",
        "(result)",
        &[json!({"ok": null}), json!({"err": null})],
        &[],
        &[(json!({"ok": 1}), "/ok", "expected null, found 1")],
    )
    .await;
    check("", "(result (option u8))", &[json!({"ok": null}), json!({"ok": 1})], &[], &[]).await;
}

#[test]
fn floats_keep_their_bits_and_are_short() {
    let (_, ty) = echoing("", "f32");
    let mut random = Random(1);
    let json = |n: f32| to_json(Val::Float32(n), &ty, &mut { BUDGET }).unwrap();
    assert_eq!(json(0.1).to_string(), "0.1");
    let edges = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::EPSILON, -0.0, f32::from_bits(1)];
    let random = (0..200_000).map(|_| f32::from_bits(random.next() as u32));
    for n in edges.into_iter().chain(random) {
        let Val::Float32(back) = to_val(&ty, &json(n), &mut 1).unwrap() else { panic!() };
        assert!(back.to_bits() == n.to_bits() || back.is_nan() && n.is_nan(), "{n:e}");
    }
}

#[tokio::test]
async fn arguments_and_answers_are_bounded() {
    let (loaded, bytes) = echoing("", "(list u8)");
    // One mebibyte of base64 is three quarters of one of bytes, each a value to the engine.
    let text = json!("A".repeat(1 << 20));
    assert!(to_val(&bytes, &text, &mut { NODES }).is_ok());
    let problem = to_val(&bytes, &text, &mut { 1000 }).unwrap_err();
    assert!(problem.message.contains("too many values"), "{problem}");
    let many = json!({ "a": vec![text; 2] });
    assert_eq!(loaded.tool("f").arguments(&many, NODES).unwrap_err().path.unwrap(), "/a/1");

    let (loaded, _) = echoing("", "bool");
    let tool = loaded.tool("f");
    let arguments = tool.arguments(&json!({ "a": vec![true; 100_000] }), NODES).unwrap();
    let answer = |budget| loaded.call_with(tool, &arguments, budget);
    assert!(matches!(answer(BUDGET).await, Answer::Value(Some(_))));
    assert_eq!(answer(Budget { nodes: 100_000, ..BUDGET }).await, Answer::TooLarge);
    assert_eq!(answer(Budget { bytes: 100_000, ..BUDGET }).await, Answer::TooLarge);

    let ty = echoing("", "string").1;
    let long = Val::String("x".repeat(1000));
    let mut budget = Budget { nodes: 1, bytes: 1000 };
    assert_eq!(to_json(long, &ty, &mut budget), Err(Unwritable::TooLarge));
    assert_eq!(to_json(Val::Bool(true), &ty, &mut { BUDGET }), Err(Unwritable::Mismatch));
}
