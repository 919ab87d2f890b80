//! Why serving ended where it should not have.

use rmcp::service::ServerInitializeError;

/// Why a client could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An entry of [`ServeOptions::tools`](crate::ServeOptions::tools) is no pattern.
    #[error("{0}")]
    Pattern(String),
    /// The client could not be answered at the start.
    #[error("the client could not be served: {0}")]
    Start(#[source] Box<ServerInitializeError>),
    /// The server itself broke down.
    #[error("the server broke down")]
    Broken(#[from] tokio::task::JoinError),
}
