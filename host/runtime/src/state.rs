//! What belongs to one call and dies with it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ampoule_contract::{
    Account, Blobs, Breach, CallContext, CallEvent, Denial, Limits, Meter, Receipt, Signal,
    ToolError,
};
use tokio::sync::{Notify, RwLock};
use wasmtime::component::ResourceTable;

use crate::bindings::ampoule::plugin::types;
use crate::grants::Grants;
use crate::host::{Host, WeakHost};
use crate::imports::wasi::Wasi;
use crate::limits::Limiter;
use crate::registry::Binding;
use crate::replay::Tape;
use crate::scan::{Cleaner, RunSecrets};
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
    /// Not the host itself: an instance that a session keeps would keep its host alive.
    pub host: WeakHost,
    /// Id of the call.
    pub id: String,
    /// Id of the tool.
    pub tool: String,
    pub binding: Arc<Binding>,
    /// What it may do: the binding's grants, as far as they are left to its principal.
    pub grants: Arc<Grants>,
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
    /// Whether the guest runs no more, nor will.
    pub over: AtomicBool,
    /// How many tools and models are under way.
    pub loans: AtomicU64,
    /// What is shared with each place that something begun takes: see `Place`.
    pub begun: Arc<()>,
    /// Bytes of the bodies of requests that wait to be sent.
    pub unsent: AtomicU64,
    /// A limit that was met where nothing could end the call.
    pub breach: Ending,
    /// The secrets used so far, by this call and all others of its run.
    pub secrets: Arc<RunSecrets>,
    /// Where its host calls are recorded, or replayed from.
    pub tape: OnceLock<Arc<Tape>>,
}

/// What was refused, the first ones in full.
#[derive(Default)]
pub(crate) struct Denials {
    pub list: Vec<Denial>,
    pub left_out: u64,
}

/// How many refusals a receipt lists.
const LISTED_DENIALS: usize = 32;

impl CallState {
    /// Puts another call in the place of the one that has ended.
    pub(crate) fn enter(&mut self, call: Arc<Running>, limiter: Limiter) {
        self.limiter = limiter;
        if let Some(wasi) = &mut self.wasi {
            wasi.enter(&call);
        }
        self.call = call;
    }
}

impl Running {
    /// Gives back fuel that was lent and not used: to the guest, at its next host call; where the
    /// call is over, to where the guest had it from.
    pub(crate) fn give_back(&self, fuel: u64) {
        self.refund.fetch_add(fuel, Ordering::AcqRel);
        if self.over.load(Ordering::Acquire) {
            match self.refund.swap(0, Ordering::AcqRel) {
                0 => {}
                late => self.account.refund_above(Meter::Fuel, late),
            }
        }
    }

    /// The host, which lives as long as the call does.
    pub(crate) fn host(&self) -> Host {
        self.host.get()
    }

    /// What stands in the place of a call while a session keeps the instance: it may do nothing.
    pub(crate) fn nothing(&self) -> Arc<Running> {
        Arc::new(Running {
            host: WeakHost::default(),
            id: String::new(),
            tool: String::new(),
            binding: self.binding.clone(),
            grants: self.grants.clone(),
            context: CallContext::default(),
            account: Account::root(Limits::UNLIMITED),
            depth: 0,
            deadline: Deadline::new(Instant::now()),
            workspace: None,
            blobs: Blobs::default(),
            passed: Mutex::default(),
            made: Mutex::default(),
            underway: Arc::default(),
            caller: None,
            children: Mutex::default(),
            denials: Mutex::default(),
            refund: AtomicU64::new(0),
            over: AtomicBool::new(false),
            loans: AtomicU64::new(0),
            begun: Arc::default(),
            unsent: AtomicU64::new(0),
            breach: Ending::default(),
            secrets: Arc::default(),
            tape: OnceLock::new(),
        })
    }

    /// Notes a refusal for the receipt, and gives it as the guest sees it.
    pub(crate) fn deny(&self, denial: Denial) -> types::Error {
        ToolError::from(self.note(denial)).into()
    }

    /// Notes a refusal for the receipt, without the secrets that a guest may have put into it.
    fn note(&self, mut denial: Denial) -> Denial {
        if let Some(scanner) = self.secrets.scanner() {
            Cleaner::new(scanner).denial(&mut denial);
        }
        tracing::info!(
            call = self.id,
            tool = self.tool,
            gate = denial.gate,
            "denied: {}",
            denial.message
        );
        let listed = {
            let mut denials = lock(&self.denials);
            let listed = denials.list.len() < LISTED_DENIALS;
            if listed {
                denials.list.push(denial.clone());
            } else {
                denials.left_out += 1;
            }
            listed
        };
        if listed {
            crate::audit::denied(self, &denial);
        }
        denial
    }

    /// Takes secrets out of something the call says, and notes for the receipt which there were.
    pub(crate) fn clean(&self, what: &str, work: impl FnOnce(&mut Cleaner)) {
        let Some(scanner) = self.secrets.scanner() else { return };
        let mut cleaner = Cleaner::new(scanner);
        work(&mut cleaner);
        self.took_out(cleaner.names(), what);
    }

    /// Notes for the receipt which secrets were taken out of something the call says.
    pub(crate) fn took_out<'a>(&self, names: impl Iterator<Item = &'a str>, what: &str) {
        for name in names {
            let message = format!("the secret `{name}` was taken out of {what}");
            let denial = Denial { gate: "secret", message, allow: None };
            if !lock(&self.denials).list.contains(&denial) {
                self.note(denial);
            }
        }
    }

    /// Refuses something the call does where a secret is in a part of it.
    pub(crate) fn refuse_secrets<'a>(
        &self,
        what: &str,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), types::Error> {
        match self.secrets.scanner() {
            Some(scanner) => scanner.refuse(what, parts).map_err(|denial| self.deny(denial)),
            None => Ok(()),
        }
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

    /// Whether a person, or a tool or model it has called, is at work for it: no idle time.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.loans.load(Ordering::Acquire) > 0 || lock(&self.deadline.waiting).0 > 0
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

    /// The limit that was met, if one was.
    pub(crate) fn now(&self) -> Option<Breach> {
        self.breach.get().cloned()
    }

    /// Waits until a limit was met.
    pub(crate) async fn met(&self) -> Breach {
        loop {
            if let Some(breach) = self.now() {
                return breach;
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
