//! The answer to a request as a stream of server-sent events, each a message.

use std::io::Cursor;
use std::pin::Pin;
use std::time::Duration;

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::stream::{self, Stream, StreamExt as _};
use sse_stream::{Sse, SseByteStream};

use crate::message::Message;

use super::MAX_ID;

/// The longest that is waited because the server says so before a stream is taken up again.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A message.
    Message(Message),
    /// The stream is over; what to say where its end comes too early.
    End(Error),
}

/// A stream of messages, taken up again where it broke off.
pub(super) struct Events {
    frames: Frames,
    last_id: Option<String>,
    wait: Option<Duration>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>>>>;

/// Whether a response is an event stream.
pub(super) fn is_one(response: &Response) -> bool {
    let media_type = response.header("content-type").unwrap_or_default();
    media_type.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}

/// An answer is too large.
pub(super) fn too_large() -> Error {
    Error::too_large("the answer of the MCP server is too large; ask the tool for less")
}

impl Events {
    /// The messages in a response.
    pub(super) fn of(response: Response) -> Events {
        Events::in_pieces(pieces(response))
    }

    fn in_pieces(pieces: impl Stream<Item = Result<Vec<u8>>> + 'static) -> Events {
        Events { frames: frames(pieces), last_id: None, wait: None }
    }

    /// Goes on with the messages in another response.
    pub(super) fn resume(&mut self, response: Response) {
        self.frames = frames(pieces(response));
    }

    /// The id of the last event that had one.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants a client to wait before it takes the stream up again; at most a
    /// minute.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait.map(|wait| wait.min(MAX_WAIT))
    }

    /// The next message.
    ///
    /// # Errors
    /// `invalid-data` for what is none, `too-large`.
    pub(super) async fn next(&mut self) -> Result<Next> {
        loop {
            let frame = match self.frames.next().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return misread(error),
                None => {
                    let what = "the MCP server broke its answer off before it was complete";
                    return Ok(Next::End(Error::unavailable(what).with_retry()));
                }
            };
            if let Some(id) = frame.id {
                let usable = id.len() <= MAX_ID && id.bytes().all(|b| matches!(b, b' '..=b'~'));
                self.last_id = Some(id).filter(|id| usable && !id.is_empty());
            }
            if let Some(wait) = frame.retry {
                self.wait = Some(Duration::from_millis(wait));
            }
            let is_message = frame.event.is_none_or(|event| event.is_empty() || event == "message");
            match frame.data {
                Some(data) if is_message && !data.trim().is_empty() => {
                    return Message::parse(data.as_bytes()).map(Next::Message);
                }
                // A comment, an event of another kind, or an id to begin with.
                _ => {}
            }
        }
    }
}

fn frames(pieces: impl Stream<Item = Result<Vec<u8>>> + 'static) -> Frames {
    Box::pin(SseByteStream::new(Box::pin(pieces.map(|piece| piece.map(Cursor::new)))))
}

/// The pieces of a body, which may not be cut.
fn pieces(response: Response) -> impl Stream<Item = Result<Vec<u8>>> {
    stream::try_unfold(response, async |mut response| match response.chunk().await? {
        Some(piece) => Ok(Some((piece, response))),
        None if response.truncated() => Err(too_large()),
        None => Ok(None),
    })
}

/// What went wrong on the way, or in the encoding of the events. A connection that breaks is the
/// end of a stream like any other.
fn misread(error: sse_stream::Error) -> Result<Next> {
    match error {
        sse_stream::Error::Body(error) => match error.downcast::<Error>() {
            Ok(error) if error.code == "unavailable" => Ok(Next::End(*error)),
            Ok(error) => Err(*error),
            Err(error) => Ok(Next::End(Error::unavailable(error.to_string()).with_retry())),
        },
        error => {
            Err(Error::invalid_data(format!("the MCP server's event stream is malformed: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn events(body: &str, size: usize) -> Events {
        let pieces: Vec<Result<Vec<u8>>> =
            body.as_bytes().chunks(size).map(|piece| Ok(piece.to_vec())).collect();
        Events::in_pieces(stream::iter(pieces))
    }

    fn next(events: &mut Events) -> Result<Next> {
        ampoule_sdk::block_on(events.next())
    }

    #[test]
    fn messages_come_one_by_one_however_they_are_cut() {
        let body = ": hello\n\nid: e 1\nretry: 90000\ndata: \n\nevent: message\nid: e 2\n\
                    data: {\"method\":\ndata:  \"a\"}\n\nevent: other\ndata: x\n\n\
                    data: {\"id\": 1, \"result\": {}}\r\n\r\ndata: {\"id\": 2";
        for size in [1, 3, 1_000] {
            let mut events = events(body, size);
            let Next::Message(Message::Notification { method, .. }) = next(&mut events).unwrap()
            else {
                panic!("not a notification")
            };
            assert_eq!((method.as_str(), events.last_id()), ("a", Some("e 2")));
            assert_eq!(events.wait(), Some(MAX_WAIT));
            let Next::Message(Message::Response { id, .. }) = next(&mut events).unwrap() else {
                panic!("not a response")
            };
            assert_eq!(id, json!(1));
            let Next::End(error) = next(&mut events).unwrap() else { panic!("not the end") };
            assert!(error.code == "unavailable" && error.retryable);
        }
    }

    #[test]
    fn what_is_no_message_is_an_error_and_a_connection_that_breaks_is_an_end() {
        assert_eq!(next(&mut events("data: x\n\n", 100)).unwrap_err().code, "invalid-data");
        let broken = |error: Error| Events::in_pieces(stream::iter([Err(error)]));
        assert!(matches!(next(&mut broken(Error::unavailable("gone"))), Ok(Next::End(_))));
        assert_eq!(next(&mut broken(too_large())).unwrap_err().code, "too-large");
        let latin = Events::in_pieces(stream::iter([Ok(b"data: \xff\n\n".to_vec())]));
        assert_eq!(next(&mut { latin }).unwrap_err().code, "invalid-data");
        // An id that cannot stand in a header is none.
        let mut odd = events("id: \u{e9}\ndata: {\"method\": \"a\"}\n\n", 100);
        assert!(matches!(next(&mut odd), Ok(Next::Message(_))));
        assert_eq!(odd.last_id(), None);
    }
}
