//! Tests of reflection, on components that are made for them.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod docs;
mod exports;
mod fixture;
mod guest;
mod random;
mod values;
