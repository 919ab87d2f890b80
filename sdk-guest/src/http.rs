//! Requests to the world. Capability `http`, a list of patterns such as
//! `GET,HEAD https://api.example.com/v1/**`.
//!
//! ```no_run
//! # async fn example() -> ampoule_sdk::Result<()> {
//! use ampoule_sdk::{Value, http, json};
//!
//! let mut response = http::post("https://api.example.com/v1/search")
//!     .header("accept", "application/json")
//!     .credential("api-key")
//!     .json(&json!({ "q": "ampoule" }))
//!     .send()
//!     .await?
//!     .ok()?;
//! let found: Value = response.json().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The host judges each request and each redirect anew, resolves names itself and attaches
//! credentials itself, only for their audience.

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::ampoule::plugin::http as wit;
use crate::{BlobRef, Error, Result, host, task};

/// Begins a `GET`.
pub fn get(url: impl Into<String>) -> Request {
    request("GET", url)
}

/// Begins a `HEAD`.
pub fn head(url: impl Into<String>) -> Request {
    request("HEAD", url)
}

/// Begins a `POST`.
pub fn post(url: impl Into<String>) -> Request {
    request("POST", url)
}

/// Begins a `PUT`.
pub fn put(url: impl Into<String>) -> Request {
    request("PUT", url)
}

/// Begins a `PATCH`.
pub fn patch(url: impl Into<String>) -> Request {
    request("PATCH", url)
}

/// Begins a `DELETE`.
pub fn delete(url: impl Into<String>) -> Request {
    request("DELETE", url)
}

/// Begins a request of any method (in capitals) to an absolute `http` or `https` URL.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Request(Ok(wit::Request {
        method: method.into(),
        url: url.into(),
        headers: Vec::new(),
        body: None,
        body_blob: None,
        credentials: Vec::new(),
        redirects: None,
        timeout_ms: None,
        max_bytes: None,
        options: None,
    }))
}

/// A request in the making. What cannot be built is an error of [`Request::send`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request(Result<wit::Request>);

impl Request {
    fn with(mut self, change: impl FnOnce(&mut wit::Request)) -> Request {
        if let Ok(request) = &mut self.0 {
            change(request);
        }
        self
    }

    /// Adds a header. `Host`, `Content-Length` and those of the connection belong to the host.
    pub fn header(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Request {
        self.with(|request| request.headers.push((name.into(), value.into())))
    }

    /// Adds a parameter to the query of the URL, percent-encoded.
    pub fn query(self, name: &str, value: &str) -> Request {
        self.with(|request| {
            let (url, fragment) = match request.url.split_once('#') {
                Some((url, fragment)) => (url, Some(fragment)),
                None => (request.url.as_str(), None),
            };
            let pair = form(&[(name, value)]);
            let mark = match url.split_once('?') {
                None => "?",
                Some((_, "")) => "",
                Some(_) => "&",
            };
            let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
            request.url = format!("{url}{mark}{pair}{fragment}");
        })
    }

    /// Attaches a secret by name; how and where is written in its grant.
    pub fn credential(self, secret: impl Into<String>) -> Request {
        self.with(|request| request.credentials.push(secret.into()))
    }

    /// Sets the body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Request {
        self.with(|request| request.body = Some(body.into()))
    }

    /// Sets a blob as the body.
    pub fn body_blob(self, blob: &BlobRef) -> Request {
        self.with(|request| request.body_blob = Some(blob.id.clone()))
    }

    /// Sets a body of JSON and its `content-type`.
    pub fn json(mut self, body: &impl Serialize) -> Request {
        match (&mut self.0, serde_json::to_vec(body)) {
            (Ok(_), Ok(body)) => self.header("content-type", "application/json").body(body),
            (Ok(_), Err(error)) => Request(Err(error.into())),
            (Err(_), _) => self,
        }
    }

    /// Sets a body of form fields (`application/x-www-form-urlencoded`) and its `content-type`.
    pub fn form(self, fields: &[(&str, &str)]) -> Request {
        self.header("content-type", "application/x-www-form-urlencoded").body(form(fields))
    }

    /// Sets how many redirects to follow. Default: 5; with 0 they are answers.
    pub fn redirects(self, most: u32) -> Request {
        self.with(|request| request.redirects = Some(most))
    }

    /// Sets the time until the last byte, in whole milliseconds. Default: the limit of the call.
    pub fn timeout(self, timeout: Duration) -> Request {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.with(|request| request.timeout_ms = Some(timeout_ms))
    }

    /// Sets how many bytes of the body to take at most. Default: the limit of the call.
    pub fn max_bytes(self, bytes: u64) -> Request {
        self.with(|request| request.max_bytes = Some(bytes))
    }

