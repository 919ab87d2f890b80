//! What a call is answered with, for each way it can end.

use std::sync::{Arc, Mutex};

use ampoule_contract::{
    Account, Block, Breach, Denial, End, Limits, Meter, Output, Problem, ToolCall, ToolDefinition,
    ToolError, Usage,
};
use ampoule_server::ServeOptions;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ReadResourceRequestParams, RequestMetaObject};
use serde_json::{Value, json};

use crate::harness::*;

#[tokio::test]
async fn the_call_arrives_as_it_was_made() {
    let seen: Arc<Mutex<Vec<ToolCall>>> = Arc::default();
    let keep = seen.clone();
    let shelf = Shelf::default().with(tool("files/read"), move |call| {
        keep.lock().unwrap().push(call.clone());
        std::future::ready(outcome(&call, value(Value::Null)))
    });
    let options = ServeOptions {
        workspace: Some("/work".into()),
        principal: Some("ada".into()),
        budget: Some(Account::root(Limits::default())),
        ..ServeOptions::default()
    };
    let served = serve_with(shelf, Era::Old, options).await;
    let arguments = json!({"z": [1, -0.5, 18446744073709551615u64], "a": {"é": "\u{0}\n"}});
    served.call("files__read", arguments.clone()).await;
    served.client.call_tool(rmcp::model::CallToolRequestParams::new("files__read")).await.unwrap();
    let calls = seen.lock().unwrap();
    assert_eq!(calls[0].tool, "files/read");
    assert_eq!(*calls[0].arguments, arguments.to_string());
    assert_eq!(&*calls[1].arguments, "{}");
    let context = &calls[0].context;
    assert_eq!(context.principal.as_deref(), Some("ada"));
    assert_eq!(context.workspace.as_deref(), Some("/work".as_ref()));
    assert!(context.budget.is_some() && context.events.is_some());
}

