//! `call`: a fresh call, through the whole path and on the bare engine in turn.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ampoule::{Call, End, Host};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use crate::bare::{Bare, Metering};
use crate::figures::{Pair, head};

/// The guest of the benchmarks, built by `cargo xtask guests bench`.
const GUEST: &str = "target/guests/bench.wasm";

/// The bar, as a ratio in one run: a cycle of at most twice the bare one, on one core and on all.
const SHARE_BAR: f64 = 0.5;

/// How long each throughput is measured.
const MEASURED: Duration = Duration::from_secs(2);

pub fn run(calls: usize) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let single = runtime(1)?;
    let (bare, host) = single.block_on(prepare())?;
    println!("{cores} cores; fuel, memory limit and yielding on in both; pool: {}", host.pooled());
    head();
    for (name, tool, arguments, calls) in cases(calls) {
        single.block_on(latency(&bare, &host, tool, &arguments, calls))?.show(name);
    }
    // Threads inherit the core: on one, what is done beside a call is its cost too.
    let one = std::thread::spawn(|| {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pinned = cores.first().is_some_and(|core| core_affinity::set_for_current(*core));
        ensure!(pinned, "the measuring thread cannot be kept to one core");
        shares(1)
    });
    println!("\nfresh no-op calls, thousands a second, instances gone");
    let one = one.join().map_err(|_| anyhow!("the measuring thread broke down"))?;
    let (one, all) = (one?, shares(cores)?);
    let verdict = |met: bool| if met { "met" } else { "NOT met" };
    println!("\nat least {SHARE_BAR} of the bare engine's: {}", verdict(one.min(all) >= SHARE_BAR));
    Ok(())
}

/// The share of the bare engine's throughput that the whole path has on so many cores.
fn shares(cores: usize) -> Result<f64> {
    let runtime = runtime(cores)?;
    let (bare, host) = runtime.block_on(prepare())?;
    // In turns, so that a machine whose speed drifts drifts for both.
    let (mut floor, mut whole) = (0.0, 0.0);
    for _ in 0..3 {
        floor += runtime.block_on(throughput(cores, {
            let bare = bare.clone();
            move || {
                let bare = bare.clone();
                async move {
                    // The generated call takes its texts by reference to an owned one.
                    bare.call("noop", &"{}".to_owned()).await.map(drop)
                }
            }
        }))? / 3.0;
        whole += runtime.block_on(throughput(cores, {
            let host = host.clone();
            move || {
                let host = host.clone();
                async move {
                    let outcome = host.call(Call::new("bench/noop", "{}")).await;
                    ensure!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
                    Ok(())
                }
            }
        }))? / 3.0;
    }
    println!("{cores} core(s): bare {floor:.1}, whole {whole:.1}, share {:.2}", whole / floor);
    Ok(whole / floor)
}

/// The command `ampoule`.
pub fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("ampoule");
    ensure!(program.exists(), "the command is not built: run `cargo build`");
    Ok(program)
}

pub(crate) fn runtime(workers: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(workers).enable_all().on_thread_park(ampoule::clean_up);
    builder.build().context("a runtime")
}

async fn prepare() -> Result<(Arc<Bare>, Host)> {
    let guest = guest()?;
    let bare = Arc::new(Bare::new(&guest, Metering { fuel: true, limiter: true })?);
    let host = Host::builder().plugins(&guest).build().await?;
    Ok((bare, host))
}

/// The file of the guest.
pub(crate) fn guest() -> Result<PathBuf> {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(GUEST);
    ensure!(guest.exists(), "{GUEST} is not there: run `cargo xtask guests bench`");
    Ok(guest)
}

fn cases(calls: usize) -> Vec<(&'static str, &'static str, String, usize)> {
    let text = |bytes: usize| json!({ "text": "x".repeat(bytes) }).to_string();
    vec![
        ("no-op", "noop", "{}".to_owned(), calls),
        ("echo 100 B", "echo", text(100), calls),
        ("echo 10 KB", "echo", text(10_000), calls),
        ("echo 1 MB", "echo", text(1_000_000), calls / 10),
        ("one host import", "import", "{}".to_owned(), calls),
    ]
}

async fn latency(
    bare: &Arc<Bare>,
    host: &Host,
    tool: &str,
    arguments: &str,
    calls: usize,
) -> Result<Pair> {
    // Within the runtime's worker, where a server's calls run too.
    let (bare, host) = (bare.clone(), host.clone());
    let (tool, arguments) = (tool.to_owned(), arguments.to_owned());
    tokio::spawn(async move {
        let id = format!("bench/{tool}");
        let mut pair = Pair::default();
        for round in 0..calls + calls / 10 {
            let (answer, cycle) = bare.call(&tool, &arguments).await?;
            let call = Call::new(&id, arguments.as_str());
            let started = Instant::now();
            let outcome = host.call(call).await;
            let whole = started.elapsed();
            ensure!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
            // The first tenth warms caches up.
            if round >= calls / 10 {
                pair.bare_answer.push(answer);
                pair.bare_cycle.push(cycle);
                pair.whole.push(whole);
            }
        }
        Ok(pair)
    })
    .await?
}

/// Thousands of calls a second, by four tasks a worker.
async fn throughput<F, W>(workers: usize, call: F) -> Result<f64>
where
    F: Fn() -> W + Clone + Send + 'static,
    W: Future<Output = Result<()>> + Send,
{
    let done = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..workers * 4)
        .map(|_| {
            let (call, done) = (call.clone(), done.clone());
            tokio::spawn(async move {
                while started.elapsed() < MEASURED {
                    call().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64() / 1000.0)
}
