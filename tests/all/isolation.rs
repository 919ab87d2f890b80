//! What one call leaves for the next: nothing.

use ampoule::{Blob, Blobs, Call, End};
use ampoule_tests::{call, host, value};
use serde_json::json;

const CONFIG: &str = "plugins = [\"GUESTS/hostile.wasm\"]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_meets_a_fresh_instance() {
    let host = host(CONFIG).await;
    for _ in 0..200 {
        assert_eq!(value(&host, "hostile/remember", json!({})).await, json!(1));
    }
    let many = (0..200).map(|_| value(&host, "hostile/remember", json!({})));
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer, json!(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_opens_only_for_whom_it_was_passed_to() {
    let host = host(CONFIG).await;
    let blobs = Blobs::default();
    let id = "0123456789abcdef0123456789abcdef".to_owned();
    let blob = Blob { media_type: "text/plain".into(), data: "secret".into() };
    blobs.insert(id.clone(), blob);
    let seen = Call::new("hostile/guess-blobs", json!({ "id": id })).blobs(blobs.clone());
    let outcome = host.call(seen).await;
    let End::Failed(error) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.code, "not-found");
    let passed = Call::new("hostile/guess-blobs", json!({ "a": { "$blob": id } })).blobs(blobs);
    let outcome = host.call(passed).await;
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value, Some(json!(6)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_hides_what_is_for_the_operator() {
    let host = host(CONFIG).await;
    let outcome = call(&host, "hostile/panic", json!({})).await;
    let error = outcome.end.into_result().unwrap_err();
    assert_eq!(error.code, "internal");
    assert!(!error.message.contains("unreachable"), "{}", error.message);
    assert!(error.log.unwrap().contains("unreachable"));
}
