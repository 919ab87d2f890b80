//! Bodies in both directions, counted as they pass.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use ampoule_contract::{Account, Breach, Meter, ToolError};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, Sleep, sleep_until};

use super::EgressError;
use super::error::timeout;

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
        /// Its length in bytes, where it is known beforehand.
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

/// A streamed request body whose bytes are charged before they are sent.
pub(super) struct ChargedBody {
    // A mutex only because the client asks for `Sync`; it is never locked.
    body: Mutex<UnsyncBoxBody<Bytes, BoxError>>,
    length: Option<u64>,
    charge: Arc<dyn Charge>,
}

impl ChargedBody {
    pub(super) fn new(
        body: UnsyncBoxBody<Bytes, BoxError>,
        length: Option<u64>,
        charge: Arc<dyn Charge>,
    ) -> ChargedBody {
        let length = length.or(body.size_hint().exact());
        ChargedBody { body: Mutex::new(body), length, charge }
    }
}

impl Body for ChargedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let body = this.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let data = match ready!(Pin::new(body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(_trailers) => return Poll::Ready(None),
            },
        };
        Poll::Ready(Some(match this.charge.sent(data.len() as u64) {
            Ok(()) => Ok(Frame::data(data)),
            Err(breach) => Err(breach.into()),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
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
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, ToolError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
            let mut chunk = match stream.poll_next_unpin(cx) {
                Poll::Pending => {
                    ready!(this.deadline.as_mut().poll(cx));
                    // With all taken that may be taken, only the end was waited for.
                    if this.left == 0 {
                        return this.cut();
                    }
                    let error = timeout(&this.origin);
                    return this.end(Some(Err(error)));
                }
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
