use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Ended, Folder};

/// A folder with the plugin and a journal, in which `calls` calls were made.
fn with_calls(calls: &[&[&str]]) -> Folder {
    let folder = Folder::with_plugin();
    folder.write(
        "etc/ampoule.toml",
        "plugins = [\"../plugins\"]\n[journal]\npath = \"../log/journal.db\"\n",
    );
    for call in calls {
        run(&folder, &[&["call"], *call].concat());
    }
    folder
}

fn run(folder: &Folder, arguments: &[&str]) -> Ended {
    folder.run(&[arguments, &["--config", "etc/ampoule.toml"]].concat())
}

fn json(folder: &Folder, arguments: &[&str]) -> Value {
    let ended = run(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

const ECHO: &[&str] = &["probe/echo", r#"{"text": "canary-7f3a"}"#, "--principal", "ann"];

#[test]
fn calls_are_in_the_journal_without_what_they_said() {
    let folder = with_calls(&[ECHO, ECHO, &["probe/fail", "{}"], &["nothing/there"]]);
    let document = json(&folder, &["audit", "list"]);
    let lines = document["lines"].as_array().unwrap();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            // Grants have not changed between the calls.
            "opened",
            "grants",
            "call-started",
            "call-ended", //
            "opened",
            "call-started",
            "call-ended", //
            "opened",
            "call-started",
            "call-ended", //
            "opened",
            "call-started",
            "denied",
            "call-ended",
        ]
    );
    let (started, ended) = (&lines[2], &lines[3]);
    assert_eq!(started["call"], ended["call"]);
    assert_eq!((&started["principal"], &started["tool"]), (&"ann".into(), &"probe/echo".into()));
    assert_eq!(started["body"]["grants"], lines[1]["body"]["grants"]);
    assert_eq!(started["body"]["arguments"]["bytes"], 23);
    assert_eq!(ended["body"]["end"], "value");
    assert_eq!(ended["body"]["value"]["bytes"], 22);
    assert_eq!(ended["body"]["receipt"]["call"], started["call"]);
    assert!(ended["body"]["receipt"]["used"]["fuel"].as_u64().unwrap() > 0);
    assert_eq!(lines[9]["body"]["error"]["code"], "conflict");
    assert_eq!(lines[12]["body"]["gate"], "registry");
    assert!(!document.to_string().contains("canary-7f3a"));
    let file = std::fs::read(folder.path().join("log/journal.db")).unwrap();
    assert!(!String::from_utf8_lossy(&file).contains("canary-7f3a"));

    let count = |arguments: &[&str]| {
        let document = json(&folder, &[&["audit", "list"], arguments].concat());
        document["lines"].as_array().unwrap().len()
    };
    let call = started["call"].as_str().unwrap();
    assert_eq!(count(&["--call", call]), 2);
    assert_eq!(count(&["--kind", "call-ended"]), 4);
    assert_eq!(count(&["--tool", "probe/e*", "--principal", "ann"]), 4);
    assert_eq!(count(&["--since", "1h", "--limit", "3"]), 3);
    assert_eq!(count(&["--since", "2999-01-01T00:00:00Z"]), 0);
    for bad in [["--kind", "ended"], ["--since", "yesterday"], ["--tool", "a b"]] {
        assert_eq!(run(&folder, &[&["audit", "list"], &bad[..]].concat()).code, 2, "{bad:?}");
    }
    let table = run(&folder, &["audit", "list", "--limit", "2"]);
    assert!(table.stdout.starts_with("line  time "), "{}", table.stdout);
    assert!(table.stdout.contains("registry there is no tool"), "{}", table.stdout);
    assert!(table.stderr.contains("--limit N"), "{}", table.stderr);
}

#[test]
fn tampering_fails_with_the_line() {
    let folder = with_calls(&[ECHO]);
    let ended = run(&folder, &["audit", "verify"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let head = ended.stdout.lines().find_map(|line| line.strip_prefix("head ")).unwrap();
    assert!(head.starts_with("4:"), "{head}");
    assert_eq!(run(&folder, &["audit", "verify", "--head", head]).code, 0);
    assert_eq!(run(&folder, &["audit", "verify", "--head", "x"]).code, 2);

    let file = folder.path().join("log/journal.db");
    let tamper = |sql: &str| Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    tamper("DELETE FROM lines WHERE seq = 4");
    assert_eq!(run(&folder, &["audit", "verify"]).code, 0);
    let ended = run(&folder, &["audit", "verify", "--head", head]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stderr,
        "error: the journal was tampered with: line 4 is missing\n\n\
         The first 3 lines are as they were written.\n"
    );
    tamper("UPDATE lines SET principal = 'bob' WHERE seq = 3");
    let ended = run(&folder, &["audit", "verify"]);
    assert_eq!((ended.code, ended.stderr.contains("line 3 was changed")), (1, true), "{ended:?}");
    let document = json(&folder, &["audit", "verify"]);
    assert_eq!(
        (&document["whole"], &document["broken"]["line"], &document["head"]["lines"]),
        (&false.into(), &3.into(), &2.into())
    );
}

#[test]
fn a_head_that_is_kept_in_a_file_shows_what_was_cut_off() {
    let folder = with_calls(&[ECHO]);
    let head = folder.path().join("kept/journal.head");
    let verify = || run(&folder, &["audit", "verify", "--head-file", head.to_str().unwrap()]);
    assert_eq!(verify().code, 0);
    assert!(std::fs::read_to_string(&head).unwrap().starts_with("4:"));
    run(&folder, &[&["call"], ECHO].concat());
    assert_eq!(verify().code, 0);
    let kept = std::fs::read_to_string(&head).unwrap();
    assert!(kept.starts_with("7:") && kept.ends_with('\n'), "{kept}");

    let file = folder.path().join("log/journal.db");
    Connection::open(&file).unwrap().execute_batch("DELETE FROM lines WHERE seq > 5").unwrap();
    // The chain alone shows nothing; what is kept does, and stays as it is.
    assert_eq!(run(&folder, &["audit", "verify"]).code, 0);
    let ended = verify();
    assert!(ended.stderr.contains("lines 6 to 7 are missing"), "{ended:?}");
    assert_eq!((ended.code, std::fs::read_to_string(&head).unwrap()), (1, kept));
    for wrong in ["", "x", "7:0"] {
        std::fs::write(&head, wrong).unwrap();
        assert_eq!(verify().code, 2, "{wrong:?}");
    }
}

#[test]
fn a_call_is_explained() {
    let folder = with_calls(&[ECHO, &["probe/trap", "{}"]]);
    let document = json(&folder, &["audit", "list", "--kind", "call-ended"]);
    let call = |n: usize| document["lines"][n]["call"].as_str().unwrap().to_owned();
    let told = run(&folder, &["explain", &call(0)]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    for part in
        ["tool      probe/echo\n", "plugin    sha256:", "asked by  ann\n", "ended     value"]
    {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert!(told.stdout.ends_with("\nNothing was refused.\n"), "{}", told.stdout);
    let told = run(&folder, &["explain", &call(1)]);
    assert!(told.stdout.contains("trap, "), "{}", told.stdout);

    let told = run(&folder, &["explain", "none-1"]);
    assert_eq!((told.code, told.stdout.as_str()), (2, ""));
    assert!(told.stderr.contains("knows no call `none-1`"), "{}", told.stderr);
    assert!(told.stderr.contains("ampoule audit list --kind call-started"), "{}", told.stderr);
}

#[test]
fn without_a_journal_it_says_how_to_keep_one() {
    let folder = Folder::with_plugin();
    for command in [&["audit", "list"][..], &["audit", "verify"], &["explain", "x"]] {
        let ended = folder.run(command);
        assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
        assert!(ended.stderr.contains("[journal]\n  path = \"PATH\""), "{}", ended.stderr);
    }
    assert_eq!(folder.run(&["audit", "list", "--journal", "none.db"]).code, 7);
    // What is named for a call is made.
    let path = "log/journal.db";
    let ended = folder.run(&["call", "probe/echo", r#"{"text": ""}"#, "--journal", path]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(folder.run(&["audit", "verify", "--journal", path]).code, 0);
}

#[test]
fn no_call_begins_that_could_not_be_recorded() {
    let folder = Folder::with_plugin();
    folder.write("journal.db", "something else, and long enough to be no header of a database");
    let call = ["call", "probe/echo", r#"{"text": ""}"#, "--journal", "journal.db"];
    let ended = folder.run(&call);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    assert!(ended.stderr.contains("no SQLite file"), "{}", ended.stderr);

    let inside = ["--journal", "log/new.db", "--workspace", "."];
    let ended = folder.run(&[&call[..3], &inside[..]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    assert!(ended.stderr.contains("lies in the workspace"), "{}", ended.stderr);
    assert!(!folder.path().join("log").exists());
}

/// One process after another is killed in the middle of its calls.
#[cfg(unix)]
#[test]
fn a_process_that_is_killed_leaves_a_whole_journal() {
    let folder = with_calls(&[]);
    let mut lines = 0;
    for round in 0..6 {
        let arguments = ["mcp", "--config", "etc/ampoule.toml"];
        let mut child = folder.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            let begin = concat!(
                r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"#,
                r#""2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#,
                "\n",
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#
            );
            let mut told = writeln!(stdin, "{begin}");
            // Until nobody reads any more.
            for id in 1.. {
                if told.is_err() {
                    return;
                }
                told = writeln!(
                    stdin,
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"probe__echo","arguments":{{"text":"hi"}}}}}}"#
                );
            }
        });
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..=(5 + 17 * round) {
            answers.next().unwrap().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(answers);
        writing.join().unwrap();

        let ended = run(&folder, &["audit", "verify", "--json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        let now = document["head"]["lines"].as_u64().unwrap();
        assert!(now >= lines, "{now} lines after {lines}");
        lines = now;
    }
    // The next process goes on where the last one was killed.
    let ended = run(&folder, &[&["call"], ECHO].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let document = json(&folder, &["audit", "verify"]);
    assert_eq!(document["whole"], true);
    assert!(document["head"]["lines"].as_u64().unwrap() >= lines + 3, "{document}");
}
