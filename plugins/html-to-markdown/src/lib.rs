//! Turns HTML into Markdown or plain text: headings, lists, tables, links, pictures, code.
//!
//! dom_query parses as browsers do (html5ever) and writes the Markdown. A document that is nested
//! deeper than [`MAX_DEPTH`] is refused, because what walks it goes down by recursion. Parts nobody
//! sees (`head`, scripts, styles, templates) are left out.

use ampoule_sdk::prelude::*;
use dom_query::{Document, Matcher, NodeRef};
use url::Url;

/// Bytes of a document.
const MAX_BYTES: u64 = 16 << 20;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 256;

/// Elements whose content nobody sees.
const HIDDEN: &str = "head, script, style, noscript, template, svg, iframe, object";

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

    let document = parse(html)?;
    let title = document.select_single("head > title").text();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = document.base_uri().map(|own| own.trim().to_owned());
    document.select(HIDDEN).remove();
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
        let base = own.and_then(|own| base.join(&own).ok()).unwrap_or(base);
        make_absolute(&document, &base);
    }
    let text = match &selector {
        None => write(&document.root(), format),
        Some(selector) => selected(&document, selector)?
            .iter()
            .map(|part| write(part, format))
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n"),
    };
    let title = (!title.is_empty()).then_some(title);
    let part = part(&text, max_chars, cursor.as_deref())?;
    Ok(part.map(|text| Converted { title, text }))
}

export!(html_to_markdown);

fn parse_base(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| !url.cannot_be_a_base());
    url.ok_or_else(|| {
        Error::bad_arguments("`base` is no absolute URL, such as `https://example.com/page`")
    })
}

fn matcher(name: &str, text: &str) -> Result<Matcher> {
    Matcher::new(text)
        .map_err(|_| Error::bad_arguments(format!("`{name}` holds {text:?}, no CSS selector")))
}

/// A document that is neither too large nor nested too deep.
fn parse(html: Content) -> Result<Document> {
    let size = html.size()?;
    if size > MAX_BYTES {
        return Err(Error::too_large(format!(
            "the HTML has {size} bytes and may have {MAX_BYTES}: pass a part of it"
        )));
    }
    let document = Document::from(html.text()?);
    let mut open = vec![(document.root(), 0)];
    while let Some((node, depth)) = open.pop() {
        if depth > MAX_DEPTH {
            return Err(Error::too_large(format!(
                "elements are nested deeper than {MAX_DEPTH} levels: pass a part of the HTML"
            )));
        }
        open.extend(node.children_it(false).map(|child| (child, depth + 1)));
    }
    Ok(document)
}

/// Writes the targets of links and pictures as absolute URLs.
fn make_absolute(document: &Document, base: &Url) {
    for (selector, name) in [("a[href], area[href]", "href"), ("img[src]", "src")] {
        for node in document.select(selector).nodes() {
            let absolute = node.attr(name).and_then(|value| base.join(value.trim()).ok());
            if let Some(absolute) = absolute {
                node.set_attr(name, absolute.as_str());
            }
        }
    }
}

/// What is selected, nothing inside another.
fn selected<'a>(document: &'a Document, selector: &Matcher) -> Result<Vec<NodeRef<'a>>> {
    let mut parts = Vec::<NodeRef<'a>>::new();
    for &node in document.select_matcher(selector).nodes() {
        // In document order, so that what is inside a part follows it.
        let inside = parts
            .last()
            .is_some_and(|part| node.ancestors_it(None).any(|above| above.id == part.id));
        if !inside {
            parts.push(node);
        }
    }
    if parts.is_empty() {
        return Err(Error::not_found(
            "`selector` selects nothing that is seen; leave it out to convert everything",
        ));
    }
    Ok(parts)
}

/// Writes a part of the document, the part's own element included.
fn write(part: &NodeRef<'_>, format: Format) -> String {
    let text = match format {
        Format::Text => part.formatted_text(),
        Format::Markdown if part.is_element() => Document::fragment(part.html()).root().md(None),
        Format::Markdown => part.md(None),
    };
    text.trim().to_owned()
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
