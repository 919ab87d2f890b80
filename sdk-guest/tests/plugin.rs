//! A whole plugin, made with the macros and called natively.

#![allow(clippy::unwrap_used, reason = "tests")]

use ampoule_sdk::plugin::{self, Plugin as _};
use ampoule_sdk::prelude::*;
use ampoule_sdk::{Catalog, Definition, Result, serde_json};

#[data]
#[serde(rename_all = "kebab-case")]
struct Settings {
    /// Where the service is.
    base_url: Option<String>,
}

/// Two numbers.
#[data]
struct Pair {
    /// The first.
    first: i32,
    /// The second.
    #[serde(default = "one")]
    second: u32,
    #[serde(default)]
    how: How,
}

fn one() -> u32 {
    1
}

#[data]
#[derive(Copy, Default, PartialEq)]
enum How {
    #[default]
    Rounded,
    WithRemainder,
}

#[data]
#[derive(PartialEq)]
struct Quotient {
    value: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remainder: Option<i64>,
}

/// Divide one number by another.
///
/// The second paragraph belongs to the description too.
#[tool]
fn divide_numbers(pair: Pair) -> Result<Quotient> {
    let (first, second) = (i64::from(pair.first), i64::from(pair.second));
    let value = first.checked_div(second).ok_or_else(|| {
        Error::bad_arguments("`second` must not be 0").with_data(json!({ "path": "/second" }))
    })?;
    let remainder = (pair.how == How::WithRemainder).then_some(first % second);
    Ok(Quotient { value, remainder })
}

/// Answer in parts.
#[tool]
async fn page() -> Result<Output<Vec<u8>>> {
    let next = async { "7".to_owned() }.await;
    Ok(Output::new(vec![1, 2]).with_next(Some(next)).with_block(Block::text("more")))
}

/// Answer nothing.
#[tool]
fn nothing() {}

#[data]
struct Inputs {
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    a: Option<Value>,
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    b: Option<Value>,
}

#[data]
struct Ports {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
}

/// Let the second input through when both came.
#[component]
fn both(_settings: Map<String, Value>, inputs: Inputs) -> Ports {
    Ports { output: inputs.a.and(inputs.b) }
}

export!(divide_numbers, page, nothing; components: both; settings: Settings);

mod dynamic {
    use super::*;

    struct Operations;

    impl Catalog for Operations {
        async fn discover() -> Result<Vec<Definition>> {
            Ok(Vec::new())
        }

        async fn call(name: &str, arguments: Value) -> Result<Output> {
            match name {
                "echo" => Ok(Output::new(arguments)),
                _ => Err(Error::not_found(name)),
            }
        }
    }

    export!(super::nothing; catalog: Operations);
}

fn call(name: &str, arguments: Value) -> Result<Value> {
    let output = plugin::call::<Plugin>(name, &arguments.to_string())?;
    Ok(serde_json::from_str(&output.value.unwrap()).unwrap())
}

fn process(inputs: Value) -> Result<Value> {
    let ports = plugin::process::<Plugin>("both", "{}", &inputs.to_string())?;
    Ok(serde_json::from_str(&ports).unwrap())
}

#[test]
fn a_function_stays_a_function() {
    let pair = Pair { first: 7, second: 2, how: How::Rounded };
    assert_eq!(divide_numbers(pair), Ok(Quotient { value: 3, remainder: None }));
    assert_eq!(ampoule_sdk::block_on(page()).unwrap().value, Some(vec![1, 2]));
}

#[test]
fn describes_what_it_provides() {
    let description = plugin::describe::<Plugin>();
    let expected = json!({
        "tools": [
            {
                "name": "divide-numbers",
                "kind": "tool",
                "description": "Divide one number by another.\n\n\
                    The second paragraph belongs to the description too.",
                "input-schema": {
                    "description": "Two numbers.",
                    "type": "object",
                    "properties": {
                        "first": { "description": "The first.", "type": "integer" },
                        "second": {
                            "description": "The second.",
                            "type": "integer",
                            "minimum": 0,
                            "default": 1,
                        },
                        "how": {
                            "type": "string",
                            "enum": ["rounded", "with-remainder"],
                            "default": "rounded",
                        },
                    },
                    "additionalProperties": false,
                    "required": ["first"],
                },
                "output-schema": {
                    "type": "object",
                    "properties": {
                        "value": { "type": "integer" },
                        "remainder": { "type": ["integer", "null"] },
                    },
                    "additionalProperties": false,
                    "required": ["value"],
                },
            },
            {
                "name": "page",
                "kind": "tool",
                "description": "Answer in parts.",
                "input-schema": {
                    "description": "No arguments.",
                    "type": "object",
                    "additionalProperties": false,
                },
                "output-schema": {
                    "type": "array",
                    "items": { "type": "integer", "minimum": 0, "maximum": 255 },
                },
            },
            {
                "name": "nothing",
                "kind": "tool",
                "description": "Answer nothing.",
                "input-schema": {
                    "description": "No arguments.",
                    "type": "object",
                    "additionalProperties": false,
                },
                "output-schema": { "type": "null" },
            },
            {
                "name": "both",
                "kind": "component",
                "description": "Let the second input through when both came.",
                "input-schema": {
                    "type": "object",
                    "properties": {
                        "settings": { "type": "object", "additionalProperties": true },
                        "inputs": {
                            "type": "object",
                            "properties": { "a": {}, "b": {} },
                            "additionalProperties": false,
                        },
                    },
                    "required": [],
                    "additionalProperties": false,
                },
                "output-schema": {
                    "type": "object",
                    "properties": { "output": true },
                    "additionalProperties": false,
                },
            },
        ],
        "services": [],
        "settings-schema": {
            "type": "object",
            "properties": {
                "base-url": { "description": "Where the service is.", "type": ["string", "null"] },
            },
            "additionalProperties": false,
        },
    });
    assert_eq!(description, expected);
    let fields = description["tools"][0]["input-schema"]["properties"].as_object().unwrap().keys();
    assert!(fields.eq(["first", "second", "how"]), "the author's order of fields is kept");
}

