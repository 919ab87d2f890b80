//! From a response to an answer: JSON, text or a blob, and errors by status.

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{blobs, serde_json};
use mime::Mime;

/// How deep JSON may be nested to be given parsed; the host refuses deeper answers.
const MAX_DEPTH: usize = 90;

/// How many values JSON may have to be given parsed.
const MAX_VALUES: usize = 500_000;

/// The largest integer that every reader of JSON keeps: 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// Characters of the body that the message of an error shows.
const SHOWN: usize = 1_000;

/// Headers that tell how to go on.
const HEADERS: [&str; 6] =
    ["content-location", "etag", "last-modified", "link", "location", "x-total-count"];

/// What an API answered.
#[data]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// What `body` is.
    pub(crate) kind: Kind,
    /// The body: the value of JSON (integers beyond 2^53 as text), a text, or `{"$blob": "id"}`;
    /// `null` where there is none.
    pub(crate) body: Value,
    /// Of the headers those that tell how to go on, such as `link` and `location`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) headers: Map<String, Value>,
}

/// What a body is given as.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Kind {
    /// There is none.
    None,
    /// A value.
    Json,
    /// A text.
    Text,
    /// A blob.
    Blob,
}

/// The schema of an answer.
pub(crate) fn output_schema() -> Value {
    ampoule_sdk::schema::output::<Answer>().into()
}

/// Reads an answer to its end.
///
/// # Errors
/// What an error status stands for, with the body in `data`; those of the connection.
pub(crate) async fn read(mut response: Response, what: &str) -> Result<Output<Answer>> {
    let status = response.status();
    let error = response.error();
    let mut headers = Map::new();
    for name in HEADERS {
        if let Some(value) = response.header(name) {
            headers.insert(name.into(), value.into());
        }
    }
    let media_type = response.header("content-type").and_then(|text| text.parse::<Mime>().ok());
    let binary =
        media_type.as_ref().is_some_and(|media_type| !is_json(media_type) && !is_text(media_type));
    if binary && error.is_none() {
        let media_type = media_type.as_ref().map_or("application/octet-stream", Mime::as_ref);
        let mut writer = blobs::create(media_type)?;
        let mut empty = true;
        while let Some(chunk) = response.chunk().await? {
            empty = false;
            writer.write(&chunk)?;
        }
        let truncated = response.truncated();
        let (kind, body) = match empty {
            true => (Kind::None, Value::Null),
            false => (Kind::Blob, serde_json::to_value(writer.finish()?.reference())?),
        };
        return Ok(Output::new(Answer { status, kind, body, headers }).with_truncated(truncated));
    }
    let bytes = response.bytes().await?;
    let truncated = response.truncated();
    let (kind, body) = given(bytes, media_type.as_ref(), truncated);
    let Some(error) = error else {
        return Ok(Output::new(Answer { status, kind, body, headers }).with_truncated(truncated));
    };
    let shown = match &body {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    };
    let mut message = format!("{what} answered status {status}");
    if !shown.trim().is_empty() {
        message.push_str(": ");
        message.extend(shown.chars().take(SHOWN));
        if shown.chars().nth(SHOWN).is_some() {
            message.push('…');
        }
    }
    Err(Error { message, ..error }.with_data(json!({ "status": status, "body": body })))
}

fn is_json(media_type: &Mime) -> bool {
    media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON)
}

fn is_text(media_type: &Mime) -> bool {
    media_type.type_() == mime::TEXT
        || media_type.subtype() == mime::XML
        || media_type.suffix() == Some(mime::XML)
        || matches!(
            media_type.essence_str(),
            "application/javascript"
                | "application/graphql"
                | "application/x-ndjson"
                | "application/jsonl"
                | "application/x-www-form-urlencoded"
                | "application/yaml"
                | "application/x-yaml"
        )
}

/// A body as a value or a text. One without a media type is JSON where it reads so.
fn given(bytes: Vec<u8>, media_type: Option<&Mime>, truncated: bool) -> (Kind, Value) {
    if bytes.is_empty() {
        return (Kind::None, Value::Null);
    }
    if media_type.is_none_or(is_json)
        && !truncated
        && let Ok(mut value) = serde_json::from_slice::<Value>(&bytes)
        && fit(&mut value, 0, &mut 0)
    {
        return (Kind::Json, value);
    }
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    (Kind::Text, text.into())
}

/// Writes integers beyond 2^53 as text; `false` where the value is too deep or too large.
fn fit(value: &mut Value, depth: usize, count: &mut usize) -> bool {
    *count += 1;
    if depth > MAX_DEPTH || *count > MAX_VALUES {
        return false;
    }
    match value {
        Value::Number(number) => {
            let large = number.as_u64().is_some_and(|number| number > MAX_INTEGER)
                || number.as_i64().is_some_and(|number| number.unsigned_abs() > MAX_INTEGER);
            if large {
                *value = number.to_string().into();
            }
            true
        }
        Value::Array(items) => items.iter_mut().all(|item| fit(item, depth + 1, count)),
        Value::Object(fields) => fields.values_mut().all(|field| fit(field, depth + 1, count)),
        _ => true,
    }
}
