//! A server over streamable HTTP, in the current revision (2026-07-28, without sessions) and in the
//! older ones, which begin with `initialize`.

mod stream;

use std::cell::Cell;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use ampoule_sdk::http::{Request, Response};
use ampoule_sdk::log::Level;
use ampoule_sdk::prelude::*;
use ampoule_sdk::progress::{self, Signal};
use ampoule_sdk::serde::Serialize;
use ampoule_sdk::{Weight, clock, http, log, race, secrets};

use crate::header::{self, Header};
use crate::message::{Fault, Message};
use crate::{person, text, tools};

use self::stream::{Events, Next};

/// The revision without sessions.
const CURRENT: &str = "2026-07-28";

/// The revisions that begin with `initialize`, the newest first.
const OLDER: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// How long anything but the call of a tool may take.
const QUICK: Duration = Duration::from_secs(30);

/// How long the end of a session may take, and the beginning of a stream beside a call.
const BRIEF: Duration = Duration::from_secs(5);

/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 16 << 20;

/// The largest answer to anything but the call of a tool.
const MAX_QUICK: u64 = 4 << 20;

/// Bytes taken of a refusal.
const MAX_REFUSAL: u64 = 64 << 10;

/// Pages of the list of tools, and the tools, values and bytes of text on all of them.
const MAX_PAGES: usize = 64;
const MAX_LISTED: usize = 10_000;
const MAX_LIST: Weight = Weight { values: 1_000_000, text: 16 << 20, depth: usize::MAX };

/// The longest cursor, id of a session and id of an event, in bytes.
const MAX_ID: usize = 4_096;

/// How often a call may ask for more before it answers.
const MAX_ROUNDS: usize = 16;

/// What a server may ask, say and report in a call. What is more is not heard.
const MAX_QUESTIONS: usize = 32;
const MAX_LINES: usize = 100;
const MAX_REPORTS: usize = 1_000;

/// Characters of a line for the log, of a report, and of the server's words in an error.
const MAX_LINE: usize = 1_000;
const MAX_REPORT: usize = 200;
const MAX_MESSAGE: usize = 2_000;

/// How often a stream that broke off is taken up again, and how long to wait before where the server
/// does not say.
const MAX_RESUMED: usize = 32;
const WAIT: Duration = Duration::from_secs(1);

/// The media types that an answer may have.
const ACCEPT: &str = "application/json, text/event-stream";

/// A server that is spoken to.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    /// What is spoken; `None` until an older server has said so.
    revision: Option<&'static str>,
    /// The id of the session that an older server keeps.
    session: Option<String>,
    next_id: Cell<u64>,
    heard: Heard,
}

/// How much of this call the server has asked, said and reported.
#[derive(Debug, Default)]
struct Heard {
    questions: Cell<usize>,
    lines: Cell<usize>,
    reports: Cell<usize>,
}

/// Counts one more, and says whether that is within the bound.
fn within(count: &Cell<usize>, most: usize) -> bool {
    count.set(count.get().saturating_add(1));
    count.get() <= most
}

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server answered an error of JSON-RPC, with this status.
    Fault(Fault, u16),
    /// It answered an error status alone.
    Status(u16, Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Fault(fault, _) => refusal(fault),
            Failure::Status(_, error) | Failure::Other(error) => error,
        }
    }
}

/// What ends a request.
type Ending<'a> = Pin<Box<dyn Future<Output = Result<Value, Failure>> + 'a>>;

/// What bounds a request.
#[derive(Clone, Copy)]
struct Terms {
    /// The limit of the call where it is absent.
    timeout: Option<Duration>,
    max_bytes: u64,
}

impl Terms {
    const QUICK: Terms = Terms { timeout: Some(QUICK), max_bytes: MAX_QUICK };
    const CALL: Terms = Terms { timeout: None, max_bytes: MAX_ANSWER };
}

/// A message to the server.
#[derive(Serialize)]
#[serde(crate = "ampoule_sdk::serde")]
struct Outgoing<'a> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

