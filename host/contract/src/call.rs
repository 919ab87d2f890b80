//! A call and how it ended.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::ask::Ask;
use crate::blob::Blobs;
use crate::json;
use crate::limits::{Account, Breach};
use crate::receipt::Receipt;
use crate::run_state::RunState;

/// A request to run a tool.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's id, `binding` or `binding/name`, or its name for models, `binding__name`.
    pub tool: String,
    /// The arguments, bounded and validated before the tool sees them.
    pub arguments: Arguments,
    /// Where the call stands.
    pub context: CallContext,
}

impl ToolCall {
    /// A call of `tool` with `arguments`, a JSON text or a [`Value`], in an empty context.
    pub fn new(tool: impl Into<String>, arguments: impl Into<Arguments>) -> ToolCall {
        ToolCall { tool: tool.into(), arguments: arguments.into(), context: CallContext::default() }
    }

    /// For whom it is.
    #[must_use]
    pub fn principal(mut self, principal: impl Into<String>) -> ToolCall {
        self.context.principal = Some(principal.into());
        self
    }

    /// The directory its `files` capability reaches.
    #[must_use]
    pub fn workspace(mut self, directory: impl Into<PathBuf>) -> ToolCall {
        self.context.workspace = Some(directory.into());
        self
    }

    /// The account it draws from.
    #[must_use]
    pub fn budget(mut self, account: Arc<Account>) -> ToolCall {
        self.context.budget = Some(account);
        self
    }

    /// When it must have ended.
    #[must_use]
    pub fn deadline(mut self, at: Instant) -> ToolCall {
        self.context.deadline = Some(at);
        self
    }

    /// What stops it.
    #[must_use]
    pub fn cancel(mut self, token: CancellationToken) -> ToolCall {
        self.context.cancel = token;
        self
    }

    /// Where its events go.
    #[must_use]
    pub fn events(mut self, sink: EventSink) -> ToolCall {
        self.context.events = Some(sink);
        self
    }

    /// The session it belongs to, kept open afterwards.
    #[must_use]
    pub fn session(mut self, id: impl Into<String>) -> ToolCall {
        self.context.session = Some(Session { id: id.into(), close: false });
        self
    }

    /// The blobs it may be passed and leaves behind.
    #[must_use]
    pub fn blobs(mut self, blobs: Blobs) -> ToolCall {
        self.context.blobs = Some(blobs);
        self
    }
}

/// The arguments of a call: a JSON text. One that was made from a value brings the value along, so
/// that it need not be read again.
#[derive(Clone, Default)]
pub struct Arguments {
    text: String,
    /// What `text` is the print of.
    value: Option<Value>,
}

impl Arguments {
    /// The text, and the value that it was printed from, if there was one.
    #[must_use]
    pub fn into_parts(self) -> (String, Option<Value>) {
        (self.text, self.value)
    }
}

