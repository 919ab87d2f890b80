//! Bodies of HTTP answers: what they are by their media types, and how they are read.

mod charset;

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, Weight, blobs, number, serde_json};
use mime::Mime;

pub use charset::decode;

/// How deep JSON may be nested to be given parsed; the host refuses deeper answers.
const MAX_DEPTH: usize = 90;

/// How many values JSON may have to be given parsed.
const MAX_VALUES: usize = 500_000;

/// Whether a media type is JSON or built on it.
pub fn is_json(media_type: &Mime) -> bool {
    media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON)
}

/// Whether a media type is XML or built on it.
pub fn is_xml(media_type: &Mime) -> bool {
    media_type.subtype() == mime::XML || media_type.suffix() == Some(mime::XML)
}

/// Whether a media type is text; JSON is not.
pub fn is_text(media_type: &Mime) -> bool {
    media_type.type_() == mime::TEXT
        || is_xml(media_type)
        || matches!(
            media_type.essence_str(),
            "application/javascript"
                | "application/ecmascript"
                | "application/graphql"
                | "application/sql"
                | "application/toml"
                | "application/x-ndjson"
                | "application/jsonl"
                | "application/json-seq"
                | "application/x-www-form-urlencoded"
                | "application/yaml"
                | "application/x-yaml"
        )
}

/// A body as JSON, integers beyond 2^53 as text.
///
/// # Errors
/// `invalid-data`, and `too-large` for more depth or values than an answer may have.
pub fn parse_json(bytes: &[u8]) -> Result<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut value = serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid_data(format!("the answer is no JSON: {error}")))?;
    let weight = Weight::of(&value);
    if weight.depth > MAX_DEPTH || weight.values > MAX_VALUES {
        return Err(Error::too_large(format!(
            "the JSON is deeper than {MAX_DEPTH} or has more than {MAX_VALUES} values; ask for \
             it as `text` or `blob`"
        )));
    }
    number::make_exact(&mut value);
    Ok(value)
}

/// The rest of a body as a blob, chunk by chunk; `None` where it is empty.
///
/// # Errors
/// `unavailable` or `timeout` where it breaks off; a limit on blobs.
pub async fn store(response: &mut Response, media_type: &str) -> Result<Option<BlobRef>> {
    let mut writer = blobs::create(media_type)?;
    let mut empty = true;
    while let Some(chunk) = response.chunk().await? {
        empty = false;
        writer.write(&chunk)?;
    }
    if empty { Ok(None) } else { Ok(Some(writer.finish()?.reference())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_apart() {
        for (media_type, json, text) in [
            ("application/json", true, false),
            ("application/problem+json; x=y", true, false),
            ("text/css", false, true),
            ("image/svg+xml", false, true),
            ("application/yaml", false, true),
            ("image/png", false, false),
            ("application/octet-stream", false, false),
        ] {
            let media_type = media_type.parse().expect("a media type");
            assert_eq!((is_json(&media_type), is_text(&media_type)), (json, text), "{media_type}");
        }
    }

    #[test]
    fn json_is_bounded_and_its_numbers_are_kept() {
        let value = parse_json(b"\xef\xbb\xbf[9007199254740992, -9007199254740993, 0.1]");
        assert_eq!(value, Ok(json!([9_007_199_254_740_992_u64, "-9007199254740993", 0.1])));
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse_json(deep(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse_json(deep(MAX_DEPTH + 1).as_bytes()).expect_err("deep").code, "too-large");
        assert_eq!(parse_json(deep(10_000).as_bytes()).expect_err("deep").code, "invalid-data");
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse_json(many.as_bytes()).expect_err("many").code, "too-large");
        for junk in [&b""[..], b"{", b"\xff", b"nan", b"[1]x"] {
            assert_eq!(parse_json(junk).expect_err("junk").code, "invalid-data");
        }
    }
}
