//! Agents: a model, its tools, and the loop between them.
//!
//! An [`AgentFile`] says what an agent is: a Markdown file of settings and a prompt. An [`Agent`]
//! is that file with the [`Model`](ampoule_contract::Model) and the
//! [`Tools`](ampoule_contract::Tools) it names; [`Agent::run`] has it do a [`Task`]. While it runs
//! it says what happens ([`AgentEvent`]); at the end there is a [`RunOutcome`], with the receipt of
//! every tool call, whatever the end was ([`RunEnd`]). An [`AgentTool`] is an agent that other
//! agents call.
//!
//! The crate knows nothing of plugins or engines: tools and models are two traits.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ampoule_agent::{Agent, AgentFile, Joined, RunEnd, Task};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let file = AgentFile::parse(
//!     "---\n\
//!      name: parrot\n\
//!      description: Says what it hears.\n\
//!      model: echo\n\
//!      ---\n\
//!      You are a parrot.",
//! )?;
//! let model = Arc::new(ampoule_services::Echo);
//! let tools = Arc::new(Joined::new(Vec::new()));
//! let outcome = Agent::new(file, model, tools).run(Task::new("Hello!")).await?;
//! assert_eq!(outcome.end, RunEnd::Answer);
//! assert_eq!(outcome.text, "Hello!");
//! assert_eq!(outcome.stand_in, Some("echo"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent_tool;
mod ask;
mod calls;
mod conversation;
mod error;
mod event;
mod feedback;
mod file;
mod front_matter;
mod inputs;
mod limits;
mod outcome;
mod prompt;
mod run;
mod scalar;
mod stop;
mod toolset;

pub use agent_tool::{AgentTool, Joined};
pub use error::AgentError;
pub use event::{AgentEvent, AgentEvents, ToolVersion};
pub use file::AgentFile;
pub use front_matter::{FrontMatter, ModelOptions, ModelRef, Thinking};
pub use limits::{AgentLimits, Budget};
pub use outcome::{CallRecord, RunEnd, RunOutcome, Tokens};
pub use run::{Agent, Task};
