//! WASI, for what language runtimes and foreign components import: stand-ins that reach nothing,
//! `wasi:http` through the one egress, and the workspace, read-only, as the only directory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ampoule_contract::{Denial, Meter};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, HostDescriptor as _, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{
    FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest, Method, OutgoingRequest};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamError, StreamResult};

use super::{clock, log};
use crate::egress::{EgressError, EgressRequest, RequestBody};
use crate::manifest::FileAccess;
use crate::replay::Tape;
use crate::scan::Following;
use crate::state::{CallState, Running, lock};

/// The most random bytes one WASI call gives; they are drawn one by one and without a yield.
const MAX_RANDOM_BYTES: u64 = 4096;

/// The most bytes of header fields a guest may build.
const MAX_FIELD_BYTES: usize = 64 << 10;

/// The most bytes of a request's body that wait to be sent, a piece; there are two, and one more
/// that the guest is writing.
const BODY_PIECE_BYTES: usize = 16 << 10;

/// The longest method and authority that a request of `wasi:http` may have.
const MAX_AUTHORITY_BYTES: usize = 4 << 10;

/// The most handles of a component that imports `wasi:http`: behind each may be as much as
/// [`MAX_FIELD_BYTES`] that is the host's and no meter counts.
pub(crate) const MAX_HTTP_HANDLES: u64 = 512;

/// What it imports.
pub(crate) const HTTP: &str = "wasi:http/types";

/// The most bytes written to standard output at once.
const WRITE_BYTES: usize = 64 << 10;

/// WASI's part of a call.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    hooks: Outgoing,
    printed: [Lines; 2],
}

/// Adds all of WASI 0.2 that may be imported.
///
/// # Errors
/// Two imports have the same name: a fault of the host.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// `outgoing-request.set-method`, of which the other kinds take a text of any length.
pub(crate) fn set_method(
    http: &mut WasiHttpCtxView<'_>,
    request: Resource<OutgoingRequest>,
    method: Method,
) -> wasmtime::Result<Result<(), ()>> {
    match &method {
        Method::Other(name) if name.len() > MAX_AUTHORITY_BYTES => Ok(Err(())),
        _ => HostOutgoingRequest::set_method(http, request, method),
    }
}

/// `outgoing-request.set-authority`, which takes a text of any length.
pub(crate) fn set_authority(
    http: &mut WasiHttpCtxView<'_>,
    request: Resource<OutgoingRequest>,
    authority: Option<String>,
) -> wasmtime::Result<Result<(), ()>> {
    match &authority {
        Some(authority) if authority.len() > MAX_AUTHORITY_BYTES => Ok(Err(())),
        _ => HostOutgoingRequest::set_authority(http, request, authority),
    }
}

