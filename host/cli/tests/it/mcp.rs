use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};

use serde_json::{Value, json};

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

/// The answers to messages on standard input, by their ids.
fn ask(folder: &Folder, arguments: &[&str], messages: &[Value]) -> impl Fn(u64) -> Value + use<> {
    let begin = CLIENT.lines().take(2).map(str::to_owned);
    let lines: Vec<_> = begin.chain(messages.iter().map(Value::to_string)).collect();
    let ended = folder.run_with(&[&["mcp"], arguments].concat(), lines.join("\n"));
    let answers: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    move |id| answers.iter().find(|answer| answer["id"] == id).unwrap()["result"].clone()
}

#[test]
fn pages_of_plugins_are_resources() {
    let folder = Folder::with_plugin();
    let uri = json!({"uri": "ampoule:plugins/probe"});
    let answer = ask(
        &folder,
        &[],
        &[
            json!({"jsonrpc": "2.0", "id": 5, "method": "resources/list"}),
            json!({"jsonrpc": "2.0", "id": 6, "method": "resources/read", "params": uri}),
        ],
    );
    assert_eq!(answer(5)["resources"][0]["uri"], "ampoule:plugins/probe");
    let content = &answer(6)["contents"][0];
    assert_eq!(content["mimeType"], "text/markdown");
    assert!(content["text"].as_str().unwrap().starts_with("# probe\n"), "{content}");
    // What is not served has no page.
    let answer = ask(
        &folder,
        &["--tools", "other"],
        &[json!({"jsonrpc": "2.0", "id": 5, "method": "resources/list"})],
    );
    assert_eq!(answer(5)["resources"], json!([]));
}

#[test]
fn an_agent_is_a_tool_and_a_prompt() {
    let folder = crate::run::folder();
    let called = json!({"name": "tester", "arguments": {"task": "do it"}});
    let got = json!({"name": "tester", "arguments": {"task": "do it", "language": "French"}});
    let answer = ask(
        &folder,
        &["--agent", "agents/tester.md"],
        &[
            json!({"jsonrpc": "2.0", "id": 5, "method": "tools/list"}),
            json!({"jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": called}),
            json!({"jsonrpc": "2.0", "id": 7, "method": "prompts/list"}),
            json!({"jsonrpc": "2.0", "id": 8, "method": "prompts/get", "params": got}),
        ],
    );
    let tools = answer(5)["tools"].clone();
    assert!(tools.as_array().unwrap().iter().any(|tool| tool["name"] == "tester"), "{tools}");
    assert_eq!(answer(6)["structuredContent"]["answer"], "Done.\nReally.");
    let prompt = &answer(7)["prompts"][0];
    assert_eq!((&prompt["name"], &prompt["description"]), (&json!("tester"), &json!("Tests.")));
    let arguments: Vec<_> = prompt["arguments"].as_array().unwrap().iter().collect();
    assert_eq!(arguments.iter().map(|a| &a["name"]).collect::<Vec<_>>(), ["task", "language"]);
    let message = &answer(8)["messages"][0]["content"]["text"];
    assert_eq!(message, "Answer in French.\n\ndo it");
    let twice = ["mcp", "--agent", "agents/tester.md", "--agent", "agents/tester.md"];
    assert_eq!(folder.run(&twice).code, 7);
}

/// The command, serving over HTTP.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(mut command: Command) -> Served {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("no address: {line}")).to_owned();
        Served { child, address }
    }

    /// Calls `probe/echo` with further headers; the answer as it comes.
    fn call(&self, headers: &str) -> String {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": "probe__echo", "arguments": {"text": "hi"}, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
             MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n\
             Mcp-Name: probe__echo\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to end, as the system does; its exit code and standard output.
    fn end(mut self) -> (i32, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), stdout)
    }
}

