//! What can be wrong with a script.

use std::path::PathBuf;

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The model's name is not a path below the folder of the file that names it.
    #[error(
        "`scripted/{0}` names no script: write `scripted/` and a relative path without `..`, \
         beside or below the agent file"
    )]
    Path(String),
    /// The file cannot be read.
    #[error("cannot read the script {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The script is larger than [`Script::MAX_BYTES`](crate::Script::MAX_BYTES).
    #[error("the script is larger than {} bytes", crate::Script::MAX_BYTES)]
    TooLarge,
    /// The text is not TOML, or not what a script may hold. Says line and column.
    #[error("the script is not valid: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A turn cannot be played.
    #[error("turn {turn} of the script: {message}")]
    Turn {
        /// Which, from 1.
        turn: usize,
        /// What is wrong with it.
        message: String,
    },
    /// There is nothing to play.
    #[error("the script has no turns: write at least one `[[turns]]`")]
    Empty,
}
