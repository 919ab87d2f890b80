//! The tool calls of one turn.

use std::sync::Arc;
use std::time::Duration;

use ampoule_contract::{
    Account, Breach, CallContext, End, EventSink, Meter, Outcome, Output, Part, Problem, Receipt,
    Signal, ToolCall, ToolError, Tools,
};
use futures::{StreamExt, stream};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::event::{AgentEvent, AgentEvents};
use crate::limits::AgentLimits;
use crate::outcome::CallRecord;
use crate::stop::Stop;
use crate::toolset::{Refusal, Toolset};

/// How long a cancelled tool has to come back with its receipt before it is dropped.
const GRACE: Duration = Duration::from_millis(100);

/// What the calls of a turn need.
pub(crate) struct Calls<'a> {
    pub(crate) tools: &'a Arc<dyn Tools>,
    pub(crate) toolset: &'a Toolset,
    /// Where the calls stand, but for what belongs to one call.
    pub(crate) context: &'a CallContext,
    pub(crate) account: &'a Arc<Account>,
    pub(crate) stop: &'a Stop,
    pub(crate) events: &'a AgentEvents,
    pub(crate) limits: &'a AgentLimits,
    pub(crate) turn: u32,
}

/// A call that is over.
pub(crate) struct Called {
    pub(crate) id: String,
    /// The tool's name as the model wrote it.
    pub(crate) name: String,
    pub(crate) result: Result<Output, ToolError>,
    pub(crate) record: CallRecord,
}

/// What is to be done about a call.
struct Planned<'a> {
    id: &'a str,
    name: &'a str,
    tool: &'a str,
    step: Result<ToolCall, Box<Refusal>>,
}

