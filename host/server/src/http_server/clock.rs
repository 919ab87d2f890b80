//! How long a connection may take: for the head of its next request, for a body, for taking an answer.
//!
//! One timer a connection, which looks at what is waited for now and then. Timers of all threads are kept
//! in one place, and setting two for each request costs as much as 3 % of a small call.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// The bytes of an answer that a client takes in a second, at least: 64 KiB.
const TAKEN_A_SECOND: u64 = 64 << 10;

/// How often the clock looks at most. Shorter times are kept as exactly as this.
const LEAST_STEP: Duration = Duration::from_millis(100);

/// The time of one connection.
pub(super) struct Clock {
    waits: Mutex<Waits>,
    /// From one answer, once it has been taken, to the whole head of the next request.
    head_time: Duration,
    body_time: Duration,
}

/// What is waited for.
struct Waits {
    what: What,
    until: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Head,
    Body,
    /// The body was waited for long enough.
    NoBody,
    /// The server itself.
    Answer,
}

impl Clock {
    /// The clock of a new connection.
    pub(super) fn new(head_time: Duration, body_time: Duration) -> Arc<Clock> {
        let waits = Mutex::new(Waits { what: What::Answer, until: None });
        let clock = Clock { waits, head_time, body_time };
        clock.wait_for(What::Head, Some(head_time));
        Arc::new(clock)
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        // Two words are all that is written under the lock.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, what: What, time: Option<Duration>) {
        // A time beyond all clocks is none.
        *self.waits() =
            Waits { what, until: time.and_then(|time| Instant::now().checked_add(time)) };
    }

    /// Nothing is waited for of the client.
    pub(super) fn pause(&self) {
        self.wait_for(What::Answer, None);
    }

    /// Reads a body; nothing, where that takes too long.
    ///
    /// [`Clock::run_out`] has to be polled by the same task: whoever polls this wakes for that one.
    pub(super) async fn body<T>(&self, read: impl Future<Output = T>) -> Option<T> {
        self.wait_for(What::Body, Some(self.body_time));
        let mut read = pin!(read);
        let read = poll_fn(|context| match read.as_mut().poll(context) {
            Poll::Pending if self.waits().what == What::NoBody => Poll::Ready(None),
            polled => polled.map(Some),
        });
        let read = read.await;
        self.pause();
        read
    }

    /// The answer is there: once it has been handed over, the client has as long as it needs to take it
    /// and then the time for its next head.
    pub(super) fn end<B>(self: &Arc<Clock>, answer: Response<B>) -> Response<Sent<B>> {
        answer.map(|body| Sent { body, clock: self.clone(), next: self.head_time })
    }

    /// Waits until something has been waited for long enough; whether the connection has to go. Where it
    /// is a body, [`Clock::body`] sees it when it is polled next.
    pub(super) async fn run_out(&self) -> bool {
        // No time that is set meanwhile is over sooner, but for one that is shorter than the least step.
        let step = self.head_time.min(self.body_time).max(LEAST_STEP);
        loop {
            let now = Instant::now();
            let next = {
                let mut waits = self.waits();
                match waits.until {
                    Some(until) if until <= now => {
                        waits.until = None;
                        if waits.what == What::Body {
                            waits.what = What::NoBody;
                            return false;
                        }
                        return true;
                    }
                    Some(until) => until.min(now + step),
                    None => now + step,
                }
            };
            sleep_until(next).await;
        }
    }
}

/// The body of an answer. It is dropped when all of it has been handed over.
pub(super) struct Sent<B> {
    body: B,
    clock: Arc<Clock>,
    /// How long the next head, or room for more of the answer, may take from now on.
    next: Duration,
}

