//! From a response to an answer: JSON, text or a blob, and errors by status.

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::serde_json;
use mime::Mime;
use shared_body::{decode, is_json, is_text, is_xml, parse_json, store};

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
        let (kind, body) = match store(&mut response, media_type).await? {
            None => (Kind::None, Value::Null),
            Some(blob) => (Kind::Blob, serde_json::to_value(blob)?),
        };
        let truncated = response.truncated();
        return Ok(Output::new(Answer { status, kind, body, headers }).with_truncated(truncated));
    }
    let bytes = response.bytes().await?;
    let truncated = response.truncated();
    let (kind, body) = given(&bytes, media_type.as_ref(), truncated);
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
        message.push_str(&ampoule_sdk::shortened(&shown, SHOWN));
    }
    Err(Error { message, ..error }.with_data(json!({ "status": status, "body": body })))
}

/// A body as a value or a text. One without a media type is JSON where it reads so.
fn given(bytes: &[u8], media_type: Option<&Mime>, truncated: bool) -> (Kind, Value) {
    if bytes.is_empty() {
        return (Kind::None, Value::Null);
    }
    if media_type.is_none_or(is_json)
        && !truncated
        && let Ok(value) = parse_json(bytes)
    {
        return (Kind::Json, value);
    }
    let declares = media_type.is_some_and(|it| is_xml(it) || it.subtype() == mime::HTML);
    let text = decode(bytes, media_type.map_or("", Mime::as_ref), declares, truncated);
    (Kind::Text, text.into())
}
