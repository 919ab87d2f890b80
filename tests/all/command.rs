//! The command `ampoule` as its users have it: real plugins, a real site, a real MCP client, and
//! what goes wrong.

use std::path::Path;
use std::process::Stdio;

use ampoule_tests::site::Site;
use ampoule_tests::{command, root};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `ampoule` in a folder, with `input` on its standard input.
async fn ampoule(folder: &Path, arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(command())
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may stop reading before all is written: that is its right.
    let writing = tokio::spawn(async move { drop(stdin.write_all(&input).await) });
    let output = child.wait_with_output().await.unwrap();
    writing.abort();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder whose `ampoule.toml` finds the built plugins, with more lines.
fn folder(lines: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plugins = Value::from(root().join("target/plugins").display().to_string());
    let config = format!("plugins = [{plugins}]\n{lines}");
    std::fs::write(folder.path().join("ampoule.toml"), config).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalogue_in_the_repository_is_that_of_the_plugins() {
    let ended = ampoule(&root(), &["docs", "docs/plugins", "--check"], b"").await;
    assert_eq!(ended.code, Some(0), "run `cargo xtask docs`: {}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_called_and_looked_at() {
    let site = Site::start().await;
    let folder = folder(&site.grant("web-scrape"));
    let at = folder.path();
    let query = r#"{"input": {"a": [1, 2]}, "program": ".a[] * 2"}"#;
    let ended = ampoule(at, &["call", "json-query", query], b"").await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains('2') && ended.out.contains('4'), "{}", ended.out);

    let page = format!("{}/page", site.origin());
    let arguments = json!({ "urls": [page] }).to_string();
    let ended = ampoule(at, &["call", "web-scrape", &arguments], b"").await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("sealed"), "{}", ended.out);
    assert!(!ended.out.contains("never seen"), "{}", ended.out);

    let ended = ampoule(at, &["inspect", "web-scrape"], b"").await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("at most"), "{}", ended.out);
}

/// What is wrong, the arguments, the exit code, and words of the message.
type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], i32, &'a [&'a str]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_its_code_and_its_reason() {
    let folder = folder("");
    let deep =
        format!("{{\"input\": {}{}, \"program\": \".\"}}", "[".repeat(10_000), "]".repeat(10_000));
    let huge = vec![b' '; 100 << 20];
    let elsewhere = r#"{"urls": ["https://example.com/"]}"#;
    let cases: &[Case<'_>] = &[
        (
            "wrong type",
            &["call", "json-query", r#"{"input": 1, "program": 5}"#],
            b"",
            2,
            &["program"],
        ),
        ("no JSON", &["call", "json-query", "{"], b"", 2, &["JSON"]),
        ("unknown tool", &["call", "json-qery", "{}"], b"", 3, &["json-qery", "json-query"]),
        ("100 MB", &["call", "json-query", "-"], &huge, 4, &["argument-bytes"]),
        ("10,000 deep", &["call", "json-query", "-"], deep.as_bytes(), 2, &["deep"]),
        ("no UTF-8", &["call", "json-query", "-"], b"{\"input\": \"\xff\"}", 2, &["UTF-8"]),
        (
            "no grant",
            &["call", "web-scrape", elsewhere],
            b"",
            3,
            &["grant.http", "[bindings.web-scrape]"],
        ),
        ("unknown command", &["cal"], b"", 2, &["cal"]),
    ];
    for (what, arguments, input, code, words) in cases {
        let ended = ampoule(folder.path(), arguments, input).await;
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.code, Some(*code), "{what}: {said}");
        for word in *words {
            assert!(said.contains(word), "{what} does not say `{word}`: {said}");
        }
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_address_stays_shut_whatever_the_pattern() {
    let site = Site::start().await;
    let grant = format!("[bindings.web-scrape]\ngrant.http = [\"GET {}/**\"]\n", site.origin());
    let folder = folder(&grant);
    let arguments = json!({ "urls": [format!("{}/page", site.origin())] }).to_string();
    let ended = ampoule(folder.path(), &["call", "web-scrape", &arguments, "--json"], b"").await;
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    let denial = &document["receipt"]["denials"][0];
    assert_eq!(denial["gate"], "address", "{document}");
    let allow = denial["allow"].as_str().unwrap();
    assert!(allow.contains("grant.addresses = [\"127.0.0.1\"]"), "{allow}");
    assert!(site.seen().is_empty());

    // The line it prints is the line that allows it.
    let config = folder.path().join("ampoule.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let line = allow.lines().find(|line| line.starts_with("grant.")).unwrap();
    std::fs::write(&config, format!("{text}{line}\n")).unwrap();
    let ended = ampoule(folder.path(), &["call", "web-scrape", &arguments], b"").await;
    assert_eq!((ended.code, site.seen().is_empty()), (Some(0), false), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plugin_outside_the_repository_is_built_and_served() {
    let folder = tempfile::tempdir().unwrap();
    let made = ampoule(folder.path(), &["new", "word-count"], b"").await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let there = folder.path().join("word-count");
    let mut build = Command::new(command());
    // What it stands on is compiled once for all runs of this test.
    build.args(["build", "."]).env("CARGO_TARGET_DIR", root().join("target/tests/new"));
    let built = build.current_dir(&there).output().await.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let mut mcp = Command::new(command());
    mcp.arg("mcp").arg("--plugins").arg(root().join("target/tests/new/plugins"));
    mcp.current_dir(&there);
    let client = ().serve(TokioChildProcess::new(mcp).unwrap()).await.unwrap();
    let tools = client.list_all_tools().await.unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names, ["word-count"]);
    assert_eq!(tools[0].annotations.as_ref().unwrap().read_only_hint, Some(true));
    let arguments = json!({ "text": "one two\nthree" }).as_object().cloned().unwrap();
    let call = CallToolRequestParams::new("word-count").with_arguments(arguments);
    let result = client.call_tool(call).await.unwrap();
    let counted = json!({ "lines": 2, "words": 3, "characters": 13 });
    assert_eq!(result.structured_content, Some(counted));
    client.cancel().await.unwrap();
}
