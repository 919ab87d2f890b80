//! What a run says while it goes on.

use std::fmt;
use std::sync::Arc;

use ampoule_contract::{CallEvent, Output, Receipt, ToolError};
use serde::Serialize;
use serde_json::Value;

use crate::outcome::RunOutcome;

/// Receives the events of a run, in the order in which they happen.
///
/// It is called on the run's own tasks: it must not block. Hand events to a channel where work is
/// to be done for them:
///
/// ```
/// use ampoule_agent::AgentEvents;
///
/// let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
/// let events = AgentEvents::new(move |event| {
///     // The run goes on when nobody listens any more.
///     let _ = sender.send(event);
/// });
/// # drop((events, receiver));
/// ```
#[derive(Clone, Default)]
pub struct AgentEvents(Option<Arc<dyn Fn(AgentEvent) + Send + Sync>>);

impl AgentEvents {
    /// Calls `f` for each event. The default calls nothing.
    pub fn new(f: impl Fn(AgentEvent) + Send + Sync + 'static) -> AgentEvents {
        AgentEvents(Some(Arc::new(f)))
    }

    /// Hands over an event.
    pub(crate) fn send(&self, event: AgentEvent) {
        if let Some(f) = &self.0 {
            f(event);
        }
    }
}

impl fmt::Debug for AgentEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentEvents")
    }
}

/// Something that happened in a run. Turns count from 1.
///
/// As JSON it has the key `kind` with the variant's name, and the keys of the variant, all in kebab
/// case. What is absent has no key. An error's `log` is never in it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum AgentEvent {
    /// The run begins: the first event.
    Start {
        /// The agent's name.
        agent: String,
        /// Digest of the agent file, `sha256:…`.
        digest: String,
        /// The model, as the agent file names it.
        model: String,
        /// The label of a model that is not a real one.
        #[serde(skip_serializing_if = "Option::is_none")]
        stand_in: Option<&'static str>,
        /// The tools it may use, as they are during the whole run.
        tools: Vec<ToolVersion>,
    },
    /// More of the model's text.
    Content {
        /// The turn.
        turn: u32,
        /// A fragment.
        text: String,
        /// The label of a model that is not a real one.
        #[serde(skip_serializing_if = "Option::is_none")]
        stand_in: Option<&'static str>,
    },
    /// More of the model's thoughts.
    Thinking {
        /// The turn.
        turn: u32,
        /// A fragment.
        text: String,
    },
    /// The model asks for a tool.
    ToolCall {
        /// The turn.
        turn: u32,
        /// The id of the call.
        id: String,
        /// The tool's id; the name the model wrote, where there is no such tool.
        tool: String,
        /// The arguments, as the model wrote them.
        arguments: Value,
    },
    /// A tool call has ended, or was refused. They come as they end, not in call order.
    ToolResult {
        /// The turn.
        turn: u32,
        /// The id of the call.
        id: String,
        /// As in `tool-call`.
        tool: String,
        /// What the tool answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Output>,
        /// What went wrong instead.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<ToolError>,
        /// What it used, and how it ended.
        receipt: Box<Receipt>,
    },
    /// A tool says something while it runs.
    Progress {
        /// The turn.
        turn: u32,
        /// The id of the call.
        id: String,
        /// The tool's id.
        tool: String,
        /// What it says.
        event: CallEvent,
    },
    /// An exchange with the model has ended.
    Usage {
        /// The turn.
        turn: u32,
        /// Tokens read.
        input_tokens: u64,
        /// Tokens written.
        output_tokens: u64,
        /// Whether the numbers are estimates, since the provider gave none.
        estimated: bool,
        /// Tokens left in the budget.
        left: u64,
    },
    /// The model failed and will be asked again. What the turn has said so far is void.
    Retry {
        /// The turn.
        turn: u32,
        /// Which retry it is, from 1.
        attempt: u32,
        /// How many there may be.
        of: u32,
        /// What went wrong.
        error: ToolError,
        /// How long the run waits first, in milliseconds.
        wait_ms: u64,
    },
    /// The oldest exchanges no longer fit the model's context window and are left out from now on.
    Trim {
        /// The turn.
        turn: u32,
        /// How many exchanges, since the last such event.
        exchanges: usize,
    },
    /// The run has ended: the last event.
    End {
        /// How, and with what.
        #[serde(flatten)]
        outcome: Box<RunOutcome>,
    },
}

/// A tool as a run knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolVersion {
    /// Its id.
    pub id: String,
    /// Digest of the plugin's file, `sha256:…`; empty for what is not a plugin.
    pub digest: String,
}
