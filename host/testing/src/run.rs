//! Running the tests of several plugins at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ampoule::{Account, Blobs, Call, End, Host, Limits, Meter, Outcome};
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::bindings::{HARDLY_ANY_MEMORY, Subject, Subtool};
use crate::compare::{Comparison, shorten, show};
use crate::inputs::{BadInput, bad_inputs};
use crate::suite::{Case, place_files};
use crate::{Count, Failure, Kind, Options, Report, SITE, Skipped};

/// Characters of arguments that a failure shows.
const SHOWN_ARGUMENTS: usize = 400;

/// The folder beside suites of which each case of a plugin with files gets a copy to work in.
const WORKSPACE: &str = "workspace";

/// The most files and folders that are copied for a case.
const MAX_COPIED: usize = 1_000;

/// The most good inputs from which bad ones are made.
const MAX_GOOD: usize = 4;

/// Fuel of a call that is too short to be ended half-way.
const SHORT_CALL: u64 = 10_000;

/// How one test went.
enum Verdict {
    Passed,
    Failed(Box<Failure>),
    Skipped(Skipped),
}

/// What all tests share.
struct Bench<'a> {
    host: &'a Host,
    options: &'a Options,
    permits: Semaphore,
}

/// Tests all subjects; the reports are in their order.
pub(crate) async fn all(host: &Host, subjects: Vec<Subject>, options: &Options) -> Vec<Report> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let permits = Semaphore::new(cores * 2);
    let bench = &Bench { host, options, permits };
    // Those that are waiting for their code leave the cores to others.
    let reports = stream::iter(&subjects).map(|subject| bench.subject(subject));
    reports.buffered(cores * 2).collect().await
}

