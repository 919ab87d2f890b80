use serde_json::Value;

use crate::harness::Folder;

const CALL: [&str; 5] =
    ["call", "probe/echo", r#"{"text": "hi", "times": 2}"#, "--record", "echo.jsonl"];

#[test]
fn a_recorded_call_prints_the_same_again() {
    let folder = Folder::with_plugin();
    let called = folder.run(&CALL);
    assert_eq!((called.code, called.stdout.as_str()), (0, "{\"text\":\"hi\",\"times\":2}\n"));
    assert!(called.stderr.contains("recorded echo.jsonl ("), "{}", called.stderr);
    for arguments in
        [&["replay", "echo.jsonl"][..], &["replay", "echo.jsonl", "--plugin", "plugins/probe.wasm"]]
    {
        let replayed = folder.run(arguments);
        assert_eq!((replayed.code, &replayed.stdout), (0, &called.stdout), "{}", replayed.stderr);
        assert!(replayed.stderr.contains("identical, "), "{}", replayed.stderr);
    }
    let document = folder.run(&["replay", "echo.jsonl", "--json"]);
    let document: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["replay"]["identical"], true, "{document}");
    let (then, now) = (&document["replay"]["recorded"]["used"], &document["receipt"]["used"]);
    assert_eq!(then["fuel"], now["fuel"]);

    let again = folder.run(&CALL);
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
}

#[test]
fn a_call_that_does_not_begin_leaves_no_file() {
    let folder = Folder::with_plugin();
    let mut arguments = CALL;
    arguments[2] = "[]";
    let called = folder.run(&arguments);
    assert_eq!((called.code, called.stdout.as_str()), (2, ""));
    assert!(called.stderr.contains("not recorded: the call ended before"), "{}", called.stderr);
    assert!(!folder.path().join("echo.jsonl").exists());
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let folder = Folder::with_plugin();
    folder.run(&CALL);
    let text = folder.read("echo.jsonl");
    folder.write("cut.jsonl", &text[..text.len() / 2]);
    folder.write("changed.jsonl", text.replacen("hi", "ho", 1));
    for (file, words) in [
        ("cut.jsonl", "cut off"),
        ("changed.jsonl", "changed.jsonl, line 1: "),
        ("gone.jsonl", "No such file"),
    ] {
        let ended = folder.run(&["replay", file]);
        assert_eq!((ended.code, ended.stdout.as_str()), (7, ""), "{file}");
        assert!(ended.stderr.contains(words), "{file}: {}", ended.stderr);
    }
}