#[test]
#[cfg(unix)]
fn many_clients_are_served_over_http() {
    let folder = Folder::with_plugin();
    let served = Served::start(folder.command(&["mcp", "--http", "127.0.0.1:0"]));
    for _ in 0..3 {
        let answer = served.call("");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(r#""structuredContent":{"text":"hi"}"#), "{answer}");
    }
    let refused = served.call("Origin: https://evil.example.com\r\n");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(refused.contains("--allow-origin https://evil.example.com"), "{refused}");
    assert_eq!(served.end(), (0, String::new()));
}

#[test]
#[cfg(unix)]
fn principals_have_tokens_of_their_own() {
    let folder = Folder::with_plugin();
    folder.write("bob.token", "bob-0123456789abcdef\n");
    folder.write(
        "ampoule.toml",
        "plugins = [\"plugins\"]\n[principals.alice]\ntoken = { env = \"ALICE\" }\n\
         [principals.bob]\ntools = []\ntoken = { file = \"bob.token\" }\n",
    );
    let mut command = folder.command(&["mcp", "--http", "127.0.0.1:0"]);
    command.env("ALICE", "alice-0123456789abcdef");
    let served = Served::start(command);
    assert!(served.call("").starts_with("HTTP/1.1 401"));
    let alice = served.call("Authorization: Bearer alice-0123456789abcdef\r\n");
    assert!(alice.contains(r#""structuredContent":{"text":"hi"}"#), "{alice}");
    let bob = served.call("Authorization: Bearer bob-0123456789abcdef\r\n");
    assert!(bob.contains("denied") && bob.contains("[principals.bob]"), "{bob}");
    assert_eq!(served.end(), (0, String::new()));
}

#[test]
#[cfg(unix)]
fn other_machines_are_served_where_an_issuer_says_who_they_are() {
    let folder = Folder::with_plugin();
    let oauth = "issuer = \"https://as.example.com\"\nresource = \"https://mcp.example.com/mcp\"\n";
    folder.write(
        "ampoule.toml",
        format!(
            "plugins = [\"plugins\"]\n[principals.alice]\nsubject = \"a1\"\n\
             token = {{ env = \"ALICE\" }}\n[oauth]\n{oauth}"
        ),
    );
    let mut command = folder.command(&["mcp", "--http", "0.0.0.0:0"]);
    command.env("ALICE", "alice-0123456789abcdef");
    let served = Served::start(command);
    let missing = served.call("");
    assert!(missing.starts_with("HTTP/1.1 401"), "{missing}");
    let place = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    assert!(missing.contains(&format!("Bearer resource_metadata=\"{place}\"")), "{missing}");
    let alice = served.call("Authorization: Bearer alice-0123456789abcdef\r\n");
    assert!(alice.contains(r#""structuredContent":{"text":"hi"}"#), "{alice}");
    assert_eq!(served.end(), (0, String::new()));

    for (lines, message) in [
        (oauth.replace("https://as", "http://as"), "must be https, or http on a loopback address"),
        (oauth.replace("/mcp\"", "/mcp?a\""), "[oauth]: resource: "),
        (format!("{oauth}audience = \"a\"\n"), "audience"),
    ] {
        folder.write("ampoule.toml", format!("plugins = [\"plugins\"]\n[oauth]\n{lines}"));
        let ended = folder.run(&["mcp", "--http", "0.0.0.0:0"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (7, ""), "{lines}");
        assert!(ended.stderr.contains(message), "{lines}: {}", ended.stderr);
    }
}

#[test]
fn what_could_not_be_served_safely_is_not() {
    let folder = Folder::with_plugin();
    for (arguments, code, message) in [
        (&["--http", "0.0.0.0:0"][..], 2, "ask for a bearer token"),
        (&["--http", "127.0.0.1:0", "--allow-host", "https://a"], 2, "is no host"),
        (&["--http", "127.0.0.1:0", "--allow-origin", "a.example.com"], 2, "is no origin"),
        (&["--http", "127.0.0.1:0", "--token-env", "GONE"], 7, "variable GONE: there is no token"),
        (&["--http", "127.0.0.1:0", "--token-file", "gone"], 7, "gone"),
        (&["--allow-host", "a.example.com"], 2, "--http"),
    ] {
        let ended = folder.run(&[&["mcp"], arguments].concat());
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (code, ""),
            "{arguments:?}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains(message), "{arguments:?}: {}", ended.stderr);
    }
    folder.write("short.token", "short\n");
    let ended = folder.run(&["mcp", "--http", "127.0.0.1:0", "--token-file", "short.token"]);
    assert_eq!(ended.code, 7);
    assert!(!ended.stderr.contains("short\n") && ended.stderr.contains("16 to 4096"));
}