impl Bench<'_> {
    async fn subject(&self, subject: &Subject) -> Report {
        let mut report = Report { binding: subject.name.clone(), ..Report::default() };
        for tool in &subject.tools {
            self.examples(subject, tool, &mut report).await;
        }
        for (path, suite) in &subject.suites {
            let file = path.as_path();
            let cases = stream::iter(&suite.cases).map(|case| self.case(subject, case, file));
            let verdicts: Vec<_> = cases.buffered(self.at_once()).collect().await;
            verdicts.into_iter().for_each(|verdict| report.add(Kind::Case, verdict));
        }
        for tool in &subject.tools {
            self.sealed(subject, tool, &mut report).await;
        }
        report
    }

    fn at_once(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from) * 2
    }

    /// Makes a call when there is room for it.
    async fn call(&self, call: Call) -> Outcome {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let (host, tool) = (self.host.clone(), call.tool.clone());
        // A task of its own, so that calls run on all cores.
        let task = tokio::spawn(async move { host.call(call).await });
        task.await.unwrap_or_else(|error| Outcome {
            end: End::Fault(format!("the host panicked: {error}")),
            receipt: ampoule::Receipt::empty(String::new(), tool, "fault"),
        })
    }

    async fn examples(&self, subject: &Subject, tool: &Subtool, report: &mut Report) {
        let examples = tool.tool.examples.iter().map(|example| Case {
            title: example.title.clone().unwrap_or_else(|| "an example".into()),
            tool: Some(tool.tool.name.clone()),
            arguments: example.arguments.clone(),
            value: example.value.clone(),
            error: example.error.clone(),
            ..Case::default()
        });
        for example in examples {
            let verdict = self.held(subject, tool, &example, None).await;
            report.add(Kind::Example, verdict);
        }
    }

    async fn case(&self, subject: &Subject, case: &Case, file: &Path) -> Verdict {
        let named = |tool: &&Subtool| case.tool.as_ref().is_none_or(|name| tool.tool.name == *name);
        match subject.tools.iter().find(named) {
            Some(tool) => self.held(subject, tool, case, Some(file)).await,
            // Refused when the suite was read.
            None => Verdict::Passed,
        }
    }

    /// Whether an example, or a case of a file, holds.
    async fn held(
        &self,
        subject: &Subject,
        tool: &Subtool,
        case: &Case,
        file: Option<&Path>,
    ) -> Verdict {
        let kind = if file.is_some() { Kind::Case } else { Kind::Example };
        let skipped = |why: &str, denied: bool| {
            Verdict::Skipped(Skipped {
                kind,
                tool: tool.tool.name.clone(),
                title: case.title.clone(),
                why: why.to_owned(),
                denied,
            })
        };
        if let Some(why) = &case.skip {
            return skipped(why, false);
        }
        let here = |value: &Value| match &self.options.site {
            Some(site) => {
                let text = value.to_string().replace(SITE, site);
                // Whatever an origin is, it is a part of a text.
                serde_json::from_str(&text).unwrap_or_else(|_| value.clone())
            }
            None => value.clone(),
        };
        let mut arguments = here(&case.arguments);
        if self.options.site.is_none() && arguments.to_string().contains(SITE) {
            return skipped(&format!("it needs {SITE}, a site that only some tests have"), true);
        }
        let failed = |expected: String, found: String, differences: Vec<String>| {
            Verdict::Failed(Box::new(Failure {
                kind,
                file: file.map(Path::to_owned),
                tool: tool.tool.name.clone(),
                title: case.title.clone(),
                arguments: shorten(&case.arguments.to_string(), SHOWN_ARGUMENTS),
                expected,
                found,
                differences,
            }))
        };
        let folder = file.and_then(Path::parent);
        let blobs = Blobs::default();
        if let Some(folder) = folder
            && let Err(problem) = place_files(&mut arguments, folder, &blobs)
        {
            return failed("the file".into(), problem, Vec::new());
        }
        let workspace = match Workspace::new(subject, folder).await {
            Ok(workspace) => workspace,
            Err(problem) => return failed("a workspace".into(), problem, Vec::new()),
        };
        let call = Call::new(&tool.tool.id, &arguments).blobs(blobs.clone());
        let outcome = self.call(workspace.given_to(call)).await;
        let wanted = case.value.as_ref().or(case.partial.as_ref()).map(&here);
        let differences = match (&outcome.end, &wanted, &case.error) {
            (End::Value(output), Some(wanted), _) => {
                let partial = case.partial.is_some();
                let comparison = Comparison { partial, files: folder, blobs: &blobs };
                let found = output.value.as_ref().unwrap_or(&Value::Null);
                let differences = comparison.differences(wanted, found);
                if differences.is_empty() {
                    return Verdict::Passed;
                }
                differences
            }
            (End::Value(_), None, None) => return Verdict::Passed,
            (end, None, Some(code)) => {
                let error = end.clone().into_result().err();
                let message = case.message.as_deref().unwrap_or_default();
                if error.is_some_and(|e| e.code == *code && e.message.contains(message)) {
                    return Verdict::Passed;
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        if let Some(denied) =
            denied(&outcome.end).filter(|_| case.error.as_deref() != Some("denied"))
        {
            return skipped(&denied, true);
        }
        failed(expected(case), ended(&outcome.end), differences)
    }

    /// Bad inputs, and the limits, of one tool.
    async fn sealed(&self, subject: &Subject, tool: &Subtool, report: &mut Report) {
        let Some(sealed) = &tool.sealed else { return };
        // What ends well where nothing is granted comes first.
        let (mut good, mut rest) = (Vec::new(), Vec::new());
        for example in &tool.tool.examples {
            let arguments = &example.arguments;
            let outcome = self.plain(subject, sealed, arguments.to_string()).await;
            let list = match outcome.end {
                End::Value(_) => &mut good,
                _ => &mut rest,
            };
            list.push((arguments.clone(), outcome));
        }
        good.extend(rest);
        let entered = good.iter().find(|(_, outcome)| outcome.receipt.used.get(Meter::Fuel) > 0);
        if let Some((arguments, outcome)) = entered {
            for verdict in self.limits(subject, tool, sealed, arguments, outcome).await {
                report.add(Kind::Limit, verdict);
            }
        }
        let good: Vec<_> = good.into_iter().map(|(good, _)| good).take(MAX_GOOD).collect();
        let inputs = bad_inputs(&tool.tool.input_schema, &good);
        let verdicts = stream::iter(&inputs).map(|input| self.bad(subject, tool, sealed, input));
        let verdicts: Vec<_> = verdicts.buffered(self.at_once()).collect().await;
        verdicts.into_iter().for_each(|verdict| report.add(Kind::BadInput, verdict));
    }

    /// A call of a tool that reaches nothing.
    async fn plain(&self, subject: &Subject, tool: &str, arguments: String) -> Outcome {
        match Workspace::new(subject, None).await {
            Ok(workspace) => self.call(workspace.given_to(Call::new(tool, arguments))).await,
            Err(problem) => Outcome {
                end: End::Fault(problem),
                receipt: ampoule::Receipt::empty(String::new(), tool.to_owned(), "fault"),
            },
        }
    }

    async fn bad(
        &self,
        subject: &Subject,
        tool: &Subtool,
        sealed: &str,
        input: &BadInput,
    ) -> Verdict {
        let arguments = input.text();
        let shown = shorten(&arguments, SHOWN_ARGUMENTS);
        let end = self.plain(subject, sealed, arguments).await.end;
        let fine = match &end {
            End::Value(_) | End::BadArguments(_) | End::Denied(_) | End::Suspended(_) => true,
            End::Failed(error) => !error.code.is_empty() && !error.message.is_empty(),
            End::Limit(breach) => breach.meter != Meter::Stack,
            End::BadOutput(_)
            | End::Trap(_)
            | End::Cancelled
            | End::Overloaded(_)
            | End::Fault(_) => false,
        };
        if fine {
            return Verdict::Passed;
        }
        Verdict::Failed(Box::new(Failure {
            kind: Kind::BadInput,
            file: None,
            tool: tool.tool.name.clone(),
            title: input.title.clone(),
            arguments: shown,
            expected: "a value, an error with a code and a message, or a limit but the stack's"
                .into(),
            found: ended(&end),
            differences: Vec::new(),
        }))
    }

    /// Whether a call ends by its limits of fuel and memory, and the next one is as ever.
    async fn limits(
        &self,
        subject: &Subject,
        tool: &Subtool,
        sealed: &str,
        arguments: &Value,
        before: &Outcome,
    ) -> Vec<Verdict> {
        let used = |meter| before.receipt.used.get(meter);
        let word = before.end.word();
        let mut verdicts = Vec::new();
        // The engine looks at the fuel where functions and loops begin, so a guest of a few
        // instructions may come to its end on half of it.
        let little = match used(Meter::Fuel) {
            0..SHORT_CALL => 1,
            used => used / 2,
        };
        let fuel = Account::root(Limits::UNLIMITED.with(Meter::Fuel, little));
        let starved = tool.starved.as_ref().filter(|_| used(Meter::Memory) > HARDLY_ANY_MEMORY);
        for (meter, id, budget, limit) in [
            (Meter::Fuel, Some(sealed), Some(fuel), little),
            (Meter::Memory, starved.map(String::as_str), None, HARDLY_ANY_MEMORY),
        ] {
            let Some(id) = id else { continue };
            let outcome = self.limited(subject, id, arguments, budget).await;
            let next = self.plain(subject, sealed, arguments.to_string()).await;
            let met = matches!(&outcome.end, End::Limit(breach) if breach.meter == meter);
            if met && next.end.word() == word {
                verdicts.push(Verdict::Passed);
                continue;
            }
            let found = match met {
                false => ended(&outcome.end),
                true => format!("the next call ended as {}", ended(&next.end)),
            };
            verdicts.push(Verdict::Failed(Box::new(Failure {
                kind: Kind::Limit,
                file: None,
                tool: tool.tool.name.clone(),
                title: format!("{meter} of {}", meter.show(limit)),
                arguments: shorten(&arguments.to_string(), SHOWN_ARGUMENTS),
                expected: format!("limit {meter}, and then {word}"),
                found,
                differences: Vec::new(),
            })));
        }
        verdicts
    }

    async fn limited(
        &self,
        subject: &Subject,
        tool: &str,
        arguments: &Value,
        budget: Option<Arc<Account>>,
    ) -> Outcome {
        let Ok(workspace) = Workspace::new(subject, None).await else {
            return self.plain(subject, tool, arguments.to_string()).await;
        };
        let call = Call::new(tool, arguments);
        let call = match budget {
            Some(budget) => call.budget(budget),
            None => call,
        };
        self.call(workspace.given_to(call)).await
    }
}

impl Report {
    fn add(&mut self, kind: Kind, verdict: Verdict) {
        let count = match kind {
            Kind::Example => &mut self.examples,
            Kind::Case => &mut self.cases,
            Kind::BadInput => &mut self.bad_inputs,
            Kind::Limit => &mut self.limits,
        };
        let Count { passed, failed, skipped } = count;
        match verdict {
            Verdict::Passed => *passed += 1,
            Verdict::Failed(failure) => {
                *failed += 1;
                self.failures.push(*failure);
            }
            Verdict::Skipped(why) => {
                *skipped += 1;
                self.skipped.push(why);
            }
        }
    }
}

/// A folder for one call of a plugin that uses files; gone with the value.
struct Workspace(Option<tempfile::TempDir>);

impl Workspace {
    /// Makes one: a copy of the folder [`WORKSPACE`] beside the suites, or an empty one.
    async fn new(subject: &Subject, suites: Option<&Path>) -> Result<Workspace, String> {
        if !subject.files {
            return Ok(Workspace(None));
        }
        let from = suites.map(|folder| folder.join(WORKSPACE)).filter(|folder| folder.is_dir());
        let made = tokio::task::spawn_blocking(move || make(from.as_deref())).await;
        let made = made.map_err(|error| error.to_string())?;
        made.map(|folder| Workspace(Some(folder))).map_err(|error| format!("no workspace: {error}"))
    }

    fn given_to(&self, call: Call) -> Call {
        match &self.0 {
            Some(folder) => call.workspace(folder.path()),
            None => call,
        }
    }
}

fn make(from: Option<&Path>) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let mut left = MAX_COPIED;
    let mut todo: Vec<(PathBuf, PathBuf)> =
        from.map(|from| (from.to_owned(), folder.path().to_owned())).into_iter().collect();
    while let Some((from, to)) = todo.pop() {
        for entry in from.read_dir()? {
            let entry = entry?;
            left = left.checked_sub(1).ok_or_else(|| {
                std::io::Error::other(format!("more than {MAX_COPIED} files to copy"))
            })?;
            let target = to.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                std::fs::create_dir(&target)?;
                todo.push((entry.path(), target));
            } else if kind.is_file() {
                std::fs::copy(entry.path(), &target)?;
            }
        }
    }
    Ok(folder)
}

