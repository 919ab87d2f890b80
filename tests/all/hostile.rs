//! Each limit, and the guest that meets it (invariant 7).

use ampoule::{Account, Call, End, Host, Limits, Meter, Outcome};
use ampoule_tests::{Table, guest, host};
use serde_json::json;

/// The grants under which the hostile guest runs.
const CONFIG: &str = r#"
    plugins = ["GUESTS/hostile.wasm"]
    [bindings.hostile]
    grant.files = "read-write"
    grant.tools = ["hostile/*"]
"#;

/// How a call must end.
pub(crate) enum Expected {
    Limit(Meter),
    Trap(&'static str),
    BadOutput,
    Failed(&'static str),
}
use Expected::{BadOutput, Failed, Limit, Trap};

/// Every way to misbehave, and its end.
pub(crate) const TABLE: &[(&str, &str, Expected)] = &[
    ("endless-loop", "{}", Limit(Meter::Fuel)),
    ("memory-hoard", "{}", Limit(Meter::Memory)),
    ("deep-recursion", "{}", Limit(Meter::Stack)),
    ("output-flood", r#"{"bytes": 17000000}"#, Limit(Meter::OutputBytes)),
    ("error-flood", "{}", Limit(Meter::OutputBytes)),
    ("block-flood", "{}", BadOutput),
    ("log-flood", "{}", Limit(Meter::LogBytes)),
    ("event-flood", "{}", Limit(Meter::EventBytes)),
    ("host-call-loop", "{}", Limit(Meter::Fuel)),
    ("denied-loop", "{}", Limit(Meter::Fuel)),
    ("big-host-call", "{}", Limit(Meter::LogBytes)),
    ("long-sleep", "{}", Limit(Meter::WallTime)),
    ("handle-hoard", "{}", Limit(Meter::Handles)),
    ("blob-flood", "{}", Limit(Meter::BlobBytes)),
    ("file-flood", "{}", Limit(Meter::FileBytes)),
    ("tool-loop", "{}", Failed("limit")),
    ("tool-flood", "{}", Limit(Meter::ToolCalls)),
    ("start-flood", "{}", Failed("rate-limited")),
    ("blob-blocks", "{}", Limit(Meter::OutputBytes)),
    ("trap", "{}", Trap("unreachable")),
    ("panic", "{}", Trap("unreachable")),
    ("not-json", "{}", BadOutput),
    ("deep-json", "{}", BadOutput),
    ("wrong-shape", "{}", BadOutput),
];

async fn run(host: &Host, tool: &str, arguments: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let call = Call::new(format!("hostile/{tool}"), arguments).workspace(folder.path());
    let outcome = host.call(call).await;
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{tool} left {left:?} behind");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_misbehave_has_its_end() {
    let host = host(CONFIG).await;
    let mut table = Table::new("Hostile guests");
    for (tool, arguments, expected) in TABLE {
        let first = run(&host, tool, arguments).await;
        table.call(tool, arguments, &first);
        let ended = match (&first.end, expected) {
            (End::Limit(breach), Limit(meter)) => breach.meter == *meter,
            (End::Trap(text), Trap(words)) => text.contains(words),
            (End::BadOutput(_), BadOutput) => true,
            (End::Failed(error), Failed(code)) => error.code == *code,
            _ => false,
        };
        let shown = format!("{:?}", first.end);
        assert!(ended, "{tool} ended as {}", &shown[..shown.len().min(300)]);
        if let (End::Limit(breach), Limit(meter)) = (&first.end, expected) {
            assert_eq!(first.receipt.ended_by, Some(*meter), "{tool}");
            assert!(breach.to_string().contains(meter.name()), "{breach}");
        }
        // The host serves the next call at once, from a fresh instance.
        let next = run(&host, "remember", "{}").await;
        assert_eq!(next.end, End::Value(ampoule::Output::value(json!(1))), "after {tool}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_are_exact_and_reproducible() {
    let host = host(CONFIG).await;
    // How far what it has started comes before it ends is not for it to say.
    for (tool, arguments, _) in TABLE.iter().filter(|(tool, ..)| *tool != "start-flood") {
        let [first, second] =
            [run(&host, tool, arguments).await, run(&host, tool, arguments).await];
        let (mut first, mut second) = (first.receipt, second.receipt);
        for receipt in [&mut first, &mut second] {
            receipt.used.set(Meter::WallTime, 0);
            for child in &mut receipt.children {
                child.used.set(Meter::WallTime, 0);
            }
        }
        if *tool == "tool-loop" {
            // Its children hold receipts with times of their own; the sums must agree.
            assert_eq!(first.used, second.used, "{tool}");
            continue;
        }
        assert_eq!(first.used, second.used, "{tool}");
        let below: Vec<_> = first.children.iter().map(|child| child.used).collect();
        assert_eq!(below, second.children.iter().map(|c| c.used).collect::<Vec<_>>(), "{tool}");
        if first.ended_by == Some(Meter::Fuel) {
            let (used, limit) = (first.used.get(Meter::Fuel), first.limits.get(Meter::Fuel));
            assert!(used <= limit && used > limit - 100_000, "{tool}: {used} of {limit}");
        }
    }
}

/// A table that grows for ever cannot be written in Rust, so this guest is made of text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_bounded() {
    let module = wat::parse_str(
        r#"(module
            (memory (export "memory") 1)
            (table $t 1 funcref)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "ampoule:plugin/tool@1.0.0#call") (param i32 i32 i32 i32) (result i32)
                (loop $more
                    (drop (table.grow $t (ref.null func) (i32.const 1000)))
                    (br $more))
                (unreachable)))"#,
    )
    .unwrap();
    let mut resolve = wit_parser::Resolve::new();
    for package in ["wasi-io", "plugin"] {
        resolve.push_dir(ampoule_tests::root().join("wit").join(package)).unwrap();
    }
    let package = resolve.push_str(
        "grow.wit",
        "package test:grow; world grow { export ampoule:plugin/tool@1.0.0; }",
    );
    let world = resolve.select_world(&[package.unwrap()], Some("grow")).unwrap();
    let mut module = module;
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    let component =
        wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap();

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("plugin.toml"),
        "name = \"grow\"\nversion = \"1.0.0\"\nsummary = \"Grows a table\"\n\
         [tools.grow]\ndescription = \"Grows a table\"\ninput-schema = { type = \"object\" }\n",
    )
    .unwrap();
    let packed = ampoule::package::pack(&component, folder.path()).await.unwrap();
    let file = folder.path().join("grow.wasm");
    std::fs::write(&file, packed.wasm).unwrap();
    let host = Host::builder().plugins(&file).build().await.unwrap();
    let outcome = host.call(Call::new("grow", "{}")).await;
    Table::new("Tables of a guest").call("grow", "a table that grows for ever", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::TableElements), "{:?}", outcome.end);
    let used = outcome.receipt.used.get(Meter::TableElements);
    assert!(used <= 100_000 && used > 98_000, "{used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_additive_or_bounding_meter_has_a_guest() {
    // Met elsewhere: arguments in `calls`, HTTP and tokens in `meters`, the others below.
    let elsewhere = [
        Meter::ArgumentBytes,
        Meter::TableElements,
        Meter::IdleTime,
        Meter::HostCalls,
        Meter::HostCallBytes,
        Meter::HttpRequests,
        Meter::HttpBytes,
        Meter::ToolDepth,
        Meter::ModelTokens,
    ];
    for &meter in Meter::ALL {
        let here = TABLE.iter().any(|(.., end)| matches!(end, Limit(met) if *met == meter));
        assert!(here || elsewhere.contains(&meter), "no guest meets `{meter}`");
    }
    assert!(guest("hostile").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_calls_and_their_bytes_are_bounded_where_the_operator_says_so() {
    let limited = |limit: &str| format!("{CONFIG}\nlimits = {{ {limit} }}");
    let mut table = Table::new("Limits that the operator sets");
    let few = host(&limited("host-calls = 1000")).await;
    let outcome = run(&few, "host-call-loop", "{}").await;
    table.call("host-call-loop", "host calls without end", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::HostCalls), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.used.get(Meter::HostCalls), 1000);
    let small = host(&limited("host-call-bytes = \"1 MiB\"")).await;
    let outcome = run(&small, "big-host-call", "{}").await;
    table.call("big-host-call", "a text of many megabytes", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::HostCallBytes), "{:?}", outcome.end);
    let shallow = host(&limited("tool-depth = 3")).await;
    let outcome = run(&shallow, "tool-loop", "{}").await;
    table.call("tool-loop", "a tool that calls itself", &outcome);
    let End::Failed(error) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.data, Some(json!({ "limit": "tool-depth" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_nothing_ends_and_who_works_does_not() {
    let limits = "limits = { idle-time = \"100 ms\", wall-time = \"1 s\", fuel = \"900G\" }";
    let host = host(&format!("{CONFIG}\n{limits}")).await;
    let mut table = Table::new("Time");
    let outcome = run(&host, "long-sleep", "{}").await;
    table.call("long-sleep", "to wait for nothing", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::IdleTime), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.used.get(Meter::IdleTime), 100);
    // Computing is no idling.
    let outcome = run(&host, "endless-loop", "{}").await;
    table.call("endless-loop", "to compute past the wall time", &outcome);
    assert_eq!(outcome.receipt.ended_by, Some(Meter::WallTime), "{:?}", outcome.end);
    assert_eq!(outcome.receipt.used.get(Meter::IdleTime), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_call_leaves_no_write_behind() {
    let host = host(CONFIG).await;
    let mut table = Table::new("Writes of calls that fail");
    for how in ["fail", "trap", "loop", "bad-output"] {
        // `run` asserts that the folder is empty.
        let outcome = run(&host, "write-then-fail", &json!({ "how": how }).to_string()).await;
        table.call("write-then-fail", how, &outcome);
        assert!(!matches!(outcome.end, End::Value(_)), "{how}: {:?}", outcome.end);
    }
    let folder = tempfile::tempdir().unwrap();
    let call = Call::new("hostile/write-then-fail", "{}").workspace(folder.path());
    let outcome = host.call(call).await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
    assert!(folder.path().join("left-behind.txt").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_leaves_under_way_ends_with_it() {
    let host = host(CONFIG).await;
    let run = Account::root(Limits::UNLIMITED);
    let call = Call::new("hostile/start-and-leave", "{}").budget(run.clone());
    let outcome = host.call(call).await;
    assert_eq!(outcome.end, End::Value(ampoule::Output::value(json!(null))));
    let receipt = &outcome.receipt;
    let ends: Vec<_> = receipt.children.iter().map(|child| child.end).collect();
    assert_eq!(ends.len(), 2);
    // The first may have come to its end; nobody waited for the second.
    assert!(["value", "cancelled"].contains(&ends[0]) && ends[1] == "cancelled", "{ends:?}");
    // What they did not use is given back before the receipt is written.
    assert_eq!(run.used(Meter::Fuel), receipt.used.get(Meter::Fuel));
    assert!(receipt.used.get(Meter::Fuel) < 50_000_000, "{}", receipt.used.get(Meter::Fuel));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_none_are_not_repeated() {
    let outcome = run(&host(CONFIG).await, "long-names", "{}").await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
    let receipt = outcome.receipt;
    assert_eq!(
        (receipt.denials.len() as u64 + receipt.denials_left_out, receipt.denials[0].gate),
        (40, "name")
    );
    assert!(serde_json::to_string(&receipt).unwrap().len() < 20_000);
}
