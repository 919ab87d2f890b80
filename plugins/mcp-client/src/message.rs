//! Messages of JSON-RPC 2.0, as MCP has them.

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde::Deserialize;
use ampoule_sdk::serde_json;

/// How many values a message may hold, arrays and objects counted. Each takes up to 72 bytes.
const MAX_VALUES: usize = 1_000_000;

/// A message that the server sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// It answers the request of this id.
    Response { id: Value, result: Result<Value, Fault> },
    /// It wants something.
    Request { id: Value, method: String, params: Value },
    /// It says something.
    Notification { method: String, params: Value },
}

/// An error of JSON-RPC.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(crate = "ampoule_sdk::serde")]
pub(crate) struct Fault {
    /// From the lists of JSON-RPC and MCP.
    pub(crate) code: i64,
    /// The server's words.
    #[serde(default)]
    pub(crate) message: String,
    /// Anything else.
    #[serde(default)]
    pub(crate) data: Value,
}

impl Fault {
    /// The method is not there (JSON-RPC 2.0).
    pub(crate) const METHOD_NOT_FOUND: i64 = -32_601;
    /// The parameters are wrong (JSON-RPC 2.0).
    pub(crate) const INVALID_PARAMS: i64 = -32_602;
    /// Headers do not say what the body says (MCP 2026-07-28).
    pub(crate) const HEADER_MISMATCH: i64 = -32_020;
    /// The client lacks a capability (MCP 2026-07-28).
    pub(crate) const MISSING_CAPABILITY: i64 = -32_021;
    /// The revision is not spoken (MCP 2026-07-28).
    pub(crate) const UNSUPPORTED_VERSION: i64 = -32_022;
    /// The person has to visit a page first (MCP 2025-11-25).
    pub(crate) const URL_NEEDED: i64 = -32_042;

    /// Whether only a server of the current revision says so.
    pub(crate) fn is_modern(&self) -> bool {
        matches!(
            self.code,
            Fault::HEADER_MISMATCH | Fault::MISSING_CAPABILITY | Fault::UNSUPPORTED_VERSION
        )
    }
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// `invalid-data` where it is none, `too-large` where it holds too many values.
    pub(crate) fn parse(text: &[u8]) -> Result<Message> {
        #[derive(Deserialize)]
        #[serde(crate = "ampoule_sdk::serde")]
        struct Raw {
            #[serde(default, deserialize_with = "ampoule_sdk::present")]
            id: Option<Value>,
            method: Option<String>,
            #[serde(default)]
            params: Value,
            #[serde(default, deserialize_with = "ampoule_sdk::present")]
            result: Option<Value>,
            error: Option<Fault>,
        }
        if values(text) > MAX_VALUES {
            return Err(Error::too_large(format!(
                "the MCP server sent a message of more than {MAX_VALUES} values"
            )));
        }
        let broken = |what: String| {
            Error::invalid_data(format!("the MCP server sent no message of JSON-RPC: {what}"))
        };
        let raw: Raw = serde_json::from_slice(text).map_err(|error| broken(error.to_string()))?;
        match raw {
            Raw { id: Some(id), method: Some(method), params, .. } => {
                Ok(Message::Request { id, method, params })
            }
            Raw { method: Some(method), params, .. } => {
                Ok(Message::Notification { method, params })
            }
            Raw { id, error: Some(fault), .. } => {
                Ok(Message::Response { id: id.unwrap_or_default(), result: Err(fault) })
            }
            Raw { id: Some(id), result: Some(result), .. } => {
                Ok(Message::Response { id, result: Ok(result) })
            }
            _ => Err(broken("it has neither `method` nor `result` nor `error`".into())),
        }
    }
}

/// How many values a JSON text can hold at most, told before it is read.
fn values(text: &[u8]) -> usize {
    let (mut count, mut string, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = string,
            b'"' => string = !string,
            b',' | b'[' | b'{' if !string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn each_kind_is_told_from_the_others() {
        let read = |text: &str| Message::parse(text.as_bytes()).unwrap();
        assert_eq!(
            read(r#"{"jsonrpc": "2.0", "id": 1, "result": {"a": 1}}"#),
            Message::Response { id: json!(1), result: Ok(json!({ "a": 1 })) }
        );
        assert_eq!(
            read(r#"{"id": 1, "result": null}"#),
            Message::Response { id: json!(1), result: Ok(Value::Null) }
        );
        let fault = Fault { code: -32_601, message: "no".into(), data: Value::Null };
        assert_eq!(
            read(r#"{"id": null, "error": {"code": -32601, "message": "no"}}"#),
            Message::Response { id: Value::Null, result: Err(fault) }
        );
        assert_eq!(
            read(r#"{"id": "a", "method": "ping"}"#),
            Message::Request { id: json!("a"), method: "ping".into(), params: Value::Null }
        );
        assert_eq!(
            read(r#"{"method": "m", "params": [1]}"#),
            Message::Notification { method: "m".into(), params: json!([1]) }
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        let deep = "[".repeat(500);
        for text in ["", "[]", "{}", "7", r#"{"id": 1}"#, r#"{"method": 1}"#, &deep, "\u{0}"] {
            let error = Message::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.code, "invalid-data", "{text}");
        }
        let many = format!(r#"{{"id": 1, "result": [{}0]}}"#, "0,".repeat(MAX_VALUES));
        assert_eq!(Message::parse(many.as_bytes()).unwrap_err().code, "too-large");
        // Commas in texts are none between values.
        let text = format!(r#"{{"id": 1, "result": "\"{}"}}"#, ",".repeat(2 * MAX_VALUES));
        assert!(Message::parse(text.as_bytes()).is_ok());
    }
}
