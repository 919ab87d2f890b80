//! All tools of a host over the Model Context Protocol (MCP).
//!
//! Anything that is [`Tools`] can be served: a host with plugins, an agent, a Rust program's own
//! functions. The protocol is rmcp's, in the current revision (2026-07-28, stateless) and the
//! older ones beside it (2024-11-05 to 2025-11-25, which begin with `initialize`); the client
//! chooses.
//!
//! ```no_run
//! # async fn example(host: impl ampoule_contract::Tools + 'static) -> Result<(), ampoule_server::ServeError> {
//! use std::sync::Arc;
//!
//! let options = ampoule_server::ServeOptions {
//!     workspace: Some("work".into()),
//!     tools: vec!["json-*".into(), "files/read".into()],
//!     ..Default::default()
//! };
//! ampoule_server::serve_stdio(Arc::new(host), options).await
//! # }
//! ```
//!
//! [`serve_http`] serves many clients over streamable HTTP instead, at `/mcp`. With
//! [`Access::OAuth`] it is a resource server of OAuth 2.1, as MCP's authorization asks for: it takes
//! access tokens of one issuer, and tells clients who that is at
//! `/.well-known/oauth-protected-resource` (RFC 9728).
//!
//! # What a client sees
//!
//! - **Tools** under the names models know them by (`binding` or `binding__tool`), in byte order
//!   of these names, 250 a page, with title, description, both schemas and the four hints from
//!   the tool's effects.
//! - **A result** as text and as structured content. Revisions before 2026-07-28 take only
//!   objects there, so anything else is wrapped as `{"result": …}`, and the output schema with
//!   it. Blocks follow the value as text, images, audio, resource links and embedded resources;
//!   blocks that were handed out while the call ran come before it. What was cut short says so,
//!   with the `cursor` that goes on.
//! - **A call that failed** as a result with `isError`, never as a protocol error: a text a model
//!   can act on, and `{code, message, data}` as `ampoule/error` in `_meta`, and as structured
//!   content too where the tool has no output schema that it would break.
//! - **A receipt** as `ampoule/receipt` in `_meta`: with every result that is no value or was denied
//!   something, and with every other where the request's `_meta` has `"ampoule/receipt": true`.
//!   Without it there is the call's id, as `ampoule/call`.
//! - **Questions** of a tool to a person, where the client can show a form: as a request to the
//!   client in the older revisions; in the current one as a result that asks for input, after which
//!   the client makes the call again with the answer. The call then begins anew, so a tool should
//!   ask before it acts. What has been answered travels with the client, signed.
//! - **Prompts and resources**, where the embedder offers any.
//! - **Word of other tools**, where the embedder's tools change.
//! - **Progress** where the request carries a token, and **log lines**: in older revisions from
//!   the level set by `logging/setLevel` on (at first `info`), in the current one where the
//!   request names a level.
//!
//! A cancelled call is dropped at once and frees all it held. When the input ends or the output
//! breaks, calls under way have one more second to answer, then they are dropped too. Over HTTP a
//! call of the current revision ends with the request that made it; in older revisions it goes on,
//! and the session's client can come back for the answer.
//!
//! # What is refused
//!
//! Over a pipe:
//!
//! | input | answer |
//! | --- | --- |
//! | a line longer than [`ServeOptions::max_message_bytes`] | read past, never held; error -32600 without an id |
//! | a line that is not JSON | error -32700 without an id |
//! | JSON that is no MCP message, is nested deeper than 128 levels or is not UTF-8 | error -32600 with the request's id |
//! | a message of more than a million values | error -32600 with the request's id |
//! | a malformed notification or response; anything but a request at the start | passed over |
//! | an unknown tool, arguments that are no object, an unknown cursor | error -32602 |
//! | a `requestState` that is forged, older than ten minutes, of another principal, tool or arguments, or used before | error -32602 |
//!
//! Over HTTP, before the protocol is spoken:
//!
//! | request | answer |
//! | --- | --- |
//! | a `Host` that is not this machine, an `Origin` that is another site, where nobody has named them | 403, with the flag that would let it in |
//! | no token, or another one, where tokens are asked for | 401; with OAuth, where the metadata of this server stands |
//! | an access token that lacks a scope, or whose subject is no principal | 403 |
//! | an access token before the keys of its issuer could be had | 503 |
//! | a head of more than 32 KiB or 100 headers | 431 |
//! | a body longer than [`ServeOptions::max_message_bytes`] | 413, at the latest when that much has come |
//! | a body that does not come in time | 408 |
//! | a body that is no message, as above | 400, with the error as above |
//! | a session of another principal | 404, as one that is not there |
//! | more connections or sessions than there may be | 503 |
//! | a connection that sends no request in time, or is one of too many that have not | closed |
//!
//! None of these ends the server. What says who is asking (`Authorization`, cookies) is taken out of
//! a request before anything else sees it: no tool does.

mod ask;
mod catalog;
mod content;
mod error;
mod events;
mod http_server;
mod inspect;
mod kept;
mod message;
mod offers;
mod options;
mod outcome;
mod paging;
mod rounds;
mod server;
mod session;
mod structured;
mod trace;
mod transport;

use std::sync::Arc;

use ampoule_contract::Tools;
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use tokio::io::{AsyncRead, AsyncWrite};

pub use error::ServeError;
pub use http_server::{Access, BearerToken, Documents, HttpOptions, OAuth, serve_http};
pub use inspect::Inspect;
pub use offers::{Prompts, Resources};
pub use options::ServeOptions;
/// What prompts and resources are made of.
pub use rmcp::model;

use server::{Client, Server, Shared};
use transport::Lines;

/// Serves on standard input and output until the input ends or
/// [`shutdown`](ServeOptions::shutdown) is cancelled. Nothing else may write to standard output
/// meanwhile.
///
/// Where standard input is no pipe, a read of it stays behind after a shutdown and would keep a
/// Tokio runtime from being dropped: end the process, or use `Runtime::shutdown_background`.
///
/// # Errors
/// As [`serve`].
pub async fn serve_stdio(tools: Arc<dyn Tools>, options: ServeOptions) -> Result<(), ServeError> {
    let (input, output) = rmcp::transport::stdio_pipes();
    serve(tools, input, output, options).await
}

/// Serves one client that writes lines to `input` and reads lines from `output`, until the input
/// ends or [`shutdown`](ServeOptions::shutdown) is cancelled. Dropping the future ends it too.
///
/// # Errors
/// An entry of [`ServeOptions::tools`] is no pattern, the client cannot be answered at the start,
/// or the server itself broke down. A client that leaves is no error.
pub async fn serve<R, W>(
    tools: Arc<dyn Tools>,
    input: R,
    output: W,
    options: ServeOptions,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let inspect = options.inspect.clone().map(|inspect| (inspect, options.principal.clone()));
    let lines = Lines::new(input, output, options.max_message_bytes, inspect);
    let shutdown = options.shutdown.child_token();
    let shared = Arc::new(Shared::new(tools, &options)?);
    let client = Client { shared, principal: options.principal, gone: lines.gone() };
    let server = Server::new(Arc::new(client));
    let running = match server.serve_with_ct(lines, shutdown).await {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => {
            return Ok(());
        }
        Err(error) => return Err(ServeError::Start(Box::new(error))),
    };
    running.waiting().await?;
    Ok(())
}
