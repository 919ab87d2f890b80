//! Many clients over HTTP: who is let in, what is read of them, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ampoule_contract::{CallEvent, End, ToolCall};
use ampoule_server::{Access, BearerToken, HttpOptions, ServeError, ServeOptions};
use rmcp::model::ProtocolVersion;
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::*;

const SOON: Duration = Duration::from_secs(10);
pub(crate) const ALICE: &str = "alice-0123456789abcdef";
pub(crate) const BOB: &str = "bob-0123456789abcdef";

/// A server on loopback.
pub(crate) struct Web {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), ServeError>>,
}

/// An answer, as it came over the wire.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn of(bytes: Vec<u8>) -> Answer {
        let answer = String::from_utf8(bytes).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Whether all of it is there: so many bytes as its head says, or the last chunk.
    fn is_whole(&self) -> bool {
        match self.header("content-length") {
            Some(length) => self.body.len() == length.parse::<usize>().unwrap(),
            None if self.header("transfer-encoding") == Some("chunked") => {
                self.body.ends_with("0\r\n\r\n")
            }
            None => true,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Web {
    pub(crate) async fn start(shelf: Shelf, http: HttpOptions) -> Web {
        Web::with(shelf, ServeOptions::default(), http).await
    }

    async fn with(shelf: Shelf, options: ServeOptions, http: HttpOptions) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = options.shutdown.clone();
        let serving = ampoule_server::serve_http(Arc::new(shelf), listener, options, http);
        Web { address, shutdown, server: tokio::spawn(serving) }
    }

    pub(crate) async fn client(
        &self,
        era: Era,
        token: Option<&str>,
    ) -> (RunningService<RoleClient, Listener>, Listener) {
        // The one of the tests is as good as any; a second time it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let uri = format!("http://{}/mcp", self.address);
        let mut config = StreamableHttpClientTransportConfig::with_uri(uri);
        if let Some(token) = token {
            config = config.auth_header(token.to_owned());
        }
        let transport = StreamableHttpClientTransport::from_config(config);
        let heard = Listener::default();
        let client = match era {
            Era::Old => heard.clone().serve(transport).await.unwrap(),
            Era::New => {
                let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                let mode = ClientLifecycleMode::Discover { preferred_versions };
                heard.clone().serve_with_lifecycle(transport, mode).await.unwrap()
            }
        };
        (client, heard)
    }

    /// Sends bytes and reads until the server hangs up.
    async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may have answered and gone before it has read all.
        let _ = stream.write_all(request.as_ref()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        Answer::of(answer)
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.raw(request(method, path, headers, body)).await
    }

    /// A request of the current revision, with further headers.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&NEW[..], headers].concat();
        self.send("POST", "/mcp", &headers, body).await
    }

    pub(crate) async fn call(&self, tool: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = [&[("Mcp-Name", tool)], headers].concat();
        self.post(&headers, &call(tool)).await
    }

    pub(crate) async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.server).await.unwrap().unwrap().unwrap();
    }
}

/// What every request of the current revision says.
pub(crate) const NEW: [(&str, &str); 2] =
    [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call")];

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut all = vec![("Connection", "close"), ("Accept", "application/json, text/event-stream")];
    if !headers.iter().any(|(name, _)| *name == "Host") {
        all.push(("Host", "localhost"));
    }
    all.extend_from_slice(headers);
    let length = body.len().to_string();
    if method == "POST" {
        all.push(("Content-Type", "application/json"));
        all.push(("Content-Length", &length));
    }
    let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}")
}

fn call(tool: &str) -> String {
    call_with(tool, json!({})).to_string()
}

