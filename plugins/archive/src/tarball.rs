//! Tar.

use std::io::Read;

use ampoule_sdk::prelude::*;
use tar::{Archive, EntryType, Header};

use crate::bounds::Bounds;
use crate::name::{Names, Problem};
use crate::read::{Entry, Kind, MAX_ENTRIES, Opener, Visit, copy, show};

struct File<'a, R: Read>(tar::Entry<'a, R>, &'a Bounds, String);

impl<R: Read> Opener for File<'_, R> {
    fn copy(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let name = format!("`{}`", self.2);
        // What was decompressed has been counted; a sparse file is larger than what is stored.
        let most = self.0.header().entry_size().unwrap_or(0);
        let mut reader = self.1.reader(&mut self.0, &self.2, most);
        copy(&mut reader, self.1, &name, sink)
    }
}

/// Visits the entries of a tar in their order.
pub(crate) fn walk(reader: impl Read, bounds: &Bounds, visit: Visit<'_>) -> Result<()> {
    let mut archive = Archive::new(reader);
    let mut names = Names::default();
    let malformed = |error: std::io::Error| bounds.error("the tar", &error);
    for (count, entry) in archive.entries().map_err(malformed)?.enumerate() {
        let entry = entry.map_err(malformed)?;
        if count == MAX_ENTRIES {
            return Err(Error::too_large(format!(
                "the archive has more than {MAX_ENTRIES} entries"
            )));
        }
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink | EntryType::Link => Kind::Link,
            // A header for those that follow.
            EntryType::XGlobalHeader => continue,
            _ => Kind::Other,
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // `tar -C directory .` writes every name like this.
        let name = name.strip_prefix("./").map(str::to_owned).unwrap_or(name);
        if kind == Kind::Directory && matches!(&*name, "" | ".") {
            continue;
        }
        let problem = names.judge(&name);
        let problem = match kind {
            Kind::Link => Some(Problem::Link),
            Kind::Other => Some(Problem::Special),
            _ => problem,
        };
        let target = entry.link_name_bytes().filter(|_| kind == Kind::Link);
        let described = Entry {
            name: name.clone(),
            kind,
            size: Some(entry.size()).filter(|_| kind == Kind::File),
            compressed_size: None,
            modified: entry.header().mtime().ok().and_then(|time| show(i64::try_from(time).ok()?)),
            target: target.map(|target| String::from_utf8_lossy(&target).into_owned()),
            problem,
        };
        if !visit(described, &mut File(entry, bounds, name))? {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether bytes begin like a tar: the sum of the first header is right.
pub(crate) fn is_tar(bytes: &[u8]) -> bool {
    let Some(block) = bytes.get(..512) else { return false };
    let header = Header::from_byte_slice(block);
    // The field of the sum itself counts as spaces.
    let sum = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>();
    header.cksum().is_ok_and(|expected| expected == sum + 8 * 32)
}
