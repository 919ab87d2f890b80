//! The loop: ask the model, run the tools it calls, show it the results.

use std::sync::Arc;

use ampoule_contract::{
    Account, Breach, CallContext, Limits, Message, Meter, Model, ModelRequest, ModelResponse, Part,
    ToolError, Tools,
};
use serde_json::{Map, Value};
use tracing::Instrument;

use crate::ask::{Ask, Asked};
use crate::calls::Calls;
use crate::conversation::{Conversation, json_bytes};
use crate::error::AgentError;
use crate::event::{AgentEvent, AgentEvents};
use crate::feedback;
use crate::file::AgentFile;
use crate::outcome::{CallRecord, RunEnd, RunOutcome, Tokens};
use crate::stop::{Stop, Stopped};
use crate::toolset::Toolset;

/// The fewest bytes of a tool's result that a model is shown, however little room there is.
const MIN_RESULT_BYTES: usize = 256;

/// An agent file with the model and the tools it names.
///
/// Cheap to clone; one agent can have many runs at once.
#[derive(Clone)]
pub struct Agent {
    file: Arc<AgentFile>,
    model: Arc<dyn Model>,
    tools: Arc<dyn Tools>,
}

/// What an agent is to do.
#[derive(Clone, Debug, Default)]
pub struct Task {
    /// The first message of the user.
    pub text: String,
    /// The inputs that the agent file declares, by name.
    pub inputs: Map<String, Value>,
    /// Where the run stands. Its tools get the same, with the account of the run in place of the
    /// budget; a budget that is absent is the default limit of a single call in every meter. Where
    /// there is no store of blobs, the run has one of its own, so that its tools can pass them on.
    pub context: CallContext,
    /// Where the events of the run go.
    pub events: AgentEvents,
}

impl Task {
    /// A task in words, without inputs, in an empty context.
    pub fn new(text: impl Into<String>) -> Task {
        Task { text: text.into(), ..Task::default() }
    }
}

impl Agent {
    /// An agent that asks `model`, which is the one its file names, and may use those of `tools`
    /// that its file allows.
    pub fn new(file: AgentFile, model: Arc<dyn Model>, tools: Arc<dyn Tools>) -> Agent {
        Agent { file: Arc::new(file), model, tools }
    }

    /// Its file.
    pub fn file(&self) -> &AgentFile {
        &self.file
    }

    /// Runs the agent on a task. It needs a Tokio runtime.
    ///
    /// In each turn the model is asked with the whole conversation, and the tools it calls run at
    /// once; the run ends when it answers without calling any, or as [`RunEnd`] says. A tool that
    /// fails, is refused, unknown or called wrongly does not end the run: the model is told.
    ///
    /// Tools are those of the start: one that changes meanwhile is refused. A tool may call only
    /// tools of the agent. Dropping the future ends the run and every call of it at once;
    /// cancelling by the context also gives an outcome.
    ///
    /// # Errors
    /// The agent cannot start: the inputs, the prompt or the tools are not what the file says. A
    /// run that has started always has an outcome.
    pub async fn run(&self, task: Task) -> Result<RunOutcome, AgentError> {
        let settings = self.file.front_matter();
        let span = tracing::info_span!(
            "agent",
            name = settings.name,
            run = task.context.run,
            principal = task.context.principal
        );
        let mut run = Run::start(self, task)?;
        async move {
            let end = run.turns().await;
            Ok(run.end(end))
        }
        .instrument(span)
        .await
    }
}

/// A run under way.
struct Run<'a> {
    agent: &'a Agent,
    toolset: Toolset,
    conversation: Conversation,
    context: CallContext,
    account: Arc<Account>,
    stop: Stop,
    events: AgentEvents,
    options: Map<String, Value>,
    turn: u32,
    text: String,
    last: ModelResponse,
    calls: Vec<CallRecord>,
    tokens: Tokens,
}

