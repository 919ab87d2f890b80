//! The plugin `mcp-client` against servers of others, against this host's own, and against servers
//! that mean no good.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ampoule::{
    Answer, Ask, Call, CallContext, CallEvent, End, EventSink, Host, Outcome, Output, Question,
    Signal, Tools,
};
use ampoule_server::ServeOptions;
use ampoule_tests::served::{module, node};
use ampoule_tests::site::Seen;
use ampoule_tests::{Table, builder, call, root, value};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::mcp::{Fixture, Served, finish};

/// The token of the servers here.
const TOKEN: &str = "mcp-token-93e0b7c51d2f8a46";

/// The configuration of a binding `remote` for the server at `url`, with more lines of its own.
fn binding(url: &str, more: &str) -> String {
    let origin = url.rsplit_once('/').unwrap().0;
    format!(
        r#"
        [bindings.remote]
        plugin = "PLUGINS/mcp-client.wasm"
        grant.http = ["DELETE,GET,POST {origin}/**"]
        grant.addresses = ["127.0.0.1"]
        settings.url = "{url}"
        {more}
        "#
    )
}

async fn bound(url: &str, more: &str) -> Host {
    let host = builder(&binding(url, more)).build().await.unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

/// Why the server at `url` gives no tools.
async fn refused(url: &str) -> String {
    let host = builder(&binding(url, "")).build().await.unwrap();
    let reasons = host.refused();
    assert!(reasons.len() == 1 && host.tools().is_empty(), "{reasons:?}");
    reasons[0].to_string()
}

fn names(host: &Host) -> Vec<String> {
    host.tools().iter().map(|tool| tool.name.clone()).collect()
}

async fn output(host: &Host, tool: &str, arguments: Value) -> Output {
    match call(host, tool, arguments).await.end {
        End::Value(output) => output,
        other => panic!("{tool}: {other:?}"),
    }
}

/// The error that a call failed with: code and message.
fn failed(outcome: Outcome) -> (String, String) {
    match outcome.end {
        End::Failed(error) => (error.code, error.message),
        other => panic!("{other:?}"),
    }
}

/// A person who gives one answer to everything.
struct Person(Answer, Arc<Mutex<Vec<Question>>>);

#[async_trait::async_trait]
impl Ask for Person {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        self.1.lock().unwrap().push(question);
        self.0.clone()
    }
}

/// A host that asks a person who gives this answer, and what the person was asked.
async fn with_person(url: &str, answer: Answer) -> (Host, Arc<Mutex<Vec<Question>>>) {
    let asked = Arc::default();
    let person = Arc::new(Person(answer, Arc::clone(&asked)));
    let host = builder(&binding(url, "grant.ask = true")).ask(person).build().await.unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    (host, asked)
}

/// `@modelcontextprotocol/server-everything`, which the authors of MCP test clients with.
struct Everything {
    process: Child,
    address: SocketAddr,
}

