//! Headings and links of a document.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use pulldown_cmark::{Event, LinkType, Tag, TagEnd};

use crate::{Extension, parse, read, start, usual};

/// Characters of a heading or of a link's text; what is beyond is cut.
const MAX_CHARS: usize = 1000;

/// A document and which part of the list.
#[data]
pub(crate) struct Listing {
    /// The Markdown.
    markdown: Content,
    /// How many to list at most.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 10_000))]
    limit: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
}

fn default_limit() -> usize {
    500
}

/// A heading.
#[data]
pub(crate) struct Heading {
    /// From 1 to 6.
    level: u8,
    /// Its text, without marks.
    text: String,
    /// The anchor GitHub gives it: `#anchor` leads there.
    pub(crate) anchor: String,
    /// The line it stands on, from 1.
    line: usize,
}

/// What a link is.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Kind {
    /// A link with a text.
    Link,
    /// A picture.
    Image,
    /// A URL or address in angle brackets.
    Autolink,
}

/// A link or a picture.
#[data]
pub(crate) struct Link {
    /// What it is.
    kind: Kind,
    /// Where it leads, as it stands in the document.
    url: String,
    /// Its text, or what is shown in place of the picture.
    text: String,
    /// Its title, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// The line it stands on, from 1.
    line: usize,
}

/// List the headings of a Markdown document with level, text, anchor and line. What stands in code
/// is no heading.
#[tool]
pub(crate) fn outline(listing: Listing) -> Result<Output<Vec<Heading>>> {
    let Listing { markdown, limit, cursor } = listing;
    let text = read(markdown)?;
    let start = start(&text, &usual());
    let before = text[..start].lines().count();
    let headings = headings(&text[start..], &usual()).into_iter();
    let headings = headings.map(|heading| Heading { line: heading.line + before, ..heading });
    Output::page(headings, limit, cursor.as_deref())
}

/// List the links and pictures of a Markdown document in their order, references resolved. URLs are
/// given as they stand there, unjudged.
#[tool]
pub(crate) fn links(listing: Listing) -> Result<Output<Vec<Link>>> {
    let Listing { markdown, limit, cursor } = listing;
    let text = read(markdown)?;
    let start = start(&text, &usual());
    let before = text[..start].lines().count();
    let lines = Lines::new(&text[start..]);
    let mut found = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (event, range) in parse(&text[start..], &usual()).into_offset_iter() {
        match event {
            Event::Start(Tag::Link { link_type, dest_url, title, .. }) => {
                let kind = match link_type {
                    LinkType::Autolink | LinkType::Email => Kind::Autolink,
                    _ => Kind::Link,
                };
                open.push(found.len());
                found.push(link(kind, &dest_url, &title, lines.number(range.start) + before));
            }
            Event::Start(Tag::Image { dest_url, title, .. }) => {
                open.push(found.len());
                let line = lines.number(range.start) + before;
                found.push(link(Kind::Image, &dest_url, &title, line));
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                open.pop();
            }
            event => {
                for &place in &open {
                    add(&mut found[place].text, &event);
                }
            }
        }
    }
    Output::page(found, limit, cursor.as_deref())
}

fn link(kind: Kind, url: &str, title: &str, line: usize) -> Link {
    let title = (!title.is_empty()).then(|| title.to_owned());
    Link { kind, url: url.to_owned(), text: String::new(), title, line }
}

/// The headings of a text.
pub(crate) fn headings(text: &str, extensions: &[Extension]) -> Vec<Heading> {
    let lines = Lines::new(text);
    let mut anchors = BTreeMap::new();
    let mut found = Vec::new();
    let mut open = None;
    for (event, range) in parse(text, extensions).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let line = lines.number(range.start);
                let (text, anchor) = (String::new(), String::new());
                open = Some(Heading { level: level as u8, text, anchor, line });
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some(mut heading) = open.take() {
                    heading.text = heading.text.trim().to_owned();
                    heading.anchor = anchor(&heading.text, &mut anchors);
                    found.push(heading);
                }
            }
            event => {
                if let Some(heading) = &mut open {
                    add(&mut heading.text, &event);
                }
            }
        }
    }
    found
}

/// Adds what a reader sees of an event, as long as the text is not too long.
fn add(text: &mut String, event: &Event<'_>) {
    let more = match event {
        Event::Text(more) | Event::Code(more) | Event::InlineMath(more) => more,
        Event::SoftBreak | Event::HardBreak => " ",
        _ => return,
    };
    // Four bytes hold any character.
    let room = (4 * MAX_CHARS).saturating_sub(text.len());
    text.push_str(&more[..more.floor_char_boundary(room)]);
}

/// The anchor GitHub makes of a heading: lower case, letters, digits, `-` and `_` kept, spaces
/// become `-`, and a number is added to one that is there already.
fn anchor(text: &str, taken: &mut BTreeMap<String, usize>) -> String {
    let kept = text.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    let base = kept.collect::<String>().to_lowercase();
    let mut number = taken.get(&base).copied().unwrap_or(0);
    let mut anchor = base.clone();
    while number > 0 && taken.contains_key(&anchor) || number == 0 && taken.contains_key(&base) {
        number += 1;
        anchor = format!("{base}-{number}");
    }
    taken.insert(base, number);
    taken.entry(anchor.clone()).or_insert(0);
    anchor
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Lines {
        Lines(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect())
    }

    /// The line on which a byte stands, from 1.
    fn number(&self, at: usize) -> usize {
        self.0.partition_point(|&start| start <= at) + 1
    }
}
