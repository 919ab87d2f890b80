use serde_json::Value;

use crate::harness::Folder;

#[test]
fn good_files_are_named_with_what_they_are() {
    let folder = Folder::with_plugin();
    folder.write("ampoule.toml", "plugins = [\"plugins\"]");
    folder.write("a.md", "---\nname: a\ndescription: A.\nmodel: echo\n---\nHello.");
    folder.write("a.script.toml", "[[turns]]\ntext = 'x'");
    folder.check(
        &[
            "validate",
            "ampoule.toml",
            "a.md",
            "a.script.toml",
            "source/plugin.toml",
            "source/examples.json",
            "plugins/probe.wasm",
        ],
        0,
        "ok    ampoule.toml  configuration\nok    a.md  agent\nok    a.script.toml  script\n\
         ok    source/plugin.toml  plugin.toml\nok    source/examples.json  examples\n\
         ok    plugins/probe.wasm  plugin\n",
        "",
    );
    folder.check(&["validate"], 0, "ok    [DIR]/ampoule.toml  configuration\n", "");
}

#[test]
fn bad_files_are_told_with_their_lines() {
    let folder = Folder::new();
    for (name, content, expected) in [
        ("ampoule.toml", "plugins = []\n[bindings.x]\ngrants = 1\n", "line 3, column 1"),
        ("prod.toml", "[limits]\nmemory = \"64 MB\"\n", "unknown unit `MB`"),
        (
            "a.md",
            "---\nname: a\ndescription: A.\nmodel: echo\ntool: []\n---\nx",
            "unknown field `tool`",
        ),
        ("b.md", "---\nname: a\ndescription: A.\nmodel: echo\n---\n\n{{ x", "line 7"),
        ("c.script.toml", "[[turns]]\ntext = 'a'\nspeech = 1\n", "line 3"),
        ("plugin.toml", "[limits]\nmemory = \"1 TB\"\n", "[limits] memory: unknown unit `TB`"),
        ("examples.json", "{\"a\": [{\"title\": \"x\"}]}", "missing field `arguments` at line 1"),
        ("x.wasm", "x", "it is not a WebAssembly component"),
        ("Cargo.toml", "", "its name does not tell what it is"),
        ("gone.md", "", "cannot read the agent file gone.md"),
    ] {
        if name != "gone.md" {
            folder.write(name, content);
        }
        let ended = folder.run(&["validate", name]);
        assert_eq!((ended.code, ended.stderr.as_str()), (7, ""), "{name}");
        assert!(ended.stdout.starts_with(&format!("bad   {name}\n      ")), "{}", ended.stdout);
        assert!(ended.stdout.contains(expected), "{name}: {}", ended.stdout);
    }
    let ended = folder.run(&["validate", "ampoule.toml", "x.txt", "--json"]);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["files"][0]["kind"], "config");
    assert!(document["files"][1]["problem"].is_string());
    folder.check(
        &["validate", "x.md", "--schema", "agent"],
        2,
        "",
        "error: the argument '[FILES]...' cannot be used with '--schema <KIND>'\n\n\
         Usage: ampoule validate <FILES>...\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn without_a_file_there_is_nothing_to_check() {
    Folder::new().check(
        &["validate"],
        7,
        "",
        "error: there is no ampoule.toml here or above\n\nName the files to check.\n",
    );
}

#[test]
fn schemas_know_every_key() {
    let folder = Folder::new();
    for (kind, keys) in [
        ("config", &["plugins", "limits", "run", "secrets", "bindings"][..]),
        ("agent", &["name", "description", "model", "tools", "inputs", "limits", "options"]),
        ("plugin", &["name", "capabilities", "limits", "tools"]),
        ("script", &["turns"]),
    ] {
        let ended = folder.run(&["validate", "--schema", kind]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{kind}");
        let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
        for key in keys {
            assert!(schema["properties"][key].is_object(), "{kind}: {key}");
        }
        assert_eq!(schema["additionalProperties"], false, "{kind}");
    }
}
