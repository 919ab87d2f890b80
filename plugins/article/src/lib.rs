//! Finds the main content of a page and what the page says about it.
//!
//! dom_smoothie, a port of Mozilla's Readability, decides what the content is; the parser is that
//! of dom_query. A page without one is the error `not-found`, never a guess. Pages of our own in
//! `tests/corpus` hold what it must leave out and must keep.

use ampoule_sdk::prelude::*;
use dom_query::Document;
use dom_smoothie::{Config, Readability, ReadabilityError, TextMode};
use url::Url;

/// Bytes of a page.
const MAX_BYTES: u64 = 8 << 20;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 256;

/// Elements that a page may have.
const MAX_ELEMENTS: usize = 100_000;

/// Characters of a content that does not look like one.
const MIN_CHARS: usize = 200;

/// Bytes of a title and the like.
const MAX_LINE_BYTES: usize = 8000;

/// A page and how to give its content.
#[data]
struct Reading {
    /// The HTML of the whole page, in UTF-8.
    html: Content,
    /// The URL it comes from, against which links become absolute.
    #[schemars(length(min = 1, max = 8192))]
    base: Option<String>,
    /// As what to give the content.
    #[serde(default)]
    format: Format,
    /// How many characters of the content to answer at most.
    #[serde(default = "default_chars")]
    #[schemars(range(min = 1, max = 4_000_000))]
    max_chars: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
}

/// As what to give the content.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Format {
    /// CommonMark with tables.
    #[default]
    Markdown,
    /// Plain text, blocks on lines of their own.
    Text,
    /// HTML without scripts and styles; it is not made safe to show.
    Html,
}

fn default_chars() -> usize {
    100_000
}

/// The main content of a page; what the page does not say is absent.
#[data]
struct Found {
    /// The title.
    title: String,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    byline: Option<String>,
    /// When it was published, as the page writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
    /// When it was changed, as the page writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    /// What it is about, or its first paragraph.
    #[serde(skip_serializing_if = "Option::is_none")]
    excerpt: Option<String>,
    /// The name of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// The language, such as `en-GB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    /// A picture that stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// The content, in the format asked for.
    content: String,
}

/// Find the main content of an HTML page (an article, a post, a chapter) without navigation,
/// advertisements and the like, with its title, byline, date, excerpt and language. Where a page has
/// none (a list, a form) the error is `not-found`: then convert it whole with `html-to-markdown`.
#[tool]
fn article(reading: Reading) -> Result<Output<Found>> {
    let Reading { html, base, format, max_chars, cursor } = reading;
    if let Some(base) = &base
        && Url::parse(base).ok().is_none_or(|url| url.cannot_be_a_base())
    {
        return Err(Error::bad_arguments(
            "`base` is no absolute URL, such as `https://example.com/page`",
        ));
    }
    let document = parse(html)?;
    let config = Config {
        max_elements_to_parse: MAX_ELEMENTS,
        text_mode: match format {
            Format::Markdown => TextMode::Markdown,
            Format::Text | Format::Html => TextMode::Formatted,
        },
        ..Config::default()
    };
    let none = || {
        Error::not_found(
            "no main content can be made out on this page; convert it whole with \
             `html-to-markdown`",
        )
    };
    let read = Readability::with_document(document, base.as_deref(), Some(config))
        .and_then(|mut readability| Ok((readability.is_probably_readable(), readability.parse()?)));
    let (likely, found) = read.map_err(|error| match error {
        ReadabilityError::TooManyElements(count, _) => Error::too_large(format!(
            "the page has {count} elements and may have {MAX_ELEMENTS}: pass a part of it"
        )),
        _ => none(),
    })?;
    // With nothing better it takes what there is, be it a menu.
    if !likely && found.length < MIN_CHARS {
        return Err(none());
    }
    let content = match format {
        Format::Html => found.content,
        Format::Markdown | Format::Text => found.text_content,
    };
    let part = part(content.trim(), max_chars, cursor.as_deref())?;
    Ok(part.map(|content| Found {
        title: line(&found.title).unwrap_or_default(),
        byline: found.byline.as_deref().and_then(line),
        published: found.published_time.as_deref().and_then(line),
        modified: found.modified_time.as_deref().and_then(line),
        excerpt: found.excerpt.as_deref().and_then(line),
        site: found.site_name.as_deref().and_then(line),
        language: found.lang.as_deref().and_then(line),
        image: found.image.as_deref().and_then(line),
        content,
    }))
}

export!(article);

/// A document that is neither too large nor nested too deep.
fn parse(html: Content) -> Result<Document> {
    let size = html.size()?;
    if size > MAX_BYTES {
        return Err(Error::too_large(format!(
            "the page has {size} bytes and may have {MAX_BYTES}: pass a part of it"
        )));
    }
    let document = Document::from(html.text()?);
    let mut open = vec![(document.root(), 0)];
    while let Some((node, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(Error::too_large(format!(
                "elements are nested deeper than {MAX_DEPTH} levels: pass a part of the page"
            )));
        }
        open.extend(node.children_it(false).map(|child| (child, depth + 1)));
    }
    Ok(document)
}

/// A text on one line, cut where it is long; `None` where nothing is left.
fn line(text: &str) -> Option<String> {
    let text = &text[..text.floor_char_boundary(MAX_LINE_BYTES)];
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

/// The part of a text after `cursor`, at most so many characters of it.
fn part(text: &str, max_chars: usize, cursor: Option<&str>) -> Result<Output<String>> {
    let from = match cursor {
        None => 0,
        Some(cursor) => {
            cursor.parse().ok().filter(|&from| text.is_char_boundary(from)).ok_or_else(|| {
                Error::bad_arguments("`cursor` is not the `next` of an earlier answer of this tool")
            })?
        }
    };
    let rest = &text[from..];
    let end = rest.char_indices().nth(max_chars).map(|(at, _)| at);
    let next = end.map(|end| (from + end).to_string());
    let part = rest[..end.unwrap_or(rest.len())].to_owned();
    Ok(Output::new(part).with_truncated(next.is_some()).with_next(next))
}
