//! Bodies in both directions, counted as they pass.

mod gunzip;
mod scanned;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ampoule_contract::{Account, Breach, Meter, ToolError};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep, sleep_until};

pub(super) use self::gunzip::Gunzip;
pub(super) use self::scanned::Redacted;
use self::scanned::Refusing;
use super::EgressError;
use super::error::timeout;
use super::url::CheckedUrl;
use crate::scan::RunSecrets;

/// The most bytes of a body that are handed on at once.
const PIECE: usize = 16 << 10;

/// How often in a row a body is asked for more where nothing comes of what it has. After that
/// the deadline and other tasks have their turn: a fast server could keep this one busy for ever.
const TURNS: usize = 32;

/// How long after the deadline of its request a request body ends: later than the wait for the
/// answer, whose error says more.
const GRACE: Duration = Duration::from_secs(1);

/// Any error, as bodies carry it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The account that requests and bytes are charged to.
pub trait Charge: Send + Sync {
    /// One more request goes out; each redirect that is followed is one.
    ///
    /// # Errors
    /// There are none left; it is not sent.
    fn request(&self) -> Result<(), Breach>;

    /// `n` more bytes of a request's body go out.
    ///
    /// # Errors
    /// There are not so many left; none of them is sent.
    fn sent(&self, n: u64) -> Result<(), Breach>;

    /// `n` more bytes of an answer's body are there, decompressed. Answers how many may be
    /// taken; the body is cut where that is fewer.
    fn received(&self, n: u64) -> u64;
}

/// By the meters `http-requests` and `http-bytes`.
impl Charge for Account {
    fn request(&self) -> Result<(), Breach> {
        self.charge(Meter::HttpRequests, 1)
    }

    fn sent(&self, n: u64) -> Result<(), Breach> {
        self.charge(Meter::HttpBytes, n)
    }

    fn received(&self, n: u64) -> u64 {
        self.charge_up_to(Meter::HttpBytes, n)
    }
}

/// The body of a request.
#[derive(Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// All of it; sent again where a redirect says so.
    Bytes(Bytes),
    /// Made while it is sent, and so only once: a redirect that wants it again is given as the
    /// answer. Trailers are left out.
    Stream {
        /// The frames.
        body: UnsyncBoxBody<Bytes, BoxError>,
        /// Its length in bytes, where it is known beforehand; with any other length it fails.
        length: Option<u64>,
    },
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestBody::Empty => f.write_str("Empty"),
            RequestBody::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            RequestBody::Stream { length, .. } => write!(f, "Stream({length:?})"),
        }
    }
}

/// A request body on its way.
///
/// It is as long as it was declared, or fails: what lies beyond would be the beginning of a
/// second request to a careless server. And it fails after the deadline, so that a connection
/// whose answer came early does not wait for the rest for ever.
pub(super) struct SentBody {
    // A mutex only because the client asks for `Sync`; it is never locked.
    source: Mutex<Source>,
    /// How many bytes are still to come, where that is known.
    left: Option<u64>,
    /// To charge each piece to before it is sent; `None` where that is done.
    charge: Option<Arc<dyn Charge>>,
    deadline: Pin<Box<Sleep>>,
}

/// Where the bytes come from.
enum Source {
    /// In pieces, so that the connection holds few of them and often comes for more.
    Bytes(Bytes),
    /// A stream in which secrets are looked for.
    Stream(Box<Refusing>),
    Over,
}

impl SentBody {
    /// All of a body, charged already.
    pub(super) fn bytes(bytes: Bytes, deadline: Instant) -> SentBody {
        let length = bytes.len() as u64;
        SentBody::new(Source::Bytes(bytes), Some(length), None, deadline)
    }

    /// A body that is made while it is sent to a URL, charged, and searched for secrets of the run
    /// as it goes.
    pub(super) fn stream(
        body: UnsyncBoxBody<Bytes, BoxError>,
        length: Option<u64>,
        secrets: Arc<RunSecrets>,
        to: CheckedUrl,
        charge: Arc<dyn Charge>,
        deadline: Instant,
    ) -> SentBody {
        let length = length.or(body.size_hint().exact());
        let source = Source::Stream(Box::new(Refusing::new(body, secrets, to)));
        SentBody::new(source, length, Some(charge), deadline)
    }

