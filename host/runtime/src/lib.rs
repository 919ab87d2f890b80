//! Ampoule: a host for sealed WebAssembly plugins, for the tools of AI agents.
//!
//! A plugin is one file. It reaches nothing that was not granted, each call runs in a fresh
//! instance under fuel, memory, time and byte limits, and each call comes back with a receipt.
//!
//! ```no_run
//! use ampoule::{Call, End, Host};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::builder().plugins("target/plugins").build().await?;
//! let call = Call::new("json-filter", r#"{"input": {"a": 1, "b": 2}, "fields": ["a"]}"#);
//! let outcome = host.call(call).await;
//! if let End::Value(output) = outcome.end {
//!     println!("{:?} for {} fuel", output.value, outcome.receipt.used.get(ampoule::Meter::Fuel));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Life of a call
//!
//! 1. The tool is found in the registry, a snapshot that [`Host::reload`] replaces whole.
//! 2. The arguments are bounded, parsed and validated against the tool's schema.
//! 3. The call waits for a place, unbilled, and gets a budget: its own limits, and no more fuel
//!    than its caller or run has left.
//! 4. A fresh instance is made and entered. Every import asks the grants, then the limits,
//!    then works; its price is charged in the unit of instructions.
//! 5. The end is read: see [`End`]. A value is bounded, validated and its writes are kept; a
//!    failed call leaves nothing.
//! 6. The instance is gone (its memory is reset at once, or by [`clean_up`]); the [`Receipt`] says what
//!    was used.
//!
//! # Where things are
//!
//! What a plugin asks for is its [`manifest`]; what the operator allows is [`config`], and for whom
//! [`principals`]; what was accepted is [`lock`]ed; the network is [`egress`]. An embedder can bring
//! its own [`Secrets`], [`Ask`], [`Audit`], models and tools.

mod admit;
mod approval;
mod audit;
mod binary;
#[allow(missing_docs, unreachable_pub, unused_mut, unused_variables, reason = "generated")]
mod bindings;
mod cache;
mod call;
pub mod config;
mod digest;
mod discover;
pub mod egress;
mod engine;
mod error;
mod files;
mod function;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod grants;
mod host;
mod idle;
#[allow(unreachable_pub, reason = "the generated bindings re-export the types of resources")]
mod imports;
pub mod learn;
mod limits;
pub mod lock;
pub mod manifest;
mod model;
mod observe;
pub mod package;
mod plugin;
mod preinit;
pub mod principals;
#[cfg(test)]
mod properties;
mod rate;
mod reach;
mod reflect;
mod registry;
mod replay;
mod scan;
mod schema;
mod secrets;
mod sessions;
mod state;
mod teardown;
mod worker;
mod workspace;

pub use ampoule_contract::{
    Account, Answer, Arguments, Ask, AskNobody, Audit, AuditError, AuditEvent, AuditKind, Blob,
    Blobs, Block, Breach, CallContext, CallEvent, Denial, Effects, End, EventSink, Example, Limits,
    Message, Meter, Model, ModelEvent, ModelInfo, ModelRequest, ModelResponse, ModelStream,
    ModelTool, Outcome, Output, Part, Problem, Question, Receipt, Redact, RunState, Signal,
    TokenUsage, ToolCall as Call, ToolDefinition, ToolError, ToolKind, ToolPattern, Tools, Usage,
    json,
};
pub use config::Config;
pub use error::HostError;
pub use function::FunctionTool;
pub use host::{BindingInfo, Catalogs, Host, HostBuilder, user_cache};
pub use lock::Lock;
pub use manifest::Manifest;
pub use observe::Use;
pub use rate::Rate;
pub use reach::Reach;
pub use replay::{Recorded, Recording, ReplayError, Replayed};
pub use scan::{MIN_SECRET_BYTES, RunSecrets};
pub use secrets::{ConfiguredSecrets, Secrets};
pub use teardown::clean_up;
pub use worker::{CompileLimits, compile_worker};
