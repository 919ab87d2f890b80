//! Bytes too large for JSON, passed by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The blobs of a run: an id that cannot be guessed, a media type and bytes.
///
/// A clone is the same store. Whoever wants to read the blobs a tool returns makes a store,
/// puts it into the [`CallContext`](crate::CallContext) and reads them after the call; calls of
/// one run that share a store can hand blobs to each other.
#[derive(Clone, Debug, Default)]
pub struct Blobs(Arc<Mutex<HashMap<String, Blob>>>);

/// Bytes that do not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Media type (RFC 6838).
    pub media_type: String,
    /// The bytes.
    pub data: Bytes,
}

impl Blobs {
    /// The blob with an id.
    pub fn get(&self, id: &str) -> Option<Blob> {
        self.map().get(id).cloned()
    }

    /// Puts a blob under an id. Ids come from the host and cannot be guessed.
    pub fn insert(&self, id: String, blob: Blob) {
        self.map().insert(id, blob);
    }

    /// Takes a blob out.
    pub fn remove(&self, id: &str) -> Option<Blob> {
        self.map().remove(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map().is_empty()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<String, Blob>> {
        // Every change is a single insert or remove: a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
