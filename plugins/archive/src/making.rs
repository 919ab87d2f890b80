//! A zip made of contents and files.

use std::io::{Cursor, Write as _};

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, files};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::name::Names;

/// Bytes of all entries together.
const MAX_BYTES: u64 = 128 << 20;

/// What a zip is made of.
#[data]
pub(crate) struct Making {
    /// The entries, in the order in which they stand in the zip.
    #[schemars(length(min = 1, max = 5000))]
    entries: Vec<Source>,
    /// A file of the workspace to write the zip to. Default: it is a blob.
    #[schemars(length(min = 1, max = 1024))]
    file: Option<String>,
}

/// An entry of a zip that is made.
#[data]
pub(crate) struct Source {
    /// Its name in the zip: parts separated by `/`, no `..`.
    #[schemars(length(min = 1, max = 1024))]
    name: String,
    /// Its content. Give either `content` or `file`.
    content: Option<Content>,
    /// A file of the workspace that holds its content.
    #[schemars(length(min = 1, max = 1024))]
    file: Option<String>,
}

/// A zip that was made.
#[data]
pub(crate) struct Made {
    /// The zip, where no `file` was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// Where it is in the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Its size in bytes.
    size: u64,
    /// How many entries it has.
    entries: usize,
}

/// Make a zip (deflate) of contents and of files of the workspace, as a blob or as a file of the
/// workspace. The same entries make the same bytes: no times are written.
#[tool]
pub(crate) fn create(making: Making) -> Result<Output<Made>> {
    let Making { entries, file } = making;
    let count = entries.len();
    let mut names = Names::default();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(0o644);
    let mut left = MAX_BYTES;
    for Source { name, content, file } in entries {
        if name.ends_with('/') {
            return Err(Error::bad_arguments(format!(
                "the name {name:?} is that of a directory; those come into being with their files"
            )));
        }
        if let Some(problem) = names.judge(&name) {
            return Err(Error::bad_arguments(format!(
                "the name {name:?} will not do ({}): names are unique, relative, parts separated \
                 by `/`, without `.` and `..`",
                json!(problem).as_str().unwrap_or_default()
            )));
        }
        let size = match (&content, &file) {
            (Some(content), None) => content.size()?,
            (None, Some(file)) => files::stat(file)?.size,
            _ => {
                return Err(Error::bad_arguments(format!(
                    "{name:?} needs exactly one of `content` and `file`"
                )));
            }
        };
        left = left.checked_sub(size).ok_or_else(|| {
            Error::too_large(format!(
                "the entries together have more than {MAX_BYTES} bytes: make several archives"
            ))
        })?;
        let bytes = match (content, file) {
            (Some(content), _) => content.bytes()?,
            (_, Some(file)) => files::read(&file)?,
            (None, None) => Vec::new(),
        };
        writer.start_file(&name, options).or_code("internal")?;
        writer.write_all(&bytes).or_code("internal")?;
    }
    let zip = writer.finish().or_code("internal")?.into_inner();
    let size = zip.len() as u64;
    if let Some(path) = file {
        files::write(&path, &zip)?;
        return Ok(Output::new(Made { blob: None, path: Some(path), size, entries: count }));
    }
    let blob = blobs::store("application/zip", &zip)?;
    let block = Block::blob("file", "application/zip", blob.clone());
    let made = Made { blob: Some(blob), path: None, size, entries: count };
    Ok(Output::new(made).with_block(block))
}
