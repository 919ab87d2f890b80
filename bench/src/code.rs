//! `code`: JavaScript and Python in a fresh interpreter, through the whole path, on the bare engine
//! with the same component, and beside what else people use, as far as it is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ampoule::{Call, End, Host};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bare::{Bare, Metering};
use crate::call::runtime;
use crate::figures::Times;

/// The bars: answers through the whole path in microseconds, and heavy JavaScript as a ratio to
/// native QuickJS.
const JAVASCRIPT_BAR: f64 = 30.0;
const PYTHON_BAR: f64 = 2_000.0;
const HEAVY_BAR: f64 = 1.5;

/// JSON there and back, a map, a regular expression, a sort, and a recursion.
const HEAVY_JAVASCRIPT: &str = r#"
const rows = Array.from({ length: 20000 }, (_, i) => ({ id: i, name: "item " + (i * 7919 % 20000), tags: ["a", "b", i % 10] }));
const copy = JSON.parse(JSON.stringify(rows));
const found = copy.map((row) => row.name).filter((name) => /^item \d*7$/.test(name));
copy.sort((a, b) => (a.name < b.name ? -1 : 1));
const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
[copy.length, found.length, copy[0].name, fib(24)].join()
"#;

/// The same in Python.
const HEAVY_PYTHON: &str = r#"
import json, re
rows = [{"id": i, "name": f"item {i * 7919 % 20000}", "tags": ["a", "b", i % 10]} for i in range(20000)]
copy = json.loads(json.dumps(rows))
found = [row["name"] for row in copy if re.match(r"^item \d*7$", row["name"])]
copy.sort(key=lambda row: row["name"])
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
",".join(map(str, [len(copy), len(found), copy[0]["name"], fib(24)]))
"#;

/// What both heavy programs answer.
const HEAVY_ANSWER: &str = "20000,2000,item 0,46368";

pub fn run(calls: usize) -> Result<()> {
    let runtime = runtime(1)?;
    let host = runtime.block_on(async {
        Host::builder()
            .plugins(plugin("ecmascript")?)
            .plugins(plugin("python")?)
            .build()
            .await
            .map_err(anyhow::Error::from)
    })?;
    println!("{:<44} {:>16} {:>16}", "", "p50", "p99");
    let heavy = (calls / 200).max(5);
    let javascript = |code: &str| json!({ "code": code }).to_string();

    let one = javascript("1+1");
    let mut answer = whole(&runtime, &host, "ecmascript", &one, calls, Until::Answer, &json!(2))?;
    let fresh_javascript = show("JavaScript 1+1, fresh, whole path, answer", &mut answer);
    let mut cycle = whole(&runtime, &host, "ecmascript", &one, calls, Until::Cycle, &json!(2))?;
    show("JavaScript 1+1, fresh, whole path, cycle", &mut cycle);
    bare_rows(&runtime, "ecmascript", &one, calls, "JavaScript 1+1, fresh, bare engine");
    let mut native = Times::default();
    for _ in 0..calls {
        native.push(native_quickjs("1+1")?);
    }
    show("JavaScript 1+1, native QuickJS, new context", &mut native);

    let (mut whole_heavy, mut native) = heavy_in_turn(&runtime, &host, heavy)?;
    let heavy_javascript = show("JavaScript heavy, fresh, whole path", &mut whole_heavy);
    bare_rows(
        &runtime,
        "ecmascript",
        &javascript(HEAVY_JAVASCRIPT),
        heavy,
        "JavaScript heavy, fresh, bare engine",
    );
    let native_heavy = show("JavaScript heavy, native QuickJS", &mut native);

    let python = calls.min(500);
    let mut answer = whole(&runtime, &host, "python", &one, python, Until::Answer, &json!(2))?;
    let fresh_python = show("Python 1+1, fresh, whole path, answer", &mut answer);
    let mut cycle = whole(&runtime, &host, "python", &one, python, Until::Cycle, &json!(2))?;
    show("Python 1+1, fresh, whole path, cycle", &mut cycle);
    bare_rows(&runtime, "python", &one, python, "Python 1+1, fresh, bare engine");
    let mut whole_heavy = whole(
        &runtime,
        &host,
        "python",
        &javascript(HEAVY_PYTHON),
        heavy,
        Until::Cycle,
        &json!(HEAVY_ANSWER),
    )?;
    show("Python heavy, fresh, whole path", &mut whole_heavy);

    let twice = [
        draw(&runtime, &host, "ecmascript", "Math.random()")?,
        draw(&runtime, &host, "python", "import random\nrandom.random()")?,
    ];
    ensure!(twice.iter().all(|(one, other)| one != other), "fresh calls drew the same: {twice:?}");

    others(heavy.min(10))?;
    let verdict = |met: bool| if met { "met" } else { "NOT met" };
    println!("\nrandom numbers differ between two fresh calls: {twice:?}");
    println!(
        "fresh JavaScript under {JAVASCRIPT_BAR} µs: {}",
        verdict(fresh_javascript < JAVASCRIPT_BAR)
    );
    println!("fresh Python under {PYTHON_BAR} µs: {}", verdict(fresh_python < PYTHON_BAR));
    println!(
        "heavy JavaScript at most {HEAVY_BAR} times native QuickJS: {:.2}, {}",
        heavy_javascript / native_heavy,
        verdict(heavy_javascript / native_heavy <= HEAVY_BAR)
    );
    Ok(())
}

