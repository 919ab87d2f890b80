//! Finds the main content of a page and what the page says about it.
//!
//! A port of Mozilla's Readability decides what the content is. A page without one is the error `not-found`, never a guess. Pages of our own in
//! `tests/corpus` hold what it must leave out and must keep.

use ampoule_sdk::prelude::*;
use shared_html::{TextMode, line, parse, parse_base};

/// Bytes of a page.
const MAX_BYTES: u64 = 8 << 20;

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
    base.as_deref().map(parse_base).transpose()?;
    let document = parse(&html.at_most(MAX_BYTES)?.text()?)?;
    let text_mode = match format {
        Format::Markdown => TextMode::Markdown,
        Format::Text | Format::Html => TextMode::Formatted,
    };
    let found = shared_html::article(document, base.as_deref(), text_mode)?;
    let content = match format {
        Format::Html => found.content,
        Format::Markdown | Format::Text => found.text_content,
    };
    let part = Output::part(content.trim(), max_chars, cursor.as_deref())?;
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