impl Deref for Arguments {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl From<String> for Arguments {
    fn from(text: String) -> Arguments {
        Arguments { text, value: None }
    }
}

impl From<&str> for Arguments {
    fn from(text: &str) -> Arguments {
        text.to_owned().into()
    }
}

impl From<Value> for Arguments {
    fn from(value: Value) -> Arguments {
        Arguments { text: json::print(&value), value: Some(value) }
    }
}

impl From<&Value> for Arguments {
    fn from(value: &Value) -> Arguments {
        value.clone().into()
    }
}

/// Where a call stands: for whom, in which run, from which budget, until when.
///
/// Everything absent means less: no workspace, no principal, the host's default budget.
#[derive(Clone, Default)]
pub struct CallContext {
    /// Who is asking, by a name the embedder chose.
    pub principal: Option<String>,
    /// The run it belongs to.
    pub run: Option<String>,
    /// The id of the call that makes it, for the audit. Absent: it comes from outside.
    pub parent: Option<String>,
    /// The directory that the `files` capability reaches. Absent: none.
    pub workspace: Option<PathBuf>,
    /// The account the call draws from. Absent: the host's default for a single call.
    pub budget: Option<Arc<Account>>,
    /// When it must have ended, beside its own limit.
    pub deadline: Option<Instant>,
    /// Stops the call.
    pub cancel: CancellationToken,
    /// Where progress, blocks and log lines go while it runs. Absent: nowhere.
    pub events: Option<EventSink>,
    /// The language of the person behind it, BCP 47.
    pub locale: Option<String>,
    /// The blobs it may be passed and leaves behind. Absent: blobs live for the call only, and
    /// those its blocks return are read into them.
    pub blobs: Option<Blobs>,
    /// The only tools it may reach through the `tools` capability, by id, beside the plugin's own
    /// grants. Absent: the grants alone decide.
    pub tools: Option<Arc<[String]>>,
    /// The session it belongs to, where the plugin keeps its state between calls. Absent: the call
    /// meets a fresh instance, which goes with it.
    pub session: Option<Session>,
    /// Who is asked what its tools want to know of a person. Absent: whom the host asks.
    pub ask: Option<Arc<dyn Ask>>,
    /// What the host knows of the secrets that the run has used, to take them out of whatever
    /// leaves one of its calls. Absent: only the call and those it makes share it.
    pub state: Option<RunState>,
}

/// Calls that share an instance: those of one principal to one binding, under one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Letters, digits, `-`, `_`, `.` and `:`, at most 128; chosen by the caller.
    pub id: String,
    /// Whether it ends with this call.
    pub close: bool,
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("principal", &self.principal)
            .field("run", &self.run)
            .field("workspace", &self.workspace)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Receives what a call says while it runs, and answers whether it should go on.
///
/// It is called on the call's own task: it must not block.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(CallEvent) -> Signal + Send + Sync>);

impl EventSink {
    /// A sink that calls `f` for each event.
    pub fn new(f: impl Fn(CallEvent) -> Signal + Send + Sync + 'static) -> EventSink {
        EventSink(Arc::new(f))
    }

    /// Hands over an event.
    pub fn send(&self, event: CallEvent) -> Signal {
        (self.0)(event)
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}

/// Whether the guest should go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Go on.
    #[default]
    Proceed,
    /// Finish soon with what there is.
    Stop,
}

/// Something a call said while it ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum CallEvent {
    /// How far it is.
    Progress {
        /// Done so far, in the plugin's unit.
        done: f64,
        /// Out of how much.
        total: Option<f64>,
        /// In words.
        message: Option<String>,
    },
    /// A piece of content, before the end.
    Block {
        /// The content.
        block: Block,
    },
    /// A line for the operator.
    Log {
        /// `trace`, `debug`, `info`, `warn` or `error`; `stdout` and `stderr` for what a
        /// language runtime prints.
        level: &'static str,
        /// The line.
        message: String,
        /// Structured details.
        fields: Option<Value>,
    },
}

/// A result with its receipt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it used.
    pub receipt: Receipt,
}

/// How a call ended. Decide by matching, never by reading text.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// With a value.
    Value(Output),
    /// With the tool's own error.
    Failed(ToolError),
    /// Before it began: the arguments are too large, malformed, or not what the schema asks for.
    BadArguments(Problem),
    /// The tool answered something its output schema does not allow.
    BadOutput(Problem),
    /// The plugin cannot do without something that was not granted, and came to need it; or there
    /// is no such tool.
    Denied(Denial),
    /// By a limit.
    Limit(Breach),
    /// By a fault of the guest: a trap, a panic, an exit.
    Trap(String),
    /// From outside.
    Cancelled,
    /// Before it began: too much is running already. Try again later.
    Overloaded(String),
    /// Waiting for a person; run it again with the answer.
    Suspended(String),
    /// By a fault of the host. The text is for the operator.
    Fault(String),
}

