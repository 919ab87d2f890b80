//! Files of the run's workspace. Writes are staged by the host and kept only when the outermost
//! call succeeds; no path leads out of the workspace.

mod editing;
mod listing;
mod reading;
mod searching;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, files};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use editing::edit;
use listing::list;
use reading::read;
use searching::search;

/// A path.
#[data]
struct At {
    /// Relative to the workspace, parts separated by `/`.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
}

/// A file or directory.
#[data]
struct Entry {
    /// Its path.
    path: String,
    /// `file` or `directory`.
    kind: String,
    /// Length in bytes, 0 for a directory.
    size: u64,
    /// Last change, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_ms: Option<u64>,
}

impl From<files::Entry> for Entry {
    fn from(entry: files::Entry) -> Entry {
        let files::Entry { path, kind, size, modified_ms } = entry;
        Entry { path, kind, size, modified_ms }
    }
}

/// Say what is at a path: a file or a directory, its size and when it was changed last.
#[tool]
fn stat(at: At) -> Result<Entry> {
    Ok(files::stat(&at.path)?.into())
}

/// What to write.
#[data]
struct Writing {
    /// Relative to the workspace; directories above it are made.
    #[schemars(length(min = 1, max = 1024))]
    path: String,
    /// The content as text.
    text: Option<String>,
    /// The content as bytes, in base64.
    data: Option<String>,
    /// The content as a blob.
    blob: Option<BlobRef>,
    /// Add to the end instead of replacing the file.
    #[serde(default)]
    append: bool,
}

/// A file that was written.
#[data]
struct Written {
    /// Its path.
    path: String,
    /// Its length now, in bytes.
    size: u64,
}

/// Write a file, replacing it or adding to its end. Give exactly one of `text`, `data` and `blob`.
#[tool]
fn write(writing: Writing) -> Result<Written> {
    let Writing { path, text, data, blob, append } = writing;
    let bytes = match (text, data, blob) {
        (Some(text), None, None) => text.into_bytes(),
        (None, Some(data), None) => STANDARD.decode(data.trim()).or_code("bad-arguments")?,
        (None, None, Some(blob)) if !append => {
            files::from_blob(&path, &blob)?;
            return Ok(Written { size: files::stat(&path)?.size, path });
        }
        (None, None, Some(blob)) => blob.open()?.bytes(),
        _ => return Err(Error::bad_arguments("give exactly one of `text`, `data` and `blob`")),
    };
    match append {
        true => files::append(&path, bytes)?,
        false => files::write(&path, bytes)?,
    }
    Ok(Written { size: files::stat(&path)?.size, path })
}

/// Where a file goes.
#[data]
struct Renaming {
    /// Where it is.
    #[schemars(length(min = 1, max = 1024))]
    from: String,
    /// Where it shall be; nothing may be there.
    #[schemars(length(min = 1, max = 1024))]
    to: String,
}

/// Move a file. Fails with `conflict` where something is at the target.
#[tool]
fn rename(renaming: Renaming) -> Result<Entry> {
    files::rename(&renaming.from, &renaming.to)?;
    Ok(files::stat(&renaming.to)?.into())
}

/// Remove a file or an empty directory.
#[tool]
fn remove(at: At) -> Result<Entry> {
    let entry = files::stat(&at.path)?;
    files::remove(&at.path)?;
    Ok(entry.into())
}

ampoule_sdk::export!(read, stat, list, search, write, edit, rename, remove);

/// Every file below a directory, the deepest last, as long as `each` wants more.
fn walk(directory: &str, each: &mut impl FnMut(files::Entry) -> Result<bool>) -> Result<()> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut cursor = None;
        loop {
            let page = files::list(&directory, cursor.as_deref())?;
            for entry in page.entries {
                if entry.kind == "directory" {
                    directories.push(entry.path.clone());
                }
                if !each(entry)? {
                    return Ok(());
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}

/// A pattern of paths, such as `src/**/*.rs`; `*` stays within a part.
fn glob(pattern: Option<&str>) -> Result<Option<globset::GlobMatcher>> {
    let build = |pattern| globset::GlobBuilder::new(pattern).literal_separator(true).build();
    let built = pattern.map(build).transpose();
    Ok(built.or_code("bad-arguments")?.map(|glob| glob.compile_matcher()))
}
