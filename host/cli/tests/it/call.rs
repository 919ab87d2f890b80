use serde_json::Value;

use crate::harness::Folder;

#[test]
fn a_value_goes_to_stdout_and_its_cost_to_stderr() {
    let folder = Folder::with_plugin();
    for arguments in [
        &["call", "probe/echo", r#"{"text": "hi", "times": 2}"#][..],
        &["call", "probe__echo", "--arg", "text=hi", "--arg", "times:=2"],
    ] {
        let ended = folder.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "{\"text\":\"hi\",\"times\":2}\n"));
        let line = ended.stderr.strip_prefix("value · ").unwrap();
        assert!(line.ends_with(" fuel · 4 MiB · [TIME]\n"), "{line}");
    }
}

#[test]
fn arguments_come_from_files_and_standard_input() {
    let folder = Folder::with_plugin();
    let text = r#"{"text":"é"}"#;
    folder.write("arguments.json", text);
    let expected = format!("{text}\n");
    assert_eq!(folder.run(&["call", "probe/echo", "@arguments.json"]).stdout, expected);
    assert_eq!(folder.run_with(&["call", "probe/echo", "-"], text).stdout, expected);
    folder.check(
        &["call", "probe/echo", "@gone.json"],
        2,
        "",
        "error: the arguments cannot be read: gone.json: No such file or directory (os error 2)\n",
    );
}

#[test]
fn what_is_not_utf8_is_refused_with_its_place() {
    let folder = Folder::with_plugin();
    let bad = b"{\"text\":\"\xff\"}";
    folder.write("bad.json", bad);
    folder.check(
        &["call", "probe/echo", "@bad.json"],
        2,
        "",
        "error: bad arguments: bad.json: not UTF-8 at byte 9\n",
    );
    let ended = folder.run_with(&["call", "probe/echo", "-"], bad);
    assert_eq!(ended.stderr, "error: bad arguments: standard input: not UTF-8 at byte 9\n");
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let mut command = folder.command(&["call", "probe/echo"]);
        let child = command.arg(std::ffi::OsStr::from_bytes(bad)).spawn().unwrap();
        let ended = folder.end(child);
        assert_eq!(ended.code, 2);
        assert_eq!(ended.stderr, "error: bad arguments: the arguments: not UTF-8 at byte 9\n");
    }
}

#[test]
fn too_much_is_refused_by_its_limit_and_not_read() {
    let folder = Folder::with_plugin();
    let ended = folder.run_with(&["call", "probe/echo", "-"], vec![b'x'; 100_000_000]);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""));
    assert_eq!(
        ended.stderr,
        "error: limit `argument-bytes` of this call reached: 1000 B\n\nTo allow it, add to \
         ampoule.toml:\n\n  [bindings.probe]\n  limits.argument-bytes = 2000\n\n\
         limit argument-bytes · 0 fuel · [TIME]\n"
    );
    folder.write("deep.json", format!("{}{}", "[".repeat(400), "]".repeat(400)));
    let ended = folder.run(&["call", "probe/echo", "@deep.json"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.starts_with("error: bad arguments: the JSON is nested deeper than 100 levels"),
        "{}",
        ended.stderr
    );
}

