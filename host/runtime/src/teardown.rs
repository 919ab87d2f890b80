//! Cleaning up after an instance, once its call is over: resetting its memory and freeing what the
//! engine has made for it. A thread that says when it has nothing to do does it then, so that the answer
//! is on its way before; every other does it at once.
//!
//! Always on the thread where the call ended: what is to be reset is in the caches of its core, and
//! fetching it from another costs more than the other would save.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::Store;
use wasmtime::component::ResourceTable;

use crate::state::CallState;

/// Stores that are over and still hold their places, at most.
pub(crate) const MOST: u32 = 8;

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { says_when_idle: false, ended: None }) };
}

/// What the last call on a thread has left there.
struct Last {
    says_when_idle: bool,
    ended: Option<Ended>,
}

/// A store that is over. Dropping it cleans up.
struct Ended {
    _store: Store<CallState>,
    _place: Place,
}

/// One of the [`MOST`] stores that are over.
struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Cleans up after the last call that ended on this thread: resets the memory of its instance and frees
/// what the engine has made for it, some 10 µs for an interpreter of JavaScript, 150 µs for one of Python.
///
/// For a thread to call before it sleeps. Once it has, calls that end on it answer first and leave
/// this to the next time; until then, and on threads that never call it, a call cleans up before it
/// answers. At most one call waits on a thread for it, and the next one on the same thread cleans up
/// after that, so nothing is kept for long by a thread that is busy. One that goes on outside of its
/// runtime, after `block_on`, calls it once more: what waits has the memory of an instance.
///
/// ```no_run
/// let runtime = tokio::runtime::Builder::new_multi_thread()
///     .enable_all()
///     .on_thread_park(ampoule::clean_up)
///     .build();
/// ```
pub fn clean_up() {
    drop(left(|last| last.says_when_idle = true));
}

/// What the last call on this thread has left.
fn left(note: impl FnOnce(&mut Last)) -> Option<Ended> {
    let left = LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        note(&mut last);
        last.ended.take()
    });
    // Where the thread is at its end, it is gone.
    left.ok().flatten()
}

/// Counts the stores that are over and still hold their places.
#[derive(Clone)]
pub(crate) struct Teardown(Arc<AtomicU32>);

impl Teardown {
    pub(crate) fn new() -> Teardown {
        Teardown(Arc::default())
    }

    /// Has a store cleaned up after when it is dropped; first, whatever the last one on this thread
    /// has left.
    pub(crate) fn own(&self, store: Store<CallState>) -> OwnedStore {
        drop(left(|_| ()));
        OwnedStore { store: Some(store), teardown: self.clone() }
    }

    /// Leaves a store for when the thread is idle; cleans up at once where it never says so, or where
    /// too many are left already.
    fn leave(&self, store: Store<CallState>) {
        let places = &self.0;
        let _place = Place(places.clone());
        if places.fetch_add(1, Ordering::Acquire) >= MOST {
            return;
        }
        let mut ended = Some(Ended { _store: store, _place });
        let _ = LAST.try_with(|last| {
            let mut last = last.borrow_mut();
            if last.says_when_idle {
                std::mem::swap(&mut last.ended, &mut ended);
            }
        });
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
        self.teardown.leave(store);
    }
}
