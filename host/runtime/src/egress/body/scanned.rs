//! Bodies in which secrets are looked for as they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;

use super::{BoxError, EgressError, TURNS};
use crate::egress::CheckedUrl;
use crate::scan::{Scanner, Stream};

/// An answer on its way to a guest, with a marker for each secret the server repeats.
pub(in crate::egress) struct Redacted {
    inner: BoxStream<'static, Result<Bytes, EgressError>>,
    /// `None` once the end was reached.
    stream: Option<Stream>,
}

impl Redacted {
    pub(in crate::egress) fn new(
        inner: BoxStream<'static, Result<Bytes, EgressError>>,
        scanner: Arc<Scanner>,
    ) -> Redacted {
        Redacted { inner, stream: Some(Stream::new(scanner)) }
    }
}

impl futures::Stream for Redacted {
    type Item = Result<Bytes, EgressError>;

    /// Gives an empty piece for one that is held back whole: who asks has its own bound on those.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let mut clean = Vec::new();
        match ready!(this.inner.poll_next_unpin(cx)) {
            Some(Ok(bytes)) => stream.push(&bytes, &mut clean),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                stream.finish(&mut clean);
                this.stream = None;
            }
        }
        Poll::Ready(Some(Ok(clean.into())))
    }
}

/// A body of a guest on its way out, which fails before a secret that may not go there is.
pub(super) struct Refusing {
    body: UnsyncBoxBody<Bytes, BoxError>,
    /// `None` once the end was reached.
    stream: Option<Stream>,
    to: CheckedUrl,
}

impl Refusing {
    pub(super) fn new(
        body: UnsyncBoxBody<Bytes, BoxError>,
        scanner: Arc<Scanner>,
        to: CheckedUrl,
    ) -> Refusing {
        let stream = Some(Stream::passing(scanner));
        Refusing { body, stream, to }
    }

    /// The next bytes; `None` at the end. Trailers are the end.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, BoxError>> {
        for _ in 0..TURNS {
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(None)) };
            let data = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => None,
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(frame)) => frame.into_data().ok(),
            };
            let mut certain = Vec::new();
            let over = data.is_none();
            match data {
                Some(bytes) => stream.push(&bytes, &mut certain),
                None => stream.finish(&mut certain),
            }
            stream.scanner().may_go(stream.found(), &self.to)?;
            if over {
                self.stream = None;
            }
            if !certain.is_empty() {
                return Poll::Ready(Ok(Some(certain.into())));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
