//! Entries of an archive as blobs, texts or files.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, files, from_cursor};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::bounds::Bounds;
use crate::default_ratio;
use crate::name::{Problem, judge};
use crate::read::{Format, Kind, Opener, source, walk};

/// Bytes of all texts of an answer.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// An archive and what to extract.
#[data]
pub(crate) struct Extraction {
    /// The archive. Give either `archive` or `file`.
    archive: Option<Content>,
    /// The archive as a file of the workspace.
    #[schemars(length(min = 1, max = 1024))]
    file: Option<String>,
    /// What it is. Default: as its first bytes say.
    format: Option<Format>,
    /// Which files: names as `list` gives them, or patterns (`*` stays within a part, `**` does
    /// not, such as `docs/**/*.md`). Default: all.
    #[serde(default)]
    #[schemars(length(max = 200), inner(length(min = 1, max = 1024)))]
    entries: Vec<String>,
    /// As what.
    #[serde(default)]
    to: Target,
    /// The directory of the workspace that files go to, where `to` is `files`. Default: the
    /// workspace itself.
    #[schemars(length(max = 1024))]
    directory: Option<String>,
    /// Replace files that are there already. Without it they are left, and reported.
    #[serde(default)]
    overwrite: bool,
    /// Bytes to extract at most, all together. Default: 64 MiB.
    #[serde(default = "default_bytes")]
    #[schemars(range(min = 1, max = 268_435_456))]
    max_bytes: u64,
    /// How many times larger than its compressed form an entry may be.
    #[serde(default = "default_ratio")]
    #[schemars(range(min = 1, max = 10_000))]
    max_ratio: u64,
    /// How many entries to extract at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 5000))]
    limit: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
}

fn default_bytes() -> u64 {
    64 << 20
}

fn default_limit() -> usize {
    500
}

/// As what entries are extracted.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Target {
    /// Blobs.
    #[default]
    Blobs,
    /// Texts in the answer; what is no UTF-8 is reported.
    Texts,
    /// Files of the workspace.
    Files,
}

/// An entry that was extracted, or why it was not.
#[data]
pub(crate) struct Extracted {
    /// Its name in the archive.
    name: String,
    /// Its size in bytes, where it was extracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Its content as a blob.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// Its content as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Where it is in the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// What is wrong with it: the problems of `list`, `not-text`, `exists`. Where `size` is absent
    /// it was not extracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Extract files from an archive (zip, tar, tar.gz, gzip) as blobs, as texts, or into the
/// workspace: all, by name or by pattern. Nothing is written outside of `directory`; links,
/// encrypted and badly named entries are reported with a `problem` instead. Directories come into
/// being with the files in them.
#[tool]
pub(crate) fn extract(extraction: Extraction) -> Result<Output<Vec<Extracted>>> {
    let Extraction {
        archive,
        file,
        format,
        entries,
        to,
        directory,
        overwrite,
        max_bytes,
        max_ratio,
        limit,
        cursor,
    } = extraction;
    let wanted = Wanted::new(entries)?;
    let directory = match (directory, to) {
        (None, _) => String::new(),
        (Some(_), Target::Blobs | Target::Texts) => {
            return Err(Error::bad_arguments("`directory` is for `to: \"files\"`"));
        }
        (Some(directory), Target::Files) => directory.trim_end_matches('/').to_owned(),
    };
    if !directory.is_empty() && judge(&directory).is_some() {
        return Err(Error::bad_arguments(
            "`directory` is no path in the workspace: parts separated by `/`, without `.` and `..`",
        ));
    }
    let from: usize = from_cursor(cursor.as_deref())?.unwrap_or(0);
    let bytes = source(archive, file)?;
    let bounds = Bounds::new(max_bytes, max_ratio);
    let mut extracted = Vec::new();
    let mut text_left = MAX_TEXT_BYTES;
    let mut position = 0;
    let mut more = false;
    walk(&bytes, format, &bounds, &mut |entry, opener| {
        if entry.kind == Kind::Directory || !wanted.has(&entry.name) {
            return Ok(true);
        }
        position += 1;
        if position <= from {
            return Ok(true);
        }
        if extracted.len() == limit {
            more = true;
            return Ok(false);
        }
        let mut result = Extracted {
            problem: entry.problem.map(name_of).transpose()?,
            name: entry.name,
            size: None,
            blob: None,
            text: None,
            path: None,
        };
        let passes = |problem: Problem| to != Target::Files && problem.is_name();
        if entry.problem.is_none_or(passes) {
            match to {
                Target::Blobs => result.fill_blob(opener)?,
                Target::Texts => result.fill_text(opener, &mut text_left)?,
                Target::Files => result.write_file(opener, &directory, overwrite)?,
            }
        }
        extracted.push(result);
        Ok(true)
    })?;
    if position == 0 && !wanted.0.is_empty() {
        return Err(Error::not_found(
            "no file of the archive has one of these names: see the tool `list`",
        ));
    }
    let next = more.then(|| (from + limit).to_string());
    Ok(Output::new(extracted).with_truncated(more).with_next(next))
}

/// A problem as it is written.
fn name_of(problem: Problem) -> Result<String> {
    Ok(ampoule_sdk::serde_json::from_value(json!(problem))?)
}

impl Extracted {
    fn fill_blob(&mut self, opener: &mut dyn Opener) -> Result<()> {
        let mut writer = blobs::create("application/octet-stream")?;
        opener.copy(&mut |part| writer.write(part))?;
        let blob = writer.finish()?;
        self.size = Some(blob.size());
        self.blob = Some(blob.reference());
        Ok(())
    }