fn plugin(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    let path = path.join(format!("{name}.wasm"));
    ensure!(path.exists(), "{} is not there: run `cargo xtask build {name}`", path.display());
    Ok(path)
}

fn show(name: &str, times: &mut Times) -> f64 {
    let text = |us: f64| match us {
        0.0..10_000.0 => format!("{us:.1} µs"),
        _ => format!("{:.1} ms", us / 1_000.0),
    };
    let half = times.quantile(0.5);
    println!("{name:<44} {:>16} {:>16}", text(half), text(times.quantile(0.99)));
    half
}

/// How long is warmed up.
const WARMING: Duration = Duration::from_secs(2);

/// What of a call is measured.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// To its answer. The thread cleans up before the next call, as a runtime has it do before it
    /// sleeps.
    Answer,
    /// With cleaning up after the call before: there is always a next one.
    Cycle,
}

/// The result of a program through the whole path, and how long it takes to its answer.
async fn result(host: &Host, plugin: &str, arguments: &str) -> Result<(Value, Duration)> {
    let call = Call::new(plugin, arguments);
    let started = Instant::now();
    let outcome = host.call(call).await;
    let took = started.elapsed();
    match outcome.end {
        End::Value(output) => Ok((output.value.unwrap_or_default()["result"].take(), took)),
        other => anyhow::bail!("{plugin} ended as {other:?}"),
    }
}

/// Calls through the whole path, one after the other, the first ones left out.
fn whole(
    runtime: &tokio::runtime::Runtime,
    host: &Host,
    plugin: &str,
    arguments: &str,
    calls: usize,
    until: Until,
    expected: &Value,
) -> Result<Times> {
    let (host, plugin) = (host.clone(), plugin.to_owned());
    let (arguments, expected) = (arguments.to_owned(), expected.clone());
    runtime.block_on(async move {
        let work = async move {
            let mut times = Times::default();
            // Until what compiling has left behind is gone too.
            let begun = Instant::now();
            while times.len() < calls {
                let (result, took) = result(&host, &plugin, &arguments).await?;
                ensure!(result == expected, "{plugin} answered {result}");
                if begun.elapsed() > WARMING {
                    times.push(took);
                }
                if until == Until::Answer {
                    ampoule::clean_up();
                }
            }
            Ok(times)
        };
        // Within the runtime's worker, where a server's calls run too.
        tokio::spawn(work).await?
    })
}

/// Answer and cycle on the bare engine, where the component runs there.
fn bare_rows(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    arguments: &str,
    calls: usize,
    title: &str,
) {
    let measured = || -> Result<(Times, Times)> {
        let bare = Bare::new(&plugin(name)?, Metering { fuel: true, limiter: true })?;
        let (mut answers, mut cycles) = (Times::default(), Times::default());
        let arguments = arguments.to_owned();
        runtime.block_on(async {
            for round in 0..calls + calls / 10 + 2 {
                let (answer, cycle) = bare.call(name, &arguments).await?;
                if round >= calls / 10 + 2 {
                    answers.push(answer);
                    cycles.push(cycle);
                }
            }
            Ok((answers, cycles))
        })
    };
    match measured() {
        Ok((mut answers, mut cycles)) => {
            show(&format!("{title}, answer"), &mut answers);
            show(&format!("{title}, cycle"), &mut cycles);
        }
        Err(error) => println!("{title:<44} not measured: {error:.80}"),
    }
}