/// Why a call was denied, if it was.
fn denied(end: &End) -> Option<String> {
    match end {
        End::Denied(denial) if denial.gate != "registry" => Some(denial.message.clone()),
        End::Failed(error) if error.code == "denied" => Some(error.message.clone()),
        _ => None,
    }
}

/// What a case wants, in a line.
fn expected(case: &Case) -> String {
    match (&case.value, &case.partial, &case.error) {
        (Some(value), ..) => format!("value {}", show(value)),
        (_, Some(partial), _) => format!("at least {}", show(partial)),
        (.., Some(code)) => match &case.message {
            Some(message) => format!("error {code} with {message:?}"),
            None => format!("error {code}"),
        },
        _ => "a value".into(),
    }
}

/// How a call ended, in a line.
fn ended(end: &End) -> String {
    match end {
        End::Value(output) => {
            format!("value {}", output.value.as_ref().map_or("none".into(), show))
        }
        End::Failed(error) => format!("error {error}"),
        End::BadArguments(problem) => format!("error bad-arguments: {problem}"),
        End::BadOutput(problem) => {
            format!("a value that breaks the tool's own output schema: {problem}")
        }
        End::Limit(breach) => breach.to_string(),
        End::Denied(denial) => format!("denied: {denial}"),
        End::Trap(text) => format!("trap: {text}"),
        End::Fault(text) => format!("a fault of the host: {text}"),
        End::Cancelled | End::Overloaded(_) | End::Suspended(_) => end.word().into(),
    }
}
