//! The tests of the whole, a module a subject.

#![allow(clippy::unwrap_used, reason = "tests: a surprise should stop the test")]

mod approval;
mod audit;
mod budget;
mod calls;
mod catalog;
mod clients;
mod code;
mod command;
mod egress;
mod floods;
mod foreign;
mod hostile;
mod isolation;
mod learn;
mod mcp;
mod mcp_client;
mod meters;
mod models;
mod oauth;
mod openapi;
mod plugins;
mod principals;
mod reload;
mod replay;
mod resources;
mod secrets;
mod sessions;
mod sign;
