//! Tables of attacks: what was tried, which gate it met, how it ended.

use ampoule::{End, Outcome};

/// The widest that a cell is shown.
const WIDEST: usize = 64;

/// A table of attacks. It is printed when it is dropped, so also where a test fails;
/// `cargo xtask test sandbox` shows it.
#[derive(Debug)]
pub struct Table {
    title: &'static str,
    rows: Vec<[String; 4]>,
}

impl Table {
    /// An empty one.
    pub fn new(title: &'static str) -> Table {
        let head = ["row", "tried", "gate", "end"].map(str::to_owned);
        Table { title, rows: vec![head] }
    }

    /// Adds a row: its name, what was tried, the gate it met and how it ended.
    pub fn row(&mut self, row: &str, tried: &str, gate: &str, end: &str) {
        self.rows.push([row, tried, gate, end].map(shown));
    }

    /// Adds a row of what came of a call.
    pub fn call(&mut self, row: &str, tried: &str, outcome: &Outcome) {
        self.row(row, tried, &gate(outcome), &end(outcome));
    }
}

/// One line, short, without what moves a terminal.
fn shown(text: &str) -> String {
    let escaped = text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
    match escaped.chars().count() > WIDEST {
        true => escaped.chars().take(WIDEST - 1).chain(['…']).collect(),
        false => escaped,
    }
}

/// What stopped a call, or a part of it.
fn gate(outcome: &Outcome) -> String {
    let receipt = &outcome.receipt;
    let mut gates: Vec<_> = receipt.denials.iter().map(|denial| denial.gate).collect();
    gates.dedup();
    match &outcome.end {
        End::Limit(breach) => format!("limit {}", breach.meter),
        End::Trap(_) => "engine".to_owned(),
        End::BadArguments(_) => "input schema".to_owned(),
        End::BadOutput(_) => "output schema".to_owned(),
        End::Overloaded(_) => "admission".to_owned(),
        End::Denied(denial) => denial.gate.to_owned(),
        _ if !gates.is_empty() => gates.join(", "),
        End::Failed(error) => error.code.clone(),
        _ => "none".to_owned(),
    }
}

fn end(outcome: &Outcome) -> String {
    match &outcome.end {
        End::Failed(error) => format!("failed: {}", error.code),
        End::Trap(text) => format!("trap: {}", text.lines().next().unwrap_or_default()),
        End::BadArguments(problem) | End::BadOutput(problem) => {
            format!("{}: {problem}", outcome.end.word())
        }
        end => end.word().to_owned(),
    }
}

impl Drop for Table {
    #[allow(clippy::print_stdout, reason = "the table is half of what its test is for")]
    fn drop(&mut self) {
        let width = |at: usize| self.rows.iter().map(|row| row[at].chars().count()).max();
        let widths = [0, 1, 2].map(|at| width(at).unwrap_or(0));
        let mut text = format!("\n{} ({} rows)\n", self.title, self.rows.len() - 1);
        for [row, tried, gate, end] in &self.rows {
            let [first, second, third] = widths;
            let line = format!("{row:<first$}  {tried:<second$}  {gate:<third$}  {end}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        println!("{text}");
    }
}
