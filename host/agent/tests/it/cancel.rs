//! Cancelling, in the middle of everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ampoule_agent::{AgentEvent, RunEnd};
use ampoule_contract::{
    CallContext, End, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, Output, ToolError,
};
use futures::{StreamExt, stream};
use serde_json::json;

use crate::support::{Bench, Trial, calling, saying};

/// Says whether it has been dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A model that begins to speak and never ends.
struct Endless(Arc<AtomicBool>);

#[async_trait::async_trait]
impl Model for Endless {
    async fn models(&self, _: CallContext) -> Result<Vec<ModelInfo>, ToolError> {
        Ok(Vec::new())
    }

    async fn stream(&self, _: ModelRequest, _: CallContext) -> Result<ModelStream, ToolError> {
        let guard = Guard(self.0.clone());
        let word = ModelEvent {
            kind: "content".into(),
            text: Some("Well, ".into()),
            ..ModelEvent::default()
        };
        let endless = stream::once(async { Ok(word) }).chain(stream::pending());
        Ok(Box::pin(endless.inspect(move |_| {
            let _ = &guard;
        })))
    }
}

#[tokio::test]
async fn in_the_middle_of_an_answer() {
    let dropped = Arc::new(AtomicBool::new(false));
    let trial = Trial::with_model("", Bench::new(), Arc::new(Endless(dropped.clone())));
    let context = CallContext::default();
    let cancel = context.cancel.clone();
    let outcome = trial
        .run_with(context, move |event| {
            if matches!(event, AgentEvent::Content { .. }) {
                cancel.cancel();
            }
        })
        .await;
    assert_eq!(outcome.end, RunEnd::Cancelled);
    assert_eq!(outcome.text, "Well, ");
    assert!(dropped.load(Ordering::SeqCst), "the request was not given up");
    assert_eq!(trial.events_of("end")[0]["end"], "cancelled");
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_tools_that_heed_it_and_that_do_not() {
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = dropped.clone();
    let tools = Bench::new()
        .tool("polite", |call| async move {
            call.context.cancel.cancelled().await;
            End::Failed(ToolError::new("cancelled", "I stop"))
        })
        .tool("deaf", move |_| {
            let guard = Guard(seen.clone());
            async move {
                futures::future::pending::<()>().await;
                drop(guard);
                End::Cancelled
            }
        })
        .tool("quick", |_| async { End::Value(Output::value(json!(1))) })
        .tool("late", |_| async { panic!("a waiting call was started") });
    let calls = [("quick", "{}"), ("polite", "{}"), ("deaf", "{}"), ("late", "{}")];
    let settings = "tools: ['*']\nlimits: { parallel-tools: 2 }";
    let trial = Trial::new(settings, tools, &(calling(&calls) + &saying("never")));
    let context = CallContext::default();
    let cancel = context.cancel.clone();
    let outcome = trial
        .run_with(context, move |event| {
            if matches!(event, AgentEvent::ToolResult { tool, .. } if tool == "quick") {
                // Once the others have begun.
                let cancel = cancel.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    cancel.cancel();
                });
            }
        })
        .await;
    assert_eq!(outcome.end, RunEnd::Cancelled);
    let ends: Vec<_> = outcome.tool_calls.iter().map(|call| call.receipt.end).collect();
    assert_eq!(ends, ["value", "failed", "cancelled", "cancelled"]);
    // The aborted task is dropped by the runtime's next turn.
    tokio::task::yield_now().await;
    assert!(dropped.load(Ordering::SeqCst), "a deaf tool still runs");
    assert_eq!(trial.model.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_waiting_for_a_retry_and_before_the_start() {
    let failing =
        "[[turns]]\nerror = { code = 'unavailable', message = 'x', retryable = true }\n".repeat(2);
    let trial = Trial::new("", Bench::new(), &failing);
    let context = CallContext::default();
    let cancel = context.cancel.clone();
    let outcome = trial
        .run_with(context, move |event| {
            if matches!(event, AgentEvent::Retry { .. }) {
                cancel.cancel();
            }
        })
        .await;
    assert_eq!(outcome.end, RunEnd::Cancelled);
    assert_eq!(trial.model.requests().len(), 1);

    let trial = Trial::new("", Bench::new(), &saying("hi"));
    let context = CallContext::default();
    context.cancel.cancel();
    assert_eq!(trial.run_in(context).await.end, RunEnd::Cancelled);
    assert_eq!(trial.model.requests().len(), 0);
}

#[tokio::test]
async fn dropping_the_run_drops_its_calls() {
    let dropped = Arc::new(AtomicBool::new(false));
    let started = Arc::new(tokio::sync::Notify::new());
    let (seen, begun) = (dropped.clone(), started.clone());
    let tools = Bench::new().tool("deaf", move |_| {
        let (guard, begun) = (Guard(seen.clone()), begun.clone());
        async move {
            begun.notify_one();
            futures::future::pending::<()>().await;
            drop(guard);
            End::Cancelled
        }
    });
    let trial = Trial::new("tools: [deaf]", tools, &(calling(&[("deaf", "{}")]) + &saying("no")));
    tokio::select! {
        _ = trial.run() => panic!("the run ended"),
        () = started.notified() => {}
    }
    tokio::task::yield_now().await;
    assert!(dropped.load(Ordering::SeqCst), "the call goes on without its run");
}
