//! Many clients over HTTP: what stands before rmcp's server.
//!
//! A request passes, in this order: the path, [`gate`] (`Host`, `Origin`), [`access`] (who is
//! asking), [`connections`] (is there a place), the bounds on its body. rmcp does the protocol from
//! there on. What says who is asking is taken out of the request on the way: no tool ever sees it.

mod access;
mod clock;
mod connections;
mod gate;
mod oauth;
mod sessions;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ampoule_contract::Tools;
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ServeError;
use crate::message::{self, Refusal};
use crate::options::ServeOptions;
use crate::server::{Client, Server, Shared};
pub use access::{Access, BearerToken};
use access::{Callers, NotLetIn};
use clock::Clock;
use connections::{Connection, Connections};
use gate::{Gate, Passed, Refused};
pub use oauth::{Documents, OAuth};
use sessions::{Own, Sessions};

/// Where the protocol is spoken.
const PATH: &str = "/mcp";

/// The most bytes the head of a request may have: 32 KiB.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// How much of a connection is read ahead: 64 KiB.
const READ_AT_ONCE: usize = 64 << 10;

/// The most headers a request may have.
const MAX_HEADERS: usize = 100;

/// How long a connection is kept between requests.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(60);

/// Bodies up to this need no place among the large ones.
const SMALL_BODY: usize = 64 << 10;

/// How many larger bodies there may be at once, from the first byte to the answer. More wait.
const LARGE_BODIES: usize = 8;

/// How long calls under way may go on when the server is to end.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// How long the answer to a call takes at most from its end into the stream of a session.
const INTO_STREAM: Duration = Duration::from_millis(100);

/// How long answers may take that are still on their way then.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How a server is reached over HTTP, and by whom.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Names under which clients reach the server, with a port or with any, beside those of this
    /// machine (`localhost`, loopback addresses, the address served on). Default: none.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may call the tools from a browser, such as
    /// `https://app.example.com`. Default: none.
    pub allowed_origins: Vec<String>,
    /// Who may call. Default: everybody who reaches a loopback address.
    pub access: Access,
    /// Connections that have sent a request which was let in. Default: 512.
    pub max_connections: usize,
    /// Sessions of clients that speak revisions before 2026-07-28; of one principal at most 64.
    /// Default: 512.
    pub max_sessions: usize,
    /// How long a new connection has to send the head of a request that is let in. Default: 10 s.
    pub head_time: Duration,
    /// How long the body of a request may take, from its head to its last byte, to a tenth of a second.
    /// Default: 30 s.
    pub body_time: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            access: Access::Open,
            max_connections: 512,
            max_sessions: 512,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
        }
    }
}

/// Serves many clients over streamable HTTP, at `/mcp`, until
/// [`shutdown`](ServeOptions::shutdown) is cancelled: then no connection is accepted any more,
/// and calls under way have five more seconds. There is no TLS; a proxy does that.
///
/// # Errors
/// An entry of [`ServeOptions::tools`] or of `http` is malformed, the address is not a loopback
/// address and [`Access::Open`], or the socket cannot be used.
pub async fn serve_http(
    tools: Arc<dyn Tools>,
    listener: TcpListener,
    options: ServeOptions,
    http: HttpOptions,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if matches!(http.access, Access::Open) && !address.ip().is_loopback() {
        return Err(ServeError::Open(address));
    }
    let streams = CancellationToken::new();
    let front = Arc::new(Front {
        shared: Arc::new(Shared::new(tools, &options)?),
        somebody: options.principal,
        gate: Gate::new(address, &http.allowed_hosts, &http.allowed_origins)?,
        callers: http.access.into(),
        sessions: Arc::new(Sessions::new(http.max_sessions)),
        config: StreamableHttpServerConfig::default()
            // The gate here says which flag would let a request in.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_json_response(true)
            .with_max_request_body_bytes(options.max_message_bytes),
        max_body: options.max_message_bytes,
        body_time: http.body_time,
        head_time: http.head_time,
        large: Semaphore::new(LARGE_BODIES),
        streams: streams.clone(),
    });
    let connections = Arc::new(Connections::new(http.max_connections));
    let ending = Ending { begun: options.shutdown.clone(), now: CancellationToken::new() };
    let running = TaskTracker::new();
    while let Some(stream) = accept(&listener, &options.shutdown).await {
        // Otherwise each answer on a kept connection waits for the client's delayed
        // acknowledgement: 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("a connection was gone at once: {error}");
            continue;
        }
        let place = connections.add();
        let clock = Clock::new(BETWEEN_REQUESTS, front.body_time);
        let connection = Connected { place, clock, speaker: Mutex::default() };
        running.spawn(serve_connection(front.clone(), stream, connection, ending.clone()));
    }
    drop(listener);
    running.close();
    let calls = &front.shared.calls;
    calls.close();
    if timeout(LAST_CALLS, calls.wait()).await.is_err() {
        tracing::warn!("calls were still under way and were dropped");
    }
    sleep(INTO_STREAM).await;
    streams.cancel();
    if timeout(LAST_ANSWERS, running.wait()).await.is_err() {
        ending.now.cancel();
        running.wait().await;
    }
    Ok(())
}

