//! PowerPoint (ISO/IEC 29500-1, PresentationML): a slide is a page.

use ampoule_sdk::prelude::*;

use crate::Page;
use crate::opc::{Package, Xml, attribute, walk};
use crate::pages::Pages;

/// The main part.
const PART: &str = "ppt/presentation.xml";

/// Slides of a presentation.
const MAX_SLIDES: usize = 10_000;

/// Reads the slides in their order, with their notes.
pub(crate) fn read(
    package: &mut Package<'_>,
    pages: &mut Pages,
) -> Result<(Option<String>, Map<String, Value>)> {
    let properties = package.properties()?;
    let part = package.part(PART)?;
    let mut ids = Vec::new();
    walk(&part, PART, &mut |event| {
        if let Xml::Start(start) = event
            && start.local_name().as_ref() == "sldId"
        {
            // `id` is a number, `r:id` the relation.
            let relation = start
                .attributes()
                .with_checks(false)
                .filter_map(Result::ok)
                .filter(|attribute| attribute.key.local_name().as_ref() == "id")
                .find(|attribute| attribute.key.prefix().is_some());
            ids.extend(relation.map(|relation| relation.value.into_owned()));
        }
        Ok(())
    })?;
    if ids.len() > MAX_SLIDES {
        return Err(Error::too_large(format!(
            "the presentation has {} slides and may have {MAX_SLIDES}",
            ids.len()
        )));
    }
    let relations = package.relations(PART)?;
    for id in ids {
        let slide = relations.iter().find(|relation| relation.id == id);
        match slide {
            Some(slide) if pages.wanted() => {
                let page = page(package, &slide.target)?;
                pages.push(page);
            }
            _ => pages.skip(),
        }
    }
    Ok(properties)
}

fn page(package: &mut Package<'_>, name: &str) -> Result<Page> {
    let part = package.part(name)?;
    let slide = Slide::read(&part, name)?;
    let notes = package.relations(name)?;
    let notes = notes.iter().find(|relation| relation.kind.ends_with("/notesSlide"));
    let notes = match notes {
        None => None,
        Some(notes) => {
            let part = package.part(&notes.target)?;
            // Its other shapes are the slide itself and numbers.
            Slide::read(&part, &notes.target)?.body
        }
    };
    Ok(Page {
        title: slide.title,
        text: slide.text,
        tables: slide.tables,
        notes: notes.filter(|notes| !notes.is_empty()),
        ..Page::default()
    })
}

/// What a slide says.
#[derive(Default)]
struct Slide {
    title: Option<String>,
    /// All its text.
    text: String,
    /// The text of the placeholder of kind `body`.
    body: Option<String>,
    tables: Vec<Vec<Vec<String>>>,
    /// The shape that is open: its kind of placeholder, and its text.
    kind: String,
    shape: String,
    paragraph: String,
    in_text: bool,
    in_table: bool,
}

impl Slide {
    fn read(part: &[u8], name: &str) -> Result<Slide> {
        let mut slide = Slide::default();
        walk(part, name, &mut |event| {
            slide.event(event);
            Ok(())
        })?;
        slide.shape_end();
        Ok(slide)
    }

    fn event(&mut self, event: Xml<'_>) {
        match event {
            Xml::Start(start) => match start.local_name().as_ref() {
                "sp" | "graphicFrame" => self.shape_end(),
                "ph" => self.kind = attribute(start, "type").unwrap_or_default(),
                "t" => self.in_text = true,
                "br" => self.paragraph.push('\n'),
                "tbl" => {
                    self.in_table = true;
                    self.tables.push(Vec::new());
                }
                "tr" => {
                    if let Some(table) = self.tables.last_mut() {
                        table.push(Vec::new());
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
                    let cell = std::mem::take(&mut self.shape).trim().to_owned();
                    let row = self.tables.last_mut().and_then(|table| table.last_mut());
                    if let Some(row) = row.filter(|_| self.in_table) {
                        row.push(cell);
                    }
                }
                "tbl" => {
                    self.in_table = false;
                    let rows = self.tables.last().map(Vec::as_slice).unwrap_or_default();
                    let rows = rows.iter().map(|row| row.join("\t").replace('\n', " "));
                    self.shape = rows.collect::<Vec<_>>().join("\n");
                }
                "sp" | "graphicFrame" => self.shape_end(),
                _ => {}
            },
        }
    }

    fn paragraph_end(&mut self) {
        let paragraph = std::mem::take(&mut self.paragraph);
        if !paragraph.trim().is_empty() {
            self.shape.push_str(paragraph.trim_end());
            self.shape.push('\n');
        }
    }

    fn shape_end(&mut self) {
        self.paragraph_end();
        let text = std::mem::take(&mut self.shape).trim_end().to_owned();
        let kind = std::mem::take(&mut self.kind);
        // Date, footer and number stand on every slide.
        if text.is_empty() || matches!(&*kind, "dt" | "ftr" | "sldNum") {
            return;
        }
        match &*kind {
            "title" | "ctrTitle" if self.title.is_none() => {
                self.title = Some(text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
            "body" if self.body.is_none() => self.body = Some(text.clone()),
            _ => {}
        }
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(&text);
    }
}
