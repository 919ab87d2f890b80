//! A guest made by a compiler: `tests/guests/reflected`, its WIT and its `examples.json`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ampoule_contract::Example;
use indexmap::IndexMap;
use serde_json::{Value, json};
use wasm_encoder::{ComponentSection, CustomSection};

use super::fixture::{BUDGET, Loaded, NODES, load};
use crate::reflect::{Answer, Budget};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The guest with the documentation of its WIT put back, which its compiler left out.
fn guest() -> Loaded {
    let built = project().join("target/guests/reflected.wasm");
    let mut wasm = fs::read(&built).unwrap_or_else(|error| {
        panic!("{}: {error}: run `cargo xtask guests reflected`", built.display())
    });
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(project().join("tests/guests/reflected/wit")).unwrap();
    let docs = wit_parser::PackageMetadata::extract(&resolve, package).encode().unwrap();
    let section = CustomSection { name: "package-docs".into(), data: docs.into() };
    section.append_to_component(&mut wasm);
    load(&wasm)
}

/// Runs every example of every tool; each tool that is offered must have one.
async fn check_examples(loaded: &Loaded, examples: &IndexMap<String, Vec<Example>>) {
    let offered = loaded.tools.iter().filter(|tool| tool.unsupported.is_none());
    let offered: BTreeSet<&str> = offered.map(|tool| tool.name.as_str()).collect();
    assert_eq!(offered, examples.keys().map(String::as_str).collect());
    for (name, example) in
        examples.iter().flat_map(|(name, all)| all.iter().map(move |e| (name, e)))
    {
        let tool = loaded.tool(name);
        let valid = |schema: &Value, json: &Value| {
            let schema = jsonschema::draft202012::new(schema).unwrap();
            assert!(schema.is_valid(json), "{name}: {json}");
        };
        valid(&tool.input_schema, &example.arguments);
        match (loaded.call(name, &example.arguments).await, &example.value, &example.error) {
            (Answer::Value(value), expected, None) => {
                if let Some(expected) = expected {
                    assert_eq!(value.as_ref(), Some(expected), "{name}");
                }
                assert_eq!(value.is_some(), tool.output_schema.is_some(), "{name}");
                if let (Some(value), Some(schema)) = (&value, &tool.output_schema) {
                    valid(schema, value);
                }
            }
            (Answer::Failed(error), None, Some(code)) => assert_eq!(&error.code, code, "{name}"),
            (answer, ..) => panic!("{name}: {}: {answer:?}", example.arguments),
        }
    }
}

#[tokio::test]
async fn the_guest_answers_as_its_examples_say() {
    let examples = fs::read_to_string(project().join("tests/guests/reflected/examples.json"));
    let examples = serde_json::from_str(&examples.unwrap()).unwrap();
    check_examples(&guest(), &examples).await;
}

#[tokio::test]
async fn the_guest_is_described_refused_and_bounded() {
    let loaded = guest();
    let names: Vec<_> = loaded
        .tools
        .iter()
        .map(|tool| (tool.name.as_str(), tool.unsupported.as_deref().unwrap_or_default()))
        .collect();
    let resource = "its parameter `self` holds a resource, which JSON cannot carry";
    assert!(names.contains(&("counter-next", resource)), "{names:?}");
    assert!(names.contains(&("counter", "its result holds a resource, which JSON cannot carry")));

    let scale = loaded.tool("scale");
    assert_eq!(
        scale.description,
        "Makes a drawing larger or smaller.\n\n\
         May fail with `empty`, `bad-factor`, `out-of-range`."
    );
    let drawing = &scale.input_schema["properties"]["drawing"];
    assert_eq!(drawing["description"], "Shapes in their order.");
    assert_eq!(
        drawing["properties"]["title"],
        json!({ "type": ["string", "null"], "description": "What it shows." })
    );
    assert_eq!(drawing["required"], json!(["shapes", "style", "unit"]));
    let double = loaded.tool("double");
    assert_eq!(double.description, "The number twice, up to the largest there is.");

    let problem = |tool: &str, arguments: Value| {
        let problem = loaded.tool(tool).arguments(&arguments, NODES).unwrap_err();
        (problem.path.unwrap_or_default(), problem.message)
    };
    let shapes =
        json!([{ "tag": "polygon", "value": [{ "x": 1, "y": 2 }, { "x": "far", "y": 2 }] }]);
    let drawing = json!({ "shapes": shapes, "style": [], "unit": "mm" });
    let (path, message) = problem("scale", json!({ "drawing": drawing, "factor": 1 }));
    assert_eq!(path, "/drawing/shapes/0/value/1/x");
    assert!(message.contains("found the string `far`"), "{message}");
    assert_eq!(problem("double", json!({ "n": -1 })).0, "/n");
    assert_eq!(problem("double", json!({ "n": 1, "m": 1 })).0, "/m");
    assert!(problem("double", json!({})).1.contains("`n` is missing"));

    let Answer::Failed(error) = loaded.call("refuse", &json!({ "attempts": 2 })).await else {
        panic!()
    };
    assert_eq!((error.retryable, error.retry_after_ms), (true, Some(1500)));
    assert_eq!((error.message.as_str(), error.data), ("try later", Some(json!({ "attempts": 2 }))));

    let flood = loaded.tool("flood");
    let arguments = flood.arguments(&json!({ "count": 50_000 }), NODES).unwrap();
    let small = Budget { bytes: 10_000, ..BUDGET };
    assert_eq!(loaded.call_with(flood, &arguments, small).await, Answer::TooLarge);
    // What the engine itself copies is bounded by the store.
    let (mut store, instance) = loaded.instance().await;
    store.set_hostcall_fuel(100_000);
    let stopped = flood.call(&mut store, &instance, &arguments, BUDGET).await.unwrap_err();
    assert!(format!("{stopped:#}").contains("too much data"), "{stopped:#}");
}
