//! Blocks as MCP content.

use ampoule_contract::Block;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{
    Annotations, AudioContent, ContentBlock, EmbeddedResource, ImageContent, JsonObject,
    MetaObject, Resource, ResourceContents, TextContent,
};
use serde_json::Value;

/// What a block without a media type holds.
const UNKNOWN: &str = "application/octet-stream";

/// A block as MCP content; nothing, where the block holds nothing.
///
/// | block | content |
/// | --- | --- |
/// | with a `uri` | resource link |
/// | with `text`, but a `file` | text |
/// | with `data` of kind `image` or `audio` | image, audio |
/// | any other with `data`, a `file` with `text` | embedded resource, under `uri` |
/// | with a `blob` that could not be read | a text that says so |
///
/// What MCP has no place for (kind, media type, meta) is `ampoule/block` in the content's `_meta`.
pub(crate) fn content(block: Block, uri: impl FnOnce() -> String) -> Option<ContentBlock> {
    let (annotations, meta) = (annotations(&block), meta(&block));
    let Block { kind, media_type, text, data, blob, uri: link, meta: own } = block;
    let embed = |resource| {
        let mut embedded = EmbeddedResource::new(resource);
        (embedded.annotations, embedded.meta) = (annotations.clone(), Some(meta.clone()));
        ContentBlock::Resource(embedded)
    };
    Some(match (link, text, data, blob) {
        (Some(link), ..) => {
            let said = |key: &str| Some(own.as_ref()?.get(key)?.as_str()?.to_owned());
            let name = said("name").or_else(|| said("title")).unwrap_or_else(|| link.clone());
            let mut resource = Resource::new(link, name);
            (resource.title, resource.description) = (said("title"), said("description"));
            resource.mime_type = media_type;
            (resource.annotations, resource.meta) = (annotations, Some(meta));
            ContentBlock::ResourceLink(resource)
        }
        (_, Some(text), ..) if kind == "file" => {
            let mime_type = media_type.or_else(|| Some("text/plain".into()));
            let uri = uri();
            embed(ResourceContents::TextResourceContents { uri, mime_type, text, meta: None })
        }
        (_, Some(text), ..) => {
            let mut content = TextContent::new(text);
            content.annotations = annotations;
            content.meta =
                (kind != "text" || media_type.is_some() || own.is_some()).then_some(meta);
            ContentBlock::Text(content)
        }
        (_, _, Some(data), _) => {
            let data = STANDARD.encode(data);
            let media_type = media_type.unwrap_or_else(|| UNKNOWN.to_owned());
            match kind.as_str() {
                "image" => {
                    let mut image = ImageContent::new(data, media_type);
                    (image.annotations, image.meta) = (annotations, Some(meta));
                    ContentBlock::Image(image)
                }
                "audio" => {
                    let mut audio = AudioContent::new(data, media_type);
                    (audio.annotations, audio.meta) = (annotations, Some(meta));
                    ContentBlock::Audio(audio)
                }
                _ => embed(ResourceContents::BlobResourceContents {
                    uri: uri(),
                    mime_type: Some(media_type),
                    blob: data,
                    meta: None,
                }),
            }
        }
        (_, _, _, Some(_)) => {
            let media_type = media_type.unwrap_or_else(|| UNKNOWN.to_owned());
            ContentBlock::text(format!("[{kind}, {media_type}: the content was not kept]"))
        }
        (None, None, None, None) => return None,
    })
}

/// The keys of MCP's annotations in a block's meta, where they are what MCP wants.
fn annotations(block: &Block) -> Option<Annotations> {
    let mut found: Annotations = serde_json::from_value(block.meta.clone()?).ok()?;
    found.priority = found.priority.filter(|priority| (0.0..=1.0).contains(priority));
    (found != Annotations::default()).then_some(found)
}

fn meta(block: &Block) -> MetaObject {
    let mut said = JsonObject::from_iter([("kind".to_owned(), block.kind.as_str().into())]);
    said.extend(block.media_type.as_deref().map(|media| ("media-type".to_owned(), media.into())));
    said.extend(block.meta.clone().map(|meta| ("meta".to_owned(), meta)));
    JsonObject::from_iter([("ampoule/block".to_owned(), Value::Object(said))]).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    fn check(block: Value, expected: Value) {
        let block: Block = serde_json::from_value(block).unwrap();
        let mut content =
            serde_json::to_value(content(block.clone(), || "ampoule:c/0".into())).unwrap();
        if let Some(content) = content.as_object_mut() {
            content.remove("_meta");
        }
        assert_eq!(content, expected, "{block:?}");
    }

    #[test]
    fn each_block_has_its_content() {
        check(json!({"kind": "text", "text": "hi"}), json!({"type": "text", "text": "hi"}));
        check(
            json!({"kind": "table", "media-type": "text/csv", "text": "a,b"}),
            json!({"type": "text", "text": "a,b"}),
        );
        check(
            json!({"kind": "image", "media-type": "image/png", "data": [1, 2, 3]}),
            json!({"type": "image", "mimeType": "image/png", "data": "AQID"}),
        );
        check(
            json!({"kind": "audio", "media-type": "audio/wav", "data": [255]}),
            json!({"type": "audio", "mimeType": "audio/wav", "data": "/w=="}),
        );
        check(
            json!({"kind": "link", "uri": "https://example.com/", "meta": {"title": "Example"}}),
            json!({
                "type": "resource_link",
                "uri": "https://example.com/",
                "name": "Example",
                "title": "Example",
            }),
        );
        let resource = json!({"uri": "ampoule:c/0", "mimeType": "video/mp4", "blob": "AA=="});
        check(
            json!({"kind": "video", "media-type": "video/mp4", "data": [0]}),
            json!({"type": "resource", "resource": resource}),
        );
        let resource = json!({"uri": "ampoule:c/0", "mimeType": "text/plain", "text": "x"});
        check(
            json!({"kind": "file", "text": "x"}),
            json!({"type": "resource", "resource": resource}),
        );
        check(
            json!({"kind": "file", "blob": "id"}),
            json!({
                "type": "text",
                "text": "[file, application/octet-stream: the content was not kept]",
            }),
        );
        check(json!({"kind": "text"}), Value::Null);
    }

    #[test]
    fn nothing_a_block_says_is_lost() {
        let meta = json!({"audience": ["user"], "priority": 0.5, "rows": 3});
        let block = json!({"kind": "table", "media-type": "text/csv", "text": "", "meta": meta});
        let content = content(serde_json::from_value(block).unwrap(), String::new).unwrap();
        assert_eq!(
            serde_json::to_value(content).unwrap(),
            json!({
                "type": "text",
                "text": "",
                "annotations": {"audience": ["user"], "priority": 0.5},
                "_meta": {
                    "ampoule/block": {"kind": "table", "media-type": "text/csv", "meta": meta},
                },
            })
        );
        let wrong = json!({"kind": "text", "text": "", "meta": {"audience": 3, "priority": 7}});
        let content = super::content(serde_json::from_value(wrong).unwrap(), String::new);
        let ContentBlock::Text(text) = content.unwrap() else { panic!("not a text") };
        assert_eq!(text.annotations, None);
    }
}
