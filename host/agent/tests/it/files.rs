//! Agent files.

use std::path::Path;

use ampoule_agent::{AgentError, AgentFile, Budget, ModelRef, Task};
use ampoule_contract::Meter;
use serde_json::{Value, json};

use crate::support::{Bench, Trial, saying};

const HEAD: &str = "name: a\ndescription: d\nmodel: echo\n";

fn parse(settings: &str, prompt: &str) -> Result<AgentFile, AgentError> {
    AgentFile::parse(&format!("---\n{HEAD}{settings}\n---\n{prompt}"))
}

fn inputs(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn everything_a_file_may_hold() {
    let file = AgentFile::parse(
        "---\r\n\
         name: all-of-it\r\n\
         description: Everything.\r\n\
         model: openrouter/meta/llama-4\r\n\
         tools: [files/read, 'json-*']\r\n\
         inputs:\r\n\
         \x20 who: { type: string }\r\n\
         \x20 n: { type: integer, default: 3 }\r\n\
         limits:\r\n\
         \x20 max-turns: 5\r\n\
         \x20 tool-result-bytes: 32 KiB\r\n\
         \x20 max-output-tokens: 1000\r\n\
         \x20 budget: { fuel: 5G, model-tokens: 200k, wall-time: 5 min, http-requests: 7 }\r\n\
         options:\r\n\
         \x20 temperature: 0.2\r\n\
         \x20 thinking: { effort: low }\r\n\
         \x20 provider: { store: false }\r\n\
         ---\r\n\
         \r\n\
         Hello {{ who }}, {{ n + 1 }} times.\r\n\
         ---\r\n\
         The end.\r\n",
    )
    .unwrap();
    let settings = file.front_matter();
    assert_eq!(
        (settings.model.binding.as_str(), settings.model.model.as_str()),
        ("openrouter", "meta/llama-4")
    );
    assert_eq!(settings.model.to_string(), "openrouter/meta/llama-4");
    let tools: Vec<_> = settings.tools.iter().map(|tool| tool.as_str()).collect();
    assert_eq!(tools, ["files/read", "json-*"]);
    let limits = &settings.limits;
    assert_eq!((limits.max_turns, limits.max_tool_calls, limits.parallel_tools), (5, 100, 4));
    assert_eq!((limits.tool_result_bytes, limits.context_tokens), (32 << 10, 128_000));
    let budget = |meter| limits.budget.get(meter);
    assert_eq!(budget(Meter::Fuel), Some(5_000_000_000));
    assert_eq!(budget(Meter::WallTime), Some(300_000));
    assert_eq!((budget(Meter::HttpRequests), budget(Meter::LogBytes)), (Some(7), None));
    assert_eq!(
        serde_json::to_value(&settings.options).unwrap(),
        json!({"temperature": 0.2, "thinking": {"effort": "low"}, "provider": {"store": false}})
    );
    let text = file.render(&inputs(json!({"who": "Ann"}))).unwrap();
    assert_eq!(text, "Hello Ann, 4 times.\r\n---\r\nThe end.");
    assert!(file.digest().starts_with("sha256:") && file.digest().len() == 71);
    let digest = file.digest().to_owned();
    let other = file.with_model(ModelRef::parse("echo").unwrap());
    assert_eq!((other.front_matter().model.binding.as_str(), other.digest()), ("echo", &*digest));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let with = |settings: &str| format!("---\n{HEAD}{settings}\n---\nBe.");
    let head = |line: &str| format!("---\n{line}\n---\nBe.");
    let cases = [
        ("Be.".to_owned(), "line 1: an agent file begins with a line `---`"),
        (String::new(), "line 1: an agent file begins"),
        (format!(" ---\n{HEAD}---\nBe."), "line 1: an agent file begins"),
        (format!("---\n{HEAD}Be."), "no end"),
        ("---\n---\nBe.".to_owned(), "not valid"),
        (head("just words"), "not valid"),
        (head("name: a\nmodel: echo"), "missing field `description`"),
        (head("name: A\ndescription: d\nmodel: echo"), "`A` is not a name"),
        (head("name: a\ndescription: ''\nmodel: echo"), "it has 0 characters"),
        (head("name: a\ndescription: d\nmodel: openai/"), "names no model"),
        (head("name: a\ndescription: d\nmodel: 'a b'"), "is not a model"),
        (with("modle: x"), "unknown field `modle`"),
        (with("modle: x"), "line 5"),
        (with("name: b"), "duplicate"),
        (with("inputs:\n  x: { type: string }\n  x: { type: number }"), "duplicate"),
        (with("tools: hash"), "expected a sequence"),
        (with("tools: ['a b']"), "`a b` is not a tool's id"),
        (with("tools: [ok, '']"), "line 5"),
        (with("limits: { max-turns: many }"), "expected a whole number"),
        (with("limits: { max-turns: 0 }"), "0 is not between 1 and 10000"),
        (with("limits:\n  max-turns: 5\n  parallel-tools: 65"), "line 7"),
        (with("limits: { parallel-tools: 65 }"), "limits.parallel-tools"),
        (with("limits:\n  budget:\n    fuel: 1\n    log-bytes: x"), "line 8"),
        (with("limits: { max-turn: 5 }"), "unknown field `max-turn`"),
        (with("limits: { context-tokens: -1 }"), "-1"),
        (with("limits: { tool-result-bytes: 64 KB }"), "unknown unit `KB`"),
        (with("limits: { tool-result-bytes: 1 GiB }"), "not between"),
        (with("limits: { budget: { fule: 1 } }"), "unknown limit `fule`; there are fuel"),
        (with("limits: { budget: { memory: 64 MiB } }"), "bounds each call by itself"),
        (with("limits: { budget: { fuel: lots } }"), "limits.budget.fuel: `lots` is not a number"),
        (with("limits: { budget: { fuel: 1, fuel: 2 } }"), "duplicate"),
        (with("options: { max-tokens: 5 }"), "unknown field `max-tokens`"),
        (with("options: { temperature: warm }"), "line 5"),
        (with("options: { thinking: { effort: low, money: 1 } }"), "unknown field `money`"),
        (with("inputs: { page-url: { type: string } }"), "input `page-url`"),
        (with("inputs: { task: { type: string } }"), "taken by the task"),
        (with("inputs: { x: string }"), "write a JSON Schema"),
        (with("inputs: { x: { type: strnig } }"), "input `x`"),
        (with("inputs: { x: { type: string, required: true } }"), "leave `required` out"),
        (with("inputs: { x: { type: string, default: 1 } }"), "default: 1 is not of type"),
        (with("inputs: { x: { $ref: 'http://a.test/s.json' } }"), "other documents"),
        (with("inputs: { x: { pattern: '(?=a)' } }"), "input `x`"),
        (format!("---\n{HEAD}---\n \n"), "the prompt is empty"),
        (format!("---\n{HEAD}---\n\nHi\n{{{{ nmae }}}}"), "line 8: the prompt uses `nmae`"),
        (format!("---\n{HEAD}---\nHi {{% if %}}"), "line 6: the prompt"),
        ("x".repeat(AgentFile::MAX_BYTES + 1), "larger than 262144 bytes"),
        (format!("---\n{HEAD}x: &a [*a]\n---\nBe."), "not valid"),
        (bomb(), "not valid"),
    ];
    for (text, expected) in cases {
        let error = AgentFile::parse(&text).expect_err(&text[..text.len().min(200)]).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        assert!(error.len() < 1000, "{} bytes of error", error.len());
    }
}

/// Aliases of aliases: a few bytes that would become billions.
fn bomb() -> String {
    let levels: String = (1..12)
        .map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", ")))
        .collect();
    format!("---\n{HEAD}l0: &l0 [x, x]\n{levels}---\nBe.")
}