const EMPTY: Outgoing<'static> =
    Outgoing { jsonrpc: "2.0", id: None, method: None, params: None, result: None, error: None };

impl Server {
    /// Finds out which revision the server speaks, and begins a session where it is an older one.
    ///
    /// # Errors
    /// `unauthorized`, `unsupported` where no revision is common to both, and those of the
    /// connection.
    pub(crate) async fn open(url: &str) -> Result<Server> {
        let mut server = Server {
            url: url.to_owned(),
            revision: Some(CURRENT),
            session: None,
            next_id: Cell::new(1),
            heard: Heard::default(),
        };
        if !server.discover().await? {
            server.initialise().await?;
        }
        Ok(server)
    }

    fn is_current(&self) -> bool {
        self.revision == Some(CURRENT)
    }

    /// Whether the server speaks the current revision. A server that answers otherwise than one of
    /// that revision is an older one (MCP 2026-07-28, "Backward Compatibility").
    async fn discover(&self) -> Result<bool> {
        let mut first = true;
        loop {
            let failure =
                match self.rpc("server/discover", &mut Map::new(), &[], Terms::QUICK).await {
                    Ok(result) => {
                        return match result.get("supportedVersions") {
                            Some(spoken) => self.common(spoken),
                            None => Ok(false),
                        };
                    }
                    Err(failure) => failure,
                };
            match failure {
                Failure::Fault(fault, _) if fault.code == Fault::UNSUPPORTED_VERSION => {
                    let spoken = fault.data.get("supported").cloned().unwrap_or_default();
                    if !(self.common(&spoken)? && first) {
                        return match spoken_of(&spoken).any(|spoken| spoken == CURRENT) {
                            true => Err(refusal(fault)),
                            false => Ok(false),
                        };
                    }
                    first = false;
                }
                Failure::Fault(fault, _) if fault.is_modern() => return Err(refusal(fault)),
                Failure::Fault(..) => return Ok(false),
                Failure::Status(401 | 403 | 429, error) => return Err(error),
                Failure::Status(..) => return Ok(false),
                // An older server may send anything to what it does not know, but it answers.
                Failure::Other(error) if error.code == "invalid-data" => return Ok(false),
                Failure::Other(error) => return Err(error),
            }
        }
    }

    /// Whether the current revision is among those that the server speaks.
    ///
    /// # Errors
    /// `unsupported` where none is common to both.
    fn common(&self, spoken: &Value) -> Result<bool> {
        if spoken_of(spoken).any(|spoken| spoken == CURRENT) {
            return Ok(true);
        }
        if spoken_of(spoken).any(|spoken| OLDER.contains(&spoken)) {
            return Ok(false);
        }
        let spoken: Vec<_> =
            spoken_of(spoken).take(8).map(|spoken| text::line(spoken, 20)).collect();
        Err(Error::unsupported(format!(
            "the MCP server speaks none of the revisions spoken here ({CURRENT}, {}) but: {}",
            OLDER.join(", "),
            spoken.join(", ")
        )))
    }

    /// Begins a session of the older revisions.
    async fn initialise(&mut self) -> Result<()> {
        (self.revision, self.session) = (None, None);
        let mut params = Map::new();
        params.insert("protocolVersion".into(), OLDER[0].into());
        params.insert("capabilities".into(), person::capabilities());
        params.insert("clientInfo".into(), client());
        let (id, response) = self.send("initialize", &mut params, &[], Terms::QUICK).await?;
        self.session = session(&response)?;
        let result = self.result(response, &id, Terms::QUICK).await.map_err(|failure| match failure {
            Failure::Status(404 | 405, error) => Error {
                message: format!(
                    "{}: is `url` that of an MCP server? The transport HTTP with SSE of 2024-11-05 \
                     is not spoken here",
                    error.message
                ),
                ..error
            },
            other => other.into(),
        })?;
        let chosen = result.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        self.revision = OLDER.into_iter().find(|known| *known == chosen);
        if self.revision.is_none() {
            return Err(Error::unsupported(format!(
                "the MCP server wants to speak the revision `{}`; spoken here are {CURRENT}, {}",
                text::line(chosen, 20),
                OLDER.join(", ")
            )));
        }
        let begun = Outgoing { method: Some("notifications/initialized"), ..EMPTY };
        self.tell(&begun).await.map_err(Error::from)
    }

