//! `tools/list`, and what the server says of itself.

use ampoule_contract::{Effects, End, Output, ToolDefinition, ToolKind};
use ampoule_server::{ServeError, ServeOptions};
use rmcp::ServiceError;
use rmcp::model::{PaginatedRequestParams, ProtocolVersion};
use serde_json::{Value, json};

use crate::harness::*;

fn silent() -> End {
    End::Value(Output::default())
}

fn shelf(ids: &[&str]) -> Shelf {
    ids.iter().fold(Shelf::default(), |shelf, id| shelf.ending(tool(id), silent()))
}

fn names(tools: &[rmcp::model::Tool]) -> Vec<&str> {
    tools.iter().map(|tool| tool.name.as_ref()).collect()
}

#[tokio::test]
async fn each_era_learns_who_serves_it() {
    for (era, version) in
        [(Era::Old, ProtocolVersion::V_2025_11_25), (Era::New, ProtocolVersion::V_2026_07_28)]
    {
        let served = serve(shelf(&["a"]), era).await;
        let info = served.client.peer_info().unwrap();
        assert_eq!(info.protocol_version, version);
        let about = info.server_info.as_ref().unwrap();
        assert_eq!(about.name, "ampoule");
        assert_eq!(about.version, env!("CARGO_PKG_VERSION"));
        assert!(info.instructions.as_ref().unwrap().contains("`denied`"));
        assert!(info.capabilities.tools.is_some() && info.capabilities.logging.is_some());
        assert!(info.capabilities.resources.is_some() && info.capabilities.prompts.is_none());
    }
}

#[tokio::test]
async fn schemas_titles_and_effects_come_whole() {
    let input = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["tree"],
        "properties": {
            "tree": {"$ref": "#/$defs/tree"},
            "n": {"type": "integer", "minimum": 9007199254740993u64, "default": 1.5},
        },
        "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "additionalProperties": false,
        "x-own": [null, {"deep": "é"}],
    });
    let output = json!({"type": "object", "properties": {"z": true, "a": {"const": null}}});
    let definition = || ToolDefinition {
        title: Some("Trees".into()),
        description: "Counts.\nTwo lines.".into(),
        input_schema: input.clone(),
        output_schema: Some(output.clone()),
        effects: Effects {
            read_only: true,
            destructive: false,
            idempotent: true,
            open_world: false,
        },
        ..tool("trees/count")
    };
    for era in ERAS {
        let shelf = Shelf::default().ending(definition(), silent());
        let tools = serve(shelf.ending(tool("worst"), silent()), era).await.list().await;
        let listed = json!(tools);
        assert_eq!(listed[0]["name"], "trees__count");
        assert_eq!(listed[0]["title"], "Trees");
        assert_eq!(listed[0]["description"], "Counts.\nTwo lines.");
        // As texts, because the order of keys is the author's.
        assert_eq!(listed[0]["inputSchema"].to_string(), input.to_string());
        assert_eq!(listed[0]["outputSchema"].to_string(), output.to_string());
        let hints = |read_only, destructive, idempotent, open_world| {
            json!({
                "readOnlyHint": read_only,
                "destructiveHint": destructive,
                "idempotentHint": idempotent,
                "openWorldHint": open_world,
            })
        };
        assert_eq!(listed[0]["annotations"], hints(true, false, true, false));
        assert_eq!(listed[1]["annotations"], hints(false, true, false, true));
        assert_eq!(listed[1].get("outputSchema"), None);
    }
}

#[tokio::test]
async fn schemas_say_object_where_the_revision_wants_it() {
    let list = json!({"type": "array", "items": {"type": "integer"}});
    for era in ERAS {
        let definition = ToolDefinition {
            input_schema: json!({"properties": {"a": true}}),
            output_schema: Some(list.clone()),
            ..tool("a")
        };
        let tools = serve(Shelf::default().ending(definition, silent()), era).await.list().await;
        let listed = json!(tools[0]);
        assert_eq!(
            listed["inputSchema"],
            json!({"properties": {"a": true}, "type": "object"}),
            "{era:?}"
        );
        let wrapped = json!({
            "type": "object",
            "properties": {"result": list},
            "required": ["result"],
        });
        let expected = if era == Era::Old { &wrapped } else { &list };
        assert_eq!(&listed["outputSchema"], expected, "{era:?}");
    }
}

