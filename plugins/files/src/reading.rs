//! `read`: a file, or a part of it.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{files, from_cursor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes that are read where nobody says how many.
const USUAL: u64 = 256 << 10;

/// What to read.
#[data]
pub(crate) struct Reading {
    /// Relative to the workspace, parts separated by `/`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// Where to begin, in bytes.
    #[serde(default)]
    offset: u64,
    /// How many bytes at most. Default: 256 KiB.
    #[schemars(range(min = 1, max = 4_194_304))]
    length: Option<u64>,
    /// As what to give them.
    #[serde(default)]
    encoding: Encoding,
    /// Where an earlier answer ended: its `next`. Replaces `offset`.
    cursor: Option<String>,
}

/// As what to give bytes.
#[data]
#[derive(Copy, Default)]
pub(crate) enum Encoding {
    /// As UTF-8 text.
    #[default]
    Text,
    /// In base64.
    Base64,
}

/// A file, or a part of it.
#[data]
pub(crate) struct Part {
    /// Its path.
    path: String,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Length of the whole file, in bytes.
    size: u64,
}

/// Read a file, or a part of it. What is too long is cut; pass the answer's `next` as `cursor` to
/// go on.
#[tool]
pub(crate) fn read(reading: Reading) -> Result<Output<Part>> {
    let Reading { path, offset, length, encoding, cursor } = reading;
    let offset = from_cursor(cursor.as_deref())?.unwrap_or(offset);
    let size = files::stat(&path)?.size;
    let wanted = length.unwrap_or(USUAL).min(size.saturating_sub(offset));
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < wanted {
        let read = bytes.len() as u64;
        let part = files::read_at(&path, offset + read, wanted - read)?;
        if part.is_empty() {
            break;
        }
        bytes.extend(part);
    }
    let more = offset + (bytes.len() as u64) < size;
    let (text, data, taken) = match encoding {
        Encoding::Base64 => (None, Some(STANDARD.encode(&bytes)), bytes.len()),
        Encoding::Text => {
            let (text, taken) = as_text(bytes, more).ok_or_else(|| {
                Error::invalid_data(format!(
                    "`{path}` is not UTF-8 text; read it with \"encoding\": \"base64\""
                ))
            })?;
            (Some(text), None, taken)
        }
    };
    let next = more.then(|| (offset + taken as u64).to_string());
    Ok(Output::new(Part { path, text, data, size }).with_truncated(more).with_next(next))
}

/// Bytes as text; where `more` follows, a character cut in two at the end is left for later.
fn as_text(mut bytes: Vec<u8>, more: bool) -> Option<(String, usize)> {
    if let Err(error) = std::str::from_utf8(&bytes) {
        if !more || error.error_len().is_some() || error.valid_up_to() == 0 {
            return None;
        }
        bytes.truncate(error.valid_up_to());
    }
    let taken = bytes.len();
    Some((String::from_utf8(bytes).ok()?, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_cut_in_two() {
        let euro = "a€".as_bytes();
        assert_eq!(as_text(euro.to_vec(), false), Some(("a€".into(), 4)));
        assert_eq!(as_text(euro[..3].to_vec(), true), Some(("a".into(), 1)));
        assert_eq!(as_text(euro[..3].to_vec(), false), None);
        assert_eq!(as_text(vec![b'a', 0xff, b'b'], true), None);
        assert_eq!(as_text(vec![], true), Some((String::new(), 0)));
    }
}