    /// Ends the session that an older server keeps. That it cannot be ended is no error: servers
    /// need not let clients do so, and end sessions themselves.
    pub(crate) async fn close(self) {
        if self.session.is_some()
            && let Err(error) = self.http("DELETE").timeout(BRIEF).max_bytes(0).send().await
        {
            log::debug(format!("the session was not ended: {}", error.message));
        }
    }

    /// Begins another call, which may ask and say as much as the first.
    pub(crate) fn anew(&mut self) {
        self.heard = Heard::default();
    }

    /// All tools of the server, as it describes them.
    ///
    /// # Errors
    /// `too-large`, `invalid-data`, and those of the server.
    pub(crate) async fn tools(&mut self) -> Result<Vec<Value>, Failure> {
        let mut tools = Vec::new();
        let mut whole = Weight::default();
        let mut params = Map::new();
        for _ in 0..MAX_PAGES {
            let mut page = self.exchange("tools/list", &mut params, &[], Terms::QUICK).await?;
            let weight = Weight::of(&page);
            whole.values += weight.values;
            whole.text += weight.text;
            let Some(Value::Array(listed)) = page.get_mut("tools").map(Value::take) else {
                return Err(Error::invalid_data("the MCP server answered no list of tools").into());
            };
            tools.extend(listed);
            if tools.len() > MAX_LISTED
                || whole.values > MAX_LIST.values
                || whole.text > MAX_LIST.text
            {
                break;
            }
            match page.get_mut("nextCursor").map(Value::take) {
                None | Some(Value::Null) => return Ok(tools),
                Some(Value::String(cursor)) if cursor.len() <= MAX_ID => {
                    params.insert("cursor".into(), cursor.into());
                }
                Some(_) => {
                    return Err(Error::invalid_data("`nextCursor` of the list is no text").into());
                }
            }
        }
        Err(Error::too_large(format!(
            "the MCP server lists more than {MAX_LISTED} tools, {MAX_PAGES} pages or {} MiB",
            MAX_LIST.text >> 20
        ))
        .into())
    }

    /// Calls a tool by the server's name of it; `headers` are the arguments that go along as headers.
    ///
    /// # Errors
    /// Those of the server and of the connection.
    pub(crate) async fn call(
        &mut self,
        tool: &str,
        arguments: Value,
        mut headers: Vec<Header>,
    ) -> Result<Value, Failure> {
        let mut params = Map::new();
        params.insert("name".into(), tool.into());
        params.insert("arguments".into(), arguments);
        let mut asked_anew = false;
        for _ in 0..MAX_ROUNDS {
            let mut sent = vec![("mcp-name".to_owned(), header::value(tool))];
            for header in &headers {
                sent.extend(header.with(&params["arguments"])?);
            }
            let result = match self.exchange("tools/call", &mut params, &sent, Terms::CALL).await {
                // The tool wants other arguments as headers than it did.
                Err(Failure::Fault(fault, _))
                    if fault.code == Fault::HEADER_MISMATCH && !asked_anew =>
                {
                    asked_anew = true;
                    headers = tools::headers(&self.tools().await?, tool);
                    continue;
                }
                other => other?,
            };
            params.remove("inputResponses");
            params.remove("requestState");
            match result.get("resultType").and_then(Value::as_str) {
                Some("input_required") if self.is_current() => {
                    self.inputs(result, &mut params)?;
                }
                Some(other) if self.is_current() && other != "complete" => {
                    return Err(Error::unsupported(format!(
                        "the MCP server answered a result of the kind `{}`, which is not known here",
                        text::line(other, 40)
                    ))
                    .into());
                }
                _ => return Ok(result),
            }
        }
        Err(Error::too_large(format!(
            "the tool asked for more than {MAX_ROUNDS} times before it answered"
        ))
        .into())
    }

