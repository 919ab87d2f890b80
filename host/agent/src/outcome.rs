//! How a run ended, and with what.

use ampoule_contract::{Breach, Receipt, ToolError, Usage};
use serde::Serialize;

/// What a run comes back with, whatever its end.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunOutcome {
    /// How it ended.
    #[serde(flatten)]
    pub end: RunEnd,
    /// The answer; where there is none, the last text of the model, which may be a part of one or
    /// empty.
    pub text: String,
    /// Why the model's last message ended: `stop`, `length`, `content-filter`, …. An answer that
    /// ended with `length` is not whole.
    pub finish: String,
    /// Exchanges with the model.
    pub turns: u32,
    /// The tool calls the model asked for, in call order.
    pub tool_calls: Vec<CallRecord>,
    /// Tokens of all exchanges.
    pub tokens: Tokens,
    /// What the run and everything below it used.
    pub used: Usage,
    /// The model that answered last, by the provider's name.
    pub model: String,
    /// The label of a model that is not a real one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<&'static str>,
}

/// How a run ended.
///
/// As JSON: the key `end` with the variant's name in kebab case, and `breach` or `error` beside it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum RunEnd {
    /// The model answered.
    Answer,
    /// After `max-turns` exchanges the model still asked for tools. It was asked once more, with
    /// tools forbidden; the text is what it said then.
    MaxTurns,
    /// The model asked for more than `max-tool-calls`. The calls beyond were refused and it was
    /// asked once more, with tools forbidden; the text is what it said then.
    MaxToolCalls,
    /// The budget is used up.
    Budget {
        /// Which limit was met.
        breach: Breach,
    },
    /// The caller cancelled the run.
    Cancelled,
    /// The model cannot be asked any further.
    Failed {
        /// Why: the model's own error, or `too-large` where the conversation or the model's answer
        /// exceeds what is allowed.
        error: ToolError,
    },
}

impl RunEnd {
    /// One word for it, as it stands in JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            RunEnd::Answer => "answer",
            RunEnd::MaxTurns => "max-turns",
            RunEnd::MaxToolCalls => "max-tool-calls",
            RunEnd::Budget { .. } => "budget",
            RunEnd::Cancelled => "cancelled",
            RunEnd::Failed { .. } => "failed",
        }
    }
}

/// A tool call the model asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallRecord {
    /// The turn it belongs to, from 1.
    pub turn: u32,
    /// Its id in the conversation.
    pub id: String,
    /// What it used, and how it ended. A call that was refused before it reached a tool has used
    /// nothing.
    pub receipt: Receipt,
}

/// Tokens that a model read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Read.
    pub input: u64,
    /// Written, thinking included.
    pub output: u64,
    /// Whether some of it is an estimate, since the provider did not say.
    pub estimated: bool,
}

impl Tokens {
    /// Both together.
    pub const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    pub(crate) fn add(&mut self, other: Tokens) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.estimated |= other.estimated;
    }
}
