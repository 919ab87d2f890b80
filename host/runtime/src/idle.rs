//! The limit on idle time: a guest that waits, and nothing it waits for moves on.
//!
//! Whatever a guest waits for wakes its task when it moves on: bytes of an answer, a timer, the
//! next slice of its own computing. So a call is idle for as long as its own future, and nothing
//! beside it, has not been woken.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ampoule_contract::{Breach, Meter};
use futures::task::AtomicWaker;
use tokio::time::Instant;

use crate::state::Running;

/// Sees when the future of a guest is woken.
pub(crate) struct Watch {
    signal: Arc<Signal>,
    started: Instant,
    /// When it was woken last, in microseconds after the start.
    woken_us: AtomicU64,
}

/// Stands between what the guest waits for and its task.
struct Signal {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Signal>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Signal>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Watch {
    pub(crate) fn new() -> Watch {
        let signal = Signal { woken: AtomicBool::new(true), task: AtomicWaker::new() };
        let (signal, started) = (Arc::new(signal), Instant::now());
        Watch { signal, started, woken_us: AtomicU64::new(0) }
    }

    /// Runs a future, and notes when it moves on. It is polled only when it was woken itself, and
    /// not when something else of the same task was.
    pub(crate) async fn over<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let waker = Waker::from(self.signal.clone());
        std::future::poll_fn(|context| {
            self.signal.task.register(context.waker());
            if !self.signal.woken.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            self.note();
            polled
        })
        .await
    }

    /// Waits until the guest has been idle for as long as it may be.
    pub(crate) async fn idle(&self, call: &Running) -> Breach {
        let limit = call.account.limits().get(Meter::IdleTime);
        // At most longer than any call lives, at least so long that waiting yields.
        let most = Duration::from_millis(limit.clamp(1, 365 * 24 * 3_600_000));
        loop {
            let woken = self.woken_us.load(Ordering::Relaxed);
            tokio::time::sleep_until(self.started + Duration::from_micros(woken) + most).await;
            if call.waits_for_others() {
                self.note();
            } else if self.woken_us.load(Ordering::Relaxed) == woken {
                call.account.peak(Meter::IdleTime, limit);
                return Breach { meter: Meter::IdleTime, limit, above: false };
            }
        }
    }

    fn note(&self) {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.woken_us.store(now, Ordering::Relaxed);
    }
}