impl<B> Drop for Sent<B> {
    fn drop(&mut self) {
        self.clock.wait_for(What::Head, Some(self.next));
    }
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            // The next part is asked for when there is room for it, so when most of this one is taken.
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining) as u64;
                self.next = self.clock.head_time + Duration::from_secs(bytes / TAKEN_A_SECOND);
                self.clock.wait_for(What::Head, Some(self.next));
            }
            // There is room, and nothing to send.
            Poll::Pending => {
                self.next = self.clock.head_time;
                self.clock.pause();
            }
            Poll::Ready(_) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;

    use bytes::Bytes;
    use futures::SinkExt;
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The seconds until it runs out, and whether the connection has to go.
    async fn ran_out(clock: &Clock) -> (u64, bool) {
        let started = Instant::now();
        let ends = clock.run_out().await;
        (started.elapsed().as_secs(), ends)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_waited_for_from_the_start_and_from_the_end_of_an_answer() {
        let clock = Clock::new(60 * SECOND, 30 * SECOND);
        assert_eq!(ran_out(&clock).await, (60, true));

        let clock = Clock::new(60 * SECOND, 30 * SECOND);
        let client = async {
            sleep(59 * SECOND).await;
            clock.pause();
            // A long call, and a long answer to it.
            sleep(1000 * SECOND).await;
            let answer = clock.end(Response::new(Full::new(Bytes::from_static(b"answer"))));
            assert_eq!(answer.body().size_hint().exact(), Some(6));
            sleep(1000 * SECOND).await;
            drop(answer);
            Instant::now()
        };
        let ((seconds, ends), answered) = tokio::join!(ran_out(&clock), client);
        assert!(ends);
        assert_eq!((seconds, answered.elapsed()), (59 + 2000 + 60, 60 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_long_answer_has_time_and_who_does_not_is_hung_up_on() {
        let clock = Clock::new(60 * SECOND, 30 * SECOND);
        clock.pause();
        let mut answer = clock.end(Response::new(Full::new(Bytes::from(vec![0; 10 << 20]))));
        assert!(answer.body_mut().frame().await.is_some());
        drop(answer);
        assert_eq!(ran_out(&clock).await, (60 + 160, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_be_silent_but_what_it_says_has_to_be_taken() {
        let clock = Clock::new(60 * SECOND, 30 * SECOND);
        let (mut events, stream) = futures::channel::mpsc::channel::<Result<_, Infallible>>(0);
        let stream = StreamBody::new(stream);
        let mut answer = clock.end(Response::new(stream));
        let client = async {
            for _ in 0..3 {
                // As hyper does while there is room: what waits for more is no fault of the client.
                let (sent, frame) = tokio::join!(
                    async {
                        sleep(1000 * SECOND).await;
                        events.send(Ok(Frame::data(Bytes::from(vec![0; 1 << 20])))).await
                    },
                    answer.body_mut().frame()
                );
                assert!(sent.is_ok() && frame.is_some());
            }
            // And now it asks for no more.
            pending::<()>().await;
        };
        tokio::select! {
            () = client => {}
            (seconds, ends) = ran_out(&clock) => assert_eq!((seconds, ends), (3000 + 60 + 16, true)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_without_end_is_none() {
        let clock = Clock::new(60 * SECOND, Duration::MAX);
        let read = async {
            sleep(100_000 * SECOND).await;
            7
        };
        tokio::select! {
            read = clock.body(read) => assert_eq!(read, Some(7)),
            _ = clock.run_out() => panic!("it ran out"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_waited_for_and_the_connection_goes_only_where_the_answer_is_not_taken() {
        let clock = Clock::new(60 * SECOND, 30 * SECOND);
        // As a connection does: whatever is over, the body is polled after it.
        let watched = async |read: &mut (dyn Future<Output = u8> + Unpin)| {
            let mut body = pin!(clock.body(read));
            loop {
                tokio::select! {
                    biased;
                    read = &mut body => return read,
                    ends = clock.run_out() => assert!(!ends),
                }
            }
        };
        let started = Instant::now();
        sleep(50 * SECOND).await;
        clock.pause();
        assert_eq!(
            watched(&mut Box::pin(async {
                sleep(29 * SECOND).await;
                7
            }))
            .await,
            Some(7)
        );
        assert_eq!(watched(&mut Box::pin(pending())).await, None);
        assert_eq!(started.elapsed(), (50 + 29 + 30) * SECOND);
        drop(clock.end(Response::new(Full::<Bytes>::default())));
        assert_eq!(ran_out(&clock).await, (60, true));
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_at_all_is_no_endless_loop() {
        let clock = Clock::new(60 * SECOND, Duration::ZERO);
        clock.pause();
        let waited = tokio::time::timeout(SECOND, clock.run_out()).await;
        assert!(waited.is_err());
    }
}
