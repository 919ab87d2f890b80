use crate::harness::Folder;
use crate::plugin::PLUGIN_TOML;

const CONFIG: &str = "plugins = [\"plugins\"]\n";

/// Packs the plugin again, with other lines in its `plugin.toml`.
fn repack(folder: &Folder, from: &str, to: &str) {
    let changed = PLUGIN_TOML.replace(from, to);
    assert_ne!(changed, PLUGIN_TOML);
    folder.write("source/plugin.toml", changed);
    let packed = folder.run(&["pack", "source/probe.wasm", "source", "-o", "plugins/probe.wasm"]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
}

#[test]
fn what_is_accepted_is_pinned_and_enforced() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", CONFIG);
    let call = ["call", "probe/echo", r#"{"text": "x"}"#];
    assert_eq!(folder.run(&call).code, 0);

    let missing = folder.run(&["accept", "--check"]);
    assert_eq!((missing.code, missing.stderr.as_str()), (3, ""));
    assert!(missing.stdout.starts_with("probe  not accepted yet\n    + http GET "), "{missing:?}");
    assert!(!folder.path().join("ampoule.lock").exists());

    let accepted = folder.run(&["accept", "--all"]);
    assert_eq!((accepted.code, accepted.stderr.as_str()), (0, "ampoule.lock is written\n"));
    for part in ["import ampoule:plugin/log@1.0.0\n", "offer the tool echo, which only reads\n"] {
        assert!(accepted.stdout.contains(part), "{part}: {}", accepted.stdout);
    }
    let lock = folder.read("ampoule.lock");
    for part in ["# Written by `ampoule accept`", "[bindings.probe]", "digest = \"sha256:"] {
        assert!(lock.contains(part), "{part}: {lock}");
    }
    folder.check(&["accept", "--check"], 0, "probe  accepted\n", "");
    folder.check(&["validate", "ampoule.lock"], 0, "ok    ampoule.lock  lock\n", "");
    assert_eq!(folder.run(&call).code, 0);
    let shown = folder.run(&["inspect", "probe"]);
    assert!(shown.stdout.contains("\nBy ampoule.lock\n  accepted\n"), "{}", shown.stdout);

    // Accepting again changes nothing; what the lock has of others stays.
    let other =
        lock.split_once("[bindings.probe]").unwrap().1.replace("bindings.probe", "bindings.old");
    folder.write("ampoule.lock", format!("{lock}\n[bindings.old]{other}"));
    assert_eq!(folder.run(&["accept", "probe"]).code, 0);
    let again = folder.read("ampoule.lock");
    assert!(again.contains("[bindings.old]") && again.contains("[bindings.probe]"), "{again}");
}

#[test]
fn another_file_is_refused_unless_it_is_being_built() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", CONFIG);
    assert_eq!(folder.run(&["accept", "--all"]).code, 0);
    repack(&folder, "Answers its arguments. And no more.", "Answers.");

    let call = ["call", "probe/echo", r#"{"text": "x"}"#];
    let refused = folder.run(&["list"]);
    assert!(refused.stderr.contains("another file than the one ampoule.lock pins"), "{refused:?}");
    assert!(refused.stderr.contains("ampoule accept probe"), "{refused:?}");
    assert_eq!(folder.run(&call).code, 3);
    folder.check(
        &["accept", "--check"],
        3,
        "probe  differs: another file, which asks for no more\n",
        "",
    );

    folder.write("ampoule.toml", "[bindings.probe]\nplugin = \"plugins/probe.wasm\"");
    assert_eq!(folder.run(&call).code, 0);
    assert_eq!(folder.run(&["accept", "--check"]).code, 0);
    folder.write("ampoule.toml", CONFIG);
    assert_eq!(folder.run(&["accept", "probe"]).code, 0);
    assert_eq!(folder.run(&call).code, 0);
}

#[test]
fn more_than_was_accepted_is_refused_line_by_line() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", "[bindings.probe]\nplugin = \"plugins/probe.wasm\"");
    assert_eq!(folder.run(&["accept", "--all"]).code, 0);
    let wider = "http = [\"GET https://**/**\"]\nclock = true";
    repack(&folder, "http = [\"GET https://example.com/**\"]", wider);

    let lines = ["+ clock\n", "+ http GET https://**/**\n"];
    let refused = folder.run(&["call", "probe/echo", r#"{"text": "x"}"#]);
    assert_eq!(refused.code, 3, "{refused:?}");
    let listed = folder.run(&["list"]);
    let shown = folder.run(&["inspect", "probe"]);
    assert_eq!(shown.code, 0);
    assert!(shown.stdout.contains("differs: it asks for more than was accepted\n"), "{shown:?}");
    let check = folder.run(&["accept", "--check"]);
    assert_eq!(check.code, 3);
    for line in lines {
        for text in [&listed.stderr, &shown.stdout, &check.stdout] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
    let json = folder.run(&["accept", "--check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["bindings"][0]["standing"], "wider");
    assert_eq!(json["bindings"][0]["asks"], serde_json::json!(["clock", "http GET https://**/**"]));
    assert_eq!(json["bindings"][0]["refused"], true);

    assert_eq!(folder.run(&["accept", "probe"]).code, 0);
    assert_eq!(folder.run(&["call", "probe/echo", r#"{"text": "x"}"#]).code, 0);
    repack(&folder, "[capabilities.optional]\nhttp = [\"GET https://example.com/**\"]\n", "");
    let narrower = folder.run(&["accept", "--check"]);
    assert_eq!(narrower.code, 0, "{narrower:?}");
    assert!(
        narrower.stdout.contains("    - clock\n    - http GET https://**/**\n"),
        "{narrower:?}"
    );
}

#[test]
fn a_malformed_lock_opens_nothing() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", CONFIG);
    folder
        .write("ampoule.lock", "version = 1\n[bindings.probe]\nplugin = \"probe\"\ndigest = \"x\"");
    for arguments in [&["call", "probe/echo", "{}"][..], &["list"], &["accept", "--all"]] {
        let ended = folder.run(arguments);
        assert_eq!(ended.code, 7, "{ended:?}");
        assert!(
            ended.stderr.contains("ampoule.lock: ") && ended.stderr.contains("line 4"),
            "{ended:?}"
        );
    }
    let checked = folder.run(&["validate", "ampoule.lock"]);
    assert_eq!(checked.code, 7);
    assert!(checked.stdout.contains("line 4"), "{}", checked.stdout);
    assert_eq!(folder.run(&["validate", "gone.lock"]).code, 7);
}

#[test]
fn what_cannot_be_accepted_is_told() {
    let folder = Folder::with_plugin();
    assert_eq!(folder.run(&["accept", "probe", "--plugins", "plugins"]).code, 7);
    folder.write("ampoule.toml", CONFIG);
    folder.check(
        &["accept", "prob"],
        2,
        "",
        "error: there is no binding `prob`\n\nThere are: probe\n",
    );
    assert_eq!(folder.run(&["accept"]).code, 2);
    assert!(!folder.path().join("ampoule.lock").exists());
}