    /// Sends it and waits for status and headers. An error status is an answer, not an error.
    /// Dropping the future gives the request up.
    ///
    /// # Errors
    /// `denied` where the request, a redirect, an address or a credential was refused;
    /// `unavailable` or `timeout` where the other side does not answer; `unavailable` natively.
    pub async fn send(self) -> Result<Response> {
        let request = self.0?;
        host::require("http")?;
        let pending = wit::start(&request)?;
        task::ready(pending.subscribe()).await;
        Ok(Response(pending.take()?))
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// An answer, its body still on the way.
#[derive(Debug)]
pub struct Response(wit::Response);

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// The URL that answered, after redirects.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// All headers: name and value, in the order they came.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.0.headers()
    }

    /// The first value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut headers = self.headers().into_iter();
        let (_, value) = headers.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        String::from_utf8(value).ok()
    }

    /// The response itself where its status is no error, else [`Response::error`].
    ///
    /// # Errors
    /// [`Response::error`].
    pub fn ok(self) -> Result<Response> {
        match self.error() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// What an error status (400 and above) stands for, in the contract's codes; `Retry-After` in
    /// seconds is taken over.
    pub fn error(&self) -> Option<Error> {
        let status = self.status();
        let (code, retryable) = match status {
            ..=399 => return None,
            401 | 403 => ("unauthorized", false),
            404 | 410 => ("not-found", false),
            408 | 504 => ("timeout", true),
            409 | 412 => ("conflict", false),
            413 => ("too-large", false),
            429 => ("rate-limited", true),
            500.. => ("unavailable", true),
            _ => ("bad-arguments", false),
        };
        let error = Error::new(code, format!("{} answered status {status}", self.url()));
        let wait = self.header("retry-after").and_then(|wait| wait.trim().parse().ok());
        Some(match wait {
            Some(seconds) if retryable => error.with_retry_after(Duration::from_secs(seconds)),
            _ => Error { retryable, ..error },
        })
    }

    /// The next bytes of the body, decompressed, as soon as there are some; `None` at the end.
    ///
    /// # Errors
    /// `unavailable` or `timeout` where the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        task::ready(self.0.subscribe()).await;
        let bytes = self.0.read(host::CHUNK)?;
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// The chunks of the body as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<u8>>> {
        try_unfold(self, async |mut response| {
            Ok(response.chunk().await?.map(|chunk| (chunk, response)))
        })
    }

    /// The rest of the body; see [`Response::truncated`].
    ///
    /// # Errors
    /// As [`Response::chunk`].
    pub async fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend(chunk);
        }
        Ok(bytes)
    }

    /// The rest of the body as text, read as UTF-8, with U+FFFD for what is not; see
    /// [`Response::truncated`].
    ///
    /// # Errors
    /// As [`Response::chunk`].
    pub async fn text(&mut self) -> Result<String> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The rest of the body as JSON.
    ///
    /// # Errors
    /// `too-large` where it was cut, `invalid-data` where it does not fit `T`, and as
    /// [`Response::chunk`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let bytes = self.bytes().await?;
        if self.truncated() {
            return Err(Error::too_large(format!("the answer of {} is too large", self.url())));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid_data(format!("the answer of {} is not as expected: {error}", self.url()))
        })
    }

    /// Whether the body was cut at a limit. Final once the body has been read to its end.
    pub fn truncated(&self) -> bool {
        self.0.truncated()
    }

    /// Reads the rest of the body into a blob, in the host.
    ///
    /// # Errors
    /// As [`Response::chunk`].
    pub fn into_blob(self) -> Result<BlobRef> {
        Ok(BlobRef { id: self.0.into_blob()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn query_goes_before_the_fragment() {
        let url = |url: &str| get(url).query("q", "a b&c").query("n", "é").0.unwrap().url;
        assert_eq!(url("http://x.test/p"), "http://x.test/p?q=a+b%26c&n=%C3%A9");
        assert_eq!(url("http://x.test/p?"), "http://x.test/p?q=a+b%26c&n=%C3%A9");
        assert_eq!(url("http://x.test/p?z=1#top"), "http://x.test/p?z=1&q=a+b%26c&n=%C3%A9#top");
    }

    #[test]
    fn bodies_carry_their_type() {
        let request = post("http://x.test").json(&serde_json::json!({ "a": 1 })).0.unwrap();
        assert_eq!(request.body.unwrap(), br#"{"a":1}"#);
        assert_eq!(request.headers, [("content-type".into(), b"application/json".to_vec())]);
    }

    #[test]
    fn what_cannot_be_built_is_an_error_of_send() {
        let odd = std::collections::HashMap::from([((1, 2), 3)]);
        let error = crate::block_on(post("http://x.test").json(&odd).send()).unwrap_err();
        assert_eq!(error.code, "invalid-data");
    }

    #[test]
    fn there_is_no_host_natively() {
        let error = crate::block_on(get("http://x.test").send()).unwrap_err();
        assert_eq!(error.code, "unavailable");
    }
}
