//! The answer to a request: its body as JSON, text, base64 or a blob.

use std::collections::BTreeMap;

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{blobs, serde_json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, UTF_8};
use mime::Mime;

/// How deep JSON may be nested to be given parsed; the host refuses deeper answers.
const MAX_DEPTH: usize = 90;

/// How many values JSON may have to be given parsed.
const MAX_VALUES: usize = 500_000;

/// The largest integer that every reader of JSON keeps: 2^53.
const MAX_INTEGER: u64 = 1 << 53;

/// Bytes in which an XML document declares its encoding.
const DECLARATION_BYTES: usize = 200;

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
        let blob = store(&mut response, media_type.unwrap_or("application/octet-stream")).await?;
        (Kind::Blob, blob, response.truncated())
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

/// The rest of a body as a blob, chunk by chunk.
async fn store(response: &mut Response, media_type: &str) -> Result<Value> {
    let mut writer = blobs::create(media_type)?;
    while let Some(chunk) = response.chunk().await? {
        writer.write(&chunk)?;
    }
    Ok(serde_json::to_value(writer.finish()?.reference())?)
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

fn is_json(media_type: &Mime) -> bool {
    media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON)
}

fn is_xml(media_type: &Mime) -> bool {
    media_type.subtype() == mime::XML || media_type.suffix() == Some(mime::XML)
}

fn is_text(media_type: &Mime) -> bool {
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
    let text = || decode(bytes, content_type, truncated);
    let json = content_type.is_some_and(is_json);
    Ok(Some(match wanted {
        As::Auto | As::Blob if bytes.is_empty() => (Kind::None, Value::Null),
        As::Auto if json && !truncated => match parse(bytes) {
            Ok(value) => (Kind::Json, value),
            Err(_) => (Kind::Text, text().into()),
        },
        // No media type: text where it reads as one.
        As::Auto if content_type.is_none() && !looks_like_text(bytes) => return Ok(None),
        As::Auto | As::Text => (Kind::Text, text().into()),
        As::Json if truncated => {
            return Err(Error::too_large("the JSON was cut; ask for more with `max_bytes`"));
        }
        As::Json => (Kind::Json, parse(bytes)?),
        As::Base64 => (Kind::Base64, STANDARD.encode(bytes).into()),
        As::Blob => return Ok(None),
    }))
}

/// Whether bytes of unknown type are text: UTF-8 without NUL, its last character perhaps cut.
fn looks_like_text(bytes: &[u8]) -> bool {
    let cut = |error: std::str::Utf8Error| error.error_len().is_none();
    !bytes.contains(&0) && std::str::from_utf8(bytes).map_or_else(cut, |_| true)
}

/// Bytes as text: by a byte order mark, the media type, an XML declaration, else as UTF-8. What
/// cannot be read becomes U+FFFD; a character that was cut in two at the end is left out.
fn decode(bytes: &[u8], content_type: Option<&Mime>, truncated: bool) -> String {
    let named = content_type.and_then(|media_type| media_type.get_param(mime::CHARSET));
    let encoding = named
        .and_then(|name| Encoding::for_label(name.as_str().as_bytes()))
        .or_else(|| content_type.filter(|media_type| is_xml(media_type)).and(declared(bytes)))
        .unwrap_or(UTF_8);
    let mut decoder = encoding.new_decoder();
    let length = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default();
    let mut text = String::with_capacity(length);
    // The text has room for all of it, so that one call reads it all.
    let _ = decoder.decode_to_string(bytes, &mut text, !truncated);
    text
}

/// The encoding an XML declaration names.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(DECLARATION_BYTES)];
    let head = String::from_utf8_lossy(head.strip_prefix(b"<?xml")?);
    let (declaration, _) = head.split_once("?>")?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    Encoding::for_label(value[1..].split_once(quote)?.0.as_bytes())
}

/// A body as JSON.
///
/// # Errors
/// `invalid-data`, and `too-large` for more depth or values than an answer may have.
fn parse(bytes: &[u8]) -> Result<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut value = serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid_data(format!("the answer is no JSON: {error}")))?;
    let mut left = MAX_VALUES;
    match tidy(&mut value, MAX_DEPTH, &mut left) {
        true => Ok(value),
        false => Err(Error::too_large(format!(
            "the JSON is deeper than {MAX_DEPTH} or has more than {MAX_VALUES} values; ask for \
             it as `text` or `blob`"
        ))),
    }
}

/// Writes integers beyond 2^53 as text, and tells whether the bounds hold.
fn tidy(value: &mut Value, depth: usize, left: &mut usize) -> bool {
    if depth == 0 || *left == 0 {
        return false;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().all(|item| tidy(item, depth - 1, left)),
        Value::Object(fields) => fields.values_mut().all(|field| tidy(field, depth - 1, left)),
        Value::Number(number) => {
            let magnitude = number.as_u64().or(number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_some_and(|magnitude| magnitude > MAX_INTEGER) {
                *value = number.to_string().into();
            }
            true
        }
        _ => true,
    }
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
        // Half a character at the cut is left out, elsewhere it is a replacement.
        assert_eq!(decode(b"a\xe2\x82", None, true), "a");
        assert_eq!(decode(b"a\xe2\x82", None, false), "a\u{fffd}");
    }

    #[test]
    fn json_is_bounded_and_its_numbers_are_kept() {
        let value = parse(b"[9007199254740992, 9007199254740993, -9007199254740993, 0.1]");
        let kept = json!([9_007_199_254_740_992_u64, "9007199254740993", "-9007199254740993", 0.1]);
        assert_eq!(value, Ok(kept));
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(deep(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(deep(MAX_DEPTH + 1).as_bytes()).expect_err("deep").code, "too-large");
        assert_eq!(parse(deep(10_000).as_bytes()).expect_err("deep").code, "invalid-data");
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse(many.as_bytes()).expect_err("many").code, "too-large");
        for junk in [&b""[..], b"{", b"\xff", b"nan", b"[1]x"] {
            assert_eq!(parse(junk).expect_err("junk").code, "invalid-data");
        }
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
