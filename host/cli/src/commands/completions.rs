//! `ampoule completions`: a script of completions for a shell.

use std::io::Write;

use crate::args::{self, CompletionsArgs};
use crate::exit::{Exit, Failure};
use crate::render::Screen;

pub(super) fn run(args: &CompletionsArgs, screen: &mut Screen) -> Result<Exit, Failure> {
    // Into memory first: the generator ends the process where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "ampoule", &mut script);
    screen.out().write_all(&script)?;
    Ok(Exit::Ok)
}
