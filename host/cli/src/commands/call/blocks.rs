//! What a tool answers in bytes: kept in a folder, or described.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ampoule::{Blobs, Block, Output};
use serde::Serialize;
use serde_json::Value;

use crate::exit::{Failure, file_error};
use crate::render;

/// The most files that are written for one answer.
const MAX_FILES: usize = 10_000;

/// Where bytes are kept, if they are.
pub(in crate::commands) struct Kept {
    folder: Option<PathBuf>,
    blobs: Blobs,
}

/// A file that was written.
#[derive(Serialize)]
pub(in crate::commands) struct KeptFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Its media type, as the tool has it.
    #[serde(rename = "media-type")]
    media_type: Option<String>,
    /// The id of the blob it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
}

impl Kept {
    pub(in crate::commands) fn new(folder: Option<PathBuf>, blobs: Blobs) -> Kept {
        Kept { folder, blobs }
    }

    /// Whether anything is kept.
    pub(super) fn keeps(&self) -> bool {
        self.folder.is_some()
    }

    /// A block that is no text, in a line.
    pub(super) fn describe(&self, block: &Block) -> String {
        let blob = block.blob.as_ref().and_then(|id| self.blobs.get(id));
        let described = render::describe(block, blob.map(|blob| blob.data.len() as u64));
        match block.uri {
            Some(_) => described,
            None => format!("{described} (--out DIR keeps it)"),
        }
    }

    /// Writes the bytes of an answer's blocks, and of the blobs its value names, where they are to
    /// be kept.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(in crate::commands) fn files(&self, output: &Output) -> Result<Vec<KeptFile>, Failure> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let mut ids: Vec<&str> = Vec::new();
        if let Some(value) = &output.value {
            each_blob(value, &mut ids);
        }
        let mut files = Vec::new();
        for block in &output.blocks {
            if let Some(data) = &block.data {
                files.push(keep(folder, data, block.media_type.as_deref(), None)?);
            }
            ids.extend(block.blob.as_deref());
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids.into_iter().take(MAX_FILES) {
            if let Some(blob) = self.blobs.get(id) {
                files.push(keep(folder, &blob.data, Some(&blob.media_type), Some(id))?);
            }
        }
        Ok(files)
    }
}

/// The blobs that a value names: `{"$blob": "<id>"}`.
fn each_blob<'a>(value: &'a Value, ids: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_blob(item, ids)),
        Value::Object(fields) => {
            ids.extend(fields.get("$blob").and_then(Value::as_str));
            fields.values().for_each(|field| each_blob(field, ids));
        }
        _ => {}
    }
}

/// Writes a new file. Its name is ours: what a plugin would call it is not to be trusted.
fn keep(
    folder: &Path,
    data: &[u8],
    media_type: Option<&str>,
    blob: Option<&str>,
) -> Result<KeptFile, Failure> {
    let ending = ending(media_type.unwrap_or_default());
    for n in 1..=MAX_FILES {
        let path = folder.join(format!("block-{n}.{ending}"));
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(file_error(&path)(error)),
        };
        file.write_all(data).map_err(file_error(&path))?;
        return Ok(KeptFile {
            path,
            size: data.len() as u64,
            media_type: media_type.map(|media_type| render::one_line(media_type, 80)),
            blob: blob.map(str::to_owned),
        });
    }
    Err(Failure::configuration(format!("{}: there are too many files in it", folder.display())))
}

/// How a file of a media type ends.
fn ending(media_type: &str) -> &'static str {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/gzip" => "gz",
        "application/json" => "json",
        "application/pdf" => "pdf",
        "application/xml" | "text/xml" => "xml",
        "application/zip" => "zip",
        "audio/mpeg" => "mp3",
        "audio/wav" => "wav",
        "image/gif" => "gif",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/svg+xml" => "svg",
        "image/webp" => "webp",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "text/plain" => "txt",
        "video/mp4" => "mp4",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule::Blob;
    use serde_json::json;

    #[test]
    fn bytes_of_blocks_and_blobs_are_kept_beside_what_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("block-1.png"), "mine").expect("written");
        let blobs = Blobs::default();
        let blob = Blob { media_type: "text/plain; charset=utf-8".into(), data: "hi".into() };
        blobs.insert("id-1".into(), blob);
        let kept = Kept::new(Some(folder.path().to_owned()), blobs);
        let png = Block {
            kind: "image".into(),
            media_type: Some("image/png".into()),
            data: Some(vec![1, 2, 3]),
            ..Block::default()
        };
        let value = json!({"a": [{"$blob": "id-1"}, {"$blob": "unknown"}]});
        let output = Output { blocks: vec![png], ..Output::value(value) };
        let files = kept.files(&output).expect("kept");
        let names: Vec<_> = files.iter().filter_map(|file| file.path.file_name()).collect();
        assert_eq!(names, ["block-2.png", "block-1.txt"]);
        assert_eq!(fs::read(&files[0].path).expect("read"), [1, 2, 3]);
        assert_eq!(fs::read(folder.path().join("block-1.png")).expect("read"), b"mine");
    }

    #[test]
    fn a_block_that_is_not_kept_is_described() {
        let kept = Kept::new(None, Blobs::default());
        assert!(kept.files(&Output::default()).expect("nothing to keep").is_empty());
        let block = Block { kind: "image".into(), data: Some(vec![0; 3]), ..Block::default() };
        assert_eq!(kept.describe(&block), "image, 3 B (--out DIR keeps it)");
    }
}
