#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn error(program: &str, input: Value) -> Error {
    json_query(Query { program: program.into(), input, args: Map::new(), limit: 9 }).unwrap_err()
}

#[test]
fn says_with_what_a_program_failed() {
    let error = error("error({code: 7})", Value::Null);
    assert_eq!(error.code, "invalid-data");
    assert_eq!(error.data.as_deref(), Some(&json!({ "error": { "code": 7 } })));
}

#[test]
fn a_message_holds_no_whole_input() {
    let input = Value::from(vec!["x".repeat(1000); 1000]);
    let error = error(".name", input);
    assert!(error.message.len() < 500 && error.message.starts_with("cannot index [\"xxx"));
    assert!(error.message.ends_with("\"] with \"name\""), "{}", error.message);
}
