//! The tools of a server as tools of ours.

use std::collections::BTreeSet;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{Definition, log};
use sha2::{Digest as _, Sha256};

use crate::header::{self, Header};
use crate::{schema, text};

/// The most tools that a binding offers; a host takes 1,024.
const MAX_TOOLS: usize = 1_000;

/// Bytes that all tools may take together; a host takes 4 MiB.
const MAX_BYTES: usize = 3_900_000;

/// The longest name of a tool of ours.
const MAX_NAME: usize = 64;

/// The longest name of a tool of a server, in bytes. MCP advises 128.
const MAX_REMOTE_NAME: usize = 256;

/// The longest description and title, in characters: a host takes 16 KiB.
const MAX_DESCRIPTION: usize = 4_000;
const MAX_TITLE: usize = 200;

/// How many tools that are left out the log names.
const MAX_LINES: usize = 50;

/// The tools of a list that are wanted. One that cannot be taken is left out, and the log says why.
///
/// # Errors
/// `too-large` where they are more than a host takes.
pub(crate) fn definitions(
    tools: &[Value],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Definition>> {
    let (mut names, mut bytes, mut left_out) = (BTreeSet::new(), 0, 0);
    let mut definitions = Vec::new();
    for tool in tools {
        let Ok(name) = name(tool).map(str::to_owned) else {
            left_out += 1;
            continue;
        };
        if !wanted(&name) {
            continue;
        }
        let taken = definition(&name, tool).and_then(|definition| {
            match names.insert(definition.name.clone()) {
                true => Ok(definition),
                false => Err("another tool has its name".to_owned()),
            }
        });
        match taken {
            Ok(definition) => {
                bytes += size(&definition);
                definitions.push(definition);
            }
            Err(problem) => {
                left_out += 1;
                if left_out <= MAX_LINES {
                    let (name, problem) = (text::line(&name, 80), text::line(&problem, 300));
                    log::warn(format!("the tool `{name}` is left out: {problem}"));
                }
            }
        }
        if definitions.len() > MAX_TOOLS || bytes > MAX_BYTES {
            return Err(Error::too_large(format!(
                "the MCP server has more than {MAX_TOOLS} tools, or more than {MAX_BYTES} bytes of \
                 them: choose by `allow` in the settings"
            )));
        }
    }
    if left_out > 0 {
        log::warn(format!("{left_out} of {} tools are left out", tools.len()));
    }
    Ok(definitions)
}

fn size(definition: &Definition) -> usize {
    let more = [&definition.output_schema, &definition.meta].into_iter().flatten();
    definition.name.len()
        + definition.description.len()
        + definition.input_schema.to_string().len()
        + more.map(|value| value.to_string().len()).sum::<usize>()
}

/// The name by which the server knows a tool.
///
/// # Errors
/// That it cannot be one.
fn name(tool: &Value) -> Result<&str, String> {
    tool.get("name")
        .and_then(Value::as_str)
        .filter(|name| (1..=MAX_REMOTE_NAME).contains(&name.len()))
        .filter(|name| !name.chars().any(char::is_control))
        .ok_or_else(|| "its name cannot be one".to_owned())
}

/// A tool of the server, by the name that it has here.
pub(crate) fn find<'t>(tools: &'t [Value], local_name: &str) -> Option<(&'t str, &'t Value)> {
    tools.iter().find_map(|tool| {
        let name = name(tool).ok()?;
        (local(name, tool) == local_name).then_some((name, tool))
    })
}

/// The arguments of a tool, by the server's name of it, that go along as headers.
pub(crate) fn headers(tools: &[Value], name: &str) -> Vec<Header> {
    tools.iter().find(|tool| self::name(tool) == Ok(name)).map(headers_of).unwrap_or_default()
}

/// The arguments of a tool that go along as headers.
pub(crate) fn headers_of(tool: &Value) -> Vec<Header> {
    tool.get("inputSchema").and_then(|schema| header::of(schema).ok()).unwrap_or_default()
}

/// The name that a tool has here: its own where that is letters, digits, `-` and `_`, at most 64.
///
/// Any other becomes as much of its own as can be and [a mark](is_marked). So does that of a tool
/// some of whose arguments go along as headers: the mark says that a call has to ask for the list of
/// tools first.
fn local(name: &str, tool: &Value) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.len() <= MAX_NAME && name.bytes().all(plain) && headers_of(tool).is_empty() {
        return name.to_owned();
    }
    let kept = name.chars().map(|c| if c.is_ascii() && plain(c as u8) { c } else { '_' });
    let kept: String = kept.take(MAX_NAME - 9).collect();
    let digest = Sha256::digest(name.as_bytes());
    let mark: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{kept}_{mark}")
}