#[tokio::test]
async fn the_order_is_that_of_the_names() {
    let component = ToolDefinition { kind: ToolKind::Component, ..tool("gate") };
    let shelf = shelf(&["b", "a/x", "a", "a-b", "Z"]).ending(component, silent());
    let served = serve(shelf, Era::Old).await;
    assert_eq!(names(&served.list().await), ["Z", "a", "a-b", "a__x", "b", "gate"]);
}

#[tokio::test]
async fn patterns_choose_what_is_served() {
    let ids = ["files/read", "files/write", "hash", "json-filter", "json-query"];
    for (patterns, expected) in [
        (&["*"][..], &["files__read", "files__write", "hash", "json-filter", "json-query"][..]),
        (&["json-*", "files/read"], &["files__read", "json-filter", "json-query"]),
        (&["files"], &["files__read", "files__write"]),
        (&["nothing"], &[]),
        (&[], &[]),
    ] {
        let tools = patterns.iter().map(ToString::to_string).collect();
        let options = ServeOptions { tools, ..ServeOptions::default() };
        let served = serve_with(shelf(&ids), Era::New, options).await;
        assert_eq!(names(&served.list().await), expected, "{patterns:?}");
        // What is not listed cannot be called.
        for id in ids {
            let name = id.replace('/', "__");
            let called = served.client.call_tool(request(&name, json!({}))).await;
            assert_eq!(called.is_ok(), expected.contains(&name.as_str()), "{patterns:?} {id}");
        }
    }
    let options = ServeOptions { tools: vec![String::new()], ..ServeOptions::default() };
    let (_pipe, server) = start(shelf(&ids), options);
    assert!(matches!(server.await.unwrap(), Err(ServeError::Pattern(_))));
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let ids: Vec<_> = (0..600).map(|n| format!("tool-{n:03}")).collect();
    let shelf = shelf(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let served = serve(shelf, Era::New).await;
    assert_eq!(names(&served.list().await), ids);

    let page = async |cursor: Option<String>| {
        let request = PaginatedRequestParams::default().with_cursor(cursor);
        served.client.list_tools(Some(request)).await
    };
    let mut cursor = None;
    let mut sizes = Vec::new();
    loop {
        let page = page(cursor).await.unwrap();
        sizes.push(page.tools.len());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [250, 250, 100]);
    // The last tool of a page may have gone meanwhile.
    let after = page(Some("after:tool-3999".into())).await.unwrap();
    assert_eq!(after.tools[0].name, "tool-400");
    let end = page(Some("after:zzz".into())).await.unwrap();
    assert_eq!((end.tools.len(), end.next_cursor), (0, None));
    match page(Some("250".into())).await {
        Err(ServiceError::McpError(error)) => assert_eq!(error.code.0, -32602),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_exact_page_is_the_last() {
    let ids: Vec<_> = (0..250).map(|n| format!("tool-{n:03}")).collect();
    let shelf = shelf(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let page = serve(shelf, Era::Old).await.client.list_tools(None).await.unwrap();
    assert_eq!((page.tools.len(), page.next_cursor), (250, None));
}

#[tokio::test]
async fn two_ids_of_one_name_are_one_tool() {
    let shelf = Shelf::default()
        .ending(tool("a/b"), value(json!("first")))
        .ending(tool("a__b"), value(json!("second")));
    let served = serve(shelf, Era::Old).await;
    let tools = served.list().await;
    assert_eq!(names(&tools), ["a__b"]);
    assert_eq!(tools[0].description.as_deref(), Some("Does a/b."));
    assert_eq!(texts(&served.call("a__b", json!({})).await), ["first"]);
}

#[tokio::test]
async fn there_may_be_no_tools() {
    for era in ERAS {
        assert_eq!(json!(serve(Shelf::default(), era).await.list().await), Value::Array(vec![]));
    }
}

#[tokio::test]
async fn a_tool_that_keeps_state_takes_a_session() {
    for era in ERAS {
        let definition = ToolDefinition {
            sessions: true,
            input_schema: json!({"type": "object", "properties": {"code": true}}),
            ..tool("code")
        };
        let tools = serve(Shelf::default().ending(definition, silent()), era).await.list().await;
        let listed = json!(tools[0]);
        let properties = listed["inputSchema"]["properties"].as_object().unwrap();
        let names: Vec<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(names, ["code", "session", "end_session"], "{era:?}");
    }
}