#[tokio::test]
async fn a_session_is_an_argument_that_the_tool_does_not_see() {
    let seen: Arc<Mutex<Vec<ToolCall>>> = Arc::default();
    let keep = seen.clone();
    let keeper = ToolDefinition { sessions: true, ..tool("code") };
    // One that has an argument of that name itself is left alone.
    let own = json!({"type": "object", "properties": {"session": {"type": "string"}}});
    let other = ToolDefinition { input_schema: own, sessions: true, ..tool("own") };
    let both = [keeper, other].into_iter().fold(Shelf::default(), |shelf, definition| {
        let keep = keep.clone();
        shelf.with(definition, move |call| {
            keep.lock().unwrap().push(call.clone());
            std::future::ready(outcome(&call, value(Value::Null)))
        })
    });
    let served = serve_with(both, Era::Old, ServeOptions::default()).await;
    served.call("code", json!({"x": 1, "session": "s-1", "end_session": true})).await;
    served.call("code", json!({"x": 1})).await;
    served.call("own", json!({"session": "mine", "end_session": 7})).await;
    for (arguments, words) in [
        (json!({"session": 1}), "`session` is a text"),
        (json!({"end_session": true}), "needs the `session` to end"),
        (json!({"session": "s", "end_session": "yes"}), "true or false"),
    ] {
        let params = rmcp::model::CallToolRequestParams::new("code");
        let params = params.with_arguments(arguments.as_object().unwrap().clone());
        let refused = served.client.call_tool(params).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    let calls = seen.lock().unwrap();
    let found: Vec<_> = calls
        .iter()
        .map(|call| {
            let session = call.context.session.as_ref();
            (&*call.arguments, session.map(|session| (session.id.as_str(), session.close)))
        })
        .collect();
    assert_eq!(
        found,
        [
            (r#"{"x":1}"#, Some(("s-1", true))),
            (r#"{"x":1}"#, None),
            (r#"{"session":"mine","end_session":7}"#, None),
        ]
    );
}

#[tokio::test]
async fn values_come_structured_and_as_text() {
    let schema = json!({"type": ["array", "null"]});
    for (given, schema, text) in [
        (json!({"b": 1, "a": [2]}), None, r#"{"b":1,"a":[2]}"#),
        (json!({}), Some(json!({"type": "object"})), "{}"),
        (json!({"a": 1}), Some(json!({"anyOf": [{}]})), r#"{"a":1}"#),
        (json!([1, 2]), Some(schema.clone()), "[1,2]"),
        (Value::Null, Some(schema), "null"),
        (json!("plain \"text\""), None, "plain \"text\""),
        (json!(1.5), None, "1.5"),
        (json!(false), None, "false"),
    ] {
        for era in ERAS {
            let definition = ToolDefinition { output_schema: schema.clone(), ..tool("t") };
            let shelf = Shelf::default().ending(definition, value(given.clone()));
            let result = serve(shelf, era).await.call("t", json!({})).await;
            assert_eq!(result.is_error, Some(false));
            assert_eq!(texts(&result), [text]);
            let object = schema.as_ref().map_or(given.is_object(), |s| s["type"] == "object");
            let natural = object || era == Era::New;
            let expected = if natural { given.clone() } else { json!({ "result": given }) };
            assert_eq!(result.structured_content, Some(expected), "{given} {era:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_may_be_blocks_alone_or_nothing() {
    let picture = Block {
        kind: "image".into(),
        media_type: Some("image/png".into()),
        data: Some(vec![1, 2, 3]),
        ..Block::default()
    };
    let clip = Block { kind: "video".into(), data: Some(vec![0]), ..Block::default() };
    let output = Output { blocks: vec![picture, clip], ..Output::default() };
    let shelf = Shelf::default()
        .ending(tool("blocks"), End::Value(output))
        .ending(tool("nothing"), End::Value(Output::default()));
    let served = serve(shelf, Era::Old).await;
    let result = served.call("blocks", json!({})).await;
    assert_eq!(result.structured_content, None);
    let content = json!(result.content);
    assert_eq!(content[0]["data"], "AQID");
    assert_eq!(content[1]["resource"]["uri"], "ampoule:call-1/1");
    let result = served.call("nothing", json!({})).await;
    assert_eq!((result.content.len(), result.structured_content), (0, None));
}

#[tokio::test]
async fn a_large_file_is_a_link_to_what_can_be_read() {
    let file = |bytes: usize| Block {
        kind: "file".into(),
        media_type: Some("application/pdf".into()),
        data: Some(vec![7; bytes]),
        meta: Some(json!({ "name": "report.pdf" })),
        ..Block::default()
    };
    let output = Output { blocks: vec![file(100), file(100_000)], ..Output::default() };
    for era in ERAS {
        let shelf = Shelf::default().ending(tool("report"), End::Value(output.clone()));
        let served = serve(shelf, era).await;
        let content = json!(served.call("report", json!({})).await.content);
        assert_eq!(content[0]["type"], "resource");
        let link = &content[1];
        assert_eq!((&link["type"], &link["name"]), (&json!("resource_link"), &json!("report.pdf")));
        assert_eq!(
            (&link["size"], &link["mimeType"]),
            (&json!(100_000), &json!("application/pdf"))
        );
        let read = async |uri: &str| {
            served.client.read_resource(ReadResourceRequestParams::new(uri)).await
        };
        let uri = link["uri"].as_str().unwrap();
        let found = json!(read(uri).await.unwrap().contents);
        assert_eq!(found[0]["blob"], STANDARD.encode(vec![7; 100_000]));
        let other = uri.replace(&uri[uri.len() - 8..], "00000000");
        assert!(read(&other).await.is_err(), "{era:?}");
        assert!(served.client.list_all_resources().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_was_cut_says_so_and_how_to_go_on() {
    let output = |truncated, next: Option<&str>| {
        let next = next.map(Into::into);
        End::Value(Output { truncated, next, ..Output::value(json!({})) })
    };
    for (end, text, truncated, next) in [
        (
            output(true, Some("p\"2")),
            "[Something was left out because it was too large. To go on, call again with \
             \"cursor\": \"p\\\"2\".]",
            json!(true),
            json!("p\"2"),
        ),
        (
            output(true, None),
            "[Something was left out because it was too large.]",
            json!(true),
            Value::Null,
        ),
        (
            output(false, Some("2")),
            "[To go on, call again with \"cursor\": \"2\".]",
            Value::Null,
            json!("2"),
        ),
    ] {
        let served = serve(Shelf::default().ending(tool("t"), end), Era::New).await;
        let result = served.call("t", json!({})).await;
        assert_eq!(texts(&result), ["{}", text]);
        assert_eq!(meta(&result, "ampoule/truncated"), truncated);
        assert_eq!(meta(&result, "ampoule/next"), next);
    }
}

#[tokio::test]
async fn the_receipt_and_the_rest_are_meta() {
    let shelf = Shelf::default().with(tool("t"), |call| {
        let output = Output { meta: Some(json!({"k": 1})), ..Output::value(json!({})) };
        let mut outcome = outcome(&call, End::Value(output));
        outcome.receipt.used = Usage::default();
        outcome.receipt.used.set(Meter::Fuel, 12);
        outcome.receipt.denials.push(Denial {
            gate: "grant",
            message: "GET http://a.test is not granted".into(),
            allow: Some("[bindings.t]".into()),
        });
        std::future::ready(outcome)
    });
    let result = serve(shelf, Era::Old).await.call("t", json!({})).await;
    assert_eq!(meta(&result, "ampoule/meta"), json!({"k": 1}));
    let denial = json!({
        "gate": "grant",
        "message": "GET http://a.test is not granted",
        "allow": "[bindings.t]",
    });
    assert_eq!(
        meta(&result, "ampoule/receipt"),
        json!({
            "call": "call-1",
            "end": "value",
            "used": {"fuel": 12},
            "wall-us": 1500,
            "denials": [denial],
        })
    );
}

#[tokio::test]
async fn a_limit_is_named_in_the_receipt() {
    let breach = Breach { meter: Meter::Memory, limit: 64 << 20, above: false };
    let shelf = Shelf::default().with(tool("t"), move |call| {
        let mut outcome = outcome(&call, End::Limit(breach.clone()));
        outcome.receipt.ended_by = Some(Meter::Memory);
        std::future::ready(outcome)
    });
    let result = serve(shelf, Era::Old).await.call("t", json!({})).await;
    let receipt = meta(&result, "ampoule/receipt");
    assert_eq!(receipt["end"], "limit");
    assert_eq!(receipt["ended-by"], "memory");
    assert_eq!(receipt["limit"], 64 << 20);
}

#[tokio::test]
async fn a_plain_value_brings_its_receipt_where_it_is_asked_for() {
    for era in ERAS {
        let served = serve(Shelf::default().ending(tool("t"), value(json!(1))), era).await;
        let asking = |wish: Value| {
            let mut meta = RequestMetaObject::default();
            meta.insert("ampoule/receipt".into(), wish);
            meta
        };
        for wish in [json!(false), json!("true"), json!(null)] {
            let result = served.call_with("t", asking(wish)).await;
            assert_eq!(meta(&result, "ampoule/receipt"), Value::Null);
            assert_eq!(meta(&result, "ampoule/call"), "call-1");
        }
        let result = served.call_with("t", asking(json!(true))).await;
        assert_eq!(meta(&result, "ampoule/receipt")["call"], "call-1");
        assert_eq!(meta(&result, "ampoule/receipt")["end"], "value");
        assert_eq!(meta(&result, "ampoule/call"), Value::Null);
    }
}

fn problem(path: Option<&str>, message: &str) -> Problem {
    Problem { path: path.map(Into::into), message: message.into() }
}

/// Every end but a value: the text, and what a program reads.
fn ends() -> Vec<(End, String, Value)> {
    let allow = "[bindings.t]\ngrant.http = [\"GET http://a.test/\"]";
    let failed = ToolError {
        retryable: true,
        retry_after_ms: Some(1500),
        data: Some(json!({"status": 503})),
        log: Some("upstream said: secret".into()),
        ..ToolError::new("unavailable", "the site is down")
    };
    let denial = |allow: Option<&str>| Denial {
        gate: "grant",
        message: "http is not granted".into(),
        allow: allow.map(Into::into),
    };
    let code = |code: &str, message: &str| json!({"code": code, "message": message});
    let with = |mut error: Value, key: &str, value: Value| {
        error[key] = value;
        error
    };
    let broke = "the tool broke down; nothing it did was kept";
    let fault = "the host could not run the tool";
    let unfit = "the tool's answer does not fit its own schema";
    let limit = "limit `wall-time` of this call reached: 30.0 s";
    vec![
        (
            End::Failed(failed),
            "unavailable: the site is down\nTry again in 2 s.\nDetails: {\"status\":503}".into(),
            json!({
                "code": "unavailable",
                "message": "the site is down",
                "retryable": true,
                "retry-after-ms": 1500,
                "data": {"status": 503},
            }),
        ),
        (
            End::Failed(ToolError::new("not-found", "no such row")),
            "not-found: no such row".into(),
            code("not-found", "no such row"),
        ),
        (
            End::BadArguments(problem(Some("/fields/0"), "7 is not a string")),
            "bad-arguments: at /fields/0: 7 is not a string".into(),
            with(
                code("bad-arguments", "at /fields/0: 7 is not a string"),
                "data",
                json!({"path": "/fields/0"}),
            ),
        ),
        (
            End::BadOutput(problem(Some("/a"), "wrong")),
            format!("invalid-data: {unfit}"),
            code("invalid-data", unfit),
        ),
        (
            End::Denied(denial(Some(allow))),
            format!(
                "denied: http is not granted\n\
                 The operator could allow it with these lines of ampoule.toml:\n{allow}"
            ),
            with(
                code("denied", "http is not granted"),
                "data",
                json!({"gate": "grant", "allow": allow}),
            ),
        ),
        (
            End::Denied(denial(None)),
            "denied: http is not granted".into(),
            with(
                code("denied", "http is not granted"),
                "data",
                json!({"gate": "grant", "allow": null}),
            ),
        ),
        (
            End::Limit(Breach { meter: Meter::WallTime, limit: 30_000, above: false }),
            format!("limit: {limit}"),
            with(code("limit", limit), "data", json!({"limit": "wall-time"})),
        ),
        (
            End::Trap("wasm trap: unreachable at 0x1234".into()),
            format!("internal: {broke}"),
            code("internal", broke),
        ),
        (
            End::Cancelled,
            "cancelled: the call was cancelled".into(),
            code("cancelled", "the call was cancelled"),
        ),
        (
            End::Overloaded("too many calls".into()),
            "rate-limited: too many calls\nThe same call may succeed later.".into(),
            with(code("rate-limited", "too many calls"), "retryable", json!(true)),
        ),
        (
            End::Suspended("waiting for an answer".into()),
            "unavailable: waiting for an answer".into(),
            code("unavailable", "waiting for an answer"),
        ),
        (
            End::Fault("disk full at /var/secret".into()),
            format!("internal: {fault}"),
            code("internal", fault),
        ),
    ]
}

#[tokio::test]
async fn each_end_is_a_result_a_model_can_act_on() {
    for (end, text, structured) in ends() {
        for era in ERAS {
            let word = end.word();
            let schema = Some(json!({"type": "object", "required": ["never"]}));
            let shelf = Shelf::default()
                .ending(tool("plain"), end.clone())
                .ending(ToolDefinition { output_schema: schema, ..tool("typed") }, end.clone());
            let served = serve(shelf, era).await;
            let plain = served.call("plain", json!({})).await;
            assert_eq!(plain.is_error, Some(true), "{word}");
            assert_eq!(texts(&plain), [text.as_str()], "{word}");
            assert_eq!(plain.structured_content.as_ref(), Some(&structured), "{word}");
            assert_eq!(meta(&plain, "ampoule/error"), structured, "{word}");
            assert_eq!(meta(&plain, "ampoule/receipt")["end"], word);
            // An error does not fit an output schema, and some clients would say only that.
            let typed = served.call("typed", json!({})).await;
            assert_eq!(typed.structured_content, None, "{word}");
            assert_eq!(meta(&typed, "ampoule/error"), structured, "{word}");
            for result in [plain, typed] {
                let all = json!(result).to_string();
                for hidden in ["secret", "0x1234"] {
                    assert!(!all.contains(hidden), "{word}: {all}");
                }
            }
        }
    }
}

#[tokio::test]
async fn long_data_of_an_error_is_cut_in_the_text_only() {
    let data = json!({"rows": "é".repeat(5000)});
    let error = ToolError { data: Some(data.clone()), ..ToolError::new("conflict", "no") };
    let shelf = Shelf::default().ending(tool("t"), End::Failed(error));
    let result = serve(shelf, Era::New).await.call("t", json!({})).await;
    let text = texts(&result)[0];
    assert!(text.len() < 4200 && text.ends_with(" …"), "{}", text.len());
    assert_eq!(result.structured_content.unwrap()["data"], data);
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error() {
    for era in ERAS {
        let served = serve(Shelf::default().ending(tool("a/b"), value(Value::Null)), era).await;
        for name in ["", "a", "a/b", "A__B", "nothing"] {
            let error = served.refusal(name).await;
            assert_eq!(error.code.0, -32602, "{name}");
            assert!(error.message.contains(&format!("no tool `{name}`")), "{}", error.message);
        }
        let error = served.refusal(&"x".repeat(100_000)).await;
        assert!(error.message.len() < 300);
        assert_eq!(texts(&served.call("a__b", json!({})).await), ["null"]);
    }
}
