//! What can go wrong before there is a call: configuration, files, plugins that are refused.

use std::path::{Path, PathBuf};

/// Why a host, a plugin or a file of configuration could not be used.
///
/// Ends of calls are not errors: see [`End`](ampoule_contract::End).
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of configuration is malformed. Nothing of it was used.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where it is known.
        message: String,
    },
    /// A plugin's file was refused.
    #[error("plugin {}: {message}", path.display())]
    Plugin {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The engine could not be made.
    #[error("the WebAssembly engine could not be started: {0}")]
    Engine(String),
}

impl HostError {
    pub(crate) fn config(path: impl Into<PathBuf>, message: impl ToString) -> HostError {
        HostError::Config { path: path.into(), message: message.to_string() }
    }

    pub(crate) fn plugin(path: impl Into<PathBuf>, message: impl ToString) -> HostError {
        HostError::Plugin { path: path.into(), message: message.to_string() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> HostError {
        let path = path.to_owned();
        move |source| HostError::Io { path, source }
    }

    pub(crate) fn engine(error: &wasmtime::Error) -> HostError {
        HostError::Engine(format!("{error:#}"))
    }
}