/// `descriptor.open-at`: what is neither a file nor a directory is not opened, because the thread
/// that opens a named pipe waits for its other end, however long the call lives.
pub(crate) async fn open_at(
    files: &mut WasiFilesystemCtxView<'_>,
    directory: Resource<Descriptor>,
    path_flags: PathFlags,
    path: String,
    how: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Resource<Descriptor>> {
    let at = Resource::new_borrow(directory.rep());
    let found = files.stat_at(at, path_flags, path.clone()).await;
    let waits = found.is_ok_and(|found| {
        use DescriptorType::{Directory, RegularFile, SymbolicLink};
        !matches!(found.type_, Directory | RegularFile | SymbolicLink)
    });
    if waits {
        return Err(ErrorCode::NotPermitted.into());
    }
    files.open_at(directory, path_flags, path, how, flags).await
}

impl Wasi {
    /// What a call gets: no environment, no arguments, no network of its own, the clock and
    /// randomness where they are granted, else a clock that stands still and zeros.
    fn new(call: &Arc<Running>) -> Wasi {
        let grants = &call.grants;
        let [stdout, stderr] = ["stdout", "stderr"].map(|level| Lines::new(call, level));
        let mut ctx = WasiCtxBuilder::new();
        ctx.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .allow_blocking_current_thread(false)
            .max_random_size(MAX_RANDOM_BYTES)
            .stdout(stdout.clone())
            .stderr(stderr.clone());
        let (mut clock, mut random) = (grants.clock().is_ok(), grants.random().is_ok());
        if let Some(tape) = call.tape.get() {
            let seed;
            (clock, random, seed) = tape.surroundings();
            let mut seeded = StdRng::from_seed(seed);
            let insecure: [u8; 32] = seeded.random();
            ctx.wall_clock(Taped(tape.clone()))
                .monotonic_clock(Taped(tape.clone()))
                .insecure_random_seed(seeded.random())
                .insecure_random(StdRng::from_seed(insecure))
                .secure_random(seeded);
        }
        if !clock {
            ctx.wall_clock(Frozen).monotonic_clock(Frozen);
        }
        if !random {
            ctx.secure_random(Deterministic::new(vec![0]))
                .insecure_random(Deterministic::new(vec![0]))
                .insecure_random_seed(0);
        }
        if grants.file_access() >= Some(FileAccess::Read)
            && !call.tape.get().is_some_and(|tape| tape.plays())
            && let Some(directory) = &call.context.workspace
            && let Err(error) = ctx.preopened_dir(directory, ".", FsPerms::ReadOnly)
        {
            tracing::warn!(call = call.id, "the workspace cannot be opened: {error:#}");
        }
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELD_BYTES);
        let (hooks, printed) = (Outgoing(call.clone()), [stdout, stderr]);
        Wasi { ctx: ctx.build(), http, hooks, printed }
    }

    /// Serves another call; what the one before has printed is with it.
    pub(crate) fn enter(&mut self, call: &Arc<Running>) {
        self.hooks = Outgoing(call.clone());
        for lines in &self.printed {
            *lock(&lines.printed) = Printed::new(call);
        }
    }

    /// The guest prints no more: what is no whole line is one now.
    pub(crate) fn finish(&self) {
        self.printed.iter().for_each(|lines| lines.print(&[], true));
    }
}

impl CallState {
    /// WASI's part, made when it is first needed: most plugins never do. Every import of WASI
    /// begins here, so here it counts as a host call.
    fn wasi(&mut self) -> (&mut Wasi, &mut ResourceTable) {
        if let Err(breach) = self.call.account.charge(Meter::HostCalls, 1) {
            self.call.breach.meet(breach);
        }
        let wasi = self.wasi.get_or_insert_with(|| Box::new(Wasi::new(&self.call)));
        (wasi, &mut self.table)
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiCtxView { ctx: &mut wasi.ctx, table }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiHttpCtxView { ctx: &mut wasi.http, table, hooks: &mut wasi.hooks }
    }
}

/// A clock that was not granted: it stands still.
struct Frozen;

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

/// A clock whose readings are recorded, or replayed.
struct Taped(Arc<Tape>);

impl HostWallClock for Taped {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.number("wasi:clocks/wall-clock.now", clock::now))
    }
}

impl HostMonotonicClock for Taped {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.number("wasi:clocks/monotonic-clock.now", clock::monotonic)
    }
}

/// `wasi:http` requests, sent by the same egress under the same rules as our own.
struct Outgoing(Arc<Running>);

type Answer = Result<
    (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>),
    HttpError,
>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        Box::new(send(self.0.clone(), request, options))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_BYTES
    }
}

