//! Tools, models and runs to test with.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use ampoule_agent::{Agent, AgentEvent, AgentEvents, AgentFile, RunOutcome, Task};
use ampoule_contract::{
    CallContext, Effects, End, Model, ModelInfo, ModelRequest, ModelStream, Outcome, Output,
    Receipt, ToolCall, ToolDefinition, ToolError, ToolKind, Tools,
};
use ampoule_services::{Script, Scripted};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

type Body = Arc<dyn Fn(ToolCall) -> BoxFuture<'static, End> + Send + Sync>;

type Entries = BTreeMap<String, (Arc<ToolDefinition>, Body)>;

/// Tools that are Rust closures.
#[derive(Clone, Default)]
pub(crate) struct Bench(Arc<Mutex<Entries>>);

impl Bench {
    /// No tools.
    pub(crate) fn new() -> Bench {
        Bench::default()
    }

    /// Adds a tool, or puts a new version in its place.
    pub(crate) fn tool<F>(
        self,
        id: &str,
        body: impl Fn(ToolCall) -> F + Send + Sync + 'static,
    ) -> Bench
    where
        F: Future<Output = End> + Send + 'static,
    {
        self.put(id, "sha256:1", body);
        self
    }

    pub(crate) fn put<F>(
        &self,
        id: &str,
        digest: &str,
        body: impl Fn(ToolCall) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = End> + Send + 'static,
    {
        let definition = ToolDefinition {
            id: id.into(),
            binding: id.split('/').next().unwrap().into(),
            name: id.split('/').next_back().unwrap().into(),
            kind: ToolKind::Tool,
            title: None,
            description: format!("The tool {id}."),
            input_schema: json!({"type": "object"}),
            output_schema: None,
            effects: Effects::default(),
            sessions: false,
            examples: Vec::new(),
            digest: digest.into(),
        };
        let body: Body = Arc::new(move |call| body(call).boxed());
        self.0.lock().unwrap().insert(id.into(), (Arc::new(definition), body));
    }

    /// Adds a tool that answers `value`.
    pub(crate) fn value(self, id: &str, value: Value) -> Bench {
        self.tool(id, move |_| {
            let value = value.clone();
            async move { End::Value(Output::value(value)) }
        })
    }
}

#[async_trait::async_trait]
impl Tools for Bench {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        self.0.lock().unwrap().values().map(|(definition, _)| definition.clone()).collect()
    }

    async fn call(&self, call: ToolCall) -> Outcome {
        let body = self.0.lock().unwrap()[&call.tool].1.clone();
        let tool = call.tool.clone();
        let end = body(call).await;
        let receipt = Receipt::empty("bench".into(), tool, end.word());
        Outcome { end, receipt }
    }
}

/// A model that keeps what it was asked, and asks another.
pub(crate) struct Recorder {
    model: Arc<dyn Model>,
    requests: Mutex<Vec<ModelRequest>>,
}

impl Recorder {
    pub(crate) fn requests(&self) -> Vec<ModelRequest> {
        self.requests.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Model for Recorder {
    fn stand_in(&self) -> Option<&'static str> {
        self.model.stand_in()
    }

    async fn models(&self, context: CallContext) -> Result<Vec<ModelInfo>, ToolError> {
        self.model.models(context).await
    }

    async fn stream(
        &self,
        request: ModelRequest,
        context: CallContext,
    ) -> Result<ModelStream, ToolError> {
        self.requests.lock().unwrap().push(request.clone());
        self.model.stream(request, context).await
    }
}

/// An agent under test, with everything it says and is asked.
pub(crate) struct Trial {
    pub(crate) agent: Agent,
    pub(crate) model: Arc<Recorder>,
    events: Arc<Mutex<Vec<AgentEvent>>>,
}

impl Trial {
    /// An agent with more front matter, tools, and a model that plays `script`.
    pub(crate) fn new(settings: &str, tools: Bench, script: &str) -> Trial {
        let script = Script::parse(script).unwrap();
        Trial::with_model(settings, tools, Arc::new(Scripted::new("test", script)))
    }

    pub(crate) fn with_model(settings: &str, tools: Bench, model: Arc<dyn Model>) -> Trial {
        let model = Arc::new(Recorder { model, requests: Mutex::default() });
        let agent = Agent::new(file(settings), model.clone(), Arc::new(tools));
        Trial { agent, model, events: Arc::default() }
    }

    /// Runs the task `go`.
    pub(crate) async fn run(&self) -> RunOutcome {
        self.run_in(CallContext::default()).await
    }

    pub(crate) async fn run_in(&self, context: CallContext) -> RunOutcome {
        self.run_with(context, |_| {}).await
    }

    /// Runs the task `go`; `listener` sees each event too.
    pub(crate) async fn run_with(
        &self,
        context: CallContext,
        listener: impl Fn(&AgentEvent) + Send + Sync + 'static,
    ) -> RunOutcome {
        let kept = self.events.clone();
        let events = AgentEvents::new(move |event| {
            listener(&event);
            kept.lock().unwrap().push(event);
        });
        self.agent.run(Task { context, events, ..Task::new("go") }).await.unwrap()
    }

    /// The events so far, as JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
    }

    /// The events of a kind.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["kind"] == kind).collect()
    }

    /// What the model was shown of the tool results in its `n`-th request, from 0: the values, or
    /// texts where they were cut.
    pub(crate) fn shown(&self, n: usize) -> Vec<Value> {
        let requests = self.model.requests();
        let last = requests[n].messages.iter().rev().find(|message| message.role == "tool");
        let parts = &last.unwrap().parts;
        let shown = |text: &Option<String>| Value::from(text.clone().unwrap());
        parts.iter().map(|part| part.value.clone().unwrap_or_else(|| shown(&part.text))).collect()
    }
}

/// An agent file with more front matter.
pub(crate) fn file(settings: &str) -> AgentFile {
    let text = format!(
        "---\nname: tester\ndescription: Tests.\nmodel: scripted/x.toml\n{settings}\n---\nYou test."
    );
    AgentFile::parse(&text).unwrap()
}

/// A turn that calls tools: `(name, arguments in TOML)`.
pub(crate) fn calling(calls: &[(&str, &str)]) -> String {
    let calls: String = calls
        .iter()
        .map(|(name, arguments)| {
            format!("[[turns.tool-calls]]\nname = '{name}'\narguments = {arguments}\n")
        })
        .collect();
    format!("[[turns]]\n{calls}")
}

/// A turn that says something.
pub(crate) fn saying(text: &str) -> String {
    format!("[[turns]]\ntext = '{text}'\n")
}
