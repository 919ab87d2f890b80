//! The audit: what the host records of calls, and that its explanation of a refusal is the line
//! that allows it and nothing wider.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ampoule::{
    Audit, AuditError, AuditEvent, AuditKind, Call, CallContext, End, FunctionTool, Host, ToolError,
};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder, command, root};
use serde_json::{Value, json};
use tokio::process::Command;

/// Keeps events in memory, until it is told to fail.
#[derive(Default)]
struct Kept {
    events: Mutex<Vec<AuditEvent>>,
    fails: Mutex<bool>,
}

impl Audit for Kept {
    fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        if *self.fails.lock().unwrap() {
            return Err(AuditError("the disk is full".into()));
        }
        self.events.lock().unwrap().push(event);
        Ok(())
    }
}

impl Kept {
    fn all(&self) -> Vec<AuditEvent> {
        self.events.lock().unwrap().clone()
    }

    fn of(&self, tool: &str, kind: AuditKind) -> AuditEvent {
        let is_it = |event: &AuditEvent| event.tool.as_deref() == Some(tool) && event.kind == kind;
        let all = self.all();
        let mut found = all.iter().filter(|event| is_it(event));
        let first = found.next().unwrap_or_else(|| panic!("no {kind} of {tool} in {all:#?}"));
        assert_eq!(found.count(), 0, "more than one {kind} of {tool}");
        first.clone()
    }
}

/// A host with a plugin that calls tools, a function and a model, and what it records.
async fn audited(lines: &str) -> (Host, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let function = FunctionTool::new("wait", "Wait", async |_: Value, _: CallContext| {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok::<_, ToolError>(())
    });
    let config = format!(
        "plugins = [\"GUESTS/rust.wasm\", \"GUESTS/hostile.wasm\", \"PLUGINS/json-filter.wasm\"]\n\
         [bindings.rust]\ngrant.services = {{ llm = \"echo\" }}\n\
         grant.tools = [\"json-filter\"]\n{lines}"
    );
    let builder = builder(&config).audit(kept.clone()).model("echo", Arc::new(Echo));
    (builder.tools(Arc::new(function)).build().await.unwrap(), kept)
}

