//! The client: one request from its judgement to its answer, redirects in between.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use ampoule_contract::{Denial, ToolError};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body;
use indexmap::IndexMap;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::body::{Charge, Gunzip, Redacted, RequestBody, ResponseBody, SentBody};
use super::credential::{Credential, Inject, redact_headers};
use super::error::{EgressError, timeout, transport};
use super::headers;
use super::oauth2::{self, Fetching, TokenKey, Tokens};
use super::policy::{Policy, PolicyDigest};
use super::request::{EgressLimits, EgressRequest, EgressResponse};
use super::resolve::{Judged, MAX_LOOKUPS_PER_POLICY, Resolve, SystemResolver};
use super::tls;
use super::url::CheckedUrl;
use crate::rate::Rates;
use crate::scan::{Found, RunSecrets};

/// How many clients are kept, each with its idle connections.
const MAX_CLIENTS: usize = 128;

/// How long a connection stays open unused.
const IDLE: Duration = Duration::from_secs(20);

/// How many unused connections to one host a client keeps.
const MAX_IDLE_PER_HOST: usize = 4;

/// The longest that finding, connecting and greeting a server may take. Requests have their own
/// limits; this ends the connections that nobody waits for any more.
const CONNECT: Duration = Duration::from_secs(30);

/// How long a server may leave what was sent unread before its connection is closed.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const STALLED: Duration = Duration::from_secs(30);

/// The most header fields of an answer that are parsed; [`EgressLimits`] may allow fewer.
const MAX_PARSED_HEADERS: usize = 256;

/// The most bytes of them over HTTP/2 (over HTTP/1 the parser stops at 400 KiB).
const MAX_PARSED_HEADER_BYTES: u32 = 256 * 1024;

/// The one way out to the network. Cheap to clone.
///
/// Connections are kept per policy: a client is made for each, so no request travels on a
/// connection that another policy judged. They are kept alive only to hosts that the operator
/// names; to hosts that are only matched (`**`, `*.example.com`) each request makes its own,
/// so that a guest that visits a thousand names leaves no thousand sockets behind.
///
/// Requests with a body go over HTTP/1.1. Over HTTP/2 a server could answer one early and never
/// make room for its body, and the HTTP library would keep body and connection for ever.
#[derive(Clone)]
pub struct Egress(Arc<Shared>);

struct Shared {
    resolver: Arc<dyn Resolve>,
    roots: Vec<CertificateDer<'static>>,
    /// Made at the first request: reading the platform's certificates takes milliseconds.
    tls: OnceLock<ClientConfig>,
    clients: Mutex<Clients>,
    /// Requests of each binding to each host.
    rates: Rates<(String, String)>,
    tokens: Tokens,
}

#[derive(Default)]
struct Clients {
    /// The one used last at the end.
    kept: IndexMap<ClientKey, reqwest::Client>,
    /// The look-ups of each policy, for all its clients and beyond them while one goes on.
    lookups: HashMap<PolicyDigest, Weak<Semaphore>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ClientKey {
    policy: PolicyDigest,
    keep_alive: bool,
    has_body: bool,
}

/// One request on the way: the first, or what a redirect made of it.
struct Hop {
    method: Method,
    url: CheckedUrl,
    headers: HeaderMap,
    /// `None` for a stream that has been sent.
    body: Option<RequestBody>,
}

/// What is the same for every hop of a request.
struct Errand<'a> {
    policy: &'a Policy,
    credentials: &'a [Credential],
    /// The secrets of the run, those included that it uses meanwhile.
    secrets: &'a Arc<RunSecrets>,
    limits: &'a EgressLimits,
    charge: &'a Arc<dyn Charge>,
    deadline: Instant,
}

impl Default for Egress {
    /// By the operating system's resolver and roots of trust.
    fn default() -> Self {
        Egress::new(Arc::new(SystemResolver::default()))
    }
}

impl Egress {
    /// An egress that finds names by `resolver` and trusts what the platform trusts.
    pub fn new(resolver: Arc<dyn Resolve>) -> Egress {
        Egress::with_roots(resolver, Vec::new())
    }

