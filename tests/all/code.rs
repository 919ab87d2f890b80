//! Code that a model wrote: what it may say, how it ends, and the tools inside it.

use std::collections::BTreeSet;

use ampoule::{Call, End, Host, Meter, Outcome};
use ampoule_tests::site::Site;
use ampoule_tests::{Table, host, value};
use serde_json::{Value, json};

pub(crate) const CONFIG: &str = r#"
    plugins = ["PLUGINS/ecmascript.wasm", "PLUGINS/json-filter.wasm", "PLUGINS/hash.wasm",
               "PLUGINS/files.wasm", "PLUGINS/http-request.wasm", "PLUGINS/python.wasm"]
    [bindings.python]
    grant.files = "read-write"
    grant.tools = ["json-filter", "hash", "http-request"]
    [bindings.ecmascript]
    grant.files = "read-write"
    grant.tools = ["json-filter", "hash", "http-request"]
"#;

/// Runs a program in a language.
async fn run_in(host: &Host, language: &str, code: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let call = Call::new(language, json!({ "code": code })).workspace(folder.path());
    host.call(call).await
}

/// Runs JavaScript.
async fn run(host: &Host, code: &str) -> Outcome {
    run_in(host, "ecmascript", code).await
}

/// The whole value of JavaScript that runs to its end.
async fn ran(host: &Host, code: &str) -> Value {
    let outcome = run(host, code).await;
    match outcome.end {
        End::Value(output) => output.value.unwrap_or_default(),
        other => panic!("{code}\nended as {other:?}"),
    }
}

/// The result of JavaScript that runs to its end.
pub(crate) async fn result(host: &Host, code: &str) -> Value {
    ran(host, code).await.get("result").cloned().unwrap_or(Value::Null)
}

