//! What the host says of itself, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Cli, Command};
use crate::render;

/// Starts logging: warnings, and more with each `-v`.
pub(crate) fn start(cli: &Cli) {
    let level = match cli.global.verbose {
        0 => "warn",
        1 => "info",
        // What the engine says at this level is for those who work on it.
        2 => "info,ampoule=debug,guest=debug",
        _ => "trace",
    };
    let filter = match cli.command {
        // These print the lines and errors of guests themselves.
        Command::Call(_) | Command::Run(_) if cli.global.verbose == 0 => {
            format!("{level},guest=off,ampoule::call=off,ampoule_agent=off")
        }
        Command::Call(_) | Command::Run(_) => format!("{level},guest=off"),
        _ => level.to_owned(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(render::colours_stderr(cli.global.color.into()))
        .without_time()
        .compact();
    // Only a second start could fail, and there is one.
    let _ = subscriber.finish().try_init();
}
