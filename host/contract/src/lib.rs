//! The words every host crate shares, and the two traits by which they meet.
//!
//! The runtime implements [`Tools`] and [`Model`] for plugins; the agent, the flow engine and
//! the servers call them and never see an engine. Nothing here runs Wasm, prints or opens
//! anything.
//!
//! - [`tool`]: what can be called ([`ToolDefinition`], [`Effects`], [`Example`]).
//! - [`pattern`]: which tools are meant ([`ToolPattern`]).
//! - [`call`]: a call and how it ended ([`ToolCall`], [`Outcome`], [`End`], [`ToolError`]).
//! - [`json`]: JSON from outside, within bounds.
//! - [`limits`]: every limit there is ([`Meter`]), a call's and a run's account ([`Account`]).
//! - [`receipt`]: what a call used, against its limits ([`Receipt`]).
//! - [`ask`]: questions to the person behind a call ([`Ask`], [`Question`], [`Answer`]).
//! - [`blob`]: bytes too large for JSON ([`Blobs`]).
//! - [`audit`]: what happened, for the record ([`Audit`], [`AuditEvent`], [`Redact`]).
//! - [`oauth`]: words of OAuth 2 ([`SecureUrl`], [`Scope`]).
//! - [`model`]: talking to a language model ([`Model`], [`ModelRequest`], [`ModelEvent`]).

pub mod ask;
pub mod audit;
pub mod blob;
pub mod call;
pub mod json;
pub mod limits;
pub mod model;
pub mod oauth;
pub mod pattern;
pub mod receipt;
pub mod run_state;
pub mod tool;

pub use ask::{Answer, Ask, AskNobody, Question};
pub use audit::{Audit, AuditError, AuditEvent, AuditKind, Redact};
pub use blob::{Blob, Blobs};
pub use call::{
    Arguments, Block, CallContext, CallEvent, Denial, End, EventSink, Outcome, Output, Problem,
    Session, Signal, ToolCall, ToolError,
};
pub use limits::{Account, Breach, Limits, Meter, Unit, Usage};
pub use model::{
    Message, Model, ModelEvent, ModelInfo, ModelRequest, ModelResponse, ModelStream, ModelTool,
    Part, TokenUsage,
};
pub use oauth::{Scope, SecureUrl};
pub use pattern::ToolPattern;
pub use receipt::Receipt;
pub use run_state::RunState;
pub use tool::{Effects, Example, ToolDefinition, ToolKind};

/// Something that can list tools and call them: a host with plugins, an agent, a flow.
#[async_trait::async_trait]
pub trait Tools: Send + Sync {
    /// The tools there are now, in byte order of their ids.
    ///
    /// A snapshot: it stays as it is when the host reloads.
    fn tools(&self) -> Vec<std::sync::Arc<ToolDefinition>>;

    /// Those of them that may be called for a principal. Default: all.
    fn tools_for(&self, principal: Option<&str>) -> Vec<std::sync::Arc<ToolDefinition>> {
        let _ = principal;
        self.tools()
    }

    /// Counts how often the tools have become others. Default: they never do.
    fn changes(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        None
    }

    /// Calls a tool. Always answers, with a receipt whatever the end; dropping the future
    /// cancels the call and frees everything it held.
    async fn call(&self, call: ToolCall) -> Outcome;
}
