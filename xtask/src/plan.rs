//! Steps that say what they are doing.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::project::Project;
use crate::stamp::Stamp;

/// How many steps that need not be done are named; of more, only the number is told.
const NAMED: usize = 8;

/// Something to be done, unless its stamp says that it was.
pub(crate) struct Step {
    /// What it makes: `Python guest`.
    pub(crate) name: String,
    /// By what: `componentize-py 0.25.1`.
    pub(crate) how: String,
    /// When it need not be done.
    pub(crate) stamp: Stamp,
    /// Whether the work shows its own progress, line by line.
    pub(crate) talks: bool,
    /// What it may be done beside; nothing, where other steps stand on it.
    pub(crate) lane: Option<Lane>,
    /// The work.
    pub(crate) work: Box<dyn FnOnce() -> Result<()> + Send>,
}

/// One of two rows of components that are made at the same time, each in a target folder of its
/// own: the last crate of each keeps one core busy, and for long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// In cargo's target folder.
    First,
    /// In a second one.
    Second,
}

impl Lane {
    /// The lane of a component. By its name, so that it finds there what it was built of before.
    pub(crate) fn of(name: &str) -> Lane {
        if name < "j" { Lane::First } else { Lane::Second }
    }
}

/// Steps in order. What is fresh already does not get in.
pub(crate) struct Plan {
    steps: Vec<Step>,
    fresh: Vec<String>,
    /// Keeps a second `cargo xtask` from doing the same at the same time.
    _lock: File,
}

impl Plan {
    /// An empty plan; waits until no other `cargo xtask` has one.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn new(project: &Project) -> Result<Plan> {
        let path = project.made("xtask.lock");
        let lock = File::create(&path).with_context(|| path.display().to_string())?;
        if lock.try_lock().is_err() {
            eprintln!("Waiting for another `cargo xtask` to end");
            lock.lock()?;
        }
        Ok(Plan { steps: Vec::new(), fresh: Vec::new(), _lock: lock })
    }

    /// Adds a step, once.
    pub(crate) fn add(&mut self, step: Step) {
        if self.fresh.contains(&step.name) || self.steps.iter().any(|s| s.name == step.name) {
            return;
        }
        if step.stamp.is_fresh() {
            self.fresh.push(step.name);
        } else {
            self.steps.push(step);
        }
    }

    /// Does what has to be done: first what stands in no lane, then the lanes.
    ///
    /// # Errors
    /// The first step that fails, with its name.
    pub(crate) fn run(self) -> Result<()> {
        match self.fresh.len() {
            0 => {}
            1..=NAMED => eprintln!("Up to date: {}", self.fresh.join(", ")),
            count => eprintln!("Up to date: {count} of {} steps", count + self.steps.len()),
        }
        let total = self.steps.len();
        let (first, rest): (Vec<_>, Vec<_>) =
            self.steps.into_iter().partition(|step| step.lane.is_none());
        for (done, step) in first.into_iter().enumerate() {
            let title = format!("[{}/{total}] {}: {}", done + 1, step.name, step.how);
            perform(&title, step.talks, step.work)
                .and_then(|()| step.stamp.write())
                .with_context(|| step.name)?;
        }
        let done = AtomicUsize::new(total - rest.len());
        let failed = AtomicBool::new(false);
        let (one, other): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|step| step.lane == Some(Lane::First));
        let run = |steps: Vec<Step>| {
            for step in steps {
                if failed.load(Ordering::Relaxed) {
                    break;
                }
                let start = Instant::now();
                let result = (step.work)().and_then(|()| step.stamp.write());
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                let title = format!("[{done}/{total}] {}: {}", step.name, step.how);
                let end = ended(start.elapsed(), result.is_ok());
                eprintln!("{} … {end}", bold(&title));
                result.with_context(|| step.name).inspect_err(|_| {
                    failed.store(true, Ordering::Relaxed);
                })?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let beside = scope.spawn(|| run(other));
            run(one).and(beside.join().expect("the other lane"))
        })
    }
}

/// Does one piece of work under a title, and says how long it took.
///
/// # Errors
/// The work's.
pub(crate) fn perform<T>(title: &str, talks: bool, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if talks {
        eprintln!("{}", bold(title));
    } else {
        eprint!("{} … ", bold(title));
        io::stderr().flush()?;
    }
    let start = Instant::now();
    let result = work();
    let end = ended(start.elapsed(), result.is_ok());
    match (talks, result.is_ok()) {
        (true, true) => eprintln!("      done in {end}"),
        _ => eprintln!("{end}"),
    }
    result
}

fn ended(time: Duration, well: bool) -> String {
    match well {
        true => took(time),
        false => format!("failed after {}", took(time)),
    }
}

/// A time as a person reads it: `0.3 s`, `12 s`, `4 min 3 s`.
pub(crate) fn took(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Rows as a table with aligned columns, the first row as its head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        if i == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
            text.push_str(&rules.join("  "));
            text.push('\n');
        }
    }
    text
}

fn bold(text: &str) -> String {
    match io::stderr().is_terminal() {
        true => format!("\x1b[1m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_tables_read_well() {
        assert_eq!(took(Duration::from_millis(340)), "0.3 s");
        assert_eq!(took(Duration::from_millis(12_900)), "12 s");
        assert_eq!(took(Duration::from_secs(243)), "4 min 3 s");
        let cell = |text: &str| text.to_owned();
        assert_eq!(
            table(&[vec![cell("part"), cell("time")], vec![cell("é"), cell("1 s")]]),
            "part  time\n────  ────\né     1 s\n"
        );
    }
}
