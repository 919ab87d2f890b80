//! Agents as tools of others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ampoule_contract::{
    Account, Arguments, CallContext, CallEvent, Effects, End, EventSink, Limits, Meter, Outcome,
    Output, Problem, Receipt, Signal, ToolCall, ToolDefinition, ToolError, ToolKind, Tools, json,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::error::AgentError;
use crate::event::{AgentEvent, AgentEvents};
use crate::inputs::TASK;
use crate::outcome::{RunEnd, RunOutcome};
use crate::run::{Agent, Task};

/// An agent that others call as a tool.
///
/// The tool's id is the agent's name; its arguments are `task` and the agent's inputs; its value is
/// `{"answer": …, "end": …}`, with `stand-in` where the model is not a real one. The run draws from
/// the caller's budget, and [`Meter::ToolDepth`] bounds how deep agents may call agents: the
/// caller's account holds how deep it stands itself.
#[derive(Clone)]
pub struct AgentTool {
    agent: Agent,
    definition: Arc<ToolDefinition>,
    events: AgentEvents,
}

impl AgentTool {
    /// `agent` as a tool. Its effects are taken to be the worst, since its tools decide them.
    pub fn new(agent: Agent) -> AgentTool {
        let file = agent.file();
        let settings = file.front_matter();
        let definition = Arc::new(ToolDefinition {
            id: settings.name.clone(),
            binding: settings.name.clone(),
            name: settings.name.clone(),
            kind: ToolKind::Tool,
            title: None,
            description: settings.description.clone(),
            input_schema: file.tool_schema(),
            output_schema: Some(json!({
                "type": "object",
                "properties": {
                    "answer": { "type": "string" },
                    "end": {
                        "enum": ["answer", "max-turns", "max-tool-calls"],
                        "description": "Anything but `answer`: it had to stop before it was done.",
                    },
                    "stand-in": { "type": "string" },
                },
                "required": ["answer", "end"],
            })),
            effects: Effects::default(),
            sessions: false,
            examples: Vec::new(),
            digest: file.digest().to_owned(),
        });
        AgentTool { agent, definition, events: AgentEvents::default() }
    }

    /// The same, its runs reporting to `events` as well as to their caller.
    #[must_use]
    pub fn with_events(self, events: AgentEvents) -> AgentTool {
        AgentTool { events, ..self }
    }

    async fn run(&self, call: ToolCall, account: &Arc<Account>) -> (End, Vec<Receipt>) {
        if let Err(breach) = account.charge(Meter::ArgumentBytes, call.arguments.len() as u64) {
            return (End::Limit(breach), Vec::new());
        }
        let (text, inputs) = match arguments(call.arguments) {
            Ok(arguments) => arguments,
            Err(problem) => return (End::BadArguments(problem), Vec::new()),
        };
        let CallContext { budget, cancel, events, .. } = &call.context;
        let depth = budget.as_ref().map_or(0, |above| above.used(Meter::ToolDepth)) + 1;
        if let Err(breach) = account.charge(Meter::ToolDepth, depth) {
            return (End::Limit(breach), Vec::new());
        }
        // A caller that wants no more is a caller that cancels.
        let cancel = cancel.child_token();
        let task = Task {
            text,
            inputs,
            events: self.report(events.clone(), cancel.clone()),
            context: CallContext {
                budget: Some(account.clone()),
                cancel,
                events: None,
                ..call.context
            },
        };
        // Boxed, since an agent's tools may hold agents.
        match Box::pin(self.agent.run(task)).await {
            Ok(outcome) => ended(outcome),
            Err(AgentError::Inputs(problem)) => (End::BadArguments(problem), Vec::new()),
            Err(AgentError::NoTask) => {
                let message = AgentError::NoTask.to_string();
                (End::BadArguments(Problem { path: Some(format!("/{TASK}")), message }), Vec::new())
            }
            Err(error) => {
                let message = "the agent cannot start";
                let error = ToolError {
                    log: Some(error.to_string()),
                    ..ToolError::new("unavailable", message)
                };
                (End::Failed(error), Vec::new())
            }
        }
    }

    /// Sends a run's events to the agent's own listener and, as far as they are a caller's concern,
    /// to `above`: each tool call as progress, and what the tools themselves say.
    fn report(&self, above: Option<EventSink>, cancel: CancellationToken) -> AgentEvents {
        let (own, name) = (self.events.clone(), self.definition.name.clone());
        let calls = AtomicU64::new(0);
        AgentEvents::new(move |event| {
            let said = match &event {
                AgentEvent::ToolCall { tool, .. } => Some(CallEvent::Progress {
                    done: calls.fetch_add(1, Ordering::Relaxed) as f64,
                    total: None,
                    message: Some(format!("{name} calls {tool}")),
                }),
                AgentEvent::Progress { event, .. } => Some(event.clone()),
                _ => None,
            };
            own.send(event);
            if let (Some(above), Some(said)) = (&above, said)
                && above.send(said) == Signal::Stop
            {
                cancel.cancel();
            }
        })
    }
}