#[test]
fn calls_by_name() {
    let value = call("divide-numbers", json!({ "first": 7, "second": 2, "how": "with-remainder" }));
    assert_eq!(value, Ok(json!({ "value": 3, "remainder": 1 })));
    assert_eq!(call("nothing", json!({})), Ok(Value::Null));
    let output = plugin::call::<Plugin>("page", "{}").unwrap();
    assert_eq!(output.value.as_deref(), Some("[1,2]"));
    assert_eq!(output.next.as_deref(), Some("7"));
    assert_eq!(output.blocks[0].text.as_deref(), Some("more"));
}

#[test]
fn errors_have_codes() {
    let check = |name: &str, arguments: Value, code: &str, message: &str| {
        let error = call(name, arguments).unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(message), "{}", error.message);
        error
    };
    check("divide-numbers", json!({}), "bad-arguments", "missing field `first`");
    check("divide-numbers", json!({ "first": "1" }), "bad-arguments", "invalid type: string");
    check("divide-numbers", json!({ "first": 1, "x": 1 }), "bad-arguments", "unknown field `x`");
    check("nothing", json!({ "x": 1 }), "bad-arguments", "unknown field `x`");
    check("subtract", json!({}), "not-found", "divide-numbers, page, nothing");
    check("both", json!({}), "not-found", "no tool `both`");
    let own =
        check("divide-numbers", json!({ "first": 1, "second": 0 }), "bad-arguments", "not be 0");
    assert_eq!(own.data.as_deref(), Some(&json!({ "path": "/second" })));
}

#[test]
fn ports_stay_silent_or_carry_null() {
    assert_eq!(process(json!({ "a": 1 })), Ok(json!({})));
    assert_eq!(process(json!({ "a": 1, "b": 2 })), Ok(json!({ "output": 2 })));
    assert_eq!(process(json!({ "a": null, "b": null })), Ok(json!({ "output": null })));
    let error = process(json!({ "c": 1 })).unwrap_err();
    assert_eq!(error.code, "bad-arguments");
    assert!(error.message.starts_with("inputs: unknown field `c`"), "{}", error.message);
    let error = plugin::process::<Plugin>("page", "{}", "{}").unwrap_err();
    assert_eq!(error.code, "not-found");
}

#[test]
fn a_catalogue_answers_what_is_not_a_tool() {
    let call = plugin::call::<dynamic::Plugin>;
    assert_eq!(call("nothing", "{}").unwrap().value.as_deref(), Some("null"));
    assert_eq!(call("echo", "[1]").unwrap().value.as_deref(), Some("[1]"));
    assert_eq!(call("other", "1").unwrap_err().code, "not-found");
    assert_eq!(dynamic::Plugin::SERVICES, [""; 0]);
}

/// Data of somebody else, to be read whatever is in it.
#[data(open)]
#[serde(rename_all = "UPPERCASE")]
enum Foreign {
    FirstKind { id: u8 },
}

#[data]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[test]
fn data_is_closed_unless_it_says_otherwise() {
    let Foreign::FirstKind { id } =
        serde_json::from_value(json!({ "FIRSTKIND": { "id": 1, "more": 2 } })).unwrap();
    assert_eq!(id, 1);
    let flat: Flat = serde_json::from_value(json!({ "id": 1, "more": 2 })).unwrap();
    assert_eq!(flat.rest["more"], 2);
    assert!(serde_json::from_value::<Quotient>(json!({ "value": 1, "more": 2 })).is_err());
}

#[test]
fn settings_are_those_of_an_empty_object_natively() {
    let settings: Settings = ampoule_sdk::context::settings().unwrap();
    assert_eq!(settings.base_url, None);
    let error = ampoule_sdk::context::settings::<Pair>().unwrap_err();
    assert_eq!(error.code, "invalid-data");
}
