//! How many connections there may be.
//!
//! A connection is a *stranger* until its first request has passed every gate. Strangers have few
//! places, and a new one takes that of the one that has been there longest: whoever opens thousands
//! of connections and says nothing only gets in his own way. Those that have passed are *guests*;
//! where all places of guests are taken, the next one is told to come again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The places of strangers.
const STRANGERS: usize = 64;

/// The connections of a server.
pub(super) struct Connections {
    strangers: Mutex<VecDeque<CancellationToken>>,
    guests: Arc<Semaphore>,
}

/// One connection; its place is free again when it is dropped.
pub(super) struct Connection {
    all: Arc<Connections>,
    /// Its place was taken by another.
    pub(super) ousted: CancellationToken,
    place: Mutex<Option<OwnedSemaphorePermit>>,
    is_guest: AtomicBool,
}

impl Connections {
    pub(super) fn new(guests: usize) -> Connections {
        let guests = Arc::new(Semaphore::new(guests.min(Semaphore::MAX_PERMITS)));
        Connections { strangers: Mutex::default(), guests }
    }

    /// A new connection, a stranger.
    pub(super) fn add(self: &Arc<Connections>) -> Connection {
        let ousted = CancellationToken::new();
        let mut strangers = self.strangers();
        strangers.push_back(ousted.clone());
        if strangers.len() > STRANGERS
            && let Some(longest) = strangers.pop_front()
        {
            longest.cancel();
        }
        drop(strangers);
        let (place, is_guest) = (Mutex::default(), AtomicBool::new(false));
        Connection { all: self.clone(), ousted, place, is_guest }
    }

    fn strangers(&self) -> MutexGuard<'_, VecDeque<CancellationToken>> {
        // What is done under the lock leaves the queue whole, wherever it breaks off.
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether a request has passed every gate.
    pub(super) fn is_guest(&self) -> bool {
        self.is_guest.load(Ordering::Acquire)
    }

    /// Makes it a guest, if it is none; whether there was a place.
    pub(super) fn admit(&self) -> bool {
        if self.is_guest() {
            return true;
        }
        let Ok(permit) = self.all.guests.clone().try_acquire_owned() else { return false };
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        self.is_guest.store(true, Ordering::Release);
        self.leave_strangers();
        true
    }

    fn leave_strangers(&self) {
        self.all.strangers().retain(|other| *other != self.ousted);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_guest() {
            self.leave_strangers();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_oust_each_other_and_guests_stay() {
        let all = Arc::new(Connections::new(2));
        let guest = all.add();
        assert!(guest.admit() && guest.admit() && guest.is_guest());
        let strangers: Vec<_> = (0..STRANGERS + 10).map(|_| all.add()).collect();
        let ousted = strangers.iter().filter(|stranger| stranger.ousted.is_cancelled()).count();
        assert_eq!(ousted, 10);
        assert!(!guest.ousted.is_cancelled());
        assert!(strangers[STRANGERS].admit());
        assert!(!strangers[STRANGERS + 1].admit(), "there are two places");
        drop(guest);
        assert!(strangers[STRANGERS + 1].admit());
        drop(strangers);
        assert!(all.strangers().is_empty());
        assert_eq!(all.guests.available_permits(), 2);
    }
}
