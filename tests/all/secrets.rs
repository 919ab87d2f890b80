//! A guest that has got hold of a secret, and every channel it can write to (invariant 6).

use std::sync::{Arc, Mutex};

use ampoule::{
    Answer, Ask, Call, CallContext, End, EventSink, FunctionTool, Host, Outcome, Output, Question,
    Signal, ToolError,
};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tracing_subscriber::fmt::MakeWriter;

/// 24 bytes, so that its base64 stands alone.
const CANARY: &str = "Canary-Value-0123456789a";

/// What stands where it stood.
const MARKER: &str = "[secret api-key]";

/// The ways to write it.
const WRITINGS: [&str; 8] =
    ["plain", "base64", "base64-inside", "base64url", "hex", "percent", "json", "html"];

/// Where it is said, and has to be a marker.
const SAID: [&str; 22] = [
    "value",
    "key",
    "next",
    "meta",
    "block-text",
    "block-data",
    "block-uri",
    "block-meta",
    "blob",
    "blob-pieces",
    "error-code",
    "error-message",
    "error-log",
    "error-data",
    "log",
    "log-fields",
    "stdout",
    "stdout-pieces",
    "stderr",
    "progress",
    "event",
    "question",
];

/// What is done with it, and has to be refused.
const DONE: [&str; 8] =
    ["query", "header", "body", "file", "file-pieces", "file-name", "tool", "model"];

/// Where another gate may come first, or the marker goes out.
const OTHER: [&str; 4] = ["url", "refused-url", "body-blob", "tool-name"];

/// Everything that came out somewhere.
#[derive(Clone, Default)]
struct Outside(Arc<Mutex<Vec<u8>>>);

