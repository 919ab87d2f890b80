//! What the conformance suite of MCP runs as a client: the plugin `mcp-client`, bound to the server at
//! the URL that is the last argument. It calls every tool of the server, with the arguments that the
//! suite names (`MCP_CONFORMANCE_CONTEXT`) or, where it names none, with what the schemas want.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program for the suite, and a surprise should stop it"
)]

use std::process::ExitCode;
use std::sync::Arc;

use ampoule::{Answer, Ask, Call, CallContext, Config, End, Host, Question, ToolDefinition, Tools};
use ampoule_tests::root;
use serde_json::{Map, Value, json};

/// A person who agrees to everything and fills in nothing else.
struct Person;

#[async_trait::async_trait]
impl Ask for Person {
    async fn ask(&self, question: Question, _: &CallContext) -> Answer {
        let wanted = question.schema.unwrap_or_default();
        let agrees = wanted["properties"].get("confirmed").is_some();
        Answer::Given(if agrees { json!({ "confirmed": true }) } else { json!({}) })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::args().next_back().unwrap();
    let config = format!(
        r#"
        [bindings.remote]
        plugin = "{}"
        grant.http = ["DELETE,GET,POST http://localhost:*/**"]
        grant.addresses = ["127.0.0.1", "::1"]
        grant.ask = true
        settings = {{ url = "{url}" }}
        "#,
        root().join("target/plugins/mcp-client.wasm").display()
    );
    let cache = root().join("target/tests");
    let host = Host::builder()
        .config(Config::parse(&config).unwrap())
        .cache(cache.join("cache"), cache.join("key"))
        .ask(Arc::new(Person))
        .build()
        .await
        .unwrap();
    let mut failed = !host.refused().is_empty();
    for reason in host.refused() {
        eprintln!("{reason}");
    }
    for (tool, arguments) in calls(&host) {
        let outcome = host.call(Call::new(tool.id.as_str(), arguments)).await;
        eprintln!("{}: {:?}", tool.id, outcome.end);
        // What the host itself refuses does not reach the server.
        failed |= !matches!(outcome.end, End::Value(_) | End::BadArguments(_));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What to call, and with what.
fn calls(host: &Host) -> Vec<(Arc<ToolDefinition>, Value)> {
    let tools = host.tools();
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    if let Some(calls) = context["toolCalls"].as_array() {
        let named = |name: &Value| {
            // Names of tools that want headers end in a mark.
            let name = format!("remote/{}", name.as_str().unwrap());
            let fits =
                |id: &str| id.strip_prefix(&name).is_some_and(|rest| matches!(rest.len(), 0 | 9));
            tools.iter().find(|tool| fits(&tool.id)).unwrap().clone()
        };
        return calls
            .iter()
            .map(|call| (named(&call["name"]), given(&call["arguments"])))
            .collect();
    }
    let all = tools.iter().map(|tool| (tool.clone(), arguments(&tools, &tool.input_schema)));
    all.collect()
}

/// The arguments that the suite names, those that are `null` left out: to MCP they are the same.
fn given(arguments: &Value) -> Value {
    let mut given = arguments.as_object().unwrap().clone();
    given.retain(|_, value| !value.is_null());
    given.into()
}

/// Arguments that a schema wants; where that is a schema, the largest of those there are.
fn arguments(tools: &[Arc<ToolDefinition>], schema: &Value) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&name.into()));
    let value = |field: &Value| match field["type"].as_str() {
        Some("number" | "integer") => json!(7),
        Some("boolean") => json!(true),
        Some("object") => {
            let schemas = tools.iter().map(|tool| &tool.input_schema);
            schemas.max_by_key(|schema| schema.to_string().len()).unwrap().clone()
        }
        Some("array") => json!([]),
        _ => json!("text"),
    };
    let wanted = fields.filter(|(name, _)| required(name));
    wanted.map(|(name, field)| (name.clone(), value(field))).collect::<Map<_, _>>().into()
}