/// The next connection; nothing, once the server is to end.
async fn accept(listener: &TcpListener, shutdown: &CancellationToken) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => return Some(stream),
            Err(error) => {
                // Too many open files, for one: it passes, and asking at once would only burn time.
                tracing::warn!("a connection could not be accepted: {error}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// How a server ends.
#[derive(Clone)]
struct Ending {
    /// Answer what there is, and no more.
    begun: CancellationToken,
    /// Drop what is left.
    now: CancellationToken,
}

/// A connection.
struct Connected {
    place: Connection,
    clock: Arc<Clock>,
    /// What has answered its last request. The next one is of the same client, unless a proxy stands
    /// between.
    speaker: Mutex<Option<Arc<Speaker>>>,
}

/// rmcp's server, for one client over one connection.
struct Speaker {
    client: Arc<Client>,
    sessions: Arc<Own>,
    service: StreamableHttpService<Server, Own>,
}

/// Answers the requests of one connection, one after the other.
async fn serve_connection(
    front: Arc<Front>,
    stream: TcpStream,
    connection: Connected,
    ending: Ending,
) {
    let clock = &connection.clock;
    let service = service_fn(async |request| {
        clock.pause();
        let answer = front.answer(request, &connection).await;
        Ok::<_, Infallible>(clock.end(answer))
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(READ_AT_ONCE).max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let mut http = pin!(http.serve_connection(TokioIo::new(stream), service));
    // Together, since each of them would be asked anew several times a request.
    let mut stops: FuturesUnordered<_> = [
        sleep(front.head_time).map(|()| Stop::Stranger).boxed(),
        clock.run_out().map(Stop::Late).boxed(),
        connection.place.ousted.cancelled().map(|()| Stop::Now).boxed(),
        ending.begun.cancelled().map(|()| Stop::Then).boxed(),
        ending.now.cancelled().map(|()| Stop::Now).boxed(),
    ]
    .into_iter()
    .collect();
    loop {
        tokio::select! {
            ended = http.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("a connection broke: {error}");
                }
                return;
            }
            Some(stop) = stops.next() => match stop {
                Stop::Stranger if connection.place.is_guest() => {}
                // What reads a body is polled with the rest, and sees it.
                Stop::Late(false) => stops.push(clock.run_out().map(Stop::Late).boxed()),
                Stop::Stranger | Stop::Late(true) | Stop::Now => return,
                Stop::Then => http.as_mut().graceful_shutdown(),
            },
        }
    }
}

/// What ends a connection from this side.
enum Stop {
    /// At once, where no request has been let in.
    Stranger,
    /// At once, or where a body did not come, after saying so.
    Late(bool),
    /// At once.
    Now,
    /// After the request that is being answered.
    Then,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What stands before rmcp's server.
struct Front {
    shared: Arc<Shared>,
    /// For whom calls are made where nobody is asked who they are.
    somebody: Option<String>,
    gate: Gate,
    callers: Callers,
    sessions: Arc<Sessions>,
    config: StreamableHttpServerConfig,
    max_body: usize,
    body_time: Duration,
    head_time: Duration,
    large: Semaphore,
    /// Ends all streams and sessions.
    streams: CancellationToken,
}

impl Front {
    async fn answer(&self, request: Request<Incoming>, connection: &Connected) -> Answer {
        let passed = match self.gate.check(request.uri(), request.headers()) {
            Ok(passed) => passed,
            Err(Refused::Malformed(why)) => return refuse(StatusCode::BAD_REQUEST, why),
            Err(Refused::Forbidden(why)) => {
                tracing::warn!("a request was refused: {why}");
                return refuse(StatusCode::FORBIDDEN, why);
            }
        };
        let Passed::From(origin) = passed else { return self.let_in(request, connection).await };
        let mut answer = match *request.method() {
            Method::OPTIONS => preflight(request.headers()),
            _ => self.let_in(request, connection).await,
        };
        // It was a header of the request, so it can be one of the answer.
        if let Ok(origin) = HeaderValue::try_from(origin) {
            let headers = answer.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
            let exposed = HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        answer
    }

    async fn let_in(&self, mut request: Request<Incoming>, connection: &Connected) -> Answer {
        if let Some(metadata) = self.callers.metadata(request.uri().path()) {
            return match *request.method() {
                Method::GET => text(StatusCode::OK, "application/json", metadata.clone()),
                _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "This is read with GET."),
            };
        }
        if request.uri().path() != PATH {
            return refuse(StatusCode::NOT_FOUND, format!("MCP is spoken at {PATH}."));
        }
        let somebody = self.somebody.as_deref();
        let principal = match self.callers.principal(request.headers(), somebody).await {
            Ok(principal) => principal,
            Err(why) => return self.not_let_in(why),
        };
        for secret in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE] {
            request.headers_mut().remove(secret);
        }
        if !connection.place.admit() {
            return come_again("There are as many connections as there may be.");
        }
        let (parts, body) = request.into_parts();
        let (body, _place) = match parts.method {
            Method::POST => match connection.clock.body(self.read(body)).await {
                Some(Ok(read)) => read,
                Some(Err(refused)) => return refused,
                None => {
                    let why = format!("The body did not come within {:?}.", self.body_time);
                    return hang_up(StatusCode::REQUEST_TIMEOUT, why);
                }
            },
            _ => (Bytes::new(), None),
        };
        if let Err(refused) = message::bound(&body) {
            return malformed(refused);
        }
        if let Some(inspect) = &self.shared.inspect
            && let Ok(message) = serde_json::from_slice(&body)
        {
            inspect.message(principal.as_deref(), &message);
        }
        let request = Request::from_parts(parts, Full::new(body.clone()));
        self.speak(request, body, &self.speaker(connection, principal)).await
    }

    /// Says what a client may know of why it is not let in.
    fn not_let_in(&self, why: NotLetIn) -> Answer {
        let (status, error, text) = match why {
            NotLetIn::Missing => (
                StatusCode::UNAUTHORIZED,
                None,
                "This server asks for a token: `Authorization: Bearer …`.",
            ),
            NotLetIn::Wrong => (
                StatusCode::UNAUTHORIZED,
                Some("invalid_token"),
                "The token is none of those this server takes.",
            ),
            NotLetIn::Scope => (
                StatusCode::FORBIDDEN,
                Some("insufficient_scope"),
                "The token lacks a scope that this server asks for.",
            ),
            NotLetIn::Nobody(subject) => {
                let subject = serde_json::Value::from(subject);
                let why = format!(
                    "The token is good, and its subject is no principal of this server. Where its \
                     calls may be made, write into ampoule.toml:\n\n[principals.NAME]\n\
                     subject = {subject}"
                );
                return refuse(StatusCode::FORBIDDEN, why);
            }
            NotLetIn::Unavailable => {
                return come_again("The keys of the authorization server cannot be had.");
            }
        };
        let mut answer = refuse(status, text);
        let challenge = self.callers.challenge(error);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        answer
    }

    /// Reads a body within bounds; the place among large ones is held until the answer.
    async fn read(
        &self,
        mut body: Incoming,
    ) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Answer> {
        let too_large = || {
            let why = format!(
                "A message has at most {} bytes; pass what is large by file.",
                self.max_body
            );
            hang_up(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        let announced = body.size_hint();
        if announced.lower() > self.max_body as u64 {
            return Err(too_large());
        }
        let most = announced.upper().and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(self.max_body).min(self.max_body);
        let (mut read, mut place) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Err(hang_up(StatusCode::BAD_REQUEST, "The body broke off."));
            };
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > self.max_body - read.len() {
                return Err(too_large());
            }
            if place.is_none() && read.len() + data.len() > SMALL_BODY {
                // It is closed never.
                place = self.large.acquire().await.ok();
                // Once, and not by and by: what is not written yet takes no memory, and of a body
                // that grows the allocator would keep the smaller copies for a while.
                read.reserve_exact(most.saturating_sub(read.len()));
            }
            read.extend_from_slice(&data);
        }
        Ok((read.into(), place))
    }

    /// What speaks with a client over a connection: what did so last, if that was the same client.
    fn speaker(&self, connection: &Connected, principal: Option<String>) -> Arc<Speaker> {
        // A value is all that is kept under the lock: it is whole, wherever it breaks off.
        let mut last = connection.speaker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(speaker) = &*last
            && speaker.client.principal == principal
        {
            return speaker.clone();
        }
        let sessions = Arc::new(Own::new(self.sessions.clone(), principal.clone()));
        // Of its own, since each request takes some of it, and connections would meet at a common one.
        let gone = self.streams.child_token();
        let config = self.config.clone().with_cancellation_token(gone.clone());
        let client = Arc::new(Client { shared: self.shared.clone(), principal, gone });
        let own = client.clone();
        let server = move || Ok(Server::new(own.clone()));
        let service = StreamableHttpService::new(server, sessions.clone(), config);
        last.insert(Arc::new(Speaker { client, sessions, service })).clone()
    }

    /// Has rmcp answer.
    async fn speak(&self, request: Request<Full<Bytes>>, body: Bytes, speaker: &Speaker) -> Answer {
        let ends_session = request.method() == Method::DELETE;
        // Until the answer is there, a call in it is under way.
        let under_way = self.shared.calls.token();
        let mut answer = speaker.service.handle(request).await;
        drop(under_way);
        // It has ended; the official client for Python takes any other word of it for a failure.
        if ends_session && answer.status() == StatusCode::ACCEPTED {
            *answer.status_mut() = StatusCode::NO_CONTENT;
        }
        if speaker.sessions.was_full() {
            return come_again("There are as many sessions as there may be.");
        }
        // So it answers a body that it cannot read too, as a text and without the request's id.
        if answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE
            && let Err(refused) = message::parse(&body)
        {
            return malformed(refused);
        }
        answer
    }
}

fn text(status: StatusCode, media_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed());
    *answer.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    answer
}

fn refuse(status: StatusCode, why: impl Into<String>) -> Answer {
    text(status, "text/plain; charset=utf-8", why.into() + "\n")
}

/// Refuses, and reads no more of what else may come.
fn hang_up(status: StatusCode, why: impl Into<String>) -> Answer {
    let mut answer = refuse(status, why);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn come_again(why: &str) -> Answer {
    let mut answer = hang_up(StatusCode::SERVICE_UNAVAILABLE, format!("{why} Try again later."));
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn malformed(refused: Refusal) -> Answer {
    tracing::warn!(?refused, "a message was refused");
    let refused = refused.map_or_else(nobody_waits, |refused| *refused);
    // What was just built of texts and numbers can be written.
    let body = serde_json::to_vec(&refused).unwrap_or_default();
    text(StatusCode::BAD_REQUEST, "application/json", body)
}

/// HTTP answers also where the protocol does not.
fn nobody_waits() -> ServerJsonRpcMessage {
    let error = rmcp::model::ErrorData::invalid_request("this is no message of MCP", None);
    ServerJsonRpcMessage::error(error, None)
}

/// Tells a browser that a page may send what it is about to send.
fn preflight(asked: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default().boxed());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    answer
}
