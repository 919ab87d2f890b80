//! What stops a run from outside: its caller, or its deadline.

use std::time::{Duration, Instant};

use ampoule_contract::{Breach, CallContext, Meter};
use tokio_util::sync::CancellationToken;

/// The caller's token and the deadline of a run.
pub(crate) struct Stop {
    caller: CancellationToken,
    /// For everything below the run: cancelled with the caller's, and at the deadline.
    below: CancellationToken,
    deadline: Option<Deadline>,
}

struct Deadline {
    at: Instant,
    breach: Breach,
}

/// Why a run was stopped.
#[derive(Clone, Debug)]
pub(crate) enum Stopped {
    Cancelled,
    WallTime(Breach),
}

impl Stop {
    /// Stops with `context`, and after `wall_time` milliseconds where that is sooner.
    pub(crate) fn new(context: &CallContext, wall_time: Option<u64>) -> Stop {
        let start = now();
        let own = wall_time.and_then(|limit| {
            let at = start.checked_add(Duration::from_millis(limit))?;
            Some(Deadline { at, breach: Breach { meter: Meter::WallTime, limit, above: false } })
        });
        let above = context.deadline.map(|at| {
            let left = at.saturating_duration_since(start).as_millis();
            let limit = u64::try_from(left).unwrap_or(u64::MAX);
            Deadline { at, breach: Breach { meter: Meter::WallTime, limit, above: true } }
        });
        Stop {
            caller: context.cancel.clone(),
            below: context.cancel.child_token(),
            deadline: [own, above].into_iter().flatten().min_by_key(|deadline| deadline.at),
        }
    }

    /// Waits until the run is to stop. Once it has answered, it answers at once.
    pub(crate) async fn stopped(&self) -> Stopped {
        let Some(Deadline { at, breach }) = &self.deadline else {
            self.caller.cancelled().await;
            return Stopped::Cancelled;
        };
        tokio::select! {
            biased;
            () = self.caller.cancelled() => Stopped::Cancelled,
            () = tokio::time::sleep_until((*at).into()) => {
                self.below.cancel();
                Stopped::WallTime(breach.clone())
            }
        }
    }

    /// Whether the run is to stop now, and why.
    pub(crate) fn now(&self) -> Option<Stopped> {
        if self.caller.is_cancelled() {
            return Some(Stopped::Cancelled);
        }
        let over = self.deadline.as_ref().filter(|deadline| deadline.at <= now())?;
        self.below.cancel();
        Some(Stopped::WallTime(over.breach.clone()))
    }

    /// A token for something below the run.
    pub(crate) fn token(&self) -> CancellationToken {
        self.below.child_token()
    }

    /// When the run must have ended.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.as_ref().map(|deadline| deadline.at)
    }
}

/// The time by the runtime's clock, which tests can hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
