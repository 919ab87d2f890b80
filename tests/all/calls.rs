//! The life of a call: arguments bounded and judged, ends told apart, events, cancelling,
//! deadlines, reloading.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ampoule::{Account, Call, CallEvent, End, EventSink, Limits, Meter, Signal, ToolKind, Tools};
use ampoule_tests::{call, code, config, guest, host, plugin, value};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const JSON_FILTER: &str = "plugins = [\"PLUGINS/json-filter.wasm\"]";
const HOSTILE: &str = r#"
    plugins = ["GUESTS/hostile.wasm"]
    [bindings.hostile]
    grant.tools = ["hostile/*"]
    limits = { fuel = "100G" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_and_its_receipt() {
    let host = host(JSON_FILTER).await;
    let arguments = json!({ "input": { "a": 1, "b": { "a": 2 } }, "fields": ["a"] });
    let outcome = call(&host, "json-filter", arguments).await;
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value, Some(json!({ "a": 1 })));
    let receipt = &outcome.receipt;
    assert_eq!((receipt.end, receipt.ended_by), ("value", None));
    assert!(receipt.digest.starts_with("sha256:"));
    assert!(receipt.used.get(Meter::Fuel) > 0);
    assert!(receipt.used.get(Meter::Memory) >= 64 << 10);
    assert!(receipt.used.get(Meter::ArgumentBytes) > 0);
    for (meter, n) in receipt.used.iter() {
        assert!(n <= receipt.limits.get(meter), "{meter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_arguments_say_where_and_what() {
    let host = host(JSON_FILTER).await;
    for (arguments, path, words) in [
        (r#"{"input": 1, "fields": "a"}"#, Some("/fields"), "array"),
        (r#"{"input": 1}"#, Some(""), "fields"),
        (r#"{"input": 1, "fields": ["a"], "other": 1}"#, Some(""), "other"),
        (r#"{"input": 1, "fields": [1]}"#, Some("/fields/0"), "string"),
        (r#"[]"#, Some(""), "object"),
        (r#"{"input": "#, None, "JSON"),
        (r#""#, None, "JSON"),
    ] {
        let outcome = host.call(Call::new("json-filter", arguments)).await;
        let End::BadArguments(problem) = &outcome.end else {
            panic!("{arguments}: {:?}", outcome.end)
        };
        assert_eq!(problem.path.as_deref(), path, "{arguments}: {problem}");
        assert!(problem.to_string().contains(words), "{arguments}: {problem}");
        assert_eq!(outcome.receipt.used.get(Meter::Fuel), 0, "the guest was entered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_are_bounded_before_they_are_parsed() {
    let host = host(JSON_FILTER).await;
    let large = format!("\"{}\"", "x".repeat(100 << 20));
    let outcome = host.call(Call::new("json-filter", large)).await;
    assert_eq!(outcome.receipt.ended_by, Some(Meter::ArgumentBytes), "{:?}", outcome.end.word());
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let outcome = host.call(Call::new("json-filter", deep)).await;
    let End::BadArguments(problem) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(problem.message.contains("deeper"), "{problem}");
    let wide = format!("[{}0]", "0,".repeat(1_100_000));
    let outcome = host.call(Call::new("json-filter", wide)).await;
    let End::BadArguments(problem) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(problem.message.contains("values"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_validated_is_what_the_guest_sees() {
    let host = host("plugins = [\"GUESTS/bench.wasm\"]").await;
    // Parsers differ in which of two equal keys they take; ours decides for both.
    let twice = r#"{"text": 1, "text": "second"}"#;
    let outcome = host.call(Call::new("bench/echo", twice)).await;
    let End::Value(output) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value, Some(json!({ "text": "second" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_tool_is_denied_with_the_nearest_name() {
    let host = host(JSON_FILTER).await;
    let outcome = call(&host, "json_filter", json!({})).await;
    let End::Denied(denial) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(denial.message.contains("did you mean `json-filter`"), "{denial}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_and_dropping_free_the_call_at_once() {
    let host = host(HOSTILE).await;
    let budget = Account::root(Limits::default());
    let cancel = CancellationToken::new();
    for tool in ["hostile/long-sleep", "hostile/endless-loop"] {
        let token = cancel.child_token();
        let sleeping =
            host.call(Call::new(tool, "{}").cancel(token.clone()).budget(budget.clone()));
        let stop = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            token.cancel();
        };
        let (outcome, ()) = tokio::join!(sleeping, stop);
        assert_eq!(outcome.end, End::Cancelled, "{tool}");
        assert_eq!(outcome.receipt.end, "cancelled");
    }
    let used = budget.used(Meter::Fuel);
    assert!(used > 0 && used < Limits::default().get(Meter::Fuel), "{used}");
    // Dropped in the middle: what was not used goes back to the budget.
    let call = host.call(Call::new("hostile/long-sleep", "{}").budget(budget.clone()));
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    let after = budget.used(Meter::Fuel);
    assert!(after - used < 1_000_000, "{} was kept", after - used);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_from_outside_counts_like_its_own() {
    let host = host(HOSTILE).await;
    for tool in ["hostile/long-sleep", "hostile/endless-loop"] {
        let deadline = Instant::now() + Duration::from_millis(50);
        let outcome = host.call(Call::new(tool, "{}").deadline(deadline)).await;
        let End::Limit(breach) = &outcome.end else { panic!("{tool}: {:?}", outcome.end) };
        assert!(breach.meter == Meter::WallTime && breach.above, "{tool}: {breach:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_while_the_call_runs_and_answer_it() {
    let host = host(HOSTILE).await;
    let seen = Arc::new(Mutex::new(0));
    let counter = seen.clone();
    let sink = EventSink::new(move |event| {
        if matches!(event, CallEvent::Progress { .. }) {
            *counter.lock().unwrap() += 1;
        }
        Signal::Proceed
    });
    let outcome = host.call(Call::new("hostile/event-flood", "{}").events(sink)).await;
    assert_eq!(outcome.receipt.ended_by, Some(Meter::EventBytes));
    assert!(*seen.lock().unwrap() > 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_replaces_everything_at_once_and_calls_end_as_they_began() {
    let host = host(HOSTILE).await;
    let running = tokio::spawn({
        let host = host.clone();
        async move { host.call(Call::new("hostile/long-sleep", "{}")).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    host.reload(config(JSON_FILTER)).await.unwrap();
    let ids: Vec<_> = host.tools().iter().map(|tool| tool.id.clone()).collect();
    assert_eq!(ids, ["json-filter"]);
    assert_eq!(code(&host, "hostile/remember", json!({})).await, "denied");
    assert_eq!(running.await.unwrap().receipt.ended_by, Some(Meter::WallTime));
    assert!(host.reload(config("run = { fuel = 1 }")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_for_models_and_the_only_tool_of_a_binding() {
    let host = host(&format!("{HOSTILE}\n[bindings.renamed]\nplugin = \"hostile\"")).await;
    assert_eq!(value(&host, "hostile__remember", json!({})).await, json!(1));
    assert_eq!(value(&host, "renamed/remember", json!({})).await, json!(1));
    let tools = host.tools();
    assert!(tools.iter().all(|tool| tool.kind == ToolKind::Tool));
    assert!(tools.is_sorted_by(|a, b| a.id < b.id));
    let host = ampoule_tests::host(JSON_FILTER).await;
    let filtered = value(&host, "json-filter/json-filter", json!({ "input": 1, "fields": ["a"] }));
    assert_eq!(filtered.await, json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_are_refused_do_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    place("empty.wasm", b"");
    place("text.wasm", b"not wasm at all");
    let good = std::fs::read(plugin("json-filter")).unwrap();
    place("cut.wasm", &good[..good.len() / 2]);
    place("good.wasm", &good);
    // A guest that was never packed has no manifest, and so is not bound by itself.
    place("plain.wasm", &std::fs::read(guest("plain")).unwrap());
    let host = ampoule::Host::builder().plugins(folder.path()).build().await.unwrap();
    assert_eq!(host.refused().len(), 4, "{:#?}", host.refused());
    assert_eq!(value(&host, "json-filter", json!({ "input": 1, "fields": ["a"] })).await, json!(1));
}
