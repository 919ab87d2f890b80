//! What a tool answers beside a plain value.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::ampoule::plugin::types;
use crate::{BlobRef, Error, Result};

/// A value with content beside it, or only a part of what there is.
///
/// A tool that has just a value returns the value itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Output<T = Value> {
    /// The value that the tool's output schema describes; `None` where the blocks are all.
    pub value: Option<T>,
    /// Content beside the value, in order.
    pub blocks: Vec<Block>,
    /// Whether something was left out because it was too large.
    pub truncated: bool,
    /// Where to go on: passed as the argument `cursor`, it continues after this answer.
    pub next: Option<String>,
    /// An object with anything else.
    pub meta: Option<Value>,
}

impl<T> Output<T> {
    /// An output that is just a value.
    pub fn new(value: T) -> Output<T> {
        Output { value: Some(value), blocks: Vec::new(), truncated: false, next: None, meta: None }
    }

    /// An output of blocks, without a value.
    pub fn blocks(blocks: impl IntoIterator<Item = Block>) -> Output<T> {
        Output {
            value: None,
            blocks: blocks.into_iter().collect(),
            truncated: false,
            next: None,
            meta: None,
        }
    }

    /// The same with one more block.
    #[must_use]
    pub fn with_block(mut self, block: Block) -> Output<T> {
        self.blocks.push(block);
        self
    }

    /// The same, saying that something was left out because it was too large.
    #[must_use]
    pub fn with_truncated(mut self, truncated: bool) -> Output<T> {
        self.truncated = truncated;
        self
    }

    /// The same with the `cursor` that continues after it; `None` at the end.
    #[must_use]
    pub fn with_next(mut self, cursor: Option<String>) -> Output<T> {
        self.next = cursor;
        self
    }

    /// The same with anything else; `meta` should be an object.
    #[must_use]
    pub fn with_meta(mut self, meta: Value) -> Output<T> {
        self.meta = Some(meta);
        self
    }
}

impl<T: Serialize> Output<T> {
    pub(crate) fn encode(self) -> Result<types::Output> {
        Ok(types::Output {
            value: self.value.as_ref().map(encode).transpose()?,
            blocks: self.blocks.into_iter().map(types::Block::from).collect(),
            truncated: self.truncated,
            next: self.next,
            meta: self.meta.map(|meta| meta.to_string()),
        })
    }
}

impl<T: DeserializeOwned> Output<T> {
    pub(crate) fn decode(output: types::Output) -> Result<Output<T>> {
        Ok(Output {
            value: output.value.map(|value| serde_json::from_str(&value)).transpose()?,
            blocks: output.blocks.into_iter().map(Block::try_from).collect::<Result<_>>()?,
            truncated: output.truncated,
            next: output.next,
            meta: output.meta.map(|meta| serde_json::from_str(&meta)).transpose()?,
        })
    }
}

