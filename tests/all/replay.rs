//! Record and replay: a recorded call runs again bit for bit without the world it ran in, and a
//! recording that was changed is found out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ampoule::{
    Blobs, Call, CallContext, End, Host, Meter, Outcome, Recorded, Recording, ReplayError, Replayed,
};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder, host};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// A folder for recordings.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.jsonl");
    (folder, file)
}

async fn record(host: &Host, call: Call, file: &Path) -> Outcome {
    let Recorded { outcome, recording } = host.record(call, file).await.unwrap();
    recording.unwrap();
    outcome
}

async fn replay(host: &Host, file: &Path, blobs: &Blobs) -> Replayed {
    let recording = Recording::open(file).unwrap();
    let context = CallContext { blobs: Some(blobs.clone()), ..CallContext::default() };
    host.replay(&recording, context, false).await.unwrap()
}

/// Both came to the same, by all meters but the time.
fn same(what: &str, recorded: &Outcome, replayed: &Replayed) {
    assert_eq!(replayed.divergence, None, "{what}");
    assert_eq!(replayed.outcome.end, recorded.end, "{what}");
    let (then, now) = (&recorded.receipt, &replayed.outcome.receipt);
    for &meter in Meter::ALL.iter().filter(|&&meter| meter != Meter::WallTime) {
        assert_eq!(now.used.get(meter), then.used.get(meter), "{what}: {meter}");
        assert_eq!(now.limits.get(meter), then.limits.get(meter), "{what}: {meter}");
    }
    assert_eq!((now.end, now.ended_by), (then.end, then.ended_by), "{what}");
    assert_eq!((&now.tool, &now.digest), (&then.tool, &then.digest), "{what}");
}

/// A recording of web-scrape, and what it came to.
async fn scraped(file: &Path) -> Outcome {
    let site = Site::start().await;
    let config = format!("plugins = [\"PLUGINS/web-scrape.wasm\"]\n{}", site.grant("web-scrape"));
    let arguments = json!({ "urls": [format!("{}/page", site.origin())] });
    let outcome = record(&host(&config).await, Call::new("web-scrape", arguments), file).await;
    assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
    outcome
}

