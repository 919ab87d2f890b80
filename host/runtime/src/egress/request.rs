//! A request as a guest makes it, its bounds, and its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::body::{Charge, RequestBody, ResponseBody};
use super::credential::Credential;
use crate::rate::Rate;
use crate::scan::RunSecrets;

/// Bounds on one request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressLimits {
    /// Redirects that are followed; with 0 they are given as answers. Default: 5.
    pub max_redirects: u32,
    /// Bytes of the answer's body, decompressed; it is cut there. Default: 32 MiB.
    pub max_response_bytes: u64,
    /// Bytes of all header names and values, of the request and of each answer. Default: 64 KiB.
    pub max_header_bytes: usize,
    /// Header fields, of the request and of each answer; of an answer never more than 256.
    /// Default: 128.
    pub max_headers: usize,
    /// From sending a request to the headers of its answer, for each redirect anew.
    /// Default: 30 s.
    pub time_to_headers: Duration,
    /// From the start to the last byte of the body. Default: 60 s.
    pub total_time: Duration,
    /// How often the binding may ask one host. Default: no bound.
    pub host_rate: Option<Rate>,
}

impl Default for EgressLimits {
    fn default() -> Self {
        EgressLimits {
            max_redirects: 5,
            max_response_bytes: 32 << 20,
            max_header_bytes: 64 << 10,
            max_headers: 128,
            time_to_headers: Duration::from_secs(30),
            total_time: Duration::from_secs(60),
            host_rate: None,
        }
    }
}

/// A request of a guest, nothing of it judged yet.
pub struct EgressRequest {
    /// In capitals.
    pub method: String,
    /// Absolute, `http` or `https`.
    pub url: String,
    /// [`header_map`](super::header_map) makes one of a guest's list.
    pub headers: HeaderMap,
    /// What to send.
    pub body: RequestBody,
    /// The secrets to attach, in the order in which they are attached.
    pub credentials: Vec<Credential>,
    /// The secrets of the run, which are looked for in what is sent and what comes back; those
    /// above are added. Default: none but those.
    pub secrets: Arc<RunSecrets>,
    /// The bounds.
    pub limits: EgressLimits,
    /// The account it is charged to.
    pub charge: Arc<dyn Charge>,
}

impl EgressRequest {
    /// A request without headers, body or credentials, under the default limits.
    pub fn new(
        method: impl Into<String>,
        url: impl Into<String>,
        charge: Arc<dyn Charge>,
    ) -> EgressRequest {
        EgressRequest {
            method: method.into(),
            url: url.into(),
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            credentials: Vec::new(),
            secrets: Arc::default(),
            limits: EgressLimits::default(),
            charge,
        }
    }

    /// A request as `wasi:http` and HTTP libraries have it. `Host` gives way to the host of the
    /// URL; `Content-Length` becomes the length of a streamed body.
    pub fn from_http(
        request: http::Request<RequestBody>,
        charge: Arc<dyn Charge>,
    ) -> EgressRequest {
        let (mut parts, mut body) = request.into_parts();
        parts.headers.remove(header::HOST);
        let declared = parts.headers.remove(header::CONTENT_LENGTH);
        if let RequestBody::Stream { length, .. } = &mut body {
            let declared = declared.and_then(|value| value.to_str().ok()?.parse().ok());
            *length = length.or(declared);
        }
        EgressRequest {
            headers: parts.headers,
            body,
            ..EgressRequest::new(parts.method.as_str(), parts.uri.to_string(), charge)
        }
    }
}

impl fmt::Debug for EgressRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressRequest")
            .field("method", &self.method)
            .field("body", &self.body)
            .field("credentials", &self.credentials)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// An answer, its body still on the way.
#[derive(Debug)]
pub struct EgressResponse {
    /// The status.
    pub status: StatusCode,
    /// The URL that answered, after redirects; without what the host put into its query.
    pub url: String,
    /// The headers, without those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: ResponseBody,
}
