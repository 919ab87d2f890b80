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

/// The body of events, each named by its `type`.
fn stream(frames: &[Value]) -> String {
    let frame =
        |frame: &Value| format!("event: {}\ndata: {frame}\n\n", frame["type"].as_str().unwrap());
    frames.iter().map(frame).collect()
}

fn block(index: u64, block: Value, deltas: &[Value]) -> Vec<Value> {
    let start = json!({ "type": "content_block_start", "index": index, "content_block": block });
    let deltas = deltas
        .iter()
        .map(|delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    let stop = json!({ "type": "content_block_stop", "index": index });
    [start].into_iter().chain(deltas).chain([stop]).collect()
}

/// A whole answer of blocks.
fn answer(blocks: Vec<Value>, reason: &str) -> String {
    let start = json!({ "type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "content": [],
        "model": "claude-sonnet-4-5-20250929", "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 20, "cache_read_input_tokens": 5, "output_tokens": 1 } } });
    let end = json!({ "type": "message_delta",
        "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": 15 } });
    let frames: Vec<_> = [start, json!({ "type": "ping" })]
        .into_iter()
        .chain(blocks)
        .chain([end, json!({ "type": "message_stop" })])
        .collect();
    stream(&frames)
}

fn hello() -> Vec<Value> {
    let deltas = ["Grüß ", "Gott"].map(|text| json!({ "type": "text_delta", "text": text }));
    block(0, json!({ "type": "text", "text": "" }), &deltas)
}

fn call(index: u64, name: &str, pieces: &[&str]) -> Vec<Value> {
    let deltas: Vec<_> = pieces
        .iter()
        .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
        .collect();
    let begun =
        json!({ "type": "tool_use", "id": format!("toolu_{index}"), "name": name, "input": {} });
    block(index, begun, &deltas)
}

#[test]
fn text_comes_in_pieces_and_as_a_whole() {
    let body = answer(hello(), "end_turn");
    assert_eq!(kinds(&read(&body).unwrap()), ["content", "content", "response"]);
    let response = response(&body);
    assert_eq!(response.message.parts, [Part::text("Grüß Gott")]);
    assert_eq!(response.finish, "stop");
    assert_eq!(response.model, "claude-sonnet-4-5-20250929");
    assert_eq!(response.meta, Some(json!({ "id": "msg_1" })));
    let usage = response.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (25, 15));
    assert_eq!(usage.meta, Some(json!({ "cached-tokens": 5 })));
}

#[test]
fn several_tools_are_called() {
    let blocks =
        [hello(), call(1, "weather", &["", "{\"city\": ", "\"Ulm\"}"]), call(2, "time", &[])];
    let body = answer(blocks.concat(), "tool_use");
    let events = read(&body).unwrap();
    assert_eq!(kinds(&events), ["content", "content", "tool-call", "tool-call", "response"]);
    let response = response(&body);
    assert_eq!(response.finish, "tool-calls");
    let calls: Vec<_> = response.tool_calls().cloned().collect();
    let weather = Part::tool_call("toolu_1", "weather", json!({ "city": "Ulm" }));
    assert_eq!(calls, [weather, Part::tool_call("toolu_2", "time", json!({}))]);
}

#[test]
fn thoughts_and_unknown_blocks_go_back_as_they_came() {
    let thinking = block(
        0,
        json!({ "type": "thinking", "thinking": "", "signature": "" }),
        &[
            json!({ "type": "thinking_delta", "thinking": "Let me " }),
            json!({ "type": "thinking_delta", "thinking": "see." }),
            json!({ "type": "signature_delta", "signature": "EqQB" }),
        ],
    );
    let redacted = json!({ "type": "redacted_thinking", "data": "Emw=" });
    let found = json!({ "type": "web_search_tool_result", "tool_use_id": "s", "content": [] });
    let search = block(
        2,
        json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} }),
        &[json!({ "type": "input_json_delta", "partial_json": "{\"query\":\"x\"}" })],
    );
    let citation = json!({ "type": "web_search_result_location", "url": "https://x.test" });
    let text = block(
        4,
        json!({ "type": "text", "text": "", "citations": [] }),
        &[
            json!({ "type": "citations_delta", "citation": citation }),
            json!({ "type": "text_delta", "text": "4" }),
        ],
    );
    let blocks =
        [thinking, block(1, redacted.clone(), &[]), search, block(3, found.clone(), &[]), text];
    let body = answer(blocks.concat(), "end_turn");
    assert_eq!(kinds(&read(&body).unwrap()), ["thinking", "thinking", "content", "response"]);
    let message = response(&body).message;
    let request = ampoule_sdk::llm::Request::new("m").user("x").message(message);
    let sent = crate::request::body(request, "").unwrap();
    assert_eq!(
        sent["messages"][1]["content"],
        json!([
            { "type": "thinking", "thinking": "Let me see.", "signature": "EqQB" },
            redacted,
            { "type": "server_tool_use", "id": "s", "name": "web_search",
              "input": { "query": "x" } },
            found,
            { "type": "text", "text": "4", "citations": [citation] },
        ])
    );
}

