//! Lines no good client would write. None of them ends the server.

use std::time::Duration;

use ampoule_contract::{CallEvent, ToolCall};
use ampoule_server::{ServeError, ServeOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use crate::harness::{Shelf, outcome, start, tool, value};

const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":"first","method":"initialize","params":{"protocolVersion":"#,
    r#""2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#,
);

fn echo() -> Shelf {
    let shelf = Shelf::default().with(tool("length"), |call: ToolCall| async move {
        outcome(&call, value(json!(call.arguments.len())))
    });
    shelf.with(tool("chat"), |call: ToolCall| async move {
        for _ in 0..30 {
            let message = "still here".to_owned();
            let event = CallEvent::Log { level: "warn", message, fields: None };
            call.context.events.as_ref().unwrap().send(event);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        outcome(&call, value(json!({})))
    })
}

/// A client that writes what it likes.
struct Raw {
    input: WriteHalf<DuplexStream>,
    output: BufReader<ReadHalf<DuplexStream>>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Raw {
    fn new(options: ServeOptions) -> Raw {
        let (pipe, server) = start(echo(), options);
        let (output, input) = tokio::io::split(pipe);
        Raw { input, output: BufReader::new(output), server }
    }

    async fn initialized(options: ServeOptions) -> Raw {
        let mut raw = Raw::new(options);
        assert_eq!(raw.ask(INITIALIZE).await["result"]["protocolVersion"], "2025-06-18");
        raw
    }

    async fn write(&mut self, line: impl AsRef<[u8]>) {
        self.input.write_all(line.as_ref()).await.unwrap();
        self.input.write_all(b"\n").await.unwrap();
    }

    async fn read(&mut self) -> Value {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("no answer").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, line: impl AsRef<[u8]>) -> Value {
        self.write(line).await;
        self.read().await
    }

    /// The next answer is that of a good call: what came before it had none.
    async fn still_serves(&mut self) {
        let answer = self.ask(call(7, "{}")).await;
        assert_eq!(answer["id"], 7, "{answer}");
        assert_eq!(answer["result"]["structuredContent"], json!({"result": 2}), "{answer}");
    }
}

fn call(id: u32, arguments: &str) -> String {
    format!(
        r#"{{"method":"tools/call","params":{{"name":"length","arguments":{arguments}}},"jsonrpc":"2.0","id":{id}}}"#
    )
}

#[tokio::test]
async fn malformed_lines_are_refused_and_nothing_else_happens() {
    let mut raw = Raw::initialized(ServeOptions::default()).await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (line, id, code) in [
        (b"not json".to_vec(), Value::Null, -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":".to_vec(), Value::Null, -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}".to_vec(), json!(1), -32600),
        (b"\xff\xfe".to_vec(), Value::Null, -32700),
        (b"42".to_vec(), Value::Null, -32600),
        (format!("[{}]", call(1, "{}")).into_bytes(), Value::Null, -32600),
        (b"{\"jsonrpc\":\"2.0\"}".to_vec(), Value::Null, -32600),
        (b"{\"jsonrpc\":\"1.0\",\"id\":\"x\",\"method\":\"ping\"}".to_vec(), json!("x"), -32600),
        (call(3, &deep).into_bytes(), json!(3), -32600),
        (call(4, "[1]").into_bytes(), json!(4), -32602),
        (call(5, "\"text\"").into_bytes(), json!(5), -32602),
        (b"{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"no/such\"}".to_vec(), json!(6), -32601),
    ] {
        let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
        let answer = raw.ask(line).await;
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
        assert_eq!(answer.get("id").cloned().unwrap_or_default(), id, "{shown}: {answer}");
        raw.still_serves().await;
    }
}

#[tokio::test]
async fn what_wants_no_answer_gets_none() {
    let mut raw = Raw::initialized(ServeOptions::default()).await;
    for line in [
        "",
        "  \t ",
        "\r",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"textDocument/didOpen","params":[1]}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":12345}}"#,
        r#"{"jsonrpc":"2.0","id":99,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":99,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"echo"}}"#,
    ] {
        raw.write(line).await;
        raw.still_serves().await;
    }
    raw.write(format!("\u{feff}{}\r", call(8, "{}"))).await;
    assert_eq!(raw.read().await["id"], 8);
}

#[tokio::test]
async fn what_comes_before_the_first_request_does_no_harm() {
    let mut raw = Raw::new(ServeOptions::default());
    raw.write(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    raw.write(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    assert_eq!(raw.ask("garbage").await["error"]["code"], -32700);
    assert_eq!(raw.ask(call(1, "{}")).await["error"]["code"], -32602, "no metadata");
    assert_eq!(raw.ask(INITIALIZE).await["id"], "first");
    raw.still_serves().await;
}

#[tokio::test]
async fn a_line_may_be_as_long_as_the_bound_and_no_longer() {
    let max_message_bytes = 1000;
    let options = || ServeOptions { max_message_bytes, ..ServeOptions::default() };
    let mut raw = Raw::initialized(options()).await;
    let padded = |bytes: usize| {
        let spare = bytes - call(1, r#"{"a":""}"#).len();
        call(1, &format!(r#"{{"a":"{}"}}"#, "x".repeat(spare)))
    };
    for bytes in [999, 1000] {
        assert_eq!(padded(bytes).len(), bytes);
        assert_eq!(raw.ask(padded(bytes)).await["id"], 1);
    }
    for bytes in [1001, 1002, 70_000, 10_000_000] {
        let answer = raw.ask(padded(bytes)).await;
        assert_eq!(answer["error"]["code"], -32600, "{bytes}");
        assert_eq!(answer.get("id"), None);
        assert!(answer["error"]["message"].as_str().unwrap().contains("1000 bytes"));
        raw.still_serves().await;
    }
    // The line after a long one may come with it.
    raw.write(format!("{}\n{}", padded(5000), call(2, "{}"))).await;
    assert_eq!(raw.read().await["error"]["code"], -32600);
    assert_eq!(raw.read().await["id"], 2);
    // And a long one may never end.
    raw.input.write_all(&vec![b'x'; 100_000]).await.unwrap();
    assert_eq!(raw.read().await["error"]["code"], -32600);
    raw.input.shutdown().await.unwrap();
    raw.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn many_values_are_refused_before_they_are_built() {
    let mut raw = Raw::initialized(ServeOptions::default()).await;
    let answer = raw.ask(call(3, &format!("{{\"a\":[{}0]}}", "0,".repeat(2_000_000)))).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(3), &json!(-32600)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("1000000 values"), "{answer}");
    // Nor behind a key that has `serde_json` read a text as JSON.
    let hidden = json!({"a": {"$serde_json::private::RawValue": format!("[{}0]", "0,".repeat(9))}});
    for spelt in [hidden.to_string(), hidden.to_string().replace('$', "\\u0024")] {
        let answer = raw.ask(call(3, &spelt)).await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(3), &json!(-32600)));
        assert!(answer["error"]["message"].as_str().unwrap().contains("no key"), "{answer}");
    }
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(20 << 20));
    let answer = raw.ask(call(4, &long)).await;
    assert_eq!(answer["result"]["structuredContent"]["result"], long.len());
    raw.still_serves().await;
}

#[tokio::test]
async fn requests_that_are_piped_in_are_answered() {
    let mut raw = Raw::new(ServeOptions::default());
    // The last line lacks its end, and nothing follows. One call takes its time and talks meanwhile.
    let chat = call(2, "{}").replace("length", "chat");
    let lines = format!("{INITIALIZE}\n{chat}\n{}", call(1, "{}"));
    raw.input.write_all(lines.as_bytes()).await.unwrap();
    raw.input.shutdown().await.unwrap();
    let mut ids = Vec::new();
    while ids.len() < 3 {
        ids.extend(raw.read().await.get("id").cloned());
    }
    assert_eq!(ids, [json!("first"), json!(1), json!(2)]);
    raw.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_is_no_error() {
    let mut nobody = Raw::new(ServeOptions::default());
    nobody.input.shutdown().await.unwrap();
    nobody.server.await.unwrap().unwrap();

    // One that reads no more, too.
    let Raw { mut input, output, server } = Raw::initialized(ServeOptions::default()).await;
    drop(output);
    input.write_all(format!("{}\n", call(1, "{}")).as_bytes()).await.unwrap();
    drop(input);
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}
