//! What one call leaves for the next: nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ampoule::{Account, Ask, AskNobody, Blob, Blobs, Call, End, Host, Limits, Meter, Outcome};
use ampoule_services::Echo;
use ampoule_tests::site::Site;
use ampoule_tests::{Table, builder, call, config, host, value};
use serde_json::{Value, json};

const CONFIG: &str = "plugins = [\"GUESTS/hostile.wasm\"]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_meets_a_fresh_instance() {
    let host = host(CONFIG).await;
    for _ in 0..200 {
        assert_eq!(value(&host, "hostile/remember", json!({})).await, json!(1));
    }
    let many = (0..200).map(|_| value(&host, "hostile/remember", json!({})));
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer, json!(1));
    }
}

/// On a thread that says when it is idle, an answer does not wait until its instance is gone. That goes
/// then, before the next call on the thread, or with the thread, whatever comes first.
#[test]
fn what_is_left_for_an_idle_thread_is_gone_soon() {
    /// Makes a call, and says whether anything of it is there.
    async fn made(host: &Host) -> impl Fn() -> bool + use<> {
        let ask: Arc<dyn Ask> = Arc::new(AskNobody);
        let there = Arc::downgrade(&ask);
        let mut call = Call::new("hostile/remember", json!({}));
        call.context.ask = Some(ask);
        let outcome = host.call(call).await;
        assert!(matches!(outcome.end, End::Value(_)), "{:?}", outcome.end);
        move || there.strong_count() > 0
    }
    fn on_a_thread<T: Send + 'static>(
        idle: fn(),
        work: impl AsyncFnOnce(Host) -> T + Send + 'static,
    ) -> T {
        let body = move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().on_thread_park(idle).build().unwrap();
            runtime.block_on(async { work(host(CONFIG).await).await })
        };
        std::thread::spawn(body).join().unwrap()
    }
    on_a_thread(
        || (),
        async |host| {
            let first = made(&host).await;
            assert!(!first(), "nobody cleans up later");
        },
    );
    let last = on_a_thread(ampoule::clean_up, async |host| {
        let first = made(&host).await;
        assert!(first(), "the answer has waited");
        let second = made(&host).await;
        assert!(!first(), "the next call is there");
        assert!(second(), "the answer has waited");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(!second(), "the thread was idle");
        let last = made(&host).await;
        assert!(last(), "the answer has waited");
        last
    });
    assert!(!last(), "the thread is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_opens_only_for_whom_it_was_passed_to() {
    let host = host(CONFIG).await;
    let blobs = Blobs::default();
    let id = "0123456789abcdef0123456789abcdef".to_owned();
    let blob = Blob { media_type: "text/plain".into(), data: "secret".into() };
    blobs.insert(id.clone(), blob);
    let seen = Call::new("hostile/guess-blobs", json!({ "id": id })).blobs(blobs.clone());
    let outcome = host.call(seen).await;
    let End::Failed(error) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.code, "not-found");
    let passed = Call::new("hostile/guess-blobs", json!({ "a": { "$blob": id } })).blobs(blobs);
    let outcome = host.call(passed).await;
    let End::Value(output) = &outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(output.value, Some(json!(6)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_hides_what_is_for_the_operator() {
    let host = host(CONFIG).await;
    let outcome = call(&host, "hostile/panic", json!({})).await;
    let error = outcome.end.into_result().unwrap_err();
    assert_eq!(error.code, "internal");
    assert!(!error.message.contains("unreachable"), "{}", error.message);
    assert!(error.log.unwrap().contains("unreachable"));
}

/// A guest that looks for what an earlier call has left behind, and leaves as much as it can:
/// 32 MiB of linear memory (half of it there from the start, half of it grown), a global and a
/// table. Its value is 0, or says what it has found: 1 in memory, 2 in the global, 3 in the table.
/// It ends as its tool's name says: `fill` with the value, `fill-trap` by a trap, `fill-forever`
/// never.
const LEAVER: &str = r#"(module
    (memory (export "memory") 256)
    (table $table 1000 funcref)
    (global $global (mut i64) (i64.const 0))
    (func $canary)
    (elem declare func $canary)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "ampoule:plugin/tool@1.0.0#call")
        (param $name i32) (param $length i32) (param i32 i32) (result i32)
        (local $found i32) (local $at i32)
        (drop (memory.grow (i32.const 256)))
        (local.set $at (i32.const 4096))
        (loop $memory
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
                (then (local.set $found (i32.const 1))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $memory (i32.lt_u (local.get $at) (i32.const 33554432))))
        (if (i64.ne (global.get $global) (i64.const 0))
            (then (local.set $found (i32.const 2))))
        (local.set $at (i32.const 0))
        (loop $table
            (if (i32.eqz (ref.is_null (table.get $table (local.get $at))))
                (then (local.set $found (i32.const 3))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $table (i32.lt_u (local.get $at) (i32.const 1000))))

        (memory.fill (i32.const 4096) (i32.const 0xA5) (i32.const 33550336))
        (global.set $global (i64.const -1))
        (table.fill $table (i32.const 0) (ref.func $canary) (i32.const 1000))

        (if (i32.eq (local.get $length) (i32.const 9)) (then (unreachable)))
        (if (i32.eq (local.get $length) (i32.const 12)) (then (loop $ever (br $ever))))
        ;; `ok(output { value: some(text), .. })`, whose fields begin at 8, in zeros at 2048.
        (i32.store8 (i32.const 2056) (i32.const 1))
        (i32.store (i32.const 2060) (i32.const 3072))
        (i32.store (i32.const 2064) (i32.const 1))
        (i32.store8 (i32.const 3072) (i32.add (i32.const 48) (local.get $found)))
        (i32.const 2048)))"#;