    /// The same, trusting `roots` beside what the platform trusts.
    pub fn with_roots(resolver: Arc<dyn Resolve>, roots: Vec<CertificateDer<'static>>) -> Egress {
        let tls = OnceLock::new();
        let (clients, rates, tokens) = (Mutex::default(), Rates::default(), Tokens::default());
        Egress(Arc::new(Shared { resolver, roots, tls, clients, rates, tokens }))
    }

    /// Sends a request under `policy`, follows its redirects, and gives status and headers as
    /// soon as they are there. Dropping the future gives the request up.
    ///
    /// Each redirect is judged like a first request, and credentials are worked out anew for
    /// it. Where it leads to another origin, only headers that carry no secret go along; where
    /// it leads from `https` to `http`, it is refused. By RFC 9110, section 15.4, 303 makes a
    /// `GET` of everything but `HEAD`, and 301 and 302 of `POST`.
    ///
    /// # Errors
    /// [`EgressError`]; an error status is none.
    pub async fn send(
        &self,
        policy: &Policy,
        request: EgressRequest,
    ) -> Result<EgressResponse, EgressError> {
        let EgressRequest { method, url, headers, body, credentials, secrets, limits, charge } =
            request;
        let written = url;
        let url = policy.check(&method, &written)?;
        headers::check_request(&headers, &limits)?;
        check_credentials(policy, &url, &credentials)?;
        let fetching = Fetching { policy, secrets: &secrets, limits: &limits, charge: &charge };
        let (credentials, tokens) = self.with_tokens(&fetching, credentials).await?;
        for credential in &credentials {
            for value in credential.looked_for() {
                secrets.add(&credential.name, &credential.audience, &value)?;
            }
        }
        if let Some(scanner) = secrets.scanner() {
            // As it was written: the normal form has its host in lower case.
            scanner.may_go(scanner.find(written.as_bytes()), &url)?;
        }
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| ToolError::new("bad-arguments", "this is no method"))?;
        let errand = Errand {
            policy,
            credentials: &credentials,
            secrets: &secrets,
            limits: &limits,
            charge: &charge,
            deadline: after(limits.total_time),
        };
        let url = errand.without_credentials(url);
        let mut hop = Hop { method, url, headers, body: Some(body) };
        for followed in 0.. {
            let answer = self.exchange(&errand, &mut hop).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                self.tokens().forget(&tokens);
            }
            let next = match limits.max_redirects {
                0 => None,
                _ => redirected(&hop, answer.status(), answer.headers())?,
            };
            let Some(next) = next else { return Ok(errand.response(&hop, answer)) };
            if followed == limits.max_redirects {
                let message = format!("more than {} redirects", limits.max_redirects);
                return Err(ToolError::new("too-large", message).into());
            }
            hop = errand.judge_redirect(&hop, next)?;
        }
        unreachable!("the loop only ends by returning")
    }

    /// The tokens that are still good, of all bindings.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The credentials with a token for each that is a client's secret, in the order in which they
    /// are attached; and which tokens they are.
    async fn with_tokens(
        &self,
        fetching: &Fetching<'_>,
        mut credentials: Vec<Credential>,
    ) -> Result<(Vec<Credential>, Vec<TokenKey>), EgressError> {
        let mut tokens = Vec::new();
        for credential in &mut credentials {
            if let Inject::OAuth2(client) = credential.inject.clone() {
                let (bearer, key) = oauth2::exchange(self, fetching, &client, credential).await?;
                *credential = bearer;
                tokens.push(key);
            }
        }
        credentials.sort_by_key(Credential::signs);
        Ok((credentials, tokens))
    }

    /// Sends one hop and waits for the headers of its answer.
    async fn exchange(
        &self,
        errand: &Errand<'_>,
        hop: &mut Hop,
    ) -> Result<reqwest::Response, EgressError> {
        let Errand { policy, credentials, secrets, limits, charge, deadline } = *errand;
        let scanner = secrets.scanner();
        errand.check_carried(hop)?;
        let mut url = hop.url.as_url().clone();
        let mut headers = hop.headers.clone();
        for credential in credentials.iter().filter(|credential| credential.goes_to(&hop.url)) {
            credential.attach(&hop.method, &mut url, &mut headers, hop.body.as_ref())?;
        }
        let gzip = HeaderValue::from_static("gzip");
        match scanner {
            // In what the host cannot read, no secret is found that the server repeats.
            Some(_) => drop(headers.insert(header::ACCEPT_ENCODING, gzip)),
            None => drop(headers.entry(header::ACCEPT_ENCODING).or_insert(gzip)),
        }
        self.check_rate(policy, hop, limits)?;
        charge.request()?;
        let body = match hop.take_body() {
            RequestBody::Empty => None,
            RequestBody::Bytes(bytes) => {
                charge.sent(bytes.len() as u64)?;
                Some(SentBody::bytes(bytes, deadline))
            }
            // Else a `GET` from WASI would announce a body that never comes.
            RequestBody::Stream { body, length: None | Some(0) } if body.is_end_stream() => None,
            RequestBody::Stream { body, length } => {
                let (secrets, to) = (secrets.clone(), hop.url.clone());
                Some(SentBody::stream(body, length, secrets, to, charge.clone(), deadline))
            }
        };
        let client = self.client(policy, policy.names_host(&hop.url), body.is_some())?;
        let mut request = reqwest::Request::new(hop.method.clone(), url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(reqwest::Body::wrap);
        let until = deadline.min(after(limits.time_to_headers));
        let origin = hop.url.origin();
        let mut answer = timeout_at(until, client.execute(request))
            .await
            .map_err(|_| timeout(&origin))?
            .map_err(|error| transport(&error.without_url(), &origin, scanner.as_ref()))?;
        tracing::debug!(
            method = %hop.method,
            url = errand.redacted(hop.url.shown()),
            status = answer.status().as_u16(),
            "http request"
        );
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked, and what follows would pass no limit.
            let message = format!("{origin} changes to another protocol");
            return Err(ToolError::new("unavailable", message).into());
        }
        headers::check_response(answer.headers_mut(), limits)?;
        Ok(answer)
    }

    /// Counts a request against the rate at which the binding may ask the host.
    fn check_rate(
        &self,
        policy: &Policy,
        hop: &Hop,
        limits: &EgressLimits,
    ) -> Result<(), ToolError> {
        let Some(rate) = limits.host_rate else { return Ok(()) };
        let host = hop.url.host().to_string();
        let counted = self.0.rates.count((policy.binding().to_owned(), host), rate);
        counted.map_err(|wait| ToolError {
            retryable: true,
            retry_after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
            ..ToolError::new(
                "rate-limited",
                format!(
                    "{} is asked too often: `[bindings.{}] http-rate = \"{rate}\"` in ampoule.toml",
                    hop.url.origin(),
                    policy.binding()
                ),
            )
        })
    }

    /// The client of a policy, made where there is none.
    fn client(
        &self,
        policy: &Policy,
        keep_alive: bool,
        has_body: bool,
    ) -> Result<reqwest::Client, EgressError> {
        let key = ClientKey { policy: policy.digest(), keep_alive, has_body };
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.kept.shift_remove(&key) {
            Some(client) => client,
            None => {
                let lookups = clients.lookups_of(key.policy);
                self.build(policy, lookups, key).map_err(|error| ToolError {
                    log: Some(error.without_url().to_string()),
                    ..ToolError::new("internal", "the HTTP client could not be made")
                })?
            }
        };
        if clients.kept.len() >= MAX_CLIENTS {
            clients.kept.shift_remove_index(0);
        }
        clients.kept.insert(key, client.clone());
        Ok(client)
    }

    fn build(
        &self,
        policy: &Policy,
        lookups: Arc<Semaphore>,
        key: ClientKey,
    ) -> reqwest::Result<reqwest::Client> {
        let Shared { resolver, roots, tls, .. } = &*self.0;
        let resolver = Judged { resolver: resolver.clone(), policy: policy.clone(), lookups };
        let tls = tls.get_or_init(|| tls::config(roots));
        let builder = plain(tls::separate(tls, key.has_body))
            .dns_resolver(resolver)
            .connect_timeout(CONNECT)
            // `Gunzip` does it, and counts what goes in.
            .no_gzip()
            .pool_max_idle_per_host(if key.keep_alive { MAX_IDLE_PER_HOST } else { 0 })
            .http1_max_headers(MAX_PARSED_HEADERS)
            .http2_max_header_list_size(MAX_PARSED_HEADER_BYTES);
        let builder = if key.has_body { builder.http1_only() } else { builder };
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let builder = builder.tcp_user_timeout(STALLED);
        builder.build()
    }
}

