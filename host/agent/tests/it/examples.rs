//! The agents of `examples/agents`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ampoule_agent::{Agent, AgentFile, RunEnd, Task};
use ampoule_contract::{Account, CallContext, End, Limits, Meter, Output, ToolCall, ToolError};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};

use crate::support::Bench;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn arguments(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments).unwrap()
}

/// Tools that take and give what the plugins of the same names do; the data is this project's.
fn tools(metadata: End, title: Value) -> Bench {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let size = lock.len();
    Bench::new()
        .value("files/read", json!({"path": "Cargo.lock", "text": lock, "size": size}))
        .tool("convert", |call| async move {
            let arguments = arguments(&call);
            assert_eq!((&arguments["from"], &arguments["to"]), (&json!("toml"), &json!("json")));
            let output: Value = toml::from_str(arguments["input"].as_str().unwrap()).unwrap();
            End::Value(Output::value(json!({"output": output})))
        })
        .value("hash", json!({"digest": "ab12"}))
        .tool("json-query", |call| async move {
            let count = arguments(&call)["input"]["package"].as_array().unwrap().len();
            let found = json!({
                "count": count,
                "most_used": [{"name": "serde", "dependents": 9}],
                "several": [{"name": "syn", "versions": ["1.0.0", "2.0.0"]}],
            });
            End::Value(Output::value(json!({"results": [found]})))
        })
        .tool("web-scrape", move |call| {
            let url = arguments(&call)["urls"][0].clone();
            let page = json!({"url": url, "title": title, "content": "Ampoule runs\ntools."});
            let page = End::Value(Output::value(json!({"pages": [page], "failed": []})));
            let end = if url.as_str().unwrap().contains("169.254") { &metadata } else { &page };
            let end = end.clone();
            async move { end }
        })
        .tool("template", |call| async move {
            let arguments = arguments(&call);
            let mut environment = Environment::new();
            environment.set_undefined_behavior(UndefinedBehavior::Strict);
            let data = minijinja::Value::from(minijinja::value::Serde(&arguments["data"]));
            match environment.render_str(arguments["template"].as_str().unwrap(), data) {
                Ok(text) => End::Value(Output::value(json!({"text": text}))),
                Err(error) => End::Failed(ToolError::new("bad-arguments", error.to_string())),
            }
        })
        .tool("files/write", |call| async move {
            // The text goes back too, for the test to see.
            let arguments = arguments(&call);
            let size = arguments["text"].as_str().unwrap().len();
            let path = &arguments["path"];
            End::Value(Output::value(
                json!({"path": path, "size": size, "text": arguments["text"]}),
            ))
        })
}

/// Plays the agent and gives its report.
async fn report(metadata: End, title: Value) -> String {
    let folder = root().join("examples/agents");
    let file = AgentFile::open(&folder.join("lock-report.md")).unwrap();
    let tools = tools(metadata, title);
    file.validate(&tools).unwrap();
    let model = &file.front_matter().model;
    let model = ampoule_services::embedded(&model.binding, &model.model, &folder);
    let model = model.unwrap().unwrap();
    let report = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = report.clone();
    let mut task = Task::new("Write the report about this project.");
    task.inputs.insert("page_url".into(), "http://127.0.0.1:8000/doc/".into());
    // The lock file grows, and what passes through the conversation with it.
    let limits = Limits::default().with(Meter::ModelTokens, 4_000_000);
    let budget = Some(Account::root(limits));
    task.context = CallContext { budget, ..CallContext::default() };
    task.events = ampoule_agent::AgentEvents::new(move |event| {
        if let ampoule_agent::AgentEvent::ToolResult { output: Some(output), .. } = event
            && let Some(Value::String(text)) = output.value.unwrap().get("text")
        {
            text.clone_into(&mut seen.lock().unwrap());
        }
    });
    let outcome = Agent::new(file, model, Arc::new(tools)).run(task).await.unwrap();
    assert_eq!(outcome.end, RunEnd::Answer, "{outcome:#?}");
    let failed: Vec<_> =
        outcome.tool_calls.iter().filter(|call| call.receipt.end != "value").collect();
    assert!(failed.iter().all(|call| call.id == "metadata"), "{failed:#?}");
    assert_eq!((outcome.turns, outcome.tool_calls.len()), (6, 8));
    assert_eq!(outcome.stand_in, Some("scripted"));
    report.lock().unwrap().clone()
}

#[tokio::test]
async fn the_lock_report_plays_from_start_to_end() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let count = lock.lines().filter(|line| *line == "[[package]]").count();
    let url = "http://169.254.169.254/latest/meta-data/";
    let listed = json!({"pages": [], "failed": [
        {"url": url, "code": "denied", "message": "a special address"},
    ]});
    let listed = report(End::Value(Output::value(listed)), json!("Ampoule")).await;
    for expected in [
        &*format!("**{count} packages**"),
        "| serde | 9 |",
        "- syn: 1.0.0, 2.0.0",
        "[Ampoule](http://127.0.0.1:8000/doc/) begins:\n\n> Ampoule runs tools.",
        &*format!("- {url}: a special address"),
    ] {
        assert!(listed.contains(expected), "{expected} is not in\n{listed}");
    }
    // A page without a title, and a tool that fails as a whole, are no obstacle.
    let error = ToolError::new("denied", "refused");
    let failed = report(End::Failed(error), Value::Null).await;
    assert!(failed.contains("metadata address: refused"), "{failed}");
    assert!(failed.contains("[http://127.0.0.1:8000/doc/]("), "{failed}");
}