    /// Fetches what the server needs before it can answer (MCP 2026-07-28, "Multi Round-Trip
    /// Requests").
    fn inputs(&self, mut result: Value, params: &mut Map<String, Value>) -> Result<()> {
        let requests = match result.get_mut("inputRequests").map(Value::take) {
            None => Map::new(),
            Some(Value::Object(requests)) => requests,
            Some(_) => return Err(Error::invalid_data("`inputRequests` is no object")),
        };
        let state = result.get_mut("requestState").map(Value::take);
        if requests.is_empty() && state.is_none() {
            return Err(Error::invalid_data("the MCP server wants input and does not say which"));
        }
        let mut responses = Map::new();
        for (key, request) in requests {
            let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
            let response = self.answer(method, &request["params"]).map_err(|fault| {
                Error::unsupported(format!(
                    "the MCP server wants `{}` before it answers: {}",
                    text::line(method, 40),
                    fault.message
                ))
            })?;
            responses.insert(key, response);
        }
        if !responses.is_empty() {
            params.insert("inputResponses".into(), responses.into());
        }
        if let Some(state) = state {
            params.insert("requestState".into(), state);
        }
        Ok(())
    }

    /// Answers a request of the server, of which there may be so many.
    fn answer(&self, method: &str, params: &Value) -> Result<Value, Fault> {
        if !within(&self.heard.questions, MAX_QUESTIONS) {
            let message = format!("this client answers {MAX_QUESTIONS} requests in a call");
            return Err(Fault { code: Fault::INVALID_PARAMS, message, data: Value::Null });
        }
        person::answer(origin(&self.url), method, params)
    }

    /// [`Server::rpc`]; where a session is gone, once more in a new one.
    async fn exchange(
        &mut self,
        method: &str,
        params: &mut Map<String, Value>,
        headers: &[(String, String)],
        terms: Terms,
    ) -> Result<Value, Failure> {
        match self.rpc(method, params, headers, terms).await {
            Err(Failure::Status(404, _)) if self.session.is_some() => {
                log::info("the MCP server has ended the session; beginning another");
                self.initialise().await?;
                self.rpc(method, params, headers, terms).await
            }
            other => other,
        }
    }

