use crate::harness::Folder;
use crate::plugin::{EXAMPLES, PLUGIN_TOML, component};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("probe.wasm", component());
    folder.write("source/plugin.toml", PLUGIN_TOML);
    folder.write("source/examples.json", EXAMPLES);
    folder
}

#[test]
fn a_component_becomes_a_plugin_and_what_is_declared_without_need_is_named() {
    let folder = folder();
    let ended = folder.run(&["pack", "probe.wasm", "source", "-o", "out/x.wasm"]);
    assert_eq!(ended.code, 0);
    assert!(ended.stdout.starts_with("out/x.wasm  probe 1.2.3, "), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n  provides echo\n"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(
        "\n  can send GET https://example.com/**\n  can use the secret api-key, sent to \
         https://example.com, without reading it\n"
    ));
    assert_eq!(
        ended.stderr,
        "warning: plugin.toml declares `http`, which the code does not use; take it out\n\
         warning: plugin.toml declares `secrets`, which the code does not use; take it out\n"
    );
    // Without `-o` it is named after the plugin, and packing again replaces it.
    for _ in 0..2 {
        let ended = folder.run(&["pack", "probe.wasm", "source", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(document["path"], "probe.wasm");
        assert_eq!(document["unused"], serde_json::json!(["http", "secrets"]));
    }
    assert_eq!(folder.run(&["inspect", "probe.wasm"]).code, 0);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let folder = folder();
    folder.write("text.wasm", "text");
    folder.write("bad/plugin.toml", "nam = 1");
    folder.write("more/plugin.toml", format!("{PLUGIN_TOML}\n[tools.more]\ntitle = 'More'"));
    folder.write("examples/plugin.toml", PLUGIN_TOML);
    folder.write("examples/examples.json", r#"{ "gone": [] }"#);
    for (wasm, source, code, stderr) in [
        ("gone.wasm", "source", 7, "error: gone.wasm: No such file or directory"),
        ("probe.wasm", "gone", 2, "error: gone is not a folder\n"),
        ("text.wasm", "source", 7, "error: text.wasm: it is not a WebAssembly component\n"),
        ("probe.wasm", "bad", 7, "error: bad/plugin.toml: TOML parse error at line 1, column 1\n"),
        ("probe.wasm", "more", 7, "error: more/plugin.toml: the code has no tool `more`;"),
        ("probe.wasm", "examples", 7, "error: examples/examples.json: there is no tool `gone`\n"),
    ] {
        let ended = folder.run(&["pack", wasm, source, "-o", "out.wasm"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{wasm} {source}");
        assert!(ended.stderr.starts_with(stderr), "{wasm} {source}: {}", ended.stderr);
        assert!(!folder.path().join("out.wasm").exists(), "{wasm} {source}");
    }
}
