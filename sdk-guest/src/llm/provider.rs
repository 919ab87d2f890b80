//! For connectors to providers over HTTP: what the protocols of providers have in common.
//!
//! With the feature `llm-provider`. A connector reads the [`Options`] of a request and its media
//! ([`MediaReader`]), [`send`]s a request in its provider's own shape, and reads the [`Answer`]
//! with an [`Assemble`] that knows the shape of its events. Sizes are bounded on the way, and
//! errors come in the contract's codes.

mod answer;
mod media;
mod options;

pub use answer::{
    API_KEY, Answer, Assemble, Budget, broken_off, events, malformed_call, parse, reported, send,
    tool_call,
};
pub use media::{Media, MediaReader};
pub use options::{Options, Thinking, merge};
