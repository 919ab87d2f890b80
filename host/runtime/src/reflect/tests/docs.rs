//! How tools are described: by their types, and by doc comments where there are any.

use serde_json::json;
use wasm_encoder::{Component, ComponentSection, CustomSection, RawSection};

use super::exports::interfaces;
use super::fixture::{component, echo, exported, first, load};

/// An interface with named types and one function over all of them.
fn documented() -> String {
    format!(
        r#"
        (type $unit' (enum "mm" "inch")) (export $unit "unit" (type $unit'))
        (type $style' (flags "bold" "thin")) (export $style "style" (type $style'))
        (type $point' (record (field "x" f64) (field "unit" $unit) (field "note" (option string))))
        (export $point "point" (type $point'))
        (type $shape' (variant (case "dot" $point) (case "blank")))
        (export $shape "shape" (type $shape'))
        {}{}"#,
        first("f", "(result (tuple $shape $style) (error $unit))"),
        interfaces(&[(
            "test:geo/shapes@1.0.0",
            &[
                ("unit", "type", "unit"),
                ("style", "type", "style"),
                ("point", "type", "point"),
                ("shape", "type", "shape"),
                ("draw", "func", "f"),
            ]
        )]),
    )
}

/// The section that wit-parser writes for a package.
fn package_docs(wit: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    wit_parser::PackageMetadata::extract(&resolve, package).encode().unwrap()
}

fn with_section(mut wasm: Vec<u8>, data: &[u8]) -> Vec<u8> {
    CustomSection { name: "package-docs".into(), data: data.into() }.append_to_component(&mut wasm);
    wasm
}

const WIT: &str = r#"
    package test:geo@1.0.0;
    interface shapes {
        /// A length's unit.
        enum unit {
            /// A millimetre.
            mm,
            inch,
        }
        flags style {
            /// Thick.
            bold,
            thin,
        }
        /// A place.
        record point {
            /// To the right.
            x: f64,
            unit: unit,
            note: option<string>,
        }
        variant shape {
            /// One point.
            dot(point),
            blank,
        }
        /// Draws a shape.
        draw: func(a: list<result<tuple<shape, style>, unit>>)
            -> result<tuple<shape, style>, unit>;
    }
"#;

#[test]
fn a_function_is_described_by_its_types() {
    let loaded = load(&component(&documented()));
    let tool = loaded.tool("draw");
    assert_eq!(
        tool.description,
        "Function `draw` of `test:geo/shapes@1.0.0`.\n\n\
         WIT: `draw: func(a: list<result<tuple<shape, style>, unit>>) \
         -> result<tuple<shape, style>, unit>`\n\n\
         May fail with `mm`, `inch`."
    );
    assert_eq!(
        tool.output_schema.as_ref().unwrap(),
        &json!({
            "type": "array",
            "prefixItems": [
                { "oneOf": [
                    {
                        "type": "object",
                        "properties": {
                            "tag": { "const": "dot" },
                            "value": {
                                "type": "object",
                                "properties": {
                                    "x": {
                                        "type": ["number", "string"],
                                        "pattern": "^(NaN|-?Infinity)$",
                                    },
                                    "unit": { "type": "string", "enum": ["mm", "inch"] },
                                    "note": { "type": ["string", "null"] },
                                },
                                "required": ["x", "unit"],
                                "additionalProperties": false,
                            },
                        },
                        "required": ["tag", "value"],
                        "additionalProperties": false,
                    },
                    {
                        "type": "object",
                        "properties": { "tag": { "const": "blank" } },
                        "required": ["tag"],
                        "additionalProperties": false,
                    },
                ]},
                {
                    "type": "array",
                    "items": { "type": "string", "enum": ["bold", "thin"] },
                    "uniqueItems": true,
                },
            ],
            "items": false,
            "minItems": 2,
            "maxItems": 2,
        })
    );
}

#[test]
fn types_with_the_same_structure_keep_no_name() {
    let body = format!(
        r#"
        (type $a' (record (field "x" u8))) (export $a "point" (type $a'))
        (type $b' (record (field "x" u8))) (export $b "vector" (type $b'))
        {}{}{}"#,
        echo("f", "$a"),
        exported("f"),
        // An interface that knows only one of them is sure of it.
        interfaces(&[("test:a/b", &[("point", "type", "a"), ("move", "func", "f")])]),
    );
    let loaded = load(&component(&body));
    assert!(loaded.tool("f").description.contains("list<record { x: u8 }>"));
    assert!(loaded.tool("move").description.contains("move: func(a: list<point>) -> list<point>"));
}

#[test]
fn doc_comments_are_read_where_there_are_any() {
    let wasm = with_section(component(&documented()), &package_docs(WIT));
    let loaded = load(&wasm);
    let tool = loaded.tool("draw");
    assert_eq!(tool.description, "Draws a shape.\n\nMay fail with `mm`, `inch`.");
    let output = tool.output_schema.as_ref().unwrap();
    let shape = &output["prefixItems"][0];
    assert_eq!(shape["oneOf"][0]["description"], "One point.");
    let point = &shape["oneOf"][0]["properties"]["value"];
    assert_eq!(point["description"], "A place.");
    assert_eq!(point["properties"]["x"]["description"], "To the right.");
    let unit = &point["properties"]["unit"]["description"];
    assert_eq!(unit, "A length's unit.\n- `mm`: A millimetre.");
    assert_eq!(output["prefixItems"][1]["description"], "- `bold`: Thick.");
}

#[test]
fn doc_comments_of_a_world_are_read() {
    let wit = r#"
        package test:w;
        world w {
            /// A number.
            record n { /// Its value.
                v: u8 }
            /// From the world.
            export f: func(a: list<n>) -> list<n>;
            export inline: interface {
                /// From inside.
                g: func(a: list<u16>) -> list<u16>;
            }
        }"#;
    let body = format!(
        r#"(type $n' (record (field "v" u8))) (export $n "n" (type $n')) {}{}{}{}"#,
        echo("f", "$n"),
        exported("f"),
        echo("g", "u16"),
        interfaces(&[("inline", &[("g", "func", "g")])]),
    );
    let loaded = load(&with_section(component(&body), &package_docs(wit)));
    let f = loaded.tool("f");
    assert_eq!(
        (f.description.as_str(), loaded.tool("g").description.as_str()),
        ("From the world.", "From inside.")
    );
    let item = &f.input_schema["properties"]["a"]["items"];
    assert_eq!(item["description"], "A number.");
    assert_eq!(item["properties"]["v"]["description"], "Its value.");
}

#[test]
fn documentation_that_cannot_be_trusted_or_read_is_left_out() {
    let plain = component(&documented());
    let docs = package_docs(WIT);
    let undocumented = |wasm: &[u8]| {
        let loaded = load(wasm);
        assert!(loaded.tool("draw").description.starts_with("Function `draw`"));
    };
    // Two of them.
    undocumented(&with_section(with_section(plain.clone(), &docs), &docs));
    // A nested component's speaks for that one.
    let mut nested = plain.clone();
    let inner = with_section(Component::new().finish(), &docs);
    RawSection { id: 4, data: &inner }.append_to_component(&mut nested);
    undocumented(&nested);
    // Unknown version, no content, no JSON, wrong JSON, deep JSON, too large.
    for bad in [&b"\x02{}"[..], b"", b"\x01", b"\x01[1]", b"\x01{\"interfaces\":3}"] {
        undocumented(&with_section(plain.clone(), bad));
    }
    let deep = format!("\u{1}{}", "[".repeat(100_000));
    undocumented(&with_section(plain.clone(), deep.as_bytes()));
    let mut large = docs.clone();
    large.resize(2 << 20, b' ');
    undocumented(&with_section(plain.clone(), &large));

    // The first version of the format, with unknown keys beside it.
    let old = br#"?{"new": 1, "interfaces": {"shapes": {"funcs": {"draw": "Old."}, "x": []}}}"#;
    let mut old = old.to_vec();
    old[0] = 0;
    let loaded = load(&with_section(plain.clone(), &old));
    assert!(loaded.tool("draw").description.starts_with("Old."));

    // A long text is cut, and says so.
    let long = WIT.replace("Draws a shape.", &"word ".repeat(5_000));
    let loaded = load(&with_section(plain, &package_docs(&long)));
    let (text, _) = loaded.tool("draw").description.split_once("\n\nMay fail").unwrap();
    assert!(text.ends_with('…') && text.chars().count() == 4_001);

    // Two packages with an interface of that name.
    let body = format!(
        "{}{}",
        echo("f", "u16"),
        interfaces(&[
            ("test:a/shapes", &[("draw", "func", "f")]),
            ("test:b/shapes", &[("draw", "func", "f")]),
        ])
    );
    let loaded = load(&with_section(component(&body), &docs));
    assert!(loaded.tools.iter().all(|tool| tool.description.starts_with("Function `draw`")));
}

#[test]
fn documentation_cannot_make_a_schema_large() {
    let wit = WIT.replace("A place.", &"word ".repeat(700));
    let fields: String = (0..100).map(|n| format!("(field \"f{n}\" $point)")).collect();
    let body = format!(
        r#"
        (type $point' (record (field "x" u8))) (export $point "point" (type $point'))
        (type $many' (record {fields})) (export $many "many" (type $many'))
        {}{}"#,
        echo("draw", "$many"),
        interfaces(&[(
            "test:geo/shapes",
            &[("point", "type", "point"), ("many", "type", "many"), ("draw", "func", "draw")]
        )]),
    );
    let loaded = load(&with_section(component(&body), &package_docs(&wit)));
    let text = loaded.tool("draw").input_schema.to_string();
    assert!(text.contains("word word") && text.len() < 200 << 10, "{}", text.len());
}