#[test]
fn files_are_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.md");
    let absent = AgentFile::open(&path).unwrap_err();
    assert!(matches!(absent, AgentError::Read { .. }), "{absent}");
    std::fs::write(&path, "x".repeat(AgentFile::MAX_BYTES * 2)).unwrap();
    assert!(matches!(AgentFile::open(&path).unwrap_err(), AgentError::TooLarge));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(AgentFile::open(&path).unwrap_err(), AgentError::Read { .. }));
    std::fs::write(&path, format!("---\n{HEAD}---\nBe.")).unwrap();
    assert_eq!(AgentFile::open(&path).unwrap().prompt(), "Be.");
    assert!(AgentFile::open(Path::new("/")).is_err());
}

#[test]
fn prompts_are_strict() {
    let file = parse(
        "inputs: { who: { type: object }, list: { type: array, default: [] } }",
        "Line one\n{{ who.name }}{% for x in list %}{{ x }}{% endfor %}",
    )
    .unwrap();
    let render = |given: Value| file.render(&inputs(given)).map_err(|error| error.to_string());
    assert_eq!(render(json!({"who": {"name": "Ann"}})).unwrap(), "Line one\nAnn");
    // What comes in is data, not template.
    let nested = render(json!({"who": {"name": "{{ list }}"}, "list": [1]})).unwrap();
    assert_eq!(nested, "Line one\n{{ list }}1");
    let undefined = render(json!({"who": {}})).unwrap_err();
    assert!(
        undefined.starts_with("line 8: the prompt") && undefined.contains("`who.name`"),
        "{undefined}"
    );
    for (given, expected) in [
        (json!({}), "\"who\" is a required property"),
        (json!({"who": 1}), "at /who: 1 is not of type \"object\""),
        (json!({"who": {}, "what": 1}), "'what' was unexpected"),
    ] {
        let error = render(given).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    // Other templates do not exist, whether or not the library was built to know the statement.
    let lone = parse("", "{% include 'x' %}").and_then(|file| file.render(&inputs(json!({}))));
    let error = lone.unwrap_err().to_string();
    assert!(error.starts_with("line 7: the prompt has an error"), "{error}");

    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    let error = parse("", endless).unwrap().render(&inputs(json!({}))).unwrap_err().to_string();
    assert!(error.contains("fuel"), "{error}");
    let long = parse("", "{% for a in range(9000) %}{{ 'x' * 1000 }}{% endfor %}").unwrap();
    let error = long.render(&inputs(json!({}))).unwrap_err().to_string();
    assert!(error.contains("longer than"), "{error}");
}

#[tokio::test]
async fn what_only_a_host_can_tell_is_told_before_the_start() {
    let start = async |settings: &str, tools: Bench, task: &str| {
        let trial = Trial::new(settings, tools.clone(), &saying("ok"));
        let valid = trial.agent.file().validate(&tools).map_err(|error| error.to_string());
        let run = trial.agent.run(Task::new(task)).await.map_err(|error| error.to_string());
        (valid, run.map(drop))
    };
    let tools = || Bench::new().value("hash", json!(1)).value("files/read", json!(1));
    for entry in ["hsah", "js*"] {
        let (valid, run) = start(&format!("tools: [hash, '{entry}']"), tools(), "go").await;
        let error = valid.unwrap_err();
        let expected = format!("`{entry}` in `tools` matches no tool; there are: files/read, hash");
        assert_eq!((error.as_str(), run.unwrap_err()), (expected.as_str(), error.clone()));
    }
    let long = tools().value(&"x".repeat(65), json!(1));
    assert!(start("tools: ['*']", long, "go").await.0.unwrap_err().contains("at most 64"));
    let twice = tools().value("files__read", json!(1));
    assert!(start("tools: ['*']", twice, "go").await.0.unwrap_err().contains("same name"));
    let (valid, run) = start("tools: ['*']", tools(), " \n").await;
    assert_eq!((valid, run.unwrap_err().contains("the task is empty")), (Ok(()), true));
}

#[test]
fn the_schema_and_the_parser_agree() {
    let schema = serde_json::to_value(AgentFile::schema()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let base = json!({"name": "a", "description": "d", "model": "echo"});
    let cases = [
        (json!({}), true),
        (json!({"model": "openrouter/meta/llama-4", "tools": ["files/read", "json-*"]}), true),
        (json!({"limits": {"max-turns": 3, "budget": {"fuel": "5G", "wall-time": 5}}}), true),
        (json!({"limits": {"tool-result-bytes": "64 KiB", "max-output-tokens": 9}}), true),
        (
            json!({"options": {"temperature": 0, "stop": ["x"], "thinking": {"effort": "low"}}}),
            true,
        ),
        (json!({"inputs": {"x": {"type": "string"}}}), true),
        (json!({"name": "A"}), false),
        (json!({"description": ""}), false),
        (json!({"model": "a b"}), false),
        (json!({"modle": "x"}), false),
        (json!({"tools": "hash"}), false),
        (json!({"tools": ["a b"]}), false),
        (json!({"limits": {"max-turns": 0}}), false),
        (json!({"limits": {"parallel-tools": 65}}), false),
        (json!({"limits": {"budget": {"memory": 5}}}), false),
        (json!({"options": {"max-tokens": 5}}), false),
    ];
    for (more, valid) in cases {
        let mut settings = base.clone();
        settings.as_object_mut().unwrap().extend(inputs(more.clone()));
        assert_eq!(validator.is_valid(&settings), valid, "the schema on {more}");
        // JSON is YAML.
        let parsed = AgentFile::parse(&format!("---\n{settings}\n---\nBe."));
        assert_eq!(parsed.is_ok(), valid, "the parser on {more}: {parsed:?}");
    }
    assert_eq!(Budget::default().get(Meter::Fuel), None);
}
