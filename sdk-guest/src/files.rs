//! The run's workspace, a directory. Capability `files`: `read` or `read-write`.
//!
//! Paths are relative, separated by `/`, without `.`, `..`, empty parts or control characters, at
//! most 1,024 bytes. Writes are staged: this call and the tools it calls see them at once, the
//! directory sees them when the outermost call succeeds.
//!
//! Every function answers `denied` without the capability and `not-found` where nothing is.

pub use crate::bindings::ampoule::plugin::files::{Entry, Page};

use crate::bindings::ampoule::plugin::files;
use crate::{BlobRef, Result, host};

/// What is at `path`.
///
/// # Errors
/// `not-found`, `denied`.
pub fn stat(path: &str) -> Result<Entry> {
    host::require("files")?;
    Ok(files::stat(path)?)
}

/// The entries of a directory (`""` is the workspace itself), at most 1,000 at once; pass
/// [`Page::next`] as `cursor` to go on.
///
/// # Errors
/// `not-found`, `denied`.
pub fn list(path: &str, cursor: Option<&str>) -> Result<Page> {
    host::require("files")?;
    Ok(files::list(path, cursor)?)
}

/// A whole file.
///
/// # Errors
/// `not-found`, `denied`.
pub fn read(path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let part = read_at(path, bytes.len() as u64, host::CHUNK)?;
        if part.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(part);
    }
}

/// A whole file as text.
///
/// # Errors
/// `invalid-data` where it is not UTF-8; `not-found`, `denied`.
pub fn read_to_string(path: &str) -> Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| crate::Error::invalid_data(format!("`{path}` is not UTF-8 text")))
}

/// At most `length` bytes from `offset`; fewer at the end or where the host cuts (1 MiB), none
/// beyond the end.
///
/// # Errors
/// `not-found`, `denied`.
pub fn read_at(path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
    host::require("files")?;
    Ok(files::read(path, offset, length)?)
}

/// Replaces a file, making the directories above it.
///
/// # Errors
/// `denied`.
pub fn write(path: &str, data: impl AsRef<[u8]>) -> Result<()> {
    host::require("files")?;
    Ok(files::write(path, data.as_ref())?)
}

/// Appends to a file, making it where it is not there.
///
/// # Errors
/// `denied`.
pub fn append(path: &str, data: impl AsRef<[u8]>) -> Result<()> {
    host::require("files")?;
    Ok(files::append(path, data.as_ref())?)
}

/// Removes a file, or an empty directory.
///
/// # Errors
/// `not-found`, `denied`.
pub fn remove(path: &str) -> Result<()> {
    host::require("files")?;
    Ok(files::remove(path)?)
}

/// Moves a file.
///
/// # Errors
/// `conflict` where the target exists; `not-found`, `denied`.
pub fn rename(from: &str, to: &str) -> Result<()> {
    host::require("files")?;
    Ok(files::rename(from, to)?)
}

/// Copies a file into a blob.
///
/// # Errors
/// `not-found`, `denied`.
pub fn to_blob(path: &str, media_type: Option<&str>) -> Result<BlobRef> {
    host::require("files")?;
    Ok(BlobRef { id: files::to_blob(path, media_type)? })
}

/// Replaces a file by a blob's bytes.
///
/// # Errors
/// `not-found` where the blob is not this call's, `denied`.
pub fn from_blob(path: &str, blob: &BlobRef) -> Result<()> {
    host::require("files")?;
    Ok(files::from_blob(path, &blob.id)?)
}