    fn new(
        source: Source,
        left: Option<u64>,
        charge: Option<Arc<dyn Charge>>,
        deadline: Instant,
    ) -> SentBody {
        let deadline = Box::pin(sleep_until(deadline + GRACE));
        SentBody { source: Mutex::new(source), left, charge, deadline }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        }
        let source = self.source.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(data) = ready!(source.poll_next(cx))? else {
            return Poll::Ready(match self.left {
                None | Some(0) => Ok(None),
                Some(_) => Err(wrong_length("shorter")),
            });
        };
        if let Some(left) = self.left {
            let left = left.checked_sub(data.len() as u64);
            let left = left.ok_or_else(|| wrong_length("longer"))?;
            self.left = Some(left);
            // Over HTTP/1.1 nobody comes for more after the last byte; what is there already
            // beyond it is found now.
            if left == 0
                && let Poll::Ready(beyond) = source.poll_next(cx)
                && beyond?.is_some_and(|bytes| !bytes.is_empty())
            {
                return Poll::Ready(Err(wrong_length("longer")));
            }
        }
        if let Some(charge) = &self.charge {
            charge.sent(data.len() as u64)?;
        }
        Poll::Ready(Ok(Some(data)))
    }
}

impl Source {
    /// The next bytes; `None` at the end, however often it is asked.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BoxError>> {
        let next = match self {
            Source::Bytes(bytes) => {
                Ok((!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE))))
            }
            Source::Stream(body) => ready!(body.poll_next(cx)),
            Source::Over => Ok(None),
        };
        if !matches!(next, Ok(Some(_))) {
            *self = Source::Over;
        }
        Poll::Ready(next)
    }
}

fn wrong_length(than: &str) -> BoxError {
    let message = format!("the body is {than} than its declared length");
    ToolError::new("bad-arguments", message).into()
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = ready!(self.get_mut().poll_data(cx));
        Poll::Ready(data.map(|data| data.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The body of an answer, decompressed, as it comes.
///
/// It ends early, `truncated`, at its own limit and where the account has no more bytes. After
/// an error it is over. Dropping it gives the rest up.
pub struct ResponseBody {
    stream: Option<BoxStream<'static, Result<Bytes, EgressError>>>,
    left: u64,
    truncated: bool,
    charge: Arc<dyn Charge>,
    deadline: Pin<Box<Sleep>>,
    origin: String,
}

impl ResponseBody {
    pub(super) fn new(
        stream: BoxStream<'static, Result<Bytes, EgressError>>,
        max_bytes: u64,
        charge: Arc<dyn Charge>,
        deadline: Instant,
        origin: String,
    ) -> ResponseBody {
        ResponseBody {
            stream: Some(stream),
            left: max_bytes,
            truncated: false,
            charge,
            deadline: Box::pin(sleep_until(deadline)),
            origin,
        }
    }

    /// The next bytes, as soon as there are some; `None` at the end.
    ///
    /// # Errors
    /// `timeout`, `unavailable` where the answer broke off, `invalid-data` where its compression
    /// is damaged.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ToolError> {
        self.next().await.transpose()
    }

    /// Whether the body was cut at a limit. Final once the end was reached.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The end: closes what is still open.
    fn end<T>(&mut self, last: Option<T>) -> Poll<Option<T>> {
        self.stream = None;
        Poll::Ready(last)
    }

    fn cut<T>(&mut self) -> Poll<Option<T>> {
        self.truncated = true;
        self.end(None)
    }

    /// Nothing has come: waits, unless the deadline has.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ToolError>>> {
        ready!(self.deadline.as_mut().poll(cx));
        // With all taken that may be taken, only the end was waited for.
        if self.left == 0 {
            return self.cut();
        }
        let error = timeout(&self.origin);
        self.end(Some(Err(error)))
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, ToolError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        for _ in 0..TURNS {
            let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
            let mut chunk = match stream.poll_next_unpin(cx) {
                Poll::Pending => return this.poll_wait(cx),
                Poll::Ready(None) => return this.end(None),
                Poll::Ready(Some(Err(_))) if this.left == 0 => return this.cut(),
                Poll::Ready(Some(Err(error))) => {
                    let error = match error {
                        EgressError::Failed(error) => error,
                        EgressError::Denied(denial) => denial.into(),
                        EgressError::Limit(breach) => ToolError::new("limit", breach.to_string()),
                    };
                    return this.end(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(chunk))) => chunk,
            };
            if chunk.is_empty() {
                continue;
            }
            let there = chunk.len() as u64;
            let wanted = there.min(this.left);
            let taken = if wanted == 0 { 0 } else { this.charge.received(wanted).min(wanted) };
            this.left -= taken;
            if taken < there {
                this.truncated = true;
                this.stream = None;
                if taken == 0 {
                    return Poll::Ready(None);
                }
                chunk.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
            }
            return Poll::Ready(Some(Ok(chunk)));
        }
        cx.waker().wake_by_ref();
        this.poll_wait(cx)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("left", &self.left)
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}
