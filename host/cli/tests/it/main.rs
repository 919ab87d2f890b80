//! The command as its user meets it: exit code, standard output and standard error together.
//!
//! No test needs a plugin that was built elsewhere, a network or a home folder.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accept;
mod audit;
mod build;
mod call;
mod compile;
mod completions;
mod docs;
mod doctor;
mod harness;
mod inspect;
mod learn;
mod list;
mod mcp;
mod new;
mod pack;
mod plugin;
mod replay;
mod run;
mod test;
mod usage;
mod validate;
mod wit;
