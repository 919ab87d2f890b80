//! Guests in other languages, and components that know nothing of Ampoule.

use std::sync::Arc;

use ampoule::{Blobs, Call, End, Host};
use ampoule_services::Echo;
use ampoule_tests::site::{PAGE, Site};
use ampoule_tests::{builder, call, code, host, value};
use serde_json::json;

/// A host with the guest of a language, which may reach `site`, call json-filter and ask `echo`.
async fn probing(language: &str, site: &Site) -> Host {
    let config = format!(
        r#"
        plugins = ["GUESTS/{language}.wasm", "PLUGINS/json-filter.wasm"]
        {}
        grant.tools = ["json-filter"]
        grant.services = {{ llm = "echo" }}
        "#,
        site.grant(language)
    );
    let host = builder(&config).model("echo", Arc::new(Echo)).build().await.unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

/// What every language has to be able to do: http, tools, blobs and a stream.
async fn probe(language: &str) {
    let site = Site::start().await;
    let host = probing(language, &site).await;
    let blobs = Blobs::default();
    let text = "streamed back";
    let arguments =
        json!({ "url": format!("{}/page", site.origin()), "tool": "json-filter", "text": text });
    let outcome = host.call(Call::new(language, &arguments).blobs(blobs.clone())).await;
    let End::Value(output) = &outcome.end else { panic!("{language}: {:?}", outcome.end) };
    let answer = output.value.clone().unwrap();
    assert_eq!(answer["status"], 200, "{language}");
    assert_eq!(answer["page"], PAGE.len(), "{language}");
    assert_eq!(answer["filtered"], json!({ "a": 1 }), "{language}");
    assert_eq!(answer["size"], text.len(), "{language}");
    assert!(answer["streamed"].as_str().unwrap().contains(text), "{language}: {answer}");
    let blob = blobs.get(answer["blob"]["$blob"].as_str().unwrap()).unwrap();
    assert_eq!(blob.data, text, "{language}");
    assert_eq!(outcome.receipt.children.len(), 1, "{language}");

    let elsewhere = json!({ "url": "http://10.0.0.1/", "tool": "json-filter", "text": text });
    let denied = value(&host, language, elsewhere).await;
    assert_eq!(denied["status"], "denied", "{language}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_can_do_it_all() {
    probe("rust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_can_do_it_all() {
    probe("python").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_can_do_it_all() {
    probe("javascript").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_is_a_plugin_too() {
    let host = host("plugins = [\"GUESTS/c.wasm\"]").await;
    let sum = value(&host, "c", json!({ "text": "Wikipedia" })).await;
    assert!(sum["sum"].is_number() || sum["sum"].is_string(), "{sum}");
    assert_ne!(sum, value(&host, "c", json!({ "text": "wikipedia" })).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_without_a_manifest_is_held_to_the_same_gates() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note.txt"), "from the workspace").unwrap();
    let bound =
        |grants: &str| format!("[bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\n{grants}");

    // Nothing granted: it runs, and reaches nothing.
    let closed = host(&bound("")).await;
    let greeted = value(&closed, "plain/greet", json!({ "name": "world" })).await;
    assert!(greeted.as_str().unwrap().contains("world"), "{greeted}");
    let page = json!({ "url": format!("{}/text", site.origin()) });
    let outcome = call(&closed, "plain/fetch", page.clone()).await;
    assert!(matches!(outcome.end, End::Failed(_)), "{:?}", outcome.end);
    assert!(site.seen().is_empty());
    let read = Call::new("plain/read-file", json!({ "path": "note.txt" }));
    let outcome = closed.call(read.clone().workspace(folder.path())).await;
    assert!(matches!(outcome.end, End::Failed(_)), "{:?}", outcome.end);

    // Granted: the same egress, the same workspace.
    let grants = format!(
        "grant.http = [\"GET {}/text\"]\ngrant.addresses = [\"127.0.0.1\"]\ngrant.files = \"read\"",
        site.origin()
    );
    let open = host(&bound(&grants)).await;
    assert_eq!(value(&open, "plain/fetch", page).await, json!("plain text"));
    let elsewhere = json!({ "url": format!("{}/page", site.origin()) });
    let outcome = call(&open, "plain/fetch", elsewhere).await;
    assert!(matches!(outcome.end, End::Failed(_)), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.denials.len(), 1, "{:?}", outcome.receipt.denials);
    assert_eq!(site.seen().len(), 1);
    let outcome = open.call(read.workspace(folder.path())).await;
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value, Some(json!("from the workspace")));
    for path in ["../secret", "/etc/passwd", "a/../../x"] {
        let escape = Call::new("plain/read-file", json!({ "path": path }));
        let outcome = open.call(escape.workspace(folder.path())).await;
        assert!(matches!(outcome.end, End::Failed(_)), "{path}: {:?}", outcome.end);
    }
    assert_eq!(code(&open, "plain/greet", json!({ "name": 1 })).await, "bad-arguments");
}