impl Everything {
    async fn start() -> Everything {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut server = node(&module("@modelcontextprotocol/server-everything/dist/index.js"));
        server.arg("streamableHttp").env("PORT", address.port().to_string());
        let process = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let everything = Everything { process, address };
        for _ in 0..300 {
            if TcpStream::connect(address).await.is_ok() {
                return everything;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server does not listen on {address}");
    }

    fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tools_of_the_reference_server_are_ours() {
    let server = Everything::start().await;
    let host = bound(&server.url(), "").await;
    let tools = host.tools();
    let tool = |name: &str| tools.iter().find(|tool| tool.name == name).unwrap();

    let echo = tool("echo");
    assert_eq!((echo.id.as_str(), echo.title.as_deref()), ("remote/echo", Some("Echo Tool")));
    assert_eq!(echo.description, "Echoes back the input string");
    assert_eq!(
        echo.input_schema["properties"],
        json!({ "message": { "type": "string", "description": "Message to echo" } })
    );
    let effects = echo.effects;
    assert!(effects.read_only && effects.idempotent);
    assert!(!effects.destructive && !effects.open_world);
    let weather = tool("get-structured-content").output_schema.as_ref().unwrap();
    assert_eq!(weather["required"], json!(["temperature", "conditions", "humidity"]));
    // What this client says it can do decides what the server offers: forms, but neither models nor
    // roots. What can only be a task is left out here.
    let names = names(&host);
    assert!(names.contains(&"trigger-elicitation-request".to_owned()), "{names:?}");
    for none in ["trigger-sampling-request", "get-roots-list", "simulate-research-query"] {
        assert!(!names.contains(&none.to_owned()), "{none}");
    }

    assert_eq!(value(&host, "remote/echo", json!({ "message": "hi" })).await, "Echo: hi");
    let sum = value(&host, "remote/get-sum", json!({ "a": 2, "b": 40 })).await;
    assert!(sum.as_str().unwrap().contains("42"), "{sum}");
    let weather = output(&host, "remote/get-structured-content", json!({ "location": "Chicago" }));
    let weather = weather.await;
    assert_eq!(weather.value.unwrap()["conditions"], "Light rain / drizzle");
    assert!(weather.blocks.is_empty(), "{:?}", weather.blocks);
    let image = output(&host, "remote/get-tiny-image", json!({})).await;
    let kinds: Vec<_> = image.blocks.iter().map(|block| block.kind.as_str()).collect();
    assert_eq!(kinds, ["text", "image", "text"]);
    assert_eq!(image.blocks[1].media_type.as_deref(), Some("image/png"));
    assert!(image.blocks[1].data.as_ref().unwrap().starts_with(b"\x89PNG"));
    let links = output(&host, "remote/get-resource-links", json!({ "count": 2 })).await;
    let links: Vec<_> = links.blocks.iter().filter(|block| block.kind == "link").collect();
    assert!(links.len() == 2 && links[0].uri.as_ref().unwrap().contains("://"), "{links:?}");
    let reference = json!({ "resourceType": "Text", "resourceId": 1 });
    let file = output(&host, "remote/get-resource-reference", reference).await;
    let file = file.blocks.iter().find(|block| block.kind == "file").unwrap();
    assert!(file.meta.as_ref().unwrap()["uri"].is_string() && file.text.is_some(), "{file:?}");
    let noted = json!({ "messageType": "error", "includeImage": false });
    let noted = output(&host, "remote/get-annotated-message", noted).await;
    assert_eq!(noted.blocks[0].meta.as_ref().unwrap()["priority"], 1.0);

    let wrong = call(&host, "remote/get-sum", json!({ "a": "x", "b": 1 })).await;
    assert!(matches!(wrong.end, End::BadArguments(_)), "{:?}", wrong.end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_and_questions_pass_through() {
    let server = Everything::start().await;
    let (host, asked) = with_person(&server.url(), Answer::Given(json!({ "name": "Ada" }))).await;
    let reports = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reports);
    let sink = EventSink::new(move |event| {
        if let CallEvent::Progress { done, total, .. } = event {
            sink.lock().unwrap().push((done, total));
        }
        Signal::Proceed
    });
    let long = json!({ "duration": 0.3, "steps": 3 });
    let long = Call::new("remote/trigger-long-running-operation", long).events(sink);
    assert!(matches!(host.call(long).await.end, End::Value(_)));
    let reported = reports.lock().unwrap().clone();
    assert_eq!(reported, [(1.0, Some(3.0)), (2.0, Some(3.0)), (3.0, Some(3.0))]);

    // One who has lost interest stops it.
    let stop = EventSink::new(|_| Signal::Stop);
    let long = json!({ "duration": 20, "steps": 200 });
    let long = Call::new("remote/trigger-long-running-operation", long).events(stop);
    let (code, _) = failed(host.call(long).await);
    assert_eq!(code, "cancelled");

    let said = output(&host, "remote/trigger-elicitation-request", json!({})).await;
    let said = format!("{said:?}");
    assert!(said.contains("Ada") && said.contains("dark and stormy"), "{said}");
    let question = asked.lock().unwrap().remove(0);
    let origin = server.url().replace("/mcp", "");
    assert!(
        question.text.starts_with(&format!("The MCP server at {origin} asks: ")),
        "{question:?}"
    );
    assert_eq!(question.schema.unwrap()["required"], json!(["name"]));
    let (host, _) = with_person(&server.url(), Answer::Declined).await;
    let said =
        format!("{:?}", output(&host, "remote/trigger-elicitation-request", json!({})).await);
    assert!(said.contains("declined"), "{said}");
    // Where it is not granted, nobody is asked, and the server hears of no answer.
    let host = bound(&server.url(), "").await;
    let said =
        format!("{:?}", output(&host, "remote/trigger-elicitation-request", json!({})).await);
    assert!(said.contains("cancel"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_chooses_tools_and_sessions_last() {
    let server = Everything::start().await;
    let host = bound(&server.url(), "settings.allow = [\"toggle-*logging\", \"ech?\"]").await;
    assert_eq!(names(&host), ["echo", "toggle-simulated-logging"]);
    // The server switches per session of its own.
    let toggle = async |session: Option<&str>| {
        let call = Call::new("remote/toggle-simulated-logging", json!({}));
        let call = match session {
            Some(id) => call.session(id),
            None => call,
        };
        format!("{:?}", host.call(call).await.end)
    };
    for (session, word) in [
        (None, "Started"),
        (None, "Started"),
        (Some("a"), "Started"),
        (Some("a"), "Stopped"),
        (Some("b"), "Started"),
        (Some("a"), "Started"),
    ] {
        let said = toggle(session).await;
        assert!(said.contains(word), "{session:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_host_s_own_server_is_one_too() {
    let served = Served::start(ServeOptions::default(), Arc::new(Fixture::new().await)).await;
    let url = format!("http://{}/mcp", served.address);
    let (host, asked) = with_person(&url, Answer::Given(json!({ "username": "ada" }))).await;
    let text = value(&host, "remote/test_simple_text", json!({})).await;
    assert_eq!(text, "This is a simple text response for testing.");
    let mixed = output(&host, "remote/test_multiple_content_types", json!({})).await;
    let kinds: Vec<_> = mixed.blocks.iter().map(|block| block.kind.as_str()).collect();
    assert_eq!(kinds, ["text", "image", "file"]);
    let (code, message) = failed(call(&host, "remote/test_error_handling", json!({})).await);
    assert!(code == "failed" && message.contains("intentionally"), "{code}: {message}");
    // In the current revision a question is a result, and the call comes again with the answer.
    let asks = json!({ "message": "Who?" });
    let outcome = call(&host, "remote/test_elicitation", asks).await;
    assert_eq!(asked.lock().unwrap().len(), 1, "{outcome:?}");
}

/// The scenarios of the suite for clients in each revision. Those of OAuth are left out: a token is
/// the operator's. So are those of extensions.
const SCENARIOS: [(&str, &[&str]); 2] = [
    (
        "2026-07-28",
        &[
            "http-custom-headers",
            "http-invalid-tool-headers",
            "http-standard-headers",
            "json-schema-2020-12-preservation",
            "json-schema-ref-no-deref",
            "request-metadata",
            "sep-2322-client-request-state",
            "tools_call",
        ],
    ),
    (
        "2025-11-25",
        &[
            "elicitation-sep1034-client-defaults",
            "initialize",
            "json-schema-2020-12-preservation",
            "sse-retry",
            "tools_call",
        ],
    ),
];

/// Every scenario passes, or its checks that do not stand with their reason in the file of those; one
/// that stands there and passes fails the test too.
#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_for_clients_passes() {
    let results = tempfile::tempdir().unwrap();
    for (revision, scenarios) in SCENARIOS {
        for scenario in scenarios {
            let mut suite = node(&module("@modelcontextprotocol/conformance/dist/index.js"));
            suite.args(["client", "--scenario", scenario, "--spec-version", revision]);
            suite.args(["--timeout", "60000", "--command", env!("CARGO_BIN_EXE_mcp_client")]);
            suite.arg("--output-dir").arg(results.path()).arg("--expected-failures");
            suite.arg(root().join("tests/cases/mcp/client.yaml"));
            let (passed, said) = finish(suite).await;
            assert!(passed && !said.contains("skipped"), "{scenario}: {said}");
        }
    }
}

/// What a server answers: status, headers, body.
type Answered = (u16, Vec<(&'static str, String)>, String);

/// A server that answers as a test has it.
struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    async fn start(answer: impl Fn(&Seen, &Value) -> Answered + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<Incoming>| async {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.map(|body| body.to_bytes());
                        let headers = parts.headers.iter().map(|(name, value)| {
                            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                            (name.as_str().to_owned(), value)
                        });
                        let seen = Seen {
                            method: parts.method.to_string(),
                            target: parts.uri.to_string(),
                            headers: headers.collect(),
                            body: body.unwrap_or_default().to_vec(),
                        };
                        let message = serde_json::from_slice(&seen.body).unwrap_or_default();
                        log.lock().unwrap().push(seen.clone());
                        let (status, headers, body) = answer(&seen, &message);
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Fake { address, seen, task }
    }

    fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What was asked since the last time: the method of HTTP, or the one in the body.
    fn asked(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let word = |seen: Seen| {
            let message: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            message["method"].as_str().map_or(seen.method, str::to_owned)
        };
        seen.into_iter().map(word).collect()
    }
}

fn result(message: &Value, result: Value) -> Answered {
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    (200, vec![("content-type", "application/json".into())], body.to_string())
}

fn events(body: String) -> Answered {
    (200, vec![("content-type", "text/event-stream".into())], body)
}

fn status(status: u16) -> Answered {
    (status, Vec::new(), String::new())
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn text(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

/// What an older server answers to begin with; the session is `s1`.
fn older(seen: &Seen, message: &Value) -> Option<Answered> {
    Some(match (seen.method.as_str(), message["method"].as_str()) {
        ("POST", Some("server/discover")) => status(400),
        ("POST", Some("initialize")) => {
            let chosen = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
                "serverInfo": { "name": "fake", "version": "1" } });
            let (status, mut headers, body) = result(message, chosen);
            headers.push(("mcp-session-id", "s1".into()));
            (status, headers, body)
        }
        ("POST", Some("notifications/initialized")) => status(202),
        ("POST", Some("tools/list")) => {
            result(message, json!({ "tools": [tool("files.read"), tool("list")] }))
        }
        ("GET", _) if seen.header("last-event-id").is_none() => status(405),
        ("DELETE", _) => status(200),
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_server_is_spoken_to_as_it_wants() {
    let fake = Fake::start(|seen, message| {
        older(seen, message).unwrap_or_else(|| result(message, text("read")))
    })
    .await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), TOKEN).unwrap();
    let origin = fake.url().replace("/mcp", "");
    let more = format!(
        "grant.secrets.token = {{ secret = \"token\", audience = [\"{origin}\"] }}\n\
         [secrets.token]\nfile = \"{}\"",
        secret.path().display()
    );
    let host = bound(&fake.url(), &more).await;
    let begin = ["server/discover", "initialize", "notifications/initialized"];
    assert_eq!(fake.asked(), [&begin[..], &["tools/list", "DELETE"]].concat());
    let names = names(&host);
    assert!(names[0].starts_with("files_read_") && names[0].len() == 19, "{names:?}");

    // A name that is not the server's own is looked for in its list first.
    let outcome = call(&host, &format!("remote/{}", names[0]), json!({ "x": 1 })).await;
    let told = format!("{outcome:?}");
    let End::Value(output) = outcome.end else { panic!("{told}") };
    assert!(output.value == Some("read".into()) && !told.contains(TOKEN), "{told}");
    let seen = fake.seen.lock().unwrap().clone();
    let sent: Value = serde_json::from_slice(&seen[5].body).unwrap();
    assert_eq!(sent["params"]["name"], "files.read");
    assert_eq!(sent["params"]["arguments"], json!({ "x": 1 }));
    for request in &seen {
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert_eq!(request.target, "/mcp");
    }
    for request in &seen[2..] {
        assert_eq!(request.header("mcp-session-id"), Some("s1"));
        assert_eq!(request.header("mcp-protocol-version"), Some("2025-06-18"));
    }
    assert_eq!(seen[1].header("mcp-protocol-version"), None);
    assert_eq!(fake.asked(), [&begin[..], &["tools/list", "GET", "tools/call", "DELETE"]].concat());
    // Calls of one session begin once, and leave the server's session to the server.
    for _ in 0..2 {
        let outcome = host.call(Call::new("remote/list", json!({})).session("one")).await;
        assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
    }
    assert_eq!(fake.asked(), [&begin[..], &["GET", "tools/call", "GET", "tools/call"]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_gone_and_a_stream_that_breaks_are_taken_up_again() {
    let gone = Mutex::new(true);
    let fake = Fake::start(move |seen, message| {
        if let Some(answer) = older(seen, message) {
            return answer;
        }
        if std::mem::take(&mut *gone.lock().unwrap()) {
            let fault = json!({ "id": null, "error": { "code": -32001, "message": "gone" } });
            return (404, vec![("content-type", "application/json".into())], fault.to_string());
        }
        match seen.header("last-event-id") {
            None => events("id: e1\nretry: 10\ndata:\n\n".into()),
            Some("e1") => events("id: e2\ndata: {\"method\": \"notifications/other\"}\n\n".into()),
            Some(last) => {
                assert_eq!(last, "e2");
                // The id of the request that the stream began with: discover, initialize, call,
                // initialize again, call again.
                let answer = json!({ "id": 5, "result": text("whole") });
                events(format!("data: {answer}\n\n"))
            }
        }
    })
    .await;
    let host = bound(&fake.url(), "").await;
    fake.asked();
    assert_eq!(value(&host, "remote/list", json!({})).await, "whole");
    let begin = ["initialize", "notifications/initialized", "GET", "tools/call"];
    let all = [&["server/discover"], &begin[..], &begin, &["GET", "GET", "DELETE"]].concat();
    assert_eq!(fake.asked(), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_beside_the_call_are_answered() {
    // Many servers ask on the stream that belongs to no request.
    let (answered, heard) = std::sync::mpsc::channel::<Value>();
    let heard = Mutex::new(heard);
    let fake = Fake::start(move |seen, message| {
        let question = |id: u64, method: &str, params: Value| {
            let question =
                json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            format!("data: {question}\n\n")
        };
        let form = json!({ "message": "Sure?\u{1b}", "requestedSchema": { "type": "object",
            "properties": { "sure": { "type": "boolean", "default": true } } } });
        match (seen.method.as_str(), message["method"].as_str()) {
            ("GET", _) => events(
                question(1, "elicitation/create", form) + &question(2, "roots/list", json!({})),
            ),
            ("POST", Some("tools/call")) => {
                let heard = heard.lock().unwrap();
                let next = || heard.recv_timeout(Duration::from_secs(20)).unwrap();
                let said = tokio::task::block_in_place(|| [next(), next()]);
                result(message, text(&json!(said).to_string()))
            }
            ("POST", None) => {
                answered.send(message.clone()).unwrap();
                status(202)
            }
            _ => older(seen, message).unwrap(),
        }
    })
    .await;
    let (host, asked) = with_person(&fake.url(), Answer::Given(json!({}))).await;
    let said = value(&host, "remote/list", json!({})).await;
    let said: Value = serde_json::from_str(said.as_str().unwrap()).unwrap();
    let accepted = json!({ "action": "accept", "content": { "sure": true } });
    assert_eq!(said[0], json!({ "jsonrpc": "2.0", "id": 1, "result": accepted }));
    assert_eq!((&said[1]["id"], &said[1]["error"]["code"]), (&json!(2), &json!(-32601)));
    assert!(asked.lock().unwrap()[0].text.ends_with("asks: Sure?"));
}

/// A server of the current revision with these tools, which answers a call as a test has it.
async fn current(
    tools: Value,
    answer: impl Fn(&Seen, &Value) -> Answered + Send + Sync + 'static,
) -> Fake {
    Fake::start(move |seen, message| match message["method"].as_str() {
        Some("server/discover") => result(message, json!({ "supportedVersions": ["2026-07-28"] })),
        Some("tools/list") => result(message, json!({ "tools": tools })),
        _ => answer(seen, message),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_answers_amiss_is_an_error_to_act_on() {
    let kind = Arc::new(Mutex::new(""));
    let wanted = Arc::clone(&kind);
    let deep = "[".repeat(3_000);
    let fake = current(json!([tool("t")]), move |_, message| {
        let fault = |status: u16, code: i64, said: &str| {
            let fault = json!({ "id": message["id"], "error": { "code": code, "message": said } });
            (status, vec![("content-type", "application/json".into())], fault.to_string())
        };
        let json = |body: String| (200, vec![("content-type", "application/json".into())], body);
        match *wanted.lock().unwrap() {
            "token" => status(401),
            "forbidden" => fault(403, -32_000, "not for you"),
            "slow" => (429, vec![("retry-after", "7".into())], String::new()),
            "down" => status(503),
            "nothing" => status(404),
            "arguments" => fault(200, -32_602, "`city` is missing"),
            "method" => fault(404, -32_601, "no such method"),
            "fault" => fault(200, -32_603, "boom\u{1b}"),
            "page" => (200, vec![("content-type", "text/html".into())], "<p>hi</p>".into()),
            "deep" => json(format!("{{\"id\": 1, \"result\": {deep}")),
            "other" => result(&json!({ "id": 777 }), text("x")),
            "odd" => result(message, json!({ "resultType": "task", "content": [] })),
            "wants" => result(
                message,
                json!({ "resultType": "input_required",
                "inputRequests": { "a": { "method": "sampling/createMessage" } } }),
            ),
            "again" => {
                result(message, json!({ "resultType": "input_required", "requestState": "s" }))
            }
            "large" => result(message, text(&"x".repeat(17 << 20))),
            "objects" => {
                let many = format!("[{}1]", "{\"a\":1},".repeat(1_500_000));
                result(
                    message,
                    json!({ "structuredContent": "done",
                    "content": [{ "type": "text", "text": many }] }),
                )
            }
            "many" => json(format!("{{\"id\": 1, \"result\": [{}0]}}", "0,".repeat(2_000_000))),
            "broken" => events("data: {\"id\": 1\n".into()),
            "garbage" => events("data: \u{0}\n\n".into()),
            "empty" => status(202),
            "chatty" => {
                let line = json!({ "method": "notifications/message",
                    "params": { "level": "info", "data": "x".repeat(2_000) } });
                let report = json!({ "method": "notifications/progress",
                    "params": { "progressToken": message["id"], "progress": 1,
                                "message": "y".repeat(2_000) } });
                let said = format!("data: {line}\n\ndata: {report}\n\n").repeat(3_000);
                let answer = json!({ "id": message["id"], "result": text("done") });
                events(said + &format!("data: {answer}\n\n"))
            }
            _ => result(message, text("fine")),
        }
    })
    .await;
    let host = bound(&fake.url(), "").await;
    let mut table = Table::new("An MCP server that answers amiss");
    for (word, code, says) in [
        ("token", "unauthorized", "grant.secrets.token"),
        ("forbidden", "unauthorized", "not for you"),
        ("slow", "rate-limited", "429"),
        ("down", "unavailable", "503"),
        ("nothing", "not-found", "404"),
        ("arguments", "bad-arguments", "`city` is missing"),
        ("method", "unsupported", "no such method"),
        ("fault", "failed", "-32603: boom"),
        ("page", "invalid-data", "is `url` that of an MCP server?"),
        ("deep", "invalid-data", "recursion limit"),
        ("other", "invalid-data", "another request"),
        ("odd", "unsupported", "`task`"),
        ("wants", "unsupported", "sampling/createMessage"),
        ("again", "too-large", "more than 16 times"),
        ("large", "too-large", "ask the tool for less"),
        ("many", "too-large", "more than 1000000 values"),
        ("broken", "unavailable", "broke its answer off"),
        ("garbage", "invalid-data", "no message of JSON-RPC"),
        ("empty", "invalid-data", "status 202"),
    ] {
        *kind.lock().unwrap() = word;
        let outcome = call(&host, "remote/t", json!({})).await;
        table.call("remote/t", word, &outcome);
        let (found, message) = failed(outcome);
        assert!(found == code && message.contains(says), "{word}: {found}: {message}");
    }
    for word in ["chatty", "objects", ""] {
        *kind.lock().unwrap() = word;
        let answer = value(&host, "remote/t", json!({})).await;
        assert_eq!(answer, if word.is_empty() { "fine" } else { "done" });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_no_good_gives_what_of_it_is() {
    let schema = |name: &str, schema: Value| json!({ "name": name, "inputSchema": schema });
    let mut deep = json!({});
    for _ in 0..80 {
        deep = json!({ "items": deep });
    }
    let tools = json!([
        tool("good"),
        tool("good"),
        tool("bad\nname"),
        7,
        schema("remote", json!({ "type": "object", "$ref": "https://example.com/schema" })),
        schema("dynamic", json!({ "type": "object", "$dynamicRef": "#x" })),
        schema("wrong", json!({ "type": "object", "properties": 7 })),
        schema("text", json!({ "type": "string" })),
        schema("deep", json!({ "type": "object", "properties": { "a": deep } })),
        schema("anchor", json!({ "type": "object", "$defs": { "a": { "$anchor": "a" } },
            "properties": { "a": { "$ref": "#a" }, "b": { "pattern": "(?=a)" } } })),
        schema("draft-7", json!({ "$schema": "http://json-schema.org/draft-07/schema#",
            "$id": "https://example.com/x", "type": "object", "dependencies": { "a": ["b"] } })),
        { "name": "says", "description": "One\u{202e}\u{e0041}\u{7}.", "title": "a\nb",
          "inputSchema": { "type": "object" } },
    ]);
    let fake = current(tools, |_, message| result(message, text("x"))).await;
    let host = bound(&fake.url(), "").await;
    assert_eq!(names(&host), ["anchor", "draft-7", "good", "says"]);
    let tools = host.tools();
    assert_eq!((tools[3].description.as_str(), tools[3].title.as_deref()), ("One.", Some("a b")));
    assert!(tools[2].effects.destructive && tools[2].effects.open_world);
    let wrong = call(&host, "remote/draft-7", json!({ "a": 1 })).await;
    assert!(matches!(wrong.end, End::BadArguments(_)), "{:?}", wrong.end);

    let url = |fake: &Fake| fake.url();
    let endless = Fake::start(|_, message| match message["method"].as_str() {
        Some("tools/list") => result(message, json!({ "tools": [], "nextCursor": "more" })),
        _ => result(message, json!({ "supportedVersions": ["2026-07-28"] })),
    })
    .await;
    assert!(refused(&url(&endless)).await.contains("64 pages"));
    let many: Vec<_> = (0..1_100).map(|n| tool(&format!("t{n}"))).collect();
    let many = current(json!(many), |_, _| status(500)).await;
    assert!(refused(&url(&many)).await.contains("choose by `allow`"));
    let none = current(json!("tools"), |_, _| status(500)).await;
    assert!(refused(&url(&none)).await.contains("no list of tools"));
    let new = Fake::start(|_, message| {
        result(message, json!({ "supportedVersions": ["2031-01-01"], "protocolVersion": "x" }))
    })
    .await;
    assert!(refused(&url(&new)).await.contains("2031-01-01"));
    let closed = Fake::start(|_, _| status(401)).await;
    assert!(refused(&url(&closed)).await.contains("unauthorized"));
    let page = Fake::start(|_, _| (200, vec![("content-type", "text/html".into())], String::new()));
    assert!(refused(&url(&page.await)).await.contains("is `url` that of an MCP server?"));
}

/// The values of this field in the cases of a plugin, each once.
fn in_cases(plugin: &str, field: &str) -> Vec<Value> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(root().join("plugins").join(plugin).join("tests")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let suite: Value = serde_json::from_str(&text).unwrap();
        for case in suite["cases"].as_array().into_iter().flatten() {
            if let Some(value) = case["arguments"].get(field) {
                found.insert(value.to_string(), value.clone());
            }
        }
    }
    found.into_values().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_of_a_list_the_host_takes_too() {
    // One that the host refused would take the whole catalogue with it.
    let schemas = in_cases("json-schema", "schema");
    let patterns = in_cases("regex", "pattern");
    let patterns = patterns.into_iter().map(|pattern| json!({ "pattern": pattern }));
    let all: Vec<Value> = schemas.into_iter().chain(patterns).collect();
    assert!(all.len() > 1_000, "{}", all.len());
    let mut taken = 0;
    for part in all.chunks(400) {
        let tools = part.iter().enumerate().map(|(at, schema)| {
            json!({ "name": format!("t{at}"), "inputSchema": {}, "outputSchema": schema })
        });
        let tools: Vec<Value> = tools.collect();
        let fake = current(json!(tools), |_, message| result(message, text("x"))).await;
        taken += bound(&fake.url(), "").await.tools().len();
    }
    assert!(taken * 10 > all.len() * 8, "{taken} of {}", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_go_along_as_headers_where_the_server_wants_them() {
    let region = json!({ "type": "string", "x-mcp-header": "Region" });
    let fields = json!({ "type": "object", "properties": { "region": region } });
    let tools = json!([{ "name": "where", "inputSchema": fields }]);
    let fake = current(tools, |seen, message| {
        let header = |name: &str| seen.header(name).unwrap_or_default().to_owned();
        result(message, text(&format!("{} {}", header("mcp-name"), header("mcp-param-region"))))
    })
    .await;
    let host = bound(&fake.url(), "").await;
    let id = host.tools()[0].id.clone();
    assert!(id.starts_with("remote/where_"), "{id}");
    for (region, sent) in [("us-west1", "us-west1"), ("Zürich", "=?base64?WsO8cmljaA==?=")] {
        let said = value(&host, &id, json!({ "region": region })).await;
        assert_eq!(said, format!("where {sent}"));
    }
    assert_eq!(value(&host, &id, json!({})).await, "where ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_where_it_is_not_granted() {
    let fake = current(json!([tool("t")]), |_, message| result(message, text("x"))).await;
    let config = "[bindings.remote]\nplugin = \"PLUGINS/mcp-client.wasm\"\n";
    let unset = builder(config).build().await.unwrap();
    assert!(unset.refused().is_empty() && unset.tools().is_empty(), "{:?}", unset.refused());
    let config = format!("{config}settings.url = \"{}\"\n", fake.url());
    let ungranted = builder(&config).build().await.unwrap();
    let reasons = ungranted.refused();
    assert!(reasons.len() == 1 && reasons[0].contains("denied"), "{reasons:?}");
    assert!(fake.asked().is_empty());
}
