#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use ampoule_sdk::llm::provider::events;

/// The events of a body, the same however it is cut into pieces.
fn read(body: &str) -> Result<Vec<Event>> {
    let whole = events::<Assembly>(body, usize::MAX);
    for size in [1, 7, 64] {
        assert_eq!(events::<Assembly>(body, size), whole, "in pieces of {size} bytes");
    }
    whole
}

fn response(body: &str) -> Response {
    read(body).unwrap().pop().and_then(|event| event.response).unwrap()
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

const HELLO: &str = r#": a comment keeps the connection open

data: {"id":"chatcmpl-9x","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-9x","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"Grüß "},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-9x","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"Gott"},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-9x","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-9x","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

"#;

#[test]
fn text_comes_in_pieces_and_as_a_whole() {
    let events = read(HELLO).unwrap();
    assert_eq!(kinds(&events), ["content", "content", "response"]);
    let response = response(HELLO);
    assert_eq!(response.text(), "Grüß Gott");
    assert_eq!((response.finish.as_str(), response.model.as_str()), ("stop", "gpt-4o-2024-08-06"));
    assert_eq!(response.meta, Some(json!({ "id": "chatcmpl-9x", "system-fingerprint": "fp_1" })));
    let usage = response.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (9, 3));
    assert_eq!(usage.meta, Some(json!({ "cached-tokens": 4, "thinking-tokens": 0 })));
    assert_eq!(read(&HELLO.replace('\n', "\r\n")), read(HELLO));
}

/// The body of chunks whose first choice is given.
fn chunks(choices: &[Value]) -> String {
    let chunk = |choice: &Value| {
        let chunk = json!({ "id": "c", "model": "m", "choices": [choice] });
        format!("data: {chunk}\n\n")
    };
    choices.iter().map(chunk).chain(["data: [DONE]\n\n".into()]).collect()
}

fn fragments(fragments: Value) -> Value {
    json!({ "index": 0, "delta": { "tool_calls": fragments }, "finish_reason": null })
}

fn finish(reason: &str) -> Value {
    json!({ "index": 0, "delta": {}, "finish_reason": reason })
}

fn called(body: &str) -> Vec<(String, String, Value)> {
    let response = response(body);
    assert_eq!(response.finish, "tool-calls");
    let calls = response.tool_calls().cloned();
    calls.map(|call| (call.id.unwrap(), call.name.unwrap(), call.value.unwrap())).collect()
}

#[test]
fn tool_calls_are_put_together_by_index() {
    let body = chunks(&[
        fragments(json!([{ "index": 0, "id": "call_a", "type": "function",
            "function": { "name": "weather", "arguments": "" } }])),
        fragments(json!([{ "index": 0, "function": { "arguments": "{\"city\":" } }])),
        fragments(json!([{ "index": 1, "id": "call_b", "type": "function",
            "function": { "name": "time", "arguments": "" } }])),
        // Pieces of both, in one event and out of turn.
        fragments(json!([
            { "index": 1, "function": { "arguments": "{}" } },
            { "index": 0, "function": { "arguments": "\"Ulm\"}" } },
        ])),
        finish("tool_calls"),
    ]);
    let weather = ("call_a".into(), "weather".into(), json!({ "city": "Ulm" }));
    assert_eq!(called(&body), [weather, ("call_b".into(), "time".into(), json!({}))]);
    assert_eq!(kinds(&read(&body).unwrap()), ["tool-call", "tool-call", "response"]);
}

#[test]
fn servers_that_number_badly_are_understood() {
    let whole = |index: Value, id: Value, name: &str| {
        fragments(json!([{ "index": index, "id": id,
            "function": { "name": name, "arguments": "{\"a\":1}" } }]))
    };
    for (first, second) in [(json!(0), json!(0)), (json!(null), json!(null))] {
        let body = chunks(&[
            whole(first, json!("x"), "a"),
            whole(second, json!("y"), "b"),
            finish("stop"),
        ]);
        let names: Vec<_> = called(&body).into_iter().map(|(id, name, _)| (id, name)).collect();
        assert_eq!(names, [("x".into(), "a".into()), ("y".into(), "b".into())]);
    }
    let body = chunks(&[whole(json!(0), json!(null), "a"), finish("tool_calls")]);
    assert_eq!(called(&body), [("call-1".into(), "a".into(), json!({ "a": 1 }))]);
}

#[test]
fn thoughts_come_under_either_name() {
    for field in ["reasoning_content", "reasoning"] {
        let body = chunks(&[
            json!({ "index": 0, "delta": { field: "Let me ", "content": null } }),
            json!({ "index": 0, "delta": { field: "see." } }),
            json!({ "index": 0, "delta": { "content": "4" } }),
            finish("stop"),
        ]);
        let events = read(&body).unwrap();
        assert_eq!(kinds(&events), ["thinking", "thinking", "content", "response"]);
        let parts = response(&body).message.parts;
        assert_eq!(parts[0].text.as_deref(), Some("Let me see."));
        assert_eq!(parts[0].meta, Some(json!({ "field": field })));
        assert_eq!(parts[1], Part::text("4"));
    }
}

#[test]
fn reasons_to_end() {
    for (reason, word) in [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content-filter"),
        ("insufficient_system_resource", "insufficient_system_resource"),
    ] {
        assert_eq!(response(&chunks(&[finish(reason)])).finish, word);
    }
    let refusal = json!({ "index": 0, "delta": { "refusal": "I cannot." } });
    let refused = response(&chunks(&[refusal, finish("stop")]));
    assert_eq!((refused.finish.as_str(), refused.text().as_str()), ("content-filter", "I cannot."));
}

#[test]
fn a_call_cut_by_the_limit_is_left_out_and_a_malformed_one_is_an_error() {
    let call = |arguments: &str| {
        fragments(json!([{ "index": 0, "id": "x",
            "function": { "name": "t", "arguments": arguments } }]))
    };
    let cut = response(&chunks(&[call("{\"a\": \"b"), finish("length")]));
    assert_eq!((cut.finish.as_str(), cut.message.parts.len()), ("length", 0));
    for arguments in ["{\"a\": \"b", "[1]"] {
        let error = read(&chunks(&[call(arguments), finish("tool_calls")])).unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("invalid-data", true));
    }
}

