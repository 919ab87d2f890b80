//! What a run says: the model's text on stdout, everything else on stderr; or all of it as JSON
//! lines.

use std::io::{self, Write};
use std::time::Instant;

use ampoule::{Denial, Meter, Receipt, ToolError};
use ampoule_agent::{AgentEvent, RunEnd, RunOutcome};
use serde_json::Value;

use crate::render::{
    self, BAD, CODE, FAINT, GOOD, Live, STRONG, Screen, Table, WARN, one_line, paint, receipt_line,
};

/// Characters of a tool's arguments that are shown.
const ARGUMENT_CHARS: usize = 120;

/// Prints the events of one run.
pub(super) struct Report {
    /// Whether thoughts and tokens are shown too.
    verbose: bool,
    live: Live,
    started: Instant,
    stand_in: Option<&'static str>,
    /// The turn that spoke last, from 1.
    turn: u32,
    /// Whether the last line on stdout is not ended.
    open: bool,
    /// Whether the last line on stderr is one of thoughts, and not ended.
    thinking: bool,
    /// What was refused, to be explained at the end.
    denials: Vec<Denial>,
}

impl Report {
    pub(super) fn new(verbose: bool) -> Report {
        Report {
            verbose,
            live: Live::new(),
            started: Instant::now(),
            stand_in: None,
            turn: 0,
            open: false,
            thinking: false,
            denials: Vec::new(),
        }
    }

    /// Prints an event.
    pub(super) fn event(&mut self, screen: &mut Screen, event: AgentEvent) -> io::Result<()> {
        if screen.json {
            return screen.json_line(&event);
        }
        if !matches!(event, AgentEvent::Thinking { .. }) && std::mem::take(&mut self.thinking) {
            writeln!(screen.err())?;
        }
        if !matches!(event, AgentEvent::Content { .. }) && std::mem::take(&mut self.open) {
            screen.data("\n")?;
        }
        if !matches!(event, AgentEvent::Progress { .. }) {
            self.live.close(screen)?;
        }
        match event {
            AgentEvent::Start { agent, model, stand_in, tools, .. } => {
                self.stand_in = stand_in;
                start(screen, &agent, &model, stand_in, tools.len())
            }
            AgentEvent::Content { turn, text, stand_in } => {
                if let Some(label) = stand_in.filter(|_| self.turn != turn) {
                    screen.data(&format!("[{label}] "))?;
                }
                self.turn = turn;
                self.open = !text.ends_with('\n');
                screen.data(&text)
            }
            AgentEvent::Thinking { text, .. } if self.verbose => {
                self.thinking = true;
                write!(screen.err(), "{}", paint(FAINT, render::safe(&text)))?;
                screen.err().flush()
            }
            AgentEvent::ToolCall { tool, arguments, .. } => tool_call(screen, &tool, &arguments),
            AgentEvent::ToolResult { tool, error, receipt, .. } => {
                render::collect_denials(&receipt, &mut self.denials);
                tool_result(screen, &tool, error.as_ref(), &receipt)
            }
            AgentEvent::Progress { tool, event, .. } => {
                self.live.event(screen, &one_line(&tool, 80), &event)
            }
            AgentEvent::Usage { turn, input_tokens, output_tokens, estimated, .. }
                if self.verbose =>
            {
                let about = if estimated { "about " } else { "" };
                screen.note(format_args!(
                    "turn {turn}: {about}{input_tokens} tokens read, {output_tokens} written"
                ))
            }
            AgentEvent::Retry { turn, attempt, of, error, wait_ms } => {
                let void = match self.turn == turn {
                    true => "; what it said in this turn does not count",
                    false => "",
                };
                screen.warn(format_args!(
                    "the model failed ({error}); asking again in {}, {attempt} of {of}{void}",
                    Meter::WallTime.show(wait_ms)
                ))
            }
            AgentEvent::Trim { exchanges, .. } => screen.note(format_args!(
                "the context is full: the model no longer sees the oldest {exchanges} exchanges"
            )),
            AgentEvent::End { outcome } => self.end(screen, &outcome),
            AgentEvent::Thinking { .. } | AgentEvent::Usage { .. } => Ok(()),
        }
    }