/// A host of the guest above, with a limit that ends what never ends.
async fn leaving(folder: &Path) -> Host {
    let mut module = wat::parse_str(LEAVER).unwrap();
    let mut resolve = wit_parser::Resolve::new();
    for package in ["wasi-io", "plugin"] {
        resolve.push_dir(ampoule_tests::root().join("wit").join(package)).unwrap();
    }
    let world = "package test:leave; world leave { export ampoule:plugin/tool@1.0.0; }";
    let package = resolve.push_str("leave.wit", world).unwrap();
    let world = resolve.select_world(&[package], Some("leave")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    let component =
        wit_component::ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    let mut manifest =
        "name = \"leave\"\nversion = \"1.0.0\"\nsummary = \"Leaves what it can\"\n".to_owned();
    for tool in ["fill", "fill-trap", "fill-forever"] {
        let schema = "input-schema = { type = \"object\" }";
        manifest.push_str(&format!("[tools.{tool}]\ndescription = \"Fills memory\"\n{schema}\n"));
    }
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    let packed = ampoule::package::pack(&component, folder).await.unwrap();
    let file = folder.join("leave.wasm");
    std::fs::write(&file, packed.wasm).unwrap();
    let limits = "[bindings.leave]\nlimits = { fuel = \"200M\", memory = \"64 MiB\" }";
    let host = Host::builder().config(config(limits)).plugins(&file).build().await.unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_tables_and_globals_of_one_call_are_never_seen_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let host = leaving(folder.path()).await;
    let ends = |outcomes: &[Outcome]| {
        let mut values = 0;
        for outcome in outcomes {
            match (&outcome.end, outcome.receipt.tool.as_str()) {
                (End::Value(output), "leave/fill") => {
                    assert_eq!(output.value, Some(json!(0)), "something was left");
                    values += 1;
                }
                (End::Trap(_), "leave/fill-trap") => {}
                (End::Limit(breach), "leave/fill-forever") => {
                    assert_eq!(breach.meter, Meter::Fuel);
                }
                (end, tool) => panic!("{tool} ended as {end:?}"),
            }
        }
        values
    };
    // One after the other the same slot is taken again and again, however the last call ended.
    let mut one_by_one = Vec::new();
    for tool in ["fill", "fill", "fill-trap", "fill", "fill-forever", "fill", "fill"] {
        one_by_one.push(call(&host, &format!("leave/{tool}"), json!({})).await);
    }
    assert_eq!(ends(&one_by_one), 5);
    // Many at once, some of them dropped in the middle of their work.
    for _ in 0..3 {
        let at_once = (0..8).map(|n| {
            let tool = ["leave/fill", "leave/fill-trap", "leave/fill"][n % 3];
            call(&host, tool, json!({}))
        });
        let outcomes = futures::future::join_all(at_once).await;
        assert_eq!(ends(&outcomes), 5);
        for polls in 1..6 {
            let forever = Call::new("leave/fill-forever", "{}");
            assert!(Polls::new(polls, host.call(forever)).await.is_none());
        }
    }
}

/// Polls a future a number of times and drops it then; its output where it comes to its end first.
struct Polls<F> {
    left: usize,
    future: Pin<Box<F>>,
}

impl<F> Polls<F> {
    fn new(left: usize, future: F) -> Polls<F> {
        Polls { left, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Waits for what a dropped call has left to other tasks and to the one thread for file work.
async fn settled() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    }
}

/// On one thread, with one more for file work, so that all that is under way can be waited for.
#[test]
fn a_call_dropped_at_any_await_point_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let site = Site::start().await;
        let config = format!(
            r#"
            plugins = ["GUESTS/hostile.wasm", "GUESTS/rust.wasm", "PLUGINS/json-filter.wasm"]
            [bindings.hostile]
            grant.files = "read-write"
            grant.tools = ["hostile/*"]
            {}
            grant.tools = ["json-filter"]
            grant.services = {{ llm = "echo" }}
            "#,
            site.grant("rust")
        );
        let host = builder(&config).model("echo", Arc::new(Echo)).build().await.unwrap();
        assert!(host.refused().is_empty() && host.warm().await.is_empty());
        let page = format!("{}/page", site.origin());
        let mut all = 0;
        for (tool, arguments, blobs_kept) in [
            // Stages a file and commits it.
            ("hostile/write-then-fail", json!({}), 0),
            // Has two tools under way when it ends.
            ("hostile/start-and-leave", json!({}), 0),
            // A request, a tool, a blob and a model's stream.
            ("rust", json!({ "url": page, "tool": "json-filter", "text": "text" }), 1),
        ] {
            let mut dropped = Vec::new();
            let whole = loop {
                let polls = dropped.len();
                assert!(polls < 10_000, "{tool} does not end");
                let folder = tempfile::tempdir().unwrap();
                let (blobs, run) = (Blobs::default(), Account::root(Limits::default()));
                let call = Call::new(tool, &arguments).workspace(folder.path());
                let call = host.call(call.blobs(blobs.clone()).budget(run.clone()));
                let ended = Polls::new(polls, call).await;
                settled().await;
                let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
                if let Some(outcome) = ended {
                    assert!(matches!(outcome.end, End::Value(_)), "{tool}: {:?}", outcome.end);
                    assert_eq!(blobs.len(), blobs_kept, "{tool}");
                    assert_eq!(run.used(Meter::Fuel), outcome.receipt.used.get(Meter::Fuel));
                    break run.used(Meter::Fuel);
                }
                assert!(blobs.is_empty(), "{tool}: a blob is left after {polls} polls");
                // File work that a thread has begun goes on: then all of it is done, or nothing.
                let left: Vec<_> =
                    files.into_iter().map(|file| file.unwrap().file_name()).collect();
                if !left.is_empty() {
                    assert_eq!(left, ["left-behind.txt"], "{tool} after {polls} polls");
                    let text = std::fs::read_to_string(folder.path().join("left-behind.txt"));
                    assert_eq!(text.unwrap(), "this must not stay");
                }
                dropped.push((run.used(Meter::Fuel), left.is_empty()));
            };
            let points = dropped.len();
            all += points;
            // Fuel that was taken and not used is given back. Which of two things under way is
            // ready first is not always the same, so neither are the last few instructions.
            for (polls, (used, _)) in dropped.iter().enumerate() {
                assert!(*used <= whole + 100_000, "{tool}: {used} of {whole} after {polls} polls");
            }
            // Nothing is written before the commit, which is the last thing that is waited for.
            let before = &dropped[..points.saturating_sub(2)];
            assert!(before.iter().all(|(_, empty)| *empty), "{tool}: {dropped:?}");
        }

        // What a thread has done before it is asked for is not waited for.
        assert!(all > 3, "{all} points");

        // More calls than there are places: each has given back its place and its instance.
        for polls in 0..1_200 {
            let sleeping = host.call(Call::new("hostile/long-sleep", "{}"));
            let ended = Polls::new(1, sleeping).await;
            assert!(ended.is_none(), "after {polls} calls: {:?}", ended.map(|ended| ended.end));
        }
        assert_eq!(value(&host, "hostile/remember", json!({})).await, json!(1));
    });
}

