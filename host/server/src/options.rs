//! What is served, for whom and within which bounds.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ampoule_contract::Account;
use tokio_util::sync::CancellationToken;

use crate::inspect::Inspect;
use crate::offers::{Prompts, Resources};

/// What is served, for whom and within which bounds.
#[derive(Clone)]
pub struct ServeOptions {
    /// The directory that the `files` capability of the called tools reaches. Default: none.
    pub workspace: Option<PathBuf>,
    /// For whom the calls are made, by a name the embedder chose; where clients send tokens, that
    /// is said with each token instead. Default: nobody in particular.
    pub principal: Option<String>,
    /// The account all calls draw from together. Default: none, so each call has
    /// the host's budget for a single call.
    pub budget: Option<Arc<Account>>,
    /// Which tools are served: patterns of their ids, in which `*` stands for any run of
    /// characters but `/`; `binding` alone also stands for each tool of that binding. Default:
    /// `*`, all. An empty list serves none.
    pub tools: Vec<String>,
    /// The prompts that are offered. Default: none.
    pub prompts: Option<Arc<dyn Prompts>>,
    /// The resources that are offered. Default: none.
    pub resources: Option<Arc<dyn Resources>>,
    /// Who watches what clients send and what their calls come to. Default: nobody.
    pub inspect: Option<Arc<dyn Inspect>>,
    /// The longest message a client may send, in bytes. Default: 32 MiB, twice what the arguments
    /// of a call may have where nobody has set another limit.
    pub max_message_bytes: usize,
    /// Ends the server when it is cancelled: over a pipe at once, with all its calls. Default:
    /// never.
    pub shutdown: CancellationToken,
}

impl Default for ServeOptions {
    fn default() -> Self {
        ServeOptions {
            workspace: None,
            principal: None,
            budget: None,
            tools: vec!["*".to_owned()],
            prompts: None,
            resources: None,
            inspect: None,
            max_message_bytes: 32 << 20,
            shutdown: CancellationToken::new(),
        }
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions")
            .field("workspace", &self.workspace)
            .field("principal", &self.principal)
            .field("tools", &self.tools)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}
