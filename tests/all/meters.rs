//! Limits whose meeting takes another side: a web site, a model.

use std::sync::Arc;

use ampoule::{Call, End, Host, Meter};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder, call, host, value};
use serde_json::json;

/// A host with the hostile guest, which may reach `site` within `limits`.
async fn hostile(site: &Site, limits: &str) -> Host {
    let grant = site.grant("hostile");
    host(&format!("plugins = [\"GUESTS/hostile.wasm\"]\n{grant}limits = {{ {limits} }}\n")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_and_end_the_call() {
    let site = Site::start().await;
    let host = hostile(&site, "http-requests = 5").await;
    let url = json!({ "url": format!("{}/text", site.origin()) });
    let outcome = call(&host, "hostile/request-flood", url).await;
    Table::new("Requests").call("request-flood", "requests without end", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::HttpRequests), "{:?}", outcome.end);
    assert_eq!((outcome.receipt.used.get(Meter::HttpRequests), site.seen().len()), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_redirect_is_a_request() {
    let site = Site::start().await;
    let host = hostile(&site, "http-requests = 4").await;
    let url = json!({ "url": format!("{}/redirect/302?/text", site.origin()) });
    let outcome = call(&host, "hostile/request-flood", url).await;
    Table::new("Redirects").call("request-flood", "redirects beyond the count", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::HttpRequests), "{:?}", outcome.end);
    assert_eq!(site.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_cut_at_the_bytes_that_are_left_and_says_so() {
    let site = Site::start().await;
    let host = hostile(&site, "http-bytes = \"1 MiB\"").await;
    let url = json!({ "url": format!("{}/bytes/3000000", site.origin()) });
    let outcome = call(&host, "hostile/download", url).await;
    let tried = "3 MB where 1 MiB is left";
    Table::new("Bytes of answers").row("download", tried, "limit http-bytes", "cut, truncated");
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value, Some(json!({ "bytes": 1 << 20, "truncated": true })));
    assert_eq!(outcome.receipt.used.get(Meter::HttpBytes), 1 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_of_wasi_has_in_the_host_is_bounded_by_its_handles() {
    let host = host("[bindings.plain]\nplugin = \"GUESTS/plain.wasm\"").await;
    let few = value(&host, "plain/hoard", json!({ "requests": 100 })).await;
    // Pieces of 16 KiB, and no more of them than wait to be sent.
    assert!((100..=300).contains(&few.as_u64().unwrap()), "{few}");
    let outcome = call(&host, "plain/hoard", json!({ "requests": 10_000 })).await;
    Table::new("Handles of wasi:http").call("hoard", "requests that are never sent", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::Handles), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.limits.get(Meter::Handles), 512);
    for (bytes, taken) in [(4096, true), (4097, false), (1 << 20, false)] {
        assert_eq!(value(&host, "plain/name", json!({ "bytes": bytes })).await, taken, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_of_wasi_gets_an_error_for_an_answer_that_is_cut() {
    let site = Site::start().await;
    let grants = format!(
        "[bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\ngrant.http = [\"GET {}/**\"]\n\
         grant.addresses = [\"127.0.0.1\"]\n",
        site.origin()
    );
    let url = json!({ "url": format!("{}/bytes/3000000", site.origin()) });
    let whole = call(&host(&grants).await, "plain/fetch", url.clone()).await;
    assert!(matches!(whole.end, End::Value(_)), "{:?}", whole.end);
    let cut = host(&format!("{grants}limits = {{ http-bytes = \"1 MiB\" }}")).await;
    let outcome = call(&cut, "plain/fetch", url).await;
    Table::new("Bytes of answers, wasi:http").call("fetch", "3 MB where 1 MiB is left", &outcome);
    assert!(matches!(outcome.end, End::Failed(_)), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.used.get(Meter::HttpBytes), 1 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_wasi_are_counted_too() {
    let site = Site::start().await;
    let config = format!(
        "[bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\ngrant.http = [\"GET {}/**\"]\n\
         grant.addresses = [\"127.0.0.1\"]\nlimits = {{ http-requests = 0 }}",
        site.origin()
    );
    let url = json!({ "url": format!("{}/text", site.origin()) });
    let outcome = call(&host(&config).await, "plain/fetch", url).await;
    Table::new("Requests, wasi:http").call("fetch", "one more than none", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::HttpRequests), "{:?}", outcome.end);
    assert!(site.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_and_end_the_call() {
    let site = Site::start().await;
    let ask = async |tokens: u64| {
        let config = format!(
            "plugins = [\"GUESTS/rust.wasm\", \"PLUGINS/json-filter.wasm\"]\n{}\
             grant.tools = [\"json-filter\"]\ngrant.services = {{ llm = \"echo\" }}\n\
             limits = {{ model-tokens = {tokens} }}",
            site.grant("rust")
        );
        let host = builder(&config).model("echo", Arc::new(Echo)).build().await.unwrap();
        let url = format!("{}/text", site.origin());
        let arguments = json!({ "url": url, "tool": "json-filter", "text": "word ".repeat(1000) });
        host.call(Call::new("rust", &arguments)).await
    };
    let outcome = ask(1_000_000).await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
    let used = outcome.receipt.used.get(Meter::ModelTokens);
    assert!(used >= 1000, "{used} tokens");
    let mut table = Table::new("Tokens of models");
    for tokens in [0, 1, used - 1] {
        let outcome = ask(tokens).await;
        table.call("rust", &format!("{used} tokens where {tokens} are left"), &outcome);
        assert_eq!(outcome.receipt.ended_by, Some(Meter::ModelTokens), "{:?}", outcome.end);
        assert_eq!(outcome.receipt.used.get(Meter::ModelTokens), tokens);
    }
}
