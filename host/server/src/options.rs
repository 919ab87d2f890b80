//! What is served, for whom and within which bounds.

use std::path::PathBuf;
use std::sync::Arc;

use ampoule_contract::Account;
use tokio_util::sync::CancellationToken;

/// What is served, for whom and within which bounds.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The directory that the `files` capability of the called tools reaches. Default: none.
    pub workspace: Option<PathBuf>,
    /// For whom the calls are made, by a name the embedder chose. Default: nobody in particular.
    pub principal: Option<String>,
    /// The account all calls of the client draw from together. Default: none, so each call has
    /// the host's budget for a single call.
    pub budget: Option<Arc<Account>>,
    /// Which tools are served: patterns of their ids, in which `*` stands for any run of
    /// characters but `/`; `binding` alone also stands for each tool of that binding. Default:
    /// `*`, all. An empty list serves none.
    pub tools: Vec<String>,
    /// The longest message a client may send, in bytes. Default: 32 MiB, twice what the arguments
    /// of a call may have where nobody has set another limit.
    pub max_message_bytes: usize,
    /// Ends the server and drops all its calls at once when it is cancelled. Default: never.
    pub shutdown: CancellationToken,
}

impl Default for ServeOptions {
    fn default() -> Self {
        ServeOptions {
            workspace: None,
            principal: None,
            budget: None,
            tools: vec!["*".to_owned()],
            max_message_bytes: 32 << 20,
            shutdown: CancellationToken::new(),
        }
    }
}
