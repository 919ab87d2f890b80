//! Calls while they run: what they say, how they end early, and several at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ampoule_contract::{Block, CallEvent, End, Signal, ToolCall};
use ampoule_server::ServeOptions;
use rmcp::model::{CallToolRequest, ClientRequest, RequestMetaObject};
#[expect(deprecated, reason = "older revisions have log messages")]
use rmcp::model::{LoggingLevel, SetLevelRequestParams};
use rmcp::service::PeerRequestOptions;
use rmcp::{Peer, RoleClient, ServiceError};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};

use crate::harness::*;

const SOON: Duration = Duration::from_secs(10);

fn say(call: &ToolCall, event: CallEvent) {
    assert_eq!(call.context.events.as_ref().unwrap().send(event), Signal::Proceed);
}

fn progress(done: f64, total: Option<f64>, message: Option<&str>) -> CallEvent {
    CallEvent::Progress { done, total, message: message.map(Into::into) }
}

fn log(level: &'static str, fields: Option<Value>) -> CallEvent {
    CallEvent::Log { level, message: format!("a line: {level}"), fields }
}

#[tokio::test]
async fn progress_comes_before_the_result_and_only_grows() {
    for era in ERAS {
        let shelf = Shelf::default().with(tool("t"), |call| async move {
            say(&call, progress(1.0, Some(3.0), Some("one")));
            say(&call, progress(1.0, Some(3.0), Some("no further")));
            say(&call, progress(f64::NAN, None, None));
            say(&call, progress(0.5, None, None));
            say(&call, progress(2.0, Some(f64::INFINITY), None));
            tokio::task::yield_now().await;
            say(&call, progress(3.0, Some(3.0), Some("three")));
            outcome(&call, value(Value::Null))
        });
        let served = serve(shelf, era).await;
        served.call("t", json!({})).await;
        let heard = until(|| {
            let heard = served.heard.progress.lock().unwrap();
            (heard.len() == 3).then(|| heard.clone())
        });
        let heard = heard.await;
        let token = &heard[0].progress_token;
        assert!(heard.iter().all(|progress| progress.progress_token == *token));
        let heard: Vec<_> = heard.iter().map(|p| (p.progress, p.total, &p.message)).collect();
        assert_eq!(
            heard,
            [
                (1.0, Some(3.0), &Some("one".into())),
                (2.0, None, &None),
                (3.0, Some(3.0), &Some("three".into())),
            ],
            "{era:?}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_events_neither_stops_a_call_nor_fills_the_host() {
    let shelf = Shelf::default().with(tool("flood"), |call| async move {
        for n in 0..100_000 {
            say(&call, progress(f64::from(n), None, None));
        }
        outcome(&call, value(json!("done")))
    });
    let served = serve(shelf, Era::Old).await;
    let result = tokio::time::timeout(SOON, served.call("flood", json!({}))).await.unwrap();
    assert_eq!(texts(&result), ["done"]);
    assert!(served.heard.progress.lock().unwrap().len() <= 300);
}

#[tokio::test]
#[expect(deprecated, reason = "older revisions have log messages")]
async fn log_lines_come_from_the_level_the_client_wants() {
    let shelf = || {
        Shelf::default().with(tool("t"), |call| async move {
            for level in ["trace", "debug", "stdout", "info", "warn"] {
                say(&call, log(level, None));
            }
            say(&call, log("error", Some(json!({"row": 3}))));
            outcome(&call, value(Value::Null))
        })
    };
    use LoggingLevel::{Debug, Emergency, Error, Info, Warning};
    let all = [Debug, Debug, Info, Info, Warning, Error];
    let heard = async |served: &Served, expected: &[LoggingLevel]| {
        // A last line that is always sent says that none before it is still on its way.
        let lines = until(|| {
            let mut lines = served.heard.log.lock().unwrap();
            (lines.len() >= expected.len()).then(|| std::mem::take(&mut *lines))
        });
        let lines = lines.await;
        assert_eq!(lines.iter().map(|line| line.level).collect::<Vec<_>>(), expected);
        assert!(lines.iter().all(|line| line.logger.as_deref() == Some("t")));
        if let Some(last) = lines.last() {
            assert_eq!(last.data, json!({"message": "a line: error", "fields": {"row": 3}}));
        }
    };
    let served = serve(shelf(), Era::Old).await;
    served.call("t", json!({})).await;
    heard(&served, &all[2..]).await;
    for (level, expected) in [(Debug, &all[..]), (Error, &all[5..]), (Emergency, &[])] {
        served.client.set_level(SetLevelRequestParams::new(level)).await.unwrap();
        served.call("t", json!({})).await;
        heard(&served, expected).await;
    }

    let served = serve(shelf(), Era::New).await;
    served.call("t", json!({})).await;
    heard(&served, &[]).await;
    let mut meta = RequestMetaObject::new();
    meta.set_log_level(Warning);
    served.call_with("t", meta).await;
    heard(&served, &all[4..]).await;
    let refused = served.client.set_level(SetLevelRequestParams::new(Debug)).await;
    assert!(matches!(refused, Err(ServiceError::McpError(error)) if error.code.0 == -32601));
}

#[tokio::test]
async fn blocks_handed_out_early_stand_before_the_value() {
    let shelf = Shelf::default().with(tool("t"), |call| async move {
        let block =
            |text: &str| Block { kind: "text".into(), text: Some(text.into()), ..Block::default() };
        say(&call, CallEvent::Block { block: block("early") });
        tokio::task::yield_now().await;
        say(&call, CallEvent::Block { block: block("later") });
        let end = if &*call.arguments == "{}" { value(json!("value")) } else { End::Cancelled };
        outcome(&call, end)
    });
    let served = serve(shelf, Era::Old).await;
    assert_eq!(texts(&served.call("t", json!({})).await), ["early", "later", "value"]);
    let failed = served.call("t", json!({"fail": true})).await;
    assert_eq!(texts(&failed), ["early", "later", "cancelled: the call was cancelled"]);
}

/// A tool that talks and never ends by itself, and counts those that run.
fn endless(running: &Arc<AtomicUsize>, started: &Arc<Notify>) -> Shelf {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (running, started) = (running.clone(), started.clone());
    let shelf = Shelf::default().with(tool("endless"), move |call| {
        let (running, started) = (running.clone(), started.clone());
        async move {
            running.fetch_add(1, Ordering::SeqCst);
            let _running = Running(running);
            started.notify_one();
            for n in 0.. {
                say(&call, progress(f64::from(n), None, None));
                say(&call, log("info", None));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            outcome(&call, End::Cancelled)
        }
    });
    shelf.ending(tool("quick"), value(json!("quick")))
}

async fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn begin(peer: &Peer<RoleClient>, name: &str) -> rmcp::service::RequestHandle<RoleClient> {
    let request = ClientRequest::from(CallToolRequest::new(request(name, json!({}))));
    peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await.unwrap()
}

#[tokio::test]
async fn a_cancelled_call_is_dropped_at_once_and_no_other() {
    for era in ERAS {
        let (running, started) = (Arc::default(), Arc::default());
        let served = serve(endless(&running, &started), era).await;
        let first = begin(&served.client, "endless").await;
        started.notified().await;
        let _second = begin(&served.client, "endless").await;
        started.notified().await;
        assert_eq!(running.load(Ordering::SeqCst), 2);
        first.cancel(Some("enough".into())).await.unwrap();
        until(|| (running.load(Ordering::SeqCst) == 1).then_some(())).await;
        assert_eq!(texts(&served.call("quick", json!({})).await), ["quick"]);
        assert_eq!(running.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_call_can_see_that_it_is_cancelled() {
    let seen = Arc::new(Notify::new());
    let tell = seen.clone();
    let begun = Arc::new(Notify::new());
    let began = begun.clone();
    let shelf = Shelf::default().with(tool("t"), move |call: ToolCall| {
        let (tell, began) = (tell.clone(), began.clone());
        async move {
            began.notify_one();
            call.context.cancel.cancelled().await;
            tell.notify_one();
            outcome(&call, End::Cancelled)
        }
    });
    let served = serve(shelf, Era::New).await;
    let call = begin(&served.client, "t").await;
    begun.notified().await;
    call.cancel(None).await.unwrap();
    tokio::time::timeout(SOON, seen.notified()).await.unwrap();
}

#[tokio::test]
async fn calls_run_at_once() {
    const AT_ONCE: usize = 50;
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    let shelf = Shelf::default().with(tool("meet"), move |call: ToolCall| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            outcome(&call, value(serde_json::from_str(&call.arguments).unwrap()))
        }
    });
    let served = serve(shelf, Era::New).await;
    let calls = (0..AT_ONCE).map(|n| served.call("meet", json!({ "n": n })));
    let results = tokio::time::timeout(SOON, futures::future::join_all(calls)).await.unwrap();
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.structured_content, Some(json!({ "n": n })));
    }
}

#[tokio::test]
async fn the_end_of_the_input_ends_all_calls() {
    let (running, started) = (Arc::default(), Arc::default());
    let served = serve(endless(&running, &started), Era::Old).await;
    for _ in 0..3 {
        drop(begin(&served.client, "endless").await);
        started.notified().await;
    }
    let Served { client, server, .. } = served;
    client.cancel().await.unwrap();
    server.await.unwrap().unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_shutdown_ends_the_server_and_all_calls() {
    let (running, started) = (Arc::default(), Arc::default());
    let options = ServeOptions::default();
    let shutdown = options.shutdown.clone();
    let served = serve_with(endless(&running, &started), Era::New, options).await;
    let call = begin(&served.client, "endless").await;
    started.notified().await;
    shutdown.cancel();
    served.server.await.unwrap().unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert!(call.await_response().await.is_err() || served.client.is_transport_closed());

    // One that has no client yet ends too.
    let options = ServeOptions::default();
    let shutdown = options.shutdown.clone();
    let (_pipe, server) = start(Shelf::default(), options);
    shutdown.cancel();
    server.await.unwrap().unwrap();
}
