//! `http`: requests to the world, through the one egress.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ampoule_contract::{Meter, ToolError};
use bytes::Bytes;
use wasmtime::component::{HasSelf, Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::pending::Pending;
use super::{Gate, Host, answer, blobs, granted, secrets};
use crate::bindings::ampoule::plugin::http;
use crate::bindings::ampoule::plugin::types::Error;
use crate::egress::{
    Credential, EgressError, EgressLimits, EgressRequest, EgressResponse, RequestBody,
    ResponseBody, header_map,
};
use crate::grants::Grants;
use crate::limits::price;
use crate::state::{CallState, Running};

/// The most bytes one read gives.
const READ_BYTES: u64 = 1 << 20;

/// The most redirects a guest may ask to be followed.
const MAX_REDIRECTS: u32 = 20;

/// The most bytes of bodies that the requests of one call under way may hold together.
const MAX_UNSENT_BYTES: u64 = 64 << 20;

/// The most secrets one request may carry.
const MAX_CREDENTIALS: usize = 8;

/// A request a guest has started.
pub type Sending = Pending<Result<EgressResponse, EgressError>>;

/// An answer, its body still on the way.
pub struct Response {
    status: u16,
    url: String,
    headers: http::Headers,
    body: ResponseBody,
    /// What has come and was not read yet.
    ahead: Bytes,
    over: bool,
    failed: Option<ToolError>,
}

impl Response {
    fn new(response: EgressResponse) -> Response {
        let headers = response.headers.iter();
        Response {
            status: response.status.as_u16(),
            url: response.url,
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                .collect(),
            body: response.body,
            ahead: Bytes::new(),
            over: false,
            failed: None,
        }
    }

    /// Waits until there is something to read, or there will be nothing more.
    async fn fill(&mut self) {
        while self.ahead.is_empty() && !self.over {
            match self.body.chunk().await {
                Ok(Some(chunk)) => self.ahead = chunk,
                Ok(None) => self.over = true,
                Err(error) => {
                    self.over = true;
                    self.failed = Some(error);
                }
            }
        }
    }

    async fn read(&mut self, max: u64) -> Result<Bytes, ToolError> {
        self.fill().await;
        if self.ahead.is_empty() {
            return self.failed.take().map_or(Ok(Bytes::new()), Err);
        }
        let length = (max.min(READ_BYTES) as usize).min(self.ahead.len());
        Ok(self.ahead.split_to(length))
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for Response {
    async fn ready(&mut self) {
        self.fill().await;
    }
}

/// The body of a request under way, among those of its call.
struct Unsent {
    call: Arc<Running>,
    bytes: u64,
}

impl Unsent {
    /// # Errors
    /// There is no room for it.
    fn hold(call: &Arc<Running>, bytes: usize) -> Result<Unsent, ToolError> {
        let bytes = bytes as u64;
        let before = call.unsent.fetch_add(bytes, Ordering::AcqRel);
        // One by itself is bounded as any host call is.
        let unsent = Unsent { call: call.clone(), bytes };
        if before > 0 && before + bytes > MAX_UNSENT_BYTES {
            let most = Meter::HttpBytes.show(MAX_UNSENT_BYTES);
            let message = format!("the bodies of requests under way have {most}; wait for some");
            let error = ToolError::new("rate-limited", message);
            return Err(ToolError { retryable: true, ..error });
        }
        Ok(unsent)
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.call.unsent.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl http::Host for CallState {}
impl http::HostResponse for CallState {}
impl http::HostPending for CallState {}

impl http::HostWithStore<CallState> for HasSelf<CallState> {
    async fn send(
        mut host: Host<'_>,
        request: http::Request,
    ) -> wasmtime::Result<Result<Resource<Response>, Error>> {
        granted!(host, request_price(&request), |grants| Grants::http(grants).map(drop));
        let call = host.get().call.clone();
        let result = send(call.clone(), request).await;
        receive(&mut host, result)
    }

    fn start(
        mut host: Host<'_>,
        request: http::Request,
    ) -> wasmtime::Result<Result<Resource<Sending>, Error>> {
        granted!(host, request_price(&request), |grants| Grants::http(grants).map(drop));
        let state = host.get();
        let unsent = match Unsent::hold(&state.call, request.body.as_ref().map_or(0, Vec::len)) {
            Ok(unsent) => unsent,
            Err(error) => return answer(Err(error)),
        };
        let call = state.call.clone();
        let sending = Sending::start(async move {
            let _unsent = unsent;
            send(call, request).await
        });
        Ok(Ok(state.table.push(sending)?))
    }
}

impl http::HostPendingWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, pending: Resource<Sending>) -> wasmtime::Result<()> {
        host.get().table.delete(pending)?;
        Ok(())
    }

    fn subscribe(
        mut host: Host<'_>,
        pending: Resource<Sending>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        host.enter(price::LOOK)?;
        subscribe(&mut host.get().table, pending)
    }

    async fn take(
        mut host: Host<'_>,
        pending: Resource<Sending>,
    ) -> wasmtime::Result<Result<Resource<Response>, Error>> {
        host.enter(price::WORK)?;
        match host.get().table.get_mut(&pending)?.take().await? {
            Some(result) => receive(&mut host, result),
            None => answer(Err(ToolError::new("conflict", "the answer was taken before"))),
        }
    }
}

impl http::HostResponseWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, response: Resource<Response>) -> wasmtime::Result<()> {
        host.get().table.delete(response)?;
        Ok(())
    }

    fn status(mut host: Host<'_>, response: Resource<Response>) -> wasmtime::Result<u16> {
        host.enter(price::LOOK)?;
        Ok(host.get().table.get(&response)?.status)
    }

    fn url(mut host: Host<'_>, response: Resource<Response>) -> wasmtime::Result<String> {
        host.enter(price::LOOK)?;
        Ok(host.get().table.get(&response)?.url.clone())
    }

    fn headers(
        mut host: Host<'_>,
        response: Resource<Response>,
    ) -> wasmtime::Result<http::Headers> {
        host.enter(price::WORK)?;
        Ok(host.get().table.get(&response)?.headers.clone())
    }

    async fn read(
        mut host: Host<'_>,
        response: Resource<Response>,
        max: u64,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        host.enter(price::WORK)?;
        let result = host.get().table.get_mut(&response)?.read(max).await;
        if let Ok(bytes) = &result {
            host.enter(price::bytes(bytes.len()))?;
        }
        answer(result.map(|bytes| bytes.to_vec()))
    }

    fn subscribe(
        mut host: Host<'_>,
        response: Resource<Response>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        host.enter(price::LOOK)?;
        subscribe(&mut host.get().table, response)
    }

    fn truncated(mut host: Host<'_>, response: Resource<Response>) -> wasmtime::Result<bool> {
        host.enter(price::LOOK)?;
        Ok(host.get().table.get(&response)?.body.truncated())
    }

    async fn into_blob(
        mut host: Host<'_>,
        response: Resource<Response>,
    ) -> wasmtime::Result<Result<String, Error>> {
        host.enter(price::LEAVE)?;
        let mut data = Vec::new();
        loop {
            let part = host.get().table.get_mut(&response)?.read(READ_BYTES).await;
            match part {
                Ok(part) if part.is_empty() => break,
                Ok(part) => {
                    host.get().call.account.charge(Meter::BlobBytes, part.len() as u64)?;
                    data.extend_from_slice(&part);
                }
                Err(error) => return answer(Err(error)),
            }
        }
        host.enter(price::bytes(data.len()))?;
        let state = host.get();
        let headers = &state.table.get(&response)?.headers;
        let media_type = headers.iter().find(|(name, _)| name == "content-type");
        let media_type = media_type.and_then(|(_, value)| String::from_utf8(value.clone()).ok());
        let blob = ampoule_contract::Blob {
            media_type: media_type.unwrap_or_else(|| "application/octet-stream".into()),
            data: data.into(),
        };
        Ok(Ok(blobs::keep(&state.call, blob)))
    }
}

fn request_price(request: &http::Request) -> u64 {
    let headers: usize = request.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
    let body = request.body.as_ref().map_or(0, Vec::len);
    price::LEAVE + price::bytes(headers + request.url.len() + body)
}

/// Sends a request of a guest under its binding's rules and limits.
async fn send(call: Arc<Running>, request: http::Request) -> Result<EgressResponse, EgressError> {
    let policy = call.grants.http()?;
    let bad = |message: String| EgressError::Failed(ToolError::new("bad-arguments", message));
    if request.credentials.len() > MAX_CREDENTIALS {
        return Err(bad(format!("a request carries at most {MAX_CREDENTIALS} secrets")));
    }
    // Judged before a secret is even looked up; the egress judges again at each hop.
    policy.check(&request.method, &request.url)?;
    let mut credentials = Vec::with_capacity(request.credentials.len());
    for name in request.credentials {
        let granted = call.grants.secret(&name)?;
        let Some(inject) = granted.inject.clone() else {
            return Err(bad(format!(
                "the manifest does not say where the secret `{name}` goes in a request (`inject`)"
            )));
        };
        let value = secrets::value(&call, &name).await?;
        credentials.push(Credential { name, audience: granted.audience.clone(), inject, value });
    }
    let body = match (request.body, request.body_blob) {
        (Some(_), Some(_)) => return Err(bad("a request has one body: bytes or a blob".into())),
        (Some(bytes), None) => RequestBody::Bytes(bytes.into()),
        (None, Some(id)) => RequestBody::Bytes(blobs::data(&call, &id)?),
        (None, None) => RequestBody::Empty,
    };
    let left = call.deadline.left();
    let wanted = request.timeout_ms.map_or(left, Duration::from_millis);
    let defaults = EgressLimits::default();
    let limits = EgressLimits {
        max_redirects: request.redirects.unwrap_or(defaults.max_redirects).min(MAX_REDIRECTS),
        max_response_bytes: request.max_bytes.unwrap_or(u64::MAX),
        total_time: wanted.min(left),
        time_to_headers: defaults.time_to_headers.min(wanted).min(left),
        host_rate: call.binding.config.http_rate,
        ..defaults
    };
    let request = EgressRequest {
        method: request.method,
        url: request.url,
        headers: header_map(request.headers)?,
        body,
        credentials,
        secrets: call.secrets.clone(),
        limits,
        charge: call.account.clone(),
    };
    call.host().egress().send(policy, request).await
}

/// An answer, or why there is none, as the guest sees it.
fn receive(
    host: &mut Host<'_>,
    result: Result<EgressResponse, EgressError>,
) -> wasmtime::Result<Result<Resource<Response>, Error>> {
    let state = host.get();
    match result {
        Ok(response) => Ok(Ok(state.table.push(Response::new(response))?)),
        Err(EgressError::Denied(denial)) => Ok(Err(state.call.deny(denial))),
        Err(EgressError::Limit(breach)) => Err(breach.into()),
        Err(EgressError::Failed(error)) => {
            if let Some(log) = &error.log {
                tracing::info!(call = state.call.id, "a request failed: {log}");
            }
            answer(Err(error))
        }
    }
}
