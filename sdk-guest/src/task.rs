//! Waiting for one thing, or for several at once.
//!
//! A plugin runs on one thread and is called synchronously. [`block_on`] drives a future and,
//! while it cannot go on, waits in the host (`wasi:io/poll`) for all that it waits for together.
//! Wakers work as everywhere, so combinators of other crates do too.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::bindings::wasi::io::poll::{Pollable, poll};

/// Runs a future to its end. Tools and components that are `async fn` are run by it; a plain
/// `fn` calls it where it waits.
///
/// # Panics
/// Where the future waits for something that nothing will ever wake.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !woken.0.swap(false, Ordering::Relaxed) {
            wait_for_any();
        }
    }
}

/// Whether the future of a [`block_on`] can go on.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The first of several futures to end; the others are dropped, which gives up what they began.
///
/// # Panics
/// Where there is none.
pub async fn race<F: Future>(futures: impl IntoIterator<Item = F>) -> F::Output {
    futures_util::future::select_all(futures.into_iter().map(Box::pin)).await.0
}

thread_local! {
    /// All that the futures of this instance wait for.
    static WAITING: RefCell<Vec<Rc<Waiting>>> = const { RefCell::new(Vec::new()) };
}

struct Waiting {
    pollable: Pollable,
    ready: Cell<bool>,
    waker: RefCell<Waker>,
}

/// Waits until at least one of [`WAITING`] is ready and wakes those that are.
fn wait_for_any() {
    let waiting = WAITING.with_borrow(Clone::clone);
    assert!(!waiting.is_empty(), "the future waits for something that nothing will wake");
    let pollables: Vec<&Pollable> = waiting.iter().map(|waiting| &waiting.pollable).collect();
    for index in poll(&pollables) {
        let waiting = &waiting[index as usize];
        waiting.ready.set(true);
        forget(waiting);
        waiting.waker.borrow().wake_by_ref();
    }
}

fn forget(waiting: &Rc<Waiting>) {
    WAITING.with_borrow_mut(|all| all.retain(|other| !Rc::ptr_eq(other, waiting)));
}

/// Ends when `pollable` is ready.
pub(crate) fn ready(pollable: Pollable) -> Ready {
    Ready(Rc::new(Waiting {
        pollable,
        ready: Cell::new(false),
        waker: RefCell::new(Waker::noop().clone()),
    }))
}

pub(crate) struct Ready(Rc<Waiting>);

impl Future for Ready {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waiting = &self.0;
        if waiting.ready.get() {
            return Poll::Ready(());
        }
        waiting.waker.borrow_mut().clone_from(context.waker());
        WAITING.with_borrow_mut(|all| {
            if !all.iter().any(|other| Rc::ptr_eq(other, waiting)) {
                all.push(Rc::clone(waiting));
            }
        });
        Poll::Pending
    }
}

/// The host refuses to drop a resource while a pollable of it lives, so none is left behind.
impl Drop for Ready {
    fn drop(&mut self) {
        forget(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use super::*;
    use crate::{join, join_all};

    /// Ends at the second look, as something does that is woken by another future.
    async fn second_look<T>(value: T) -> T {
        let mut looked = false;
        poll_fn(|context| {
            if std::mem::replace(&mut looked, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        value
    }

    #[test]
    fn runs_a_future_that_is_woken() {
        assert_eq!(block_on(second_look(1)), 1);
        assert_eq!(block_on(async { block_on(second_look(2)) + second_look(3).await }), 5);
    }

    #[test]
    fn waits_for_several() {
        assert_eq!(block_on(join_all([1, 2, 3].map(second_look))), [1, 2, 3]);
        assert_eq!(block_on(async { join!(second_look(1), ready("a")) }), (1, "a"));
    }

    #[test]
    fn the_first_wins_a_race() {
        let futures: [Pin<Box<dyn Future<Output = u8>>>; 3] =
            [Box::pin(pending()), Box::pin(second_look(1)), Box::pin(ready(2))];
        assert_eq!(block_on(race(futures)), 2);
    }

    #[test]
    #[should_panic(expected = "nothing will wake")]
    fn a_future_that_cannot_end_panics() {
        block_on(pending::<()>());
    }
}
