use serde_json::{Value, json};

use crate::harness::Folder;
use crate::plugin::PLUGIN_TOML;

/// The folder of a plugin with the tool `echo` alone, with these cases.
fn echo(cases: &Value) -> Folder {
    let folder = Folder::with_plugin();
    let begin = PLUGIN_TOML.find("[tools.fail]").unwrap();
    folder.write("plugins/probe/plugin.toml", &PLUGIN_TOML[..begin]);
    folder.write("plugins/probe/examples.json", crate::plugin::EXAMPLES);
    folder.write("plugins/probe/tests/echo.json", cases.to_string());
    folder.write("plugins/probe/tests/corpus/a.txt", "a file");
    folder.write("plugins/probe/tests/notes.txt", "no suite");
    std::fs::remove_file(folder.path().join("plugins/probe.wasm")).unwrap();
    let file = "target/plugins/probe.wasm";
    let packed = folder.run(&["pack", "source/probe.wasm", "plugins/probe", "-o", file]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    folder.write("ampoule.toml", "plugins = [\"target/plugins\"]");
    folder
}

#[test]
fn examples_cases_bad_inputs_and_limits_are_counted() {
    let suite = json!({
        "source": "made for this test",
        "cases": [
            { "title": "the whole", "arguments": { "text": "é" }, "value": { "text": "é" } },
            { "title": "a part", "arguments": { "text": "a", "times": 2 }, "partial": { "times": 2.0 } },
            { "title": "any value", "arguments": { "text": "a" } },
            { "title": "bad", "arguments": {}, "error": "bad-arguments", "message": "required" },
            { "title": "not now", "arguments": {}, "value": 1, "skip": "for a reason" },
        ],
    });
    let folder = echo(&suite);
    for what in ["probe", "--all", "target/plugins/probe.wasm", "plugins/probe", "target/plugins"] {
        let ended = folder.run(&["test", what]);
        assert_eq!(ended.code, 0, "{what}: {ended:?}");
        let line = ended.stdout.lines().nth(1).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[..6], ["ok", "probe", "1", "4,", "1", "skipped"], "{what}: {line}");
        let (bad, limits): (usize, usize) = (words[6].parse().unwrap(), words[7].parse().unwrap());
        assert!(bad > 80 && limits == 2, "{what}: {line}");
        assert!(ended.stdout.ends_with("skipped: probe, 1: for a reason\n"), "{}", ended.stdout);
    }
    // Its suite may stand elsewhere.
    folder.write("elsewhere/one.json", json!({ "cases": [] }).to_string());
    let ended = folder.run(&["test", "probe", "--cases", "elsewhere", "--json"]);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["plugins"][0]["cases"], json!({ "passed": 0, "failed": 0, "skipped": 0 }));
    assert_eq!(document["plugins"][0]["failures"], json!([]));
}

#[test]
fn a_file_has_not_the_grants_of_the_name_it_gives_itself() {
    let folder = echo(&json!({ "cases": [] }));
    let config = "plugins = [\"target/plugins\"]\n[bindings.probe.limits]\nfuel = 10";
    folder.write("ampoule.toml", config);
    let file = "target/plugins/probe.wasm";
    for (arguments, code) in [
        (&["test", "probe"][..], 1),
        (&["test", file], 0),
        (&["test", "plugins/probe"], 0),
        (&["test", file, "--as", "probe"], 1),
        (&["test", file, "--as", "other"], 2),
        (&["test", "probe", "--as", "probe"], 2),
    ] {
        let ended = folder.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_failure_says_what_was_expected_and_what_was_found() {
    let suite = json!({ "cases": [
        { "title": "wrong", "arguments": { "text": "a\nb" }, "value": { "text": "a\nc" } },
        { "title": "no error", "arguments": { "text": "a" }, "error": "invalid-data" },
        { "title": "a file", "arguments": { "text": { "$file": "corpus/a.txt" } }, "value": 1 },
    ] });
    let folder = echo(&suite);
    let ended = folder.run(&["test", "probe"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    for part in [
        "FAIL  probe          1  0 of 3",
        "\nprobe/echo, case \"wrong\" plugins/probe/tests/echo.json\n  \
         arguments  {\"text\":\"a\\nb\"}\n  \
         expected   value {\"text\":\"a\\nc\"}\n  \
         found      value {\"text\":\"a\\nb\"}\n             \
         /text: expected \"a\\nc\", found \"a\\nb\"\n",
        "  expected   error invalid-data\n  found      value {\"text\":\"a\"}\n",
        "  found      error bad-arguments: at /text: {\"$blob\":\"file-0\"} is not of type",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n--- is not in\n{}", ended.stdout);
    }
    let ended = folder.run(&["test", "probe", "--json"]);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let failure = &document["plugins"][0]["failures"][0];
    assert_eq!((ended.code, failure["kind"].as_str()), (1, Some("case")));
    assert_eq!(failure["differences"], json!(["/text: expected \"a\\nc\", found \"a\\nb\""]));
}

#[test]
fn a_trap_on_any_input_is_a_failure_and_a_limit_is_none() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["test", "probe", "--json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let failures = document["plugins"][0]["failures"].as_array().unwrap();
    let of = |tool: &str| failures.iter().filter(|failure| failure["tool"] == tool).count();
    assert!(of("trap") > 10 && of("spin") == 0 && of("echo") == 0, "{failures:#?}");
    let found = failures[0]["found"].as_str().unwrap();
    assert!(found.starts_with("trap: "), "{found}");
}

#[test]
fn what_cannot_be_tested_is_said() {
    let folder = echo(&json!({ "cases": [{ "title": "x" }] }));
    let ended = folder.run(&["test", "probe"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    let begins = "error: [DIR]/plugins/probe/tests/echo.json: missing field `arguments` at line 1";
    assert!(ended.stderr.starts_with(begins), "{}", ended.stderr);
    let tool = json!({ "cases": [{ "title": "x", "arguments": {}, "tool": "gone" }] });
    folder.write("plugins/probe/tests/echo.json", tool.to_string());
    let ended = folder.run(&["test", "probe"]);
    assert!(ended.stderr.contains("`tool` must name one of the plugin's: echo"), "{ended:?}");
    assert_eq!(folder.run(&["test", "gone"]).code, 3);
    assert_eq!(folder.run(&["test"]).code, 2);
    let ended = folder.run(&["test", "./elsewhere"]);
    assert_eq!(ended.code, 3);
    std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
    let ended = folder.run(&["test", "./elsewhere"]);
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (7, "error: there is no plugin in ./elsewhere\n")
    );
}
