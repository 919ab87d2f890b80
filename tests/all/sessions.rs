//! Sessions: interpreters that are kept between the calls of one conversation.

use std::time::Duration;

use ampoule::{Call, End, Host, Meter, Outcome};
use ampoule_tests::host;
use ampoule_tests::site::Site;
use serde_json::{Value, json};

use crate::code::{CONFIG, result};

/// The answer of a call of a session: its result, and what it says of the session.
async fn step(host: &Host, principal: &str, session: &str, code: &str) -> (Value, Value) {
    let call = Call::new("ecmascript", json!({ "code": code }));
    let outcome = host.call(call.principal(principal).session(session)).await;
    match outcome.end {
        End::Value(output) => {
            let meta = output.meta.unwrap_or_default();
            (output.value.unwrap()["result"].clone(), meta["session"].clone())
        }
        other => panic!("{code} ended as {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_keeps_what_its_programs_have_made() {
    let host = host(CONFIG).await;
    let (_, said) = step(&host, "ada", "s1", "let n = 1; function next() { return ++n }; n").await;
    assert_eq!(said, json!({ "id": "s1", "calls": 1 }));
    assert_eq!(step(&host, "ada", "s1", "next()").await.0, 2);
    // An exception, too, leaves the session as it is.
    let call = Call::new("ecmascript", json!({ "code": "next(); throw 1" }));
    let outcome = host.call(call.principal("ada").session("s1")).await;
    assert!(matches!(outcome.end, End::Failed(_)), "{:?}", outcome.end);
    assert_eq!(step(&host, "ada", "s1", "n").await, (json!(3), json!({ "id": "s1", "calls": 4 })));
    // Nobody else sees it: another id, another principal, no session.
    for (principal, session) in [("ada", "s2"), ("bob", "s1")] {
        assert_eq!(step(&host, principal, session, "typeof n").await.0, "undefined");
    }
    assert_eq!(result(&host, "typeof n").await, "undefined");
    assert_eq!(host.sessions(), 3);
    assert!(host.close_session(Some("ada"), "ecmascript", "s1"));
    assert_eq!(step(&host, "ada", "s1", "typeof n").await.0, "undefined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_the_call_that_a_limit_ends_and_says_so() {
    let host = host(&format!("{CONFIG}\n    limits = {{ fuel = \"1G\" }}")).await;
    step(&host, "ada", "s", "var n = 1").await;
    let call = Call::new("ecmascript", json!({ "code": "for (;;);" }));
    let outcome = host.call(call.principal("ada").session("s")).await;
    assert!(matches!(&outcome.end, End::Limit(breach) if breach.meter == Meter::Fuel));
    let (kind, said) = step(&host, "ada", "s", "typeof n").await;
    assert_eq!(kind, "undefined");
    let lost = said["lost"].as_str().unwrap();
    assert!(lost.contains("the call before this one ended as limit"), "{lost}");
    // Each call has a budget and a receipt of its own.
    let call = || Call::new("ecmascript", json!({ "code": "1" })).principal("ada").session("s");
    let (one, other) = (host.call(call()).await.receipt, host.call(call()).await.receipt);
    let fuel = |receipt: &ampoule::Receipt| receipt.used.get(Meter::Fuel);
    assert!(fuel(&one) > 0 && fuel(&one).abs_diff(fuel(&other)) < fuel(&one) / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_counted_and_their_time_is_bounded() {
    let config = CONFIG.replace(
        "[bindings.ecmascript]",
        "[sessions]\nper-principal = 2\ntotal = 3\nidle-time = \"5 s\"\n[bindings.ecmascript]",
    );
    let host = host(&config).await;
    let refused = async |principal: &str, session: &str| {
        let call = Call::new("ecmascript", json!({ "code": "1" }));
        match host.call(call.principal(principal).session(session)).await.end {
            End::Overloaded(why) => why,
            other => panic!("{other:?}"),
        }
    };
    step(&host, "ada", "a", "1").await;
    step(&host, "ada", "b", "1").await;
    assert!(refused("ada", "c").await.contains("`[sessions] per-principal`"));
    step(&host, "bob", "a", "1").await;
    assert!(refused("eve", "a").await.contains("`[sessions] total`"));
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert_eq!(host.sessions(), 0);
    step(&host, "eve", "a", "1").await;
    // What is no id, and what keeps no state.
    let bad = host.call(Call::new("ecmascript", json!({ "code": "1" })).session("a b")).await;
    assert!(matches!(bad.end, End::BadArguments(_)), "{:?}", bad.end);
    let none = host.call(Call::new("hash", json!({ "data": "", "algorithm": "md5" })).session("a"));
    assert!(matches!(none.await.end, End::Denied(denial) if denial.gate == "session"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_session_wait_for_each_other_and_a_cancelled_one_ends_it() {
    let host = host(CONFIG).await;
    step(&host, "ada", "s", "var n = 0").await;
    let calls = (0..8).map(|_| step(&host, "ada", "s", "n += 1"));
    let mut results: Vec<_> = futures::future::join_all(calls)
        .await
        .into_iter()
        .map(|(n, _)| n.as_u64().unwrap())
        .collect();
    results.sort_unstable();
    assert_eq!(results, (1..=8).collect::<Vec<_>>());
    let token = tokio_util::sync::CancellationToken::new();
    let call = Call::new("ecmascript", json!({ "code": "for (;;);" }));
    let call = host.call(call.principal("ada").session("s").cancel(token.clone()));
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        token.cancel();
    };
    let (outcome, ()) = tokio::join!(call, cancel);
    assert_eq!(outcome.end, End::Cancelled);
    let (kind, said) = step(&host, "ada", "s", "typeof n").await;
    assert_eq!(kind, "undefined");
    assert!(said["lost"].as_str().unwrap().contains("cancelled"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_no_endless_queue() {
    let host = host(CONFIG).await;
    let token = tokio_util::sync::CancellationToken::new();
    let long = Call::new("ecmascript", json!({ "code": "for (;;);" }));
    let long = host.call(long.principal("ada").session("s").cancel(token.clone()));
    let calls = (0..40).map(|_| {
        let call = Call::new("ecmascript", json!({ "code": "1" }));
        host.call(call.principal("ada").session("s"))
    });
    let others = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let calls = calls.map(Box::pin);
        let mut left = calls.collect::<futures::stream::FuturesUnordered<_>>();
        let mut refused = 0;
        // Those for which there is no room are told at once.
        while refused < 25 {
            let outcome = futures::StreamExt::next(&mut left).await.unwrap();
            let End::Overloaded(why) = outcome.end else { panic!("{:?}", outcome.end) };
            assert!(why.contains("16 calls of this session wait already"), "{why}");
            refused += 1;
        }
        token.cancel();
        while let Some(outcome) = futures::StreamExt::next(&mut left).await {
            assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
        }
    };
    let (outcome, ()) = tokio::join!(long, others);
    assert_eq!(outcome.end, End::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_a_call_that_leaves_something_open() {
    let site = Site::start().await;
    let config = CONFIG.replace(
        "[bindings.ecmascript]",
        &format!(
            "[bindings.ecmascript]\ngrant.http = [\"GET {}/**\"]\ngrant.addresses = [\"127.0.0.1\"]",
            site.origin()
        ),
    );
    let host = host(&config).await;
    let code = format!("globalThis.answer = await fetch('{}/text'); 1", site.origin());
    step(&host, "ada", "s", &code).await;
    let (kind, said) = step(&host, "ada", "s", "typeof answer").await;
    assert_eq!(kind, "undefined");
    let lost = said["lost"].as_str().unwrap();
    assert!(lost.ends_with("left an answer to a request open"), "{lost}");
    // One that was read is the program's own.
    let code = format!("globalThis.text = await (await fetch('{}/text')).text(); 1", site.origin());
    step(&host, "ada", "s", &code).await;
    assert_eq!(step(&host, "ada", "s", "text").await.0, "plain text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_meets_no_other_grants_and_no_other_workspace() {
    let host = host(CONFIG).await;
    step(&host, "ada", "s", "var n = 1").await;
    // Reloaded, the binding is another one, even where nothing was changed.
    host.reload(ampoule_tests::config(CONFIG)).await.unwrap();
    let (kind, said) = step(&host, "ada", "s", "typeof n").await;
    assert_eq!(kind, "undefined");
    assert!(said["lost"].as_str().unwrap().contains("grants were changed"), "{said}");
    step(&host, "ada", "s", "var n = 1").await;
    let folder = tempfile::tempdir().unwrap();
    let call = Call::new("ecmascript", json!({ "code": "typeof n" })).principal("ada");
    let outcome = host.call(call.session("s").workspace(folder.path())).await;
    let End::Value(output) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value.unwrap()["result"], "undefined");
    let lost = output.meta.unwrap()["session"]["lost"].as_str().unwrap().to_owned();
    assert!(lost.contains("another workspace"), "{lost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_freed_while_sessions_are_kept() {
    struct Gone(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    #[async_trait::async_trait]
    impl ampoule::Tools for Gone {
        fn tools(&self) -> Vec<std::sync::Arc<ampoule::ToolDefinition>> {
            Vec::new()
        }
        async fn call(&self, call: Call) -> Outcome {
            unreachable!("{}", call.tool)
        }
    }
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tools = std::sync::Arc::new(Gone(gone.clone()));
    let host = ampoule_tests::builder(CONFIG).tools(tools).build().await.unwrap();
    step(&host, "ada", "s", "var n = 0").await;
    assert_eq!(host.sessions(), 1);
    drop(host);
    assert!(gone.load(std::sync::atomic::Ordering::SeqCst), "a kept session keeps its host");
}
