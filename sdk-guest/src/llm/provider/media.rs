//! Pictures, sounds and files in a message.

use crate::BlobRef;
use crate::llm::Part;
use crate::prelude::*;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Bytes of media that one request may carry: as JSON they are held three times over.
const MAX_BYTES: u64 = 12 << 20;

/// What a part holds.
#[derive(Debug, PartialEq)]
pub enum Media {
    /// Bytes.
    Inline {
        /// Media type.
        media_type: String,
        /// The bytes in base64.
        base64: String,
    },
    /// Where to find it, for the provider.
    Uri(String),
}

/// Reads the media of one request and counts their bytes.
#[derive(Debug, Default)]
pub struct MediaReader {
    bytes: u64,
}

impl MediaReader {
    /// What a part holds in `data`, `blob` or `uri`.
    ///
    /// # Errors
    /// `bad-arguments` where it holds none of them or lacks a media type, `too-large` above 12 MiB
    /// in the request, and those of the host for a blob.
    pub fn read(&mut self, part: &Part) -> Result<Media> {
        let kind = &part.kind;
        if let Some(uri) = &part.uri {
            return Ok(Media::Uri(uri.clone()));
        }
        let blob = part.blob.as_ref().map(|id| BlobRef { id: id.clone() }.open()).transpose()?;
        let size = match (&part.data, &blob) {
            (Some(data), _) => data.len() as u64,
            (None, Some(blob)) => blob.size(),
            (None, None) => {
                return Err(Error::bad_arguments(format!(
                    "a part of kind `{kind}` needs `data`, `blob` or `uri`"
                )));
            }
        };
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_BYTES {
            return Err(Error::too_large(format!(
                "the pictures and files of a request are at most {} MiB together; \
                 give larger ones as `uri`",
                MAX_BYTES >> 20
            )));
        }
        let media_type = part.media_type.clone();
        let media_type = media_type.or_else(|| blob.as_ref().map(|blob| blob.media_type()));
        let media_type = media_type.ok_or_else(|| {
            Error::bad_arguments(format!("a part of kind `{kind}` needs `media-type`"))
        })?;
        let base64 = match (&part.data, blob) {
            (Some(data), _) => BASE64_STANDARD.encode(data),
            (None, Some(blob)) => BASE64_STANDARD.encode(blob.bytes()),
            (None, None) => String::new(),
        };
        Ok(Media::Inline { media_type, base64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(part: Part) -> Result<Media> {
        MediaReader::default().read(&Part { kind: "image".into(), ..part })
    }

    #[test]
    fn bytes_become_base64_and_addresses_stay() {
        let png = Part {
            media_type: Some("image/png".into()),
            data: Some(b"\x89PNG".to_vec()),
            ..Part::default()
        };
        let inline = Media::Inline { media_type: "image/png".into(), base64: "iVBORw==".into() };
        assert_eq!(image(png.clone()), Ok(inline));
        let uri = Part { uri: Some("https://x.test/a.png".into()), ..Part::default() };
        assert_eq!(image(uri), Ok(Media::Uri("https://x.test/a.png".into())));
        assert_eq!(image(Part::default()).unwrap_err().code, "bad-arguments");
        assert_eq!(image(Part { media_type: None, ..png }).unwrap_err().code, "bad-arguments");
    }

    #[test]
    fn all_media_of_a_request_are_counted() {
        let mut reader = MediaReader::default();
        let part = Part {
            kind: "file".into(),
            media_type: Some("application/pdf".into()),
            data: Some(vec![0; 7 << 20]),
            ..Part::default()
        };
        assert!(reader.read(&part).is_ok());
        assert_eq!(reader.read(&part).unwrap_err().code, "too-large");
    }
}