#[test]
fn reasons_to_end() {
    for (reason, word) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content-filter"),
        ("pause_turn", "pause_turn"),
    ] {
        assert_eq!(response(&answer(hello(), reason)).finish, word);
    }
}

#[test]
fn a_call_cut_by_the_limit_is_left_out_and_a_malformed_one_is_an_error() {
    let cut = answer([hello(), call(1, "t", &["{\"a\": \"b"])].concat(), "max_tokens");
    assert_eq!(response(&cut).message.parts, [Part::text("Grüß Gott")]);
    for arguments in ["{\"a\": \"b", "[1]"] {
        let error = read(&answer(call(0, "t", &[arguments]), "tool_use")).unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("invalid-data", true));
    }
}

#[test]
fn what_ends_badly() {
    let whole = answer(hello(), "end_turn");
    let begun = whole.split_once("event: content_block_stop").unwrap().0;
    let error = |kind: &str| {
        let error = json!({ "type": "error", "error": { "type": kind, "message": "no" } });
        format!("{begun}event: error\ndata: {error}\n\n")
    };
    let wrong = |frame: Value| format!("{begun}{}", stream(&[frame]));
    let cases = [
        (begun.to_owned(), "unavailable", true),
        (String::new(), "unavailable", true),
        (
            format!("{begun}event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"),
            "unavailable",
            true,
        ),
        (format!("{begun}data: {{\"type\": \n\n"), "invalid-data", false),
        (error("overloaded_error"), "unavailable", true),
        (error("rate_limit_error"), "rate-limited", true),
        (error("authentication_error"), "unauthorized", false),
        (error("invalid_request_error"), "bad-arguments", false),
        (wrong(json!({ "type": "content_block_stop", "index": 7 })), "invalid-data", false),
        (wrong(block(1, json!({ "type": "text" }), &[]).remove(0)), "invalid-data", false),
        (wrong(block(0, json!(7), &[]).remove(0)), "invalid-data", false),
    ];
    for (body, code, retryable) in cases {
        let error = read(&body).unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), (code, retryable), "{body}");
    }
}

#[test]
fn what_is_not_known_is_passed_over() {
    let mut blocks = hello();
    blocks.insert(
        1,
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "new" } }),
    );
    blocks.insert(0, json!({ "type": "news", "of": ["tomorrow"] }));
    assert_eq!(response(&answer(blocks, "end_turn")).text(), "Grüß Gott");
}

#[test]
fn an_answer_is_bounded() {
    let large = json!({ "type": "text_delta", "text": "x".repeat(1 << 20) });
    let body = answer(block(0, json!({ "type": "text", "text": "" }), &vec![large; 5]), "end_turn");
    assert_eq!(events::<Assembly>(&body, usize::MAX).unwrap_err().code, "too-large");
    let calls: Vec<_> = (0..300).flat_map(|n| call(n, "t", &[])).collect();
    let error = events::<Assembly>(&answer(calls, "tool_use"), usize::MAX).unwrap_err();
    assert_eq!(error.code, "too-large");
}

#[test]
fn lists_of_models() {
    let listed = json!({ "data": [
        { "type": "model", "id": "claude-sonnet-4-5", "display_name": "Claude Sonnet 4.5" },
        { "type": "model" },
    ], "has_more": false });
    let found = models(&listed);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].meta, Some(json!({ "title": "Claude Sonnet 4.5" })));
}