/// What every client of the host begins with: nothing is sent that was not asked for, and nothing a
/// second time.
pub(super) fn plain(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // A request is counted before it goes out; none may go out a second time uncounted.
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("ampoule/", env!("CARGO_PKG_VERSION")))
        .pool_idle_timeout(IDLE)
}

impl Clients {
    fn lookups_of(&mut self, policy: PolicyDigest) -> Arc<Semaphore> {
        self.lookups.retain(|_, lookups| lookups.strong_count() > 0);
        let known = self.lookups.entry(policy).or_default();
        known.upgrade().unwrap_or_else(|| {
            let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS_PER_POLICY));
            *known = Arc::downgrade(&lookups);
            lookups
        })
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Egress")
    }
}

impl Hop {
    /// The body to send now. A stream is gone with that.
    fn take_body(&mut self) -> RequestBody {
        match &self.body {
            Some(RequestBody::Bytes(bytes)) => RequestBody::Bytes(bytes.clone()),
            Some(RequestBody::Empty) => RequestBody::Empty,
            Some(RequestBody::Stream { .. }) | None => self.body.take().unwrap_or_default(),
        }
    }
}

impl Errand<'_> {
    /// Judges a redirect as `from` would have been judged, and what it repeats of secrets.
    fn judge_redirect(&self, from: &Hop, mut to: Hop) -> Result<Hop, Denial> {
        let judged = self.policy.judge(to.method.as_str(), &to.url).and_then(|()| {
            to.url = self.without_credentials(to.url.clone());
            self.check_carried(&to)
        });
        judged.map_err(|denial| Denial {
            message: format!("redirected by {}: {}", from.url.origin(), denial.message),
            ..denial
        })?;
        Ok(to)
    }

    /// Refuses a request that carries a secret to whom it may not go, before the host attaches
    /// those that may. A streamed body is looked at as it goes.
    fn check_carried(&self, hop: &Hop) -> Result<(), Denial> {
        let Some(scanner) = self.secrets.scanner() else { return Ok(()) };
        let url = hop.url.as_str();
        let decoded: Vec<u8> = percent_decode_str(url).collect();
        let mut found = scanner.find(url.as_bytes()) | scanner.find(&decoded);
        for (name, value) in &hop.headers {
            found |= scanner.find(name.as_str().as_bytes()) | scanner.find(value.as_bytes());
        }
        if let Some(RequestBody::Bytes(bytes)) = &hop.body {
            found |= scanner.find(bytes);
        }
        match found == Found::default() {
            true => Ok(()),
            false => scanner.may_go(found, &hop.url),
        }
    }

    /// A text for a guest or a log.
    fn redacted(&self, text: String) -> String {
        match self.secrets.scanner() {
            Some(scanner) => scanner.text(text),
            None => text,
        }
    }

    /// The URL without what credentials put into queries: what the guest wrote in the place of
    /// a secret, and the secret itself where a redirect repeats it.
    fn without_credentials(&self, mut url: CheckedUrl) -> CheckedUrl {
        for credential in self.credentials {
            if let Inject::Query { name } = &credential.inject {
                let replaced = credential.goes_to(&url);
                let secret = credential.value.expose();
                url = url.without_parameter(name, |value| replaced || value == secret);
            }
        }
        url
    }

    fn response(&self, hop: &Hop, mut answer: reqwest::Response) -> EgressResponse {
        let origin = hop.url.origin();
        let failed = {
            let (origin, secrets) = (origin.clone(), self.secrets.clone());
            move |error: reqwest::Error| {
                transport(&error.without_url(), &origin, secrets.scanner().as_ref())
            }
        };
        let status = answer.status();
        let mut headers = std::mem::take(answer.headers_mut());
        let mut stream = answer.bytes_stream().map_err(failed).boxed();
        if headers::take_gzip(&mut headers) {
            stream = Gunzip::new(stream, origin.clone()).boxed();
        }
        if let Some(scanner) = self.secrets.scanner() {
            redact_headers(&mut headers, &scanner);
        }
        let stream = Redacted::new(stream, self.secrets.clone()).boxed();
        EgressResponse {
            status,
            url: self.redacted(hop.url.to_string()),
            headers,
            body: ResponseBody::new(
                stream,
                self.limits.max_response_bytes,
                self.charge.clone(),
                self.deadline,
                origin,
            ),
        }
    }
}

