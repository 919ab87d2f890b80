//! References of a script to what the conversation holds.

use ampoule_contract::Message;
use regex::Regex;
use serde_json::{Map, Value};

const RESULT: &str = "$result";
const POINTER: &str = "pointer";
const MATCH: &str = "$match";

/// A reference, taken apart.
enum Reference<'a> {
    /// To what a tool call answered.
    Result { result: &'a str, pointer: &'a str },
    /// To what prompt or user have said: the first group of a pattern.
    Match(Regex),
}

/// Checks that every reference in `arguments` is one.
///
/// # Errors
/// What is wrong with the first that is not.
pub(crate) fn check(arguments: &Value) -> Result<(), String> {
    match arguments {
        Value::Object(object) if is_reference(object) => reference(object).map(drop),
        Value::Object(object) => object.values().try_for_each(check),
        Value::Array(items) => items.iter().try_for_each(check),
        _ => Ok(()),
    }
}

/// `arguments` with every reference replaced by what it stands for in the conversation.
///
/// What is put in is data: a reference inside it is left as it is.
///
/// # Errors
/// The first reference that stands for nothing, with what there is.
pub(crate) fn resolve(arguments: &Value, messages: &[Message]) -> Result<Value, String> {
    Ok(match arguments {
        Value::Object(object) if is_reference(object) => match reference(object)? {
            Reference::Result { result, pointer } => answered(result, pointer, messages)?,
            Reference::Match(pattern) => said(&pattern, messages)?.into(),
        },
        Value::Object(object) => {
            let entries = object.iter();
            let resolved = entries.map(|(key, value)| Ok((key.clone(), resolve(value, messages)?)));
            Value::Object(resolved.collect::<Result<_, String>>()?)
        }
        Value::Array(items) => {
            let resolved = items.iter().map(|item| resolve(item, messages));
            Value::Array(resolved.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn is_reference(object: &Map<String, Value>) -> bool {
    object.contains_key(RESULT) || object.contains_key(MATCH)
}

fn reference(object: &Map<String, Value>) -> Result<Reference<'_>, String> {
    let (main, beside): (_, &[_]) =
        if object.contains_key(RESULT) { (RESULT, &[POINTER]) } else { (MATCH, &[]) };
    if let Some(key) = object.keys().find(|key| *key != main && !beside.contains(&key.as_str())) {
        return Err(format!("a reference `{main}` has no key `{key}`"));
    }
    let text = |key: &str| match object.get(key) {
        None => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| format!("`{key}` is a text")),
    };
    if main == MATCH {
        let pattern = Regex::new(text(MATCH)?).map_err(|error| format!("`{MATCH}`: {error}"))?;
        if pattern.captures_len() != 2 {
            return Err(format!("`{MATCH}` has one group, which is what it stands for"));
        }
        return Ok(Reference::Match(pattern));
    }
    let (result, pointer) = (text(RESULT)?, text(POINTER)?);
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(format!("the pointer `{pointer}` does not begin with `/`"));
    }
    Ok(Reference::Result { result, pointer })
}

fn answered(result: &str, pointer: &str, messages: &[Message]) -> Result<Value, String> {
    let parts = messages.iter().flat_map(|message| &message.parts);
    let results: Vec<_> = parts.filter(|part| part.kind == "tool-result").collect();
    let by_id = results.iter().find(|part| part.id.as_deref() == Some(result));
    let by_name = || results.iter().rev().find(|part| part.name.as_deref() == Some(result));
    let Some(part) = by_id.or_else(by_name) else {
        let ids: Vec<_> = results.iter().filter_map(|part| part.id.as_deref()).collect();
        let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
        return Err(format!("the conversation has no result of `{result}`; there are: {ids}"));
    };
    let found = match (&part.value, &part.text) {
        (Some(value), _) => value.pointer(pointer).cloned(),
        (None, Some(text)) if pointer.is_empty() => Some(Value::String(text.clone())),
        (None, _) => None,
    };
    found.ok_or_else(|| {
        let whole = part.value.as_ref().map(Value::to_string).or_else(|| part.text.clone());
        let beginning: String = whole.unwrap_or_default().chars().take(200).collect();
        format!("the result of `{result}` has nothing at `{pointer}`; it begins `{beginning}`")
    })
}

fn said(pattern: &Regex, messages: &[Message]) -> Result<String, String> {
    let said = messages.iter().filter(|message| ["system", "user"].contains(&&*message.role));
    let group = |message: &Message| {
        let text = message.text_content();
        let group = pattern.captures(&text)?.get(1)?;
        Some(group.as_str().to_owned())
    };
    said.filter_map(group)
        .next()
        .ok_or_else(|| format!("nothing that was said matches `{}`", pattern.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use ampoule_contract::Part;
    use serde_json::json;

    fn result(id: &str, name: &str, value: Value) -> Part {
        Part {
            kind: "tool-result".into(),
            id: Some(id.into()),
            name: Some(name.into()),
            value: Some(value),
            ..Part::default()
        }
    }

    fn conversation() -> Vec<Message> {
        let cut =
            Part { value: None, text: Some("{\"a\":".into()), ..result("cut", "x", json!(0)) };
        let first = result("one", "read", json!({"value": {"$result": "two", "n": [10, 20]}}));
        let second = result("two", "read", json!({"value": "second"}));
        vec![
            Message::text("system", "Use http://a.test/x. Be kind."),
            Message::text("user", "go to http://b.test/"),
            Message { role: "tool".into(), parts: vec![first] },
            Message { role: "tool".into(), parts: vec![second, cut] },
        ]
    }

    #[track_caller]
    fn check_resolved(arguments: Value, expected: Result<Value, &str>) {
        match (resolve(&arguments, &conversation()), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }

    #[test]
    fn references_stand_for_what_was_answered() {
        let by_id = json!({"a": [{"$result": "one", "pointer": "/value/n/1"}], "b": 1});
        check_resolved(by_id, Ok(json!({"a": [20], "b": 1})));
        check_resolved(json!({"$result": "two"}), Ok(json!({"value": "second"})));
        check_resolved(json!({"$result": "read", "pointer": "/value"}), Ok(json!("second")));
        check_resolved(json!({"$result": "cut"}), Ok(json!("{\"a\":")));
    }

    #[test]
    fn matches_stand_for_what_was_said() {
        let page = json!({"urls": [{"$match": r"(http://\S+?)\.?(?:\s|$)"}]});
        check_resolved(page, Ok(json!({"urls": ["http://a.test/x"]})));
        check_resolved(json!({"$match": "(second)"}), Err("nothing that was said"));
        assert!(check(&json!({"$match": "no group"})).is_err());
        assert!(check(&json!({"$match": "(a)", "pointer": "/x"})).is_err());
    }

    #[test]
    fn data_is_never_read_as_a_reference() {
        let whole = json!({"$result": "one", "pointer": "/value"});
        check_resolved(whole, Ok(json!({"$result": "two", "n": [10, 20]})));
    }

    #[test]
    fn a_reference_to_nothing_is_an_error() {
        check_resolved(json!({"$result": "three"}), Err("there are: one, two, cut"));
        check_resolved(json!({"$result": "one", "pointer": "/nope"}), Err("nothing at `/nope`"));
        check_resolved(json!({"$result": "cut", "pointer": "/a"}), Err("nothing at `/a`"));
    }
}
