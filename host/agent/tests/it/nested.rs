//! Agents as tools of agents.

use std::sync::{Arc, Mutex};

use ampoule_agent::{Agent, AgentEvents, AgentFile, AgentTool, Joined, RunEnd, Task};
use ampoule_contract::{
    Account, CallContext, CallEvent, End, EventSink, Limits, Meter, Output, Signal, ToolCall, Tools,
};
use ampoule_services::{Script, Scripted};
use serde_json::{Value, json};

use crate::support::{Bench, calling, saying};

fn agent(name: &str, settings: &str, tools: Arc<dyn Tools>, script: &str) -> Agent {
    let text = format!(
        "---\nname: {name}\ndescription: The agent {name}.\nmodel: scripted/x\n{settings}\n---\nBe."
    );
    let model = Scripted::new(name, Script::parse(script).unwrap());
    Agent::new(AgentFile::parse(&text).unwrap(), Arc::new(model), tools)
}

fn budget(limits: Limits) -> (CallContext, Arc<Account>) {
    let account = Account::root(limits);
    (CallContext { budget: Some(account.clone()), ..CallContext::default() }, account)
}

#[tokio::test]
async fn an_agent_calls_another_on_the_same_budget() {
    let tools = Bench::new().tool("work", |call| async move {
        let account = call.context.budget.unwrap();
        account.charge(Meter::Fuel, 1000).unwrap();
        End::Value(Output::value(json!(account.used(Meter::ToolDepth))))
    });
    let tools: Arc<dyn Tools> = Arc::new(tools);
    let inner = agent(
        "inner",
        "tools: [work]\ninputs: { tone: { type: string, default: dry } }",
        tools.clone(),
        &(calling(&[("work", "{}")]) + "[[turns]]\nexpect = '\"value\":1'\ntext = 'four'\n"),
    );
    let inner = Arc::new(AgentTool::new(inner));
    let definition = &inner.tools()[0];
    assert_eq!((definition.id.as_str(), definition.digest.len()), ("inner", 71));
    assert_eq!(definition.input_schema["required"], json!(["task"]));
    assert_eq!(definition.input_schema["properties"]["tone"]["default"], "dry");

    let outer = agent(
        "outer",
        "tools: ['*']",
        Arc::new(Joined::new(vec![tools, inner])),
        &(calling(&[("inner", "{ task = '2+2?' }"), ("work", "{}")]) + &saying("It is four.")),
    );
    let (context, account) = budget(Limits::default());
    let outcome = outer.run(Task { context, ..Task::new("go") }).await.unwrap();

    assert_eq!(outcome.end, RunEnd::Answer);
    let [call, direct] = &outcome.tool_calls[..] else { panic!("two calls") };
    assert_eq!((call.receipt.tool.as_str(), call.receipt.end), ("inner", "value"));
    assert_eq!(call.receipt.children[0].tool, "work");
    assert_eq!(call.receipt.used.get(Meter::Fuel), 1000);
    assert_eq!(direct.receipt.tool, "work");
    // Fuel and tokens of the inner run are the outer run's too, and the caller's.
    assert_eq!((account.used(Meter::Fuel), outcome.used.get(Meter::Fuel)), (2000, 2000));
    assert_eq!(account.used(Meter::ToolCalls), 3);
    let inner_tokens = call.receipt.used.get(Meter::ModelTokens);
    assert!(inner_tokens > 0);
    assert_eq!(account.used(Meter::ModelTokens), outcome.tokens.total() + inner_tokens);
}

/// An agent that calls itself, as its own tool.
struct Mirror(Mutex<Option<Arc<dyn Tools>>>);

#[async_trait::async_trait]
impl Tools for Mirror {
    fn tools(&self) -> Vec<Arc<ampoule_contract::ToolDefinition>> {
        self.0.lock().unwrap().as_ref().unwrap().tools()
    }

    async fn call(&self, call: ToolCall) -> ampoule_contract::Outcome {
        let tools = self.0.lock().unwrap().clone().unwrap();
        tools.call(call).await
    }
}

#[tokio::test]
async fn how_deep_agents_call_agents_is_bounded() {
    let mirror = Arc::new(Mirror(Mutex::new(None)));
    // One script serves all depths: each calls itself, and the deepest is told that it may not.
    let script = calling(&[("narcissus", "{ task = 'look' }")]).repeat(4) + &saying("me").repeat(4);
    let agent = agent("narcissus", "tools: [narcissus]", mirror.clone(), &script);
    *mirror.0.lock().unwrap() = Some(Arc::new(AgentTool::new(agent.clone())));
    let (context, _) = budget(Limits::default().with(Meter::ToolDepth, 3));
    let outcome = agent.run(Task { context, ..Task::new("go") }).await.unwrap();
    assert_eq!(outcome.end, RunEnd::Answer);
    let mut receipt = &outcome.tool_calls[0].receipt;
    let mut ends = vec![receipt.end];
    while let Some(child) = receipt.children.first() {
        receipt = child;
        ends.push(receipt.end);
    }
    assert_eq!(ends, ["value", "value", "value", "limit"]);
    assert_eq!(receipt.ended_by, Some(Meter::ToolDepth));
    mirror.0.lock().unwrap().take();
}