    /// Sends a request and waits for its result; what the server says and asks meanwhile is heard
    /// and answered.
    async fn rpc(
        &self,
        method: &str,
        params: &mut Map<String, Value>,
        headers: &[(String, String)],
        terms: Terms,
    ) -> Result<Value, Failure> {
        let beside = match method {
            "tools/call" => self.beside().await,
            _ => None,
        };
        let call = async {
            let (id, response) = self.send(method, params, headers, terms).await?;
            self.result(response, &id, terms).await
        };
        match beside {
            None => call.await,
            Some(events) => {
                let both: [Ending<'_>; 2] = [Box::pin(call), Box::pin(self.overhear(events))];
                race(both).await
            }
        }
    }

    /// The stream on which an older server that keeps a session sends what belongs to no request;
    /// many send their questions there. It has to be there before the call is.
    async fn beside(&self) -> Option<Events> {
        self.session.as_ref()?;
        let request = self.http("GET").header("accept", "text/event-stream").max_bytes(MAX_QUICK);
        match clock::timeout(BRIEF, request.send()).await {
            Ok(Ok(response)) if response.status() < 400 && stream::is_one(&response) => {
                Some(Events::of(response))
            }
            _ => None,
        }
    }

    /// Hears what comes beside a call, which ends by itself.
    async fn overhear(&self, mut events: Events) -> Result<Value, Failure> {
        loop {
            match events.next().await {
                Ok(Next::Message(Message::Request { id, method, params })) => {
                    self.reply(&id, &method, &params).await?;
                }
                Ok(Next::Message(Message::Notification { method, params })) => {
                    self.hear(&method, &params, &Value::Null).await?;
                }
                Ok(Next::Message(Message::Response { .. })) => {}
                Ok(Next::End(error)) | Err(error) => {
                    log::debug(format!("the stream beside the call ended: {}", error.message));
                    return pending().await;
                }
            }
        }
    }

    /// Sends a request; gives its id, and the response as it begins.
    async fn send(
        &self,
        method: &str,
        params: &mut Map<String, Value>,
        headers: &[(String, String)],
        terms: Terms,
    ) -> Result<(Value, Response)> {
        let id = Value::from(self.next_id.replace(self.next_id.get() + 1));
        self.describe(method, &id, params);
        let message =
            Outgoing { id: Some(&id), method: Some(method), params: Some(params), ..EMPTY };
        let mut request = self.http("POST").header("accept", ACCEPT).json(&message);
        if self.is_current() {
            request = request.header("mcp-method", method);
            for (name, value) in headers {
                request = request.header(name, value.as_bytes());
            }
        }
        let response = terms.bound(request).send().await?;
        Ok((id, response))
    }

    /// Puts into the parameters what goes with each request.
    fn describe(&self, method: &str, id: &Value, params: &mut Map<String, Value>) {
        let mut meta = Map::new();
        if method == "tools/call" {
            meta.insert("progressToken".into(), id.clone());
        }
        if self.is_current() {
            for (name, value) in [
                ("protocolVersion", CURRENT.into()),
                ("clientInfo", client()),
                ("clientCapabilities", person::capabilities()),
                ("logLevel", "info".into()),
            ] {
                meta.insert(format!("io.modelcontextprotocol/{name}"), value);
            }
        }
        if !meta.is_empty() {
            params.insert("_meta".into(), meta.into());
        }
    }

    /// A request with the headers that all have.
    fn http(&self, method: &str) -> Request {
        let mut request = http::request(method, &self.url);
        if let Some(revision) = self.revision {
            request = request.header("mcp-protocol-version", revision);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session.as_bytes());
        }
        match secrets::exists("token") {
            true => request.credential("token"),
            false => request,
        }
    }

    /// Sends a message that has no result.
    async fn tell(&self, message: &Outgoing<'_>) -> Result<(), Failure> {
        let request = self.http("POST").header("accept", ACCEPT).json(message);
        let terms = Terms { max_bytes: MAX_REFUSAL, ..Terms::QUICK };
        let response = terms.bound(request).send().await?;
        match response.status() {
            ..=399 => Ok(()),
            _ => Err(self.refused(response).await),
        }
    }

    /// Reads the result of the request `id`.
    async fn result(
        &self,
        mut response: Response,
        id: &Value,
        terms: Terms,
    ) -> Result<Value, Failure> {
        if response.status() >= 400 {
            return Err(self.refused(response).await);
        }
        if stream::is_one(&response) {
            return self.listen(response, id, terms).await;
        }
        let media_type = response.header("content-type").unwrap_or_default();
        if !media_type.trim_start().to_ascii_lowercase().starts_with("application/json") {
            return Err(Error::invalid_data(format!(
                "{} answered `{}` (status {}), and no message: is `url` that of an MCP server?",
                self.url,
                text::line(&media_type, 100),
                response.status()
            ))
            .into());
        }
        let body = response.bytes().await?;
        if response.truncated() {
            return Err(stream::too_large().into());
        }
        match Message::parse(&body)? {
            Message::Response { id: of, result } if of == *id || result.is_err() => {
                result.map_err(|fault| Failure::Fault(fault, response.status()))
            }
            _ => Err(Error::invalid_data("the MCP server answered another request").into()),
        }
    }