async fn send(
    call: Arc<Running>,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Answer {
    let refused = |error: EgressError| match error {
        EgressError::Denied(denial) => {
            call.deny(denial);
            HttpError::HttpRequestDenied
        }
        EgressError::Limit(breach) => {
            call.breach.meet(breach);
            HttpError::ConnectionLimitReached
        }
        EgressError::Failed(error) => match error.code.as_str() {
            "timeout" => HttpError::ConnectionTimeout,
            "rate-limited" => HttpError::ConnectionLimitReached,
            "too-large" => HttpError::HttpResponseHeaderSectionSize(None),
            "bad-arguments" => HttpError::HttpRequestUriInvalid,
            _ => HttpError::DestinationUnavailable,
        },
    };
    // Nothing of a replay comes here; were it so, nothing is sent.
    if call.tape.get().is_some_and(|tape| tape.plays()) {
        let message = "a replay sends nothing".to_owned();
        return Err(refused(Denial { gate: "replay", message, allow: None }.into()));
    }
    let policy = call.grants.http().map_err(|denial| refused(denial.into()))?;
    let body = |body: WasiBody| RequestBody::Stream {
        body: body.map_err(|error| error.to_string().into()).boxed_unsync(),
        length: None,
    };
    let mut request = EgressRequest::from_http(request.map(body), call.account.clone());
    let left = call.deadline.left();
    request.secrets = call.secrets.clone();
    // WASI leaves redirects to the guest.
    request.limits.max_redirects = 0;
    request.limits.max_response_bytes = u64::MAX;
    request.limits.total_time = left;
    request.limits.host_rate = call.binding.config.http_rate;
    let first_byte = options.and_then(|options| options.first_byte_timeout).unwrap_or(left);
    request.limits.time_to_headers = request.limits.time_to_headers.min(first_byte).min(left);
    let response = call.host().egress().send(policy, request).await.map_err(refused)?;
    let mut answer = http::Response::builder().status(response.status);
    if let Some(headers) = answer.headers_mut() {
        *headers = response.headers;
    }
    // A guest of WASI has no word for an answer that was cut at a limit: it must not look whole.
    let frames = futures::stream::unfold(Some(response.body), async |body| {
        let mut body = body?;
        match body.chunk().await {
            Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(body))),
            Ok(None) if body.truncated() => {
                Some((Err(HttpError::HttpResponseBodySize(None)), None))
            }
            Ok(None) => None,
            Err(_) => Some((Err(HttpError::HttpResponseIncomplete), None)),
        }
    });
    let body = StreamBody::new(frames).boxed_unsync();
    let answer = answer.body(body).map_err(|_| HttpError::HttpResponseIncomplete)?;
    Ok((answer, Box::new(std::future::ready(Ok(())))))
}

/// Standard output or error: lines for the operator, under the limit of log bytes. Secrets are
/// looked for in all of it, however it is cut into writes.
#[derive(Clone)]
struct Lines {
    level: &'static str,
    printed: Arc<Mutex<Printed>>,
}

/// What was written and is no line yet.
struct Printed {
    /// The call that the instance serves now; a session has one after another.
    call: Arc<Running>,
    /// Holds back what may be a secret.
    secrets: Following,
    line: Vec<u8>,
}

impl Lines {
    fn new(call: &Arc<Running>, level: &'static str) -> Lines {
        Lines { level, printed: Arc::new(Mutex::new(Printed::new(call))) }
    }

    /// Says the lines that are whole; at the end of the call, `all` there is.
    fn print(&self, bytes: &[u8], all: bool) {
        let mut printed = lock(&self.printed);
        let Printed { call, secrets, line } = &mut *printed;
        let before = secrets.found().map(|(_, found)| found);
        secrets.push(bytes, line);
        if all {
            secrets.finish(line);
        }
        if let Some((scanner, found)) = secrets.found()
            && before.unwrap_or_default() != found
        {
            call.took_out(scanner.names(found), "a log line");
        }
        let mut rest = line.as_slice();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.say(call, &rest[..end]);
            rest = &rest[end + 1..];
        }
        let whole = line.len() - rest.len();
        line.drain(..whole);
        if line.len() > WRITE_BYTES || all && !line.is_empty() {
            self.say(call, &std::mem::take(line));
        }
    }

    fn say(&self, call: &Arc<Running>, line: &[u8]) {
        log::say(call, self.level, String::from_utf8_lossy(line).into_owned(), None);
    }
}

impl Printed {
    fn new(call: &Arc<Running>) -> Printed {
        let secrets = Following::new(call.secrets.clone());
        Printed { call: call.clone(), secrets, line: Vec::new() }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one, which is off.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let call = lock(&self.printed).call.clone();
        let charged = call.account.charge(Meter::LogBytes, bytes.len() as u64 + 1);
        charged.map_err(|breach| StreamError::Trap(breach.into()))?;
        self.print(&bytes, false);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}
