//! What the model is shown of a tool's result.

use ampoule_contract::{Block, Output, Part, ToolError};
use serde_json::{Map, Value, json};

/// The part that answers the call `id` of the tool the model calls `name`.
///
/// Its value is an object: `{"value": …}`, with `blocks`, `truncated`, `next` and `meta` where the
/// tool gave them, or `{"error": {"code": …, "message": …}}`, with `retryable`, `retry-after-ms` and
/// `data`; never an error's `log`. Bytes of a block are not shown, only how many there are. Where it
/// is longer than `max_bytes` as JSON, the part is instead a text: the beginning of that JSON, with
/// a note that it was cut.
pub(crate) fn part(
    id: &str,
    name: &str,
    result: &Result<Output, ToolError>,
    max_bytes: usize,
) -> Part {
    let value = match result {
        Ok(output) => shown(output),
        Err(error) => json!({ "error": error }),
    };
    let meta = result.is_err().then(|| json!({ "error": true }));
    let part = Part {
        kind: "tool-result".into(),
        id: Some(id.to_owned()),
        name: Some(name.to_owned()),
        meta,
        ..Part::default()
    };
    let text = value.to_string();
    if text.len() <= max_bytes {
        return Part { value: Some(value), ..part };
    }
    let beginning = &text[..text.floor_char_boundary(max_bytes)];
    let note = format!(
        "{beginning}\n[Cut: {} of {} bytes are shown. Ask for less, or for a part at a time.]",
        beginning.len(),
        text.len()
    );
    Part { text: Some(note), ..part }
}

fn shown(output: &Output) -> Value {
    let Output { value, blocks, truncated, next, meta } = output;
    let mut shown = Map::new();
    let mut set = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    set("value", value.clone().unwrap_or_default());
    if !blocks.is_empty() {
        set("blocks", blocks.iter().map(block).collect());
    }
    if *truncated {
        set("truncated", true.into());
    }
    if let Some(next) = next {
        set("next", next.as_str().into());
    }
    if let Some(meta) = meta {
        set("meta", meta.clone());
    }
    Value::Object(shown)
}

fn block(block: &Block) -> Value {
    let Some(data) = &block.data else { return json!(block) };
    let mut shown = json!(Block { data: None, ..block.clone() });
    shown["bytes"] = data.len().into();
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn values_come_with_what_was_said_beside_them() {
        let picture = Block {
            kind: "image".into(),
            media_type: Some("image/png".into()),
            data: Some(vec![0; 1000]),
            ..Block::default()
        };
        let output = Output {
            blocks: vec![picture],
            truncated: true,
            next: Some("c".into()),
            ..Output::value(json!({"n": 1}))
        };
        let part = part("1", "x", &Ok(output), 1000);
        assert_eq!(part.meta, None);
        let block = json!({"kind": "image", "media-type": "image/png", "bytes": 1000});
        assert_eq!(
            part.value.unwrap(),
            json!({"value": {"n": 1}, "blocks": [block], "truncated": true, "next": "c"})
        );
        let silent = super::part("1", "x", &Ok(Output::default()), 1000);
        assert_eq!(silent.value.unwrap(), json!({"value": null}));
    }

    #[test]
    fn errors_come_without_the_log() {
        let error = ToolError {
            log: Some("password: hunter2".into()),
            data: Some(json!({"at": 3})),
            ..ToolError::new("invalid-data", "bad row")
        };
        let part = part("1", "x", &Err(error), 1000);
        let expected =
            json!({"error": {"code": "invalid-data", "message": "bad row", "data": {"at": 3}}});
        assert_eq!(part.value.unwrap(), expected);
        assert_eq!(part.meta.unwrap(), json!({"error": true}));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_with_a_note() {
        let output = Output::value(json!("é".repeat(500)));
        let part = part("1", "x", &Ok(output), 300);
        assert_eq!(part.value, None);
        let text = part.text.unwrap();
        assert!(text.contains("of 1012 bytes are shown"), "{text}");
        assert!(text.len() < 400);
    }
}
