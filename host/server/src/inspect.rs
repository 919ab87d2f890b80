//! Watching a server at work.

use ampoule_contract::Outcome;
use serde_json::Value;

/// Sees what clients send and what their calls come to, as it happens.
///
/// Its methods are called on the way to the answer, so they should not wait. What it sees is what
/// clients wrote: nothing in it can be trusted, and arguments may be private.
pub trait Inspect: Send + Sync {
    /// A client has sent a message, a JSON-RPC request, response or notification, that is within
    /// bounds. Whether anything is done for it is not known yet.
    fn message(&self, principal: Option<&str>, message: &Value);

    /// A call of a tool has ended.
    fn ended(&self, principal: Option<&str>, outcome: &Outcome);
}