/// Runs two plugins from a cache, and says what its files hold afterwards.
async fn with_cache(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let text = "plugins = [\"GUESTS/c.wasm\", \"GUESTS/bench.wasm\"]";
    let host = Host::builder()
        .config(config(text))
        .cache(folder.join("cache"), folder.join("key"))
        .build()
        .await
        .unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    let echo = json!({ "text": "echo" });
    assert_eq!(value(&host, "bench/echo", echo.clone()).await, echo);
    assert!(value(&host, "c", json!({ "text": "Wikipedia" })).await["sum"] != Value::Null);
    let files = std::fs::read_dir(folder.join("cache")).unwrap();
    files.map(|file| file.unwrap().path()).map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_was_tampered_with_is_compiled_anew_and_never_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let good = with_cache(folder.path()).await;
    let code: Vec<_> = good.keys().filter(|path| path.extension().is_some()).cloned().collect();
    let code: Vec<_> =
        code.into_iter().filter(|path| path.extension().unwrap() == "cwasm").collect();
    assert_eq!(code.len(), 2, "{:?}", good.keys());
    // Untouched, entries are loaded: what is on disk stays as it is, to the file's own number.
    let number = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    let before: Vec<_> = code.iter().map(|path| number(path)).collect();
    with_cache(folder.path()).await;
    assert_eq!(before, code.iter().map(|path| number(path)).collect::<Vec<_>>());

    let mut tampered = Vec::new();
    for path in &code {
        let whole = &good[path];
        // Each byte of the MAC is as good as any other; of the code, a byte in every stretch.
        let step = whole.len() / 12;
        for at in (0..32).step_by(5).chain((32..whole.len()).step_by(step)).chain([whole.len() - 1])
        {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            tampered.push((format!("byte {at}"), vec![(path, bytes)]));
        }
        for length in [0, 31, 32, 33, whole.len() / 2, whole.len() - 1] {
            tampered.push((format!("cut at {length}"), vec![(path, whole[..length].to_vec())]));
        }
        let longer = [whole.as_slice(), b"\0"].concat();
        tampered.push(("a byte more".to_owned(), vec![(path, longer)]));
    }
    let swapped = vec![(&code[0], good[&code[1]].clone()), (&code[1], good[&code[0]].clone())];
    tampered.push(("swapped".to_owned(), swapped));
    let mut table = Table::new("The cache of compiled code, tampered with");
    for (how, files) in tampered {
        for (path, bytes) in &files {
            std::fs::write(path, bytes).unwrap();
        }
        // Both plugins answer, and what was there has been replaced.
        let after = with_cache(folder.path()).await;
        for (path, bytes) in &files {
            assert_ne!(after[*path], *bytes, "{how}: {} was loaded", path.display());
        }
        table.row("code", &how, "cache", "compiled anew");
    }
    // The table of what is known of plugins' files is authenticated the same way.
    for (path, whole) in good.iter().filter(|(path, _)| !code.contains(path)) {
        let mut bytes = whole.clone();
        let last = bytes.len() - 1;
        bytes[last / 2] ^= 1;
        std::fs::write(path, &bytes).unwrap();
        assert_ne!(with_cache(folder.path()).await[path], bytes, "{}", path.display());
    }
}