#[test]
fn bad_arguments_come_with_the_parameters() {
    let folder = Folder::with_plugin();
    folder.check(
        &["call", "probe/echo", r#"{"text": 1}"#],
        2,
        "",
        "error: bad arguments: at /text: 1 is not of type \"string\"\n\n\
         Parameters of probe/echo\n  \
         parameter  type     required  default  description\n  \
         text       string   yes                What to answer\n  \
         times      integer  no        1\n\n\
         For example\n  ampoule call probe/echo '{\"text\":\"it'\\''s\"}'\n\n\
         bad-arguments · 0 fuel · [TIME]\n",
    );
    let ended = folder.run(&["call", "probe/echo", "{"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("not valid JSON"), "{}", ended.stderr);
    let ended = folder.run(&["call", "probe/echo", "{}", "--arg", "a=b"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("cannot be used with"), "{}", ended.stderr);
}

#[test]
fn every_end_has_its_code() {
    let folder = Folder::with_plugin();
    for (tool, code, stderr) in [
        ("fail", 1, "conflict: {}\nfailed · "),
        ("spin", 4, "error: limit `fuel` of this call reached: 10,000,000\n"),
        ("trap", 5, "error: the tool broke down; nothing it did was kept: wasm trap: wasm `unrea"),
    ] {
        let ended = folder.run(&["call", &format!("probe/{tool}")]);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{tool}");
        assert!(ended.stderr.starts_with(stderr), "{tool}: {}", ended.stderr);
    }
    folder.check(
        &["call", "probe/ecoh"],
        3,
        "",
        "denied by registry: there is no tool `probe/ecoh`; did you mean `probe/echo`?\n\
         denied · 0 fuel · 1 refused · [TIME]\n",
    );
    folder.check(
        &["call", "probe/echo", "--workspace", "gone"],
        2,
        "",
        "error: the workspace gone is not a folder\n",
    );
}

#[test]
fn what_is_not_granted_is_denied_with_the_lines_that_would_allow_it() {
    let folder = Folder::with_plugin();
    let required = crate::plugin::PLUGIN_TOML.replace("capabilities.optional", "capabilities");
    folder.write("source/plugin.toml", required);
    let packed = folder.run(&["pack", "source/probe.wasm", "source", "-o", "plugins/probe.wasm"]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    folder.check(
        &["call", "probe/echo", "--arg", "text=x"],
        3,
        "",
        "denied by grant: the secret `api-key` is not granted to `probe`\n\nTo allow it, add to \
         ampoule.toml:\n\n  [bindings.probe]\n  grant.secrets.api-key = { secret = \"NAME\" }\n\n\
         denied · 0 fuel · 1 refused · [TIME]\n",
    );
}

#[test]
fn a_guest_s_lines_are_shown_and_cannot_steer_the_terminal() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["call", "probe/log", r#"{"a":"\u009b2J"}"#]);
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.starts_with("warn {\"a\":\"\\u{9b}2J\"}\nvalue · "), "{}", ended.stderr);
}

#[test]
fn json_is_one_document_whatever_the_end() {
    let folder = Folder::with_plugin();
    for (tool, code, end, error) in [
        ("probe/log", 0, "value", Value::Null),
        ("probe/fail", 1, "failed", "conflict".into()),
        ("probe/echo", 2, "bad-arguments", "bad-arguments".into()),
        ("nothing", 3, "denied", "denied".into()),
        ("probe/spin", 4, "limit", "limit".into()),
        ("probe/trap", 5, "trap", "internal".into()),
    ] {
        let ended = folder.run(&["call", tool, "--json"]);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(ended.code, code, "{tool}");
        assert_eq!((&document["end"], &document["error"]["code"]), (&end.into(), &error), "{tool}");
        assert_eq!(document["receipt"]["end"], end, "{tool}");
    }
}

#[test]
fn a_receipt_shows_every_meter() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["call", "probe/echo", "--arg", "text=x", "--receipt"]);
    assert_eq!(ended.code, 0);
    for part in ["meter ", "\nfuel ", "  10,000,000\n", "\nargument-bytes ", "\nwaited "] {
        assert!(ended.stderr.contains(part), "{part:?} is not in\n{}", ended.stderr);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_cancels_the_call() {
    let folder = Folder::with_plugin();
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[bindings.probe]\nlimits = { fuel = \"1000G\", wall-time = \"1 min\" }",
    );
    let child = folder.command(&["call", "probe/spin"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = folder.end(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (6, ""));
    assert!(ended.stderr.starts_with("error: cancelled\ncancelled · "), "{}", ended.stderr);
}
