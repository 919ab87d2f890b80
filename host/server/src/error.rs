//! Why serving ended where it should not have.

use std::io;
use std::net::SocketAddr;

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
    /// An entry of [`HttpOptions::allowed_hosts`](crate::HttpOptions::allowed_hosts).
    #[error("`{0}` is no host; one is written `mcp.example.com` or `mcp.example.com:8443`")]
    Host(String),
    /// An entry of [`HttpOptions::allowed_origins`](crate::HttpOptions::allowed_origins).
    #[error("`{0}` is no origin; one is written `https://app.example.com` or with a port")]
    Origin(String),
    /// Everybody who reaches the address would be served.
    #[error(
        "{0} can be reached from other machines, and nobody would be asked who they are: listen on \
         127.0.0.1, or ask for a bearer token"
    )]
    Open(SocketAddr),
    /// There is no key to sign with what a client keeps for the server.
    #[error("nothing can be signed: {0}")]
    Key(String),
    /// The socket cannot be used.
    #[error("nothing can be served on the socket: {0}")]
    Socket(#[from] io::Error),
}