impl Calls<'_> {
    /// Runs `calls` at once, as many as the agent may, and gives their results in call order.
    ///
    /// Only the first `permitted` are run, and only while the budget has tool calls left; the
    /// others are refused. The breach is that of the budget, where there was one.
    pub(crate) async fn run(
        &self,
        calls: &[Part],
        permitted: usize,
    ) -> (Vec<Called>, Option<Breach>) {
        let now = self.tools.tools();
        let mut breach = None;
        let mut planned = Vec::with_capacity(calls.len());
        for (index, part) in calls.iter().enumerate() {
            let id = part.id.as_deref().unwrap_or_default();
            let name = part.name.as_deref().unwrap_or_default();
            let tool = self.toolset.id_of(name);
            self.events.send(AgentEvent::ToolCall {
                turn: self.turn,
                id: id.to_owned(),
                tool: tool.to_owned(),
                arguments: part.value.clone().unwrap_or_default(),
            });
            let step = if index >= permitted {
                Err(exhausted(format!(
                    "a run of this agent has at most {} tool calls",
                    self.limits.max_tool_calls
                )))
            } else {
                self.plan(id, tool, part.value.as_ref(), &now).and_then(|call| {
                    match self.account.charge(Meter::ToolCalls, 1) {
                        Ok(()) => Ok(call),
                        Err(limit) => {
                            let refused = exhausted(limit.to_string());
                            breach.get_or_insert(limit);
                            Err(refused)
                        }
                    }
                })
            };
            planned.push(Planned { id, name, tool, step });
        }
        let parallel = usize::try_from(self.limits.parallel_tools).unwrap_or(1).max(1);
        let running: Vec<_> = planned
            .into_iter()
            .enumerate()
            .map(|(index, planned)| async move { (index, self.carry_out(planned).await) })
            .collect();
        let mut called: Vec<_> = stream::iter(running).buffer_unordered(parallel).collect().await;
        called.sort_by_key(|(index, _)| *index);
        (called.into_iter().map(|(_, called)| called).collect(), breach)
    }

    fn plan(
        &self,
        id: &str,
        name: &str,
        arguments: Option<&Value>,
        now: &[Arc<ampoule_contract::ToolDefinition>],
    ) -> Result<ToolCall, Box<Refusal>> {
        let tool = self.toolset.find(name, now)?;
        let arguments = match arguments {
            None => Value::Object(Map::new()).into(),
            Some(Value::Object(object)) => Value::Object(object.clone()).into(),
            Some(other) => return Err(bad_arguments(other)),
        };
        let context = CallContext {
            cancel: self.stop.token(),
            events: Some(self.sink(id, &tool.id)),
            ..self.context.clone()
        };
        Ok(ToolCall { tool: tool.id.clone(), arguments, context })
    }

    /// Passes on what a call says while it runs, to the events of the run and to the caller's.
    fn sink(&self, id: &str, tool: &str) -> EventSink {
        let (turn, id, tool) = (self.turn, id.to_owned(), tool.to_owned());
        let (events, above, token) =
            (self.events.clone(), self.context.events.clone(), self.stop.token());
        EventSink::new(move |event| {
            let above = above.as_ref().map(|above| above.send(event.clone()));
            events.send(AgentEvent::Progress { turn, id: id.clone(), tool: tool.clone(), event });
            if token.is_cancelled() { Signal::Stop } else { above.unwrap_or_default() }
        })
    }

    async fn carry_out(&self, planned: Planned<'_>) -> Called {
        let Planned { id, name, tool, step } = planned;
        let (result, mut receipt) = match step {
            Ok(call) => {
                let Outcome { end, receipt } = self.call(id, call).await;
                (end.into_result(), receipt)
            }
            Err(refusal) => {
                let Refusal { end, error, denial } = *refusal;
                let receipt = Receipt {
                    denials: denial.into_iter().collect(),
                    ..Receipt::empty(id.to_owned(), tool.to_owned(), end)
                };
                (Err(error), receipt)
            }
        };
        if receipt.tool.is_empty() {
            tool.clone_into(&mut receipt.tool);
        }
        let (output, error) = match &result {
            Ok(output) => (Some(output.clone()), None),
            Err(error) => (None, Some(error.clone())),
        };
        self.events.send(AgentEvent::ToolResult {
            turn: self.turn,
            id: id.to_owned(),
            tool: tool.to_owned(),
            output,
            error,
            receipt: Box::new(receipt.clone()),
        });
        Called {
            id: id.to_owned(),
            name: name.to_owned(),
            result,
            record: CallRecord { turn: self.turn, id: id.to_owned(), receipt },
        }
    }

    /// Calls a tool on a task of its own, so that tools really run at once and a panic of one does
    /// not end the run.
    async fn call(&self, id: &str, call: ToolCall) -> Outcome {
        let ended = |end: End, tool: &str| {
            let receipt = Receipt::empty(id.to_owned(), tool.to_owned(), end.word());
            Outcome { end, receipt }
        };
        let tool = call.tool.clone();
        if self.stop.now().is_some() {
            return ended(End::Cancelled, &tool);
        }
        let tools = self.tools.clone();
        let work = async move { tools.call(call).await }.in_current_span();
        let mut task = AbortOnDropHandle::new(tokio::spawn(work));
        let joined = tokio::select! {
            biased;
            joined = &mut task => Some(joined),
            _ = self.stop.stopped() => tokio::time::timeout(GRACE, &mut task).await.ok(),
        };
        match joined {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => ended(End::Fault(error.to_string()), &tool),
            None => ended(End::Cancelled, &tool),
        }
    }
}

fn exhausted(what: String) -> Box<Refusal> {
    let message = format!("{what}, and they are used up; answer with what you have");
    Refusal::failed(ToolError::new("exhausted", message))
}

fn bad_arguments(arguments: &Value) -> Box<Refusal> {
    let kind = match arguments {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        // A connector hands over as a text what a model wrote and nobody could read.
        Value::String(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => "a text".to_owned(),
            Err(error) => format!("a text that is not even JSON ({error})"),
        },
    };
    let message = format!("the arguments must be a JSON object, not {kind}");
    let problem = Problem { path: None, message };
    let end = End::BadArguments(problem);
    let word = end.word();
    let error = end.into_result().err().unwrap_or_default();
    Box::new(Refusal { end: word, error, denial: None })
}
