//! Arguments that go with a request as headers too: `x-mcp-header` in the schema of a tool, and how
//! values of headers are written (MCP 2026-07-28, Streamable HTTP, "Custom Headers from Tool
//! Parameters" and "Value Encoding").

use ampoule_sdk::Base64;
use ampoule_sdk::prelude::*;

use crate::schema;

/// The keyword.
const KEYWORD: &str = "x-mcp-header";

/// The most headers of a tool, and the longest name of one.
const MAX_HEADERS: usize = 64;
const MAX_NAME: usize = 64;

/// The longest value of a header that is sent, in bytes before it is encoded.
const MAX_VALUE: usize = 4_096;

/// An argument that is sent as a header.
#[derive(Debug, PartialEq)]
pub(crate) struct Header {
    /// The names of the fields that lead to it.
    path: Vec<String>,
    /// The name of the header behind `Mcp-Param-`.
    name: String,
}

/// The headers that the schema of a tool's arguments asks for.
///
/// # Errors
/// Which rule it breaks; such a tool may not be used.
pub(crate) fn of(input_schema: &Value) -> Result<Vec<Header>, String> {
    let mut headers: Vec<Header> = Vec::new();
    let mut problem = None;
    schema::visit(input_schema, &mut |keywords, path| {
        if let Some(name) = keywords.get(KEYWORD) {
            match header(name, keywords, path, &headers) {
                Ok(header) => headers.push(header),
                Err(error) => drop(problem.get_or_insert(error)),
            }
        }
    });
    match problem {
        Some(problem) => Err(problem),
        None => Ok(headers),
    }
}

fn header(
    name: &Value,
    keywords: &Map<String, Value>,
    path: Option<&[String]>,
    others: &[Header],
) -> Result<Header, String> {
    let refused = |what: &str| Err(format!("an `{KEYWORD}` {what}"));
    let Some(name) = name.as_str().filter(|name| is_token(name)) else {
        return refused("is no name of a header");
    };
    let Some(path @ [_, ..]) = path else {
        return refused("stands elsewhere than in a field of the arguments");
    };
    if !matches!(
        keywords.get("type").and_then(Value::as_str),
        Some("string" | "integer" | "boolean")
    ) {
        return refused("is at a field that is neither string, integer nor boolean");
    }
    if others.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
        return refused("is there twice");
    }
    if others.len() == MAX_HEADERS {
        return Err(format!("more than {MAX_HEADERS} fields have an `{KEYWORD}`"));
    }
    Ok(Header { path: path.to_vec(), name: name.to_owned() })
}

/// Whether a text is a token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

impl Header {
    /// Name and value of the header, where the arguments have one.
    ///
    /// # Errors
    /// `bad-arguments` where the value is too long for a header.
    pub(crate) fn with(&self, arguments: &Value) -> Result<Option<(String, String)>> {
        let found = self.path.iter().try_fold(arguments, |value, name| value.get(name));
        let text = match found {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Ok(None),
        };
        if text.len() > MAX_VALUE {
            return Err(Error::bad_arguments(format!(
                "`{}` has more than {MAX_VALUE} bytes, and this server wants it in a header",
                self.path.join(".")
            )));
        }
        Ok(Some((format!("mcp-param-{}", self.name), value(&text))))
    }
}

/// A text as the value of a header: as it is where it can stand there, else in base64 between marks.
pub(crate) fn value(text: &str) -> String {
    const MARKS: (&str, &str) = ("=?base64?", "?=");
    let padded = text.starts_with(' ') || text.ends_with(' ');
    let marked = text.starts_with(MARKS.0) && text.ends_with(MARKS.1);
    match padded || marked || !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        true => format!("{}{}{}", MARKS.0, Base64::new(text.as_bytes()).base64, MARKS.1),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn values_are_written_as_the_specification_shows() {
        for (text, written) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("a\tb", "=?base64?YQli?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(value(text), written, "{text}");
        }
    }

    #[test]
    fn arguments_become_headers_by_their_path() {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "deep": { "type": "object", "properties": {
                "n": { "type": "integer", "x-mcp-header": "N" },
                "b": { "type": "boolean", "x-mcp-header": "B" },
            } },
            // A field of that name says nothing.
            "x-mcp-header": { "type": "string", "default": { "x-mcp-header": 1 } },
        } });
        let headers = of(&schema).unwrap();
        let arguments =
            json!({ "region": "ü", "deep": { "n": -7, "b": null }, "x-mcp-header": "x" });
        let sent: Vec<_> = headers.iter().filter_map(|h| h.with(&arguments).unwrap()).collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(sent, [pair("mcp-param-Region", "=?base64?w7w=?="), pair("mcp-param-N", "-7")]);
        let long = json!({ "region": "x".repeat(MAX_VALUE + 1) });
        assert_eq!(headers[0].with(&long).unwrap_err().code, "bad-arguments");
    }

    #[test]
    fn what_breaks_a_rule_refuses_the_tool() {
        let field = |name: Value| json!({ "type": "string", KEYWORD: name });
        let fields = |fields: Value| json!({ "type": "object", "properties": fields });
        for (schema, problem) in [
            (fields(json!({ "a": field(json!("")) })), "no name"),
            (fields(json!({ "a": field(json!(7)) })), "no name"),
            (fields(json!({ "a": field(json!("My Region")) })), "no name"),
            (fields(json!({ "a": field(json!("a:b")) })), "no name"),
            (fields(json!({ "a": field(json!("R\u{e9}gion")) })), "no name"),
            (fields(json!({ "a": field(json!("a\tb")) })), "no name"),
            (fields(json!({ "a": field(json!("x".repeat(65))) })), "no name"),
            (fields(json!({ "a": { "type": "number", KEYWORD: "A" } })), "neither"),
            (fields(json!({ "a": { "type": "object", KEYWORD: "A" } })), "neither"),
            (fields(json!({ "a": { KEYWORD: "A" } })), "neither"),
            (fields(json!({ "a": field(json!("A")), "b": field(json!("a")) })), "twice"),
            (json!({ "type": "string", KEYWORD: "A" }), "elsewhere"),
            (fields(json!({ "a": { "type": "array", "items": field(json!("A")) } })), "elsewhere"),
            (json!({ "allOf": [fields(json!({ "a": field(json!("A")) }))] }), "elsewhere"),
            (json!({ "$defs": { "a": field(json!("A")) } }), "elsewhere"),
            (json!({ "if": fields(json!({ "a": field(json!("A")) })) }), "elsewhere"),
        ] {
            let found = of(&schema).unwrap_err();
            assert!(found.contains(problem), "{schema}: {found}");
        }
    }
}