impl End {
    /// One word for it, as receipts and exit codes use it.
    pub const fn word(&self) -> &'static str {
        match self {
            End::Value(_) => "value",
            End::Failed(_) => "failed",
            End::BadArguments(_) => "bad-arguments",
            End::BadOutput(_) => "bad-output",
            End::Denied(_) => "denied",
            End::Limit(_) => "limit",
            End::Trap(_) => "trap",
            End::Cancelled => "cancelled",
            End::Overloaded(_) => "overloaded",
            End::Suspended(_) => "suspended",
            End::Fault(_) => "fault",
        }
    }

    /// The value, or the same end as an error a caller (a model, another plugin) can act on.
    ///
    /// # Errors
    /// Every end but a value, with the code the contract's list has for it.
    pub fn into_result(self) -> Result<Output, ToolError> {
        Err(match self {
            End::Value(output) => return Ok(output),
            End::Failed(error) => error,
            End::BadArguments(problem) => {
                let data = problem.path.as_ref().map(|path| serde_json::json!({ "path": path }));
                ToolError { data, ..ToolError::new("bad-arguments", problem.to_string()) }
            }
            End::BadOutput(problem) => ToolError {
                log: Some(problem.to_string()),
                ..ToolError::new("invalid-data", "the tool's answer does not fit its own schema")
            },
            End::Denied(denial) => denial.into(),
            End::Limit(breach) => ToolError {
                data: Some(serde_json::json!({ "limit": breach.meter.name() })),
                ..ToolError::new("limit", breach.to_string())
            },
            End::Trap(text) => ToolError {
                log: Some(text),
                ..ToolError::new("internal", "the tool broke down; nothing it did was kept")
            },
            End::Cancelled => ToolError::new("cancelled", "the call was cancelled"),
            End::Overloaded(text) => {
                ToolError { retryable: true, ..ToolError::new("rate-limited", text) }
            }
            End::Suspended(text) => ToolError::new("unavailable", text),
            End::Fault(text) => ToolError {
                log: Some(text),
                ..ToolError::new("internal", "the host could not run the tool")
            },
        })
    }
}

/// What a tool answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// The value its output schema describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Content beside the value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// Whether something was left out because it was too large.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The argument `cursor` with which to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

impl Output {
    /// An output that is just a value.
    pub fn value(value: Value) -> Output {
        Output { value: Some(value), ..Output::default() }
    }
}

/// One piece of content: text, a picture, a link. `kind` is from the contract's open list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Block {
    /// What it is.
    pub kind: String,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Content as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Content as bytes. A blob that a tool returned has been read into it where it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<u8>>,
    /// Content as a blob's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
    /// Where it is to be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// Why something could not be done; the contract's `error`, with its open list of codes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ToolError {
    /// From the open list.
    pub code: String,
    /// For the caller, who may be a model.
    pub message: String,
    /// For the operator's log; never shown to a model.
    #[serde(skip_serializing)]
    pub log: Option<String>,
    /// Whether the same call may succeed later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    /// When to try again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Details a program can act on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl ToolError {
    /// An error with a code and a message, not to be retried.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> ToolError {
        ToolError { code: code.into(), message: message.into(), ..ToolError::default() }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ToolError {}

/// What is wrong with arguments or an output, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Where, as a JSON Pointer (RFC 6901); absent where the text is not JSON at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_deref() {
            None | Some("") => f.write_str(&self.message),
            Some(path) => write!(f, "at {path}: {}", self.message),
        }
    }
}

/// Something that was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Denial {
    /// The gate that refused: `manifest`, `grant`, `address`, `tools`, `files` ….
    pub gate: &'static str,
    /// What was refused, in words.
    pub message: String,
    /// The lines of `ampoule.toml` that would allow it, where the operator could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<String>,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (refused by: {})", self.message, self.gate)
    }
}

impl std::error::Error for Denial {}

impl From<Denial> for ToolError {
    fn from(denial: Denial) -> ToolError {
        let data = serde_json::json!({ "gate": denial.gate, "allow": denial.allow });
        ToolError { data: Some(data), ..ToolError::new("denied", denial.message) }
    }
}
