//! Lists, extracts and makes archives: zip (stored, deflate, deflate64), tar, tar.gz and gzip.
//!
//! What an archive says is not believed. Every name is judged; a name that is absolute, climbs out
//! or stands there twice is reported and never written to the workspace; links, devices and
//! encrypted entries are reported and never followed or read. What is decompressed is counted while
//! it is, against a total and against the ratio of a bomb, whatever sizes the archive names. A zip
//! whose two lists of entries differ is refused. Archives inside archives are left alone.

mod bounds;
mod extraction;
mod making;
mod name;
mod read;
mod tarball;
mod zipped;

use ampoule_sdk::prelude::*;

use bounds::Bounds;
use extraction::extract;
use making::create;
use name::Problem;
use read::{Entry, Format, Kind, source, walk};

export!(list, extract, create);

/// An archive and which part of the list.
#[data]
struct Listing {
    /// The archive. Give either `archive` or `file`.
    archive: Option<Content>,
    /// The archive as a file of the workspace.
    #[schemars(length(min = 1, max = 1024))]
    file: Option<String>,
    /// What it is. Default: as its first bytes say.
    format: Option<Format>,
    /// How many entries to list at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
    /// Bytes to decompress at most, which a `tar.gz` needs to be listed. Default: 256 MiB.
    #[serde(default = "default_bytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    max_bytes: u64,
    /// How many times larger than its compressed form what is decompressed may be.
    #[serde(default = "default_ratio")]
    #[schemars(range(min = 1, max = 10_000))]
    max_ratio: u64,
}

fn default_limit() -> usize {
    1000
}

fn default_bytes() -> u64 {
    256 << 20
}

pub(crate) fn default_ratio() -> u64 {
    200
}

/// An entry of an archive.
#[data]
struct Listed {
    /// Its name, as the archive has it.
    name: String,
    /// What it is.
    kind: Kind,
    /// Its size in bytes as the archive says, which need not be true; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// Its compressed size in bytes, for zip and gzip.
    #[serde(skip_serializing_if = "Option::is_none")]
    compressed_size: Option<u64>,
    /// When it was changed last: RFC 3339 for tar and gzip, local time without a zone for zip.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    /// Where a link leads; it is never followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// List the entries of an archive (zip, tar, tar.gz, gzip) with kind, size and time, without
/// extracting them. Entries with a `problem` (names that climb out, links, encryption …) are listed
/// too.
#[tool]
fn list(listing: Listing) -> Result<Output<Vec<Listed>>> {
    let Listing { archive, file, format, limit, cursor, max_bytes, max_ratio } = listing;
    let bytes = source(archive, file)?;
    let bounds = Bounds::new(max_bytes, max_ratio);
    let mut listed = Vec::new();
    walk(&bytes, format, &bounds, &mut |entry, _| {
        let Entry { name, kind, size, compressed_size, modified, target, problem } = entry;
        listed.push(Listed { name, kind, size, compressed_size, modified, target, problem });
        Ok(true)
    })?;
    Output::page(listed, limit, cursor.as_deref())
}