#[tokio::test]
async fn bad_arguments_and_unknown_names_are_answered() {
    let settings = "inputs: { n: { type: integer } }";
    let tool = AgentTool::new(agent("a", settings, Arc::new(Bench::new()), &saying("hi")));
    let call = async |arguments: &str| tool.call(ToolCall::new("a", arguments)).await.end;
    for (arguments, expected) in [
        ("[]", "are an object"),
        ("{", "EOF"),
        (r#"{"n": 1}"#, "`task` is missing"),
        (r#"{"n": 1, "task": 2}"#, "a text"),
        (r#"{"n": 1, "task": " "}"#, "the task is empty"),
        (r#"{"task": "x"}"#, "\"n\" is a required property"),
        (r#"{"task": "x", "n": "one"}"#, "integer"),
        (r#"{"task": "x", "n": 1, "m": 2}"#, "'m' was unexpected"),
    ] {
        match call(arguments).await {
            End::BadArguments(problem) => {
                assert!(problem.message.contains(expected), "{arguments}: {problem}");
            }
            other => panic!("{arguments}: {other:?}"),
        }
    }
    let outcome = tool.call(ToolCall::new("b", "{}")).await;
    assert_eq!((outcome.end.word(), outcome.receipt.end), ("denied", "denied"));
    assert_eq!(
        call(r#"{"task": "x", "n": 1}"#).await,
        End::Value(Output::value(json!({"answer": "hi", "end": "answer", "stand-in": "scripted"})))
    );
}

#[tokio::test]
async fn callers_see_the_calls_of_an_agent_and_can_stop_it() {
    let tools: Arc<dyn Tools> = Arc::new(Bench::new().value("work", json!(1)));
    let script = calling(&[("work", "{}")]) + &saying("done");
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let own = Arc::new(Mutex::new(0));
    let count = own.clone();
    let tool = AgentTool::new(agent("a", "tools: [work]", tools, &script))
        .with_events(AgentEvents::new(move |_| *count.lock().unwrap() += 1));
    let said = seen.clone();
    let sink = EventSink::new(move |event| {
        if let CallEvent::Progress { message: Some(message), .. } = event {
            said.lock().unwrap().push(message);
        }
        Signal::Stop
    });
    let mut call = ToolCall::new("a", json!({"task": "x"}).to_string());
    call.context.events = Some(sink);
    let cancel = call.context.cancel.clone();
    let outcome = tool.call(call).await;
    assert_eq!(outcome.end, End::Cancelled);
    assert_eq!(*seen.lock().unwrap(), ["a calls work"]);
    assert!(*own.lock().unwrap() >= 4);
    assert!(!cancel.is_cancelled(), "the caller was cancelled with the agent");
}

#[tokio::test]
async fn what_an_agent_is_called_with_is_bounded() {
    let most = Meter::ArgumentBytes.default_limit();
    for context in [CallContext::default(), budget(Limits::UNLIMITED).0] {
        let tool = AgentTool::new(agent("a", "", Arc::new(Bench::new()), &saying("Done.")));
        let call = |bytes: u64| {
            let empty = json!({"task": ""}).to_string().len();
            let arguments = json!({"task": "x".repeat(bytes as usize - empty)}).to_string();
            ToolCall { context: context.clone(), ..ToolCall::new("a", arguments) }
        };
        let outcome = tool.call(call(most + 1)).await;
        let End::Limit(breach) = &outcome.end else { panic!("{:?}", outcome.end) };
        assert_eq!((breach.meter, breach.limit, breach.above), (Meter::ArgumentBytes, most, false));
        assert_eq!(outcome.receipt.used.get(Meter::ModelTokens), 0, "the model was asked");
        let outcome = tool.call(call(1000)).await;
        assert_eq!(outcome.end.word(), "value");
        assert_eq!(outcome.receipt.used.get(Meter::ArgumentBytes), 1000);
    }
}

#[tokio::test]
async fn of_two_tools_with_one_name_the_first_counts() {
    let first: Arc<dyn Tools> = Arc::new(Bench::new().value("a/x", json!("first")));
    let second = Bench::new().value("a/x", json!("second")).value("b", json!("b"));
    let joined = Joined::new(vec![first, Arc::new(second)]);
    let ids: Vec<_> = joined.tools().iter().map(|tool| tool.id.clone()).collect();
    assert_eq!(ids, ["a/x", "b"]);
    let value = async |tool: &str| match joined.call(ToolCall::new(tool, "{}")).await.end {
        End::Value(output) => output.value.unwrap(),
        other => Value::from(other.word()),
    };
    assert_eq!(value("a/x").await, "first");
    assert_eq!(value("b").await, "b");
    assert_eq!(value("c").await, "denied");
}
