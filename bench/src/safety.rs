//! `safety`: what each layer of safety costs, one put on the other, in one run; at the end, beside
//! each other, what a host can be built or called with or without.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ampoule::egress::SecretValue;
use ampoule::{Call, End, Host, RunSecrets, RunState, Tools};
use ampoule_journal::Journal;
use anyhow::{Context, Result, anyhow, ensure};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::bare::{Bare, Metering};
use crate::call::{guest, runtime};
use crate::figures::Times;

/// A way through some layers.
struct Layer {
    name: &'static str,
    path: Path,
    /// Whether it stands on the whole path, beside the others that do, and not on the one before.
    beside: bool,
}

enum Path {
    /// The engine alone, and what it meters.
    Engine(Bare),
    /// The same between the schemas of the tool.
    Schemas(Bare, Schemas),
    /// A host.
    Host(Host),
    /// A host that looks for a secret which the run has used.
    Scan(Host, RunState),
    /// A host that writes what happens into a journal.
    Audit(Host),
    /// A host that records each call in a file.
    Record(Host, Files),
}

/// Files, each with a name of its own, that go with this.
struct Files {
    folder: tempfile::TempDir,
    made: AtomicUsize,
}

impl Files {
    fn new() -> Result<Files> {
        Ok(Files { folder: tempfile::tempdir()?, made: AtomicUsize::new(0) })
    }

    fn next(&self) -> PathBuf {
        self.folder.path().join(self.made.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// The schemas of one tool.
struct Schemas {
    input: Validator,
    output: Option<Validator>,
}

/// What is called: the tool's name and its arguments.
type Case = (&'static str, &'static str, String);

pub fn run(calls: usize) -> Result<()> {
    let cases: [Case; 2] = [
        ("no-op", "noop", "{}".to_owned()),
        ("echo 10 KB", "echo", json!({ "text": "x".repeat(10_000) }).to_string()),
    ];
    runtime(1)?.block_on(async {
        let journal = tempfile::tempdir()?;
        for (name, tool, arguments) in cases {
            let layers = layers(tool, &journal.path().join(format!("{tool}.db"))).await?;
            let measured = tokio::spawn(measure(layers, tool, arguments, calls)).await??;
            show(name, measured);
        }
        Ok(())
    })
}

/// The layers, each with all those before it; the last ones each with the whole path.
async fn layers(tool: &str, journal: &std::path::Path) -> Result<Vec<Layer>> {
    let guest = guest()?;
    let bare = |fuel, limiter| Bare::new(&guest, Metering { fuel, limiter });
    let host = Host::builder().plugins(&guest).build().await?;
    let audit = Arc::new(Journal::open(journal)?);
    let audited = Host::builder().plugins(&guest).audit(audit).build().await?;
    let schemas = Schemas::of(&host, tool)?;
    let run = RunState::default();
    let secrets = run.get_or_default::<RunSecrets>().context("a run without a list of secrets")?;
    let secret = SecretValue::new("a-key-of-thirty-two-bytes-in-all");
    secrets.add("key", &[], &secret).map_err(|error| anyhow!("{error}"))?;
    let on = |name, path| Layer { name, path, beside: false };
    let beside = |name, path| Layer { name, path, beside: true };
    Ok(vec![
        on("bare", Path::Engine(bare(false, false)?)),
        on("+ fuel", Path::Engine(bare(true, false)?)),
        on("+ limiter", Path::Engine(bare(true, true)?)),
        on("+ schemas", Path::Schemas(bare(true, true)?, schemas)),
        // Grants, accounts, admission, bounds on values, the receipt.
        on("whole path", Path::Host(host.clone())),
        beside("  with scan", Path::Scan(host.clone(), run)),
        beside("  with audit", Path::Audit(audited)),
        beside("  with record", Path::Record(host, Files::new()?)),
    ])
}

impl Schemas {
    fn of(host: &Host, tool: &str) -> Result<Schemas> {
        let id = format!("bench/{tool}");
        let tools = host.tools();
        let tool = tools.iter().find(|tool| tool.id == id).context("the guest lacks the tool")?;
        let compile = |schema: &Value| {
            jsonschema::draft202012::new(schema).map_err(|error| anyhow!("{error}"))
        };
        let output = tool.output_schema.as_ref().map(compile).transpose()?;
        Ok(Schemas { input: compile(&tool.input_schema)?, output })
    }
}

impl Layer {
    /// A fresh call, until it is answered.
    async fn call(&self, tool: &str, arguments: &String) -> Result<Duration> {
        let started = Instant::now();
        match &self.path {
            Path::Engine(bare) => return Ok(bare.call(tool, arguments).await?.0),
            Path::Schemas(bare, schemas) => {
                let arguments: Value = serde_json::from_str(arguments)?;
                ensure!(schemas.input.is_valid(&arguments), "bad arguments");
                let (answer, cycle, output) = bare.answer(tool, &arguments.to_string()).await?;
                let output: Value = serde_json::from_str(&output)?;
                let fits = schemas.output.as_ref().is_none_or(|schema| schema.is_valid(&output));
                ensure!(fits, "bad output");
                // The instance is cleaned up after before its output is read here.
                return Ok(started.elapsed() - (cycle - answer));
            }
            Path::Host(host) | Path::Audit(host) => {
                ended(&host.call(called(tool, arguments)).await.end)?;
            }
            Path::Scan(host, run) => {
                let mut call = called(tool, arguments);
                call.context.state = Some(run.clone());
                ended(&host.call(call).await.end)?;
            }
            Path::Record(host, files) => {
                let recorded = host.record(called(tool, arguments), &files.next()).await?;
                recorded.recording.map_err(|error| anyhow!("{error}"))?;
                ended(&recorded.outcome.end)?;
            }
        }
        Ok(started.elapsed())
    }
}

fn called(tool: &str, arguments: &str) -> Call {
    Call::new(format!("bench/{tool}"), arguments)
}

fn ended(end: &End) -> Result<()> {
    ensure!(matches!(end, End::Value(_)), "{end:?}");
    Ok(())
}

/// The times of each layer, the layers in turns, so that a machine whose speed drifts drifts for
/// all of them.
async fn measure(
    layers: Vec<Layer>,
    tool: &'static str,
    arguments: String,
    calls: usize,
) -> Result<Vec<(&'static str, bool, Times)>> {
    let times = |layer: &Layer| (layer.name, layer.beside, Times::default());
    let mut measured: Vec<_> = layers.iter().map(times).collect();
    for round in 0..calls + calls / 10 {
        for (layer, (.., times)) in layers.iter().zip(&mut measured) {
            // What the layer before has left in the caches is not this one's.
            layer.call(tool, &arguments).await?;
            let time = layer.call(tool, &arguments).await?;
            // The first tenth warms caches up.
            if round >= calls / 10 {
                times.push(time);
            }
        }
    }
    Ok(measured)
}

fn show(case: &str, measured: Vec<(&'static str, bool, Times)>) {
    println!("{case:<16} {:>10} {:>10} {:>12} {:>8}", "p50 µs", "p99 µs", "the layer", "÷bare");
    let (mut first, mut before) = (f64::NAN, f64::NAN);
    for (name, beside, mut times) in measured {
        let (half, most) = (times.quantile(0.5), times.quantile(0.99));
        if first.is_nan() {
            (first, before) = (half, half);
        }
        let (own, ratio) = (half - before, half / first);
        println!("{name:<16} {half:>10.1} {most:>10.1} {own:>+12.1} {ratio:>8.2}");
        if !beside {
            before = half;
        }
    }
    println!();
}