/// The point in time after `time`, which may be any number a guest has named.
fn after(time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + time.min(FAR)
}

/// Judges the credentials of a first request; on redirects they are left out where they may
/// not go.
fn check_credentials(
    policy: &Policy,
    url: &CheckedUrl,
    credentials: &[Credential],
) -> Result<(), EgressError> {
    for (i, credential) in credentials.iter().enumerate() {
        if !credential.goes_to(url) {
            return Err(credential.denial(policy.binding(), url).into());
        }
        if let Some(other) = credentials[..i].iter().find(|o| o.place() == credential.place()) {
            let (kind, name) = credential.place();
            let message = format!(
                "the secrets `{}` and `{}` both go into the {kind} `{name}`",
                other.name, credential.name
            );
            return Err(ToolError::new("bad-arguments", message).into());
        }
    }
    Ok(())
}

/// The request that an answer redirects to; `None` where it does not, or wants a streamed body
/// again.
fn redirected(
    hop: &Hop,
    status: StatusCode,
    answer: &HeaderMap,
) -> Result<Option<Hop>, EgressError> {
    let becomes_get = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => hop.method == Method::POST,
        StatusCode::SEE_OTHER => hop.method != Method::GET && hop.method != Method::HEAD,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return Ok(None),
    };
    let Some(location) = answer.get(header::LOCATION) else { return Ok(None) };
    let refused = |gate, what: &dyn fmt::Display| Denial {
        gate,
        message: format!("redirected by {}: {what}", hop.url.origin()),
        allow: None,
    };
    let location = std::str::from_utf8(location.as_bytes())
        .map_err(|_| refused("url", &"the URL is refused: it is not UTF-8"))?;
    let url = hop
        .url
        .join(location)
        .map_err(|error| refused("url", &format_args!("the URL is refused: {error}")))?;
    if hop.url.scheme() == "https" && url.scheme() == "http" {
        let what = format!("{} is not encrypted as the request was", url.shown());
        return Err(refused("redirect", &what).into());
    }
    let body = match &hop.body {
        _ if becomes_get => RequestBody::Empty,
        Some(RequestBody::Bytes(bytes)) => RequestBody::Bytes(Bytes::clone(bytes)),
        Some(RequestBody::Empty) => RequestBody::Empty,
        Some(RequestBody::Stream { .. }) | None => return Ok(None),
    };
    let mut headers = hop.headers.clone();
    if becomes_get {
        headers::leave_body(&mut headers);
    }
    if !url.same_origin(&hop.url) {
        headers::leave_origin(&mut headers);
    }
    let method = if becomes_get { Method::GET } else { hop.method.clone() };
    Ok(Some(Hop { method, url, headers, body: Some(body) }))
}
