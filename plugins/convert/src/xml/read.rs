//! Reads XML into a JSON value.

use ampoule_sdk::prelude::*;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::names::{forbidden_char, is_name};
use super::{ATTRIBUTE, TEXT};
use crate::query::push;
use crate::tree::{Bounds, MAX_DEPTH, Place, check, malformed_at};

pub(crate) fn read(text: &str) -> Result<Value> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut document = Document { bounds: Bounds::new(), open: Vec::new(), root: None };
    loop {
        let start = offset(reader.buffer_position());
        let event = reader
            .read_event()
            .map_err(|error| located(error, text, offset(reader.error_position())))?;
        if event == Event::Eof {
            break;
        }
        document.event(event).map_err(|error| {
            if error.code == "too-large" { error } else { located(error.message, text, start) }
        })?;
    }
    match (document.open.pop(), document.root) {
        (Some(element), _) => {
            Err(located(format!("`<{}>` is never closed", element.name), text, text.len()))
        }
        // Lists of repeated elements are levels too.
        (None, Some(root)) => check(root),
        (None, None) => Err(located("there is no root element", text, text.len())),
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn located(error: impl std::fmt::Display, text: &str, offset: usize) -> Error {
    malformed_at("XML", error, text, offset)
}

/// What has been read of a document.
struct Document {
    bounds: Bounds,
    open: Vec<Element>,
    root: Option<Value>,
}

/// An element whose end has not been read.
struct Element {
    name: String,
    fields: Map<String, Value>,
    text: String,
    has_children: bool,
}

impl Document {
    fn event(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Start(start) => self.start(&start),
            Event::Empty(start) => {
                self.start(&start)?;
                self.end();
                Ok(())
            }
            Event::End(_) => {
                self.end();
                Ok(())
            }
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.text(&resolve(&reference)?),
            Event::DocType(_) => Err(Error::invalid_data(
                "document type definitions are refused: remove `<!DOCTYPE`",
            )),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<()> {
        if self.open.is_empty() && self.root.is_some() {
            return Err(Error::invalid_data("there is a second root element"));
        }
        // The root's object is a level too.
        if self.open.len() + 2 > MAX_DEPTH {
            return Err(Error::too_large(format!("it nests deeper than {MAX_DEPTH} levels")));
        }
        let name = self.name(start.name().into_inner())?;
        let mut fields = Map::new();
        // The parser's own check for duplicates compares all with all.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.or_code("invalid-data")?;
            let name = self.name(attribute.key.into_inner())?;
            let value =
                attribute.normalized_value(XmlVersion::Explicit1_0).or_code("invalid-data")?;
            self.count(&value)?;
            if fields.insert(format!("{ATTRIBUTE}{name}"), value.into_owned().into()).is_some() {
                return Err(Error::invalid_data(format!("the attribute `{name}` stands twice")));
            }
        }
        if let Some(parent) = self.open.last_mut() {
            parent.has_children = true;
        }
        self.open.push(Element { name, fields, text: String::new(), has_children: false });
        Ok(())
    }

    fn end(&mut self) {
        // The parser refuses an end without a start.
        let Some(element) = self.open.pop() else { return };
        let name = element.name.clone();
        let value = element.into_value();
        match self.open.last_mut() {
            Some(parent) => push(&mut parent.fields, &name, value),
            None => self.root = Some(Value::Object(Map::from_iter([(name, value)]))),
        }
    }

    fn text(&mut self, text: &str) -> Result<()> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim_matches(['\u{FEFF}', ' ', '\t', '\r', '\n']).is_empty() => {}
            None => return Err(Error::invalid_data("there is text outside the root element")),
        }
        self.check_chars(text)?;
        self.bounds.text(&Place::ROOT, text)
    }

    /// Checks and counts the name of a value.
    fn name(&self, name: &str) -> Result<String> {
        if !is_name(name) {
            return Err(Error::invalid_data(format!("`{name}` is not a name")));
        }
        self.bounds.value(&Place::ROOT)?;
        self.bounds.text(&Place::ROOT, name)?;
        Ok(name.into())
    }

    fn count(&self, text: &str) -> Result<()> {
        self.check_chars(text)?;
        self.bounds.text(&Place::ROOT, text)
    }

    fn check_chars(&self, text: &str) -> Result<()> {
        forbidden_char(text).map_or(Ok(()), |c| {
            Err(Error::invalid_data(format!("XML cannot hold the character {c:?}")))
        })
    }
}

impl Element {
    /// Text alone is a text; beside attributes or elements it is a field. White space around
    /// elements is layout.
    fn into_value(self) -> Value {
        let Element { mut fields, text, has_children, .. } = self;
        if fields.is_empty() {
            return Value::String(text);
        }
        let text = if has_children { text.trim().to_owned() } else { text };
        if !text.is_empty() {
            fields.insert(TEXT.into(), Value::String(text));
        }
        Value::Object(fields)
    }
}

/// The text of a character reference or one of the five predefined entities.
fn resolve(reference: &BytesRef<'_>) -> Result<String> {
    if let Some(c) = reference.resolve_char_ref().or_code("invalid-data")? {
        return Ok(c.into());
    }
    let name = reference.xml10_content();
    resolve_predefined_entity(&name).map(String::from).ok_or_else(|| {
        Error::invalid_data(format!(
            "the entity `&{name};` is unknown: only &lt; &gt; &amp; &quot; &apos; are"
        ))
    })
}
