//! Markdown: its text as it is, its title and its tables.

use std::ops::Range;

use ampoule_sdk::prelude::*;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::Page;
use crate::pages::{Pages, cut};

type Table = Vec<Vec<String>>;

/// Reads the pages; the title is the first heading of the first level.
pub(crate) fn read(text: String, pages: &mut Pages) -> (Option<String>, Map<String, Value>) {
    let (title, tables) = scan(&text);
    let mut tables = tables.into_iter().peekable();
    let mut start = 0;
    loop {
        let (page, rest) = cut(&text[start..]);
        let end = start + page.len();
        let mut found = Vec::new();
        while tables.peek().is_some_and(|(range, _)| range.start < end) {
            found.extend(tables.next().map(|(_, table)| table));
        }
        let page = Page { text: page.trim_end().to_owned(), tables: found, ..Page::default() };
        pages.push(page);
        if rest.is_empty() {
            return (title, Map::new());
        }
        start = end;
    }
}

fn scan(text: &str) -> (Option<String>, Vec<(Range<usize>, Table)>) {
    let mut title = None::<String>;
    let mut tables: Vec<(Range<usize>, Table)> = Vec::new();
    let (mut in_title, mut in_table) = (false, false);
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) if title.is_none() => {
                in_title = true;
                title = Some(String::new());
            }
            Event::End(TagEnd::Heading(_)) => in_title = false,
            Event::Start(Tag::Table(_)) => {
                in_table = true;
                tables.push((range, Table::new()));
            }
            Event::End(TagEnd::Table) => in_table = false,
            Event::Start(Tag::TableHead | Tag::TableRow) => {
                if let Some((_, table)) = tables.last_mut() {
                    table.push(Vec::new());
                }
            }
            Event::Start(Tag::TableCell) => {
                if let Some(row) = tables.last_mut().and_then(|(_, table)| table.last_mut()) {
                    row.push(String::new());
                }
            }
            Event::Text(more) | Event::Code(more) => {
                if let Some(title) = title.as_mut().filter(|_| in_title) {
                    title.push_str(&more);
                }
                let cell = tables.last_mut().filter(|_| in_table);
                let cell = cell.and_then(|(_, table)| table.last_mut()?.last_mut());
                if let Some(cell) = cell {
                    cell.push_str(&more);
                }
            }
            _ => {}
        }
    }
    (title.map(|title| title.trim().to_owned()).filter(|title| !title.is_empty()), tables)
}
