//! Markdown as plain text.

use ampoule_sdk::prelude::*;
use pulldown_cmark::{CowStr, Event, Tag, TagEnd};

use crate::{Extension, parse, read, start, usual};

/// List levels that are indented; deeper ones stand below the last.
const MAX_INDENT: usize = 16;

/// A document and how to write it.
#[data]
pub(crate) struct Reading {
    /// The Markdown.
    markdown: Content,
    /// What it may use beyond CommonMark. Default: what GitHub reads, and front matter.
    #[serde(default = "usual")]
    #[schemars(length(max = 16))]
    extensions: Vec<Extension>,
    /// Write the URL of each link in brackets after its text.
    #[serde(default)]
    urls: bool,
    /// How many characters to answer at most.
    #[serde(default = "default_chars")]
    #[schemars(range(min = 1, max = 4_000_000))]
    max_chars: usize,
    /// The `next` of an earlier answer, to go on after it.
    cursor: Option<String>,
}

fn default_chars() -> usize {
    100_000
}

/// A document as plain text.
#[data]
pub(crate) struct Plain {
    /// The text.
    text: String,
}

/// Turn Markdown into plain text for reading, searching or counting: no marks, lists with `-` or
/// numbers, table cells separated by `|`. Raw HTML is left out.
#[tool]
pub(crate) fn to_text(reading: Reading) -> Result<Output<Plain>> {
    let Reading { markdown, extensions, urls, max_chars, cursor } = reading;
    let text = read(markdown)?;
    let mut writer = Writer { urls, ..Writer::default() };
    for event in parse(&text[start(&text, &extensions)..], &extensions) {
        writer.event(event);
    }
    let part = Output::part(&writer.out, max_chars, cursor.as_deref())?;
    Ok(part.map(|text| Plain { text }))
}

#[derive(Default)]
struct Writer<'a> {
    out: String,
    urls: bool,
    /// Line breaks to write before the next text.
    breaks: usize,
    /// Lists that are open, with the number of the next item.
    lists: Vec<Option<u64>>,
    /// Links that are open, with where they lead and where their text begins.
    links: Vec<(CowStr<'a>, usize)>,
    /// Whether a cell stands before in this row.
    cells: bool,
    /// Whether the text is that of code.
    code: bool,
    /// Whether nothing has been written since the mark of a list item or a footnote.
    marked: bool,
}

impl<'a> Writer<'a> {
    fn event(&mut self, event: Event<'a>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => self.lines(&text),
            Event::Text(text)
            | Event::Code(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text) => self.write(&text),
            Event::FootnoteReference(name) => self.write(&format!("[{name}]")),
            Event::SoftBreak => self.write(" "),
            Event::HardBreak => self.block(1),
            Event::Rule => {
                self.block(2);
                self.write("---");
                self.block(2);
            }
            Event::TaskListMarker(done) => self.write(if done { "[x] " } else { "[ ] " }),
            Event::Html(_) | Event::InlineHtml(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'a>) {
        match tag {
            Tag::Paragraph | Tag::Heading { .. } | Tag::BlockQuote(_) | Tag::Table(_) => {
                self.block(2);
            }
            Tag::CodeBlock(_) => {
                self.block(2);
                self.code = true;
            }
            Tag::List(first) => {
                self.block(if self.lists.is_empty() { 2 } else { 1 });
                self.lists.push(first);
            }
            Tag::Item => {
                self.block(1);
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let mark = format!("{number}. ");
                        *number = number.saturating_add(1);
                        mark
                    }
                    _ => "- ".to_owned(),
                };
                self.open(1);
                self.out.push_str(&mark);
                self.marked = true;
            }
            Tag::FootnoteDefinition(name) => {
                self.block(2);
                self.write(&format!("[{name}] "));
                self.marked = true;
            }
            Tag::TableHead | Tag::TableRow => {
                self.block(1);
                self.cells = false;
            }
            Tag::TableCell => {
                if self.cells {
                    self.write(" | ");
                }
                self.cells = true;
            }
            Tag::DefinitionListTitle => self.block(2),
            Tag::DefinitionListDefinition => {
                self.block(1);
                self.write("  ");
                self.marked = true;
            }
            Tag::Link { dest_url, .. } => self.links.push((dest_url, self.out.len())),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        self.marked = false;
        match tag {
            TagEnd::Paragraph
            | TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::Table
            | TagEnd::FootnoteDefinition => self.block(2),
            TagEnd::CodeBlock => {
                self.code = false;
                self.block(2);
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.block(if self.lists.is_empty() { 2 } else { 1 });
            }
            TagEnd::Item | TagEnd::TableHead | TagEnd::TableRow => self.block(1),
            TagEnd::Link => {
                if let Some((url, from)) = self.links.pop()
                    && self.urls
                    && self.out.get(from..).is_none_or(|text| text.trim() != &*url)
                {
                    self.write(&format!(" ({url})"));
                }
            }
            _ => {}
        }
    }

    /// So many line breaks before what comes next.
    fn block(&mut self, breaks: usize) {
        // What follows a mark stays on its line.
        if !self.marked {
            self.breaks = self.breaks.max(breaks);
        }
    }

    /// Writes the line breaks that are due; `less` levels of lists are not indented.
    fn open(&mut self, less: usize) {
        if self.out.is_empty() {
            self.breaks = 0;
        }
        if self.breaks > 0 {
            self.out.extend(std::iter::repeat_n('\n', self.breaks));
            self.breaks = 0;
            let levels = self.lists.len().saturating_sub(less).min(MAX_INDENT);
            self.out.extend(std::iter::repeat_n("  ", levels));
        }
    }

    fn write(&mut self, text: &str) {
        if !text.is_empty() {
            self.open(0);
            self.out.push_str(text);
            self.marked = false;
        }
    }

    /// Text whose line breaks are kept.
    fn lines(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            self.write(line.trim_end_matches(['\n', '\r']));
            if line.ends_with('\n') {
                self.open(0);
                self.breaks = 1;
            }
        }
    }
}