/// The heavy program through the whole path and natively, in turn: the machine's speed may change from
/// one second to the next.
fn heavy_in_turn(
    runtime: &tokio::runtime::Runtime,
    host: &Host,
    calls: usize,
) -> Result<(Times, Times)> {
    let (mut whole, mut native) = (Times::default(), Times::default());
    let arguments = json!({ "code": HEAVY_JAVASCRIPT }).to_string();
    for round in 0..calls + 2 {
        let (result, took) = runtime.block_on(result(host, "ecmascript", &arguments))?;
        ensure!(result == HEAVY_ANSWER, "ecmascript answered {result}");
        let beside = native_quickjs(HEAVY_JAVASCRIPT)?;
        // The first two warm up.
        if round >= 2 {
            whole.push(took);
            native.push(beside);
        }
    }
    Ok((whole, native))
}

/// How long a program takes in a new context of native QuickJS.
fn native_quickjs(code: &str) -> Result<Duration> {
    let started = Instant::now();
    let runtime = rquickjs::Runtime::new()?;
    let context = rquickjs::Context::full(&runtime)?;
    context.with(|ctx| ctx.eval::<rquickjs::Value<'_>, _>(code).map(drop))?;
    Ok(started.elapsed())
}

fn draw(
    runtime: &tokio::runtime::Runtime,
    host: &Host,
    plugin: &str,
    code: &str,
) -> Result<(Value, Value)> {
    let arguments = json!({ "code": code }).to_string();
    let draw = || runtime.block_on(result(host, plugin, &arguments));
    Ok((draw()?.0, draw()?.0))
}

/// Programs that are on the path, each in a process of its own; and what `bench/others` brings.
fn others(calls: usize) -> Result<()> {
    let heavy_node = format!(
        "const t = performance.now(); {HEAVY_JAVASCRIPT}; console.log(performance.now() - t)"
    );
    let heavy_python = format!(
        "import time\nt = time.perf_counter()\n{HEAVY_PYTHON}\nprint((time.perf_counter() - t) * 1000)"
    );
    for (title, program, arguments) in [
        ("JavaScript 1+1, `node -e`, a process", "node", vec!["-e", "1+1"]),
        ("JavaScript heavy, in a warm node", "node", vec!["-e", &heavy_node]),
        ("Python 1+1, `python3 -c`, a process", "python3", vec!["-c", "1+1"]),
        ("Python heavy, in a warm python3", "python3", vec!["-c", &heavy_python]),
    ] {
        let mut times = Times::default();
        for _ in 0..calls {
            let started = Instant::now();
            let Ok(output) = Command::new(program).args(&arguments).output() else { break };
            let took = started.elapsed();
            let inside = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
            times.push(inside.map_or(took, |ms| Duration::from_secs_f64(ms / 1_000.0)));
        }
        match times.is_empty() {
            true => println!("{title:<44} not measured: no `{program}`"),
            false => drop(show(title, &mut times)),
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/others");
    if !folder.join("node_modules").exists() {
        println!("others: not measured: run by `cargo xtask bench code`, which installs them");
        return Ok(());
    }
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/node");
    let output = Command::new(node)
        .arg(folder.join("others.mjs"))
        .env("HEAVY_JAVASCRIPT", HEAVY_JAVASCRIPT)
        .env("HEAVY_PYTHON", HEAVY_PYTHON)
        .current_dir(&folder)
        .output()
        .context("node, for the others")?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let row: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let title = row["title"].as_str().unwrap_or_default();
        match row["ms"].as_array() {
            Some(list) => {
                let mut times = Times::default();
                list.iter()
                    .filter_map(Value::as_f64)
                    .for_each(|ms| times.push(Duration::from_secs_f64(ms / 1_000.0)));
                show(title, &mut times);
            }
            None => println!("{title:<44} not measured: {}", row["error"]),
        }
    }
    Ok(())
}
