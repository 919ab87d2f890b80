//! Where the memory of an instance goes when its call is over: to a thread of its own, so that the
//! answer does not wait until the instance's place in the pool is clean again.

use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{SyncSender, sync_channel};

use wasmtime::Store;
use wasmtime::component::ResourceTable;

use crate::state::CallState;

/// Stores that may wait for the thread. Where more end at once, who has ended one cleans it himself:
/// then all cores are busy anyway, and the pool needs no more than a few places beside those that
/// calls may take.
const WAITING: usize = 2;

/// Stores that are over and still hold their places, at most.
pub(crate) const MOST: u32 = WAITING as u32 + 1;

/// The thread that cleans up. It ends with the last of these.
#[derive(Clone)]
pub(crate) struct Teardown(SyncSender<Store<CallState>>);

impl Teardown {
    /// Starts the thread. Where there can be none, every call cleans up after itself.
    pub(crate) fn new() -> Teardown {
        let (sender, stores) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("ampoule-teardown".into());
        let started = thread.spawn(move || stores.into_iter().for_each(drop));
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to clean up after calls; they will answer later");
        }
        Teardown(sender)
    }

    /// Has a store cleaned up after when it is dropped.
    pub(crate) fn own(&self, store: Store<CallState>) -> OwnedStore {
        OwnedStore { store: Some(store), teardown: self.clone() }
    }
}

/// The store of a call. What the guest holds in the host goes at once when it is dropped, its memory
/// soon after.
pub(crate) struct OwnedStore {
    /// There until it is dropped.
    store: Option<Store<CallState>>,
    teardown: Teardown,
}

impl Deref for OwnedStore {
    type Target = Store<CallState>;

    fn deref(&self) -> &Store<CallState> {
        self.store.as_ref().expect("a store until it is dropped")
    }
}

impl DerefMut for OwnedStore {
    fn deref_mut(&mut self) -> &mut Store<CallState> {
        self.store.as_mut().expect("a store until it is dropped")
    }
}

impl Drop for OwnedStore {
    fn drop(&mut self) {
        let Some(mut store) = self.store.take() else { return };
        let state = store.data_mut();
        drop(std::mem::replace(&mut state.table, ResourceTable::new()));
        state.wasi = None;
        // Where the thread is behind, it comes back and is dropped here.
        drop(self.teardown.0.try_send(store));
    }
}
