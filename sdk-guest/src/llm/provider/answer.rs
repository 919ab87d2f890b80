//! A request, its errors in the contract's codes, and an answer that comes as server-sent events.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use crate::llm::{Event, EventStream, Part};
use crate::prelude::*;
use crate::{http, secrets, stream};
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use sse_stream::{Sse, SseByteStream};

/// Bytes of an answer, as they come over the network.
const MAX_ANSWER_BYTES: u64 = 24 << 20;
/// Bytes of all texts, thoughts and arguments of one answer.
const MAX_CONTENT_BYTES: usize = 4 << 20;
/// Parts of one answer, tool calls among them.
const MAX_PARTS: usize = 256;
/// Bytes of an error's body that are read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Characters of a provider's message that are passed on.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// The credential that requests carry where it is granted, by its name in `plugin.toml`.
pub const API_KEY: &str = "api-key";

/// Sends a request, with the key where there is one, and waits for a status that is no error.
///
/// # Errors
/// Those of [`http::Request::send`], and an error status with what the provider says of it.
pub async fn send(request: http::Request) -> Result<http::Response> {
    let request = request.max_bytes(MAX_ANSWER_BYTES);
    let request = if secrets::exists(API_KEY) { request.credential(API_KEY) } else { request };
    let mut response = request.send().await?;
    let Some(error) = response.error() else { return Ok(response) };
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend(chunk);
    }
    let status = response.status();
    let wait = response.header("retry-after-ms").and_then(|wait| wait.trim().parse().ok());
    Err(refusal(error, status, wait, &body))
}

/// An error status with what the provider says of it. `data` holds `status` and, where it is
/// given, the provider's `type` and `code`.
fn refusal(error: Error, status: u16, wait_ms: Option<u64>, body: &[u8]) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut error = Error { message: format!("the provider answered status {status}"), ..error };
    let mut data = json!({ "status": status });
    if let Some(said) = message(&body) {
        error.message = format!("{}: {said}", error.message);
    }
    for key in ["type", "code"] {
        if let Some(value @ (Value::String(_) | Value::Number(_))) = body["error"].get(key) {
            data[key] = value.clone();
        }
    }
    if status == 402 {
        // No credit left: nothing the caller can mend in its arguments.
        error.code = "unauthorized".into();
    }
    if data["code"] == "insufficient_quota" {
        // The protocol's word for an empty account, under the status of a short-term limit.
        error.retryable = false;
        error.retry_after_ms = None;
    } else if let Some(wait) = wait_ms.filter(|_| error.retryable) {
        error = error.with_retry_after(Duration::from_millis(wait));
    }
    error.with_data(data)
}

/// The message in an error body: `{"error": {"message": …}}`, or one of the shapes that
/// compatible servers use.
fn message(body: &Value) -> Option<String> {
    let shapes = ["/error/message", "/error", "/message", "/detail"];
    let said = shapes.iter().find_map(|shape| body.pointer(shape)?.as_str())?;
    Some(said.chars().take(MAX_MESSAGE_CHARS).collect())
}

/// An error that a provider reports in the middle of an answer.
pub fn reported(body: &Value) -> Error {
    let kind = body["error"]["type"].as_str().or(body["error"]["code"].as_str());
    let status = body["error"]["code"].as_u64().or(body["error"]["status"].as_u64());
    let said = message(body).unwrap_or_else(|| "no reason given".into());
    let text = format!("the provider gave up in the middle of the answer: {said}");
    let error = match (kind.unwrap_or_default(), status) {
        ("rate_limit_error" | "rate_limit_exceeded", _) | (_, Some(429)) => {
            Error::rate_limited(text).with_retry()
        }
        ("authentication_error" | "permission_error", _) => Error::unauthorized(text),
        ("not_found_error", _) => Error::not_found(text),
        ("invalid_request_error", _) | (_, Some(400)) => Error::bad_arguments(text),
        ("request_too_large", _) => Error::too_large(text),
        ("timeout_error", _) => Error::timeout(text).with_retry(),
        _ => Error::unavailable(text).with_retry(),
    };
    match kind {
        Some(kind) => error.with_data(json!({ "type": kind })),
        None => error,
    }
}

