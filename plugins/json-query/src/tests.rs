#![allow(clippy::unwrap_used, reason = "tests")]

use ampoule_sdk::{plugin, serde, serde_json};

use super::*;

/// The library of jq as its manual documents it, and where this differs, by subject.
const CASES: &str = include_str!("cases.json");

#[derive(serde::Deserialize)]
#[serde(crate = "ampoule_sdk::serde", deny_unknown_fields)]
struct Case {
    program: String,
    input: Value,
    #[serde(default)]
    args: Map<String, Value>,
    /// What it answers.
    results: Option<Vec<Value>>,
    /// A part of the message with which it fails.
    error: Option<String>,
    /// What jq answers, where that is something else …
    jq: Option<Value>,
    /// … and why.
    why: Option<String>,
}

fn run(program: &str, input: Value, args: Map<String, Value>, limit: u32) -> Result<Results> {
    let output = json_query(Query { program: program.into(), input, args, limit })?;
    Ok(output.value.unwrap())
}

#[test]
fn cases() {
    let subjects: std::collections::BTreeMap<String, Vec<Case>> =
        serde_json::from_str(CASES).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (subject, case) in subjects.iter().flat_map(|(s, cases)| cases.iter().map(move |c| (s, c)))
    {
        count += 1;
        let found = run(&case.program, case.input.clone(), case.args.clone(), 1000);
        let right = match (&found, &case.results, &case.error) {
            (Ok(found), Some(results), None) => found.results == *results,
            (Err(found), None, Some(error)) => found.message.contains(error),
            _ => false,
        };
        let explained = case.jq.is_some() == case.why.is_some();
        if !right || !explained {
            wrong.push(format!("{subject}: {}\n  {found:?}", case.program));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn stops_at_the_limit() {
    let run = |program, limit| run(program, Value::Null, Map::new(), limit).unwrap();
    let found = run("range(5)", 3);
    assert_eq!((found.results, found.truncated), (vec![json!(0), json!(1), json!(2)], true));
    let found = run("range(3)", 3);
    assert_eq!((found.results.len(), found.truncated), (3, false));
    // Results are computed when they are asked for.
    assert_eq!(run("repeat(1)", 1000).results.len(), 1000);
    assert_eq!(run("1, 2, error(\"never met\")", 1).results, [1]);
}

#[test]
fn says_with_what_a_program_failed() {
    let error = run("error({code: 7})", Value::Null, Map::new(), 9).unwrap_err();
    assert_eq!(error.code, "invalid-data");
    assert_eq!(error.data.as_deref(), Some(&json!({ "error": { "code": 7 } })));
}

#[test]
fn a_message_holds_no_whole_input() {
    let input = Value::from(vec!["x".repeat(1000); 1000]);
    let error = run(".name", input, Map::new(), 9).unwrap_err();
    assert!(error.message.len() < 500 && error.message.starts_with("cannot index [\"xxx"));
    assert!(error.message.ends_with("\"] with \"name\""), "{}", error.message);
}

#[test]
fn results_fit_into_json() {
    let check = |program: &str, code: &str, message: &str| {
        let error = run(program, Value::Null, Map::new(), 9).unwrap_err();
        assert_eq!(error.code, code, "{program}");
        assert!(error.message.contains(message), "{}", error.message);
    };
    check("\"a\" | tobytes", "invalid-data", "holds bytes");
    check("{([1]): 2}", "invalid-data", "the key [1]");
    check("reduce range(99) as $i (0; [.])", "too-large", "deeper than 98 levels");
    let deep = run("reduce range(98) as $i (0; [.])", Value::Null, Map::new(), 9);
    assert_eq!(deep.unwrap().results.len(), 1);
}

#[test]
fn refuses_what_are_no_arguments() {
    let check = |arguments: Value, message: &str| {
        let error = plugin::call::<Plugin>("json-query", &arguments.to_string()).unwrap_err();
        assert_eq!(error.code, "bad-arguments");
        assert!(error.message.contains(message), "{}", error.message);
    };
    check(json!({ "input": 1 }), "missing field `program`");
    check(json!({ "program": "." }), "missing field `input`");
    check(json!({ "program": 1, "input": 1 }), "invalid type");
    check(json!({ "program": ".", "input": 1, "limit": -1 }), "invalid value");
    check(json!({ "program": ".", "input": 1, "args": [] }), "invalid type");
    check(json!({ "program": ".", "input": 1, "file": "x" }), "unknown field `file`");
}
