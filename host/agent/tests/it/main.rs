//! Agents with scripted models and tools written in Rust.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cancel;
mod context;
mod examples;
mod files;
mod limits;
mod nested;
mod retry;
mod support;
mod turns;
