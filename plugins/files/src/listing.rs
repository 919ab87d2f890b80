//! `list`: the entries of a directory, or all files below it.

use ampoule_sdk::files;
use ampoule_sdk::prelude::*;

use crate::{Entry, glob, walk};

/// Entries given where nobody says how many.
const USUAL: usize = 200;

/// What to list.
#[data]
pub(crate) struct Listing {
    /// The directory; the workspace itself where it is empty.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    path: String,
    /// Everything below it too.
    #[serde(default)]
    recursive: bool,
    /// Only paths that match, such as `src/**/*.rs`; `*` stays within a part.
    #[schemars(length(max = 500))]
    pattern: Option<String>,
    /// How many at most. Default: 200.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Where an earlier answer ended: its `next`.
    cursor: Option<String>,
}

/// Entries.
#[data]
pub(crate) struct Listed {
    /// In byte order of their paths.
    entries: Vec<Entry>,
}

/// The most entries a recursive listing looks at.
const MAX_LOOKED_AT: usize = 50_000;

/// List a directory, or all that is below it. What is too long is cut; pass the answer's `next` as
/// `cursor` to go on.
#[tool]
pub(crate) fn list(listing: Listing) -> Result<Output<Listed>> {
    let Listing { path, recursive, pattern, limit, cursor } = listing;
    let limit = limit.unwrap_or(USUAL);
    let pattern = glob(pattern.as_deref())?;
    let mut entries = Vec::new();
    let mut looked_at = 0;
    let mut look = |entry: files::Entry| {
        looked_at += 1;
        let after = cursor.as_deref().is_none_or(|cursor| entry.path.as_str() > cursor);
        if after && pattern.as_ref().is_none_or(|glob| glob.is_match(&entry.path)) {
            entries.push(entry);
        }
        Ok(looked_at < MAX_LOOKED_AT)
    };
    if recursive {
        walk(&path, &mut look)?;
    } else {
        let mut page = None;
        loop {
            let found = files::list(&path, page.as_deref())?;
            for entry in found.entries {
                look(entry)?;
            }
            match found.next {
                Some(next) => page = Some(next),
                None => break,
            }
        }
    }
    if recursive && looked_at >= MAX_LOOKED_AT {
        let message = format!("there are more than {MAX_LOOKED_AT} entries; list a part of it");
        return Err(Error::too_large(message));
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|entry| entry.path.clone());
    let entries = entries.into_iter().map(Into::into).collect();
    Ok(Output::new(Listed { entries }).with_truncated(more).with_next(next))
}
