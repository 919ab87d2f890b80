//! What a tool of the server answered, as an output of ours.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{Base64, Weight, blobs, log, serde_json};

use crate::text;

/// The most pieces of content that are taken.
const MAX_BLOCKS: usize = 256;

/// Bytes above which content is kept as a blob.
const INLINE: usize = 16 << 10;

/// How deep a structured answer may be nested; the host refuses deeper ones.
const MAX_DEPTH: usize = 90;

/// Up to how many bytes a text is read as JSON, to see whether it says the structured answer again.
const MAX_MIRROR: usize = 1 << 20;

/// Characters of an error that are shown.
const MAX_MESSAGE: usize = 4_000;

/// Bytes of a structured answer that go with an error.
const MAX_DETAILS: usize = 64 << 10;

/// The longest names, titles and addresses beside content, in characters.
const MAX_NAME: usize = 1_000;

/// Reads the result of `tools/call`.
///
/// | what the server sends | what it is here |
/// | --- | --- |
/// | `structuredContent` | the value |
/// | a text that says the same again | left out |
/// | nothing but one text | the value |
/// | text, image, audio | blocks of that kind |
/// | a link to a resource | a block `link` |
/// | an embedded resource | a block `file`, its address in `meta.uri` |
/// | anything else | a text that says so |
///
/// # Errors
/// `failed`, where the tool says that it did, with the server's words; `invalid-data` where the
/// result is none, `too-large`.
pub(crate) fn read(tool: &str, result: Value) -> Result<Output> {
    let Value::Object(mut result) = result else {
        return Err(Error::invalid_data("the MCP server answered no object to `tools/call`"));
    };
    let structured = result.remove("structuredContent");
    let content = match result.remove("content") {
        Some(Value::Array(content)) => content,
        None => Vec::new(),
        Some(_) => return Err(Error::invalid_data("`content` of the answer is not a list")),
    };
    if result.get("isError") == Some(&Value::Bool(true)) {
        return Err(failed(tool, structured, &content));
    }
    if let Some(value) = &structured
        && Weight::of(value).depth > MAX_DEPTH
    {
        return Err(Error::too_large(format!(
            "the structured answer is nested deeper than {MAX_DEPTH} levels"
        )));
    }
    let alone = content.len() == 1;
    let mut truncated = false;
    let mut blocks = Vec::new();
    for piece in content {
        if structured.as_ref().is_some_and(|value| mirrors(&piece, value)) {
            continue;
        }
        if blocks.len() == MAX_BLOCKS {
            log::warn(format!("`{tool}` answered more than {MAX_BLOCKS} pieces of content"));
            truncated = true;
            break;
        }
        let kind = said(&piece, "type").unwrap_or_default();
        blocks.push(match block(piece)? {
            Some(block) => block,
            None => {
                Block::text(format!("[Content of the kind `{kind}` that cannot be read here.]"))
            }
        });
    }
    let mut value = structured;
    if value.is_none()
        && alone
        && let [Block { kind, text, meta: None, .. }] = blocks.as_mut_slice()
        && kind == "text"
    {
        value = text.take().map(Value::String);
        blocks.clear();
    }
    Ok(Output { value, blocks, ..Output::blocks([]) }.with_truncated(truncated))
}

/// Whether a piece of content is the structured answer written as text, for clients that know none.
fn mirrors(piece: &Value, value: &Value) -> bool {
    piece.get("type") == Some(&"text".into())
        && piece
            .get("text")
            .and_then(Value::as_str)
            .filter(|text| text.len() <= MAX_MIRROR)
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .is_some_and(|said| said == *value)
}

fn failed(tool: &str, structured: Option<Value>, content: &[Value]) -> Error {
    let texts = content.iter().filter_map(|piece| piece.get("text").and_then(Value::as_str));
    let said = texts.take(MAX_BLOCKS).collect::<Vec<_>>().join("\n");
    let said = text::lines(said.trim(), MAX_MESSAGE);
    let error = match said.is_empty() {
        true => {
            Error::new("failed", format!("`{tool}` failed, and the MCP server does not say why"))
        }
        false => Error::new("failed", said),
    };
    let details = structured.filter(|value| {
        Weight::of(value).depth <= MAX_DEPTH && value.to_string().len() <= MAX_DETAILS
    });
    match details {
        Some(value) => error.with_data(json!({ "structured-content": value })),
        None => error,
    }
}

