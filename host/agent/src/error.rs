//! What can be wrong with an agent before it runs.

use std::path::PathBuf;

use ampoule_contract::Problem;

/// Why an agent file is not valid, or why an agent cannot start. Nothing has been asked or called.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The file cannot be read.
    #[error("cannot read the agent file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is larger than [`AgentFile::MAX_BYTES`](crate::AgentFile::MAX_BYTES).
    #[error("the agent file is larger than {} bytes", crate::AgentFile::MAX_BYTES)]
    TooLarge,
    /// The file does not begin with front matter.
    #[error(
        "line 1: an agent file begins with a line `---`, its settings in YAML, and `---` again"
    )]
    NoFrontMatter,
    /// The front matter does not end.
    #[error("the front matter has no end: write a line `---` before the prompt")]
    Unclosed,
    /// The front matter is not YAML, or not what an agent file may hold. Says line and column
    /// where the place is known.
    #[error("the front matter is not valid: {0}")]
    FrontMatter(#[from] serde_norway::Error),
    /// An input is not declared properly.
    #[error("the input `{name}` is not valid: {message}")]
    InputSchema {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The prompt is not a valid template, or cannot be rendered.
    #[error("line {line}: the prompt {message}")]
    Prompt {
        /// The line of the agent file.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The inputs given to a run are not those that the agent declares.
    #[error("the inputs do not fit the agent: {0}")]
    Inputs(Problem),
    /// There is no task.
    #[error("the task is empty: say what the agent should do")]
    NoTask,
    /// An entry of `tools` matches nothing.
    #[error("`{entry}` in `tools` matches no tool; there are: {}", list(known))]
    NoSuchTool {
        /// The entry.
        entry: String,
        /// The ids of all tools there are.
        known: Vec<String>,
    },
    /// A tool cannot be offered to a model under its name.
    #[error("the tool `{tool}` cannot be offered to a model: {message}")]
    ToolName {
        /// The id of the tool.
        tool: String,
        /// Why not.
        message: String,
    },
}

/// Names in one line; `none` where there are none.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}