/// Whether a name of ours ends as those do that are not the server's own: in `_` and the first eight
/// hexadecimal digits of the SHA-256 digest of the server's name. So it is the same whatever other
/// tools there are.
pub(crate) fn is_marked(local_name: &str) -> bool {
    local_name.rsplit_once('_').is_some_and(|(_, mark)| {
        mark.len() == 8 && mark.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn definition(name: &str, tool: &Value) -> Result<Definition, String> {
    let given = tool.get("inputSchema").ok_or("it has no `inputSchema`")?;
    header::of(given)?;
    let support = tool.pointer("/execution/taskSupport").and_then(Value::as_str);
    if support == Some("required") {
        return Err("it can be called as a task alone".into());
    }
    let mut input_schema =
        schema::ready(given.clone()).map_err(|problem| format!("its `inputSchema`: {problem}"))?;
    let root = input_schema.as_object_mut().ok_or("its `inputSchema` is no object")?;
    // Arguments are an object whether the schema says so or not.
    if root.entry("type").or_insert_with(|| "object".into()) != "object" {
        return Err("its arguments are no object".into());
    }
    let output_schema = match tool.get("outputSchema") {
        None | Some(Value::Null) => None,
        Some(schema) => Some(
            schema::ready(schema.clone())
                .map_err(|problem| format!("its `outputSchema`: {problem}"))?,
        ),
    };
    let said = |pointer: &str| tool.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let titles = ["/title", "/annotations/title"].map(|at| text::line(said(at).trim(), MAX_TITLE));
    let title = titles.into_iter().find(|title| !title.is_empty());
    let mut description = text::lines(said("/description").trim(), MAX_DESCRIPTION);
    if description.trim().is_empty() {
        description = title.clone().unwrap_or_else(|| {
            format!("The tool `{name}` of an MCP server that does not describe it.")
        });
    }
    let mut meta = json!({ "effects": effects(tool) });
    if let Some(title) = title {
        meta["title"] = title.into();
    }
    Ok(Definition {
        name: local(name, tool),
        description,
        input_schema,
        output_schema,
        meta: Some(meta),
    })
}

/// What calling a tool may change, by its annotations. One that says nothing may do anything.
fn effects(tool: &Value) -> Value {
    let hint = |name: &str| tool.pointer(&format!("/annotations/{name}")).and_then(Value::as_bool);
    let read_only = hint("readOnlyHint").unwrap_or(false);
    json!({
        "read-only": read_only,
        "destructive": !read_only && hint("destructiveHint").unwrap_or(true),
        "idempotent": read_only || hint("idempotentHint").unwrap_or(false),
        "open-world": hint("openWorldHint").unwrap_or(true),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn tool(name: &str) -> Value {
        json!({ "name": name, "inputSchema": { "type": "object" } })
    }

    fn all(tools: &[Value]) -> Vec<Definition> {
        definitions(tools, |_| true).unwrap()
    }

    fn names(tools: &[Value]) -> Vec<String> {
        all(tools).into_iter().map(|definition| definition.name).collect()
    }

    #[test]
    fn a_definition_holds_what_the_server_says() {
        let input = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        let output = json!({ "type": "object", "required": ["degrees"] });
        let found = all(&[json!({
            "name": "get_weather",
            "title": "Weather",
            "description": "Get the\nweather.\u{7}",
            "inputSchema": input,
            "outputSchema": output,
            "annotations": { "readOnlyHint": true, "openWorldHint": false, "title": "Other" },
            "icons": [{ "src": "https://example.com/icon.png" }],
        })]);
        let effects = json!({
            "read-only": true, "destructive": false, "idempotent": true, "open-world": false,
        });
        assert_eq!(
            found,
            [Definition {
                name: "get_weather".into(),
                description: "Get the\nweather.".into(),
                input_schema: input,
                output_schema: Some(output),
                meta: Some(json!({ "effects": effects, "title": "Weather" })),
            }]
        );
    }

    #[test]
    fn a_tool_that_says_nothing_may_do_anything() {
        let found = all(&[json!({ "name": "x", "inputSchema": {} })]).remove(0);
        let effects = json!({
            "read-only": false, "destructive": true, "idempotent": false, "open-world": true,
        });
        assert_eq!(found.meta, Some(json!({ "effects": effects })));
        assert_eq!(found.input_schema, json!({ "type": "object" }));
        assert!(found.description.contains("does not describe it"));
        let titled = json!({ "name": "x", "inputSchema": {}, "annotations": { "title": "An X" } });
        assert_eq!(all(&[titled]).remove(0).description, "An X");
        let hints =
            json!({ "destructiveHint": false, "idempotentHint": true, "openWorldHint": "no" });
        let hinted = json!({ "annotations": hints });
        assert_eq!(
            super::effects(&hinted),
            json!({
                "read-only": false, "destructive": false, "idempotent": true, "open-world": true,
            })
        );
    }

    #[test]
    fn names_are_legal_the_same_each_time_and_lead_back() {
        let long = "x".repeat(65);
        let with_header = json!({
            "name": "where",
            "inputSchema": { "properties": { "r": { "type": "string", "x-mcp-header": "R" } } },
        });
        let tools = [
            tool("get-User_7"),
            tool("files.read"),
            tool("files/read"),
            tool("größe"),
            tool(&long),
            with_header,
            tool("looks_0123abcd"),
        ];
        let found = names(&tools);
        assert_eq!(
            found,
            [
                "get-User_7".to_owned(),
                "files_read_601e4eb6".to_owned(),
                "files_read_2b733164".to_owned(),
                "gr__e_d353a267".to_owned(),
                format!("{}_9537c5fd", "x".repeat(55)),
                "where_b48111c1".to_owned(),
                "looks_0123abcd".to_owned(),
            ]
        );
        let reversed: Vec<Value> = tools.iter().rev().cloned().collect();
        let mut again = names(&reversed);
        again.reverse();
        assert_eq!(again, found);
        for (local, tool) in found.iter().zip(&tools) {
            assert!(local.len() <= MAX_NAME);
            assert_eq!(find(&tools, local), Some((tool["name"].as_str().unwrap(), tool)));
        }
        assert_eq!(find(&tools, "files.read"), None);
        assert_eq!(
            found.iter().map(|name| is_marked(name)).collect::<Vec<_>>(),
            [false, true, true, true, true, true, true]
        );
    }

    #[test]
    fn what_cannot_be_taken_is_left_out_and_the_rest_is_not() {
        let schema = |schema: Value| json!({ "name": "bad", "inputSchema": schema });
        for bad in [
            Value::Null,
            json!({ "inputSchema": {} }),
            json!({ "name": 7, "inputSchema": {} }),
            tool(""),
            tool("a\nb"),
            tool(&"x".repeat(257)),
            json!({ "name": "bad" }),
            schema(Value::Null),
            schema(json!("object")),
            schema(json!(true)),
            schema(json!({ "type": "string" })),
            schema(json!({ "type": ["object", "null"] })),
            schema(json!({ "properties": { "a": { "$ref": "https://example.com" } } })),
            schema(json!({ "properties": { "a": { "type": "number", "x-mcp-header": "A" } } })),
            json!({ "name": "bad", "inputSchema": {}, "outputSchema": { "type": 1 } }),
            json!({ "name": "bad", "inputSchema": {}, "execution": { "taskSupport": "required" } }),
            tool("first"),
        ] {
            assert_eq!(
                names(&[tool("first"), bad.clone(), tool("last")]),
                ["first", "last"],
                "{bad}"
            );
        }
        assert_eq!(definitions(&[tool("a"), tool("b")], |name| name == "b").unwrap().len(), 1);
    }

    #[test]
    fn more_than_a_host_takes_is_refused() {
        let many: Vec<Value> = (0..=MAX_TOOLS).map(|n| tool(&format!("t{n}"))).collect();
        assert!(definitions(&many, |_| true).unwrap_err().message.contains("choose by `allow`"));
        assert_eq!(definitions(&many, |name| name != "t7").unwrap().len(), MAX_TOOLS);
        let text = "x".repeat(100_000);
        let large: Vec<Value> = (0..40)
            .map(|n| json!({ "name": format!("t{n}"), "inputSchema": { "description": text } }))
            .collect();
        assert_eq!(definitions(&large, |_| true).unwrap_err().code, "too-large");
    }
}
