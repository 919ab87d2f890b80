//! What belongs to one call and dies with it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ampoule_contract::{
    Account, Blobs, Breach, CallContext, CallEvent, Denial, Meter, Receipt, Signal, ToolError,
};
use tokio::sync::{Notify, RwLock};
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
    /// Ids of the blobs that it, or tools it called, have made: gone unless it answers with them.
    pub made: Mutex<Vec<String>>,
    /// Held for reading by the tools and models it has asked that are under way.
    pub underway: Arc<RwLock<()>>,
    /// The call whose guest made this one.
    pub caller: Option<Arc<Running>>,
    /// Receipts of the tools it called, in call order; of those under way, as if cancelled.
    pub children: Mutex<Vec<Receipt>>,
    pub denials: Mutex<Denials>,
    /// Fuel that tools it called have left over; the next gate gives it back to the guest.
    pub refund: AtomicU64,
    /// How many tools and models are under way.
    pub loans: AtomicU64,
    /// A limit that was met where nothing could end the call.
    pub breach: Ending,
}

impl Drop for Running {
    /// Gives back the fuel that comes too late for the guest: what was lent to work that was still
    /// under way when the call was dropped. Each such loan holds on to the call until it has ended.
    fn drop(&mut self) {
        match *self.refund.get_mut() {
            0 => {}
            late => self.account.refund_above(Meter::Fuel, late),
        }
    }
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

    /// Runs `wait` off the clock of this call and of those above it.
    pub(crate) async fn off_the_clock<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut pauses = vec![self.deadline.pause()];
        let mut above = self.caller.as_deref();
        while let Some(call) = above {
            pauses.push(call.deadline.pause());
            above = call.caller.as_deref();
        }
        let result = wait.await;
        drop(pauses);
        result
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
    /// How many wait for a person, and since when anybody does: no deadline meanwhile.
    waiting: Mutex<(u64, Instant)>,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Deadline {
        Deadline { at, moved_us: AtomicU64::new(0), waiting: Mutex::new((0, at)) }
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
            if lock(&self.waiting).0 > 0 {
                // A person's time is coarse; so is this.
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else if self.at() <= at {
                return;
            }
        }
    }

    /// Stops the clock until the pause is dropped.
    pub(crate) fn pause(&self) -> Pause<'_> {
        let mut waiting = lock(&self.waiting);
        if waiting.0 == 0 {
            waiting.1 = Instant::now();
        }
        waiting.0 += 1;
        Pause(self)
    }
}

/// While it lives, a deadline does not come nearer.
pub(crate) struct Pause<'a>(&'a Deadline);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0.waiting);
        waiting.0 -= 1;
        if waiting.0 == 0 {
            let us = u64::try_from(waiting.1.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.0.moved_us.fetch_add(us, Ordering::AcqRel);
        }
    }
}

/// The end of a call by a limit that was met in code that cannot trap: a stream, a WASI call.
#[derive(Default)]
pub(crate) struct Ending {
    breach: OnceLock<Breach>,
    met: Notify,
}

impl Ending {
    /// Ends the call by `breach`, unless another has already.
    pub(crate) fn meet(&self, breach: Breach) {
        if self.breach.set(breach).is_ok() {
            self.met.notify_one();
        }
    }

    /// Waits until a limit was met.
    pub(crate) async fn met(&self) -> Breach {
        loop {
            if let Some(breach) = self.breach.get() {
                return breach.clone();
            }
            self.met.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_a_person_moves_the_deadline() {
        let deadline = Deadline::new(Instant::now() + Duration::from_millis(30));
        let wait = async {
            let _pause = deadline.pause();
            tokio::time::sleep(Duration::from_millis(60)).await;
        };
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
