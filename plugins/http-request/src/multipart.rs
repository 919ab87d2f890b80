//! `multipart/form-data` (RFC 7578), with names written as browsers write them (HTML, "Multipart
//! form data": `"` and line breaks percent-encoded).

use std::fmt::Write as _;

use ampoule_sdk::BlobRef;
use ampoule_sdk::prelude::*;
use sha1::{Digest, Sha1};

use crate::body::{MAX_BYTES, decode};

/// A field or file. It has one of `text`, `base64` and `blob`.
#[data]
pub(crate) struct Part {
    /// The name of the field.
    #[schemars(length(min = 1, max = 500))]
    name: String,
    /// Its value as text.
    text: Option<String>,
    /// Its value as bytes in base64.
    base64: Option<String>,
    /// Its value as a blob.
    blob: Option<BlobRef>,
    /// The name of the file, where it is one.
    #[schemars(length(min = 1, max = 500))]
    filename: Option<String>,
    /// The media type. Default: the blob's own, `application/octet-stream` for other bytes, none
    /// for text.
    #[schemars(length(min = 3, max = 200))]
    media_type: Option<String>,
}

/// The body of these parts, and the boundary between them.
///
/// # Errors
/// `bad-arguments` for a part with no value or several, `too-large`.
pub(crate) fn write(parts: Vec<Part>) -> Result<(String, Vec<u8>)> {
    let mut values = Vec::with_capacity(parts.len());
    let mut left = MAX_BYTES;
    for part in parts {
        let value = value(part, left)?;
        left = left.checked_sub(value.1.len() as u64).ok_or_else(too_large)?;
        values.push(value);
    }
    let boundary = boundary(values.iter().map(|(_, bytes)| bytes.as_slice()));
    let mut body = Vec::new();
    for (head, bytes) in values {
        body.extend(format!("--{boundary}\r\n{head}\r\n").into_bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    Ok((boundary, body))
}

/// The headers and the bytes of a part, of which at most `left` are read.
fn value(part: Part, left: u64) -> Result<(String, Vec<u8>)> {
    let Part { name, text, base64, blob, filename, media_type } = part;
    let bad = |what: &str| Error::bad_arguments(format!("the part `{name}` {what}"));
    let (usual, bytes) = match (text, base64, blob) {
        (Some(text), None, None) => (None, text.into_bytes()),
        (None, Some(text), None) => {
            (Some("application/octet-stream".to_owned()), decode("part", &text)?)
        }
        (None, None, Some(blob)) => {
            let blob = blob.open()?;
            if blob.size() > left {
                return Err(too_large());
            }
            (Some(blob.media_type()), blob.bytes())
        }
        _ => return Err(bad("has one of `text`, `base64` and `blob`")),
    };
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(&name));
    if let Some(filename) = filename {
        let _ = write!(head, "; filename=\"{}\"", quoted(&filename));
    }
    head.push_str("\r\n");
    if let Some(media_type) = media_type.or(usual) {
        if media_type.parse::<mime::Mime>().is_err() {
            return Err(bad("has a `media_type` that is none"));
        }
        let _ = write!(head, "Content-Type: {media_type}\r\n");
    }
    Ok((head, bytes))
}

fn too_large() -> Error {
    Error::too_large(format!("the parts have more than {} MiB together", MAX_BYTES >> 20))
}

fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// A boundary that stands in none of the parts: the digest of them all, which none of them can
/// have foreseen.
fn boundary<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let digest = parts.fold(Sha1::new(), |digest, bytes| digest.chain_update(bytes)).finalize();
    digest.iter().fold("ampoule-".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use ampoule_sdk::{block_on, serde_json, stream};

    use super::*;

    fn parts(parts: Value) -> Vec<Part> {
        serde_json::from_value(parts).expect("parts")
    }

    /// Name, file name, media type and content of a part.
    type Read = (String, Option<String>, Option<String>, Vec<u8>);

    /// What another implementation reads.
    fn read(parts: Vec<Part>) -> Vec<Read> {
        let (boundary, body) = write(parts).expect("written");
        let body = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        let mut reader = multer::Multipart::new(body, boundary);
        let mut found = Vec::new();
        block_on(async {
            while let Some(field) = reader.next_field().await.expect("a field") {
                let text = |text: Option<&str>| text.map(str::to_owned);
                let (name, file) = (text(field.name()), text(field.file_name()));
                let media_type = field.content_type().map(ToString::to_string);
                let bytes = field.bytes().await.expect("bytes").to_vec();
                found.push((name.expect("a name"), file, media_type, bytes));
            }
        });
        found
    }

    #[test]
    fn another_implementation_reads_it() {
        let read = read(parts(json!([
            { "name": "title", "text": "Grüße\r\n--x" },
            { "name": "file", "base64": "AAEC/w==", "filename": "a \"b\".bin" },
            { "name": "data", "text": "{}", "media_type": "application/json" }
        ])));
        let bytes = Some("application/octet-stream".to_owned());
        let json = Some("application/json".to_owned());
        assert_eq!(
            read,
            [
                ("title".into(), None, None, "Grüße\r\n--x".into()),
                ("file".into(), Some("a %22b%22.bin".into()), bytes, vec![0, 1, 2, 255]),
                ("data".into(), None, json, b"{}".to_vec()),
            ]
        );
    }

    #[test]
    fn the_boundary_follows_from_the_parts() {
        let one = boundary([&b"one"[..]].into_iter());
        assert_eq!(one, "ampoule-fe05bcdcdc4928012781a5f1a2a77cbb5398e106");
        // A part that names the boundary of another body is no end of its own.
        let text = format!("\r\n--{one}--\r\n");
        let read = read(parts(json!([{ "name": "a", "text": text }, { "name": "b", "text": "" }])));
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].3, text.as_bytes());
    }

    #[test]
    fn parts_are_checked() {
        for part in [
            json!({ "name": "a" }),
            json!({ "name": "a", "text": "x", "base64": "eA==" }),
            json!({ "name": "a", "base64": "!" }),
            json!({ "name": "a", "text": "x", "media_type": "text/html\r\nx: y" }),
        ] {
            let error = write(parts(json!([part]))).expect_err("refused");
            assert_eq!(error.code, "bad-arguments", "{part}");
        }
        let large = "x".repeat(MAX_BYTES as usize / 2 + 1);
        let two = json!([{ "name": "a", "text": large }, { "name": "b", "text": large }]);
        assert_eq!(write(parts(two)).expect_err("large").code, "too-large");
    }
}
