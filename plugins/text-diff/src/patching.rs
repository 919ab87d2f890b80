//! Patches applied.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs};
use diffy::Patch;

/// Bytes of a text that goes into the answer itself.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Bytes of the text or the patch at most.
const MAX_BYTES: u64 = 16 << 20;

/// Hunks of a patch at most.
const MAX_HUNKS: usize = 100_000;

/// What to patch, and how.
#[data]
pub(crate) struct Patching {
    /// The text to change.
    text: Content,
    /// The unified diff of one file.
    patch: Content,
    /// Undo the patch: turn the new text back into the old.
    #[serde(default)]
    reverse: bool,
}

/// The changed text.
#[data]
pub(crate) struct Patched {
    /// The text, where it is no longer than 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The text as a blob, where it is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// Hunks that were applied.
    hunks: usize,
}

/// Apply a unified diff of one file to a text, whole or not at all.
///
/// A hunk may have moved, but its lines must be in the text as they are in the patch; else the
/// call fails with `conflict` and names the hunk.
#[tool]
pub(crate) fn patch(patching: Patching) -> Result<Patched> {
    let read = |content: Content| content.at_most(MAX_BYTES)?.text();
    let (text, patch) = (read(patching.text)?, read(patching.patch)?);
    let patch = Patch::from_str(&patch).map_err(|error| {
        Error::bad_arguments(format!("`patch` is not a unified diff of one file: {error}"))
    })?;
    let hunks = patch.hunks().len();
    if hunks == 0 && !text.is_empty() {
        return Err(Error::bad_arguments(
            "`patch` has no hunks: they begin with lines such as `@@ -1,3 +1,4 @@`",
        ));
    }
    if hunks > MAX_HUNKS {
        return Err(Error::too_large(format!("`patch` has more than {MAX_HUNKS} hunks")));
    }
    let patched = if patching.reverse {
        diffy::apply(&text, &patch.reverse())
    } else {
        diffy::apply(&text, &patch)
    };
    let patched = patched.map_err(|error| {
        Error::conflict(format!(
            "{error}: the text does not hold its lines; make the patch anew from this text"
        ))
    })?;
    let (text, blob) = if patched.len() > MAX_TEXT_BYTES {
        (None, Some(blobs::store("text/plain; charset=utf-8", patched.as_bytes())?))
    } else {
        (Some(patched), None)
    };
    Ok(Patched { text, blob, hunks })
}
