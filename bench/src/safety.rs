//! `safety`: what each layer of safety costs, one put on the other, in one run.

use std::time::{Duration, Instant};

use ampoule::{Call, End, Host, Tools};
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
}

enum Path {
    /// The engine alone, and what it meters.
    Engine(Bare),
    /// The same between the schemas of the tool.
    Schemas(Bare, Schemas),
    /// A host.
    Host(Host),
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
        for (name, tool, arguments) in cases {
            let layers = layers(tool).await?;
            let measured = tokio::spawn(measure(layers, tool, arguments, calls)).await??;
            show(name, measured);
        }
        Ok(())
    })
}

/// The layers, each with all those before it.
async fn layers(tool: &str) -> Result<Vec<Layer>> {
    let guest = guest()?;
    let bare = |fuel, limiter| Bare::new(&guest, Metering { fuel, limiter });
    let host = Host::builder().plugins(&guest).build().await?;
    let schemas = Schemas::of(&host, tool)?;
    let layer = |name, path| Layer { name, path };
    Ok(vec![
        layer("bare", Path::Engine(bare(false, false)?)),
        layer("+ fuel", Path::Engine(bare(true, false)?)),
        layer("+ limiter", Path::Engine(bare(true, true)?)),
        layer("+ schemas", Path::Schemas(bare(true, true)?, schemas)),
        // Grants, accounts, admission, bounds on values, the receipt. Layers that a host can be
        // built with or without (scanning, audit, recording) follow as hosts of their own.
        layer("whole path", Path::Host(host)),
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
    /// A fresh call, until the instance is gone.
    async fn call(&self, tool: &str, arguments: &String) -> Result<()> {
        match &self.path {
            Path::Engine(bare) => bare.call(tool, arguments).await.map(drop),
            Path::Schemas(bare, schemas) => {
                let arguments: Value = serde_json::from_str(arguments)?;
                ensure!(schemas.input.is_valid(&arguments), "bad arguments");
                let (.., output) = bare.answer(tool, &arguments.to_string()).await?;
                let output: Value = serde_json::from_str(&output)?;
                let fits = schemas.output.as_ref().is_none_or(|schema| schema.is_valid(&output));
                ensure!(fits, "bad output");
                Ok(())
            }
            Path::Host(host) => {
                let call = Call::new(format!("bench/{tool}"), arguments.as_str());
                let outcome = host.call(call).await;
                ensure!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
                Ok(())
            }
        }
    }
}

/// The times of each layer, the layers in turns, so that a machine whose speed drifts drifts for
/// all of them.
async fn measure(
    layers: Vec<Layer>,
    tool: &'static str,
    arguments: String,
    calls: usize,
) -> Result<Vec<(&'static str, Times)>> {
    let mut measured: Vec<_> = layers.iter().map(|layer| (layer.name, Times::default())).collect();
    for round in 0..calls + calls / 10 {
        for (layer, (_, times)) in layers.iter().zip(&mut measured) {
            let started = Instant::now();
            layer.call(tool, &arguments).await?;
            let time: Duration = started.elapsed();
            // The first tenth warms caches up.
            if round >= calls / 10 {
                times.push(time);
            }
        }
    }
    Ok(measured)
}

fn show(case: &str, measured: Vec<(&'static str, Times)>) {
    println!("{case:<16} {:>10} {:>10} {:>12} {:>8}", "p50 µs", "p99 µs", "the layer", "÷bare");
    let (mut first, mut before) = (f64::NAN, f64::NAN);
    for (name, mut times) in measured {
        let (half, most) = (times.quantile(0.5), times.quantile(0.99));
        if first.is_nan() {
            (first, before) = (half, half);
        }
        let (own, ratio) = (half - before, half / first);
        println!("{name:<16} {half:>10.1} {most:>10.1} {own:>+12.1} {ratio:>8.2}");
        before = half;
    }
    println!();
}
