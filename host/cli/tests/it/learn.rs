use crate::harness::Folder;
use crate::plugin::PLUGIN_TOML;

#[test]
fn a_plugin_that_uses_nothing_asks_for_nothing() {
    let folder = Folder::with_plugin();
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[bindings.probe]\ngrant.http = [\"GET https://example.com/**\"]",
    );
    let learnt = folder.run(&["learn", "probe", "--write", "source"]);
    assert_eq!((learnt.code, learnt.stderr.as_str()), (0, "source/plugin.toml is written\n"));
    assert!(learnt.stdout.starts_with("Of 1 examples\n"), "{}", learnt.stdout);
    assert!(learnt.stdout.contains("no grant is needed"), "{}", learnt.stdout);
    let written = folder.read("source/plugin.toml");
    assert!(!written.contains("capabilities"), "{written}");
    let rest = &PLUGIN_TOML[PLUGIN_TOML.find("[limits]").unwrap()..];
    assert!(written.contains(rest), "{written}");
    let packed = folder.run(&["pack", "source/probe.wasm", "source", "-o", "plugins/probe.wasm"]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    let again = folder.run(&["learn", "probe", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["capabilities"], serde_json::json!({}));
    assert_eq!(again["grant"], serde_json::Value::Null);
}

#[test]
fn an_example_that_does_not_hold_is_told() {
    let folder = Folder::with_plugin();
    folder.write(
        "source/examples.json",
        r#"{"echo": [{ "title": "Wrong", "arguments": { "text": "a" }, "value": "b" }]}"#,
    );
    let packed = folder.run(&["pack", "source/probe.wasm", "source", "-o", "plugins/probe.wasm"]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    let learnt = folder.run(&["learn", "probe"]);
    assert_eq!(learnt.code, 1, "{learnt:?}");
    assert!(learnt.stderr.contains("probe/echo, Wrong: it does not hold (value)"), "{learnt:?}");
    assert_eq!(folder.run(&["learn", "gone"]).code, 3);
    // Nothing is written then.
    let before = folder.read("source/plugin.toml");
    assert_eq!(folder.run(&["learn", "probe", "--write", "source"]).code, 1);
    assert_eq!(folder.read("source/plugin.toml"), before);
}
