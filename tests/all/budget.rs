//! Budgets down a tree of calls: every call draws from its caller and the run, the sum is exact.

use std::sync::Arc;

use ampoule::{Account, Call, End, Limits, Meter};
use ampoule_services::Echo;
use ampoule_tests::{builder, host, value};
use serde_json::json;

const CONFIG: &str = r#"
    plugins = ["GUESTS/hostile.wasm"]
    [bindings.hostile]
    grant.tools = ["hostile/*"]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_pays_for_all_its_calls_and_no_more() {
    let host = host(CONFIG).await;
    let run = Account::root(Limits::UNLIMITED.with(Meter::Fuel, 10_000_000));
    let mut sum = 0;
    for _ in 0..3 {
        let outcome = host.call(Call::new("hostile/remember", "{}").budget(run.clone())).await;
        sum += outcome.receipt.used.get(Meter::Fuel);
        assert_eq!(run.used(Meter::Fuel), sum);
    }
    let outcome = host.call(Call::new("hostile/endless-loop", "{}").budget(run.clone())).await;
    let End::Limit(breach) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert!(breach.meter == Meter::Fuel && breach.above, "{breach:?}");
    sum += outcome.receipt.used.get(Meter::Fuel);
    assert_eq!(run.used(Meter::Fuel), sum);
    assert!(sum <= 10_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_of_calls_adds_up() {
    let host = host(CONFIG).await;
    let run = Account::root(Limits::UNLIMITED);
    let outcome = host.call(Call::new("hostile/tool-flood", "{}").budget(run.clone())).await;
    let receipt = &outcome.receipt;
    assert_eq!(receipt.ended_by, Some(Meter::ToolCalls), "{:?}", outcome.end);
    assert_eq!(receipt.children.len() as u64, receipt.limits.get(Meter::ToolCalls));
    for &meter in Meter::ALL.iter().filter(|meter| meter.additive()) {
        let below: u64 = receipt.children.iter().map(|child| child.used.get(meter)).sum();
        assert_eq!(receipt.used.get(meter), receipt.own(meter) + below, "{meter}");
        assert_eq!(run.used(meter), receipt.used.get(meter), "{meter}");
    }
    assert!(receipt.own(Meter::Fuel) > 0);
    assert!(receipt.children.iter().all(|child| child.used.get(Meter::Fuel) > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_fuel_starts_nothing() {
    let host = host(CONFIG).await;
    let run = Account::root(Limits::UNLIMITED.with(Meter::Fuel, 0));
    let outcome = host.call(Call::new("hostile/remember", "{}").budget(run)).await;
    assert_eq!(outcome.receipt.ended_by, Some(Meter::Fuel), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.used.get(Meter::Memory), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_hold_their_places() {
    let config = "plugins = [\"GUESTS/leaky.wasm\"]\n[bindings.leaky]\n\
                  grant.services = { llm = \"echo\" }";
    let host = builder(config).model("echo", Arc::new(Echo)).build().await.unwrap();
    let answer = value(&host, "leaky/streams", json!({})).await;
    assert_eq!(answer, json!({ "kept": 64, "code": "rate-limited", "after": "" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_nobody_takes_hold_their_places() {
    let host = host(CONFIG).await;
    let answer = value(&host, "hostile/take-nothing", json!({})).await;
    assert_eq!(answer, json!({ "kept": 64, "code": "rate-limited", "again": true }));
}