    /// Hears a stream until the result of the request `id` comes. One that breaks off is taken up
    /// again, where the server gave its events ids (MCP 2025-11-25, "Resumability and
    /// Redelivery").
    async fn listen(&self, response: Response, id: &Value, terms: Terms) -> Result<Value, Failure> {
        let mut events = Events::of(response);
        for _ in 0..=MAX_RESUMED {
            let broken = loop {
                match events.next().await? {
                    Next::End(broken) => break broken,
                    Next::Message(Message::Response { id: of, result })
                        if of == *id || (of.is_null() && result.is_err()) =>
                    {
                        return result.map_err(|fault| Failure::Fault(fault, 200));
                    }
                    Next::Message(Message::Response { .. }) => {}
                    Next::Message(Message::Notification { method, params }) => {
                        self.hear(&method, &params, id).await?;
                    }
                    Next::Message(Message::Request { id, method, params }) => {
                        self.reply(&id, &method, &params).await?;
                    }
                }
            };
            let last = events.last_id().filter(|_| !self.is_current());
            let Some(last) = last.map(str::to_owned) else { return Err(broken.into()) };
            let wait = events.wait().unwrap_or(WAIT);
            clock::sleep(wait).await?;
            let request = self.http("GET").header("accept", "text/event-stream");
            let request = request.header("last-event-id", last.as_bytes());
            let response = terms.bound(request).send().await?;
            if response.status() >= 400 || !stream::is_one(&response) {
                log::info(format!("the stream was not taken up again: {}", response.status()));
                return Err(broken.into());
            }
            events.resume(response);
        }
        Err(Error::unavailable("the MCP server broke its answer off again and again").into())
    }

    /// Hears what the server says of the request `id`.
    async fn hear(&self, method: &str, params: &Value, id: &Value) -> Result<()> {
        match method {
            "notifications/progress" if params.get("progressToken") == Some(id) => {
                let Some(done) = params.get("progress").and_then(Value::as_f64) else {
                    return Ok(());
                };
                if !within(&self.heard.reports, MAX_REPORTS) {
                    return Ok(());
                }
                let total = params.get("total").and_then(Value::as_f64);
                let message = params.get("message").and_then(Value::as_str);
                let message = message.map(|message| text::line(message, MAX_REPORT));
                if progress::report(done, total, message.as_deref()) == Signal::Stop {
                    self.cancel(id).await;
                    return Err(Error::new("cancelled", "stopped before the MCP server answered"));
                }
            }
            "notifications/message" => {
                if !within(&self.heard.lines, MAX_LINES) {
                    return Ok(());
                }
                let said = |name: &str| params.get(name).and_then(Value::as_str);
                let data = match params.get("data") {
                    Some(Value::String(text)) => text::line(text, MAX_LINE),
                    Some(other) => text::line(&other.to_string(), MAX_LINE),
                    None => String::new(),
                };
                let level = match said("level").unwrap_or_default() {
                    "debug" => Level::Debug,
                    "warning" => Level::Warn,
                    "error" | "critical" | "alert" | "emergency" => Level::Error,
                    _ => Level::Info,
                };
                let logger = said("logger").map(|logger| text::line(logger, 100));
                log::write(level, &format!("MCP server: {data}"), &json!({ "logger": logger }));
            }
            _ => {}
        }
        Ok(())
    }

    /// Says that the result of a request is not wanted any more. In the current revision the end of
    /// the stream says so.
    async fn cancel(&self, id: &Value) {
        if self.is_current() {
            return;
        }
        let mut params = Map::new();
        params.insert("requestId".into(), id.clone());
        let message =
            Outgoing { method: Some("notifications/cancelled"), params: Some(&params), ..EMPTY };
        if let Err(failure) = self.tell(&message).await {
            log::debug(format!("the request was not cancelled: {}", Error::from(failure).message));
        }
    }

