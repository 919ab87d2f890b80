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
use crate::scan::{Following, RunSecrets};

/// An answer on its way to a guest, with a marker for each secret the server repeats.
pub(in crate::egress) struct Redacted {
    inner: BoxStream<'static, Result<Bytes, EgressError>>,
    /// `None` once the end was reached.
    stream: Option<Following>,
}

impl Redacted {
    /// Also secrets that the run uses later, while the answer is on its way, are looked for.
    pub(in crate::egress) fn new(
        inner: BoxStream<'static, Result<Bytes, EgressError>>,
        secrets: Arc<RunSecrets>,
    ) -> Redacted {
        Redacted { inner, stream: Some(Following::new(secrets)) }
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
            Some(Ok(bytes)) if stream.is_idle() => return Poll::Ready(Some(Ok(bytes))),
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
    stream: Option<Following>,
    to: CheckedUrl,
}

impl Refusing {
    pub(super) fn new(
        body: UnsyncBoxBody<Bytes, BoxError>,
        secrets: Arc<RunSecrets>,
        to: CheckedUrl,
    ) -> Refusing {
        let stream = Some(Following::passing(secrets));
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
                Some(bytes) if stream.is_idle() => return Poll::Ready(Ok(Some(bytes))),
                Some(bytes) => stream.push(&bytes, &mut certain),
                None => stream.finish(&mut certain),
            }
            if let Some((scanner, found)) = stream.found() {
                scanner.may_go(found, &self.to)?;
            }
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::poll_fn;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use ampoule_contract::Denial;

    use super::*;
    use crate::egress::SecretValue;

    /// A guest begins a request first and learns the secret then.
    #[test]
    fn a_secret_that_is_used_while_a_body_goes_out_does_not_go_with_it() {
        let secrets = Arc::new(RunSecrets::default());
        let (sender, pieces) = futures::channel::mpsc::unbounded::<Result<_, BoxError>>();
        let body = StreamBody::new(pieces).boxed_unsync();
        let to = CheckedUrl::parse("https://elsewhere.test/").expect("a URL");
        let mut body = Refusing::new(body, secrets.clone(), to);
        let send = |text: &'static str| {
            sender.unbounded_send(Ok(Frame::data(Bytes::from(text)))).expect("open");
        };
        let mut next = || poll_fn(|cx| body.poll_next(cx)).now_or_never();
        send("nothing yet");
        assert!(matches!(next(), Some(Ok(Some(bytes))) if bytes == "nothing yet"));
        secrets.add("key", &[], &SecretValue::new("s3cret-value")).expect("few");
        send("it is s3cret");
        assert!(matches!(next(), Some(Ok(Some(bytes))) if bytes == "it is "));
        send("-value.");
        assert!(matches!(next(), Some(Err(error)) if error.downcast_ref::<Denial>().is_some()));
    }
}
