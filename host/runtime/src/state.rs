//! What belongs to one call and dies with it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ampoule_contract::{
    Account, Blobs, CallContext, CallEvent, Denial, Receipt, Signal, ToolError,
};
use wasmtime::component::ResourceTable;

use crate::bindings::ampoule::plugin::types;
use crate::host::Host;
use crate::imports::wasi::Wasi;
use crate::limits::Limiter;
use crate::registry::Binding;
use crate::workspace::Overlay;

/// The data of a call's store.
pub(crate) struct CallState {
    pub call: Arc<Running>,
    pub limiter: Limiter,
    pub table: ResourceTable,
    /// Only for components that import WASI.
    pub wasi: Option<Box<Wasi>>,
}

/// A call while it runs, shared with the work it has started.
pub(crate) struct Running {
    pub host: Host,
    /// Id of the call.
    pub id: String,
    /// Id of the tool.
    pub tool: String,
    pub binding: Arc<Binding>,
    pub context: CallContext,
    pub account: Arc<Account>,
    /// 0 for a call from outside, one more for each tool in between.
    pub depth: u64,
    pub deadline: Deadline,
    pub workspace: Option<Arc<Overlay>>,
    pub blobs: Blobs,
    /// Ids of the blobs this call may open.
    pub passed: Mutex<HashSet<String>>,
    pub children: Mutex<Vec<Option<Receipt>>>,
    pub denials: Mutex<Denials>,
    /// Fuel that tools it called have left over; the next gate gives it back to the guest.
    pub refund: AtomicU64,
}

/// What was refused, the first ones in full.
#[derive(Default)]
pub(crate) struct Denials {
    pub list: Vec<Denial>,
    pub left_out: u64,
}

/// How many refusals a receipt lists.
const LISTED_DENIALS: usize = 32;

impl Running {
    /// Notes a refusal for the receipt, and gives it as the guest sees it.
    pub(crate) fn deny(&self, denial: Denial) -> types::Error {
        tracing::info!(
            call = self.id,
            tool = self.tool,
            gate = denial.gate,
            "denied: {}",
            denial.message
        );
        let mut denials = lock(&self.denials);
        if denials.list.len() < LISTED_DENIALS {
            denials.list.push(denial.clone());
        } else {
            denials.left_out += 1;
        }
        ToolError::from(denial).into()
    }

    /// Hands an event to whoever listens.
    pub(crate) fn event(&self, event: CallEvent) -> Signal {
        match &self.context.events {
            Some(sink) => sink.send(event),
            None => Signal::Proceed,
        }
    }

    /// Lets the call open a blob.
    pub(crate) fn pass_blob(&self, id: &str) {
        lock(&self.passed).insert(id.to_owned());
    }

    /// Whether the call may open a blob.
    pub(crate) fn may_open(&self, id: &str) -> bool {
        lock(&self.passed).contains(id)
    }
}

/// Locks a mutex whose content every holder leaves whole, even one that panics.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a call must have ended. Waiting for a person moves it.
pub(crate) struct Deadline {
    at: Instant,
    moved_us: AtomicU64,
    /// A person is being waited for: no deadline meanwhile.
    waiting: AtomicU64,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Deadline {
        Deadline { at, moved_us: AtomicU64::new(0), waiting: AtomicU64::new(0) }
    }

    /// The time, as far as it is known now.
    pub(crate) fn at(&self) -> Instant {
        self.at + Duration::from_micros(self.moved_us.load(Ordering::Acquire))
    }

    /// How long there is left.
    pub(crate) fn left(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Waits until the deadline has passed, however often it is moved meanwhile.
    pub(crate) async fn passed(&self) {
        loop {
            let at = self.at();
            tokio::time::sleep_until(at.into()).await;
            if self.waiting.load(Ordering::Acquire) > 0 {
                // A person's time is coarse; so is this.
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else if self.at() <= at {
                return;
            }
        }
    }

    /// Runs `wait` off the clock.
    pub(crate) async fn off_the_clock<T>(&self, wait: impl Future<Output = T>) -> T {
        struct Pause<'a>(&'a Deadline, Instant);
        impl Drop for Pause<'_> {
            fn drop(&mut self) {
                let us = u64::try_from(self.1.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.0.moved_us.fetch_add(us, Ordering::AcqRel);
                self.0.waiting.fetch_sub(1, Ordering::AcqRel);
            }
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _pause = Pause(self, Instant::now());
        wait.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_a_person_moves_the_deadline() {
        let deadline = Deadline::new(Instant::now() + Duration::from_millis(30));
        let wait = deadline.off_the_clock(tokio::time::sleep(Duration::from_millis(60)));
        tokio::select! {
            biased;
            () = deadline.passed() => panic!("the deadline passed while a person was asked"),
            () = wait => {}
        }
        assert!(deadline.left() > Duration::ZERO);
        deadline.passed().await;
        assert_eq!(deadline.left(), Duration::ZERO);
    }
}
