//! `ampoule audit`: the lines of the event log, and whether it is whole.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use ampoule_journal::{Anchor, Line, Query};
use serde_json::{Value, json};

use crate::args::{AuditArgs, AuditCommand, AuditListArgs, AuditVerifyArgs, Global};
use crate::exit::{Exit, Failure};
use crate::journal;
use crate::render::{BAD, CODE, FAINT, GOOD, Screen, Table, WARN, one_line, paint};
use crate::setup::Setup;

pub(super) fn run(args: AuditArgs, global: &Global, screen: &mut Screen) -> Result<Exit, Failure> {
    match args.command {
        AuditCommand::List(args) => list(args, global, screen),
        AuditCommand::Verify(args) => verify(&args, global, screen),
    }
}

fn list(args: AuditListArgs, global: &Global, screen: &mut Screen) -> Result<Exit, Failure> {
    let reader = journal::reader(&Setup::find(global)?)?;
    let query = Query {
        call: args.call,
        kind: args.kind,
        tool: args.tool,
        principal: args.principal,
        since: args.since,
        limit: if args.limit == 0 { usize::MAX } else { args.limit },
        newest: true,
        ..Query::default()
    };
    let page = reader.query(&query).map_err(|error| Failure::fault(error.to_string()))?;
    if screen.json {
        screen.document(&json!({ "lines": page.lines, "more": page.more }))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["line", "time", "kind", "call", "tool", "who", ""]).right([0]);
    let cell = |text: &Option<String>| one_line(text.as_deref().unwrap_or_default(), 60);
    for line in &page.lines {
        table.row([
            line.seq.to_string(),
            paint(FAINT, one_line(&line.time, 30)),
            line.kind.to_string(),
            paint(CODE, cell(&line.call)),
            cell(&line.tool),
            cell(&line.principal),
            summary(line),
        ]);
    }
    if table.is_empty() {
        screen.note("no line of the journal matches")?;
        return Ok(Exit::Ok);
    }
    let width = screen.width();
    table.print(screen.out(), width)?;
    if page.more {
        screen.note(format_args!(
            "the newest {}; there are more: --limit N, or 0 for all",
            page.lines.len()
        ))?;
    }
    Ok(Exit::Ok)
}

/// What a line says, in short.
fn summary(line: &Line) -> String {
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default(), 200);
    let body = &line.body;
    match line.kind {
        ampoule::AuditKind::CallEnded => {
            let end = text(&body["end"]);
            let style = match end.as_str() {
                "value" => GOOD,
                "cancelled" | "overloaded" | "suspended" => WARN,
                _ => BAD,
            };
            let why = text(&body["error"]["message"]);
            let code = text(&body["error"]["code"]);
            [paint(style, end), code, why].join(" ").trim_end().to_owned()
        }
        ampoule::AuditKind::Denied => {
            format!("{} {}", paint(WARN, text(&body["gate"])), text(&body["message"]))
        }
        ampoule::AuditKind::Approved => text(&body["rule"]),
        ampoule::AuditKind::CallStarted => match &line.parent {
            Some(parent) => format!("for {}", one_line(parent, 60)),
            None => String::new(),
        },
        ampoule::AuditKind::Grants => one_line(&text(&body["digest"]), 24),
        ampoule::AuditKind::Opened => format!("version {}", text(&body["version"])),
    }
}

/// The most bytes of a file that keeps a head.
const MAX_HEAD_BYTES: u64 = 1024;

/// The head that a file keeps; `None` where there is no file yet.
fn kept(file: &Path) -> Result<Option<Anchor>, Failure> {
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| {
        opened.take(MAX_HEAD_BYTES).read_to_string(&mut text)?;
        Ok(())
    });
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::usage(format!("{}: {error}", file.display()))),
        Ok(()) => {}
    }
    let head = text.trim().parse();
    head.map(Some).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

fn verify(args: &AuditVerifyArgs, global: &Global, screen: &mut Screen) -> Result<Exit, Failure> {
    let reader = journal::reader(&Setup::find(global)?)?;
    let kept = args.head_file.as_deref().map(kept).transpose()?.flatten();
    let head = args.head.as_ref().or(kept.as_ref());
    let report =
        reader.verify(head).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    if let Some(file) = args.head_file.as_deref().filter(|_| report.broken.is_none()) {
        super::pack::replace(file, format!("{}\n", report.head).as_bytes())?;
    }
    if screen.json {
        let mut document = json!({ "whole": report.broken.is_none(), "head": report.head });
        if let Some(broken) = &report.broken {
            document["broken"] = json!(broken);
            document["broken"]["message"] = broken.to_string().into();
        }
        screen.document(&document)?;
        return Ok(if report.broken.is_none() { Exit::Ok } else { Exit::Failed });
    }
    match &report.broken {
        None => {
            let lines = report.head.lines;
            writeln!(screen.out(), "{} {lines} lines, each as it was written", paint(GOOD, "ok"))?;
            writeln!(screen.out(), "head {}", paint(CODE, &report.head))?;
            match &args.head_file {
                Some(file) => screen.note(format_args!("kept in {}", super::shown(file)))?,
                None if args.head.is_some() => {}
                None => screen.note(
                    "keep the head where nobody who can write to the journal can: \
                     `ampoule audit verify --head-file FILE` shows then that nothing was cut off \
                     or made anew",
                )?,
            }
            Ok(Exit::Ok)
        }
        Some(broken) => {
            let whole = match report.head.lines {
                0 => "Nothing before it is certain.".to_owned(),
                n => format!("The first {n} lines are as they were written."),
            };
            Err(Failure::new(Exit::Failed, format!("the journal was tampered with: {broken}"))
                .hint(whole))
        }
    }
}
