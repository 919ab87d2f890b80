//! Questions to the person behind a call. The embedder decides how they are asked, for a host or for one
//! call.

use serde_json::Value;

use crate::call::CallContext;

/// A question of a guest, or of the host about a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The tool that asks.
    pub tool: String,
    /// `text`, `choice`, `confirm` or `form`; open. [`Question::APPROVAL`] is the host's own.
    pub kind: String,
    /// The question, for a person.
    pub text: String,
    /// JSON Schema of the answer.
    pub schema: Option<Value>,
    /// Anything else.
    pub meta: Option<Value>,
}

impl Question {
    /// The kind in which the host asks whether a call of the tool may begin: the text is the host's,
    /// and only `true` is a yes. No guest can ask in it. The gate that denies such a call has the same
    /// name.
    pub const APPROVAL: &'static str = "approval";
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The person answered.
    Given(Value),
    /// The person said no.
    Declined,
    /// There is nobody to ask.
    Nobody,
    /// Later: the call ends here as suspended and is run again when the answer is there.
    Later,
}

/// How questions reach a person.
#[async_trait::async_trait]
pub trait Ask: Send + Sync {
    /// Asks. The time this takes is not counted against the call's limit; it ends with the
    /// call's cancellation at the latest.
    async fn ask(&self, question: Question, context: &CallContext) -> Answer;
}

/// Asks nobody: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskNobody;

#[async_trait::async_trait]
impl Ask for AskNobody {
    async fn ask(&self, _question: Question, _context: &CallContext) -> Answer {
        Answer::Nobody
    }
}
