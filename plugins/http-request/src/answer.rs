//! The answer to a request: its body as JSON, text, base64 or a blob.

use std::collections::BTreeMap;

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{blobs, serde_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mime::Mime;
use shared_body::{decode, is_json, is_text, is_xml, parse_json, store};

/// As what to give a body.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum As {
    /// By its media type: JSON parsed, text decoded, anything else as a blob.
    #[default]
    Auto,
    /// As text, whatever it is.
    Text,
    /// Parsed; an error `invalid-data` where it is no JSON.
    Json,
    /// As bytes in base64.
    Base64,
    /// As a blob.
    Blob,
}

/// An answer.
#[data]
pub(crate) struct Answer {
    /// The status code.
    status: u16,
    /// Whether the status is one of success, 200 to 299.
    ok: bool,
    /// The URL that answered, after redirects.
    url: String,
    /// The headers, names in lower case. One that stands several times is joined by `, `,
    /// `set-cookie` by line breaks.
    headers: BTreeMap<String, String>,
    /// What `body` is.
    kind: Kind,
    /// The body: the value of JSON (integers beyond 2^53 as text), a text, or
    /// `{"$blob": "id"}`; `null` where there is none.
    body: Value,
    /// Whether the body was cut at `max_bytes` or at a limit.
    truncated: bool,
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
    /// Bytes in base64.
    Base64,
    /// A blob.
    Blob,
}

impl Answer {
    /// The same with no headers but these; `None` for all.
    pub(crate) fn with_headers(mut self, only: Option<Vec<String>>) -> Answer {
        if let Some(only) = only {
            let wanted = |name: &str| only.iter().any(|other| other.eq_ignore_ascii_case(name));
            self.headers.retain(|name, _| wanted(name));
        }
        self
    }

    pub(crate) const fn truncated(&self) -> bool {
        self.truncated
    }
}

/// Reads an answer to its end.
///
/// # Errors
/// `unavailable` or `timeout` where it breaks off; `invalid-data` and `too-large` where JSON was
/// asked for and is none or too much.
pub(crate) async fn read(mut response: Response, wanted: As, head: bool) -> Result<Answer> {
    let (status, url) = (response.status(), response.url());
    let headers = headers(response.headers());
    let content_type = headers.get("content-type").and_then(|text| text.parse::<Mime>().ok());
    let (kind, body, truncated) = if head || status == 204 || status == 304 {
        (Kind::None, Value::Null, false)
    } else if wanted == As::Blob || (wanted == As::Auto && is_binary(content_type.as_ref())) {
        let media_type = headers.get("content-type").map(String::as_str);
        let media_type = media_type.unwrap_or("application/octet-stream");
        let (kind, body) = match store(&mut response, media_type).await? {
            Some(blob) => (Kind::Blob, serde_json::to_value(blob)?),
            None => (Kind::None, Value::Null),
        };
        (kind, body, response.truncated())
    } else {
        let bytes = response.bytes().await?;
        let truncated = response.truncated();
        match given(&bytes, content_type.as_ref(), wanted, truncated)? {
            Some((kind, body)) => (kind, body, truncated),
            None => {
                let blob = blobs::store("application/octet-stream", &bytes)?;
                (Kind::Blob, serde_json::to_value(blob)?, truncated)
            }
        }
    };
    Ok(Answer { status, ok: (200..300).contains(&status), url, headers, kind, body, truncated })
}

fn headers(fields: Vec<(String, Vec<u8>)>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(&value).into_owned();
        let between = if name == "set-cookie" { "\n" } else { ", " };
        headers
            .entry(name)
            .and_modify(|all| {
                all.push_str(between);
                all.push_str(&value);
            })
            .or_insert(value);
    }
    headers
}

/// Whether a body is neither text nor JSON. Of one without a media type that is not known.
fn is_binary(content_type: Option<&Mime>) -> bool {
    content_type.is_some_and(|media_type| !is_json(media_type) && !is_text(media_type))
}

