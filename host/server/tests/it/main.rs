//! The server, driven by rmcp's client and by hand: over a pipe in memory, and over HTTP on loopback.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod ask;
mod harness;
mod http;
mod lines;
mod list;
mod live;
mod oauth;
mod results;