/// A workspace beside something that is none of a guest's business, and ways from the one to the
/// other that somebody has made.
fn workspace() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    for path in [&inside, &outside, &inside.join("sub")] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(inside.join("note.txt"), "note").unwrap();
    std::fs::write(inside.join("sub/inner.txt"), "inner").unwrap();
    std::fs::write(outside.join("secret.txt"), SECRET).unwrap();
    use std::os::unix::fs::symlink;
    symlink(outside.join("secret.txt"), inside.join("absolute-link")).unwrap();
    symlink("../outside/secret.txt", inside.join("relative-link")).unwrap();
    symlink("../outside", inside.join("folder-link")).unwrap();
    symlink("../../outside", inside.join("sub/deep-link")).unwrap();
    symlink("absolute-link", inside.join("link-to-link")).unwrap();
    symlink("endless-link", inside.join("endless-link")).unwrap();
    (folder, inside)
}

const SECRET: &str = "what no guest may see";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_out_of_the_workspace_by_our_files_or_by_wasi_filesystem() {
    let (folder, inside) = workspace();
    let config = "plugins = [\"PLUGINS/files.wasm\"]\n[bindings.files]\ngrant.files = \"read-write\"\n\
        [bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\ngrant.files = \"read\"";
    let host = host(config).await;
    let run = async |tool: &str, arguments: Value| {
        host.call(Call::new(tool, &arguments).workspace(&inside)).await
    };
    let absolute = folder.path().join("outside/secret.txt").display().to_string();
    let long_name = "n".repeat(4096);
    let long_path = "x/".repeat(5_000) + "y";
    let up = "../".repeat(30) + "etc/passwd";
    let table = std::cell::RefCell::new(Table::new("Paths, through files and wasi:filesystem"));
    let refused = async |tool: &str, path: &str, arguments: Value| {
        let shown: String = path.chars().take(60).collect();
        let outcome = run(tool, arguments).await;
        table.borrow_mut().call(tool, path, &outcome);
        let end = outcome.end;
        let refused = matches!(end, End::Failed(_) | End::BadArguments(_));
        assert!(refused, "{tool} {shown:?}: {end:?}");
        let text = format!("{end:?}");
        assert!(!text.contains(SECRET), "{tool} {shown:?}: {text}");
    };
    for path in [
        "../outside/secret.txt",
        "sub/../../outside/secret.txt",
        "./../outside/secret.txt",
        "sub/./../../outside/secret.txt",
        "..",
        "../",
        "/",
        "//",
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "//etc/passwd",
        &absolute,
        &up,
        "folder-link/../outside/secret.txt",
        "note.txt/",
        "note.txt/.",
        "note.txt/..",
        "note.txt/x",
        "absolute-link/",
        "folder-link/",
        "..\\outside\\secret.txt",
        "C:\\Windows\\win.ini",
        "c:secret.txt",
        "\\\\?\\C:\\x",
        "NUL",
        "nul.txt",
        "COM1",
        "com1.txt",
        "LPT9",
        "AUX",
        "CON",
        "CONIN$",
        "note.txt\0",
        "note.txt\0.png",
        "\0",
        &long_name,
        &long_path,
        // Links that somebody has made: into the outside, and into nowhere.
        "absolute-link",
        "relative-link",
        "link-to-link",
        "endless-link",
        "folder-link/secret.txt",
        "sub/deep-link/secret.txt",
    ] {
        for (tool, arguments) in [
            ("plain/read-file", json!({ "path": path })),
            ("files/read", json!({ "path": path })),
            ("files/edit", json!({ "path": path, "edits": [{ "old": "what", "new": "who" }] })),
            ("files/rename", json!({ "from": path, "to": "moved" })),
            ("files/remove", json!({ "path": path })),
        ] {
            refused(tool, path, arguments).await;
        }
        if path.ends_with("-link") {
            // Written to, a link makes room for a file of its own.
            continue;
        }
        let write = json!({ "path": path, "text": "written" });
        refused("files/write", path, write).await;
        refused("files/rename", path, json!({ "from": "note.txt", "to": path })).await;
        refused("files/list", path, json!({ "path": path })).await;
        refused("files/search", path, json!({ "path": path, "pattern": "guest" })).await;
    }
    // What looks like a way out to others is a name like any other here.
    for path in [
        "..%2foutside%2fsecret.txt",
        "%2e%2e/outside/secret.txt",
        "..\u{2044}outside\u{2044}secret.txt",
        "\u{ff0e}\u{ff0e}/outside/secret.txt",
        "...",
        "~",
        "$HOME",
        // A link is not followed, and a file of two names is no longer the same when written to.
        "absolute-link",
        "second-name",
    ] {
        if path == "second-name" {
            std::fs::hard_link(folder.path().join("outside/secret.txt"), inside.join(path))
                .unwrap();
        }
        let write = json!({ "path": path, "text": path });
        assert!(matches!(run("files/write", write).await.end, End::Value(_)), "{path}");
        assert_eq!(read(&inside.join(path)), path.as_bytes());
        assert!(!inside.join(path).symlink_metadata().unwrap().is_symlink(), "{path}");
        let plain = run("plain/read-file", json!({ "path": path })).await;
        assert_eq!(plain.end, End::Value(ampoule::Output::value(json!(path))));
    }
    let names = |path: &Path| {
        let items = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> = items.map(|item| item.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["inside", "outside"]);
    assert_eq!(names(&folder.path().join("outside")), ["secret.txt"]);
    assert_eq!(read(&folder.path().join("outside/secret.txt")), SECRET.as_bytes());
    assert_eq!(read(&inside.join("note.txt")), b"note");
    assert_eq!(read(&inside.join("sub/inner.txt")), b"inner");
}

/// A guest can make none of these; somebody else who writes to the workspace can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipes_and_sockets_in_a_workspace_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(made.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    std::os::unix::fs::symlink("pipe", folder.path().join("link")).unwrap();
    let config = "plugins = [\"PLUGINS/files.wasm\"]\n[bindings.files]\ngrant.files = \"read-write\"\n\
        [bindings.plain]\nplugin = \"GUESTS/plain.wasm\"\ngrant.files = \"read\"";
    let host = host(config).await;
    let mut table = Table::new("What is no file");
    for name in ["pipe", "socket", "link"] {
        for tool in ["plain/read-file", "files/read"] {
            let call = Call::new(tool, json!({ "path": name })).workspace(folder.path());
            let outcome = host.call(call).await;
            table.call(tool, name, &outcome);
            // By an error of its own, long before any time is over.
            assert!(matches!(outcome.end, End::Failed(_)), "{tool} {name}: {:?}", outcome.end);
        }
    }
}
