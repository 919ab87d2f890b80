//! The tests of the whole, a module a subject.

#![allow(clippy::unwrap_used, reason = "tests: a surprise should stop the test")]

mod budget;
mod calls;
mod command;
mod foreign;
mod hostile;
mod isolation;
mod meters;
mod models;
mod plugins;
mod replay;
