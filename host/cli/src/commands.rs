//! The commands, one file each.

mod accept;
mod audit;
mod build;
mod call;
mod completions;
mod docs;
mod doctor;
mod explain;
mod inspect;
mod learn;
mod list;
mod mcp;
mod new;
mod pack;
mod replay;
mod run;
mod test;
mod validate;
mod wit;

use std::path::{Path, PathBuf};

use ampoule::Host;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::render::Screen;

/// Does what the command line asks for.
///
/// # Errors
/// It could not be done.
pub(crate) async fn run(cli: Cli, screen: &mut Screen) -> Result<Exit, Failure> {
    let Cli { command, global } = cli;
    match command {
        Command::List(args) => list::run(&args, &global, screen).await,
        Command::Inspect(args) => inspect::run(&args, &global, screen).await,
        Command::Call(args) => call::run(args, &global, screen).await,
        Command::Replay(args) => replay::run(args, &global, screen).await,
        Command::Run(args) => run::run(args, &global, screen).await,
        Command::Mcp(args) => mcp::run(args, &global, screen).await,
        Command::New(args) => new::run(&args, screen),
        Command::Build(args) => build::run(&args, screen).await,
        Command::Pack(args) => pack::run(&args, screen).await,
        Command::Test(args) => test::run(&args, &global, screen).await,
        Command::Docs(args) => docs::run(&args, &global, screen).await,
        Command::Accept(args) => accept::run(&args, &global, screen).await,
        Command::Learn(args) => learn::run(&args, &global, screen).await,
        Command::Validate(args) => validate::run(&args, &global, screen).await,
        Command::Wit(args) => wit::run(&args, screen),
        Command::Audit(args) => audit::run(args, &global, screen),
        Command::Explain(args) => explain::run(&args, &global, screen),
        Command::Doctor => doctor::run(&global, screen).await,
        Command::Completions(args) => completions::run(&args, screen),
        Command::Worker => compile_worker(),
    }
}

/// Compiles what a host asks for on standard input.
fn compile_worker() -> Result<Exit, Failure> {
    let compiled = ampoule::compile_worker(std::io::stdin().lock(), std::io::stdout().lock());
    compiled.map_err(|error| Failure::fault(format!("nothing was compiled: {error}")))?;
    Ok(Exit::Ok)
}

/// Names the plugins that were refused, on stderr.
fn refused(host: &Host, screen: &mut Screen) -> std::io::Result<()> {
    host.refused().iter().try_for_each(|reason| screen.warn(format_args!("refused: {reason}")))
}

/// A folder that a call works in, which must be there.
///
/// # Errors
/// It is not, or is no folder.
fn workspace(folder: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(Failure::usage(format!("the workspace {} is not a folder", folder.display())))
        }
        Some(folder) => {
            let absolute = std::path::absolute(&folder);
            Ok(Some(absolute.unwrap_or(folder)))
        }
        None => Ok(None),
    }
}

/// A path as it is shown: relative to the current folder where that is shorter.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    let path = below.as_deref().unwrap_or(path);
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}