impl<'a> Run<'a> {
    fn start(agent: &'a Agent, task: Task) -> Result<Run<'a>, AgentError> {
        let Task { text, inputs, context, events } = task;
        let settings = agent.file.front_matter();
        if text.trim().is_empty() {
            return Err(AgentError::NoTask);
        }
        let prompt = agent.file.render(&inputs)?;
        let toolset = Toolset::snapshot(&*agent.tools, &settings.tools, context.tools.as_deref())?;
        let account = account(agent, context.budget.as_ref());
        let stop = Stop::new(&context, settings.limits.budget.get(Meter::WallTime));
        let context = CallContext {
            budget: Some(account.clone()),
            deadline: stop.deadline(),
            tools: Some(toolset.ids()),
            blobs: Some(context.blobs.unwrap_or_default()),
            state: Some(context.state.unwrap_or_default()),
            ..context
        };
        let options = match serde_json::to_value(&settings.options) {
            Ok(Value::Object(options)) => options,
            _ => Map::new(),
        };
        events.send(AgentEvent::Start {
            agent: settings.name.clone(),
            digest: agent.file.digest().to_owned(),
            model: settings.model.to_string(),
            stand_in: agent.model.stand_in(),
            tools: toolset.versions(),
        });
        Ok(Run {
            agent,
            conversation: Conversation::new(prompt, text, json_bytes(&toolset.offered())),
            toolset,
            context,
            account,
            stop,
            events,
            options,
            turn: 0,
            text: String::new(),
            last: ModelResponse::default(),
            calls: Vec::new(),
            tokens: Tokens::default(),
        })
    }

    /// Turn after turn, until one of them ends the run.
    async fn turns(&mut self) -> RunEnd {
        let limits = &self.agent.file.front_matter().limits;
        // Once a cap is met: the end that it makes of the next, last exchange.
        let mut closing: Option<RunEnd> = None;
        loop {
            self.turn += 1;
            let (mut message, breach) = match self.ask(closing.is_some()).await {
                Ok(answered) => answered,
                Err(end) => return end,
            };
            if let Some(end) = closing {
                return end;
            }
            let calls = tool_calls(&mut message, self.turn);
            if calls.is_empty() {
                return RunEnd::Answer;
            }
            if let Some(breach) = breach {
                return RunEnd::Budget { breach };
            }
            let asked_before = self.calls.len();
            let max = usize::try_from(limits.max_tool_calls).unwrap_or(usize::MAX);
            let permitted = max.saturating_sub(asked_before);
            let (results, breach) = self.call(&calls, permitted).await;
            if let Some(stopped) = self.stop.now() {
                return stopped.into();
            }
            closing = if calls.len() > permitted {
                Some(RunEnd::MaxToolCalls)
            } else if let Some(breach) = breach {
                Some(RunEnd::Budget { breach })
            } else {
                (self.turn >= limits.max_turns).then_some(RunEnd::MaxTurns)
            };
            let mut exchange = vec![message, results];
            if closing.is_some() {
                exchange.push(Message::text(
                    "user",
                    "This run may call no more tools. Answer now, with what you have.",
                ));
            }
            self.conversation.push(exchange);
        }
    }

    /// Asks the model; in the closing exchange it may call no tools.
    async fn ask(&mut self, closing: bool) -> Result<(Message, Option<Breach>), RunEnd> {
        let settings = self.agent.file.front_matter();
        let limits = &settings.limits;
        let window = limits.context_tokens.saturating_sub(limits.max_output_tokens.unwrap_or(0));
        let fitted = self.conversation.fit(window);
        let exchanges = fitted.map_err(|tokens| too_long(tokens, window))?;
        if exchanges > 0 {
            self.events.send(AgentEvent::Trim { turn: self.turn, exchanges });
        }
        let input_tokens = self.conversation.tokens();
        let mut options = self.options.clone();
        if let Some(max) = limits.max_output_tokens {
            let left = self.account.left(Meter::ModelTokens).saturating_sub(input_tokens);
            options.insert("max-tokens".into(), max.min(left).max(1).into());
        }
        // Forbidding tools instead of leaving them out: some providers refuse a conversation with
        // tool calls in it where the tools are missing.
        if closing && !self.toolset.is_empty() {
            options.insert("tool-choice".into(), "none".into());
        }
        let ask = Ask {
            model: &*self.agent.model,
            context: self.context.clone(),
            account: &self.account,
            stop: &self.stop,
            events: &self.events,
            turn: self.turn,
            retries: limits.model_retries,
            input_tokens,
            tokens_per_byte: self.conversation.tokens_per_byte(),
        };
        let request = || ModelRequest {
            model: settings.model.model.clone(),
            messages: self.conversation.messages(),
            tools: self.toolset.offered(),
            options: options.clone(),
        };
        let mut text = String::new();
        let asked = ask.run(request, &mut self.tokens, &mut text).await;
        if !text.is_empty() {
            self.text = text;
        }
        let (mut response, tokens, breach) = match asked {
            Asked::Answered { response, tokens, breach } => (*response, tokens, breach),
            Asked::Unaffordable(breach) => return Err(RunEnd::Budget { breach }),
            Asked::Stopped(stopped) => return Err(stopped.into()),
            Asked::Failed(error) => {
                tracing::warn!(turn = self.turn, %error, log = error.log, "the model cannot go on");
                return Err(RunEnd::Failed { error });
            }
        };
        self.events.send(AgentEvent::Usage {
            turn: self.turn,
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            estimated: tokens.estimated,
            left: self.account.left(Meter::ModelTokens),
        });
        if !tokens.estimated {
            self.conversation.calibrate(tokens.input);
        }
        let message = std::mem::take(&mut response.message);
        self.last = response;
        Ok((message, breach))
    }

    /// Runs the calls of a turn and makes the message that answers them.
    async fn call(&mut self, calls: &[Part], permitted: usize) -> (Message, Option<Breach>) {
        let limits = &self.agent.file.front_matter().limits;
        let turn = Calls {
            tools: &self.agent.tools,
            toolset: &self.toolset,
            context: &self.context,
            account: &self.account,
            stop: &self.stop,
            events: &self.events,
            limits,
            turn: self.turn,
        };
        let (called, breach) = turn.run(calls, permitted).await;
        // All results of a turn together get half of the window at most.
        let share = self.conversation.bytes_of(limits.context_tokens / 2) / called.len().max(1);
        let max_bytes = limits.tool_result_bytes.min(share).max(MIN_RESULT_BYTES);
        let parts = called
            .iter()
            .map(|called| feedback::part(&called.id, &called.name, &called.result, max_bytes));
        let message = Message { role: "tool".into(), parts: parts.collect() };
        self.calls.extend(called.into_iter().map(|called| called.record));
        (message, breach)
    }

    fn end(self, end: RunEnd) -> RunOutcome {
        let outcome = RunOutcome {
            end,
            text: self.text,
            finish: self.last.finish,
            turns: self.turn,
            tool_calls: self.calls,
            tokens: self.tokens,
            used: self.account.usage(),
            model: self.last.model,
            stand_in: self.agent.model.stand_in(),
        };
        tracing::debug!(end = outcome.end.word(), turns = outcome.turns, "the run has ended");
        self.events.send(AgentEvent::End { outcome: Box::new(outcome.clone()) });
        outcome
    }
}

impl From<Stopped> for RunEnd {
    fn from(stopped: Stopped) -> RunEnd {
        match stopped {
            Stopped::Cancelled => RunEnd::Cancelled,
            Stopped::WallTime(breach) => RunEnd::Budget { breach },
        }
    }
}

/// The account of a run: the agent's own budget, drawn from the caller's where there is one.
fn account(agent: &Agent, above: Option<&Arc<Account>>) -> Arc<Account> {
    let budget = &agent.file.front_matter().limits.budget;
    let own = budget.applied_to(Limits::UNLIMITED);
    match above {
        None => Account::root(Limits::default().min(&own)),
        Some(above) => {
            let depth = above.limits().get(Meter::ToolDepth);
            let account = above.child(own.with(Meter::ToolDepth, depth));
            account.peak(Meter::ToolDepth, above.used(Meter::ToolDepth));
            account
        }
    }
}

/// The tool calls of a message, each with an id: a provider may have given none.
fn tool_calls(message: &mut Message, turn: u32) -> Vec<Part> {
    let calls = message.parts.iter_mut().filter(|part| part.kind == "tool-call");
    calls
        .enumerate()
        .map(|(index, part)| {
            if part.id.as_deref().is_none_or(str::is_empty) {
                part.id = Some(format!("call-{turn}-{}", index + 1));
            }
            part.clone()
        })
        .collect()
}

fn too_long(tokens: u64, window: u64) -> RunEnd {
    let message = format!(
        "the prompt, the task and the newest exchange take about {tokens} tokens, and the model \
         may be sent {window}: raise `context-tokens`, or lower `tool-result-bytes` or \
         `max-output-tokens` in the limits of the agent file"
    );
    RunEnd::Failed { error: ToolError::new("too-large", message) }
}