    fn end(&self, screen: &mut Screen, outcome: &RunOutcome) -> io::Result<()> {
        match &outcome.end {
            RunEnd::Answer if outcome.finish == "length" => {
                screen.warn("the answer was cut by the model's limit of tokens")?;
            }
            RunEnd::Answer => {}
            RunEnd::MaxTurns => screen.warn("stopped by `max-turns` of the agent file")?,
            RunEnd::MaxToolCalls => screen.warn("stopped by `max-tool-calls` of the agent file")?,
            RunEnd::Budget { breach } => screen.warn(format_args!("stopped: {breach}"))?,
            RunEnd::Cancelled => screen.warn("cancelled")?,
            RunEnd::Failed { error } => {
                let message = error.to_string();
                writeln!(screen.err(), "{BAD}error:{BAD:#} {}", render::safe(&message))?;
                if let Some(log) = &error.log {
                    screen.note(render::safe(log))?;
                }
                let allow = error.data.as_ref().and_then(|data| data.get("allow"));
                if let Some(lines) = allow.and_then(Value::as_str) {
                    render::allow(screen.err(), lines)?;
                }
            }
        }
        for denial in &self.denials {
            render::denial(screen, denial)?;
        }
        let width = screen.width();
        writeln!(screen.err())?;
        self.summary(outcome).print(screen.err(), width)
    }

    fn summary(&self, outcome: &RunOutcome) -> Table {
        let mut table = Table::plain();
        let mut row = |what: &str, value: String| table.row([paint(FAINT, what), value]);
        let end = outcome.end.word();
        let style = if outcome.end == RunEnd::Answer { GOOD } else { WARN };
        row("end", paint(style, end));
        let model = one_line(&outcome.model, 100);
        row(
            "model",
            match self.stand_in {
                Some(label) => paint(WARN, format!("{model} ({label}: a stand-in, no real model)")),
                None => model,
            },
        );
        row("turns", outcome.turns.to_string());
        let failed = outcome.tool_calls.iter().filter(|call| call.receipt.end != "value").count();
        row(
            "tool calls",
            match failed {
                0 => outcome.tool_calls.len().to_string(),
                failed => format!("{}, {failed} without a value", outcome.tool_calls.len()),
            },
        );
        let tokens = &outcome.tokens;
        let about = if tokens.estimated { ", estimated" } else { "" };
        row(
            "tokens",
            format!(
                "{} read, {} written{about}",
                Meter::ModelTokens.show(tokens.input),
                Meter::ModelTokens.show(tokens.output)
            ),
        );
        for (what, meter) in [
            ("fuel", Meter::Fuel),
            ("requests", Meter::HttpRequests),
            ("written", Meter::FileBytes),
        ] {
            let used = outcome.used.get(meter);
            if used > 0 || meter == Meter::Fuel {
                row(what, meter.show(used));
            }
        }
        row("time", render::time(self.started.elapsed()));
        table
    }
}

fn start(
    screen: &mut Screen,
    agent: &str,
    model: &str,
    stand_in: Option<&str>,
    tools: usize,
) -> io::Result<()> {
    let (agent, model) = (one_line(agent, 80), one_line(model, 100));
    let tools = if tools == 1 { "1 tool".to_owned() } else { format!("{tools} tools") };
    writeln!(screen.err(), "{STRONG}{agent}{STRONG:#} · {model} · {tools}")?;
    match stand_in {
        Some(label) => screen.warn(format_args!("`{label}` is a stand-in, no real model")),
        None => Ok(()),
    }
}

fn tool_call(screen: &mut Screen, tool: &str, arguments: &Value) -> io::Result<()> {
    let tool = one_line(tool, 130);
    let arguments = one_line(&arguments.to_string(), ARGUMENT_CHARS);
    writeln!(screen.err(), "→ {CODE}{tool}{CODE:#} {FAINT}{arguments}{FAINT:#}")
}

fn tool_result(
    screen: &mut Screen,
    tool: &str,
    error: Option<&ToolError>,
    receipt: &Receipt,
) -> io::Result<()> {
    let tool = one_line(tool, 130);
    writeln!(screen.err(), "← {CODE}{tool}{CODE:#} {}", receipt_line(receipt))?;
    match error {
        Some(error) => writeln!(screen.err(), "  {}", one_line(&error.to_string(), 400)),
        None => Ok(()),
    }
}
