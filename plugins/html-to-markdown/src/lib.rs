//! Turns HTML into Markdown or plain text: headings, lists, tables, links, pictures, code.
//!
//! Parts nobody sees (`head`, scripts, styles, templates) are left out.

use ampoule_sdk::prelude::*;
use shared_html::{Matcher, NodeRef, base_of, make_absolute, matcher, outermost, parse_base};

/// Bytes of a document.
const MAX_BYTES: u64 = 16 << 20;

/// A document and how to write it.
#[data]
struct Conversion {
    /// The HTML: a page or a fragment, in UTF-8.
    html: Content,
    /// As what to give it.
    #[serde(default)]
    format: Format,
    /// The URL it comes from, against which links and pictures become absolute.
    #[schemars(length(min = 1, max = 8192))]
    base: Option<String>,
    /// A CSS selector: only what it selects is taken.
    #[schemars(length(min = 1, max = 500))]
    selector: Option<String>,
    /// CSS selectors of what to leave out, such as `nav` or `.advertisement`.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 500)))]
    remove: Vec<String>,
    /// Whether to keep where links lead; without it only their texts stay.
    #[serde(default = "yes")]
    links: bool,
    /// Whether to keep pictures.
    #[serde(default = "yes")]
    images: bool,
    /// How many characters to answer at most.
    #[serde(default = "default_chars")]
    #[schemars(range(min = 1, max = 4_000_000))]
    max_chars: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
}

/// As what to give a document.
#[data]
#[derive(Copy, Default, PartialEq)]
enum Format {
    /// CommonMark with tables.
    #[default]
    Markdown,
    /// Plain text, blocks on lines of their own.
    Text,
}

fn yes() -> bool {
    true
}

fn default_chars() -> usize {
    100_000
}

/// What became of a document.
#[data]
struct Converted {
    /// Its title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// The Markdown or text.
    text: String,
}

/// Turn HTML into Markdown (headings, lists, tables, links, pictures, code) or plain text, whole or
/// only what a CSS selector selects. A long result comes in parts: pass `next` as `cursor`. To get
/// only the main content of a page, without navigation and the like, use the plugin `article`.
#[tool]
fn html_to_markdown(conversion: Conversion) -> Result<Output<Converted>> {
    let Conversion { html, format, base, selector, remove, links, images, max_chars, cursor } =
        conversion;
    let base = base.as_deref().map(parse_base).transpose()?;
    let selector = selector.as_deref().map(|text| matcher("selector", text)).transpose()?;
    let remove =
        remove.iter().map(|text| matcher("remove", text)).collect::<Result<Vec<Matcher>>>()?;

    let document = shared_html::parse(&html.at_most(MAX_BYTES)?.text()?)?;
    let title = shared_html::title(&document);
    let base = base.map(|base| base_of(&document, base));
    shared_html::remove_hidden(&document);
    for matcher in &remove {
        document.select_matcher(matcher).remove();
    }
    if !images {
        document.select("img, picture").remove();
    }
    if !links {
        document.select("a[href]").remove_attr("href");
    }
    if let Some(base) = base {
        make_absolute(&document, &base);
    }
    let text = match &selector {
        None => write(&document.root(), format),
        Some(selector) => outermost(&document, selector)?
            .iter()
            .map(|part| write(part, format))
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n"),
    };
    let part = Output::part(&text, max_chars, cursor.as_deref())?;
    Ok(part.map(|text| Converted { title, text }))
}

export!(html_to_markdown);

/// Writes a part of the document.
fn write(part: &NodeRef<'_>, format: Format) -> String {
    match format {
        Format::Text => shared_html::text(part),
        Format::Markdown => shared_html::markdown(part),
    }
}
