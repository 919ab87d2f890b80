//! `ampoule mcp`: the tools over the Model Context Protocol. Nothing is printed on stdout here: it
//! belongs to the protocol.

use std::sync::Arc;

use ampoule_server::{ServeError, ServeOptions, serve_stdio};

use crate::args::{Global, McpArgs};
use crate::exit::{Exit, Failure};
use crate::render::Screen;
use crate::setup::Setup;

pub(super) async fn run(
    args: McpArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut options = ServeOptions {
        workspace: super::workspace(args.workspace)?,
        principal: args.principal,
        ..ServeOptions::default()
    };
    if !args.tools.is_empty() {
        options.tools = args.tools;
    }
    let setup = Setup::find(global)?.with_plugins()?;
    crate::journal::keep_out_of(&setup, options.workspace.as_deref())?;
    let host = setup.host().await?;
    super::refused(&host, screen)?;
    let shutdown = options.shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            shutdown.cancel();
        }
    });
    match serve_stdio(Arc::new(host), options).await {
        Ok(()) => Ok(Exit::Ok),
        Err(error @ ServeError::Pattern(_)) => Err(Failure::usage(error.to_string())),
        Err(error) => Err(Failure::fault(error.to_string())),
    }
}
