//! Cleaning up after an instance, once its call is over: resetting its memory and freeing what the
//! engine has made for it. Where that takes long, a thread of its own does it, so that the answer does
//! not wait for it.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::ResourceTable;

use crate::plugin::Plugin;
use crate::state::{CallState, lock};

/// Stores that may wait for the thread. Where more end at once, who has ended one cleans up himself:
/// then all cores are busy anyway, and the pool needs no more than a few places beside those that
/// calls may take.
const WAITING: usize = 8;

/// Stores that are over and still hold their places, at most.
pub(crate) const MOST: u32 = WAITING as u32 + 1;

/// What is faster is done at once.
const WORTH_A_THREAD_NS: u32 = 10_000;

/// How long the thread sleeps between two looks while calls come. To wake it for each would cost the
/// caller about as much as cleaning up does.
const NAP: Duration = Duration::from_micros(50);

/// How long after the last store it goes on looking; then it sleeps until it is woken.
const AWAKE: Duration = Duration::from_millis(5);

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
pub(crate) struct Teardown(Arc<Owner>);

/// What the callers hold of it.
struct Owner {
    queue: Arc<Queue>,
    /// Absent where there can be none: then every call cleans up after itself.
    thread: Option<Thread>,
}

#[derive(Default)]
struct Queue {
    stores: Mutex<VecDeque<(Store<CallState>, Arc<Plugin>)>>,
    /// The thread looks again without being woken.
    is_awake: AtomicBool,
    is_over: AtomicBool,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.queue.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

impl Owner {
    /// Gives a store to the thread; gives it back, where the thread is behind or not there.
    fn hand_over(
        &self,
        store: Store<CallState>,
        plugin: Arc<Plugin>,
    ) -> Result<(), (Store<CallState>, Arc<Plugin>)> {
        let Some(thread) = &self.thread else { return Err((store, plugin)) };
        let mut stores = lock(&self.queue.stores);
        if stores.len() >= WAITING {
            return Err((store, plugin));
        }
        stores.push_back((store, plugin));
        drop(stores);
        if !self.queue.is_awake.load(Ordering::SeqCst) {
            thread.unpark();
        }
        Ok(())
    }
}

impl Queue {
    fn take(&self) -> Option<(Store<CallState>, Arc<Plugin>)> {
        lock(&self.stores).pop_front()
    }

    /// Cleans up whatever comes, until nobody can bring anything any more.
    fn work(&self) {
        let mut last: Option<Instant> = None;
        loop {
            if let Some((store, plugin)) = self.take() {
                plugin.teardown.during(store);
                last = Some(Instant::now());
            } else if self.is_over.load(Ordering::SeqCst) {
                return;
            } else if last.is_some_and(|last| last.elapsed() < AWAKE) {
                thread::sleep(NAP);
            } else {
                self.is_awake.store(false, Ordering::SeqCst);
                // What came before that could be seen has woken nobody.
                if lock(&self.stores).is_empty() && !self.is_over.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.is_awake.store(true, Ordering::SeqCst);
                last = Some(Instant::now());
            }
        }
    }
}

impl Teardown {
    /// Starts the thread. Where there can be none, every call cleans up after itself.
    pub(crate) fn new() -> Teardown {
        let queue = Arc::new(Queue::default());
        let started = thread::Builder::new().name("ampoule-teardown".into()).spawn({
            let queue = queue.clone();
            move || queue.work()
        });
        if let Err(error) = &started {
            tracing::warn!(%error, "no thread to clean up after calls; they will answer later");
        }
        let thread = started.ok().map(|started| started.thread().clone());
        Teardown(Arc::new(Owner { queue, thread }))
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
        let back = match plugin.teardown.is_long() {
            true => self.teardown.0.hand_over(store, plugin),
            false => Err((store, plugin)),
        };
        if let Err((store, plugin)) = back {
            plugin.teardown.during(store);
        }
    }
}