impl<T> Output<Vec<T>> {
    /// The part of a list that comes after `cursor`, at most `limit` entries of it, with the
    /// cursor of the next part. The list is made anew for each part.
    ///
    /// ```
    /// use ampoule_sdk::Output;
    ///
    /// let first = Output::page(["a", "b", "c"], 2, None)?;
    /// assert_eq!((first.value.as_deref(), first.truncated), (Some(&["a", "b"][..]), true));
    /// let rest = Output::page(["a", "b", "c"], 2, first.next.as_deref())?;
    /// assert_eq!((rest.value.as_deref(), rest.next), (Some(&["c"][..]), None));
    /// # Ok::<(), ampoule_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// `bad-arguments` where the cursor is not one of an earlier answer.
    pub fn page(
        list: impl IntoIterator<Item = T>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Output<Vec<T>>> {
        let offset = from_cursor(cursor)?.unwrap_or(0);
        let mut rest = list.into_iter().skip(offset);
        let page: Vec<T> = rest.by_ref().take(limit).collect();
        let next = rest.next().map(|_| offset.saturating_add(limit).to_string());
        Ok(Output::new(page).with_truncated(next.is_some()).with_next(next))
    }
}

impl Output<String> {
    /// The part of a text that comes after `cursor`, at most `max_chars` characters of it, with the
    /// cursor of the next part. The text is made anew for each part.
    ///
    /// ```
    /// use ampoule_sdk::Output;
    ///
    /// let first = Output::part("größer", 3, None)?;
    /// assert_eq!((first.value.as_deref(), first.truncated), (Some("grö"), true));
    /// let rest = Output::part("größer", 9, first.next.as_deref())?;
    /// assert_eq!((rest.value.as_deref(), rest.next), (Some("ßer"), None));
    /// # Ok::<(), ampoule_sdk::Error>(())
    /// ```
    ///
    /// # Errors
    /// `bad-arguments` where the cursor is not one of an earlier answer.
    pub fn part(text: &str, max_chars: usize, cursor: Option<&str>) -> Result<Output<String>> {
        let from = from_cursor(cursor)?.unwrap_or(0);
        let rest = text.get(from..).ok_or_else(foreign_cursor)?;
        let end = rest.char_indices().nth(max_chars).map(|(at, _)| at);
        let next = end.map(|end| (from + end).to_string());
        let part = rest[..end.unwrap_or(rest.len())].to_owned();
        Ok(Output::new(part).with_truncated(next.is_some()).with_next(next))
    }
}

/// Reads the argument `cursor` of a tool that pages by itself: what the tool has written into
/// `next`, or nothing at the first call. [`Output::page`] and [`Output::part`] do it for lists and
/// texts.
///
/// ```
/// let offset: u64 = ampoule_sdk::from_cursor(Some("20"))?.unwrap_or(0);
/// assert_eq!(offset, 20);
/// assert!(ampoule_sdk::from_cursor::<u64>(Some("x")).is_err());
/// # Ok::<(), ampoule_sdk::Error>(())
/// ```
///
/// # Errors
/// `bad-arguments` where the cursor is not one of an earlier answer.
pub fn from_cursor<P: FromStr>(cursor: Option<&str>) -> Result<Option<P>> {
    cursor.map(|cursor| cursor.parse().map_err(|_| foreign_cursor())).transpose()
}

fn foreign_cursor() -> Error {
    Error::bad_arguments("`cursor` is not the `next` of an earlier answer of this tool")
}

impl<T> Output<T> {
    /// The same with another value made of this one.
    #[must_use]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Output<U> {
        Output {
            value: self.value.map(change),
            blocks: self.blocks,
            truncated: self.truncated,
            next: self.next,
            meta: self.meta,
        }
    }
}

/// The JSON of a value this plugin made. That it cannot be written is the plugin's fault.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal(format!("the answer cannot be written as JSON: {error}")))
}

/// One piece of content for a person or a model.
///
/// `kind` is from an open list: `text`, `image`, `audio`, `video`, `file`, `link`, `table`, `svg`,
/// `html`. Exactly one of `text`, `data`, `blob` and `uri` should be set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// What it is.
    pub kind: String,
    /// Its media type (RFC 6838), for example `image/png`.
    pub media_type: Option<String>,
    /// The content as text.
    pub text: Option<String>,
    /// The content as bytes; for more than some kilobytes use `blob`.
    pub data: Option<Vec<u8>>,
    /// The content as a blob.
    pub blob: Option<BlobRef>,
    /// Where the content is to be found.
    pub uri: Option<String>,
    /// An object with anything else (title, alt text, audience, priority …).
    pub meta: Option<Value>,
}

impl Block {
    /// A text.
    pub fn text(text: impl Into<String>) -> Block {
        Block { kind: "text".into(), text: Some(text.into()), ..Block::default() }
    }

    /// Bytes of a kind and media type.
    pub fn data(kind: &str, media_type: &str, data: impl Into<Vec<u8>>) -> Block {
        Block {
            kind: kind.into(),
            media_type: Some(media_type.into()),
            data: Some(data.into()),
            ..Block::default()
        }
    }

    /// A blob of a kind and media type.
    pub fn blob(kind: &str, media_type: &str, blob: BlobRef) -> Block {
        Block {
            kind: kind.into(),
            media_type: Some(media_type.into()),
            blob: Some(blob),
            ..Block::default()
        }
    }

    /// A link.
    pub fn link(uri: impl Into<String>) -> Block {
        Block { kind: "link".into(), uri: Some(uri.into()), ..Block::default() }
    }
}

impl From<Block> for types::Block {
    fn from(block: Block) -> types::Block {
        types::Block {
            kind: block.kind,
            media_type: block.media_type,
            text: block.text,
            data: block.data,
            blob: block.blob.map(|blob| blob.id),
            uri: block.uri,
            meta: block.meta.map(|meta| meta.to_string()),
        }
    }
}

impl TryFrom<types::Block> for Block {
    type Error = Error;

    fn try_from(block: types::Block) -> Result<Block> {
        Ok(Block {
            kind: block.kind,
            media_type: block.media_type,
            text: block.text,
            data: block.data,
            blob: block.blob.map(|id| BlobRef { id }),
            uri: block.uri,
            meta: block.meta.map(|meta| serde_json::from_str(&meta)).transpose()?,
        })
    }
}
