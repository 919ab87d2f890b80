//! Everything that has to hold before a change goes in.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::plan::{Plan, perform, table, took};
use crate::process::{cargo, line, loud, quiet};
use crate::project::Project;
use crate::proofs::Attacks;
use crate::tools::{Tool, deny_program};
use crate::{components, guests, lint};

/// A part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Build every plugin and every guest
    Build,
    /// cargo fmt --check
    Fmt,
    /// cargo clippy, warnings refused
    Clippy,
    /// cargo test over the whole workspace
    Tests,
    /// cargo doc of every library, warnings refused
    Docs,
    /// cargo deny: licences, sources, bans; advisories where their database can be had
    Deny,
    /// The invariants: who reaches the engine, who prints and exits
    Lint,
    /// Only when it is named: the attacks of THREAT_MODEL.md, each with the gate it met; the
    /// same tests, and the tables they print
    Sandbox,
}

impl Part {
    /// What runs where no part is named. `Sandbox` is a part of `Tests`.
    const ALL: &'static [Part] =
        &[Part::Build, Part::Fmt, Part::Clippy, Part::Tests, Part::Docs, Part::Deny, Part::Lint];

    /// The name on the command line.
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// How a part went: a remark, or why it failed.
type Verdict = Result<String>;

/// Runs the parts, all where none is named, and sums them up. `arguments` go to `cargo test`.
///
/// # Errors
/// When a part fails; the others are run all the same.
pub(crate) fn run(project: &Project, parts: &[Part], arguments: &[String]) -> Result<()> {
    let parts = if parts.is_empty() { Part::ALL } else { parts };
    let mut rows = vec![["part", "result", "time", "remark"].map(str::to_owned).to_vec()];
    let mut failures = Vec::new();
    let begin = Instant::now();
    for (i, part) in parts.iter().enumerate() {
        let start = Instant::now();
        let title = format!("── {} ({} of {})", part.name(), i + 1, parts.len());
        let verdict = perform(&title, true, || part.run(project, arguments));
        let (word, remark) = match &verdict {
            Ok(remark) => ("ok", remark.clone()),
            Err(_) => ("FAILED", String::new()),
        };
        rows.push(vec![part.name(), word.to_owned(), took(start.elapsed()), remark]);
        if let Err(error) = verdict {
            eprintln!("error: {}: {error:#}", part.name());
            failures.push(part.name());
        }
    }
    println!("\n{}", table(&rows));
    match failures.is_empty() {
        true => println!("All parts passed in {}.", took(begin.elapsed())),
        false => bail!("failed: {}", failures.join(", ")),
    }
    Ok(())
}

impl Part {
    fn run(self, project: &Project, arguments: &[String]) -> Verdict {
        let cargo = |words: &[&str]| {
            let mut command = cargo(project);
            command.args(words);
            command
        };
        let nothing = String::new();
        match self {
            Part::Build => build(project).map(|()| nothing),
            Part::Fmt => loud(&mut cargo(&["fmt", "--all", "--check"]))
                .map(|()| nothing)
                .context("`cargo fmt --all` mends it"),
            Part::Clippy => {
                loud(&mut cargo(&["clippy", "--all-targets", "--", "-D", "warnings"]))?;
                components::clippy(project).map(|()| nothing)
            }
            Part::Tests => {
                build(project)?;
                let mut ran = Count::default();
                tests(cargo(&["test", "--no-fail-fast"]).args(arguments), &mut ran)?;
                if arguments.is_empty() {
                    let mut plugins = cargo(&["test", "--no-fail-fast", "--lib"]);
                    for package in components::tested(project)? {
                        plugins.args(["--package", &package]);
                    }
                    tests(&mut plugins, &mut ran)?;
                }
                println!("\n{}", ran.sentence());
                ran.check()?;
                // Of a selection nobody expects that it proves everything.
                if arguments.is_empty() {
                    let (_, failures) = Attacks::read(project)?.judge(&ran.tests);
                    anyhow::ensure!(failures.is_empty(), "{}", unproven(&failures));
                }
                Ok(ran.sentence())
            }
            Part::Sandbox => {
                build(project)?;
                let attacks = Attacks::read(project)?;
                let mut command = cargo(&["test", "--no-fail-fast"]);
                command.args(["--lib", "--bins", "--tests"]).args(arguments);
                let mut ran = Count::default();
                command.args(["--", "--show-output"]).args(attacks.filters());
                tests(&mut command, &mut ran)?;
                let (shown, failures) = attacks.judge(&ran.tests);
                println!("\n{shown}\n{}", ran.sentence());
                ran.check()?;
                anyhow::ensure!(failures.is_empty(), "{}", unproven(&failures));
                Ok(ran.sentence())
            }
            Part::Docs => {
                let mut command = cargo(&["doc", "--no-deps", "--lib"]);
                command.arg("--keep-going").env("RUSTDOCFLAGS", "-D warnings");
                loud(&mut command).map(|()| nothing)
            }
            Part::Deny => deny(project),
            Part::Lint => match lint::check(project)?.as_slice() {
                [] => Ok("invariants 1 and 2 hold".to_owned()),
                violations => bail!("{}", violations.join("\n")),
            },
        }
    }
}

/// Plugins, guests, and the programs of others: all that the tests load and talk to.
fn build(project: &Project) -> Result<()> {
    let mut plan = Plan::new(project)?;
    components::add_plugins(&mut plan, project, &[])?;
    guests::add(&mut plan, project, &[])?;
    Tool::NodePackages.add_to(&mut plan, project)?;
    Tool::Clients.add_to(&mut plan, project)?;
    plan.run()
}

fn unproven(failures: &[String]) -> String {
    format!("THREAT_MODEL.md names proofs that do not hold: {}", failures.join(", "))
}

/// Runs `cargo test`, lets its lines through and adds up what they say.
///
/// # Errors
/// It cannot be started. Tests that fail are in the count.
fn tests(command: &mut Command, count: &mut Count) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}` could not be started", line(command)))?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        count.add(&line);
    }
    count.broken |= !child.wait()?.success();
    Ok(())
}

/// What the lines `test result: …` add up to, and each test by its own line.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Whether cargo says that something is wrong.
    broken: bool,
    /// The tests that passed or failed, by their paths. One name in two binaries has passed if
    /// it has in both.
    tests: BTreeMap<String, bool>,
}

impl Count {
    fn add(&mut self, line: &str) {
        let test = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        if let Some((path, "ok" | "FAILED")) = test {
            let passed = self.tests.entry(path.to_owned()).or_insert(true);
            *passed &= line.ends_with(" ok");
        }
        let Some((_, numbers)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in numbers.split(';') {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Whether tests ran, and all passed.
    fn check(&self) -> Result<()> {
        anyhow::ensure!(!self.broken, "{}", self.sentence());
        anyhow::ensure!(self.passed > 0, "no test ran");
        Ok(())
    }

    fn sentence(&self) -> String {
        format!("{} tests passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

/// Licences, bans and sources always; advisories where their database is at hand or can be fetched.
fn deny(project: &Project) -> Verdict {
    let mut plan = Plan::new(project)?;
    Tool::CargoDeny.add_to(&mut plan, project)?;
    plan.run()?;

    let deny = |words: &[&str]| {
        let mut command = Command::new(deny_program(project));
        command.args(words).current_dir(&project.root);
        command
    };
    loud(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    match quiet(&mut deny(&["fetch", "db"])) {
        Ok(_) => {
            loud(&mut deny(&["check", "--disable-fetch", "advisories"]))?;
            Ok("with advisories".to_owned())
        }
        Err(_) => {
            eprintln!("Advisories were NOT checked: their database cannot be fetched from here.");
            Ok("advisories NOT checked: no database".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_test_add_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a::one ... ok",
            "test a::two ... FAILED",
            "test a::three ... ignored",
            "test a::one ... FAILED",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            count.add(line);
        }
        let ran: Vec<_> = count.tests.iter().map(|(path, ok)| (path.as_str(), *ok)).collect();
        assert_eq!(ran, [("a::one", false), ("a::two", false)]);
        assert_eq!(count.sentence(), "7 tests passed, 1 failed, 1 ignored");
    }
}
