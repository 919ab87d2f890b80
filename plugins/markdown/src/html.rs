//! Markdown as HTML.

use ampoule_sdk::prelude::*;
use pulldown_cmark::{CowStr, Event, Tag};

use crate::headings::headings;
use crate::{Extension, parse, read, start, usual};

/// Bytes of HTML.
const MAX_HTML_BYTES: usize = 30 << 20;

/// Schemes that links and pictures may have; others can run scripts or read local files.
const SCHEMES: &[&str] = &["http", "https", "mailto", "tel", "ftp", "xmpp", "sms"];

/// Pictures that may stand in the document itself.
const PICTURES: &[&str] =
    &["data:image/png", "data:image/gif", "data:image/jpeg", "data:image/webp"];

/// A document and how to write it.
#[data]
pub(crate) struct Writing {
    /// The Markdown.
    markdown: Content,
    /// What it may use beyond CommonMark. Default: what GitHub reads, and front matter.
    #[serde(default = "usual")]
    #[schemars(length(max = 16))]
    extensions: Vec<Extension>,
    /// What to do with HTML that stands in the document.
    #[serde(default)]
    raw_html: RawHtml,
    /// Keep links and pictures of any scheme, `javascript:` too. Without it they lead nowhere
    /// unless they are relative or `http`, `https`, `mailto`, `tel`, `ftp`, `xmpp`, `sms`.
    #[serde(default)]
    any_scheme: bool,
    /// Give headings the anchors that the tool `outline` names.
    #[serde(default)]
    heading_ids: bool,
}

/// What to do with HTML that stands in a document.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum RawHtml {
    /// Show it as text.
    #[default]
    Escape,
    /// Leave it out.
    Omit,
    /// Pass it on as it is: only for documents of one's own, since it may hold scripts.
    Keep,
}

/// A document as HTML.
#[data]
pub(crate) struct Written {
    /// The HTML: a fragment, without `<html>` and `<body>`.
    html: String,
}

/// Turn Markdown into HTML: CommonMark with tables, strikethrough, tasks, footnotes and alerts. The
/// result is safe to show unless `raw_html` is `keep` or `any_scheme` is set.
#[tool]
pub(crate) fn to_html(writing: Writing) -> Result<Written> {
    let Writing { markdown, extensions, raw_html, any_scheme, heading_ids } = writing;
    let text = read(markdown)?;
    let text = &text[start(&text, &extensions)..];
    let anchors = match heading_ids {
        true => headings(text, &extensions).into_iter().map(|heading| heading.anchor).collect(),
        false => Vec::new(),
    };
    let mut anchors = anchors.into_iter();
    let events = parse(text, &extensions).filter_map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) if raw_html != RawHtml::Keep => {
            (raw_html == RawHtml::Escape).then_some(Event::Text(html))
        }
        Event::Start(Tag::Heading { level, classes, attrs, .. }) => {
            let id = anchors.next().map(CowStr::from);
            Some(Event::Start(Tag::Heading { level, id, classes, attrs }))
        }
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let dest_url = if any_scheme || is_safe(&dest_url) { dest_url } else { "".into() };
            Some(Event::Start(Tag::Link { link_type, dest_url, title, id }))
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let safe = any_scheme || is_safe(&dest_url) || is_picture(&dest_url);
            let dest_url = if safe { dest_url } else { "".into() };
            Some(Event::Start(Tag::Image { link_type, dest_url, title, id }))
        }
        event => Some(event),
    });
    let mut html = Bounded(String::with_capacity(text.len() + text.len() / 4));
    pulldown_cmark::html::write_html_fmt(&mut html, events).map_err(|_| {
        Error::too_large(format!(
            "the HTML would have more than {MAX_HTML_BYTES} bytes: pass the document in parts, \
             split before headings"
        ))
    })?;
    Ok(Written { html: html.0 })
}

/// A text that does not grow beyond [`MAX_HTML_BYTES`].
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_HTML_BYTES {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Whether a link can neither run a script nor leave the web: it is relative or of a known scheme.
/// Browsers pass over white space and control characters, so this does too.
fn is_safe(url: &str) -> bool {
    let url = seen(url);
    match url.split_once([':', '/', '?', '#']) {
        Some((scheme, _)) if url[scheme.len()..].starts_with(':') => {
            SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
        }
        _ => true,
    }
}

fn is_picture(url: &str) -> bool {
    let url = seen(url);
    PICTURES
        .iter()
        .any(|known| url.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known)))
}

/// The beginning of a URL as a browser sees it.
fn seen(url: &str) -> String {
    url.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(64).collect()
}
