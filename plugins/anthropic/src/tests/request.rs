#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn sent(request: Request) -> Value {
    body(request, "default").unwrap().into()
}

fn refused(request: Request) -> Error {
    body(request, "default").unwrap_err()
}

fn message(role: &str, parts: Vec<Part>) -> Message {
    Message { role: role.into(), parts }
}

fn tool(name: &str) -> Tool {
    Tool { name: name.into(), description: "d".into(), input_schema: json!({ "type": "object" }) }
}

fn part(kind: &str, meta: Value) -> Part {
    Part { kind: kind.into(), meta: Some(meta), ..Part::default() }
}

#[test]
fn a_conversation_with_tools_thoughts_and_a_picture() {
    let picture = Part {
        media_type: Some("image/png".into()),
        data: Some(b"\x89PNG".to_vec()),
        ..part("image", Value::Null)
    };
    let thought = Part { text: Some("hm".into()), ..part("thinking", json!({ "signature": "s" })) };
    let foreign = Part { text: Some("hm".into()), ..part("thinking", json!({ "field": "f" })) };
    let server = json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} });
    let result = |id: &str, meta: Value| Part {
        id: Some(id.into()),
        value: Some(json!({ "n": 1 })),
        ..part("tool-result", meta)
    };
    let request = Request::new("m")
        .system("Be brief.")
        .message(message("user", vec![Part::text("What is this?"), picture]))
        .message(message(
            "assistant",
            vec![
                thought,
                part("thinking", json!({ "redacted": "r" })),
                foreign,
                part("server_tool_use", json!({ "block": server })),
                Part::text(""),
                Part::tool_call("a", "t", json!({ "x": 1 })),
            ],
        ))
        .message(message("assistant", vec![Part::tool_call("b", "t", json!({}))]))
        .message(message("tool", vec![result("a", Value::Null)]))
        .system("And kind.")
        .user("Go on.")
        .message(message("tool", vec![result("b", json!({ "error": true }))]))
        .tool(tool("t"));
    let sent = sent(request);
    let call = |id: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": "t", "input": input });
    assert_eq!(
        sent,
        json!({
            "model": "m",
            "system": [
                { "type": "text", "text": "Be brief." },
                { "type": "text", "text": "And kind." },
            ],
            "messages": [
                { "role": "user", "content": [
                    { "type": "text", "text": "What is this?" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png",
                        "data": "iVBORw==" } },
                ] },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "hm", "signature": "s" },
                    { "type": "redacted_thinking", "data": "r" },
                    server,
                    call("a", json!({ "x": 1 })),
                    call("b", json!({})),
                ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "a", "content": "{\"n\":1}" },
                    { "type": "tool_result", "tool_use_id": "b", "content": "{\"n\":1}",
                      "is_error": true },
                    { "type": "text", "text": "Go on." },
                ] },
            ],
            "stream": true,
            "tools": [{ "name": "t", "description": "d", "input_schema": { "type": "object" } }],
            "max_tokens": 4096,
        })
    );
}

#[test]
fn every_option_has_its_place() {
    let schema = json!({ "type": "object" });
    let request = Request::new("")
        .user("x")
        .tool(tool("t"))
        .option("max-tokens", 7)
        .option("temperature", 0.5)
        .option("top-p", 0.25)
        .option("stop", json!(["a", "b"]))
        .option("tool-choice", "t")
        .option("parallel-tools", false)
        .option("response-schema", schema.clone())
        .option("thinking", json!({ "effort": "low" }))
        .option("user", "u")
        .option("provider", json!({ "temperature": null, "top_k": 4 }));
    let mut sent = sent(request);
    sent.as_object_mut().unwrap().retain(|key, _| key != "messages" && key != "tools");
    assert_eq!(
        sent,
        json!({
            "model": "default",
            "stream": true,
            "tool_choice": { "type": "tool", "name": "t", "disable_parallel_tool_use": true },
            "max_tokens": 7,
            "top_p": 0.25,
            "stop_sequences": ["a", "b"],
            "thinking": { "type": "adaptive" },
            "output_config": { "effort": "low",
                "format": { "type": "json_schema", "schema": schema } },
            "metadata": { "user_id": "u" },
            "top_k": 4,
        })
    );
}

#[test]
fn the_budget_for_thinking_is_added_to_that_for_the_answer() {
    let think = Request::new("m").user("x").option("thinking", json!({ "budget-tokens": 2000 }));
    let sent = sent(think);
    assert_eq!(sent["thinking"], json!({ "type": "enabled", "budget_tokens": 2000 }));
    assert_eq!(sent["max_tokens"], 6096);
}

#[test]
fn words_for_the_choice_of_tools() {
    let choose = |word: &str| Request::new("m").user("x").option("tool-choice", word);
    for (word, kind) in [("auto", "auto"), ("none", "none"), ("required", "any")] {
        assert_eq!(sent(choose(word).tool(tool("t")))["tool_choice"], json!({ "type": kind }));
        let single = choose(word).tool(tool("t")).option("parallel-tools", false);
        let single = sent(single)["tool_choice"]["disable_parallel_tool_use"] == true;
        assert_eq!(single, word != "none");
    }
    assert_eq!(sent(choose("auto")).get("tool_choice"), None);
    assert_eq!(refused(choose("required")).code, "bad-arguments");
    assert_eq!(refused(choose("other").tool(tool("t"))).code, "bad-arguments");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let of = |kind: &str| part(kind, Value::Null);
    let text = Part { media_type: Some("text/csv".into()), data: Some(vec![1]), ..of("file") };
    let hello = || Request::new("m").user("x");
    for (request, code) in [
        (hello().option("temprature", 1), "bad-arguments"),
        (hello().option("seed", 1), "unsupported"),
        (hello().message(message("robot", vec![])), "bad-arguments"),
        (hello().message(message("user", vec![of("audio")])), "unsupported"),
        (hello().message(message("user", vec![of("image")])), "bad-arguments"),
        (hello().message(message("system", vec![of("image")])), "unsupported"),
        (hello().message(message("assistant", vec![of("image")])), "unsupported"),
        (hello().message(message("assistant", vec![of("tool-call")])), "bad-arguments"),
        (hello().message(message("tool", vec![of("tool-result")])), "bad-arguments"),
        (hello().message(message("user", vec![text])), "unsupported"),
    ] {
        assert_eq!(refused(request.clone()).code, code, "{request:?}");
    }
    assert_eq!(body(Request::new("").user("x"), "").unwrap_err().code, "bad-arguments");
}
