//! A soak: hostile guests mixed with good ones, many at once, for long. No good call fails, every
//! hostile one ends as the table says, and what the process holds returns to its level.
//!
//! 2,000 calls in an ordinary run; `AMPOULE_SOAK=10000` says how many otherwise.

use std::time::{Duration, Instant};

use ampoule::{Call, End, Host, Meter};
use ampoule_tests::host;
use futures::{StreamExt, stream};
use serde_json::json;

/// Calls at once.
const IN_FLIGHT: usize = 64;

/// How much more memory the process may hold after all calls than before the first: what the pool
/// keeps for the next calls, 4 MiB of up to a hundred slots that are not in use, and the allocator.
const SLACK_BYTES: u64 = (400 + 256) << 20;

/// Limits so small that each hostile guest meets the one it is made for, however busy the machine.
const CONFIG: &str = r#"
    plugins = ["GUESTS/hostile.wasm", "PLUGINS/json-filter.wasm"]
    [concurrency]
    calls = 900
    per-plugin = 900
    per-principal = 900
    queue-time = "1 s"
    [bindings.json-filter]
    limits = { wall-time = "2 min" }
    [bindings.hostile]
    grant.files = "read-write"
    grant.tools = ["hostile/*"]
    [bindings.hostile.limits]
    wall-time = "2 min"
    fuel = "20M"
    memory = "8 MiB"
    handles = 500
    event-bytes = "256 KiB"
    blob-bytes = "1 MiB"
    file-bytes = "1 MiB"
    tool-calls = 16
    [bindings.sleeper]
    plugin = "hostile"
    limits = { wall-time = "50 ms" }
    [bindings.holder]
    plugin = "hostile"
    limits = { wall-time = "5 s" }
"#;

/// How a call must end.
#[derive(Clone, Copy)]
enum Expected {
    Limit(Meter),
    Word(&'static str),
}
use Expected::{Limit, Word};

const HOSTILE: &[(&str, Expected)] = &[
    ("hostile/endless-loop", Limit(Meter::Fuel)),
    ("hostile/memory-hoard", Limit(Meter::Memory)),
    ("hostile/deep-recursion", Limit(Meter::Stack)),
    ("hostile/log-flood", Limit(Meter::LogBytes)),
    ("hostile/event-flood", Limit(Meter::EventBytes)),
    ("hostile/host-call-loop", Limit(Meter::Fuel)),
    ("hostile/denied-loop", Limit(Meter::Fuel)),
    ("hostile/handle-hoard", Limit(Meter::Handles)),
    ("hostile/blob-flood", Limit(Meter::BlobBytes)),
    ("hostile/file-flood", Limit(Meter::FileBytes)),
    ("hostile/tool-flood", Limit(Meter::ToolCalls)),
    ("hostile/tool-loop", Word("failed")),
    ("hostile/trap", Word("trap")),
    ("hostile/panic", Word("trap")),
    ("hostile/not-json", Word("bad-output")),
    ("hostile/deep-json", Word("bad-output")),
    ("hostile/wrong-shape", Word("bad-output")),
    ("sleeper/long-sleep", Limit(Meter::WallTime)),
];

/// The `n`th call: every other one is good.
async fn one(host: Host, n: usize) {
    let principal = format!("principal-{}", n % 7);
    match n % 4 {
        0 => {
            let arguments =
                json!({ "input": { "a": n, "b": [{ "a": 1, "c": 2 }] }, "fields": ["a"] });
            let outcome = host.call(Call::new("json-filter", arguments).principal(principal)).await;
            let End::Value(output) = outcome.end else { panic!("a good call: {:?}", outcome.end) };
            assert_eq!(output.value.unwrap()["a"], json!(n));
        }
        2 => {
            // Whatever else runs, it meets a fresh instance.
            let outcome = host.call(Call::new("hostile/remember", "{}").principal(principal)).await;
            let End::Value(output) = outcome.end else { panic!("a good call: {:?}", outcome.end) };
            assert_eq!(output.value, Some(json!(1)));
        }
        _ => {
            let (tool, expected) = HOSTILE[n / 2 % HOSTILE.len()];
            let folder = tempfile::tempdir().unwrap();
            let call = Call::new(tool, "{}").principal(principal).workspace(folder.path());
            let outcome = host.call(call).await;
            let receipt = &outcome.receipt;
            match expected {
                Limit(meter) => {
                    assert_eq!(receipt.ended_by, Some(meter), "{tool}: {:?}", receipt.end)
                }
                Word(word) => assert_eq!(receipt.end, word, "{tool}"),
            }
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{tool} left files");
        }
    }
}

async fn run(host: &Host, calls: usize) {
    let calls = stream::iter(0..calls).map(|n| tokio::spawn(one(host.clone(), n)));
    let mut calls = calls.buffer_unordered(IN_FLIGHT);
    while let Some(ended) = calls.next().await {
        ended.unwrap();
    }
}

/// Open files of this process, and bytes of memory it holds, once what is over is cleaned up: some
/// instances, and the files that they hold, go a moment after their calls.
#[cfg(target_os = "linux")]
async fn held() -> (usize, u64) {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut files = count();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        files = files.min(count());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (files, kib << 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_calls_among_hostile_ones_for_long() {
    let calls = std::env::var("AMPOULE_SOAK").map_or(2_000, |calls| calls.parse().unwrap());
    let host = host(CONFIG).await;
    assert!(host.warm().await.is_empty());
    #[cfg(target_os = "linux")]
    let before = held().await;
    // Until everything is open that stays open.
    run(&host, (calls / 4).max(4 * IN_FLIGHT)).await;
    #[cfg(target_os = "linux")]
    let (open, level) = held().await;
    let started = Instant::now();
    run(&host, calls).await;
    println!("{calls} calls at {IN_FLIGHT} in flight in {:.1?}", started.elapsed());
    #[cfg(target_os = "linux")]
    {
        let after = held().await;
        println!(
            "files {}, after a quarter {open}, at the end {}; memory {} MiB, {}, {}",
            before.0,
            after.0,
            before.1 >> 20,
            level >> 20,
            after.1 >> 20
        );
        assert!(after.0 <= open, "open files: {open} to {}", after.0);
        assert!(after.1 <= before.1 + SLACK_BYTES, "memory: {} to {}", before.1, after.1);
    }
    every_place_is_free(&host).await;
}

/// As many calls as there are places hold all of them at once: one that had been lost would let
/// the last one wait for too long.
async fn every_place_is_free(host: &Host) {
    let all = (0..900).map(|_| host.call(Call::new("holder/long-sleep", "{}")));
    for outcome in futures::future::join_all(all).await {
        assert_eq!(outcome.receipt.ended_by, Some(Meter::WallTime), "{:?}", outcome.end);
    }
}