/// A piece of content as a block; `None` where it is of no known kind.
fn block(mut piece: Value) -> Result<Option<Block>> {
    let mut meta = annotations(&piece);
    let block = match piece.get("type").and_then(Value::as_str).unwrap_or_default() {
        "text" => match piece.get_mut("text").map(Value::take) {
            Some(Value::String(text)) => Block::text(text),
            _ => return Ok(None),
        },
        kind @ ("image" | "audio") => {
            let kind = kind.to_owned();
            let Some(Value::String(data)) = piece.get_mut("data").map(Value::take) else {
                return Ok(None);
            };
            bytes(&kind, media_type(&piece), data)?
        }
        "resource_link" => {
            let Some(uri) = said(&piece, "uri") else { return Ok(None) };
            for name in ["name", "title", "description"] {
                meta.extend(said(&piece, name).map(|said| (name.to_owned(), said.into())));
            }
            let size = piece.get("size").filter(|size| size.is_u64());
            meta.extend(size.map(|size| ("size".to_owned(), size.clone())));
            Block { media_type: media_type(&piece), ..Block::link(uri) }
        }
        "resource" => {
            let Some(mut resource) = piece.get_mut("resource").map(Value::take) else {
                return Ok(None);
            };
            meta.extend(said(&resource, "uri").map(|uri| ("uri".to_owned(), uri.into())));
            let media_type = media_type(&resource);
            match (resource.get_mut("text").map(Value::take), resource.get_mut("blob")) {
                (Some(Value::String(text)), _) => {
                    Block { kind: "file".into(), media_type, ..Block::text(text) }
                }
                (_, Some(Value::String(data))) => bytes("file", media_type, std::mem::take(data))?,
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let meta = (!meta.is_empty()).then_some(Value::Object(meta));
    Ok(Some(Block { meta, ..block }))
}

/// Bytes that came as base64, as a blob where they are many.
fn bytes(kind: &str, media_type: Option<String>, data: String) -> Result<Block> {
    let data = Content::Base64(Base64 { base64: data }).bytes().map_err(|error| {
        Error::invalid_data(format!("content of the answer: {}", error.message))
    })?;
    let media_type = media_type.unwrap_or_else(|| "application/octet-stream".into());
    match data.len() > INLINE {
        true => Ok(Block::blob(kind, &media_type, blobs::store(&media_type, &data)?)),
        false => Ok(Block::data(kind, &media_type, data)),
    }
}

/// A media type, where it is one.
fn media_type(piece: &Value) -> Option<String> {
    let said = piece.get("mimeType")?.as_str()?;
    (said.len() <= 200 && said.parse::<mime::Mime>().is_ok()).then(|| said.to_owned())
}

/// A short text that goes beside the content.
fn said(piece: &Value, name: &str) -> Option<String> {
    let said = text::line(piece.get(name)?.as_str()?, MAX_NAME);
    (!said.is_empty()).then_some(said)
}

/// Of the annotations those that MCP defines, where they are what it wants.
fn annotations(piece: &Value) -> Map<String, Value> {
    let found = piece.get("annotations").and_then(Value::as_object);
    let kept = found.into_iter().flatten().filter(|(name, value)| match name.as_str() {
        "audience" => value.as_array().is_some_and(|roles| {
            (1..=2).contains(&roles.len())
                && roles.iter().all(|role| role == "user" || role == "assistant")
        }),
        "priority" => value.as_f64().is_some_and(|priority| (0.0..=1.0).contains(&priority)),
        "lastModified" => value.as_str().is_some_and(|time| time.len() <= 40),
        _ => false,
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn output(result: Value) -> Output {
        read("t", result).unwrap()
    }

    fn blocks(content: Value) -> Vec<Block> {
        output(json!({ "content": content })).blocks
    }

    #[test]
    fn a_structured_answer_is_the_value_and_its_mirror_is_left_out() {
        let found = output(json!({
            "structuredContent": { "a": [1, 2.5] },
            "content": [
                { "type": "text", "text": "{\"a\": [1, 2.5]}" },
                { "type": "text", "text": "And more." },
            ],
        }));
        assert_eq!(found.value, Some(json!({ "a": [1, 2.5] })));
        assert_eq!(found.blocks, [Block::text("And more.")]);
        let null = output(json!({ "structuredContent": null, "content": [] }));
        assert_eq!((null.value, null.blocks), (Some(Value::Null), Vec::new()));
    }

    #[test]
    fn one_text_alone_is_the_value() {
        let one = json!({ "type": "text", "text": "hi" });
        let found = output(json!({ "content": [one], "isError": false }));
        assert_eq!((found.value, found.blocks), (Some("hi".into()), Vec::new()));
        let two = output(json!({ "content": [one, one] }));
        assert_eq!((two.value, two.blocks), (None, vec![Block::text("hi"); 2]));
        let noted = json!({ "type": "text", "text": "hi", "annotations": { "priority": 1 } });
        let noted = output(json!({ "content": [noted] }));
        assert_eq!(noted.blocks[0].meta, Some(json!({ "priority": 1 })));
        assert_eq!(output(json!({})), Output::blocks([]));
    }

    #[test]
    fn each_kind_of_content_has_its_block() {
        let found = blocks(json!([
            { "type": "image", "data": "AQID", "mimeType": "image/png",
              "annotations": { "audience": ["user"], "priority": 7, "other": 1 } },
            { "type": "audio", "data": "/w", "mimeType": "no type" },
            { "type": "resource_link", "uri": "file:///a.rs", "name": "a.rs", "title": "A\n",
              "mimeType": "text/x-rust", "size": 3 },
            { "type": "resource", "resource": { "uri": "x:1", "mimeType": "text/plain", "text": "t" } },
            { "type": "resource", "resource": { "uri": "x:2", "blob": "AA==" } },
        ]));
        let file = |block: Block, uri: &str| Block { meta: Some(json!({ "uri": uri })), ..block };
        let text = Block {
            kind: "file".into(),
            media_type: Some("text/plain".into()),
            ..Block::text("t")
        };
        assert_eq!(
            found,
            [
                Block {
                    meta: Some(json!({ "audience": ["user"] })),
                    ..Block::data("image", "image/png", [1, 2, 3])
                },
                Block::data("audio", "application/octet-stream", [255]),
                Block {
                    media_type: Some("text/x-rust".into()),
                    meta: Some(json!({ "name": "a.rs", "title": "A ", "size": 3 })),
                    ..Block::link("file:///a.rs")
                },
                file(text, "x:1"),
                file(Block::data("file", "application/octet-stream", [0]), "x:2"),
            ]
        );
    }

    #[test]
    fn what_cannot_be_taken_is_said() {
        for piece in [
            json!({ "type": "video" }),
            json!({ "type": "text", "text": 1 }),
            json!({ "type": "image" }),
            json!({ "type": "resource_link" }),
            json!({ "type": "resource" }),
            json!({ "type": "resource", "resource": { "uri": "x:1" } }),
            json!("text"),
            Value::Null,
        ] {
            let found = output(json!({ "content": [piece, { "type": "text", "text": "" }] }));
            let text = found.blocks[0].text.as_deref().unwrap();
            assert!(text.starts_with("[Content of the kind `") && text.len() < 80, "{text}");
        }
        let many = vec![json!({ "type": "text", "text": "" }); MAX_BLOCKS + 1];
        let many = output(json!({ "content": many }));
        assert!(many.truncated && many.blocks.len() == MAX_BLOCKS);
        let mut deep = json!(1);
        for _ in 0..MAX_DEPTH {
            deep = json!([deep]);
        }
        for (result, code) in [
            (json!([]), "invalid-data"),
            (json!({ "content": "text" }), "invalid-data"),
            (json!({ "content": [{ "type": "image", "data": "?" }] }), "invalid-data"),
            (json!({ "structuredContent": deep }), "too-large"),
        ] {
            assert_eq!(read("t", result.clone()).unwrap_err().code, code, "{result}");
        }
    }

    #[test]
    fn a_tool_that_failed_is_an_error_in_its_words() {
        let error = |result| read("t", result).unwrap_err();
        let said = error(json!({
            "isError": true,
            "content": [
                { "type": "text", "text": "no such\u{1b} city" },
                { "type": "image", "data": "" },
                { "type": "text", "text": "try another" },
            ],
            "structuredContent": { "code": 7 },
        }));
        assert_eq!(
            (said.code.as_str(), said.message.as_str()),
            ("failed", "no such city\ntry another")
        );
        assert_eq!(*said.data.unwrap(), json!({ "structured-content": { "code": 7 } }));
        let long = error(json!({
            "isError": true,
            "content": [{ "type": "text", "text": "x".repeat(100_000) }],
            "structuredContent": "x".repeat(100_000),
        }));
        assert!(long.message.len() < 5_000 && long.data.is_none());
        assert!(error(json!({ "isError": true })).message.contains("does not say why"));
    }
}
