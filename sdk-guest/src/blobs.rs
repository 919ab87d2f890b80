//! Bytes too large for JSON. Open to everyone; a call may open the blobs that its arguments
//! named, that it made, or that a tool it called returned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bindings::ampoule::plugin::blobs as wit;
use crate::{Result, host};

/// A blob's name as arguments and values carry it: `{"$blob": "<id>"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(description = "A blob.")]
pub struct BlobRef {
    /// The id.
    #[serde(rename = "$blob")]
    pub id: String,
}

impl BlobRef {
    /// Opens the blob.
    ///
    /// # Errors
    /// `not-found` where there is none of this id or it was not passed to this call.
    pub fn open(&self) -> Result<Blob> {
        host::require("blobs")?;
        Ok(Blob(wit::open(&self.id)?))
    }
}

/// Bytes that do not change, open for reading.
#[derive(Debug)]
pub struct Blob(wit::Blob);

impl Blob {
    /// Its name, to put into a value or an argument.
    pub fn reference(&self) -> BlobRef {
        BlobRef { id: self.0.id() }
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Media type (RFC 6838), `application/octet-stream` where it is not known.
    pub fn media_type(&self) -> String {
        self.0.media_type()
    }

    /// At most `length` bytes from `offset`; fewer at the end or where the host cuts (1 MiB).
    pub fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        self.0.read(offset, length)
    }

    /// All its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let part = self.read(bytes.len() as u64, host::CHUNK);
            if part.is_empty() {
                return bytes;
            }
            bytes.extend(part);
        }
    }
}

/// A blob in the making.
#[derive(Debug)]
pub struct Writer(wit::Writer);

impl Writer {
    /// Appends.
    ///
    /// # Errors
    /// `conflict` after [`Writer::finish`].
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.0.write(data)?)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Those of the host.
    pub fn finish(self) -> Result<Blob> {
        Ok(Blob(self.0.finish()?))
    }
}

/// Begins a blob of a media type (RFC 6838).
///
/// # Errors
/// Those of the host.
pub fn create(media_type: &str) -> Result<Writer> {
    host::require("blobs")?;
    Ok(Writer(wit::create(media_type)?))
}

/// Makes a blob of these bytes.
///
/// # Errors
/// Those of the host.
pub fn store(media_type: &str, data: &[u8]) -> Result<BlobRef> {
    let mut writer = create(media_type)?;
    writer.write(data)?;
    Ok(writer.finish()?.reference())
}