    /// Answers a request that came on a stream, as long as there are not too many. In the current
    /// revision there are none.
    async fn reply(&self, id: &Value, method: &str, params: &Value) -> Result<(), Failure> {
        if self.is_current() {
            if within(&self.heard.lines, MAX_LINES) {
                log::warn(format!("the MCP server sent the request `{}`", text::line(method, 40)));
            }
            return Ok(());
        }
        if self.heard.questions.get() >= MAX_QUESTIONS {
            return Ok(());
        }
        let answer = self.answer(method, params);
        let message = match &answer {
            Ok(result) => Outgoing { id: Some(id), result: Some(result), ..EMPTY },
            Err(fault) => {
                log::info(format!("`{}` was refused: {}", text::line(method, 40), fault.message));
                let error = json!({ "code": fault.code, "message": fault.message });
                Outgoing { id: Some(id), error: Some(error), ..EMPTY }
            }
        };
        self.tell(&message).await
    }

    /// What an error status means.
    async fn refused(&self, mut response: Response) -> Failure {
        let status = response.status();
        let Some(error) = response.error() else {
            return Error::internal("this status is no error").into();
        };
        let body = match response.bytes().await {
            Ok(body) => body[..body.len().min(MAX_REFUSAL as usize)].to_vec(),
            Err(_) => Vec::new(),
        };
        let fault = match Message::parse(&body) {
            Ok(Message::Response { result: Err(fault), .. }) => Some(fault),
            _ => None,
        };
        let message = match status {
            401 if secrets::exists("token") => {
                "the MCP server refuses the token it was sent (status 401)".to_owned()
            }
            401 => "the MCP server wants a token (status 401): the operator grants one by \
                    `grant.secrets.token`"
                .to_owned(),
            403 => "the MCP server does not allow this (status 403)".to_owned(),
            404 if self.session.is_some() => {
                "the MCP server has ended the session (status 404)".to_owned()
            }
            429 => error.message.clone(),
            _ => match fault {
                Some(fault) => return Failure::Fault(fault, status),
                None => error.message.clone(),
            },
        };
        let said = fault.map(|fault| text::line(&fault.message, MAX_MESSAGE)).unwrap_or_default();
        let message = if said.is_empty() { message } else { format!("{message}: {said}") };
        Failure::Status(status, Error { message, ..error })
    }
}

impl Terms {
    fn bound(self, request: Request) -> Request {
        let request = request.max_bytes(self.max_bytes);
        match self.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        }
    }
}

/// Who this client is, as MCP's `Implementation`.
fn client() -> Value {
    json!({ "name": "ampoule", "version": env!("CARGO_PKG_VERSION") })
}

