//! Text and its encodings.

use data_encoding::{BASE32, BASE64_NOPAD};
use jaq_core::Error;
use jaq_core::native::{bome, unary, v};
use jaq_json::Val;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Native, Result, list, text};

/// What `@uri` escapes: all but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn natives() -> Vec<Native> {
    vec![
        ("type", v(0), |cv| bome(Ok(Val::from(kind(&cv.1).to_owned())))),
        ("join", v(1), |cv| unary(cv, |items, separator| join(list(&items)?, text(&separator)?))),
        ("escape_html", v(0), |cv| bome(map(&cv.1, escape_html))),
        ("encode_uri", v(0), |cv| {
            bome(map(&cv.1, |text| utf8_percent_encode(text, RESERVED).to_string()))
        }),
        ("decode_uri", v(0), |cv| {
            bome(map(&cv.1, |text| percent_decode_str(text).decode_utf8_lossy().into_owned()))
        }),
        ("encode_base64", v(0), |cv| {
            bome(map(&cv.1, |text| data_encoding::BASE64.encode(text.as_bytes())))
        }),
        ("decode_base64", v(0), |cv| bome(decode(&cv.1, "base64", decode_base64))),
        ("encode_base32", v(0), |cv| bome(map(&cv.1, |text| BASE32.encode(text.as_bytes())))),
        ("decode_base32", v(0), |cv| {
            bome(decode(&cv.1, "base32", |text| BASE32.decode(text.as_bytes()).ok()))
        }),
    ]
}

fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "boolean",
        Val::Num(_) => "number",
        Val::TStr(_) | Val::BStr(_) => "string",
        Val::Arr(_) => "array",
        Val::Obj(_) => "object",
    }
}

/// The items as one text: null is empty, numbers and booleans are as in JSON.
fn join(items: &[Val], separator: &str) -> Result<Val> {
    let mut joined = String::new();
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            joined.push_str(separator);
        }
        match item {
            Val::Null => {}
            Val::Bool(_) | Val::Num(_) => joined.push_str(&item.to_string()),
            item => joined.push_str(text(item)?),
        }
    }
    Ok(joined.into())
}

fn map(value: &Val, function: impl Fn(&str) -> String) -> Result<Val> {
    Ok(function(text(value)?).into())
}

/// Decoded text; bytes that are no UTF-8 are replaced, as in jq.
fn decode(value: &Val, what: &str, decode: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Val> {
    let bytes = decode(text(value)?)
        .ok_or_else(|| Error::str(format_args!("{value} is not valid {what} data")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}

/// The padding may be left out.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(text.trim_end_matches('=').as_bytes()).ok()
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
