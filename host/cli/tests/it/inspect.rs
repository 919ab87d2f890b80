use crate::harness::Folder;

#[test]
fn a_file_needs_no_configuration() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["inspect", "plugins/probe.wasm"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for part in [
        "probe 1.2.3\nAnswers its arguments\n\n  file      plugins/probe.wasm\n  licence   MIT\n",
        "  group     logic\n",
        "  sessions  its instances may be kept between the calls of a session\n",
        "This plugin can at most\n  send GET https://example.com/** (optional)\n  use the secret \
         api-key, sent to https://example.com, without reading it (optional)\n",
        "  fuel             10,000,000     memory             64 MiB\n",
        "  idle-time           120.0 s     argument-bytes     1000 B\n",
        "Tool probe/echo · Echo (read-only)\n  Answers its arguments. And no more.\n\n  \
         parameter  type     required  default  description\n  text       string   yes                \
         What to answer\n  times      integer  no        1\n\n  A word\n    ampoule call probe/echo \
         '{\"text\":\"it'\\''s\"}'\n    {\"text\":\"it's\"}\n",
        "add to ampoule.toml, as narrow as you can:\n\n  [bindings.probe]\n  grant.http = [\"GET \
         https://example.com/**\"]\n  grant.secrets.api-key = { secret = \"probe-api-key\" }\n\n  \
         [secrets]\n  probe-api-key = { env = \"PROBE_API_KEY\" }\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n--- is not in\n{}", ended.stdout);
    }
}

#[test]
fn a_binding_or_a_tool_shows_what_is_granted() {
    let folder = Folder::with_plugin();
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[bindings.mine]\nplugin = \"probe\"\n\
         grant.http = [\"GET https://example.com/a\"]",
    );
    for name in ["mine", "mine/echo", "mine__echo"] {
        let ended = folder.run(&["inspect", name]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{name}");
        assert!(
            ended.stdout.contains(
                "  granted      send GET https://example.com/** (optional) (within GET \
                 https://example.com/a)\n  not granted  use the secret"
            ),
            "{}",
            ended.stdout
        );
        assert!(ended.stdout.contains("  bound as  mine\n"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("grant.http"), "{}", ended.stdout);
    }
}

#[test]
fn json_is_one_document() {
    let folder = Folder::with_plugin();
    let ended = folder.run(&["inspect", "plugins/probe.wasm", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["binding"]["manifest"]["name"], "probe");
    assert_eq!(document["binding"]["limits"]["fuel"], 10_000_000);
    assert_eq!(document["tools"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_component_without_a_manifest_is_told_by_its_functions() {
    let folder = Folder::new();
    folder.write("plain.wasm", wat::parse_str(PLAIN).unwrap());
    let ended = folder.run(&["inspect", "plain.wasm"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for part in [
        "plain\nA component that knows nothing of Ampoule\n",
        "compute: it reaches nothing outside itself\n",
        "Tool plain (may destroy, open world)\n",
        "  n          integer  yes\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}\n--- is not in\n{}", ended.stdout);
    }
}

const PLAIN: &str = r#"(component
    (core module $m (func (export "twice") (param i32) (result i32)
        (i32.mul (local.get 0) (i32.const 2))))
    (core instance $i (instantiate $m))
    (func (export "twice") (param "n" u32) (result u32) (canon lift (core func $i "twice")))
)"#;

#[test]
fn what_is_no_plugin_is_refused() {
    let folder = Folder::with_plugin();
    folder.write("garbage.wasm", "\0asm garbage");
    folder.write("module.wasm", wat::parse_str("(module)").unwrap());
    folder.write("empty.wasm", "");
    for (file, message) in [
        ("garbage.wasm", "it is not a WebAssembly component"),
        ("module.wasm", "it is a core module, not a component; build it for wasm32-wasip2"),
        ("empty.wasm", "it is not a WebAssembly component"),
    ] {
        folder.check(&["inspect", file], 7, "", &format!("error: plugin ./{file}: {message}\n"));
    }
    folder.check(&["inspect", "gone.wasm"], 7, "", "error: there is no file gone.wasm\n");
    folder.check(
        &["inspect", "prob"],
        3,
        "",
        "error: there is no plugin or tool `prob`\n\nThere are: probe\n",
    );
}
