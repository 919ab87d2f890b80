//! Archives of any kind, entry by entry.

use std::io::Read;

use ampoule_sdk::files;
use ampoule_sdk::prelude::*;
use flate2::read::MultiGzDecoder;

use crate::bounds::Bounds;
use crate::name::{Problem, judge};
use crate::{tarball, zipped};

/// Bytes of an archive.
const MAX_BYTES: u64 = 128 << 20;

/// Entries of an archive.
pub(crate) const MAX_ENTRIES: usize = 100_000;

/// Bytes of a block of a tar.
const TAR_BLOCK: usize = 512;

/// What an archive is.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Format {
    /// A zip, also one inside a program.
    Zip,
    /// A tar.
    Tar,
    /// A tar compressed with gzip.
    TarGz,
    /// One file compressed with gzip.
    Gz,
}

/// What an entry is.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic or hard link.
    Link,
    /// Something else.
    Other,
}

/// An entry as the archive describes it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) size: Option<u64>,
    pub(crate) compressed_size: Option<u64>,
    pub(crate) modified: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) problem: Option<Problem>,
}

/// What is done with an entry: whether to go on.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Entry, &mut dyn Opener) -> Result<bool>;

/// The content of an entry.
pub(crate) trait Opener {
    /// Copies the content to `sink` piece by piece.
    ///
    /// # Errors
    /// `too-large` where a bound is met, `invalid-data` where it cannot be decompressed, and those
    /// of the sink.
    fn copy(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>;
}

/// Copies a reader to a sink.
pub(crate) fn copy(
    reader: &mut dyn Read,
    bounds: &Bounds,
    what: &str,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count])?,
            Err(error) => return Err(bounds.error(what, &error)),
        }
    }
}

/// The bytes of an archive that was passed or is in the workspace.
pub(crate) fn source(archive: Option<Content>, file: Option<String>) -> Result<Vec<u8>> {
    let check = |size: u64| match size > MAX_BYTES {
        true => Err(Error::too_large(format!(
            "the archive has {size} bytes and may have {MAX_BYTES}: split it"
        ))),
        false => Ok(()),
    };
    match (archive, file) {
        (Some(archive), None) => {
            check(archive.size()?)?;
            archive.bytes()
        }
        (None, Some(file)) => {
            check(files::stat(&file)?.size)?;
            files::read(&file)
        }
        _ => Err(Error::bad_arguments(
            "give exactly one of `archive` (bytes or a blob) and `file` (in the workspace)",
        )),
    }
}

/// Visits the entries of an archive in their order.
pub(crate) fn walk(
    bytes: &[u8],
    format: Option<Format>,
    bounds: &Bounds,
    visit: Visit<'_>,
) -> Result<()> {
    let compressed = bytes.len() as u64;
    match format.map_or_else(|| detect(bytes), Ok)? {
        Format::Zip => zipped::walk(bytes, bounds, visit),
        Format::Tar => tarball::walk(bytes, bounds, visit),
        Format::TarGz => {
            let decoder = MultiGzDecoder::new(bytes);
            let reader = bounds.stream().reader(decoder, "the archive", compressed);
            tarball::walk(reader, bounds, visit)
        }
        Format::Gz => gz(bytes, bounds, visit),
    }
}

fn gz(bytes: &[u8], bounds: &Bounds, visit: Visit<'_>) -> Result<()> {
    struct Gz<'a>(&'a [u8], &'a Bounds);
    impl Opener for Gz<'_> {
        fn copy(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
            let decoder = MultiGzDecoder::new(self.0);
            let mut reader = self.1.reader(decoder, "the archive", self.0.len() as u64);
            copy(&mut reader, self.1, "the gzip", sink)
        }
    }
    let decoder = MultiGzDecoder::new(bytes);
    let Some(header) = decoder.header() else {
        return Err(Error::invalid_data("the gzip is malformed: it has no header"));
    };
    let name = header.filename().map(|name| String::from_utf8_lossy(name).into_owned());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "data".to_owned());
    let entry = Entry {
        problem: judge(&name),
        name,
        kind: Kind::File,
        size: None,
        compressed_size: Some(bytes.len() as u64),
        modified: Some(header.mtime()).filter(|&time| time > 0).and_then(|time| show(time.into())),
        target: None,
    };
    visit(entry, &mut Gz(bytes, bounds))?;
    Ok(())
}

/// A time in seconds since 1970 (RFC 3339, UTC).
pub(crate) fn show(seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

/// What an archive is, by its first bytes.
fn detect(bytes: &[u8]) -> Result<Format> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Format::Zip);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut block = Vec::with_capacity(TAR_BLOCK);
        // What cannot be decompressed is told when it is read.
        let _ = MultiGzDecoder::new(bytes).take(TAR_BLOCK as u64).read_to_end(&mut block);
        return Ok(if tarball::is_tar(&block) { Format::TarGz } else { Format::Gz });
    }
    if tarball::is_tar(bytes) {
        return Ok(Format::Tar);
    }
    let other = match bytes {
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => "7z",
        [b'R', b'a', b'r', b'!', ..] => "rar",
        [] => return Err(Error::invalid_data("the archive is empty")),
        _ => {
            return Err(Error::unsupported(
                "this begins like no archive that is read here (zip, tar, tar.gz, gzip); if it is \
                 one, say which in `format`",
            ));
        }
    };
    Err(Error::unsupported(format!(
        "this is {other}, which is not read here: zip, tar, tar.gz and gzip are"
    )))
}
