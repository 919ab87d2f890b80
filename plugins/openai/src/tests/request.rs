#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn settings(base_url: &str) -> Settings {
    Settings { base_url: base_url.into(), model: "default".into(), headers: Default::default() }
}

fn sent(request: Request) -> Value {
    body(request, &settings(OPENAI)).unwrap().into()
}

fn refused(request: Request) -> Error {
    body(request, &settings(OPENAI)).unwrap_err()
}

fn message(role: &str, parts: Vec<Part>) -> Message {
    Message { role: role.into(), parts }
}

fn tool(name: &str) -> Tool {
    Tool { name: name.into(), description: "d".into(), input_schema: json!({ "type": "object" }) }
}

fn result(id: &str, text: &str) -> Part {
    Part {
        kind: "tool-result".into(),
        id: Some(id.into()),
        text: Some(text.into()),
        ..Part::default()
    }
}

#[test]
fn a_conversation_with_tools_and_a_picture() {
    let picture = Part {
        kind: "image".into(),
        media_type: Some("image/png".into()),
        data: Some(b"\x89PNG".to_vec()),
        ..Part::default()
    };
    let thought = Part {
        kind: "thinking".into(),
        text: Some("hm".into()),
        meta: Some(json!({ "field": "reasoning_content" })),
        ..Part::default()
    };
    let failed = Part { meta: Some(json!({ "error": true })), ..result("b", "no") };
    let call = |id: &str| Part::tool_call(id, "t", json!({ "x": 1 }));
    let request = Request::new("m")
        .system("Be brief.")
        .message(message("user", vec![Part::text("What is this?"), picture]))
        .message(message("assistant", vec![thought.clone(), call("a"), call("b")]))
        .message(message("tool", vec![result("a", "ok"), failed]))
        .message(message("assistant", vec![thought, Part::text("Glass.")]))
        .user("Thanks")
        .tool(tool("t"));
    let sent = sent(request);
    let call = |id: &str| {
        json!({ "id": id, "type": "function",
            "function": { "name": "t", "arguments": "{\"x\":1}" } })
    };
    assert_eq!(
        sent,
        json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": [
                    { "type": "text", "text": "What is this?" },
                    { "type": "image_url",
                      "image_url": { "url": "data:image/png;base64,iVBORw==" } },
                ] },
                { "role": "assistant", "content": null, "tool_calls": [call("a"), call("b")],
                  "reasoning_content": "hm" },
                { "role": "tool", "tool_call_id": "a", "content": "ok" },
                { "role": "tool", "tool_call_id": "b", "content": "Error: no" },
                { "role": "assistant", "content": "Glass." },
                { "role": "user", "content": "Thanks" },
            ],
            "stream": true,
            "stream_options": { "include_usage": true },
            "tools": [{ "type": "function", "function":
                { "name": "t", "description": "d", "parameters": { "type": "object" } } }],
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
        .option("seed", 3)
        .option("user", "u")
        .option("provider", json!({ "temperature": null, "stream_options": null, "top_k": 4 }));
    let mut sent = sent(request);
    sent.as_object_mut().unwrap().retain(|key, _| key != "messages" && key != "tools");
    assert_eq!(
        sent,
        json!({
            "model": "default",
            "stream": true,
            "tool_choice": { "type": "function", "function": { "name": "t" } },
            "parallel_tool_calls": false,
            "max_completion_tokens": 7,
            "top_p": 0.25,
            "stop": ["a", "b"],
            "response_format": { "type": "json_schema",
                "json_schema": { "name": "answer", "schema": schema, "strict": true } },
            "reasoning_effort": "low",
            "seed": 3,
            "user": "u",
            "top_k": 4,
        })
    );
    let elsewhere = Request::new("m").user("x").option("max-tokens", 7);
    let body = body(elsewhere, &settings("http://localhost:11434/v1")).unwrap();
    assert_eq!((&body["max_tokens"], body.get("max_completion_tokens")), (&json!(7), None));
}

#[test]
fn words_for_the_choice_of_tools() {
    let choose = |word: &str| Request::new("m").user("x").option("tool-choice", word);
    for word in ["auto", "none", "required"] {
        assert_eq!(sent(choose(word).tool(tool("t")))["tool_choice"], word);
    }
    assert_eq!(sent(choose("auto")).get("tool_choice"), None);
    assert_eq!(refused(choose("required")).code, "bad-arguments");
    assert_eq!(refused(choose("other").tool(tool("t"))).code, "bad-arguments");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let of = |kind: &str| Part { kind: kind.into(), ..Part::default() };
    let audio = Part { media_type: Some("audio/ogg".into()), data: Some(vec![1]), ..of("audio") };
    let file = Part { uri: Some("https://x.test/a.pdf".into()), ..of("file") };
    let hello = || Request::new("m").user("x");
    for (request, code) in [
        (hello().option("temprature", 1), "bad-arguments"),
        (hello().option("thinking", json!({ "budget-tokens": 1 })), "unsupported"),
        (hello().message(message("robot", vec![])), "bad-arguments"),
        (hello().message(message("user", vec![of("video")])), "unsupported"),
        (hello().message(message("user", vec![of("image")])), "bad-arguments"),
        (hello().message(message("system", vec![of("image")])), "unsupported"),
        (hello().message(message("assistant", vec![of("image")])), "unsupported"),
        (hello().message(message("assistant", vec![of("tool-call")])), "bad-arguments"),
        (hello().message(message("tool", vec![of("tool-result")])), "bad-arguments"),
        (hello().message(message("user", vec![audio])), "unsupported"),
        (hello().message(message("user", vec![file])), "unsupported"),
    ] {
        assert_eq!(refused(request.clone()).code, code, "{request:?}");
    }
    let nameless = Settings { model: String::new(), ..settings(OPENAI) };
    assert_eq!(body(Request::new("").user("x"), &nameless).unwrap_err().code, "bad-arguments");
}