#[async_trait::async_trait]
impl Tools for AgentTool {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        vec![self.definition.clone()]
    }

    async fn call(&self, call: ToolCall) -> Outcome {
        let start = Instant::now();
        if call.tool != self.definition.id {
            return no_such_tool(&call.tool);
        }
        let account = match &call.context.budget {
            Some(above) => {
                let depth = above.limits().get(Meter::ToolDepth);
                let arguments = Meter::ArgumentBytes.default_limit();
                let limits = Limits::UNLIMITED.with(Meter::ToolDepth, depth);
                above.child(limits.with(Meter::ArgumentBytes, arguments))
            }
            None => Account::root(Limits::default()),
        };
        let mut limits = *account.limits();
        for &meter in Meter::ALL {
            limits.set(meter, account.left(meter));
        }
        let (end, children) = self.run(call, &account).await;
        let ended_by = match &end {
            End::Limit(breach) => Some(breach.meter),
            _ => None,
        };
        let receipt = Receipt {
            digest: self.definition.digest.clone(),
            ended_by,
            used: account.usage(),
            limits,
            wall: start.elapsed(),
            children,
            ..Receipt::empty(call_id(), self.definition.id.clone(), end.word())
        };
        Outcome { end, receipt }
    }
}

/// Several sources of tools as one: the plugins of a host beside agents.
///
/// Where two have a tool of the same id, the first one's counts.
pub struct Joined(Vec<Arc<dyn Tools>>);

impl Joined {
    /// The tools of all `sources`.
    pub fn new(sources: Vec<Arc<dyn Tools>>) -> Joined {
        Joined(sources)
    }
}

#[async_trait::async_trait]
impl Tools for Joined {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        let mut tools = BTreeMap::new();
        for tool in self.0.iter().flat_map(|source| source.tools()) {
            tools.entry(tool.id.clone()).or_insert(tool);
        }
        tools.into_values().collect()
    }

    async fn call(&self, call: ToolCall) -> Outcome {
        let has = |source: &&Arc<dyn Tools>| {
            let tools = source.tools();
            tools.iter().any(|tool| tool.id == call.tool || tool.model_name() == call.tool)
        };
        match self.0.iter().find(has) {
            Some(source) => source.call(call).await,
            None => no_such_tool(&call.tool),
        }
    }
}

fn arguments(arguments: Arguments) -> Result<(String, Map<String, Value>), Problem> {
    let problem =
        |path: Option<&str>, message: String| Problem { path: path.map(str::to_owned), message };
    let (text, value) = arguments.into_parts();
    let Value::Object(mut arguments) = json::arguments(&text, value)? else {
        return Err(problem(Some(""), "the arguments are an object".into()));
    };
    match arguments.shift_remove(TASK) {
        Some(Value::String(task)) => Ok((task, arguments)),
        Some(_) => Err(problem(Some("/task"), "the task is a text".into())),
        None => Err(problem(Some(""), "`task` is missing: say what the agent should do".into())),
    }
}

fn ended(outcome: RunOutcome) -> (End, Vec<Receipt>) {
    let word = outcome.end.word();
    let receipts = outcome.tool_calls.into_iter().map(|call| call.receipt).collect();
    let end = match outcome.end {
        RunEnd::Answer | RunEnd::MaxTurns | RunEnd::MaxToolCalls => {
            let mut value = json!({ "answer": outcome.text, "end": word });
            if let Some(label) = outcome.stand_in {
                value["stand-in"] = label.into();
            }
            End::Value(Output::value(value))
        }
        RunEnd::Budget { breach } => End::Limit(breach),
        RunEnd::Cancelled => End::Cancelled,
        RunEnd::Failed { error } => End::Failed(error),
    };
    (end, receipts)
}

fn no_such_tool(tool: &str) -> Outcome {
    let denial = ampoule_contract::Denial {
        gate: "tools",
        message: format!("there is no tool `{tool}`"),
        allow: None,
    };
    let end = End::Denied(denial);
    let receipt = Receipt::empty(call_id(), tool.to_owned(), end.word());
    Outcome { end, receipt }
}

/// An id for a call, unlike any other of this process.
fn call_id() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    format!("agent-{}", CALLS.fetch_add(1, Ordering::Relaxed))
}
