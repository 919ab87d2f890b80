//! Zip.

use std::io::Cursor;

use ampoule_sdk::prelude::*;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;
use zip::{CompressionMethod, ZipReadOptions};

use crate::bounds::Bounds;
use crate::name::{Names, Problem};
use crate::read::{Entry, Kind, MAX_ENTRIES, Opener, Visit, copy};

struct File<'a> {
    archive: &'a [u8],
    /// Until it is read.
    entry: Option<ZipFileEntry<'static>>,
    bounds: &'a Bounds,
    name: String,
}

impl Opener for File<'_> {
    fn copy(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Some(entry) = self.entry.take() else { return Ok(()) };
        let what = format!("`{}`", self.name);
        let mut cursor = Cursor::new(self.archive);
        let compressed = entry.compressed_size();
        let file = entry
            .with_reader(&mut cursor, ZipReadOptions::new())
            .map_err(|error| failed(&what, error))?;
        let mut reader = self.bounds.reader(file, &self.name, compressed);
        copy(&mut reader, self.bounds, &what, sink)
    }
}

/// Visits the entries of a zip in their order.
pub(crate) fn walk(bytes: &[u8], bounds: &Bounds, visit: Visit<'_>) -> Result<()> {
    let malformed = |error| failed("the zip", error);
    let mut archive = ZipIterable::try_new(Cursor::new(bytes), Config::default())
        .map_err(malformed)?
        .enforce_header_consistency(true);
    if archive.len() > MAX_ENTRIES {
        return Err(Error::too_large(format!(
            "the archive has {} entries and may have {MAX_ENTRIES}",
            archive.len()
        )));
    }
    let mut names = Names::default();
    for entry in archive.files().map_err(malformed)? {
        let entry = entry.map_err(malformed)?;
        let name = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
        };
        let kind = if entry.is_symlink() {
            Kind::Link
        } else if entry.is_dir() {
            Kind::Directory
        } else {
            Kind::File
        };
        let problem = names.judge(&name);
        let problem = match kind {
            Kind::Link => Some(Problem::Link),
            _ if entry.encrypted() => Some(Problem::Encrypted),
            Kind::File if !is_read(entry.compression()) => Some(Problem::UnsupportedMethod),
            _ => problem,
        };
        let described = Entry {
            name: name.clone(),
            kind,
            size: Some(entry.size()).filter(|_| kind == Kind::File),
            compressed_size: Some(entry.compressed_size()).filter(|_| kind == Kind::File),
            modified: entry.last_modified().filter(|time| time.is_valid()).map(|time| {
                format!(
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                    time.year(),
                    time.month(),
                    time.day(),
                    time.hour(),
                    time.minute(),
                    time.second()
                )
            }),
            target: None,
            problem,
        };
        let mut file = File { archive: bytes, entry: Some(entry), bounds, name };
        if !visit(described, &mut file)? {
            return Ok(());
        }
    }
    Ok(())
}

fn is_read(method: CompressionMethod) -> bool {
    matches!(
        method,
        CompressionMethod::Stored | CompressionMethod::Deflated | CompressionMethod::Deflate64
    )
}

fn failed(what: &str, error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(why) => Error::unsupported(format!("{what}: {why}")),
        error => Error::invalid_data(format!("{what} is malformed: {error}")),
    }
}