fn probe(url: &str, tool: &str) -> Call {
    Call::new("rust", json!({ "url": url, "tool": tool, "text": "canary-51c9" })).principal("ann")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_has_lines_of_its_own_and_names_the_one_above() {
    let site = Site::start().await;
    let (host, kept) = audited(&format!("grant.http = [\"GET {}/page\"]", site.origin())).await;
    let call = probe(&format!("{}/other", site.origin()), "json-filter");
    let outcome = host.call(call).await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);

    let started = kept.of("rust", AuditKind::CallStarted);
    assert_eq!(started.call.as_deref(), Some(outcome.receipt.call.as_str()));
    assert_eq!((&started.parent, started.principal.as_deref()), (&None, Some("ann")));
    let kinds: Vec<_> = kept.all().iter().map(|event| event.kind).collect();
    assert_eq!(kinds[..2], [AuditKind::Grants, AuditKind::CallStarted]);
    assert_eq!(kept.all()[0].body["grants"], started.body["grants"]);

    let below = kept.of("json-filter", AuditKind::CallEnded);
    assert_eq!(below.parent, started.call);
    assert_eq!(below.call.as_deref(), Some(outcome.receipt.children[0].call.as_str()));
    assert_eq!(below.principal.as_deref(), Some("ann"));

    let denied = kept.all().into_iter().find(|event| event.kind == AuditKind::Denied).unwrap();
    assert_eq!((&denied.call, &denied.body["gate"]), (&started.call, &json!("grant")));
    let ended = kept.of("rust", AuditKind::CallEnded);
    assert_eq!(ended.body["end"], "value");
    assert_eq!(ended.body["receipt"]["denials"][0], denied.body);
    // Children are told once, by their own lines.
    assert!(ended.body["receipt"].get("children").is_none(), "{}", ended.body);
    assert_eq!(outcome.receipt.children.len(), 1);
    // What was said is nowhere.
    assert!(!json!(kept.all()).to_string().contains("canary-51c9"));

    // What it may do is told once, until it changes.
    host.call(probe("http://127.0.0.1:1/", "json-filter")).await;
    let grants = |kept: &Kept| kept.all().iter().filter(|e| e.kind == AuditKind::Grants).count();
    assert_eq!(grants(&kept), 2, "one for each of the two plugins");
    host.reload(host.config()).await.unwrap();
    host.call(probe("http://127.0.0.1:1/", "json-filter")).await;
    assert_eq!(grants(&kept), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_refused_or_unknown_have_an_end_too() {
    let (host, kept) = audited("[bindings.unserved]\nplugin = \"rust\"").await;
    for tool in ["hostile/endless-loop", "wait"] {
        let is_begun = async || {
            while !kept.all().iter().any(|event| event.tool.as_deref() == Some(tool)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            outcome = host.call(Call::new(tool, "{}")) => panic!("{outcome:?}"),
            () = is_begun() => {}
        }
        let ended = kept.of(tool, AuditKind::CallEnded);
        assert_eq!(ended.body["end"], "cancelled");
        assert_eq!(ended.call, kept.of(tool, AuditKind::CallStarted).call);
    }

    // Nothing serves it, which it cannot do without.
    let outcome = host.call(Call::new("unserved", "{}")).await;
    assert!(matches!(outcome.end, End::Denied(_)), "{:?}", outcome.end);
    assert_eq!(kept.of("unserved", AuditKind::Denied).body["gate"], "grant");
    assert_eq!(kept.of("unserved", AuditKind::CallEnded).body["end"], "denied");

    let name = "x".repeat(10_000);
    host.call(Call::new(&name, "{}")).await;
    let unknown = kept.of(&name[..80], AuditKind::Denied);
    assert_eq!(unknown.body["gate"], "registry");

    // A guest that asks for ever fills no log.
    host.call(Call::new("hostile/denied-loop", "{}")).await;
    let ended = kept.of("hostile/denied-loop", AuditKind::CallEnded);
    let denied =
        kept.all().into_iter().filter(|e| e.kind == AuditKind::Denied && e.call == ended.call);
    assert_eq!(denied.count(), 32);
    assert!(ended.body["receipt"]["denials-left-out"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plugin_is_entered_that_leaves_no_trace() {
    let (host, kept) = audited("").await;
    *kept.fails.lock().unwrap() = true;
    for tool in ["json-filter", "wait", "nothing"] {
        let outcome = host.call(Call::new(tool, r#"{"input": {}, "fields": ["a"]}"#)).await;
        assert_eq!(outcome.end, End::Fault("the disk is full".into()), "{tool}");
        assert_eq!(outcome.receipt.used.get(ampoule::Meter::Fuel), 0);
    }
    assert!(kept.all().is_empty());
    *kept.fails.lock().unwrap() = false;
    let outcome = host.call(Call::new("json-filter", r#"{"input": {}, "fields": ["a"]}"#)).await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_its_principal_may_not_make_has_its_lines() {
    let (host, kept) = audited("[principals.ann]\ntools = [\"nothing-at-all\"]").await;
    let outcome = host.call(Call::new("json-filter", "{}").principal("ann")).await;
    assert!(matches!(&outcome.end, End::Denied(denial) if denial.gate == "principal"));
    let kinds: Vec<_> = kept.all().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [AuditKind::CallStarted, AuditKind::Denied, AuditKind::CallEnded]);
    for event in kept.all() {
        assert_eq!(event.call.as_deref(), Some(outcome.receipt.call.as_str()));
        assert_eq!(event.principal.as_deref(), Some("ann"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_passes_redaction_first() {
    let kept = Arc::new(Kept::default());
    let redact = |event: &mut AuditEvent| {
        event.principal = None;
        event.body = json!({ "redacted": true });
    };
    let builder = builder("plugins = [\"PLUGINS/json-filter.wasm\"]").audit(kept.clone());
    let host = builder.redact(Arc::new(redact)).build().await.unwrap();
    host.call(Call::new("json-filter", "{}").principal("ann")).await;
    host.call(Call::new("nothing", "{}").principal("ann")).await;
    let all = kept.all();
    assert_eq!(all.len(), 6, "{all:#?}");
    assert!(all.iter().all(|e| e.principal.is_none() && e.body == json!({ "redacted": true })));
}

#[tokio::test]
async fn a_program_without_a_journal_does_not_pass_over_one_that_is_asked_for() {
    let error = builder("[journal]\npath = \"journal.db\"").build().await.unwrap_err();
    assert!(error.to_string().contains("[journal]"), "{error}");
}

/// Runs `ampoule` and gives its code and what it printed as JSON.
async fn ampoule(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(command());
    command.args(arguments).arg("--json").current_dir(folder);
    let output = command.output().await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let document = serde_json::from_str(&out);
    (output.status.code(), document.unwrap_or_else(|_| panic!("{arguments:?} printed {out}")))
}

/// Pastes what `explain` prints for a refused request into `ampoule.toml`, where `granted` stood
/// before, and looks what is open then.
async fn explained_and_pasted(site: &Site, granted: &str) {
    let folder = tempfile::tempdir().unwrap();
    let plugins = Value::from(root().join("target/plugins").display().to_string());
    let head = format!("plugins = [{plugins}]\n[journal]\npath = \"journal.db\"\n");
    let config = format!("{head}{granted}");
    let file = folder.path().join("ampoule.toml");
    std::fs::write(&file, &config).unwrap();
    let origin = site.origin();
    let send = async |method: &str, url: &str| {
        let arguments = json!({ "method": method, "url": url }).to_string();
        ampoule(folder.path(), &["call", "http-request", &arguments]).await
    };

    let before = site.seen().len();
    let (code, refused) = send("GET", &format!("{origin}/data.json")).await;
    // Where nothing is granted of what the plugin requires, it is denied; else the call failed.
    let expected = if granted.contains("grant.http") { 1 } else { 3 };
    assert_eq!((code, site.seen().len()), (Some(expected), before), "{refused}");
    let call = refused["receipt"]["call"].as_str().unwrap();
    let (code, told) = ampoule(folder.path(), &["explain", call]).await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["denials"][0]["denial"]["gate"], "grant");
    assert_eq!(told["started"]["tool"], "http-request");
    assert_eq!(told["grants"]["tool"], "http-request");
    // Lines to be set take the place of those that set the same.
    let [add, set] = ["add", "set"].map(|how| told["allow"][how].as_str().unwrap().to_owned());
    let set_anew = |line: &&str| {
        let name = line.split(" = ").next().unwrap_or_default();
        !set.lines().any(|new| new == *line || new.starts_with(&format!("{name} = ")))
    };
    let kept: Vec<_> = granted.lines().filter(set_anew).collect();
    let pasted = format!("{head}{set}{}\n{add}", kept.join("\n"));
    std::fs::write(&file, &pasted).unwrap();

    let (code, answer) = send("GET", &format!("{origin}/data.json")).await;
    assert_eq!((code, &answer["value"]["status"]), (Some(0), &json!(200)), "{pasted}\n{answer}");
    if granted.contains("/text") {
        // What was granted before still is.
        assert_eq!(send("GET", &format!("{origin}/text")).await.0, Some(0));
    }
    let asked = site.seen().len();
    let mut table = Table::new("Neighbours of the call that a grant line allows");
    for (method, url) in [
        ("POST", format!("{origin}/data.json")),
        ("HEAD", format!("{origin}/data.json")),
        ("GET", format!("{origin}/data.json/more")),
        ("GET", format!("{origin}/data.json2")),
        ("GET", format!("{origin}/DATA.JSON")),
        ("GET", format!("{origin}/data")),
        ("GET", format!("{origin}/page")),
        ("GET", format!("{origin}/")),
        ("GET", format!("http://localhost:{}/data.json", site.port())),
        ("GET", format!("http://127.0.0.2:{}/data.json", site.port())),
        ("GET", format!("http://127.0.0.1:{}/data.json", site.port() ^ 1)),
        ("GET", format!("https://127.0.0.1:{}/data.json", site.port())),
    ] {
        let (code, refused) = send(method, &url).await;
        assert_eq!(code, Some(1), "{method} {url}: {refused}");
        assert_eq!(refused["receipt"]["denials"][0]["gate"], "grant", "{method} {url}");
        table.row(method, &url, "grant", refused["receipt"]["end"].as_str().unwrap());
    }
    assert_eq!(site.seen().len(), asked);
    let (code, report) = ampoule(folder.path(), &["audit", "verify"]).await;
    assert_eq!((code, &report["whole"]), (Some(0), &json!(true)), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_that_explains_a_refusal_allows_exactly_that_call() {
    let site = Site::start().await;
    let text = format!("grant.http = [\"GET {}/text\"]", site.origin());
    // Where something is granted already, and where nothing is: the plugin requires requests, but
    // which ones this call makes shows only when it makes them.
    for granted in [
        format!("[bindings.http-request]\n{text}\ngrant.addresses = [\"127.0.0.1\"]\n"),
        "[bindings.http-request]\ngrant.addresses = [\"127.0.0.1\"]\n".to_owned(),
        "[bindings.http-request]\ngrant.clock = true\n".to_owned(),
        String::new(),
    ] {
        explained_and_pasted(&site, &granted).await;
    }
}

/// A call that is refused, another that is beside it, and the capability that is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_names_the_least_that_allows_the_call() {
    let site = Site::start().await;
    let page = format!("{}/page", site.origin());
    let probe = json!({ "url": page, "tool": "json-filter", "text": "x" });
    let other = json!({ "url": page, "tool": "json-query", "text": "x" });
    let web = site.grant("rust");
    let mut table = Table::new("What a refusal says would allow it");
    for (before, tool, asked, beside, line) in [
        (
            "[bindings.files]\n",
            ("files/list", "files/write"),
            json!({}),
            json!({ "path": "a", "text": "b" }),
            "grant.files = \"read\"",
        ),
        (
            "[bindings.files]\n",
            ("files/write", "files/write"),
            json!({ "path": "a", "text": "b" }),
            json!({ "path": "../a", "text": "b" }),
            "grant.files = \"read-write\"",
        ),
        (
            &format!("{web}grant.services = {{ llm = \"echo\" }}\n"),
            ("rust", "rust"),
            probe.clone(),
            other,
            "grant.tools = [\"json-filter\"]",
        ),
        (
            "[bindings.http-request]\n",
            ("http-request", "http-request"),
            json!({ "url": "http://example.test/a%20b/*?q=1" }),
            json!({ "url": "http://example.test/a%20b/c" }),
            "grant.http = [\"GET http://example.test/a%20b/%2A\"]",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let plugins = "plugins = [\"PLUGINS\", \"GUESTS/rust.wasm\"]\n";
        let run = async |config: &str, tool: &str, arguments: &Value| {
            let builder = builder(config).model("echo", Arc::new(Echo));
            let host = builder.build().await.unwrap();
            host.call(Call::new(tool, arguments).workspace(folder.path())).await
        };
        let config = format!("{plugins}{before}");
        let refused = run(&config, tool.0, &asked).await;
        table.call(tool.0, line, &refused);
        let denial = &refused.receipt.denials[0];
        assert_eq!(denial.gate, "grant", "{denial}");
        let lines = denial.allow.as_deref().unwrap();
        let (_, added) = lines.split_once('\n').unwrap();
        assert_eq!(added, line, "{lines}");
        let config = format!("{config}{added}\n");
        let allowed = run(&config, tool.0, &asked).await;
        // There is no such host to be reached; but it may be.
        assert!(allowed.receipt.denials.is_empty(), "{line}: {:?}", allowed.receipt.denials);
        let neighbour = run(&config, tool.1, &beside).await;
        assert!(matches!(neighbour.end, End::Failed(_)), "{line}: {:?}", neighbour.end);
        table.call(tool.1, &format!("beside {line}"), &neighbour);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_that_is_not_in_the_file_is_added_to_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("work")).unwrap();
    let plugins = Value::from(root().join("target/plugins").display().to_string());
    let config = format!("plugins = [{plugins}]\n[journal]\npath = \"journal.db\"\n");
    let file = folder.path().join("ampoule.toml");
    std::fs::write(&file, &config).unwrap();
    let call = async |tool: &str, arguments: &str| {
        ampoule(folder.path(), &["call", tool, arguments, "--workspace", "work"]).await
    };
    let (code, refused) = call("files/list", "{}").await;
    assert_eq!(code, Some(3), "{refused}");
    let id = refused["receipt"]["call"].as_str().unwrap();
    let (_, told) = ampoule(folder.path(), &["explain", id]).await;
    let lines = told["allow"]["add"].as_str().unwrap();
    assert_eq!(lines, "[bindings.files]\ngrant.files = \"read\"\n");
    std::fs::write(&file, format!("{config}{lines}")).unwrap();
    assert_eq!(call("files/list", "{}").await.0, Some(0));
    let (code, refused) = call("files/write", r#"{"path": "a", "text": "b"}"#).await;
    assert_eq!(code, Some(1), "{refused}");
    assert!(!folder.path().join("work/a").exists());
}