    fn fill_text(&mut self, opener: &mut dyn Opener, left: &mut usize) -> Result<()> {
        let mut bytes = Vec::new();
        opener.copy(&mut |part| {
            *left = left.checked_sub(part.len()).ok_or_else(|| {
                Error::too_large(format!(
                    "the texts together have more than {MAX_TEXT_BYTES} bytes: extract to `blobs`, \
                     or fewer entries at once"
                ))
            })?;
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.size = Some(text.len() as u64);
                self.text = Some(text);
            }
            Err(_) => self.problem = Some("not-text".into()),
        }
        Ok(())
    }

    fn write_file(
        &mut self,
        opener: &mut dyn Opener,
        directory: &str,
        overwrite: bool,
    ) -> Result<()> {
        let path = match directory {
            "" => self.name.clone(),
            directory => format!("{directory}/{}", self.name),
        };
        match files::stat(&path) {
            Ok(there) if !overwrite || there.kind == "directory" => {
                self.problem = Some("exists".into());
                return Ok(());
            }
            Err(error) if error.code != "not-found" => return Err(error),
            _ => {}
        }
        files::write(&path, [])?;
        let mut size = 0;
        opener.copy(&mut |part| {
            size += part.len() as u64;
            files::append(&path, part)
        })?;
        self.size = Some(size);
        self.path = Some(path);
        Ok(())
    }
}

/// Which entries are wanted: names, and patterns of them. None stand for all.
struct Wanted(Vec<String>, GlobSet);

impl Wanted {
    fn new(entries: Vec<String>) -> Result<Wanted> {
        let mut patterns = GlobSetBuilder::new();
        for entry in &entries {
            match GlobBuilder::new(entry).literal_separator(true).build() {
                Ok(pattern) => {
                    patterns.add(pattern);
                }
                // It may be a name all the same.
                Err(_) if !entry.contains(['*', '?']) => {}
                Err(error) => {
                    return Err(Error::bad_arguments(format!(
                        "`entries` has {entry:?}, no name or pattern: {}",
                        error.kind()
                    )));
                }
            }
        }
        let patterns = patterns
            .build()
            .map_err(|error| Error::bad_arguments(format!("`entries` are too many: {error}")))?;
        Ok(Wanted(entries, patterns))
    }

    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|entry| entry == name) || self.1.is_match(name)
    }
}