impl Outside {
    fn add(&self, bytes: impl AsRef<[u8]>) {
        let mut all = self.0.lock().unwrap();
        all.extend_from_slice(bytes.as_ref());
        all.push(b'\n');
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Outside {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outside {
    type Writer = Outside;

    fn make_writer(&'a self) -> Outside {
        self.clone()
    }
}

#[async_trait::async_trait]
impl Ask for Outside {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        self.add(format!("{question:?}"));
        Answer::Given(json!("yes"))
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Caught {
    text: String,
}

/// A host with the leaky guest, whose secret may go to `site` only and who may send requests
/// anywhere on loopback.
async fn host(site: &Site, outside: &Outside) -> (Host, NamedTempFile) {
    let origin = site.origin();
    let secret = NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{CANARY}\n")).unwrap();
    let config = format!(
        r#"
        plugins = ["GUESTS/leaky.wasm"]
        [secrets]
        key = {{ file = "{}" }}
        [bindings.leaky]
        grant.ask = true
        grant.files = "read-write"
        grant.http = ["* http://127.0.0.1:*/**"]
        grant.addresses = ["127.0.0.1"]
        grant.services = {{ llm = "echo" }}
        grant.tools = ["catch"]
        grant.secrets.api-key = {{ secret = "key", audience = ["{origin}"] }}
        "#,
        secret.path().display()
    );
    let caught = outside.clone();
    let catch = FunctionTool::new("catch", "Keep a text", move |text: Caught, _| {
        let caught = caught.clone();
        async move {
            caught.add(text.text);
            Ok::<_, ToolError>(true)
        }
    });
    let host = builder(&config)
        .ask(Arc::new(outside.clone()))
        .model("echo", Arc::new(Echo))
        .tools(Arc::new(catch))
        .build()
        .await
        .unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    (host, secret)
}

/// Everything of an outcome, with bytes as texts.
fn spell(outcome: &Outcome) -> String {
    let mut text = format!("{:?}\n{}", outcome, serde_json::to_string(&outcome.receipt).unwrap());
    if let End::Value(Output { blocks, .. }) = &outcome.end {
        for data in blocks.iter().filter_map(|block| block.data.as_ref()) {
            text.push_str(&String::from_utf8_lossy(data));
        }
    }
    text
}

/// The texts by which the canary would be recognised.
fn traces() -> Vec<String> {
    let each = |write: fn(u8) -> String| CANARY.bytes().map(write).collect::<String>();
    let mut traces = vec![
        CANARY.to_owned(),
        "Q2FuYXJ5LVZhbHVlLTAxMjM0NTY3ODlh".to_owned(),
        // Inside of `user:….`, without what its neighbours have a part in.
        "DYW5hcnktVmFsdWUtMDEyMzQ1Njc4OW".to_owned(),
        each(|byte| format!("{byte:02x}")),
        each(|byte| format!("%{byte:02X}")),
        each(|byte| format!("\\u{byte:04x}")),
        each(|byte| format!("\\\\u{byte:04x}")),
        each(|byte| format!("%5Cu{byte:04x}")),
        each(|byte| format!("&#{byte};")),
    ];
    traces.extend(traces.clone().iter().map(|trace| trace.replace('\\', "\\\\")));
    traces
}

#[tokio::test]
async fn a_canary_comes_out_of_no_channel() {
    let outside = Outside::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(outside.clone())
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (site, away) = (Site::start().await, Site::start().await);
    let (host, _secret) = host(&site, &outside).await;
    let mut table = Table::new("A canary, in every writing, through every channel");
    let mut wrong = Vec::new();
    for channel in SAID.into_iter().chain(DONE).chain(OTHER) {
        for writing in WRITINGS {
            outside.0.lock().unwrap().clear();
            let before = away.seen().len();
            let folder = tempfile::tempdir().unwrap();
            let events = outside.clone();
            let arguments = json!({
                "url": format!("{}/backwards", site.origin()),
                "away": format!("{}/away", away.origin()),
                "channel": channel,
                "writing": writing,
            });
            let call = Call::new("leaky/leak", arguments).workspace(folder.path());
            let sink = EventSink::new(move |event| {
                events.add(format!("{event:?}"));
                Signal::Proceed
            });
            let outcome = host.call(call.events(sink)).await;
            outside.add(spell(&outcome));
            for request in &away.seen()[before..] {
                outside.add(format!("{request:?}"));
                outside.add(&request.body);
            }
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                outside.add(path.display().to_string());
                outside.add(std::fs::read(path).unwrap());
            }
            let all = outside.text();
            let gates: Vec<_> = outcome.receipt.denials.iter().map(|denial| denial.gate).collect();
            table.call(channel, writing, &outcome);
            let mut fail = |what: &str| {
                wrong.push(format!("{channel}, {writing}: {what}: {:?}", outcome.end));
            };
            if let Some(trace) = traces().iter().find(|trace| all.contains(*trace)) {
                fail(&format!("`{trace}` came out"));
            }
            if gates.is_empty() {
                fail("nothing was noticed");
            }
            if SAID.contains(&channel) && !(all.contains(MARKER) && gates.contains(&"secret")) {
                fail("there is no marker");
            }
            if DONE.contains(&channel) && !gates.contains(&"secret") {
                fail("it was not refused");
            }
            if DONE.contains(&channel) && away.seen().len() > before {
                fail("a request was sent");
            }
        }
    }
    assert!(wrong.is_empty(), "{} leaks:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_server_cannot_hand_a_guest_the_secret() {
    let outside = Outside::default();
    let site = Site::start().await;
    let (host, _secret) = host(&site, &outside).await;
    let fetch = async |path: &str| {
        let call = Call::new("leaky/fetch", json!({ "url": format!("{}{path}", site.origin()) }));
        let End::Value(output) = host.call(call).await.end else { panic!("{path} failed") };
        let Some(Value::String(text)) = output.value else { panic!("{path}: no text") };
        text.chars().rev().collect::<String>()
    };
    let text = fetch("/echo?a=b").await;
    assert!(text.contains(&format!("Bearer {MARKER}")), "{text}");
    assert!(!text.contains(CANARY), "{text}");
    // The server did get it, and what it hides it can hand over. The guest turns it round, and
    // what comes out is found: hence all the other tests.
    assert_eq!(site.seen()[0].header("authorization"), Some(&*format!("Bearer {CANARY}")));
    let hidden = fetch("/backwards").await;
    assert!(hidden.contains(&MARKER.chars().rev().collect::<String>()), "{hidden}");
}

#[tokio::test]
async fn what_a_session_has_kept_of_a_secret_is_found_in_its_later_calls() {
    let outside = Outside::default();
    let site = Site::start().await;
    let (host, _secret) = host(&site, &outside).await;
    // Each call is a run of its own.
    let call = async |tool: &str, arguments: Value, session: &str| {
        let outcome = host.call(Call::new(tool, arguments).session(session)).await;
        match outcome.end {
            End::Value(output) => output.value.unwrap_or_default(),
            other => panic!("{tool} ended as {other:?}"),
        }
    };
    let page = json!({ "url": format!("{}/backwards", site.origin()) });
    assert_eq!(call("leaky/keep", page, "s").await, true);
    assert_eq!(call("leaky/recall", json!({}), "s").await, format!("Bearer {MARKER}"));
    assert_eq!(call("leaky/recall", json!({}), "other").await, "");
}
