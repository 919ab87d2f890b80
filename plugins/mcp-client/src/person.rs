//! What a server asks of the one who calls it: forms for the person behind the call go there, by the
//! capability `ask`; anything else is refused.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{log, serde_json};

use crate::message::Fault;
use crate::{schema, text};

/// The longest question, in characters.
const MAX_QUESTION: usize = 4_000;

/// The longest schema of a form, as JSON text.
const MAX_SCHEMA: usize = 32 << 10;

/// What this client can do, as MCP's `ClientCapabilities`.
pub(crate) fn capabilities() -> Value {
    json!({ "elicitation": { "form": {} } })
}

/// Answers a request of the server at `origin`.
///
/// # Errors
/// What to tell the server where there is no answer.
pub(crate) fn answer(origin: &str, method: &str, params: &Value) -> Result<Value, Fault> {
    match method {
        "ping" => Ok(json!({})),
        "elicitation/create" => elicit(origin, params),
        _ => Err(fault(
            Fault::METHOD_NOT_FOUND,
            "this client has forms for its person, nothing else",
        )),
    }
}

fn fault(code: i64, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into(), data: Value::Null }
}

/// Shows the person a form.
fn elicit(origin: &str, params: &Value) -> Result<Value, Fault> {
    let invalid = |what: String| fault(Fault::INVALID_PARAMS, what);
    if !matches!(params.get("mode").map(Value::as_str), None | Some(Some("form"))) {
        return Err(invalid("this client has the mode `form` alone".into()));
    }
    let Some(message) = params.get("message").and_then(Value::as_str) else {
        return Err(invalid("`message` is missing".into()));
    };
    let schema = match params.get("requestedSchema") {
        Some(schema) if schema.is_object() && schema.to_string().len() <= MAX_SCHEMA => {
            schema::ready(schema.clone())
                .map_err(|problem| invalid(format!("`requestedSchema`: {problem}")))?
        }
        _ => return Err(invalid("`requestedSchema` is no object, or too large".into())),
    };
    let question =
        format!("The MCP server at {origin} asks: {}", text::lines(message.trim(), MAX_QUESTION));
    Ok(match ask(&question, &schema) {
        Ok(said) => json!({ "action": "accept", "content": with_defaults(said, &schema) }),
        Err(error) if error.code == "declined" => json!({ "action": "decline" }),
        Err(error) => {
            log::warn(format!("a question of the MCP server was not answered: {error}"));
            json!({ "action": "cancel" })
        }
    })
}

/// Fills fields that the person left out with their defaults, as the server expects of a form.
fn with_defaults(mut said: Value, schema: &Value) -> Value {
    let fields = schema.get("properties").and_then(Value::as_object);
    if let Value::Object(said) = &mut said {
        for (name, field) in fields.into_iter().flatten() {
            if let Some(default) = field.get("default") {
                said.entry(name).or_insert_with(|| default.clone());
            }
        }
    }
    said
}

/// Asks the person for an object of this schema. The SDK's own questions have schemas of types.
///
/// # Errors
/// `declined`, `unavailable`, `denied`; `invalid-data` where the answer does not fit.
#[cfg(target_arch = "wasm32")]
fn ask(question: &str, schema: &Value) -> Result<Value> {
    use ampoule_sdk::bindings::ampoule::plugin::ask::{Question, ask};

    let answer = ask(&Question {
        kind: "form".into(),
        text: question.into(),
        schema: Some(schema.to_string()),
        meta: None,
    })?;
    Ok(serde_json::from_str(&answer)?)
}

/// Natively there is nobody to ask; unit tests get an answer of what the schema says itself.
#[cfg(not(target_arch = "wasm32"))]
fn ask(question: &str, schema: &Value) -> Result<Value> {
    match schema.get("answer").and_then(Value::as_str) {
        Some(answer) => Ok(serde_json::from_str(answer)?),
        None => Err(Error::new("declined", question)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn asked(params: Value) -> Result<Value, Fault> {
        answer("https://mcp.example.com", "elicitation/create", &params)
    }

    #[test]
    fn a_form_is_filled_with_its_defaults() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "default": "Ada" },
                "age": { "type": "integer", "default": 36 },
                "mail": { "type": "string" },
            },
            "answer": "{\"name\": \"Eve\"}",
        });
        assert_eq!(
            asked(json!({ "message": "Who?", "requestedSchema": schema })).unwrap(),
            json!({ "action": "accept", "content": { "name": "Eve", "age": 36 } })
        );
        let schema = json!({ "type": "object", "answer": "not JSON" });
        assert_eq!(
            asked(json!({ "mode": "form", "message": "", "requestedSchema": schema })).unwrap(),
            json!({ "action": "cancel" })
        );
        let schema = json!({ "type": "object" });
        assert_eq!(
            asked(json!({ "message": "", "requestedSchema": schema })).unwrap(),
            json!({ "action": "decline" })
        );
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let object = json!({ "type": "object" });
        for params in [
            Value::Null,
            json!({ "message": "m" }),
            json!({ "requestedSchema": object }),
            json!({ "message": "m", "requestedSchema": "x" }),
            json!({ "message": "m", "requestedSchema": { "type": "no" } }),
            json!({ "message": "m", "requestedSchema": { "description": "x".repeat(MAX_SCHEMA) } }),
            json!({ "mode": "url", "message": "m", "url": "https://example.com" }),
            json!({ "mode": 7, "message": "m", "requestedSchema": object }),
        ] {
            assert_eq!(asked(params.clone()).unwrap_err().code, Fault::INVALID_PARAMS, "{params}");
        }
        let other = |method| answer("", method, &Value::Null);
        assert_eq!(other("ping"), Ok(json!({})));
        for method in ["sampling/createMessage", "roots/list", "tools/call", ""] {
            assert_eq!(other(method).unwrap_err().code, Fault::METHOD_NOT_FOUND, "{method}");
        }
    }
}