/// How a program must end.
enum Expected {
    /// With this result.
    Result(&'static str),
    /// With a result within bounds.
    Value,
    /// With an exception that says this.
    Exception(&'static str),
    Limit(Meter),
}
use Expected::{Exception, Limit, Result};

impl Expected {
    fn is(&self, end: &End) -> bool {
        match (end, self) {
            (End::Value(output), Result(json)) => {
                let value = output.value.as_ref().and_then(|value| value.get("result"));
                value == serde_json::from_str::<Value>(json).ok().as_ref()
            }
            (End::Value(_), Expected::Value) => true,
            (End::Failed(error), Exception(words)) => {
                error.code == "exception" && error.message.contains(words)
            }
            (End::Limit(breach), Limit(meter)) => breach.meter == *meter,
            _ => false,
        }
    }
}

const TOO_DEEP: &str = "RangeError: Maximum call stack size exceeded";

/// Hostile, careless and cunning programs, and their ends.
const HOSTILE: &[(&str, Expected)] = &[
    // Without end.
    ("for (;;);", Limit(Meter::Fuel)),
    ("while (true) await null;", Limit(Meter::Fuel)),
    ("const again = () => Promise.resolve().then(again); await again();", Limit(Meter::Fuel)),
    ("while (true) console.log('x');", Limit(Meter::Fuel)),
    ("/(a+)+$/.test('a'.repeat(40) + 'b')", Limit(Meter::Fuel)),
    (
        "while (true) { try { await tools.hash({ data: 'x', algorithm: 'md5' }) } catch {} }",
        Limit(Meter::ToolCalls),
    ),
    ("while (true) files.write('a.txt', new Uint8Array(16e6));", Limit(Meter::FileBytes)),
    ("await new Promise(() => {})", Exception("a promise that nothing will settle")),
    // Memory.
    ("const all = []; while (true) all.push(new Uint8Array(1e6));", Limit(Meter::Memory)),
    ("new Uint8Array(300_000_000)", Limit(Meter::Memory)),
    ("let text = 'x'; while (true) text += text;", Exception("string too long")),
    ("while (true) setTimeout(() => {}, 1);", Exception("timers already")),
    // Depth.
    ("function down() { return down() + 1 } down()", Exception(TOO_DEEP)),
    ("const o = { toString() { return `${o}` } }; `${o}`", Exception(TOO_DEEP)),
    ("let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x", Exception(TOO_DEEP)),
    ("const f = async () => { await f() }; await f()", Exception(TOO_DEEP)),
    ("JSON.parse('['.repeat(100_000))", Exception(TOO_DEEP)),
    ("let a = []; for (let i = 0; i < 1e4; i++) a = [a]; String(a)", Exception(TOO_DEEP)),
    ("eval('('.repeat(50_000))", Exception(TOO_DEEP)),
    ("eval('!'.repeat(50_000) + 1)", Exception(TOO_DEEP)),
    ("eval('`${'.repeat(5_000))", Exception(TOO_DEEP)),
    (
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; structuredClone(a)",
        Exception("DataCloneError"),
    ),
    // Ways out.
    (
        "typeof require + typeof process + typeof Deno + typeof WebAssembly",
        Result("\"undefinedundefinedundefinedundefined\""),
    ),
    ("import('node:fs')", Exception("the call brings no `modules`")),
    ("import('data:text/javascript,export default 1')", Exception("the call brings no `modules`")),
    ("await fetch('http://169.254.169.254/latest/meta-data/')", Exception("not granted")),
    ("files.readText('/etc/passwd')", Exception("path")),
    ("files.readText('../secret')", Exception("path")),
    ("tools['files/read']({ path: 'x' })", Exception("there is no tool files/read")),
    ("(() => {}).constructor('return this')() === globalThis", Result("true")),
    ("Object.keys(globalThis).includes('host')", Result("false")),
    ("try { null.x } catch (e) { e.stack.includes('ampoule:') }", Result("false")),
    ("Object.getOwnPropertyNames(tools.hash).join()", Result("\"length,name,output,id\"")),
    // A program may break its own world, and nobody else's.
    (
        "Array.prototype.push = null; JSON.stringify = null; \
      JSON.parse = null; Promise.prototype.then = null; [1, 2]",
        Result("[1,2]"),
    ),
    ("globalThis.console = null; globalThis.Error = null; Math.max = null; 7", Result("7")),
    (
        "Object.defineProperty(Object.prototype, 'value', { get() { throw 1 } }); 7",
        Exception("number: 1"),
    ),
    ("throw { get name() { throw 1 }, toString() { throw 2 } }", Exception("object")),
    (
        "const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { throw 1 } }); throw e",
        Exception("Error: x"),
    ),
    ("setTimeout(() => { throw new Error('late') }, 10); 1", Exception("Error: late")),
    ("Promise.reject(new Error('unseen')); 1", Exception("Error: unseen")),
];

/// The same in Python.
const HOSTILE_PYTHON: &[(&str, Expected)] = &[
    ("while True: pass", Limit(Meter::Fuel)),
    ("while True: print('x')", Limit(Meter::Fuel)),
    (
        "while True:\n    try: tools.hash(data='x', algorithm='md5')\n    except ToolError: pass",
        Limit(Meter::ToolCalls),
    ),
    ("kept = []\nwhile True: kept.append(bytearray(10**7))", Limit(Meter::Memory)),
    ("def down(): return down()\ndown()", Exception("RecursionError")),
    ("import json\njson.loads('[' * 100_000)", Exception("Recursion")),
    ("open('/etc/passwd').read()", Exception("Error")),
    ("open('../secret').read()", Exception("Error")),
    ("import os\nlen(os.environ)", Result("0")),
    ("import subprocess\nsubprocess.run(['ls'])", Exception("")),
    ("import socket\nsocket.create_connection(('169.254.169.254', 80))", Exception("")),
    ("import ctypes", Exception("")),
    ("import threading\nthreading.Thread(target=print).start()", Exception("")),
    ("tools.nothing()", Exception("")),
    ("input()", Exception("")),
    ("1 / 0", Exception("ZeroDivisionError")),
    ("def", Exception("SyntaxError")),
];

/// What the hostile guests do, tried by programs: the guest, the program in JavaScript and its end, the
/// same in Python.
const TWINS: &[(&str, &str, Expected, &str, Expected)] = &[
    ("endless-loop", "for (;;);", Limit(Meter::Fuel), "while True: pass", Limit(Meter::Fuel)),
    (
        "memory-hoard",
        "const all = []; while (true) all.push(new Uint8Array(1e6));",
        Limit(Meter::Memory),
        "kept = []\nwhile True: kept.append(bytearray(10**7))",
        Limit(Meter::Memory),
    ),
    (
        "deep-recursion",
        "function down() { return down() + 1 } down()",
        Exception(TOO_DEEP),
        "def down(): return down()\ndown()",
        Exception("RecursionError"),
    ),
    ("output-flood", "'x'.repeat(5e6)", Expected::Value, "'x' * 40_000_000", Expected::Value),
    (
        "error-flood",
        "throw new Error('y'.repeat(17 << 20))",
        Exception("Error: yyyy"),
        "raise ValueError('y' * (17 << 20))",
        Exception("ValueError: yyyy"),
    ),
    (
        "block-flood",
        "while (true) display(1)",
        Limit(Meter::Fuel),
        "while True: display(1)",
        Limit(Meter::Fuel),
    ),
    (
        "log-flood",
        "while (true) console.log('z')",
        Limit(Meter::Fuel),
        "while True: print('z')",
        Limit(Meter::Fuel),
    ),
    (
        "host-call-loop",
        "while (true) Date.now()",
        Limit(Meter::HostCalls),
        "import time\nwhile True: time.time()",
        Limit(Meter::Fuel),
    ),
    (
        "denied-loop",
        "while (true) { try { await fetch('http://example.com/') } catch {} }",
        Limit(Meter::Fuel),
        "while True:\n  try: open('/etc/passwd')\n  except OSError: pass",
        Limit(Meter::Fuel),
    ),
    (
        "big-host-call",
        "files.write('a', new Uint8Array(60 << 20))",
        Limit(Meter::HostCallBytes),
        "open('a', 'wb').write(bytes(100 << 20))",
        Limit(Meter::HostCallBytes),
    ),
    // Time is the program's own: it passes at once where nothing else is waited for.
    (
        "long-sleep",
        "await new Promise((wake) => setTimeout(wake, 3_600_000)); 1",
        Result("1"),
        "import time\ntime.sleep(3600)\n1",
        Result("1"),
    ),
    (
        "handle-hoard",
        "const all = []; while (true) all.push(fetch('http://example.com/').catch(() => 0))",
        Limit(Meter::Fuel),
        "kept = []\nwhile True: kept.append(open(f'f{len(kept)}', 'w'))",
        Exception("No file descriptors available"),
    ),
    (
        "blob-flood",
        "while (true) display(new Uint8Array(1e6))",
        Limit(Meter::BlobBytes),
        "while True: display(bytes(10**6))",
        Limit(Meter::Fuel),
    ),
    (
        "file-flood",
        "for (let i = 0; ; i++) files.write(`f${i}`, new Uint8Array(1e6))",
        Limit(Meter::FileBytes),
        "i = 0\nwhile True:\n  i += 1\n  open(f'f{i}', 'wb').write(bytes(10**6))",
        Limit(Meter::FileBytes),
    ),
    (
        "tool-loop",
        "tools.ecmascript({ code: 'tools.ecmascript' })",
        Exception("there is no tool ecmascript"),
        "tools.python(code='tools.python')",
        Exception("there is no tool `python`"),
    ),
    (
        "tool-flood",
        "while (true) { try { await tools.hash({ data: 'x', algorithm: 'md5' }) } catch {} }",
        Limit(Meter::ToolCalls),
        "while True:\n  try: tools.hash(data='x', algorithm='md5')\n  except ToolError: pass",
        Limit(Meter::ToolCalls),
    ),
    (
        "start-flood",
        "while (true) tools.hash({ data: 'x', algorithm: 'md5' }).catch(() => 0)",
        Limit(Meter::Fuel),
        "kept = []\nwhile True: kept.append(tools.hash.start(data='x', algorithm='md5'))",
        Limit(Meter::Fuel),
    ),
    (
        "not-json",
        "const o = {}; o.o = o; o",
        Result(r#"{"o": "[Circular]"}"#),
        "o = {}\no['o'] = o\no",
        Result(r#"{"o": "[Circular]"}"#),
    ),
    (
        "deep-json",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; a",
        Expected::Value,
        "a = []\nfor i in range(100_000): a = [a]\na",
        Expected::Value,
    ),
    ("wrong-shape", "Symbol('x')", Result("\"Symbol(x)\""), "{1: {2}}", Expected::Value),
    (
        "panic",
        "null.x",
        Exception("TypeError"),
        "import os\nos.abort()",
        Exception("SystemExit: aborted"),
    ),
];

/// Guests that no program can imitate, and why.
const ALONE: &[(&str, &str)] = &[
    ("event-flood", "programs report no progress"),
    ("blob-blocks", "a program shows blobs and does not name them"),
    ("trap", "an interpreter has no instruction that traps; what breaks it down is not known"),
];

/// A host in which programs have as much fuel as the endless ones need to be seen as such.
async fn with_little_fuel() -> Host {
    let limits = "limits = { fuel = \"2G\" }";
    let config = CONFIG.replace("[bindings.python]", &format!("[bindings.python]\n{limits}"));
    host(&format!("{config}\n    {limits}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hostile_guests_do_programs_do_not_either() {
    let host = with_little_fuel().await;
    let twins = TWINS.iter().map(|(guest, ..)| *guest);
    let names: BTreeSet<_> = twins.chain(ALONE.iter().map(|(guest, _)| *guest)).collect();
    assert_eq!(names, crate::hostile::TABLE.iter().map(|(guest, ..)| *guest).collect());
    let mut table = Table::new("Hostile programs");
    let mut wrong = Vec::new();
    for (guest, javascript, end, python, other) in TWINS {
        for (language, code, end) in [("ecmascript", javascript, end), ("python", python, other)] {
            let folder = tempfile::tempdir().unwrap();
            let call = Call::new(language, json!({ "code": code })).workspace(folder.path());
            let outcome = host.call(call).await;
            table.call(guest, &format!("{language}: {code}"), &outcome);
            let left = std::fs::read_dir(folder.path()).unwrap().count();
            if !end.is(&outcome.end) || left > 0 {
                let shown = format!("{:?}", outcome.end);
                let shown = &shown[..shown.floor_char_boundary(300)];
                wrong.push(format!("{guest} {language}, {left} files: {shown}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_program_has_its_end() {
    let host = with_little_fuel().await;
    let mut wrong = Vec::new();
    let javascript = HOSTILE.iter().map(|row| ("ecmascript", row));
    let python = HOSTILE_PYTHON.iter().map(|row| ("python", row));
    for (language, (code, expected)) in javascript.chain(python) {
        let outcome = run_in(&host, language, code).await;
        if !expected.is(&outcome.end) {
            let shown = format!("{:?}", outcome.end);
            wrong.push(format!("{code}\n    {}", &shown[..shown.floor_char_boundary(400)]));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(result(&host, "1 + 1").await, 2);
    assert_eq!(value(&host, "python", json!({ "code": "1 + 1" })).await["result"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_interpreters_share_nothing_not_even_chance() {
    let host = host(CONFIG).await;
    let draw =
        "globalThis.kept = (globalThis.kept ?? 0) + 1; [Math.random(), crypto.randomUUID(), kept]";
    let (one, other) = (result(&host, draw).await, result(&host, draw).await);
    assert_ne!(one[0], other[0]);
    assert_ne!(one[1], other[1]);
    assert_eq!((&one[2], &other[2]), (&json!(1), &json!(1)));
    let draw = json!({ "code": "import random, uuid, os\n[random.random(), str(uuid.uuid4()), os.urandom(8).hex()]" });
    let (one, other) =
        (value(&host, "python", draw.clone()).await, value(&host, "python", draw).await);
    for at in 0..3 {
        assert_ne!(one["result"][at], other["result"][at]);
    }
}

/// The plugin compares strings by eight bytes at a time: wherever two differ, and by whatever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strings_compare_by_their_characters_at_every_place() {
    let mut words = Vec::new();
    for length in 0..=17 {
        words.push("m".repeat(length));
        for place in 0..length {
            for other in ['\0', 'a', 'z', '\u{80}', '\u{ff}'] {
                let (before, after) = ("m".repeat(place), "m".repeat(length - place - 1));
                words.push(format!("{before}{other}{after}"));
            }
        }
    }
    let code = format!("{}.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)).join()", json!(words));
    words.sort();
    let host = host(CONFIG).await;
    assert_eq!(result(&host, &code).await, json!(words.join(",")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_called_at_once_run_at_once_and_add_up() {
    let site = Site::start().await;
    let config = format!("{CONFIG}{}", site.grant("http-request"));
    let host = host(&config).await;
    // The one that waits longest is called first: one after the other, they would end in this order.
    let code = format!(
        "const ended = []; \
         await Promise.all([600, 300, 0].map(async (wait) => {{ \
           await tools.httpRequest({{ method: 'GET', url: `{}/delay/${{wait}}` }}); \
           ended.push(wait); \
         }})); \
         ended",
        site.origin()
    );
    let outcome = run(&host, &code).await;
    assert!(
        matches!(&outcome.end, End::Value(output)
        if output.value.as_ref().is_some_and(|value| value["result"] == json!([0, 300, 600]))),
        "{:?}",
        outcome.end
    );
    assert_eq!(site.seen().len(), 3);
    let receipt = &outcome.receipt;
    assert_eq!(receipt.children.len(), 3);
    assert_eq!(receipt.used.get(Meter::ToolCalls), 3);
    for meter in [Meter::HttpRequests, Meter::HttpBytes] {
        let below: u64 = receipt.children.iter().map(|child| child.used.get(meter)).sum();
        assert_eq!(receipt.used.get(meter), below, "{}", meter.name());
        assert!(below > 0);
    }
    let below: u64 = receipt.children.iter().map(|child| child.used.get(Meter::Fuel)).sum();
    assert!(receipt.used.get(Meter::Fuel) > below, "a run has used what its tools have used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_or_denied_tool_is_an_exception_with_code_and_message() {
    let host = host(CONFIG).await;
    let caught = |call: &str| {
        format!(
            "try {{ await {call}; 'no error' }} catch (e) {{ [e.name, e.code, e.message.length > 10, e instanceof ToolError] }}"
        )
    };
    let check = async |call: &str, code: &str| {
        assert_eq!(
            result(&host, &caught(call)).await,
            json!(["ToolError", code, true, true]),
            "{call}"
        );
    };
    check("tools.hash({ data: 'x', algorithm: 'nonsense' })", "bad-arguments").await;
    check("tools.hash({ data: 'zz', algorithm: 'md5', input_encoding: 'hex' })", "bad-arguments")
        .await;
    check("tools.httpRequest({ method: 'GET', url: 'https://example.com/' })", "denied").await;
    // An exception that nobody catches says which tool it was.
    let outcome = run(&host, "await tools.hash({ data: 'x' })").await;
    let End::Failed(error) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(error.data.unwrap()["tool"]["code"], "bad-arguments");
    let message = run(&host, "tools.hsh({})").await.end.into_result().unwrap_err().message;
    assert!(message.contains("did you mean hash?"), "{message}");
    assert_eq!(
        result(&host, "Object.keys(tools)").await,
        json!(["hash", "httpRequest", "jsonFilter"])
    );
    let digest = "await tools.hash.output({ data: 'abc', algorithm: 'crc32' })";
    assert_eq!(result(&host, digest).await["value"]["digest"], "352441c2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_writes_and_shows_comes_back() {
    let host = host(CONFIG).await;
    let folder = tempfile::tempdir().unwrap();
    let code = "files.write('out/rows.csv', 'a,b\\n1,2\\n'); \
                display([{ a: 1, b: 'x|y' }], 'Rows'); \
                display('<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>'); \
                display(new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0])); \
                files.readText('out/rows.csv').length";
    let call = Call::new("ecmascript", json!({ "code": code })).workspace(folder.path());
    let End::Value(output) = host.call(call).await.end else { panic!("no value") };
    let value = output.value.unwrap();
    assert_eq!(value, json!({ "result": 8, "files": ["out/rows.csv"] }));
    let kinds: Vec<_> = output.blocks.iter().map(|block| block.kind.as_str()).collect();
    assert_eq!(kinds, ["table", "svg", "image", "file"]);
    assert_eq!(output.blocks[0].text.as_deref(), Some("| a | b |\n| --- | --- |\n| 1 | x\\|y |"));
    assert_eq!(output.blocks[3].data.as_deref(), Some(&b"a,b\n1,2\n"[..]));
    assert_eq!(std::fs::read(folder.path().join("out/rows.csv")).unwrap(), b"a,b\n1,2\n");
    // Of a program that fails, nothing is kept.
    let code = "files.write('gone.txt', 'x'); throw new Error('after all')";
    let call = Call::new("ecmascript", json!({ "code": code })).workspace(folder.path());
    assert!(matches!(host.call(call).await.end, End::Failed(_)));
    assert!(!folder.path().join("gone.txt").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_cut_and_said() {
    let host = host(CONFIG).await;
    let cut = async |code: &str, words: &str| {
        let value = ran(&host, code).await;
        let cuts = value["cut"].to_string();
        assert!(cuts.contains(words), "{code}: {cuts}");
        assert!(value.to_string().len() < 200_000, "{code}");
    };
    cut(
        "({ items: Array.from({ length: 1e5 }, (_, i) => i) })",
        "result.items: 100000 entries, the first",
    )
    .await;
    cut("'x'.repeat(1e6)", "result: 1000000 characters, the first").await;
    cut("for (let i = 0; i < 50; i++) console.log('x'.repeat(1e6)); 1", "more lines").await;
    cut("new Uint8Array(1e6)", "result: 1000000 bytes, the first").await;
    cut("let a = []; for (let i = 0; i < 200; i++) a = [a]; a", "deeper than 90 levels").await;
    let whole = json!({ "code": "'x'.repeat(1e6)", "max_bytes": 2_000_000 });
    assert_eq!(
        value(&host, "ecmascript", whole).await["result"].as_str().map(str::len),
        Some(1_000_000)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declarations_name_what_is_granted_and_nothing_else() {
    let host = host(CONFIG).await;
    let value = value(&host, "ecmascript", json!({ "declarations": true })).await;
    let text = value["declarations"].as_str().unwrap();
    for part in ["jsonFilter: {", "(args: {", "algorithm: \"crc32\" | \"md5\"", "lines?: boolean;"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("filesRead"), "{text}");
}

/// The largest suite of JavaScript that a package carries: programs that must be read, and programs
/// that must be refused before they run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parser_tests_of_test262() {
    // What QuickJS-ng itself reads or refuses otherwise, by the numbers of its programs.
    const PASSED_AT_LEAST: usize = 3_290;
    let host = host(&format!("{CONFIG}\n    limits = {{ fuel = \"50M\" }}")).await;
    let suite = ampoule_tests::root().join("target/tools/node/node_modules/test262-parser-tests");
    let (mut run, mut passed, mut wrong) = (0, 0, Vec::new());
    for (folder, is_good) in [("pass", true), ("fail", false), ("early", false)] {
        let entries = std::fs::read_dir(suite.join(folder)).unwrap_or_else(|_| {
            panic!("{} is not there: run `cargo xtask setup`", suite.display())
        });
        for entry in entries {
            let path = entry.unwrap().path();
            let mut code = std::fs::read_to_string(&path).unwrap();
            if path.to_string_lossy().ends_with(".module.js") {
                code.push_str("\nexport {};");
            }
            let outcome = host.call(Call::new("ecmascript", json!({ "code": code }))).await;
            let refused = match &outcome.end {
                End::Failed(error) => {
                    let data = error.data.as_ref();
                    data.is_some_and(|data| data["name"] == "SyntaxError" && data["stack"] != "")
                }
                End::Value(_) | End::Limit(_) => false,
                other => panic!("{}: {other:?}", path.display()),
            };
            run += 1;
            if refused != is_good {
                passed += 1;
            } else {
                wrong.push(format!("{folder}/{}", path.file_name().unwrap().display()));
            }
        }
    }
    wrong.sort();
    assert!(passed >= PASSED_AT_LEAST, "{passed} of {run}; not: {wrong:?}");
}
