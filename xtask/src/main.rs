//! Build, demo, test, bench: `cargo xtask …`. Whatever a command needs is installed below
//! `target/`, and nothing is done twice.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for people (invariant 2)")]

mod compiler;
mod components;
mod demo;
mod foreign;
mod guests;
mod lint;
mod plan;
mod process;
mod project;
mod proofs;
mod site;
mod stamp;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::plan::Plan;
use crate::project::Project;
use crate::tools::Tool;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install every tool that building and testing need
    Setup,
    /// Build plugins into target/plugins
    Build {
        /// Folders of plugins/; all where none is named
        names: Vec<String>,
    },
    /// Build test guests into target/guests
    Guests {
        /// Folders of tests/guests/; all where none is named
        names: Vec<String>,
    },
    /// Write the catalogue of plugins, docs/plugins, from their manifests
    Docs,
    /// Run an agent with sealed plugins on real data, and show report, receipts and a denial
    Demo,
    /// Check everything; `cargo xtask test PART` checks one part, `cargo xtask test sandbox`
    /// attacks the sandbox and shows which gate each attack met
    Test {
        /// Parts to run; all where none is named
        parts: Vec<test::Part>,
        /// Arguments of `cargo test`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Check the invariants that the compiler cannot hold
    Lint,
    /// Run Test262 through the plugin `ecmascript` and natively
    Test262 {
        /// A checkout of the suite, and parts of it; `test/language` and `test/built-ins` where
        /// none is named
        arguments: Vec<String>,
    },
    /// Measure: `cargo xtask bench call`
    Bench {
        /// Arguments of the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let project = Project::find()?;
    match command {
        Command::Setup => {
            let mut plan = Plan::new(&project)?;
            Tool::ALL.iter().try_for_each(|tool| tool.add_to(&mut plan, &project))?;
            plan.run()
        }
        Command::Build { names } => {
            let mut plan = Plan::new(&project)?;
            components::add_plugins(&mut plan, &project, &names)?;
            plan.run()
        }
        Command::Guests { names } => {
            let mut plan = Plan::new(&project)?;
            guests::add(&mut plan, &project, &names)?;
            plan.run()
        }
        Command::Docs => {
            let mut plan = Plan::new(&project)?;
            components::add_plugins(&mut plan, &project, &[])?;
            plan.run()?;
            let mut docs = std::process::Command::new(project.ampoule());
            process::loud(docs.args(["docs", "docs/plugins"]).current_dir(&project.root))
        }
        Command::Demo => demo::run(&project),
        Command::Test { parts, arguments } => test::run(&project, &parts, &arguments),
        Command::Lint => {
            let violations = lint::check(&project)?;
            anyhow::ensure!(violations.is_empty(), "{}", violations.join("\n"));
            println!("Invariants 1 and 2 hold.");
            Ok(())
        }
        Command::Test262 { arguments } => {
            let mut plan = Plan::new(&project)?;
            components::add_plugins(&mut plan, &project, &["ecmascript".to_owned()])?;
            plan.run()?;
            program(&project, "test262", &arguments)
        }
        Command::Bench { arguments } => {
            let mut plan = Plan::new(&project)?;
            guests::add(&mut plan, &project, &["bench".to_owned()])?;
            match arguments.first().map(String::as_str) {
                Some("code") => {
                    let code = ["ecmascript".to_owned(), "python".to_owned()];
                    components::add_plugins(&mut plan, &project, &code)?;
                    Tool::OtherSandboxes.add_to(&mut plan, &project)?;
                }
                Some("plugins") => components::add_plugins(&mut plan, &project, &[])?,
                _ => {}
            }
            plan.run()?;
            program(&project, "ampoule-bench", &arguments)
        }
    }
}

/// Builds a program of the workspace and runs it.
fn program(project: &Project, name: &str, arguments: &[String]) -> Result<()> {
    // Like the host, so that the engine is not compiled once more.
    let mut build = process::cargo(project);
    process::loud(build.args(["build", "--bin", name]))?;
    let mut program = std::process::Command::new(project.program(name));
    process::loud(program.args(arguments).current_dir(&project.root))
}
