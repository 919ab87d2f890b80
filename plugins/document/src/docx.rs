//! Word (ISO/IEC 29500-1, WordprocessingML).

use ampoule_sdk::prelude::*;

use crate::Page;
use crate::opc::{Package, Xml, attribute, walk};
use crate::pages::{PAGE_CHARS, Pages};

/// The main part.
const PART: &str = "word/document.xml";

/// Tables inside tables; the cells of deeper ones are paragraphs.
const MAX_TABLES: usize = 8;

/// Reads the pages. Text that was deleted with changes tracked is left out.
pub(crate) fn read(
    package: &mut Package<'_>,
    pages: &mut Pages,
) -> Result<(Option<String>, Map<String, Value>)> {
    let properties = package.properties()?;
    let part = package.part(PART)?;
    let mut body = Body {
        pages,
        page: Page::default(),
        chars: 0,
        paragraph: String::new(),
        style: String::new(),
        in_text: false,
        tables: Vec::new(),
        text_box: 0,
    };
    walk(&part, PART, &mut |event| {
        body.event(event);
        Ok(())
    })?;
    body.paragraph_end();
    body.page_end();
    Ok(properties)
}

/// A table in the making.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    /// Paragraphs of the cell.
    cell: String,
}

struct Body<'a> {
    pages: &'a mut Pages,
    page: Page,
    chars: usize,
    paragraph: String,
    /// What the paragraph begins with.
    style: String,
    in_text: bool,
    tables: Vec<Table>,
    /// Levels of the second writing of what stands before it.
    text_box: usize,
}

impl Body<'_> {
    fn event(&mut self, event: Xml<'_>) {
        match event {
            // `mc:Fallback` says the same again for old programs.
            Xml::Start(start) if self.text_box > 0 || start.local_name().as_ref() == "Fallback" => {
                self.text_box += 1;
            }
            Xml::End(_) if self.text_box > 0 => self.text_box -= 1,
            Xml::Text(_) if self.text_box > 0 => {}
            Xml::Start(start) => match start.local_name().as_ref() {
                "p" => self.paragraph_end(),
                "t" => self.in_text = true,
                "tab" if !self.paragraph.is_empty() => self.paragraph.push('\t'),
                "br" if attribute(start, "type").as_deref() == Some("page") => self.page_break(),
                "br" | "cr" => self.paragraph.push('\n'),
                "lastRenderedPageBreak" => self.page_break(),
                "noBreakHyphen" => self.paragraph.push('\u{2011}'),
                "pStyle" => self.style = style(&attribute(start, "val").unwrap_or_default()),
                "numPr" if self.style.is_empty() => self.style = "- ".to_owned(),
                "tbl" if self.tables.len() < MAX_TABLES => {
                    self.paragraph_end();
                    self.tables.push(Table::default());
                }
                "tr" => {
                    if let Some(table) = self.tables.last_mut() {
                        table.rows.push(Vec::new());
                    }
                }
                _ => {}
            },
            Xml::Text(text) if self.in_text => self.paragraph.push_str(text),
            Xml::Text(_) => {}
            Xml::End(name) => match name {
                "t" => self.in_text = false,
                "p" => self.paragraph_end(),
                "tc" => {
                    self.paragraph_end();
                    if let Some(table) = self.tables.last_mut()
                        && let Some(row) = table.rows.last_mut()
                    {
                        row.push(std::mem::take(&mut table.cell).trim().to_owned());
                    }
                }
                "tbl" => self.table_end(),
                _ => {}
            },
        }
    }

    fn paragraph_end(&mut self) {
        let text = std::mem::take(&mut self.paragraph);
        let style = std::mem::take(&mut self.style);
        if text.trim().is_empty() {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            table.cell.push_str(text.trim());
            table.cell.push('\n');
            return;
        }
        let between = match self.page.text.is_empty() {
            true => "",
            // Items stand together.
            false if style == "- " => "\n",
            false => "\n\n",
        };
        self.write(&format!("{between}{style}{}", text.trim_end()));
    }

    fn table_end(&mut self) {
        self.paragraph_end();
        let Some(Table { rows, .. }) = self.tables.pop() else { return };
        let text = rows.iter().map(|row| {
            let cells =
                row.iter().map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" "));
            cells.collect::<Vec<_>>().join("\t")
        });
        let text = text.collect::<Vec<_>>().join("\n");
        if let Some(outer) = self.tables.last_mut() {
            outer.cell.push_str(&text);
            outer.cell.push('\n');
            return;
        }
        let between = if self.page.text.is_empty() { "" } else { "\n\n" };
        self.page.tables.push(rows);
        self.write(&format!("{between}{text}"));
    }

    fn write(&mut self, text: &str) {
        self.page.text.push_str(text);
        self.chars += text.chars().count();
        if self.chars > PAGE_CHARS {
            self.page_end();
        }
    }

    /// A page ends inside a paragraph.
    fn page_break(&mut self) {
        // Inside a table the page goes on to its end.
        if self.tables.is_empty() {
            self.paragraph_end();
            if !self.page.text.is_empty() {
                self.page_end();
            }
        }
    }

    fn page_end(&mut self) {
        let page = std::mem::take(&mut self.page);
        if page.text.is_empty() && self.pages.count() > 0 {
            return;
        }
        self.chars = 0;
        self.pages.push(page);
    }
}

/// What a paragraph of a style begins with.
fn style(style: &str) -> String {
    let style = style.to_ascii_lowercase();
    if style == "title" {
        return "# ".to_owned();
    }
    if style.starts_with("list") && style != "listparagraph" {
        return "- ".to_owned();
    }
    let level = style.strip_prefix("heading").and_then(|level| level.parse::<usize>().ok());
    match level {
        Some(level @ 1..=9) => format!("{} ", "#".repeat(level.min(6))),
        _ => String::new(),
    }
}
