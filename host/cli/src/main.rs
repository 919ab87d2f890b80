//! The command `ampoule`: sealed plugins from a terminal.
//!
//! Parsing only validates ([`args`]); doing comes after, one file a command ([`commands`]). This is
//! the only crate that prints ([`render`]) or decides how a process ends ([`exit`]).

mod allocator;
mod args;
mod ask;
mod commands;
mod connector;
mod env_vars;
mod exit;
mod journal;
mod logging;
mod render;
mod setup;
mod toolchain;

use std::process::ExitCode;

use crate::exit::{Exit, Failure};
use crate::render::Screen;

fn main() -> ExitCode {
    allocator::keep_what_is_freed();
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nobody can be told that they cannot be read.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let mut screen = Screen::new(cli.global.json, cli.global.color.into());
    let ended = work(cli, &mut screen);
    let exit = ended.unwrap_or_else(|failure| {
        screen.failure(&failure);
        failure.exit
    });
    exit.into()
}

fn work(cli: args::Cli, screen: &mut Screen) -> Result<Exit, Failure> {
    logging::start(&cli);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(ampoule::clean_up)
        .build();
    let runtime = runtime.map_err(|error| Failure::fault(format!("no runtime: {error}")))?;
    let ended = runtime.block_on(commands::run(cli, screen));
    let written = journal::finish();
    // A read of standard input that is still waiting would keep the process.
    runtime.shutdown_background();
    let exit = ended?;
    written.map(|()| exit)
}