fn spoken_of(spoken: &Value) -> impl Iterator<Item = &str> {
    spoken.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The session that the answer to `initialize` begins, where it begins one.
fn session(response: &Response) -> Result<Option<String>> {
    match response.header("mcp-session-id") {
        Some(id)
            if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(Some(id))
        }
        Some(_) => Err(Error::invalid_data("the id that the MCP server gave the session is none")),
        None => Ok(None),
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// What an error of JSON-RPC means.
fn refusal(fault: Fault) -> Error {
    let said = text::lines(fault.message.trim(), MAX_MESSAGE);
    let code = fault.code;
    match code {
        Fault::INVALID_PARAMS => {
            Error::bad_arguments(format!("the MCP server refuses the arguments: {said}"))
        }
        Fault::METHOD_NOT_FOUND => {
            Error::unsupported(format!("the MCP server does not offer this: {said}"))
        }
        Fault::MISSING_CAPABILITY => Error::unsupported(format!(
            "the MCP server needs of its client what is not offered here: {said}"
        )),
        Fault::URL_NEEDED => Error::unsupported(format!(
            "the MCP server wants the person to visit a page first, which cannot be shown here: \
             {said}"
        ))
        .with_log(text::line(&fault.data.to_string(), MAX_MESSAGE)),
        _ => Error::new("failed", format!("the MCP server answered the error {code}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn server(revision: &'static str) -> Server {
        Server {
            url: "https://mcp.example.com/mcp".into(),
            revision: Some(revision),
            session: None,
            next_id: Cell::new(1),
            heard: Heard::default(),
        }
    }

    #[test]
    fn the_newest_common_revision_is_spoken() {
        let common = |spoken: Value| server(CURRENT).common(&spoken);
        assert!(common(json!(["2025-11-25", "2026-07-28"])).unwrap());
        assert!(!common(json!(["1999-01-01", "2025-03-26"])).unwrap());
        for none in [json!([]), json!(["2030-01-01"]), json!("2026-07-28"), Value::Null] {
            assert_eq!(common(none.clone()).unwrap_err().code, "unsupported", "{none}");
        }
    }

    #[test]
    fn requests_of_the_current_revision_say_what_they_are() {
        let mut params = Map::new();
        server(CURRENT).describe("tools/call", &json!(7), &mut params);
        assert_eq!(
            params["_meta"],
            json!({
                "progressToken": 7,
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": client(),
                "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
                "io.modelcontextprotocol/logLevel": "info",
            })
        );
        let mut params = Map::new();
        server(OLDER[0]).describe("tools/list", &json!(7), &mut params);
        assert!(params.is_empty());
    }

    #[test]
    fn input_is_fetched_and_the_state_goes_back_as_it_came() {
        let server = server(CURRENT);
        let form = json!({ "type": "object", "answer": "{\"ok\": true}" });
        let request = json!({
            "method": "elicitation/create",
            "params": { "message": "Well?", "requestedSchema": form },
        });
        let mut params = Map::new();
        let wanted = json!({ "inputRequests": { "one": request }, "requestState": "s t" });
        server.inputs(wanted, &mut params).unwrap();
        assert_eq!(
            Value::Object(params),
            json!({
                "inputResponses": { "one": { "action": "accept", "content": { "ok": true } } },
                "requestState": "s t",
            })
        );
        let mut params = Map::new();
        server.inputs(json!({ "requestState": "again" }), &mut params).unwrap();
        assert_eq!(Value::Object(params), json!({ "requestState": "again" }));
        for (wanted, code) in [
            (json!({}), "invalid-data"),
            (json!({ "inputRequests": [] }), "invalid-data"),
            (json!({ "inputRequests": { "a": { "method": "roots/list" } } }), "unsupported"),
            (json!({ "inputRequests": { "a": 7 } }), "unsupported"),
        ] {
            let error = server.inputs(wanted.clone(), &mut Map::new()).unwrap_err();
            assert_eq!(error.code, code, "{wanted}");
        }
    }

    #[test]
    fn questions_come_to_an_end() {
        let mut server = server(OLDER[0]);
        assert!((0..MAX_QUESTIONS).all(|_| server.answer("ping", &Value::Null).is_ok()));
        assert!(server.answer("ping", &Value::Null).is_err());
        server.anew();
        assert!(server.answer("ping", &Value::Null).is_ok());
    }

    #[test]
    fn errors_have_a_code_to_act_on() {
        for (code, expected) in [
            (-32_602, "bad-arguments"),
            (-32_601, "unsupported"),
            (-32_021, "unsupported"),
            (-32_042, "unsupported"),
            (-32_603, "failed"),
            (7, "failed"),
        ] {
            let fault = Fault { code, message: "so\u{7} it is".into(), data: json!({ "a": 1 }) };
            let error = refusal(fault);
            assert_eq!(error.code, expected);
            assert!(error.message.ends_with("so it is"), "{}", error.message);
        }
        let long = Fault { code: 1, message: "x".repeat(100_000), data: Value::Null };
        assert!(refusal(long).message.len() < 3_000);
    }

    #[test]
    fn the_origin_is_what_stands_before_the_path() {
        for (url, expected) in [
            ("https://a.test/mcp?x=1", "https://a.test"),
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
            ("https://a.test?x=/", "https://a.test"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
