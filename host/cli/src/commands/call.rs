//! `ampoule call`: one call of a tool.

mod arguments;
mod blocks;

use std::io::{self, Write};
use std::time::Instant;

use ampoule::{
    Blobs, Breach, Call, CallContext, CallEvent, End, EventSink, Host, Meter, Outcome, Output,
    Receipt, Recorded, Signal, ToolDefinition, Tools,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

pub(super) use self::blocks::Kept;
use crate::args::{CallArgs, Global};
use crate::exit::{Exit, Failure};
use crate::render::{self, CODE, Live, STRONG, Screen, receipt_line, receipt_table};
use crate::setup::Setup;

pub(super) async fn run(
    args: CallArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let CallArgs {
        tool,
        arguments,
        arg,
        file,
        workspace,
        principal,
        timeout,
        out,
        receipt,
        record,
    } = args;
    let workspace = super::workspace(workspace)?;
    let setup = Setup::find(global)?.with_plugins()?;
    crate::journal::keep_out_of(&setup, workspace.as_deref())?;
    let host = setup.host_that_asks().await?;
    let definition =
        host.tools().into_iter().find(|known| known.id == tool || known.model_name() == tool);
    let blobs = Blobs::default();
    let arguments = match &definition {
        // What it would be given need not be read where there is no such tool.
        None => String::new(),
        Some(definition) => {
            let most = limit(&host, definition, Meter::ArgumentBytes);
            let arguments = arguments::read(arguments, arg, most)?;
            arguments::with_files(arguments, file, &blobs)?
        }
    };
    let (sender, events) = unbounded_channel();
    let context = CallContext {
        principal,
        workspace,
        deadline: timeout.map(|timeout| Instant::now() + timeout),
        blobs: Some(blobs.clone()),
        // What a call may say is bounded by its limits, so the queue is too.
        events: Some(EventSink::new(move |event| match sender.send(event) {
            Ok(()) => Signal::Proceed,
            Err(_) => Signal::Stop,
        })),
        ..CallContext::default()
    };
    let cancel = context.cancel.clone();
    let call = Call { tool, arguments: arguments.into(), context };
    let kept = Kept::new(out, blobs);
    let Some(record) = record else {
        let call = {
            let host = host.clone();
            async move { host.call(call).await }
        };
        let outcome = watch(call, events, cancel, screen).await?;
        return finish(&host, definition.as_deref(), outcome, &kept, receipt, screen);
    };
    let call = {
        let (host, record) = (host.clone(), record.clone());
        async move { host.record(call, &record).await }
    };
    let Recorded { outcome, recording } = watch(call, events, cancel, screen).await??;
    let exit = finish(&host, definition.as_deref(), outcome, &kept, receipt, screen)?;
    match recording {
        Ok(calls) => {
            screen.note(format_args!("recorded {} ({calls} host calls)", record.display()))?;
            Ok(exit)
        }
        Err(reason) => {
            screen.warn(format_args!("not recorded: {reason}"))?;
            Ok(if exit == Exit::Ok { Exit::Fault } else { exit })
        }
    }
}

/// A limit of the calls of a tool; the default of the host for what is no plugin's.
fn limit(host: &Host, tool: &ToolDefinition, meter: Meter) -> u64 {
    let binding = host.bindings().into_iter().find(|binding| binding.name == tool.binding);
    binding.map_or(meter.default_limit(), |binding| binding.limits.get(meter))
}

/// Waits for a call, printing what it says; Ctrl-C cancels it, and a second one does not wait.
async fn watch<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
    mut events: UnboundedReceiver<CallEvent>,
    cancel: CancellationToken,
    screen: &mut Screen,
) -> Result<T, Failure> {
    let mut live = Live::new();
    let mut call = tokio::spawn(call);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => live.event(screen, "", &event)?,
            outcome = &mut call => break outcome,
            interrupted = tokio::signal::ctrl_c() => match interrupted {
                Ok(()) if cancel.is_cancelled() => {
                    return Err(Failure::new(Exit::Cancelled, "cancelled"));
                }
                // Without signals there is no way to cancel, so nobody can have asked for it.
                _ => cancel.cancel(),
            },
        }
    };
    while let Ok(event) = events.try_recv() {
        live.event(screen, "", &event)?;
    }
    live.close(screen)?;
    outcome.map_err(|error| Failure::fault(format!("the call was lost: {error}")))
}