pub(crate) fn call_with(tool: &str, arguments: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// A shelf whose tool `who` answers for whom it was called.
pub(crate) fn who() -> Shelf {
    Shelf::default().with(tool("who"), |call: ToolCall| async move {
        outcome(&call, value(json!(call.context.principal)))
    })
}

pub(crate) fn tokens() -> HttpOptions {
    let token = |token, who: &str| BearerToken::new(token, Some(who.to_owned())).unwrap();
    let access = Access::Tokens(vec![token(ALICE, "alice"), token(BOB, "bob")]);
    HttpOptions { access, ..HttpOptions::default() }
}

#[tokio::test]
async fn clients_of_both_eras_list_call_and_hear_progress() {
    let shelf = Shelf::default().with(tool("t"), |call: ToolCall| async move {
        let progress = CallEvent::Progress { done: 1.0, total: None, message: None };
        call.context.events.as_ref().unwrap().send(progress);
        outcome(&call, value(json!({"done": true})))
    });
    let web = Web::start(shelf, HttpOptions::default()).await;
    for era in ERAS {
        let (client, heard) = web.client(era, None).await;
        assert_eq!(client.list_all_tools().await.unwrap()[0].name, "t");
        for _ in 0..3 {
            let result = client.call_tool(crate::harness::request("t", json!({}))).await.unwrap();
            assert_eq!(result.structured_content, Some(json!({"done": true})), "{era:?}");
        }
        let begun = Instant::now();
        while heard.progress.lock().unwrap().len() < 3 {
            assert!(begun.elapsed() < SOON, "{era:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.cancel().await.unwrap();
    }
    web.end().await;
}

#[tokio::test]
async fn a_page_of_the_web_is_refused_and_told_by_which_flag_it_would_not_be() {
    let http = HttpOptions {
        allowed_hosts: vec!["mcp.example.com".into()],
        allowed_origins: vec!["https://app.example.com".into()],
        ..HttpOptions::default()
    };
    let web = Web::start(who(), http).await;
    let refused = web.call("who", &[("Host", "evil.example.com")]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("--allow-host evil.example.com"), "{}", refused.body);
    let refused = web.call("who", &[("Origin", "https://evil.example.com")]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("--allow-origin https://evil.example.com"), "{}", refused.body);
    assert_eq!(refused.header("access-control-allow-origin"), None);
    // What a browser asks before it sends anything is refused too.
    let origin = ("Origin", "https://evil.example.com");
    assert_eq!(web.send("OPTIONS", "/mcp", &[origin], "").await.status, 403);

    assert_eq!(web.call("who", &[("Host", "mcp.example.com")]).await.status, 200);
    let origin = ("Origin", "https://app.example.com");
    let answer = web.call("who", &[origin]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    let wanted = ("Access-Control-Request-Headers", "authorization,content-type");
    let preflight = web.send("OPTIONS", "/mcp", &[origin, wanted], "").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-headers"), Some(wanted.1));
    web.end().await;
}

#[tokio::test]
async fn a_token_says_for_whom_a_call_is_and_without_one_there_is_none() {
    let web = Web::start(who(), tokens()).await;
    let missing = web.call("who", &[]).await;
    assert_eq!((missing.status, missing.header("www-authenticate")), (401, Some("Bearer")));
    let wrong = web.call("who", &[("Authorization", "Bearer nobody-0123456789")]).await;
    let challenge = wrong.header("www-authenticate");
    assert_eq!((wrong.status, challenge), (401, Some("Bearer error=\"invalid_token\"")));
    for (token, name) in [(ALICE, "alice"), (BOB, "bob")] {
        let answer = web.call("who", &[("Authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(answer.json()["result"]["structuredContent"], name);
        for era in ERAS {
            let (client, _) = web.client(era, Some(token)).await;
            let request = crate::harness::request("who", json!({}));
            let result = client.call_tool(request).await.unwrap();
            assert_eq!(texts(&result), [name], "{era:?}");
            client.cancel().await.unwrap();
        }
    }
    web.end().await;
}

#[tokio::test]
async fn without_tokens_calls_are_for_the_principal_of_the_options() {
    let options = ServeOptions { principal: Some("me".into()), ..ServeOptions::default() };
    let web = Web::with(who(), options, HttpOptions::default()).await;
    let answer = web.call("who", &[("Authorization", "Bearer ignored-0123456789")]).await;
    assert_eq!(answer.json()["result"]["structuredContent"], "me");
    web.end().await;
}

#[tokio::test]
async fn other_machines_are_not_served_without_a_token() {
    let serve = async |http| {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let options = ServeOptions { shutdown, ..ServeOptions::default() };
        ampoule_server::serve_http(Arc::new(who()), listener, options, http).await
    };
    let refused = serve(HttpOptions::default()).await.unwrap_err();
    assert!(matches!(refused, ServeError::Open(_)), "{refused}");
    serve(tokens()).await.unwrap();
}

#[tokio::test]
async fn a_session_is_open_to_nobody_but_who_began_it() {
    let web = Web::start(who(), tokens()).await;
    let [alice, bob] = [ALICE, BOB].map(|token| format!("Bearer {token}"));
    let begun = web.send("POST", "/mcp", &[("Authorization", &alice)], INITIALIZE).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    let id = begun.header("mcp-session-id").unwrap().to_owned();
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let as_alice = [("Authorization", alice.as_str()), ("Mcp-Session-Id", id.as_str())];
    let as_bob = [("Authorization", bob.as_str()), ("Mcp-Session-Id", id.as_str())];
    assert_eq!(web.send("POST", "/mcp", &as_alice, ready).await.status, 202);
    for body in [list, ready, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#] {
        assert_eq!(web.send("POST", "/mcp", &as_bob, body).await.status, 404);
    }
    assert_eq!(web.send("GET", "/mcp", &as_bob, "").await.status, 404);
    web.send("DELETE", "/mcp", &as_bob, "").await;
    let listed = web.send("POST", "/mcp", &as_alice, list).await;
    assert_eq!(listed.status, 200);
    assert!(listed.body.contains("\"who\""), "{}", listed.body);
    let ended = web.send("DELETE", "/mcp", &as_alice, "").await;
    assert_eq!((ended.status, ended.body.as_str()), (204, ""));
    assert_eq!(web.send("POST", "/mcp", &as_alice, list).await.status, 404);
    web.end().await;
}

/// Sends a request over a connection that stays open, and reads the answer.
async fn ask(stream: &mut TcpStream, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = request("POST", "/mcp", headers, body).replace("Connection: close\r\n", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0, "it hung up: {}", String::from_utf8_lossy(&answer));
        if answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let answer = Answer::of(answer.clone());
            if answer.is_whole() {
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn one_connection_may_speak_for_several_each_for_himself() {
    let web = Web::start(who(), tokens()).await;
    let mut kept = TcpStream::connect(web.address).await.unwrap();
    let [alice, bob] = [ALICE, BOB].map(|token| format!("Bearer {token}"));
    let nobody = "Bearer nobody-0123456789".to_owned();
    for (token, name) in [(&alice, "alice"), (&bob, "bob"), (&nobody, ""), (&alice, "alice")] {
        let of_call = [("Mcp-Name", "who"), ("Authorization", token.as_str())];
        let answer = ask(&mut kept, &[&NEW[..], &of_call].concat(), &call("who")).await;
        match name {
            "" => assert_eq!(answer.status, 401),
            name => assert_eq!(answer.json()["result"]["structuredContent"], name),
        }
    }
    // Nor is a session of the one open to the other, and it outlives the connection.
    let begun = ask(&mut kept, &[("Authorization", &alice)], INITIALIZE).await;
    let id = begun.header("mcp-session-id").unwrap().to_owned();
    let as_alice = [("Authorization", alice.as_str()), ("Mcp-Session-Id", id.as_str())];
    let as_bob = [("Authorization", bob.as_str()), ("Mcp-Session-Id", id.as_str())];
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(ask(&mut kept, &as_alice, ready).await.status, 202);
    assert_eq!(ask(&mut kept, &as_bob, ready).await.status, 404);
    drop(kept);
    let whose = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"who"}}"#;
    let answer = web.send("POST", "/mcp", &as_alice, whose).await;
    assert!(answer.body.contains("alice"), "{}", answer.body);
    web.end().await;
}

#[tokio::test]
async fn sessions_are_bounded_and_ones_own_oldest_goes_first() {
    let web = Web::start(who(), HttpOptions { max_sessions: 2, ..tokens() }).await;
    let [alice, bob] = [ALICE, BOB].map(|token| format!("Bearer {token}"));
    let begin =
        async |who: &str| web.send("POST", "/mcp", &[("Authorization", who)], INITIALIZE).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let begun = begin(&alice).await;
        assert_eq!(begun.status, 200);
        ids.push(begun.header("mcp-session-id").unwrap().to_owned());
    }
    let refused = begin(&bob).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    for (id, status) in ids.iter().zip([404, 202, 202]) {
        let headers = [("Authorization", alice.as_str()), ("Mcp-Session-Id", id)];
        assert_eq!(web.send("POST", "/mcp", &headers, ready).await.status, status);
    }
    web.end().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_with_the_id_it_has() {
    let web = Web::start(who(), HttpOptions::default()).await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":5,"method":"x","params":{}1{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let many = call_with("who", json!({"a": "b"})).to_string();
    let many = many.replace("\"b\"", &format!("[{}0]", "0,".repeat(1_000_000)));
    for (body, code, id) in [
        ("garbage", -32700, Value::Null),
        ("{\"jsonrpc\":\"2.0\",\"id\":3,", -32700, Value::Null),
        ("[]", -32600, Value::Null),
        (r#"{"id":4,"method":"tools/list"}"#, -32600, json!(4)),
        (&deep, -32600, json!(5)),
        (&many, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":3}"#, -32600, Value::Null),
    ] {
        let answer = web.post(&[], body).await;
        let shown = &body[..body.len().min(80)];
        assert_eq!(answer.status, 400, "{shown}: {}", answer.body);
        let answer = answer.json();
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
        assert_eq!(answer.get("id").cloned().unwrap_or_default(), id, "{shown}: {answer}");
    }
    assert_eq!(web.send("POST", "/", &NEW, &call("who")).await.status, 404);
    assert_eq!(web.send("PUT", "/mcp", &[], "").await.status, 405);
    assert_eq!(web.call("who", &[]).await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_bound_and_no_longer() {
    let options = ServeOptions { max_message_bytes: 100_000, ..ServeOptions::default() };
    let web = Web::with(who(), options, HttpOptions::default()).await;
    let name = ("Mcp-Name", "who");
    let padded = |bytes: usize| {
        let spare = bytes - call_with("who", json!({"a": ""})).to_string().len();
        call_with("who", json!({"a": "x".repeat(spare)})).to_string()
    };
    assert_eq!(web.post(&[name], &padded(100_000)).await.status, 200);
    let refused = web.post(&[name], &padded(100_001)).await;
    assert_eq!((refused.status, refused.header("connection")), (413, Some("close")));
    assert!(refused.body.contains("100000 bytes"));
    // A length that was only announced is refused before anything of it has come.
    let gigabyte = "Content-Length: 1073741824\r\n\r\n";
    let head = request("POST", "/mcp", &[], "").replace("Content-Length: 0\r\n\r\n", gigabyte);
    assert_eq!(web.raw(head).await.status, 413);
    // One without a length is read as far as the bound.
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let head = request("POST", "/mcp", &NEW, "").replace("Content-Length: 0\r\n\r\n", chunked);
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    assert_eq!(web.raw(head + &chunk.repeat(100)).await.status, 413);
    web.end().await;
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let web = Web::start(who(), HttpOptions::default()).await;
    assert_eq!(web.call("who", &[("X", &"x".repeat(40_000))]).await.status, 431);
    let many: Vec<_> = (0..200).map(|_| ("X", "y")).collect();
    assert_eq!(web.call("who", &many).await.status, 431);
    assert_eq!(web.raw("nonsense\r\n\r\n").await.status, 400);
    assert_eq!(web.call("who", &[]).await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn frames_that_are_malformed_are_refused_and_hide_no_request() {
    let http = HttpOptions { head_time: Duration::from_millis(300), ..HttpOptions::default() };
    let web = Web::start(who(), http).await;
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Accept: application/json, text/event-stream\r\n";
    let with = |rest: &str| format!("{head}{rest}").into_bytes();
    let hidden = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let chunked = |rest: &str| with(&format!("Transfer-Encoding: chunked\r\n\r\n{rest}"));
    for (what, bytes, allowed) in [
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), &[400][..]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[0, 400]),
        ("no version", b"GET /mcp\r\n\r\n".to_vec(), &[400]),
        ("another version", b"GET /mcp HTTP/3.7\r\nHost: localhost\r\n\r\n".to_vec(), &[400]),
        ("no host", b"GET /mcp HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("two hosts", with("Host: evil.example.com\r\n\r\n"), &[400]),
        ("a space in a name", with("Content Length: 5\r\n\r\n"), &[400]),
        ("no colon", with("nonsense\r\n\r\n"), &[400]),
        ("a NUL", with("X: a\0b\r\n\r\n"), &[400]),
        ("a lone CR", with("X: a\rb\r\n\r\n"), &[400]),
        ("a folded line", with("X: a\r\n b\r\n\r\n"), &[400]),
        ("two lengths", with("Content-Length: 4\r\nContent-Length: 40\r\n\r\n{}{}"), &[400]),
        ("two lengths in one", with("Content-Length: 4, 40\r\n\r\n{}{}"), &[400]),
        ("a negative length", with("Content-Length: -4\r\n\r\n{}{}"), &[400]),
        ("a signed length", with("Content-Length: +4\r\n\r\n{}{}"), &[400]),
        ("a length that overflows", with("Content-Length: 99999999999999999999\r\n\r\n"), &[400]),
        ("an unknown encoding", with("Transfer-Encoding: gzip\r\n\r\n{}"), &[400]),
        (
            "an encoding after chunks",
            with("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
            &[400],
        ),
        ("no size of a chunk", chunked("\r\n{}\r\n"), &[400]),
        ("a size that is none", chunked("zz\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("a size that overflows", chunked("fffffffffffffffff\r\n{}"), &[400]),
        ("a chunk without its end", chunked("2\r\n{}{}{}\r\n0\r\n\r\n"), &[400]),
        (
            "a long extension",
            chunked(&format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(99_999))),
            &[400],
        ),
        ("many trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(9_999))), &[400]),
        (
            "another host in the address",
            b"GET http://evil.example.com/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "a tunnel",
            b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n".to_vec(),
            &[404, 405],
        ),
        // Two readers of these would see the end of the body in different places: the connection
        // ends with the answer (RFC 9112, section 6.3).
        (
            "a length beside chunks",
            with(&format!(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            )),
            &[400],
        ),
        (
            "a length that hides a request",
            with(&format!("Connection: close\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len())),
            &[400],
        ),
        // Whoever waits to be told to go on is told at once not to.
        (
            "a gigabyte that is asked for",
            with("Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n"),
            &[413],
        ),
    ] {
        let answer = web.raw(bytes).await;
        assert!(allowed.contains(&answer.status), "{what}: {} {}", answer.head, answer.body);
        assert!(!answer.body.contains("HTTP/1.1"), "{what}: answered twice: {}", answer.body);
        assert_eq!(web.call("who", &[]).await.status, 200, "{what}");
    }
    web.end().await;
}

#[tokio::test]
async fn who_is_slow_is_hung_up_on() {
    let (head_time, body_time) = (Duration::from_millis(300), Duration::from_millis(300));
    let http = HttpOptions { head_time, body_time, ..HttpOptions::default() };
    let web = Web::start(who(), http).await;
    // A head that never ends, and one that comes in drops.
    assert_eq!(web.raw("POST /mcp HTTP/1.1\r\n").await.status, 0);
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    let begun = Instant::now();
    while stream.write_all(b"x").await.is_ok() {
        assert!(begun.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A body that never ends, where the head was let in.
    let head = request("POST", "/mcp", &NEW, "").replace("Content-Length: 0", "Content-Length: 9");
    assert_eq!(web.raw(head.clone() + "{").await.status, 408);
    // One that comes in drops takes no longer than one that does not come.
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    let long = head.replace("Content-Length: 9", "Content-Length: 9999");
    stream.write_all(long.as_bytes()).await.unwrap();
    let begun = Instant::now();
    while stream.write_all(b" ").await.is_ok() {
        assert!(begun.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(web.call("who", &[]).await.status, 200);
    web.end().await;
}

#[tokio::test]
async fn idle_connections_only_get_in_their_own_way() {
    let web = Web::start(who(), HttpOptions::default()).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(web.address).await.unwrap());
    }
    assert_eq!(web.call("who", &[]).await.status, 200);
    let mut closed = 0;
    for stream in &mut idle[..200] {
        let read = tokio::time::timeout(SOON, stream.read(&mut [0; 1])).await.unwrap();
        closed += usize::from(matches!(read, Ok(0) | Err(_)));
    }
    assert_eq!(closed, 200);
    web.end().await;
}

#[tokio::test]
async fn connections_that_were_let_in_are_bounded() {
    let web = Web::start(who(), HttpOptions { max_connections: 1, ..HttpOptions::default() }).await;
    let kept = request("POST", "/mcp", &[&NEW[..], &[("Mcp-Name", "who")]].concat(), &call("who"));
    let mut first = TcpStream::connect(web.address).await.unwrap();
    first.write_all(kept.replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
    first.read_exact(&mut [0; 12]).await.unwrap();
    let refused = web.call("who", &[]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    drop(first);
    let begun = Instant::now();
    while web.call("who", &[]).await.status != 200 {
        assert!(begun.elapsed() < SOON);
    }
    web.end().await;
}

/// A shelf whose tool `wait` tells when it has begun, and goes on when it is told to; and how many
/// of its calls are under way.
fn waiting() -> (Shelf, Arc<Notify>, Arc<Notify>, Arc<AtomicUsize>) {
    struct Under(Arc<AtomicUsize>);
    impl Drop for Under {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let under = Arc::<AtomicUsize>::default();
    let (begun_too, go_too, under_too) = (begun.clone(), go.clone(), Arc::clone(&under));
    let shelf = Shelf::default().with(tool("wait"), move |call: ToolCall| {
        let (begun, go, under) = (begun_too.clone(), go_too.clone(), under_too.clone());
        async move {
            under.fetch_add(1, Ordering::SeqCst);
            let _under = Under(under);
            begun.notify_one();
            tokio::select! {
                () = go.notified() => outcome(&call, value(json!("went on"))),
                () = call.context.cancel.cancelled() => outcome(&call, End::Cancelled),
            }
        }
    });
    (shelf, begun, go, under)
}

#[tokio::test]
async fn a_call_ends_with_the_request_that_made_it() {
    let (shelf, begun, _go, under) = waiting();
    let web = Web::start(shelf, HttpOptions::default()).await;
    let request =
        request("POST", "/mcp", &[&NEW[..], &[("Mcp-Name", "wait")]].concat(), &call("wait"));
    let mut stream = TcpStream::connect(web.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    begun.notified().await;
    assert_eq!(under.load(Ordering::SeqCst), 1);
    drop(stream);
    let left = Instant::now();
    while under.load(Ordering::SeqCst) > 0 {
        assert!(left.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    web.end().await;
}

#[tokio::test]
async fn a_server_that_ends_answers_what_is_under_way() {
    let (shelf, begun, go, _) = waiting();
    let web = Web::start(shelf, HttpOptions::default()).await;
    // A client of an older revision holds a stream open all the time.
    let (old, _) = web.client(Era::Old, None).await;
    let address = web.address;
    let calling = tokio::spawn({
        let request =
            request("POST", "/mcp", &[&NEW[..], &[("Mcp-Name", "wait")]].concat(), &call("wait"));
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    });
    begun.notified().await;
    web.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is served");
    go.notify_one();
    assert!(calling.await.unwrap().contains("went on"));
    tokio::time::timeout(SOON, web.server).await.unwrap().unwrap().unwrap();
    drop(old);
}

#[tokio::test]
async fn a_clients_trace_goes_on_in_the_call() {
    let shelf = Shelf::default().with(tool("run"), |call| async move {
        let run = json!(call.context.run);
        outcome(&call, value(run))
    });
    let web = Web::start(shelf, HttpOptions::default()).await;
    let (header, own) = ("4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c");
    let parent = |trace: &str| format!("00-{trace}-00f067aa0ba902b7-01");
    for (in_header, in_meta, expected) in [
        (None, None, None),
        (Some(parent(header)), None, Some(header)),
        (None, Some(parent(own)), Some(own)),
        (Some(parent(header)), Some(parent(own)), Some(own)),
        (Some("nonsense".into()), None, None),
    ] {
        let mut call = call_with("run", json!({}));
        if let Some(text) = &in_meta {
            call["params"]["_meta"]["traceparent"] = json!(text);
        }
        let mut headers = vec![("Mcp-Name", "run")];
        headers.extend(in_header.as_deref().map(|text| ("traceparent", text)));
        let answer = web.post(&headers, &call.to_string()).await.json();
        assert_eq!(answer["result"]["structuredContent"], json!(expected), "{answer}");
    }
    web.end().await;
}
