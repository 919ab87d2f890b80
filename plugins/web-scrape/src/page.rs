//! A page, from bytes to what a reader wants of it.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use mime::Mime;
use shared_body::decode;
use shared_html::{
    Document, Matcher, NodeRef, TextMode, base_of, line, make_absolute, markdown, matcher,
    outermost, parse, remove_hidden, title,
};
use url::Url;

/// Links given of one page.
const MAX_LINKS: usize = 1000;

/// Entries of metadata given of one page.
const MAX_METADATA: usize = 200;

/// As what to give a page.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Format {
    /// Markdown of the whole page.
    #[default]
    Markdown,
    /// Plain text of the whole page.
    Text,
    /// HTML as the site sent it.
    Html,
    /// Markdown of the main content only, without navigation and the like, and metadata.
    Article,
    /// The links alone.
    Links,
    /// Title, description and what else the head says.
    Metadata,
}

/// A page.
#[data]
pub(crate) struct Page {
    /// The URL as it was asked for.
    url: String,
    /// The URL that answered, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    final_url: Option<String>,
    /// The status.
    status: u16,
    /// Its title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// The content in the format that was asked for; empty for `links` and `metadata`.
    content: String,
    /// Its links, absolute, each once, for the format `links`.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Vec<Link>>,
    /// What its head says, by name, for the formats `metadata` and `article`.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    /// Whether it was cut because it is too large.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    truncated: bool,
}

/// A link.
#[data]
pub(crate) struct Link {
    /// Where it leads.
    url: String,
    /// Its text.
    text: String,
}

impl Page {
    /// Whether something is missing at its end.
    pub(crate) const fn truncated(&self) -> bool {
        self.truncated
    }

    /// Cuts the content to the bytes that are left, and takes it from them.
    pub(crate) fn cut(&mut self, left: &mut usize) {
        if self.content.len() > *left {
            let end = self.content.floor_char_boundary(*left);
            self.content.truncate(end);
            self.truncated = true;
        }
        *left -= self.content.len();
    }
}

/// A page as it came.
pub(crate) struct Fetched {
    /// As it was asked for.
    pub(crate) url: String,
    /// The URL that answered.
    pub(crate) at: Url,
    /// The status.
    pub(crate) status: u16,
    /// The header `content-type`.
    pub(crate) media_type: String,
    /// The body.
    pub(crate) bytes: Vec<u8>,
    /// Whether the body was cut.
    pub(crate) truncated: bool,
}

/// Reads a CSS selector.
///
/// # Errors
/// `bad-arguments`: it is none, or the format takes none.
pub(crate) fn selector(text: Option<&str>, format: Format) -> Result<Option<Matcher>> {
    let Some(text) = text else { return Ok(None) };
    if matches!(format, Format::Article | Format::Metadata) {
        return Err(Error::bad_arguments(
            "`selector` does not go with the formats `article` and `metadata`",
        ));
    }
    matcher("selector", text).map(Some)
}

impl Fetched {
    /// Brings the page into a format. What is text and not HTML is given as it is.
    ///
    /// # Errors
    /// `unsupported` for what is no text, `not-found` where the selector selects nothing,
    /// `too-large` for elements nested too deep.
    pub(crate) fn read(self, format: Format, selector: Option<&Matcher>) -> Result<Page> {
        let Fetched { url, at, status, media_type, bytes, truncated } = self;
        let kind = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let is_html = match kind.as_str() {
            "" => looks_like_html(&bytes),
            kind => matches!(kind, "text/html" | "application/xhtml+xml"),
        };
        if !is_html && !is_text(&kind, &bytes) {
            let kind = if kind.is_empty() { "of no type" } else { &kind };
            return Err(Error::unsupported(format!("the page is {kind}, which is no text")));
        }
        let text = decode(&bytes, &media_type, is_html || kind.ends_with("xml"), truncated);
        let mut page = Page {
            final_url: Some(String::from(at.clone())).filter(|at| *at != url),
            url,
            status,
            title: None,
            content: String::new(),
            links: None,
            metadata: None,
            truncated,
        };
        if !is_html {
            page.content = text;
            return Ok(page);
        }
        drop(bytes);
        let document = parse(&text)?;
        page.title = title(&document);
        if format == Format::Html && selector.is_none() {
            page.content = text;
            return Ok(page);
        }
        drop(text);
        make_absolute(&document, &base_of(&document, at.clone()));
        match format {
            Format::Article => article(document, &at, &mut page),
            Format::Metadata => page.metadata = Some(metadata(&document)),
            _ => {
                if format != Format::Html {
                    remove_hidden(&document);
                }
                let parts = match selector {
                    Some(selector) => outermost(&document, selector)?,
                    None => vec![document.root()],
                };
                page.fill(format, &parts);
            }
        }
        Ok(page)
    }
}

