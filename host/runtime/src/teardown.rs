//! Cleaning up after an instance, once its call is over: resetting its memory and freeing what the
//! engine has made for it. Where that takes long, a thread of its own does it, so that the answer does
//! not wait for it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::ResourceTable;

use crate::plugin::Plugin;
use crate::state::CallState;

/// Stores that may wait for the thread. Where more end at once, who has ended one cleans up himself:
/// then all cores are busy anyway, and the pool needs no more than a few places beside those that
/// calls may take.
const WAITING: usize = 2;

/// Stores that are over and still hold their places, at most.
pub(crate) const MOST: u32 = WAITING as u32 + 1;

/// What is faster is done at once: waking a thread takes about as long.
const WORTH_A_THREAD_NS: u32 = 10_000;

/// How long it takes for the instances of one plugin, in nanoseconds: a mean in which newer times
/// count more.
#[derive(Debug, Default)]
pub(crate) struct Took(AtomicU32);

impl Took {
    fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed) > WORTH_A_THREAD_NS
    }

    /// Cleans up, and notes how long it took.
    fn during(&self, store: Store<CallState>) {
        let started = Instant::now();
        drop(store);
        let took = u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX);
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before - before / 8 + took / 8, Ordering::Relaxed);
    }
}

/// The thread that cleans up. It ends with the last of these.
#[derive(Clone)]
pub(crate) struct Teardown(SyncSender<(Store<CallState>, Arc<Plugin>)>);

impl Teardown {
    /// Starts the thread. Where there can be none, every call cleans up after itself.
    pub(crate) fn new() -> Teardown {
        let (sender, stores) = sync_channel::<(_, Arc<Plugin>)>(WAITING);
        let thread = std::thread::Builder::new().name("ampoule-teardown".into());
        let started = thread.spawn(move || {
            for (store, plugin) in stores {
                plugin.teardown.during(store);
            }
        });
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
        let plugin = state.call.binding.plugin.clone();
        if plugin.teardown.is_long() {
            use TrySendError::{Disconnected, Full};
            // Where the thread is behind, it comes back.
            match self.teardown.0.try_send((store, plugin)) {
                Ok(()) => {}
                Err(Full((store, plugin)) | Disconnected((store, plugin))) => {
                    plugin.teardown.during(store);
                }
            }
        } else {
            plugin.teardown.during(store);
        }
    }
}
