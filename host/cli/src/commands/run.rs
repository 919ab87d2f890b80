//! `ampoule run`: an agent does a task.

mod model;
mod report;

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ampoule::{Blobs, CallContext};
use ampoule_agent::{Agent, AgentError, AgentEvent, AgentEvents, AgentFile, RunEnd, Task};
use serde_json::Map;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

pub(super) use self::model::Wanted;
use self::report::Report;
use crate::args::{Global, RunArgs};
use crate::exit::{Exit, Failure};
use crate::render::Screen;
use crate::setup::Setup;

/// The longest task that is read from standard input, in bytes.
const MAX_TASK_BYTES: u64 = 1 << 20;

pub(super) async fn run(
    args: RunArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let file = AgentFile::open(&args.agent).map_err(|error| refused(&error, Some(&args.agent)))?;
    let workspace = super::workspace(args.workspace)?;
    let text = match args.task {
        Some(task) => task,
        None => task_from_stdin()?,
    };
    let mut setup = Setup::find(global)?;
    let wanted = Wanted::new(&file, &args.agent, args.model, args.script);
    wanted.prepare(&mut setup.config)?;
    crate::journal::keep_out_of(&setup, workspace.as_deref())?;
    let host = setup.host_that_asks().await?;
    if !host.refused().is_empty() {
        let n = host.refused().len();
        screen.warn(format_args!("plugins refused: {n}; `ampoule list` says which and why"))?;
    }
    let model = wanted.find(&host)?;
    let file = wanted.apply(file);

    let (sender, events) = unbounded_channel();
    let context = CallContext {
        principal: args.principal,
        run: Some(host.run_id()),
        workspace,
        budget: Some(host.run_account()),
        deadline: args.timeout.map(|timeout| Instant::now() + timeout),
        blobs: Some(Blobs::default()),
        ..CallContext::default()
    };
    let cancel = context.cancel.clone();
    let task = Task {
        text,
        inputs: Map::from_iter(args.input),
        context,
        // The run's budget bounds what it may say, and so the queue.
        events: AgentEvents::new(move |event| drop(sender.send(event))),
    };
    let agent = Agent::new(file, model, Arc::new(host));
    let report = Report::new(global.verbose > 0);
    watch(agent, task, events, cancel, report, screen).await
}

/// The task, where the command line has none.
fn task_from_stdin() -> Result<String, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage("there is no task: say what the agent should do"));
    }
    let mut text = String::new();
    let read = stdin.lock().take(MAX_TASK_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("the task on standard input: {error}")))?;
    if text.len() as u64 > MAX_TASK_BYTES {
        let message = "the task on standard input is longer than 1 MiB";
        return Err(Failure::usage(message).hint("Put it into a file of the workspace."));
    }
    Ok(text)
}

/// Waits for the run, reporting what happens; Ctrl-C cancels it, and a second one does not wait.
async fn watch(
    agent: Agent,
    task: Task,
    mut events: UnboundedReceiver<AgentEvent>,
    cancel: CancellationToken,
    mut report: Report,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut run = tokio::spawn(async move { agent.run(task).await });
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => report.event(screen, event)?,
            outcome = &mut run => break outcome,
            interrupted = tokio::signal::ctrl_c() => match interrupted {
                Ok(()) if cancel.is_cancelled() => {
                    return Err(Failure::new(Exit::Cancelled, "cancelled"));
                }
                _ => cancel.cancel(),
            },
        }
    };
    while let Ok(event) = events.try_recv() {
        report.event(screen, event)?;
    }
    let outcome = outcome.map_err(|error| Failure::fault(format!("the run was lost: {error}")))?;
    let outcome = outcome.map_err(|error| refused(&error, None))?;
    Ok(match &outcome.end {
        RunEnd::Answer => Exit::Ok,
        RunEnd::MaxTurns | RunEnd::MaxToolCalls | RunEnd::Budget { .. } => Exit::Limit,
        RunEnd::Cancelled => Exit::Cancelled,
        RunEnd::Failed { error } => Exit::of_error(error),
    })
}

/// An agent that cannot start.
fn refused(error: &AgentError, file: Option<&Path>) -> Failure {
    let message = match (file, error) {
        (Some(file), error) if !matches!(error, AgentError::Read { .. }) => {
            format!("{}: {error}", file.display())
        }
        _ => error.to_string(),
    };
    match error {
        AgentError::Inputs(_) => Failure::usage(message).hint(
            "Give inputs as `--input key=text`, or `--input key:=json`; the agent file declares \
             them under `inputs`.",
        ),
        AgentError::NoTask => Failure::usage(message),
        AgentError::NoSuchTool { known, .. } if known.is_empty() => Failure::configuration(message)
            .hint("No plugin was found: name a folder of them with --plugins, or in ampoule.toml."),
        _ => Failure::configuration(message),
    }
}
