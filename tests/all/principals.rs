//! What is left to a principal, with real guests: files, HTTP, secrets, tools, limits; and what
//! `Host::observe` sees of them.

use std::path::Path;
use std::sync::Arc;

use ampoule::{Call, End, Host, Meter, Outcome, Use};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder, host};
use serde_json::{Value, json};

async fn call_for(host: &Host, principal: Option<&str>, call: Call) -> Outcome {
    let call = match principal {
        Some(principal) => call.principal(principal),
        None => call,
    };
    host.call(call).await
}

/// The gate that refused a call or an import of it, and the lines that would allow it.
fn refusal(outcome: &Outcome) -> (&'static str, String) {
    let denial = outcome.receipt.denials.first();
    let denial = denial.unwrap_or_else(|| panic!("nothing was refused: {:?}", outcome.end));
    (denial.gate, denial.allow.clone().unwrap_or_default())
}

#[track_caller]
fn succeeded(outcome: &Outcome) {
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
}

fn in_folder(tool: &str, arguments: Value, folder: &Path) -> Call {
    Call::new(tool, arguments).workspace(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workspace_is_narrowed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    let host = host(
        "plugins = [\"PLUGINS/files.wasm\"]\n[bindings.files]\ngrant.files = \"read-write\"\n\
         [principals.reader]\ngrant.files = \"read\"\n\
         [principals.\"nobody@x\"]\ngrant.files = \"none\"\n\
         [principals.writer]\ngrant.files = \"read-write\"\n\
         [principals.\"*\"]\ntools = [\"files/read\"]",
    )
    .await;
    let read = || in_folder("files/read", json!({ "path": "a.txt" }), folder.path());
    let write = || in_folder("files/write", json!({ "path": "b.txt", "text": "x" }), folder.path());
    let mut table = Table::new("Principals and the workspace");
    for (principal, reads, writes) in [
        (Some("writer"), None, None),
        (Some("reader"), None, Some("[principals.reader]\ngrant.files = \"read-write\"")),
        (
            Some("nobody@x"),
            Some("[principals.\"nobody@x\"]\ngrant.files = \"read\""),
            Some("[principals.\"nobody@x\"]\ngrant.files = \"read-write\""),
        ),
        // Who has no table, and nobody at all, are everybody else.
        (Some("stranger"), None, Some("[principals.\"*\"]\ntools = [\"files/write\"]")),
        (None, None, Some("[principals.\"*\"]\ntools = [\"files/write\"]")),
    ] {
        for (tried, call, allow) in [("to read", read(), reads), ("to write", write(), writes)] {
            let outcome = call_for(&host, principal, call).await;
            table.call(principal.unwrap_or("nobody"), tried, &outcome);
            match allow {
                None => succeeded(&outcome),
                Some(allow) => {
                    assert_eq!(refusal(&outcome), ("principal", allow.to_owned()), "{principal:?}");
                }
            }
        }
        let _ = std::fs::remove_file(folder.path().join("b.txt"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_adds_nothing_to_a_grant() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(
        "plugins = [\"PLUGINS/files.wasm\"]\n[bindings.files]\ngrant.files = \"read\"\n\
         [principals.ada]\ngrant.files = \"read-write\"\ntools = [\"*\"]\nlimits = { fuel = \"900G\" }",
    )
    .await;
    let write = in_folder("files/write", json!({ "path": "b.txt", "text": "x" }), folder.path());
    let outcome = call_for(&host, Some("ada"), write).await;
    let allow = "[bindings.files]\ngrant.files = \"read-write\"".to_owned();
    assert_eq!(refusal(&outcome), ("grant", allow));
    let fuel = host.bindings()[0].limits.get(Meter::Fuel);
    assert_eq!(outcome.receipt.limits.get(Meter::Fuel), fuel);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_redirects_and_secrets_are_narrowed() {
    let site = Site::start().await;
    let origin = site.origin();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("key");
    std::fs::write(&secret, "s3cret-value").unwrap();
    let config = format!(
        "plugins = [\"PLUGINS/http-request.wasm\"]\n{}\
         grant.secrets.api-key = {{ secret = \"k\", audience = [\"{origin}\"] }}\n\
         [secrets]\nk = {{ file = {:?} }}\n\
         [principals.ada]\ngrant.http = [\"GET {origin}/text\", \"GET {origin}/redirect/**\"]\n\
         grant.secrets = []\n\
         [principals.none]\ngrant.http = []",
        site.grant("http-request"),
        secret.display().to_string(),
    );
    let host = host(&config).await;
    let get = |path: &str, more: Value| {
        let mut arguments = json!({ "url": format!("{origin}{path}") });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Call::new("http-request", arguments)
    };
    let line = |table: &str, path: &str| {
        let allow = format!("[principals.{table}]\ngrant.http = [\"GET {origin}{path}\"]");
        ("principal", allow)
    };
    succeeded(&call_for(&host, None, get("/page", json!({}))).await);
    succeeded(&call_for(&host, Some("ada"), get("/text", json!({}))).await);
    let before = site.seen().len();
    let page = call_for(&host, Some("ada"), get("/page", json!({}))).await;
    assert_eq!(refusal(&page), line("ada", "/page"));
    let none = call_for(&host, Some("none"), get("/text", json!({}))).await;
    assert_eq!(refusal(&none), line("none", "/text"));
    assert_eq!(site.seen().len(), before);
    let redirected = call_for(&host, Some("ada"), get("/redirect/302?/page", json!({}))).await;
    assert_eq!(refusal(&redirected), line("ada", "/page"));
    succeeded(&call_for(&host, None, get("/redirect/302?/page", json!({}))).await);

    let signed = || get("/text", json!({ "credential": "api-key" }));
    succeeded(&call_for(&host, None, signed()).await);
    let seen = site.seen();
    let sent = |name: &str| seen.last().unwrap().headers.iter().any(|(key, _)| key == name);
    assert!(sent("x-api-key"));
    let before = seen.len();
    let unsigned = call_for(&host, Some("ada"), signed()).await;
    let allow = "[principals.ada]\ngrant.secrets = [\"k\"]".to_owned();
    assert_eq!(refusal(&unsigned), ("principal", allow));
    assert_eq!(site.seen().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_wasi_is_under_the_same_principals() {
    let site = Site::start().await;
    let origin = site.origin();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "text").unwrap();
    let host = host(&format!(
        "{}plugin = \"GUESTS/plain.wasm\"\ngrant.files = \"read\"\n\
         [principals.ada]\ngrant.http = []\ngrant.files = \"none\"",
        site.grant("plain")
    ))
    .await;
    let fetch = || Call::new("plain/fetch", json!({ "url": format!("{origin}/text") }));
    let read = || in_folder("plain/read-file", json!({ "path": "a.txt" }), folder.path());
    succeeded(&call_for(&host, None, fetch()).await);
    succeeded(&call_for(&host, None, read()).await);
    let refused = call_for(&host, Some("ada"), fetch()).await;
    let allow = format!("[principals.ada]\ngrant.http = [\"GET {origin}/text\"]");
    assert_eq!(refusal(&refused), ("principal", allow));
    let unread = call_for(&host, Some("ada"), read()).await;
    assert!(matches!(unread.end, End::Failed(_)), "{:?}", unread.end);
    assert_eq!(site.seen().len(), 1);
}

/// The Rust guest, which fetches a page, calls a tool and asks a model.
async fn probing(site: &Site, principals: &str) -> Host {
    let config = format!(
        "plugins = [\"GUESTS/rust.wasm\", \"PLUGINS/json-filter.wasm\"]\n{}\
         grant.tools = [\"json-filter\"]\ngrant.services = {{ llm = \"echo\" }}\n{principals}",
        site.grant("rust")
    );
    let host = builder(&config).model("echo", Arc::new(Echo)).build().await.unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

fn probe(site: &Site) -> Call {
    let url = format!("{}/page", site.origin());
    Call::new("rust", json!({ "url": url, "tool": "json-filter", "text": "some text" }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_and_services_are_narrowed_at_every_depth() {
    let site = Site::start().await;
    let host = probing(
        &site,
        "[principals.a]\ntools = [\"rust\"]\n\
         [principals.b]\ntools = [\"json-*\"]\n\
         [principals.c]\ngrant.tools = []\n\
         [principals.d]\ngrant.services = []\n\
         [principals.e]\ntools = [\"rust\", \"json-filter\"]\ngrant.tools = [\"json-*\"]\n\
         grant.services = [\"llm\"]",
    )
    .await;
    succeeded(&call_for(&host, None, probe(&site)).await);
    succeeded(&call_for(&host, Some("e"), probe(&site)).await);
    let mut table = Table::new("Principals, tools and services");
    for (principal, line) in [
        ("a", "tools = [\"json-filter\"]"),
        ("b", "tools = [\"rust\"]"),
        ("c", "grant.tools = [\"json-filter\"]"),
        ("d", "grant.services = [\"llm\"]"),
    ] {
        let outcome = call_for(&host, Some(principal), probe(&site)).await;
        table.call(principal, &format!("what takes {line}"), &outcome);
        let allow = format!("[principals.{principal}]\n{line}");
        assert_eq!(refusal(&outcome), ("principal", allow));
        // A call that may not be made at all does not begin.
        assert_eq!(matches!(outcome.end, End::Denied(_)), principal == "b", "{:?}", outcome.end);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_capped_at_every_depth() {
    let site = Site::start().await;
    let host = probing(
        &site,
        "[principals.small]\nlimits = { fuel = 1000 }\n\
         [principals.medium]\nlimits = { tool-calls = 7, fuel = \"300M\" }",
    )
    .await;
    let outcome = call_for(&host, Some("small"), probe(&site)).await;
    assert_eq!(outcome.receipt.ended_by, Some(Meter::Fuel), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.limits.get(Meter::Fuel), 1000);
    let outcome = call_for(&host, Some("medium"), probe(&site)).await;
    succeeded(&outcome);
    assert_eq!(outcome.receipt.limits.get(Meter::ToolCalls), 7);
    let child = &outcome.receipt.children[0];
    assert_eq!(child.limits.get(Meter::ToolCalls), 7);
    assert_eq!(call_for(&host, None, probe(&site)).await.receipt.limits.get(Meter::ToolCalls), 256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_uses_is_observed_and_what_its_tools_use_is_not() {
    let site = Site::start().await;
    let host = probing(&site, "").await;
    let (outcome, uses) = host.observe(probe(&site)).await;
    succeeded(&outcome);
    let pattern = format!("GET {}/page", site.origin()).parse().unwrap();
    for used in [
        Use::Http { pattern, reads: true },
        Use::Tool("json-filter".to_owned()),
        Use::Service("llm".to_owned()),
    ] {
        assert!(uses.contains(&used), "{used:?} is not in {uses:?}");
    }
    assert!(!uses.iter().any(|used| matches!(used, Use::Files(_) | Use::Secret(_))), "{uses:?}");

    let folder = tempfile::tempdir().unwrap();
    let files = ampoule_tests::host(
        "plugins = [\"PLUGINS/files.wasm\"]\n[bindings.files]\ngrant.files = \"read-write\"",
    )
    .await;
    let write = in_folder("files/write", json!({ "path": "b.txt", "text": "x" }), folder.path());
    let (outcome, uses) = files.observe(write).await;
    succeeded(&outcome);
    assert!(uses.contains(&Use::Files(ampoule::manifest::FileAccess::ReadWrite)), "{uses:?}");
}
