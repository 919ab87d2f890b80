//! The connectors to models, against aimock, which stands in for the providers, and against
//! servers that break the protocol.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ampoule::{CallContext, Host, Message, Model, ModelEvent, ModelRequest, ModelResponse};
use ampoule::{ModelTool, Part, ToolError};
use ampoule_tests::served::{module, node};
use ampoule_tests::site::Site;
use ampoule_tests::{host, root};
use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Both connectors; all that is true of one is true of the other.
const CONNECTORS: [&str; 2] = ["openai", "anthropic"];

/// A running aimock. Dropping it stops it.
struct Aimock {
    child: Child,
    address: String,
}

impl Drop for Aimock {
    fn drop(&mut self) {
        // It may have ended by itself; a zombie is left behind in neither case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Aimock {
    /// Starts it on a free port of loopback, with the fixtures of `tests/cases/models`.
    fn start() -> Aimock {
        let mut child = node(&module("@copilotkit/aimock/dist/cli.js"))
            .args(["--port", "0", "--validate-on-load", "--strict", "--chunk-size", "8"])
            .arg("--fixtures")
            .arg(root().join("tests/cases/models"))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on http://")?.1.trim().to_owned()));
        let Some(address) = address else {
            let _ = child.kill();
            panic!("aimock ended with {:?}", child.wait());
        };
        // What it goes on to say is read, so that the pipe never fills.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Aimock { child, address }
    }

    /// Waits until it says it is healthy.
    async fn healthy(self) -> Aimock {
        for _ in 0..100 {
            if let Ok(mut stream) = TcpStream::connect(&self.address).await {
                let get = "GET /health HTTP/1.1\r\nhost: aimock\r\nconnection: close\r\n\r\n";
                let mut answer = String::new();
                stream.write_all(get.as_bytes()).await.unwrap();
                stream.read_to_string(&mut answer).await.unwrap();
                if answer.starts_with("HTTP/1.1 200") {
                    return self;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("aimock at {} did not become healthy", self.address);
    }
}

/// A host with both connectors bound to a provider at this address.
async fn connected(address: &str) -> Host {
    let bind = |name: &str| {
        format!(
            r#"
            [bindings.{name}]
            plugin = "PLUGINS/{name}.wasm"
            settings = {{ base-url = "http://{address}/v1", model = "stand-in" }}
            grant.http = ["GET,POST http://{address}/v1/**"]
            grant.addresses = ["127.0.0.1"]
            "#
        )
    };
    host(&CONNECTORS.map(bind).concat()).await
}

fn connector(host: &Host, name: &str) -> Arc<dyn Model> {
    host.model(name).unwrap_or_else(|| panic!("{name} is no connector"))
}

fn ask(text: &str) -> ModelRequest {
    ModelRequest { messages: vec![Message::text("user", text)], ..ModelRequest::default() }
}

fn with_tools(text: &str) -> ModelRequest {
    let tool = |name: &str| ModelTool {
        name: name.into(),
        description: format!("Tells the {name}."),
        input_schema: json!({ "type": "object", "properties": { "city": { "type": "string" } } }),
    };
    ModelRequest { tools: vec![tool("weather"), tool("time")], ..ask(text) }
}

/// All events of an answer, and how it ended.
async fn events(model: &dyn Model, request: ModelRequest) -> Result<Vec<ModelEvent>, ToolError> {
    let mut stream = model.stream(request, CallContext::default()).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event?);
    }
    Ok(events)
}

async fn complete(model: &dyn Model, request: ModelRequest) -> Result<ModelResponse, ToolError> {
    model.complete(request, CallContext::default()).await
}

/// The error of a request that must fail, the same whether it is streamed or not.
async fn failure(model: &dyn Model, request: ModelRequest) -> ToolError {
    let streamed = events(model, request.clone()).await.unwrap_err();
    let completed = complete(model, request).await.unwrap_err();
    assert_eq!((&streamed.code, streamed.retryable), (&completed.code, completed.retryable));
    streamed
}

fn calls(response: &ModelResponse) -> Vec<&Part> {
    response.message.parts.iter().filter(|part| part.kind == "tool-call").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connectors_answer_stream_and_call_tools() {
    let aimock = Aimock::start().healthy().await;
    let host = connected(&aimock.address).await;
    for name in CONNECTORS {
        let model = connector(&host, name);

        // Asked plainly and streamed, the answer is the same; the pieces make up the whole.
        let answer = complete(&*model, ask("plain")).await.unwrap();
        assert_eq!(answer.message.text_content(), "An ampoule is a small sealed vial.", "{name}");
        assert_eq!((answer.finish.as_str(), answer.message.role.as_str()), ("stop", "assistant"));
        assert_eq!(answer.model, "stand-in", "{name}");
        assert!(answer.usage.is_some(), "{name}");
        let events = events(&*model, ask("plain")).await.unwrap();
        let (last, pieces) = events.split_last().unwrap();
        assert!(pieces.len() > 2 && pieces.iter().all(|event| event.kind == "content"), "{name}");
        let text: String = pieces.iter().filter_map(|event| event.text.as_deref()).collect();
        assert_eq!(text, answer.message.text_content(), "{name}");
        assert_eq!(last.response.as_ref().unwrap().message, answer.message, "{name}");

        let thought = complete(&*model, ask("think")).await.unwrap();
        let kinds: Vec<_> = thought.message.parts.iter().map(|part| part.kind.as_str()).collect();
        assert_eq!(kinds, ["thinking", "text"], "{name}");
        assert_eq!(thought.message.parts[0].text.as_deref(), Some("Six times seven."), "{name}");

        // A tool is called; its result goes back with the message as it came.
        let mut request = with_tools("one tool");
        let called = complete(&*model, request.clone()).await.unwrap();
        assert_eq!(called.finish, "tool-calls", "{name}");
        let [call] = calls(&called)[..] else { panic!("{name}: {called:?}") };
        assert_eq!(
            (call.name.as_deref(), &call.value),
            (Some("weather"), &Some(json!({ "city": "Ulm" })))
        );
        let result = Part {
            kind: "tool-result".into(),
            id: call.id.clone(),
            name: call.name.clone(),
            value: Some(json!({ "sky": "clear" })),
            ..Part::default()
        };
        request.messages.push(called.message.clone());
        request.messages.push(Message { role: "tool".into(), parts: vec![result] });
        let answer = complete(&*model, request).await.unwrap();
        assert_eq!(answer.message.text_content(), "Sunny in Ulm.", "{name}");

        let several = complete(&*model, with_tools("several tools")).await.unwrap();
        assert_eq!(several.message.text_content(), "Asking both.", "{name}");
        let found: Vec<_> = calls(&several)
            .iter()
            .map(|call| (call.name.clone().unwrap(), call.value.clone().unwrap()))
            .collect();
        let city = |city: &str| ("weather".to_owned(), json!({ "city": city }));
        assert_eq!(found, [city("Ulm"), city("Bonn"), ("time".to_owned(), json!({}))], "{name}");

        let models = model.models(CallContext::default()).await.unwrap();
        assert!(models.iter().any(|model| model.name == "gpt-4o"), "{name}: {models:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_refuses_has_a_code_and_its_reason() {
    let aimock = Aimock::start().healthy().await;
    let host = connected(&aimock.address).await;
    for name in CONNECTORS {
        let model = connector(&host, name);
        for (text, code, retryable, reason) in [
            ("status 400", "bad-arguments", false, "`messages` is wrong"),
            ("status 401", "unauthorized", false, "bad key"),
            ("status 404", "not-found", false, "no such model"),
            ("status 429", "rate-limited", true, "slow down"),
            ("status 529", "unavailable", true, "overloaded"),
            ("dropped", "unavailable", true, "500"),
            ("malformed", "invalid-data", false, "event stream"),
            ("disconnect", "unavailable", true, ""),
            ("broken off", "unavailable", true, "broke off"),
        ] {
            let error = failure(&*model, ask(text)).await;
            assert_eq!(
                (error.code.as_str(), error.retryable),
                (code, retryable),
                "{name}: {error:?}"
            );
            assert!(error.message.contains(reason), "{name}, {text}: {error:?}");
            let wait = (text == "status 429").then_some(7_000);
            assert_eq!(error.retry_after_ms, wait, "{name}: {error:?}");
        }
        let unknown = ModelRequest {
            options: json!({ "temprature": 1 }).as_object().unwrap().clone(),
            ..ask("plain")
        };
        let error = failure(&*model, unknown).await;
        assert_eq!(error.code, "bad-arguments", "{name}");
        assert!(error.message.contains("temprature"), "{name}: {error:?}");
    }
}

/// Serves the same bytes to everyone on a port of loopback, then closes the connection.
async fn serving(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                // The requests here have small bodies, which end with their JSON.
                while !request.ends_with(b"}") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                // A client that goes away in the middle is what some cases are about.
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// An answer of status 200 that is an event stream and ends with the connection.
fn event_stream(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_answers_end_as_errors() {
    let endless = {
        let delta = "x".repeat(100_000);
        let openai = json!({ "choices": [{ "index": 0, "delta": { "content": delta } }] });
        let start = json!({ "type": "content_block_start", "index": 0,
            "content_block": { "type": "text", "text": "" } });
        let delta = json!({ "type": "content_block_delta", "index": 0,
            "delta": { "type": "text_delta", "text": delta } });
        let openai = format!("data: {openai}\n\n").repeat(100);
        let anthropic = format!("data: {start}\n\n{}", format!("data: {delta}\n\n").repeat(100));
        [openai, anthropic]
    };
    let same = |body: &str| [event_stream(body), event_stream(body)];
    let cut = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\n: hi\n\n";
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<p>Sign in";
    let wait = b"HTTP/1.1 429 Too Many\r\nretry-after-ms: 250\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let both = |bytes: &[u8]| [bytes.to_vec(), bytes.to_vec()];
    for (what, answers, code, retryable, wait) in [
        ("no JSON", same("data: {\"type\": <<<\n\n"), "invalid-data", false, None),
        (
            "no UTF-8",
            both(&[&event_stream("data: ")[..], b"\xff\xfe\n\n"].concat()),
            "invalid-data",
            false,
            None,
        ),
        ("no events", same("<html>no events"), "unavailable", true, None),
        ("an event without an end", same("data: {\"type\": \"ping\"}"), "unavailable", true, None),
        (
            "one endless line",
            same(&format!("data: {}", "x".repeat(26 << 20))),
            "too-large",
            false,
            None,
        ),
        ("text without end", endless.map(|body| event_stream(&body)), "too-large", false, None),
        ("a body that is cut", both(cut), "unavailable", true, None),
        ("nothing at all", both(b""), "unavailable", true, None),
        ("a page", both(page), "invalid-data", false, None),
        ("a short wait", both(wait), "rate-limited", true, Some(250)),
    ] {
        for (name, answer) in CONNECTORS.into_iter().zip(answers) {
            let host = connected(&serving(answer).await).await;
            let error = events(&*connector(&host, name), ask("x")).await.unwrap_err();
            let found = (error.code.as_str(), error.retryable, error.retry_after_ms);
            assert_eq!(found, (code, retryable, wait), "{name}, {what}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_attached_by_the_host_where_it_is_granted() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk-test\n").unwrap();
    let bind = |name: &str| {
        let origin = site.origin();
        format!(
            r#"
            [bindings.{name}]
            plugin = "PLUGINS/{name}.wasm"
            settings = {{ base-url = "{origin}/v1/", model = "m", headers = {{ x-extra = "1" }} }}
            grant.http = ["POST {origin}/v1/**"]
            grant.addresses = ["127.0.0.1"]
            grant.secrets.api-key = {{ secret = "key", audience = ["{origin}"] }}
            "#
        )
    };
    let bound = CONNECTORS.map(bind).concat();
    let host = host(&format!("[secrets]\nkey = {{ file = {key:?} }}\n{bound}")).await;
    for (name, path, header, value) in [
        ("openai", "/v1/chat/completions", "authorization", "Bearer sk-test"),
        ("anthropic", "/v1/messages", "x-api-key", "sk-test"),
    ] {
        let model = connector(&host, name);
        let error = events(&*model, ask("x")).await.unwrap_err();
        assert_eq!(error.code, "not-found", "{name}: {error:?}");
        let seen = site.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", path));
        assert_eq!(seen.header(header), Some(value), "{name}");
        assert_eq!(seen.header("x-extra"), Some("1"), "{name}");
        let version = (name == "anthropic").then_some("2023-06-01");
        assert_eq!(seen.header("anthropic-version"), version);
        // What is not granted is not asked for, and says so.
        let error = model.models(CallContext::default()).await.unwrap_err();
        assert_eq!(error.code, "denied", "{name}: {error:?}");
    }
    assert_eq!(site.seen().len(), 2);
}