/// Reads JSON that a provider sent.
///
/// # Errors
/// `invalid-data`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::invalid_data(format!("the provider's answer is malformed: {error}"))
    })
}

/// Puts an answer together from what comes.
pub trait Assemble: 'static {
    /// Takes the data of one server-sent event and gives what there is to tell; an event of kind
    /// `response` ends the answer.
    ///
    /// # Errors
    /// `invalid-data`, `too-large`, and what the provider reports.
    fn take(&mut self, data: &str) -> Result<Vec<Event>>;

    /// The response, where the connection ended in good order without a word of its own.
    ///
    /// # Errors
    /// [`broken_off`] where the answer is not complete.
    fn end(&mut self) -> Result<Event>;
}

/// `unavailable`: the connection ended before the answer.
pub fn broken_off() -> Error {
    Error::unavailable("the answer broke off before it was complete").with_retry()
}

/// An answer on its way.
pub struct Answer<A> {
    frames: Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>>>>,
    assembly: A,
    ready: VecDeque<Event>,
    over: bool,
}

impl<A: Assemble> Answer<A> {
    /// Reads an answer from a response.
    ///
    /// # Errors
    /// `invalid-data` where the response is no event stream.
    pub fn new(response: http::Response, assembly: A) -> Result<Answer<A>> {
        let found = response.header("content-type").unwrap_or_default();
        if !found.trim_start().to_ascii_lowercase().starts_with("text/event-stream") {
            let found = found.chars().take(100).collect::<String>();
            return Err(Error::invalid_data(format!(
                "the provider answered `{found}` where an event stream was asked for; \
                 is `base-url` right?"
            )));
        }
        let chunks =
            stream::try_unfold(response, async |mut response| match response.chunk().await? {
                Some(chunk) => Ok(Some((chunk, response))),
                None if response.truncated() => {
                    Err(Error::too_large("the provider's answer is too large"))
                }
                None => Ok(None),
            });
        Ok(Answer::of(chunks, assembly))
    }

    /// Reads an answer from pieces of its body.
    pub fn of(chunks: impl Stream<Item = Result<Vec<u8>>> + 'static, assembly: A) -> Answer<A> {
        let chunks = chunks.map(|chunk| chunk.map(std::io::Cursor::new));
        let frames = Box::pin(SseByteStream::new(Box::pin(chunks)));
        Answer { frames, assembly, ready: VecDeque::new(), over: false }
    }
}

impl<A: Assemble> EventStream for Answer<A> {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.over = event.kind == "response";
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            match self.frames.next().await.transpose().map_err(misread)? {
                Some(Sse { data: Some(data), .. }) => {
                    self.ready.extend(self.assembly.take(&data)?);
                }
                // Without data: a comment or a setting of the protocol.
                Some(_) => {}
                None => self.ready.push_back(self.assembly.end()?),
            }
        }
    }
}

/// What went wrong on the way, or in the encoding of the events.
fn misread(error: sse_stream::Error) -> Error {
    match error {
        sse_stream::Error::Body(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::unavailable(error.to_string()).with_retry(),
        },
        error => Error::invalid_data(format!("the provider's event stream is malformed: {error}")),
    }
}

/// Counts what an answer holds, so that it ends before memory does.
#[derive(Debug, Default)]
pub struct Budget {
    bytes: usize,
    parts: usize,
}

impl Budget {
    /// Counts a piece of text, thought or arguments.
    ///
    /// # Errors
    /// `too-large` above 4 MiB together.
    pub fn text(&mut self, text: &str) -> Result<()> {
        self.bytes += text.len();
        if self.bytes > MAX_CONTENT_BYTES {
            return Err(Error::too_large(format!(
                "the answer is larger than {} MiB; ask for less with `max-tokens`",
                MAX_CONTENT_BYTES >> 20
            )));
        }
        Ok(())
    }

