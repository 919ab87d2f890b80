//! What can go wrong with a journal.

use std::path::PathBuf;

/// Why a journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be used.
    #[error("the journal {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else than a journal of this version.
    #[error("the journal {}: {message}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// SQLite cannot read or write it.
    #[error("the journal cannot be read or written: {0}")]
    Store(#[from] rusqlite::Error),
    /// A line cannot be read.
    #[error("line {line} of the journal cannot be read: {message}; verify the journal")]
    Line {
        /// Its number.
        line: i64,
        /// Why.
        message: String,
    },
    /// An event cannot be written as JSON.
    #[error("an event cannot be written: {0}")]
    Event(String),
    /// Somebody changed the file while it was being written.
    #[error("line {0} of the journal was changed or removed while this process wrote to it")]
    Changed(u64),
    /// An earlier write failed, or the thread that writes is gone.
    #[error("{0}")]
    Failed(String),
}