impl Page {
    fn fill(&mut self, format: Format, parts: &[NodeRef<'_>]) {
        let joined = |part: fn(&NodeRef<'_>) -> String, between: &str| {
            let parts = parts.iter().map(part).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(between)
        };
        match format {
            Format::Html => self.content = joined(|part| part.html().to_string(), "\n"),
            Format::Text => self.content = joined(shared_html::text, "\n"),
            Format::Links => {
                let (links, more) = links(parts);
                self.links = Some(links);
                self.truncated |= more;
            }
            _ => self.content = joined(markdown, "\n\n"),
        }
    }
}

fn is_text(kind: &str, bytes: &[u8]) -> bool {
    match kind.parse::<Mime>() {
        Ok(kind) => shared_body::is_text(&kind) || shared_body::is_json(&kind),
        Err(_) => kind.is_empty() && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok(),
    }
}

fn looks_like_html(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).to_ascii_lowercase();
    let head = head.trim_start_matches('\u{feff}').trim_start();
    ["<!doctype html", "<html", "<head", "<body", "<!--"].iter().any(|tag| head.starts_with(tag))
}

/// The main content as Markdown; the whole page where none can be made out.
fn article(document: Document, at: &Url, page: &mut Page) {
    let mut found = metadata(&document);
    let whole = document.clone();
    match shared_html::article(document, Some(at.as_str()), TextMode::Markdown) {
        Ok(article) => {
            page.content = article.text_content.trim().to_owned();
            if let Some(title) = line(&article.title) {
                page.title = Some(title);
            }
            let more = [
                ("byline", article.byline),
                ("excerpt", article.excerpt),
                ("site_name", article.site_name),
                ("published_time", article.published_time),
                ("lang", article.lang),
            ];
            for (name, text) in more {
                if let Some(text) = text.as_deref().and_then(line) {
                    found.insert(name.into(), text.into());
                }
            }
        }
        Err(_) => {
            remove_hidden(&whole);
            page.content = markdown(&whole.root());
        }
    }
    page.metadata = Some(found);
}

/// Links to pages, each target once with the first text there is, and whether there are more.
fn links(parts: &[NodeRef<'_>]) -> (Vec<Link>, bool) {
    let mut links = Vec::<Link>::new();
    let mut places = BTreeMap::new();
    for part in parts {
        let inside = part.descendants_it().filter(NodeRef::is_element);
        for node in std::iter::once(*part).chain(inside) {
            let Some(url) = target(&node) else { continue };
            let text = line(&node.text()).unwrap_or_default();
            match places.get(&url) {
                Some(&place) => {
                    let link: &mut Link = &mut links[place];
                    if link.text.is_empty() {
                        link.text = text;
                    }
                }
                None if links.len() == MAX_LINKS => return (links, true),
                None => {
                    places.insert(url.clone(), links.len());
                    links.push(Link { url, text });
                }
            }
        }
    }
    (links, false)
}

/// Where an `<a>` or `<area>` leads, if to a page.
fn target(node: &NodeRef<'_>) -> Option<String> {
    if !node.has_name("a") && !node.has_name("area") {
        return None;
    }
    let url = Url::parse(&node.attr("href")?).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.into())
}

fn metadata(document: &Document) -> Map<String, Value> {
    let mut found = Map::new();
    if let Some(title) = title(document) {
        found.insert("title".into(), title.into());
    }
    for node in document.select("meta[content]").nodes() {
        if found.len() == MAX_METADATA {
            break;
        }
        let name = node.attr("name").or_else(|| node.attr("property"));
        let name = name.as_deref().and_then(line);
        let content = node.attr("content").as_deref().and_then(line);
        if let (Some(name), Some(content)) = (name, content) {
            found.entry(name).or_insert_with(|| content.into());
        }
    }
    for (name, selector, attribute) in
        [("canonical", "link[rel=canonical]", "href"), ("lang", "html[lang]", "lang")]
    {
        let value = document.select_single(selector).attr(attribute);
        if let Some(value) = value.as_deref().and_then(line) {
            found.entry(name).or_insert_with(|| value.into());
        }
    }
    found
}

#[cfg(test)]
mod tests;