    /// Counts one more part.
    ///
    /// # Errors
    /// `too-large` above 256.
    pub fn part(&mut self) -> Result<()> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(Error::too_large(format!("the answer has more than {MAX_PARTS} parts")));
        }
        Ok(())
    }
}

/// A tool call from the text of its arguments; none at all stand for `{}`. `None` where they are
/// not a JSON object: cut, in an answer that met its limit of tokens, else [`malformed_call`].
pub fn tool_call(id: &str, name: &str, arguments: &str) -> Option<Part> {
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let value = serde_json::from_str(arguments).ok().filter(Value::is_object)?;
    Some(Part::tool_call(id, name, value))
}

/// `invalid-data`, to be retried: the model wrote something else than a JSON object.
pub fn malformed_call(name: &str) -> Error {
    let name: String = name.chars().take(64).collect();
    let message = format!("the model called `{name}` with arguments that are not a JSON object");
    Error::invalid_data(message).with_retry()
}

/// All events of an answer whose body comes in pieces of `size` bytes: for unit tests of an
/// [`Assemble`].
///
/// # Errors
/// Those of the answer.
pub fn events<A: Assemble + Default>(body: &str, size: usize) -> Result<Vec<Event>> {
    let chunks: Vec<Result<Vec<u8>>> =
        body.as_bytes().chunks(size).map(|chunk| Ok(chunk.to_vec())).collect();
    let mut answer = Answer::of(stream::iter(chunks), A::default());
    crate::block_on(async {
        let mut events = Vec::new();
        while let Some(event) = answer.next().await? {
            events.push(event);
        }
        Ok(events)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, status: u16, wait: Option<u64>, body: &str) -> Error {
        let retryable = matches!(code, "rate-limited" | "unavailable");
        let error = Error { retryable, ..Error::new(code, "") };
        refusal(error, status, wait, body.as_bytes())
    }

    #[test]
    fn a_refusal_says_what_the_provider_says() {
        for body in [
            r#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#,
            r#"{"type":"error","error":{"type":"not_found_error","message":"no such model"}}"#,
            r#"{"error":"no such model"}"#,
            r#"{"object":"error","message":"no such model"}"#,
            r#"{"detail":"no such model"}"#,
        ] {
            let error = refused("not-found", 404, None, body);
            assert_eq!(error.message, "the provider answered status 404: no such model");
            assert_eq!(error.data.map(|data| data["status"].clone()), Some(json!(404)));
        }
        let error = refused("unavailable", 502, None, "<html>Bad gateway</html>");
        assert_eq!(error.message, "the provider answered status 502");
        assert!(error.retryable);
        let long = json!({ "error": { "message": "x".repeat(100_000) } }).to_string();
        assert!(refused("bad-arguments", 400, None, &long).message.len() < 3_000);
    }

    #[test]
    fn waiting_helps_against_a_rate_but_not_against_an_empty_account() {
        let error = refused("rate-limited", 429, Some(1_500), "{}");
        assert_eq!((error.retryable, error.retry_after_ms), (true, Some(1_500)));
        let body = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
        let error = refused("rate-limited", 429, Some(1_500), body);
        assert_eq!((error.retryable, error.retry_after_ms), (false, None));
        assert_eq!(refused("bad-arguments", 402, Some(1), "{}").code, "unauthorized");
    }

    #[test]
    fn an_answer_is_bounded() {
        let mut budget = Budget::default();
        let text = "x".repeat(1 << 20);
        assert!((0..4).all(|_| budget.text(&text).is_ok()));
        assert!(budget.text("x").is_err_and(|error| error.code == "too-large"));
        assert!((0..256).all(|_| budget.part().is_ok()));
        assert!(budget.part().is_err());
    }

    #[test]
    fn arguments_are_an_object() {
        let call = |arguments| tool_call("1", "t", arguments);
        assert_eq!(call(""), Some(Part::tool_call("1", "t", json!({}))));
        assert_eq!(call("{\"a\":1}"), Some(Part::tool_call("1", "t", json!({ "a": 1 }))));
        for arguments in ["{\"a\":", "[]", "1", "null"] {
            assert_eq!(call(arguments), None);
        }
    }
}