/// The plugin, with nothing granted and nothing there.
async fn alone() -> Host {
    host("plugins = [\"PLUGINS/web-scrape.wasm\"]").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_scraped_again_without_its_site() {
    let (_folder, file) = folder();
    let outcome = scraped(&file).await;
    assert!(outcome.receipt.used.get(Meter::HttpRequests) > 0);
    for _ in 0..2 {
        let replayed = replay(&alone().await, &file, &Blobs::default()).await;
        same("web-scrape", &outcome, &replayed);
    }
}

/// http, a tool, a blob and a model's stream, in part at once; then the same without any of them.
async fn probe(language: &str) {
    let (_folder, file) = folder();
    let site = Site::start().await;
    let config = format!(
        "plugins = [\"GUESTS/{language}.wasm\", \"PLUGINS/json-filter.wasm\"]\n{}\
         grant.tools = [\"json-filter\"]\ngrant.services = {{ llm = \"echo\" }}",
        site.grant(language)
    );
    let host = builder(&config).model("echo", Arc::new(Echo)).build().await.unwrap();
    let text = "streamed back";
    let url = format!("{}/page", site.origin());
    let arguments = json!({ "url": url, "tool": "json-filter", "text": text });
    let (then, now) = (Blobs::default(), Blobs::default());
    let call = Call::new(language, arguments).blobs(then.clone());
    let outcome = record(&host, call, &file).await;
    let End::Value(output) = &outcome.end else { panic!("{language}: {:?}", outcome.end) };
    assert_eq!(outcome.receipt.children.len(), 1, "{language}");
    let id = output.value.as_ref().unwrap()["blob"]["$blob"].as_str().unwrap();
    drop((host, site));

    let alone = ampoule_tests::host(&format!("plugins = [\"GUESTS/{language}.wasm\"]")).await;
    let replayed = replay(&alone, &file, &now).await;
    same(language, &outcome, &replayed);
    assert_eq!(now.get(id).unwrap().data, text, "{language}");
    assert!(replayed.outcome.receipt.children.is_empty());
    let recording = Recording::open(&file).unwrap();
    assert_eq!(recording.receipt()["children"][0]["tool"], "json-filter", "{language}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_is_replayed() {
    probe("rust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_is_replayed() {
    probe("python").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_is_replayed() {
    probe("javascript").await;
}

/// Grants of a component of WASI, and what it is called with; then the same without site and files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_wasi_is_replayed_without_its_site_and_its_files() {
    let site = Site::start().await;
    let workspace = tempfile::tempdir().unwrap();
    std::fs::write(workspace.path().join("note.txt"), "of the file").unwrap();
    std::fs::create_dir(workspace.path().join("folder")).unwrap();
    let plain = |rest: &str| format!("[bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\n{rest}");
    let grants = plain(&format!(
        "grant.http = [\"GET,POST {}/**\"]\ngrant.addresses = [\"127.0.0.1\"]\n\
         grant.files = \"read\"\n",
        site.origin()
    ));
    let open = host(&grants).await;
    let narrow = host(&format!("{grants}limits = {{ http-bytes = \"1 MiB\" }}")).await;
    let none = host(&format!("{grants}limits = {{ http-requests = 0 }}")).await;
    let few = host(&format!("{grants}limits = {{ host-calls = 40 }}")).await;
    let url = |path: &str| json!({ "url": format!("{}{path}", site.origin()) });
    // The last one asked answers first.
    let urls = [60, 30, 0].map(|wait| format!("{}/delay/{wait}", site.origin()));
    let cases = [
        ("a page", &open, "fetch", url("/text"), "value"),
        ("a page that is not there", &open, "fetch", url("/status/404"), "failed"),
        ("a large page", &open, "fetch", url("/bytes/3000000"), "value"),
        ("a page that is cut", &narrow, "fetch", url("/bytes/3000000"), "failed"),
        ("a page elsewhere", &open, "fetch", json!({ "url": "http://192.0.2.1/" }), "failed"),
        ("no page at all", &none, "fetch", url("/text"), "limit"),
        ("many at once", &open, "post-all", json!({ "urls": urls, "bytes": 100_000 }), "value"),
        ("a file", &open, "read-file", json!({ "path": "note.txt" }), "value"),
        ("no file", &open, "read-file", json!({ "path": "other.txt" }), "failed"),
        ("a file outside", &open, "read-file", json!({ "path": "../x" }), "failed"),
        ("a folder", &open, "listing", json!({ "path": "." }), "value"),
        ("more calls than may be", &few, "fetch", url("/bytes/3000000"), "limit"),
        ("handles", &open, "hoard", json!({ "requests": 10_000 }), "limit"),
    ];
    let mut recorded = Vec::new();
    for (what, host, tool, arguments, end) in cases {
        let (folder, file) = folder();
        let call = Call::new(format!("plain/{tool}"), arguments).workspace(workspace.path());
        let outcome = record(host, call, &file).await;
        assert_eq!(outcome.end.word(), end, "{what}: {:?}", outcome.end);
        recorded.push((what, folder, file, outcome));
    }
    assert_eq!(site.seen().iter().filter(|seen| seen.body.len() == 100_000).count(), 3);
    drop((site, workspace));
    let alone = host(&plain("")).await;
    for (what, _folder, file, outcome) in recorded {
        same(what, &outcome, &replay(&alone, &file, &Blobs::default()).await);
    }
}

const HOSTILE: &str = r#"
    plugins = ["GUESTS/hostile.wasm"]
    [bindings.hostile]
    grant.tools = ["hostile/*"]
    grant.files = "read-write"
    limits = { fuel = "3M", tool-depth = 3, log-bytes = 10_000, blob-bytes = "4 MiB",
               file-bytes = "4 MiB", handles = 100, wall-time = "30 s" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_a_call_ends_its_replay() {
    let cases = [
        ("endless-loop", "limit"),
        ("deep-recursion", "limit"),
        ("host-call-loop", "limit"),
        ("denied-loop", "limit"),
        ("log-flood", "limit"),
        ("event-flood", "limit"),
        ("blob-flood", "limit"),
        ("handle-hoard", "limit"),
        ("file-flood", "limit"),
        ("tool-loop", "failed"),
        ("tool-flood", "limit"),
        ("start-and-leave", "value"),
        ("trap", "trap"),
        ("not-json", "bad-output"),
        ("write-then-fail", "value"),
        ("blob-blocks", "limit"),
        ("remember", "value"),
        ("panic", "trap"),
    ];
    let there = host(HOSTILE).await;
    let alone = host("plugins = [\"GUESTS/hostile.wasm\"]").await;
    for (name, end) in cases {
        let (folder, file) = folder();
        let workspace = folder.path().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        let call = Call::new(format!("hostile/{name}"), "{}");
        let outcome = record(&there, call.workspace(&workspace), &file).await;
        assert_eq!(outcome.end.word(), end, "{name}: {:?}", outcome.end);
        let before = std::fs::read_dir(&workspace).unwrap().count();
        let replayed = replay(&alone, &file, &Blobs::default()).await;
        same(name, &outcome, &replayed);
        assert_eq!(std::fs::read_dir(&workspace).unwrap().count(), before, "{name} wrote");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_stopped_while_it_waited_stops_there_again() {
    let alone = host("plugins = [\"GUESTS/hostile.wasm\"]").await;
    let there = host(
        "plugins = [\"GUESTS/hostile.wasm\"]\n[bindings.hostile]\nlimits = { wall-time = 300 }",
    )
    .await;
    let (_folder, file) = folder();
    let outcome = record(&there, Call::new("hostile/long-sleep", "{}"), &file).await;
    assert_eq!(outcome.receipt.ended_by, Some(Meter::WallTime), "{:?}", outcome.end);
    same("late", &outcome, &replay(&alone, &file, &Blobs::default()).await);

    let (_folder, file) = folder();
    let cancel = CancellationToken::new();
    let call = Call::new("hostile/long-sleep", "{}").cancel(cancel.clone());
    let stop = async {
        // It gets to its sleep in a fraction of this; the deadline comes later.
        tokio::time::sleep(Duration::from_millis(150)).await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(record(&alone, call, &file), stop);
    assert_eq!(outcome.end, End::Cancelled);
    same("cancelled", &outcome, &replay(&alone, &file, &Blobs::default()).await);
}

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

/// Links lines anew, as one who forges a recording would.
fn linked(lines: &[String]) -> String {
    let (mut link, mut text) = ([0; 32], String::new());
    for line in lines {
        let rest = format!("{{{}", &line[line.find("\",").unwrap() + 2..]);
        link = Sha256::new().chain_update(link).chain_update(&rest).finalize().into();
        let hex: String = link.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{{\"link\":\"{hex}\",{}\n", &rest[1..]));
    }
    text
}

/// The host call of a line: its number, from 1, and its name.
fn call_of(lines: &[String], at: usize) -> (usize, String) {
    let line: Value = serde_json::from_str(&lines[at]).unwrap();
    (at, line["call"]["name"].as_str().unwrap().to_owned())
}

/// The first line that reads a body.
fn body(lines: &[String]) -> usize {
    lines.iter().position(|line| line.contains("http.[method]response.read")).unwrap()
}

/// Changes one byte in the middle of the result in a line.
fn changed(line: &str) -> String {
    let start = line.find("\"value\":\"").unwrap() + 9;
    let end = start + line[start..].find('"').unwrap();
    let at = (start + end) / 2;
    let other = if &line[at..=at] == "Q" { "R" } else { "Q" };
    format!("{}{other}{}", &line[..at], &line[at + 1..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_is_refused_with_its_line() {
    let (_folder, file) = folder();
    scraped(&file).await;
    let whole = lines(&file);
    let at = body(&whole);
    let join = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        join(&lines)
    };
    let cases = [
        ("a byte of the body", with(&|lines| lines[at] = changed(&lines[at])), at + 1),
        ("a line removed", with(&|lines| drop(lines.remove(at))), at + 1),
        ("two swapped", with(&|lines| lines.swap(at, at + 1)), at + 1),
        ("one twice", with(&|lines| lines.insert(at, whole[at].clone())), at + 2),
        ("the header", with(&|lines| lines[0] = lines[0].replace("\"fuel\":", "\"fuel\":1")), 1),
        ("no end", with(&|lines| drop(lines.pop())), whole.len()),
        ("cut in a line", join(&whole)[..join(&whole).len() - 9].to_owned(), whole.len()),
        ("more after the end", with(&|lines| lines.push(lines[1].clone())), whole.len() + 1),
    ];
    for (what, text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        match Recording::open(&file) {
            Err(ReplayError::Malformed { line, .. }) => assert_eq!(line, expected as u64, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    std::fs::write(&file, linked(&whole)).unwrap();
    assert!(Recording::open(&file).is_ok(), "linking is not what the host does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_recording_diverges_at_the_host_call() {
    let (_folder, file) = folder();
    scraped(&file).await;
    let whole = lines(&file);
    let at = body(&whole);
    let host = alone().await;
    let table = std::cell::RefCell::new(Table::new("Forged recordings"));
    let diverges = async |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        std::fs::write(&file, linked(&lines)).unwrap();
        let replayed = replay(&host, &file, &Blobs::default()).await;
        let said = replayed.divergence.expect("it differs");
        table.borrow_mut().row("forged", "a line changed, moved or removed", "replay", &said);
        said
    };
    let said = diverges(&|lines| drop(lines.remove(at))).await;
    let (number, name) = call_of(&whole, at);
    assert!(said.starts_with(&format!("host call {number}")), "{said}");
    assert!(said.contains(&format!("`{name}`")), "{said}");

    let said = diverges(&|lines| lines.swap(at - 1, at)).await;
    assert!(said.starts_with(&format!("host call {}", at - 1)), "{said}");

    // The guest does something else with another body: it shows at a later call, or at the end.
    let said = diverges(&|lines| lines[at] = changed(&lines[at])).await;
    assert!(said.starts_with("host call ") || said.starts_with("the end differs at `/"), "{said}");

    let value = "\"value\":\"";
    let no_bool = format!("{value}////");
    let said = diverges(&|lines| lines[at] = lines[at].replace(value, &no_bool)).await;
    assert!(said.contains(&format!("host call {number}, ")), "{said}");
    assert!(said.contains("cannot be read"), "{said}");

    let said = diverges(&|lines| lines[at] = lines[at].replace("\"fuel\":", "\"fuel\":1")).await;
    assert!(said.starts_with(&format!("host call {number}, ")), "{said}");
    assert!(said.contains("fuel left"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_of_another_build_is_refused_or_shown_to_differ() {
    let (_folder, file) = folder();
    scraped(&file).await;
    let mut whole = lines(&file);
    let digest = format!("sha256:{}", "0".repeat(64));
    let at = whole[0].find("sha256:").unwrap();
    whole[0].replace_range(at..at + digest.len(), &digest);
    std::fs::write(&file, linked(&whole)).unwrap();
    let recording = Recording::open(&file).unwrap();
    let host = alone().await;
    let refused = host.replay(&recording, CallContext::default(), false).await.unwrap_err();
    assert!(refused.to_string().contains(&digest), "{refused}");
    let forced = host.replay(&recording, CallContext::default(), true).await.unwrap();
    assert_eq!(forced.divergence, None);
    let nothing = ampoule_tests::host("plugins = [\"PLUGINS/hash.wasm\"]").await;
    let refused = nothing.replay(&recording, CallContext::default(), true).await.unwrap_err();
    assert!(matches!(refused, ReplayError::Plugin(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_files_are_refused_before_anything_runs() {
    let (folder, file) = folder();
    scraped(&file).await;
    let whole = lines(&file);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        linked(&lines).into_bytes()
    };
    let deep = format!("\"receipt\":{}{},\"x\":", "[".repeat(100_000), "]".repeat(100_000));
    let last = whole.len() - 1;
    let number = |name: &str, value: &str| {
        let (name, value) = (format!("\"{name}\":"), value.to_owned());
        with(&|lines| lines[0] = lines[0].replace(&name, &format!("{name}{value}")))
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "header"),
        ("no recording", b"{}\n".to_vec(), "no line of a recording"),
        ("bytes", vec![0xff; 1000], "cut off"),
        (
            "another version",
            with(&|lines| lines[0] = lines[0].replace("\"format\":1", "\"format\":2")),
            "format 2",
        ),
        ("a number too large", number("fuel", "99999999999999999999"), "expected u64"),
        ("too deep a call", number("depth", "100000"), "depth"),
        (
            "no such meter",
            with(&|lines| lines[0] = lines[0].replace("memory", "mammoth")),
            "mammoth",
        ),
        ("a key too many", number("seed", "\"\",\"more\":"), "more"),
        (
            "deep nesting",
            with(&|lines| lines[last] = lines[last].replace("\"receipt\":", &deep)),
            "recursion limit",
        ),
        ("no header", with(&|lines| drop(lines.remove(0))), "header"),
        ("two headers", with(&|lines| lines.insert(1, lines[0].clone())), "does not belong"),
        (
            "another kind",
            with(&|lines| lines[1] = lines[1].replace("\"call\"", "\"cull\"")),
            "cull",
        ),
    ];
    let mut table = Table::new("Recordings that are none");
    for (what, bytes, words) in cases {
        std::fs::write(&file, bytes).unwrap();
        let refused = Recording::open(&file).unwrap_err().to_string();
        table.row(what, "to replay it", "the reader", &refused);
        assert!(refused.contains(words), "{what}: {refused}");
        assert!(refused.len() < 1000, "{what}: {refused}");
    }
    // A line that never ends, in a file that is all hole.
    let huge = std::fs::File::create(&file).unwrap();
    huge.set_len(1 << 40).unwrap();
    let refused = Recording::open(&file).unwrap_err().to_string();
    assert!(refused.contains("longer than 128 MiB"), "{refused}");
    assert!(Recording::open(folder.path()).is_err(), "a folder was opened");
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(Recording::open(&pipe).is_err(), "a pipe was opened");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_recorded_is_refused_and_not_called() {
    let host = host("plugins = [\"GUESTS/hostile.wasm\"]").await;
    let (folder, file) = folder();
    let refused = host.record(Call::new("nothing", "{}"), &file).await.unwrap_err();
    assert!(refused.to_string().contains("nothing"), "{refused}");
    std::fs::write(&file, "mine").unwrap();
    let refused = host.record(Call::new("hostile/remember", "{}"), &file).await.unwrap_err();
    assert!(refused.to_string().contains("there already"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

    // A call that does not begin leaves no file, and says so.
    let other = folder.path().join("other.jsonl");
    let recorded = host.record(Call::new("hostile/remember", "{"), &other).await.unwrap();
    assert!(matches!(recorded.outcome.end, End::BadArguments(_)), "{:?}", recorded.outcome.end);
    assert!(recorded.recording.unwrap_err().contains("bad-arguments"));
    assert!(!other.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_recording_sends_nothing_and_sets_no_limits() {
    let site = Site::start().await;
    let config = format!(
        "plugins = [\"GUESTS/hostile.wasm\"]\n[bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\n\
         grant.http = [\"GET {}/**\"]\ngrant.addresses = [\"127.0.0.1\"]\n\
         limits = {{ memory = \"128 MiB\" }}",
        site.origin()
    );
    let host = host(&config).await;
    let (_folder, file) = folder();
    let recorded = record(&host, Call::new("hostile/remember", "{}"), &file).await;
    let whole = lines(&file);
    let forge = async |lines: &[String]| {
        std::fs::write(&file, linked(lines)).unwrap();
        let recording = Recording::open(&file).unwrap();
        host.replay(&recording, CallContext::default(), true).await
    };
    let mut table = Table::new("Recordings that ask for more");
    // Another tool, whose requests no recording holds.
    let mut forged = whole.clone();
    let url = json!({ "url": format!("{}/text", site.origin()) }).to_string();
    forged[0] = forged[0].replace("hostile/remember", "plain/fetch");
    forged[0] = forged[0].replace("\"arguments\":\"{}\"", &format!("\"arguments\":{}", json!(url)));
    forged[0] = forged[0].replace("\"handles\":10000", "\"handles\":512");
    assert_ne!(forged[0], whole[0]);
    let replayed = forge(&forged).await.unwrap();
    let said = replayed.divergence.expect("it differs");
    table.row("wasi:http", "a request of a replay", "replay", &said);
    assert!(said.starts_with("host call 1") && said.contains("the guest asks for"), "{said}");
    assert!(site.seen().is_empty());
    // More than the binding has.
    let memory = recorded.receipt.limits.get(Meter::Memory);
    let mut forged = whole.clone();
    forged[0] = forged[0].replace(&format!("\"memory\":{memory}"), "\"memory\":4000000000");
    assert_ne!(forged[0], whole[0]);
    let Err(ReplayError::Refused(said)) = forge(&forged).await else { panic!("it was replayed") };
    table.row("limits", "more than the binding has", "replay", &said);
    assert!(said.contains("limit memory") && said.contains("[bindings.hostile.limits]"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_records_nothing_that_it_may_not_call() {
    let host =
        host("plugins = [\"GUESTS/hostile.wasm\"]\n[principals.ann]\ntools = [\"nothing-at-all\"]")
            .await;
    let (_folder, file) = folder();
    let call = Call::new("hostile/remember", "{}").principal("ann");
    let refused = host.record(call, &file).await.unwrap_err();
    assert!(refused.to_string().contains("[principals.ann]"), "{refused}");
    assert!(!file.exists());
}
