//! The loop itself: calls, results, refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ampoule_agent::RunEnd;
use ampoule_contract::{
    CallContext, CallEvent, Denial, End, EventSink, Message, Model, ModelEvent, ModelInfo,
    ModelRequest, ModelResponse, ModelStream, Output, Part, Signal, ToolError,
};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};

use crate::support::{Bench, Trial, calling, saying};

#[tokio::test]
async fn an_agent_uses_tools_and_answers() {
    let tools = Bench::new()
        .value("files/read", json!({"text": "abc"}))
        .tool("hash", |call| async move {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            End::Value(Output::value(json!({"digest": format!("#{}", arguments["data"])})))
        })
        .value("other", json!(null));
    let script = r##"
        [[turns]]
        expect = "^go$"
        thinking = "First read."
        text = "Reading."
        tool-calls = [{ id = "r", name = "files__read", arguments = { path = "x" } }]
        [[turns]]
        tool-calls = [{ name = "hash", arguments = { data = { "$result" = "r", pointer = "/value/text" } } }]
        [[turns]]
        expect = '#\\"abc\\"'
        text = "It is #abc."
        usage = { input-tokens = 50, output-tokens = 4 }
    "##;
    let trial = Trial::new("tools: [files/read, 'h*']", tools, script);
    let outcome = trial.run().await;

    assert_eq!(outcome.end, RunEnd::Answer, "{outcome:#?}");
    assert_eq!((outcome.text.as_str(), outcome.finish.as_str()), ("It is #abc.", "stop"));
    assert_eq!((outcome.turns, outcome.stand_in), (3, Some("scripted")));
    let receipts: Vec<_> = outcome
        .tool_calls
        .iter()
        .map(|call| (call.turn, call.id.as_str(), call.receipt.tool.as_str(), call.receipt.end))
        .collect();
    assert_eq!(receipts, [(1, "r", "files/read", "value"), (2, "call-2-1", "hash", "value")]);
    assert!(outcome.tokens.estimated && outcome.tokens.input > 50);

    let requests = trial.model.requests();
    let offered: Vec<_> = requests[0].tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(offered, ["files__read", "hash"]);
    let start: Vec<_> = requests[0].messages.iter().map(Message::text_content).collect();
    assert_eq!(start, ["You test.", "go"]);
    let roles: Vec<_> = requests[2].messages.iter().map(|message| message.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant", "tool"]);
    assert_eq!(requests[2].messages[2].parts[0].kind, "thinking");

    let kinds: Vec<_> =
        trial.events().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect();
    let expected = "start thinking thinking content usage tool-call tool-result \
                    usage tool-call tool-result content content content usage end";
    assert_eq!(kinds.join(" "), expected);
    let start = &trial.events_of("start")[0];
    assert_eq!(start["stand-in"], "scripted");
    assert_eq!(start["model"], "scripted/x.toml");
    assert_eq!(start["tools"][0], json!({"id": "files/read", "digest": "sha256:1"}));
    assert!(trial.events_of("content").iter().all(|event| event["stand-in"] == "scripted"));
    let end = &trial.events_of("end")[0];
    assert_eq!((&end["end"], &end["stand-in"]), (&json!("answer"), &json!("scripted")));
    assert_eq!(end["tool-calls"][0]["receipt"]["tool"], "files/read");
}

#[tokio::test]
async fn the_calls_of_a_turn_run_at_once_and_answer_in_order() {
    let barrier = Arc::new(Barrier::new(3));
    let last_is_done = Arc::new(Notify::new());
    let tools = Bench::new().tool("meet", move |call| {
        let (barrier, last_is_done) = (barrier.clone(), last_is_done.clone());
        async move {
            // No call gets past this before all three run.
            barrier.wait().await;
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            match arguments["n"].as_u64() {
                Some(3) => last_is_done.notify_one(),
                Some(1) => last_is_done.notified().await,
                _ => {}
            }
            End::Value(Output::value(arguments["n"].clone()))
        }
    });
    let calls = [("meet", "{ n = 1 }"), ("meet", "{ n = 2 }"), ("meet", "{ n = 3 }")];
    let trial = Trial::new("tools: [meet]", tools, &(calling(&calls) + &saying("ok")));
    let outcome = trial.run().await;

    assert_eq!(outcome.end, RunEnd::Answer);
    assert_eq!(trial.shown(1), [json!({"value": 1}), json!({"value": 2}), json!({"value": 3})]);
    let ids: Vec<_> = outcome.tool_calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call-1-1", "call-1-2", "call-1-3"]);
    let ended = trial.events_of("tool-result");
    let place = |id: &str| ended.iter().position(|event| event["id"] == id).unwrap();
    assert!(place("call-1-3") < place("call-1-1"), "{ended:?}");
}

#[tokio::test]
async fn no_more_calls_run_at_once_than_the_agent_allows() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let barrier = Arc::new(Barrier::new(2));
    let counters = (running.clone(), most.clone());
    let tools = Bench::new().tool("work", move |_| {
        let ((running, most), barrier) = (counters.clone(), barrier.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait().await;
            // Whoever could start beyond the cap would have had every chance by now.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            End::Value(Output::default())
        }
    });
    let script = calling(&[("work", "{}"); 6]) + &saying("ok");
    let trial = Trial::new("tools: [work]\nlimits: { parallel-tools: 2 }", tools, &script);
    assert_eq!(trial.run().await.tool_calls.len(), 6);
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn unknown_and_forbidden_tools_are_refused_with_what_is_allowed() {
    let tools = Bench::new()
        .value("hash", json!(1))
        .tool("files/write", |_| async { panic!("a forbidden tool was called") });
    let script = calling(&[("hsah", "{}"), ("files__write", "{}"), ("hash", "{}")]) + &saying("ok");
    let trial = Trial::new("tools: [hash]", tools, &script);
    let outcome = trial.run().await;

    let shown = trial.shown(1);
    assert_eq!(shown[0]["error"]["code"], "not-found");
    assert_eq!(shown[0]["error"]["data"], json!({"allowed": ["hash"]}));
    assert_eq!(shown[1]["error"]["code"], "denied");
    assert_eq!(shown[1]["error"]["data"], json!({"allowed": ["hash"]}));
    assert_eq!(shown[2], json!({"value": 1}));
    let ends: Vec<_> = outcome.tool_calls.iter().map(|call| call.receipt.end).collect();
    assert_eq!(ends, ["denied", "denied", "value"]);
    assert_eq!(outcome.tool_calls[1].receipt.denials[0].gate, "agent");
    assert_eq!(outcome.end, RunEnd::Answer);
}

#[tokio::test]
async fn failures_of_tools_are_told_to_the_model_without_the_log() {
    let tools = Bench::new()
        .tool("fails", |_| async {
            End::Failed(ToolError {
                log: Some("key=hunter2".into()),
                retryable: true,
                data: Some(json!({"row": 3})),
                ..ToolError::new("invalid-data", "row 3 is bad")
            })
        })
        .tool("denied", |_| async {
            End::Denied(Denial { gate: "grant", message: "no http".into(), allow: None })
        })
        .tool("traps", |_| async { End::Trap("wasm trap: hunter2".into()) })
        .tool("panics", |_| async { panic!("hunter2") });
    let names = ["fails", "denied", "traps", "panics"];
    let script = calling(&names.map(|name| (name, "{}"))) + &saying("ok");
    let trial = Trial::new("tools: ['*']", tools, &script);
    let outcome = trial.run().await;

    assert_eq!(outcome.end, RunEnd::Answer);
    let shown = trial.shown(1);
    let expected = json!({"error": {
        "code": "invalid-data", "message": "row 3 is bad", "retryable": true, "data": {"row": 3},
    }});
    assert_eq!(shown[0], expected);
    let codes: Vec<_> = shown.iter().map(|shown| shown["error"]["code"].clone()).collect();
    assert_eq!(codes, ["invalid-data", "denied", "internal", "internal"]);
    let parts = &trial.model.requests()[1].messages[3].parts;
    assert!(parts.iter().all(|part| part.meta == Some(json!({"error": true}))));
    let said = serde_json::to_string(&(trial.model.requests(), trial.events())).unwrap();
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn arguments_that_are_no_object_come_back_as_bad() {
    let tools = Bench::new().tool("x", |_| async { panic!("called with bad arguments") });
    let cases = ["'{\"a\": '", "[1]", "7", "true", "'{}'"];
    let script = calling(&cases.map(|case| ("x", case))) + &saying("ok");
    let trial = Trial::new("tools: [x]", tools, &script);
    let outcome = trial.run().await;
    for shown in trial.shown(1) {
        assert_eq!(shown["error"]["code"], "bad-arguments", "{shown}");
    }
    let message = trial.shown(1)[0]["error"]["message"].clone();
    assert!(message.as_str().unwrap().contains("EOF while parsing"), "{message}");
    assert!(outcome.tool_calls.iter().all(|call| call.receipt.end == "bad-arguments"));
}

#[tokio::test]
async fn a_tool_that_changes_during_the_run_is_out_of_reach() {
    let tools = Bench::new();
    let changing = tools.clone();
    let tools = tools.tool("x", move |_| {
        changing.put("x", "sha256:2", |_| async { panic!("a new version was called") });
        async { End::Value(Output::default()) }
    });
    let script = calling(&[("x", "{}")]) + &calling(&[("x", "{}")]) + &saying("ok");
    let trial = Trial::new("tools: [x]", tools, &script);
    let outcome = trial.run().await;
    assert_eq!(trial.shown(2)[0]["error"]["code"], "conflict");
    assert_eq!(outcome.end, RunEnd::Answer);
}

#[tokio::test]
async fn tools_run_in_the_context_of_the_caller_with_the_tools_of_the_agent() {
    let tools = Bench::new()
        .tool("look", |call| async move {
            let context = call.context;
            let sink = context.events.unwrap();
            let log = CallEvent::Log { level: "info", message: "hi".into(), fields: None };
            assert_eq!(sink.send(log), Signal::Stop);
            End::Value(Output::value(json!({
                "principal": context.principal,
                "workspace": context.workspace,
                "tools": context.tools.unwrap().to_vec(),
                "budget": context.budget.is_some(),
                "blobs": context.blobs.is_some(),
            })))
        })
        .value("other", json!(1))
        .value("outside", json!(1));
    let trial = Trial::new(
        "tools: [look, o*]",
        tools,
        &(calling(&[("look", "{}"), ("outside", "{}")]) + &saying("ok")),
    );
    let context = CallContext {
        principal: Some("ann".into()),
        workspace: Some("/tmp/ws".into()),
        tools: Some(Arc::from(["look".to_owned(), "other".to_owned()])),
        events: Some(EventSink::new(|_| Signal::Stop)),
        ..CallContext::default()
    };
    trial.run_in(context).await;
    let shown = trial.shown(1);
    assert_eq!(
        shown[0]["value"],
        json!({"principal": "ann", "workspace": "/tmp/ws", "tools": ["look", "other"], "budget": true, "blobs": true})
    );
    assert_eq!(shown[1]["error"]["code"], "denied");
    let progress = &trial.events_of("progress")[0];
    assert_eq!((&progress["id"], &progress["tool"]), (&json!("call-1-1"), &json!("look")));
    assert_eq!(progress["event"]["message"], "hi");
}

/// A model that gives a whole response at once, with a role it should not have.
struct Whole;

#[async_trait::async_trait]
impl Model for Whole {
    async fn models(&self, _: CallContext) -> Result<Vec<ModelInfo>, ToolError> {
        Ok(Vec::new())
    }

    async fn stream(
        &self,
        request: ModelRequest,
        _: CallContext,
    ) -> Result<ModelStream, ToolError> {
        let first = request.messages.len() == 2;
        let call = Part { id: None, ..Part::tool_call("", "x", json!({})) };
        let parts = if first { vec![Part::text("Hm."), call] } else { vec![Part::text("Done.")] };
        let response = ModelResponse {
            message: Message { role: "system".into(), parts },
            finish: "end_turn".into(),
            model: "whole-1".into(),
            ..ModelResponse::default()
        };
        let response = Some(Box::new(response));
        let odd = ModelEvent { kind: "unheard-of".into(), ..ModelEvent::default() };
        let event = ModelEvent { kind: "response".into(), response, ..ModelEvent::default() };
        Ok(Box::pin(stream::iter([Ok(odd), Ok(event)])))
    }
}

#[tokio::test]
async fn a_model_that_does_not_stream_is_heard_as_well() {
    let tools = Bench::new().value("x", json!(1));
    let trial = Trial::with_model("tools: [x]", tools, Arc::new(Whole));
    let outcome = trial.run().await;
    assert_eq!((outcome.text.as_str(), outcome.finish.as_str()), ("Done.", "end_turn"));
    assert_eq!((outcome.model.as_str(), outcome.stand_in), ("whole-1", None));
    let content: Vec<_> = trial.events_of("content").iter().map(|e| e["text"].clone()).collect();
    assert_eq!(content, ["Hm.", "Done."]);
    let sent = &trial.model.requests()[1].messages;
    assert_eq!(sent[2].role, "assistant");
    assert_eq!(sent[2].parts[1].id.as_deref(), Some("call-1-1"));
    assert_eq!(sent[3].parts[0].id.as_deref(), Some("call-1-1"));
}
