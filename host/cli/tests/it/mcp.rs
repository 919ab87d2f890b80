use serde_json::Value;

use crate::harness::Folder;

const CLIENT: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/list"}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"probe__echo","arguments":{"text":"hi"}}}
"#;

#[test]
fn tools_are_served_and_stdout_holds_nothing_but_the_protocol() {
    let folder = Folder::with_plugin();
    folder.write("plugins/broken.wasm", "no component");
    let ended = folder.run_with(&["mcp", "--tools", "probe/e*"], CLIENT);
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.starts_with("warning: refused: plugin plugins/broken.wasm"));
    let messages: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(messages.iter().all(|message| message["jsonrpc"] == "2.0"), "{}", ended.stdout);
    let answer = |id: u64| messages.iter().find(|message| message["id"] == id).unwrap();
    let tools = answer(2)["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, ["probe__echo"]);
    assert_eq!(answer(3)["result"]["structuredContent"]["text"], "hi");
}

#[test]
fn it_ends_with_its_input_and_needs_plugins() {
    Folder::with_plugin().check(&["mcp"], 0, "", "");
    let ended = Folder::new().run(&["mcp"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
}