/// A body as it is wanted; `None` where it turns out to be no text and a blob will do.
fn given(
    bytes: &[u8],
    content_type: Option<&Mime>,
    wanted: As,
    truncated: bool,
) -> Result<Option<(Kind, Value)>> {
    let text = || {
        let declares = content_type.is_some_and(|it| is_xml(it) || it.subtype() == mime::HTML);
        decode(bytes, content_type.map_or("", Mime::as_ref), declares, truncated)
    };
    let json = content_type.is_some_and(is_json);
    Ok(Some(match wanted {
        As::Auto | As::Blob if bytes.is_empty() => (Kind::None, Value::Null),
        As::Auto if json && !truncated => match parse_json(bytes) {
            Ok(value) => (Kind::Json, value),
            Err(_) => (Kind::Text, text().into()),
        },
        // No media type: text where it reads as one.
        As::Auto if content_type.is_none() && !looks_like_text(bytes) => return Ok(None),
        As::Auto | As::Text => (Kind::Text, text().into()),
        As::Json if truncated => {
            return Err(Error::too_large("the JSON was cut; ask for more with `max_bytes`"));
        }
        As::Json => (Kind::Json, parse_json(bytes)?),
        As::Base64 => (Kind::Base64, STANDARD.encode(bytes).into()),
        As::Blob => return Ok(None),
    }))
}

/// Whether bytes of unknown type are text: UTF-8 without NUL, its last character perhaps cut.
fn looks_like_text(bytes: &[u8]) -> bool {
    let cut = |error: std::str::Utf8Error| error.error_len().is_none();
    !bytes.contains(&0) && std::str::from_utf8(bytes).map_or_else(cut, |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], media_type: &str, wanted: As, expected: (Kind, Value)) {
        let media_type = media_type.parse().ok();
        let found = given(bytes, media_type.as_ref(), wanted, false).expect("given");
        assert_eq!(found, Some(expected), "{media_type:?}");
    }

    #[test]
    fn bodies_are_given_by_their_type() {
        let json = |value: Value| (Kind::Json, value);
        let text = |text: &str| (Kind::Text, Value::from(text));
        check(b"{\"a\":1}", "application/json", As::Auto, json(json!({ "a": 1 })));
        check(b"\xef\xbb\xbf[]", "application/problem+json; x=y", As::Auto, json(json!([])));
        check(b"{oops", "application/json", As::Auto, text("{oops"));
        check(b"7", "text/plain", As::Json, json(json!(7)));
        check(b"{\"a\":1}", "text/plain", As::Auto, text("{\"a\":1}"));
        check(b"caf\xe9", "text/plain; charset=iso-8859-1", As::Auto, text("café"));
        check(b"caf\xc3\xa9", "text/html", As::Auto, text("café"));
        check(b"\xff\xfea\0", "text/plain; charset=utf-8", As::Auto, text("a"));
        let xml = b"<?xml version=\"1.0\" encoding='ISO-8859-1'?><a>\xe9</a>";
        let read = "<?xml version=\"1.0\" encoding='ISO-8859-1'?><a>é</a>";
        check(xml, "application/atom+xml", As::Auto, text(read));
        check(b"no type", "", As::Auto, text("no type"));
        check(b"\x89PNG", "image/png", As::Base64, (Kind::Base64, "iVBORw==".into()));
        check(b"", "application/json", As::Auto, (Kind::None, Value::Null));
        check(b"", "text/plain", As::Text, text(""));
    }

    #[test]
    fn bytes_of_no_type_and_no_text_are_a_blob() {
        for bytes in [&b"\0\x01"[..], b"\xff\xd8\xff"] {
            assert_eq!(given(bytes, None, As::Auto, false), Ok(None));
        }
        for media_type in ["image/png", "application/octet-stream", "application/zip", "font/x"] {
            assert!(is_binary(media_type.parse().ok().as_ref()), "{media_type}");
        }
        for media_type in ["text/css", "image/svg+xml", "application/ld+json", "application/yaml"] {
            assert!(!is_binary(media_type.parse().ok().as_ref()), "{media_type}");
        }
    }

    #[test]
    fn what_was_cut_says_so() {
        let json = "application/json".parse().ok();
        let cut = given(b"{\"a\":[1,", json.as_ref(), As::Auto, true);
        assert_eq!(cut, Ok(Some((Kind::Text, "{\"a\":[1,".into()))));
        let error = given(b"[1", json.as_ref(), As::Json, true).expect_err("cut");
        assert_eq!(error.code, "too-large");
    }

    #[test]
    fn headers_that_repeat_are_joined() {
        let fields = [("Link", "a"), ("Set-Cookie", "x=1"), ("LINK", "b"), ("set-cookie", "y=2")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let joined = [("link", "a, b"), ("set-cookie", "x=1\ny=2")];
        let joined = joined.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(fields.into()), joined.into());
    }
}
