use serde_json::Value;

use crate::harness::Folder;

const AGENT: &str = "---
name: tester
description: Tests.
model: scripted/turns.script.toml
tools: [probe/echo, probe/fail]
inputs:
  language: { type: string, default: English }
---
Answer in {{ language }}.
";

const SCRIPT: &str = r#"
[[turns]]
thinking = "hm"
text = "First the tools."
tool-calls = [
    { name = "probe__echo", arguments = { text = "hi" } },
    { name = "probe__fail" },
    { name = "hash" },
]
[[turns]]
text = "Done.\nReally."
usage = { input-tokens = 1200, output-tokens = 7 }
"#;

/// A folder with an agent that a script plays.
pub(crate) fn folder() -> Folder {
    let folder = Folder::with_plugin();
    folder.write("agents/tester.md", AGENT);
    folder.write("agents/turns.script.toml", SCRIPT);
    folder
}

#[test]
fn text_goes_to_stdout_with_its_label_and_the_rest_to_stderr() {
    let ended = folder().run(&["run", "agents/tester.md", "do it"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "[scripted] First the tools.\n[scripted] Done.\nReally.\n")
    );
    for part in [
        "tester · scripted/turns.script.toml · 2 tools\n",
        "warning: `scripted` is a stand-in, no real model\n",
        "→ probe/echo {\"text\":\"hi\"}\n",
        "← probe/echo value · ",
        "← probe/fail failed · ",
        "\n  conflict: {}\n",
        "\n  not-found: there is no tool `hash`; this agent may use: probe__echo, probe__fail\n",
        "end         answer\n",
        "(scripted: a stand-in, no real model)\n",
        "turns       2\ntool calls  3, 2 without a value\ntokens      ",
    ] {
        assert!(ended.stderr.contains(part), "{part:?} is not in\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("hm"), "thoughts are shown with -v only: {}", ended.stderr);
}

#[test]
fn json_lines_tell_every_event() {
    let ended = folder().run(&["run", "agents/tester.md", "do it", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let events: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kind = |event: &Value| event["kind"].as_str().unwrap().to_owned();
    assert_eq!(kind(&events[0]), "start");
    assert_eq!(events[0]["stand-in"], "scripted");
    let end = events.last().unwrap();
    assert_eq!((kind(end).as_str(), &end["end"]), ("end", &"answer".into()));
    assert_eq!(end["stand-in"], "scripted");
    let results = events.iter().filter(|event| kind(event) == "tool-result");
    assert!(results.clone().all(|event| event["receipt"]["used"].is_object()));
    assert_eq!(results.count(), 3);
}

#[test]
fn the_model_can_be_another_and_the_task_can_come_on_standard_input() {
    let folder = folder();
    let ended = folder.run_with(&["run", "agents/tester.md", "--model", "echo"], "Hello!\n");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "[echo] Hello!\n"));
    assert!(ended.stderr.starts_with("tester · echo · 2 tools\n"), "{}", ended.stderr);

    folder.write("other.toml", "[[turns]]\ntext = 'Other.'");
    let ended = folder.run(&["run", "agents/tester.md", "x", "--script", "other.toml", "--json"]);
    let start: Value = serde_json::from_str(ended.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(start["model"], "scripted/other.toml");
}

#[test]
fn what_cannot_start_says_why() {
    let folder = folder();
    folder.write("toolless.md", AGENT.replace("probe/echo", "nothing"));
    folder.write("openai.md", AGENT.replace("scripted/turns.script.toml", "openai/gpt-x"));
    for (arguments, code, stderr) in [
        (&["agents/tester.md"][..], 2, "error: the task is empty: say what the agent should do\n"),
        (
            &["agents/tester.md", "x", "--input", "tone=kind"],
            2,
            "error: the inputs do not fit the agent: ",
        ),
        (
            &["agents/tester.md", "x", "--input", "language:=1"],
            2,
            "error: the inputs do not fit the agent: at /language: 1 is not of type \"string\"\n",
        ),
        (&["gone.md", "x"], 7, "error: cannot read the agent file gone.md: "),
        (&["agents/turns.script.toml", "x"], 7, "error: agents/turns.script.toml: line 1: "),
        (
            &["toolless.md", "x", "--model", "echo"],
            7,
            "error: `nothing` in `tools` matches no tool; there are: probe/echo, ",
        ),
        (
            &["agents/tester.md", "x", "--model", "gpt"],
            7,
            "error: there is no model `gpt`; there are echo, scripted\n",
        ),
        (
            &["agents/tester.md", "x", "--script", "gone.toml"],
            7,
            "error: cannot read the script gone.toml: ",
        ),
        (&["openai.md", "x"], 7, "error: there is no model `openai`; there are echo, scripted\n"),
    ] {
        let ended = folder.run(&[&["run"], arguments].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{arguments:?}");
        assert!(ended.stderr.starts_with(stderr), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn ends_that_are_no_answer_have_their_codes() {
    let folder = folder();
    folder.write("agents/turns.script.toml", "[[turns]]\nerror = { code = 'x', message = 'no' }");
    let ended = folder.run(&["run", "agents/tester.md", "x"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("error: x: no\n"), "{}", ended.stderr);

    folder.write("agents/turns.script.toml", SCRIPT);
    folder.write("one.md", AGENT.replace("inputs:", "limits: { max-turns: 1 }\ninputs:"));
    let ended = folder.run(&["run", "one.md", "x", "--script", "agents/turns.script.toml"]);
    assert_eq!(ended.code, 4);
    assert!(ended.stderr.contains("stopped by `max-turns`"), "{}", ended.stderr);
}

#[test]
fn a_key_in_the_environment_is_not_used_because_an_agent_says_so() {
    let folder = folder();
    folder.write("openai.md", AGENT.replace("scripted/turns.script.toml", "openai/gpt-x"));
    let child = folder
        .command(&["run", "openai.md", "x"])
        .env("OPENAI_API_KEY", "a-key")
        .env("OPENAI_BASE_URL", "http://localhost:4010/v1")
        .spawn();
    let ended = folder.end(child.unwrap());
    assert_eq!((ended.code, ended.stdout.as_str()), (7, ""));
    assert_eq!(
        ended.stderr,
        "error: the agent asks the model `openai/gpt-x`, OPENAI_API_KEY is set, and ampoule.toml \
         does not bind `openai`\n\nAdd to ampoule.toml:\n\n  [bindings.openai]\n  settings = { \
         base-url = \"http://localhost:4010/v1\" }\n  grant.http = [\"GET,POST \
         http://localhost:4010/v1/**\"]\n  grant.addresses = [\"127.0.0.1\", \"::1\"]\n  \
         grant.secrets.api-key = { secret = \"openai-api-key\", audience = \
         [\"http://localhost:4010\"] }\n\n  [secrets]\n  openai-api-key = { env = \
         \"OPENAI_API_KEY\" }\n\nor allow it for this run: --model openai/gpt-x\n"
    );
}
