//! The body of a request, by its kind.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, serde_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fields::{encode_pairs, pairs};
use crate::multipart::{self, Part};

/// Bytes of a body that is put together here; a blob alone may be larger.
pub(crate) const MAX_BYTES: u64 = 24 << 20;

/// What to send.
#[data]
pub(crate) enum Body {
    /// Any JSON value, as `application/json`.
    Json(Value),
    /// A text, as `text/plain; charset=utf-8`.
    Text(String),
    /// An XML document, as `application/xml`.
    Xml(String),
    /// Fields, as `application/x-www-form-urlencoded`; a list is a field that stands several
    /// times.
    Form(Map<String, Value>),
    /// Fields and files, as `multipart/form-data`.
    Multipart(#[schemars(length(min = 1, max = 100))] Vec<Part>),
    /// Bytes in base64, as `application/octet-stream`.
    Base64(String),
    /// The bytes of a blob, as its own media type.
    Blob(BlobRef),
}

/// A body as it is sent.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Its media type.
    pub(crate) content_type: String,
    /// Whether no other media type will do.
    pub(crate) needs_content_type: bool,
    /// The bytes.
    pub(crate) content: Content,
    /// The fields of a form, which OAuth 1 signs one by one.
    pub(crate) form: Option<Vec<(String, String)>>,
}

/// Where the bytes of a body are.
#[derive(Debug)]
pub(crate) enum Content {
    /// Here.
    Bytes(Vec<u8>),
    /// In a blob; the host reads it.
    Blob(BlobRef),
}

impl Body {
    /// Brings it into the form in which it is sent.
    ///
    /// # Errors
    /// `bad-arguments`, `too-large`, and `not-found` for a blob that was not passed.
    pub(crate) fn encode(self) -> Result<Encoded> {
        let plain = |content_type: &str, bytes: Vec<u8>| Encoded {
            content_type: content_type.into(),
            needs_content_type: false,
            content: Content::Bytes(bytes),
            form: None,
        };
        Ok(match self {
            Body::Json(value) => plain("application/json", serde_json::to_vec(&value)?),
            Body::Text(text) => plain("text/plain; charset=utf-8", text.into_bytes()),
            Body::Xml(text) => plain("application/xml", text.into_bytes()),
            Body::Base64(text) => plain("application/octet-stream", decode("body", &text)?),
            Body::Form(fields) => {
                let form = pairs("body.form", &fields)?;
                let bytes = encode_pairs(&form).into_bytes();
                let content_type = "application/x-www-form-urlencoded";
                Encoded { form: Some(form), ..plain(content_type, bytes) }
            }
            Body::Multipart(parts) => {
                let (boundary, bytes) = multipart::write(parts)?;
                let content_type = format!("multipart/form-data; boundary={boundary}");
                Encoded { needs_content_type: true, ..plain(&content_type, bytes) }
            }
            Body::Blob(blob) => Encoded {
                content_type: blob.open()?.media_type(),
                needs_content_type: false,
                content: Content::Blob(blob),
                form: None,
            },
        })
    }
}

/// Bytes from base64, white space in it passed over.
///
/// # Errors
/// `bad-arguments`: it is none.
pub(crate) fn decode(what: &str, text: &str) -> Result<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD
        .decode(text)
        .map_err(|error| Error::bad_arguments(format!("`{what}.base64` is no base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(body: Value) -> Result<(String, String)> {
        let body: Body = serde_json::from_value(body).or_code("bad-arguments")?;
        let body = body.encode()?;
        let Content::Bytes(bytes) = body.content else { panic!("bytes") };
        Ok((body.content_type, String::from_utf8(bytes).expect("text")))
    }

    #[test]
    fn each_kind_has_its_type() {
        for (body, content_type, bytes) in [
            (json!({ "json": { "a": [1] } }), "application/json", r#"{"a":[1]}"#),
            (json!({ "json": null }), "application/json", "null"),
            (json!({ "text": "é" }), "text/plain; charset=utf-8", "é"),
            (json!({ "xml": "<a/>" }), "application/xml", "<a/>"),
            (json!({ "base64": "YW\nJj" }), "application/octet-stream", "abc"),
            (
                json!({ "form": { "q": "a b", "tag": ["x", "y"], "skip": null } }),
                "application/x-www-form-urlencoded",
                "q=a%20b&tag=x&tag=y",
            ),
        ] {
            assert_eq!(encoded(body), Ok((content_type.into(), bytes.into())));
        }
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for body in [
            json!({ "base64": "%" }),
            json!({ "form": { "a": { "b": 1 } } }),
            json!({ "form": [] }),
            json!({ "html": "<p>" }),
            json!({ "text": "a", "json": 1 }),
            json!("text"),
        ] {
            assert_eq!(encoded(body.clone()).expect_err("no body").code, "bad-arguments", "{body}");
        }
    }
}
