//! In a process of its own, whose memory and files it watches.

#![allow(clippy::unwrap_used, reason = "tests: a surprise should stop the test")]
#![allow(clippy::print_stdout, reason = "the figures are half of what a soak is for")]

mod soak;
