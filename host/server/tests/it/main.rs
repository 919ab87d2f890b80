//! The server, driven by rmcp's client and by raw lines over a pipe in memory.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;
mod lines;
mod list;
mod live;
mod results;