#[test]
fn what_ends_badly() {
    let begun = HELLO.split_once("data: {\"id\":\"chatcmpl-9x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{\"index\":0,\"delta\":{},").unwrap().0;
    let cases: [(String, &str, bool); 6] = [
        (begun.into(), "unavailable", true),
        (format!("{begun}data: [DONE]\n\n"), "unavailable", true),
        (String::new(), "unavailable", true),
        (format!("{begun}data: {{\"choices\": [}}\n\n"), "invalid-data", false),
        (
            format!(
                "{begun}data: {{\"error\":{{\"message\":\"busy\",\"type\":\"server_error\"}}}}\n\n"
            ),
            "unavailable",
            true,
        ),
        (
            format!("{begun}data: {{\"error\":{{\"message\":\"slow\",\"code\":429}}}}\n\n"),
            "rate-limited",
            true,
        ),
    ];
    for (body, code, retryable) in cases {
        let error = read(&body).unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), (code, retryable), "{body}");
    }
}

#[test]
fn an_end_without_the_last_word_is_taken_where_the_answer_is_complete() {
    let body = HELLO.strip_suffix("data: [DONE]\n\n").unwrap();
    assert_eq!(response(body).text(), "Grüß Gott");
}

#[test]
fn an_answer_is_bounded() {
    let text = json!({ "index": 0, "delta": { "content": "x".repeat(1 << 20) } });
    let error = events::<Assembly>(&chunks(&vec![text; 5]), usize::MAX).unwrap_err();
    assert_eq!(error.code, "too-large");
    let call = |n| fragments(json!([{ "index": n, "id": "x", "function": { "name": "t" } }]));
    let calls: Vec<_> = (0..300).map(call).collect();
    let error = events::<Assembly>(&chunks(&calls), usize::MAX).unwrap_err();
    assert_eq!(error.code, "too-large");
}

#[test]
fn lists_of_models() {
    let openai = json!({ "object": "list", "data": [
        { "id": "gpt-4o", "object": "model", "owned_by": "openai" },
        { "id": "llama", "context_window": 131_072 },
        { "object": "model" },
    ] });
    let found = models(&openai);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].meta, Some(json!({ "owned-by": "openai" })));
    assert_eq!(found[1].context_tokens, Some(131_072));
    assert_eq!(models(&json!([{ "id": "m", "context_length": 8192 }]))[0].name, "m");
    assert_eq!(models(&json!({ "error": 1 })), []);
}