pub(super) fn finish(
    host: &Host,
    tool: Option<&ToolDefinition>,
    outcome: Outcome,
    kept: &Kept,
    whole_receipt: bool,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let Outcome { end, receipt } = outcome;
    let exit = Exit::of(&end);
    if screen.json {
        let files = match &end {
            End::Value(output) => kept.files(output)?,
            _ => Vec::new(),
        };
        let mut document = render::end_json(end, &receipt);
        if !files.is_empty() {
            document["files"] = serde_json::json!(files);
        }
        screen.document(&document)?;
        return Ok(exit);
    }
    let mut denials = Vec::new();
    render::collect_denials(&receipt, &mut denials);
    match &end {
        End::Value(output) => print(output, kept, screen)?,
        // Told below, with the lines that would allow it.
        End::Failed(error) if denials.iter().any(|denial| denial.message == error.message) => {}
        end => {
            if let End::Denied(denial) = end {
                denials.retain(|other| other != denial);
            }
            render::end(screen, end)?;
            advise(host, tool, end, screen)?;
        }
    }
    for denial in &denials {
        render::denial(screen, denial)?;
    }
    print_receipt(&receipt, whole_receipt, screen)?;
    Ok(exit)
}

fn print_receipt(receipt: &Receipt, whole: bool, screen: &mut Screen) -> io::Result<()> {
    writeln!(screen.err(), "{}", receipt_line(receipt))?;
    if whole {
        let width = screen.width();
        receipt_table(receipt).print(screen.err(), width)?;
    }
    Ok(())
}

/// The value and the blocks, on stdout.
fn print(output: &Output, kept: &Kept, screen: &mut Screen) -> Result<(), Failure> {
    if let Some(value) = &output.value {
        screen.document(value)?;
    }
    for file in kept.files(output)? {
        screen.note(format_args!("kept {} ({})", file.path.display(), render::bytes(file.size)))?;
    }
    for block in &output.blocks {
        match &block.text {
            Some(text) => {
                screen.data(text)?;
                if !text.ends_with('\n') {
                    screen.data("\n")?;
                }
            }
            None if kept.keeps() && block.uri.is_none() => {}
            None => screen.note(kept.describe(block))?,
        }
    }
    if output.truncated {
        screen.note("cut: there is more than this")?;
    }
    if let Some(next) = &output.next {
        let cursor = render::one_line(next, 200);
        screen
            .note(format_args!("to go on, call it again with the argument `cursor`: {cursor}"))?;
    }
    Ok(())
}

/// What could be done about an end.
fn advise(
    host: &Host,
    tool: Option<&ToolDefinition>,
    end: &End,
    screen: &mut Screen,
) -> io::Result<()> {
    match (end, tool) {
        (End::BadArguments(problem), Some(tool)) => {
            // What is no JSON at all has missed no parameter.
            if problem.path.is_some() {
                let width = screen.width();
                let id = render::safe(&tool.id);
                writeln!(screen.err(), "\n{STRONG}Parameters of {id}{STRONG:#}")?;
                render::parameters(&tool.input_schema, 2).print(screen.err(), width)?;
            }
            let good = tool.examples.iter().find(|example| example.error.is_none());
            if let Some(example) = good {
                let command = render::one_line(&super::inspect::command(tool, example), 300);
                writeln!(
                    screen.err(),
                    "\n{STRONG}For example{STRONG:#}\n  {CODE}{command}{CODE:#}"
                )?;
            }
            writeln!(screen.err())
        }
        (End::Limit(breach), Some(tool)) => raise(host, tool, breach, screen),
        (End::Denied(denial), None) if denial.gate == "registry" => super::refused(host, screen),
        _ => Ok(()),
    }
}

/// How a limit can be raised.
fn raise(
    host: &Host,
    tool: &ToolDefinition,
    breach: &Breach,
    screen: &mut Screen,
) -> io::Result<()> {
    let name = breach.meter.name();
    if breach.meter == Meter::Stack {
        return screen.note("the stack is the same for all calls");
    }
    if breach.above {
        return screen.note("it is the budget of the run (`[run]` in ampoule.toml), or --timeout");
    }
    if host.config().limits.contains_key(name) {
        return screen.note(format_args!("`[limits] {name}` in ampoule.toml bounds every call"));
    }
    let twice = breach.limit.saturating_mul(2);
    let shown = breach.meter.show(twice).replace(',', "_");
    // What is rounded for people is not always what files can say.
    let value = match breach.meter.parse(&shown) {
        Ok(n) if n == twice => format!("\"{shown}\""),
        _ => twice.to_string(),
    };
    let lines = format!("[bindings.{}]\nlimits.{name} = {value}", tool.binding);
    render::allow(screen.err(), &lines)
}
