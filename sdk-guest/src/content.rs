//! Content as an argument, in whichever form the caller has it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BlobRef, Error, Result};

/// Padding at will, as people paste it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Content as an argument: a text, bytes as base64, or a blob.
///
/// ```
/// use ampoule_sdk::{Content, serde_json::{from_value, json}};
///
/// let text: Content = from_value(json!("hi"))?;
/// assert_eq!(text.bytes()?, b"hi");
/// let bytes: Content = from_value(json!({ "base64": "aGk" }))?;
/// assert_eq!(bytes.text()?, "hi");
/// # Ok::<(), ampoule_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(description = "A text, `{\"base64\": \"…\"}` for bytes, or `{\"$blob\": \"id\"}`.")]
pub enum Content {
    /// A text.
    Text(String),
    /// Bytes written as base64.
    Base64(Base64),
    /// Bytes kept as a blob.
    Blob(BlobRef),
}

/// Bytes in JSON: `{"base64": "…"}`, in the standard alphabet, padded or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(description = "Bytes.")]
pub struct Base64 {
    /// The bytes, in the standard alphabet.
    pub base64: String,
}

impl Base64 {
    /// Bytes, to put into a value.
    pub fn new(bytes: &[u8]) -> Base64 {
        Base64 { base64: base64::engine::general_purpose::STANDARD.encode(bytes) }
    }
}

impl Content {
    /// The content as bytes; a text as UTF-8.
    ///
    /// # Errors
    /// `bad-arguments` where base64 is not; `not-found` where the blob was not passed to this call.
    pub fn bytes(self) -> Result<Vec<u8>> {
        match self {
            Content::Text(text) => Ok(text.into_bytes()),
            Content::Base64(Base64 { base64 }) => BASE64
                .decode(base64)
                .map_err(|error| Error::bad_arguments(format!("`base64` is not: {error}"))),
            Content::Blob(blob) => Ok(blob.open()?.bytes()),
        }
    }

    /// The content as text, without a byte order mark.
    ///
    /// # Errors
    /// Those of [`Content::bytes`], and `invalid-data` where it is not UTF-8.
    pub fn text(self) -> Result<String> {
        let text = match self {
            Content::Text(text) => text,
            other => String::from_utf8(other.bytes()?).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                Error::invalid_data(format!("the content is not UTF-8 at byte {at}"))
            })?,
        };
        Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        })
    }

    /// The same content, where it is not too large: it is judged before it is read.
    ///
    /// ```
    /// use ampoule_sdk::Content;
    ///
    /// let content = Content::Text("hello".into());
    /// assert_eq!(content.clone().at_most(5)?.text()?, "hello");
    /// assert_eq!(content.at_most(4).unwrap_err().code, "too-large");
    /// # Ok::<(), ampoule_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// `too-large`; `not-found` where the blob was not passed to this call.
    pub fn at_most(self, max_bytes: u64) -> Result<Content> {
        let size = self.size()?;
        match size > max_bytes {
            true => Err(Error::too_large(format!(
                "the content has {size} bytes and may have {max_bytes}: pass a part of it"
            ))),
            false => Ok(self),
        }
    }

    /// Length of the text or blob in bytes, near enough to bound it before it is read.
    ///
    /// # Errors
    /// `not-found` where the blob was not passed to this call.
    pub fn size(&self) -> Result<u64> {
        Ok(match self {
            Content::Text(text) => text.len() as u64,
            Content::Base64(Base64 { base64 }) => (base64.len() / 4 * 3) as u64,
            Content::Blob(blob) => blob.open()?.size(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn every_form_is_read() {
        let read = |value| from_value::<Content>(value).unwrap();
        assert_eq!(read(json!("\u{feff}é")).text().unwrap(), "é");
        assert_eq!(read(json!({ "base64": "/w==" })).bytes().unwrap(), [0xff]);
        assert_eq!(read(json!({ "base64": "/w==" })).text().unwrap_err().code, "invalid-data");
        assert_eq!(read(json!({ "base64": "?" })).bytes().unwrap_err().code, "bad-arguments");
        assert!(matches!(read(json!({ "$blob": "x" })), Content::Blob(_)));
        assert!(from_value::<Content>(json!({ "base64": "", "x": 1 })).is_err());
        assert_eq!(serde_json::to_value(Base64::new(b"hi")).unwrap(), json!({ "base64": "aGk=" }));
    }
}
