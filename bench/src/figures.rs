//! Times, and how they are shown.

use std::time::Duration;

/// Times of many runs of one thing.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that `share` of the runs did not exceed, in microseconds.
    pub fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let at = ((self.0.len() - 1) as f64 * share).round() as usize;
        self.0[at].as_secs_f64() * 1e6
    }
}

/// One thing, bare and whole.
#[derive(Default)]
pub struct Pair {
    /// The bare engine, from the request to the result.
    pub bare_answer: Times,
    /// The bare engine, until the instance is gone.
    pub bare_cycle: Times,
    /// The whole path, from the request to the result.
    pub whole: Times,
}

/// The head of the table.
pub fn head() {
    println!(
        "{:<16} {:>18} {:>18} {:>18} {:>8}",
        "µs, p50 / p99", "bare cycle", "bare answer", "whole answer", "÷answer"
    );
}

impl Pair {
    /// Prints a line.
    pub fn show(&mut self, name: &str) {
        let (answer, whole) = (self.bare_answer.quantile(0.5), self.whole.quantile(0.5));
        let column =
            |times: &mut Times| format!("{:.1} / {:.1}", times.quantile(0.5), times.quantile(0.99));
        println!(
            "{name:<16} {:>18} {:>18} {:>18} {:>8.2}",
            column(&mut self.bare_cycle),
            column(&mut self.bare_answer),
            column(&mut self.whole),
            whole / answer
        );
    }
}
