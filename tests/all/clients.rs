//! `ampoule mcp` and the clients that others have written for it: the official one for Python, and the
//! command line of the inspector.

use std::path::Path;
use std::process::{Command, Output};

use ampoule_tests::served::{Served, client_module, folder, free_port, node};
use ampoule_tests::{command, guest, root};
use serde_json::{Value, json};

use crate::oauth::Issuer;

/// JavaScript, the workspace and progress; one call at a time, so that one that was given up and goes
/// on is noticed.
fn configuration() -> String {
    format!(
        "plugins = [\"PLUGINS/ecmascript.wasm\", \"PLUGINS/files.wasm\", {}]\n\
         [concurrency]\ncalls = 1\n\
         [bindings.files]\ngrant.files = \"read-write\"\n\
         [bindings.conformance]\ngrant.ask = true\n\
         [bindings.ecmascript]\nlimits = {{ fuel = \"1000G\", wall-time = \"1 min\" }}\n",
        Value::from(guest("conformance").display().to_string())
    )
}

/// The program's output; it must have ended well.
fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{status}: {stdout}\n{stderr}");
    stdout
}

/// Runs the client for Python; what each revision was answered.
fn python(folder: &Path, arguments: &[&str]) -> [Value; 2] {
    let bin = if cfg!(windows) { "Scripts" } else { "bin" };
    let python = root().join("target/tools/venv").join(bin);
    let python = python.join(format!("python{}", std::env::consts::EXE_SUFFIX));
    assert!(python.is_file(), "{}: run `cargo xtask setup`", python.display());
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients/client.py")).args(arguments).current_dir(folder);
    let said = said(&mut command);
    let mut lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
    [lines.next().unwrap(), lines.next().unwrap()]
}

/// What the client for Python must be answered.
#[track_caller]
fn check(answers: [Value; 2]) {
    for (answer, revision) in answers.iter().zip(["2026-07-28", "2025-11-25"]) {
        assert_eq!(answer["revision"], revision);
        let tools = answer["tools"].as_array().unwrap();
        for tool in ["ecmascript", "files__read", "conformance__test-tool-with-progress"] {
            assert!(tools.contains(&json!(tool)), "{answer}");
        }
        assert_eq!(answer["code"], json!({"result": [2, 4, 6]}));
        assert_eq!(answer["failed"], json!([true, "exception"]));
        assert_eq!(answer["file"], "written over MCP\n");
        assert_eq!(answer["outside"], true);
        assert_eq!(answer["resource"], "written over MCP\n");
        assert_eq!(answer["progress"], json!([[0.0, 100.0], [50.0, 100.0], [100.0, 100.0]]));
        // Far sooner than the time that the call had.
        assert_eq!(
            (&answer["cancelled"], &answer["after"]),
            (&json!(true), &json!({"result": 42}))
        );
        assert!(answer["seconds"].as_f64().unwrap() < 30.0, "{answer}");
    }
}

#[test]
fn the_official_client_for_python_calls_over_stdio() {
    let folder = folder(&configuration());
    std::fs::create_dir(folder.path().join("work")).unwrap();
    std::fs::write(folder.path().join("outside.txt"), "not for plugins").unwrap();
    let ampoule = command();
    let arguments = ["stdio", ampoule.to_str().unwrap(), "mcp", "--workspace", "work"];
    check(python(folder.path(), &arguments));
}

#[test]
fn the_official_client_for_python_calls_over_http() {
    let folder = folder(&configuration());
    std::fs::create_dir(folder.path().join("work")).unwrap();
    std::fs::write(folder.path().join("outside.txt"), "not for plugins").unwrap();
    let served = Served::start(folder.path(), 0, &["--workspace", "work"]);
    check(python(folder.path(), &["http", &served.url()]));
}

/// From the address alone it finds the issuer, gets a token for this server, and calls with it.
#[test]
fn the_official_client_for_python_gets_itself_a_token() {
    let issuer = Issuer::start();
    let port = free_port();
    let oauth = format!(
        "[principals.alice]\nsubject = \"alice\"\n[oauth]\nissuer = \"{}\"\n\
         resource = \"http://127.0.0.1:{port}/mcp\"\nscopes = [\"mcp\"]\n",
        issuer.url
    );
    let folder = folder(&(configuration() + &oauth));
    std::fs::create_dir(folder.path().join("work")).unwrap();
    std::fs::write(folder.path().join("outside.txt"), "not for plugins").unwrap();
    let served = Served::start(folder.path(), port, &["--workspace", "work"]);
    assert_eq!(served.call("ecmascript", json!({"code": "1"}), &[]).status, 401);
    check(python(folder.path(), &["oauth", &served.url(), &issuer.url]));
}

/// Runs the inspector; what it prints.
fn inspector(folder: &Path, arguments: &[&str]) -> Value {
    let launcher = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    let mut command = node(&client_module(launcher));
    // It keeps settings in the home of who runs it.
    command.arg("--cli").args(arguments).current_dir(folder).env("HOME", folder);
    serde_json::from_str(&said(&mut command)).unwrap()
}

#[test]
fn the_inspector_lists_and_calls_over_stdio_and_http() {
    let folder = folder(&configuration());
    let at = folder.path();
    std::fs::create_dir(at.join("work")).unwrap();
    std::fs::write(at.join("work/note.txt"), "read by the inspector").unwrap();
    let served = Served::start(at, 0, &["--workspace", "work"]);
    let (ampoule, url) = (command(), served.url());
    let over_stdio = ["--", ampoule.to_str().unwrap(), "mcp", "--workspace", "work"];
    for server in [&over_stdio[..], &["--", &url]] {
        let ask = |arguments: &[&str]| inspector(at, &[arguments, server].concat());
        let listed = ask(&["--method", "tools/list"]);
        let names: Vec<_> =
            listed["tools"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
        assert!(names.contains(&&json!("ecmascript")), "{names:?}");
        let call = ["--method", "tools/call", "--tool-name"];
        let answer = ask(&[&call[..], &["ecmascript", "--tool-arg", "code=6*7"]].concat());
        assert_eq!(answer["structuredContent"], json!({"result": 42}));
        let answer = ask(&[&call[..], &["files__read", "--tool-arg", "path=note.txt"]].concat());
        assert_eq!(answer["structuredContent"]["text"], "read by the inspector");
        let listed = ask(&["--method", "resources/list"]);
        assert!(listed.to_string().contains("ampoule:files/files/note.txt"), "{listed}");
    }
}
