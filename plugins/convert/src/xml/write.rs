//! Writes XML from a JSON value.

use std::io;

use ampoule_sdk::prelude::*;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use quick_xml::writer::Writer;

use super::names::{forbidden_char, is_name};
use super::{ATTRIBUTE, TEXT};
use crate::tree::{Place, scalar};

pub(crate) fn write(value: &Value, pretty: bool) -> Result<String> {
    let root = value.as_object().filter(|fields| fields.len() == 1).and_then(|f| f.iter().next());
    let Some((name, element)) = root.filter(|(_, element)| !element.is_array()) else {
        return Err(Error::bad_arguments(
            "XML needs an object with one field, the root element, that is not a list: wrap the value in one",
        ));
    };
    let mut writer = match pretty {
        true => Writer::new_with_indent(Vec::new(), b' ', 2),
        false => Writer::new(Vec::new()),
    };
    write_element(&mut writer, name, element, &Place::ROOT.key(name))?;
    String::from_utf8(writer.into_inner()).or_code("internal")
}

fn write_element(
    writer: &mut Writer<Vec<u8>>,
    name: &str,
    value: &Value,
    place: &Place<'_>,
) -> Result<()> {
    check_name(name, place)?;
    let mut start = BytesStart::new(name);
    let empty = Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    for (key, value) in fields {
        if let Some(attribute) = key.strip_prefix(ATTRIBUTE) {
            let place = place.key(key);
            check_name(attribute, &place)?;
            start.push_attribute((attribute, text(value, &place)?.as_str()));
        }
    }
    let content = match value {
        Value::Object(fields) => {
            fields.get(TEXT).map(|value| text(value, &place.key(TEXT))).transpose()?
        }
        _ => Some(text(value, place)?),
    };
    let content = content.filter(|content| !content.is_empty());
    let has_children =
        fields.iter().any(|(key, value)| !is_reserved(key) && *value != Value::Array(Vec::new()));
    if content.is_none() && !has_children {
        return emit(writer.write_event(Event::Empty(start)));
    }
    emit(writer.write_event(Event::Start(start)))?;
    if let Some(content) = content {
        emit(writer.write_event(Event::Text(BytesText::new(&content))))?;
    }
    for (key, value) in fields.iter().filter(|(key, _)| !is_reserved(key)) {
        let place = place.key(key);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    write_element(writer, key, item, &place.index(index))?;
                }
            }
            _ => write_element(writer, key, value, &place)?,
        }
    }
    emit(writer.write_event(Event::End(BytesEnd::new(name))))
}

fn is_reserved(key: &str) -> bool {
    key == TEXT || key.starts_with(ATTRIBUTE)
}

fn emit(written: io::Result<()>) -> Result<()> {
    written.or_code("internal")
}

fn check_name(name: &str, place: &Place<'_>) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::bad_arguments(format!("the key at {place} is not a name of XML: rename it")))
}

fn text(value: &Value, place: &Place<'_>) -> Result<String> {
    let text = scalar(value).ok_or_else(|| {
        let kind = if value.is_array() { "a list" } else { "an object" };
        Error::bad_arguments(format!("XML cannot hold {kind} at {place}: flatten it"))
    })?;
    match forbidden_char(&text) {
        Some(c) => Err(Error::bad_arguments(format!(
            "XML cannot hold the character {c:?} in the text at {place}: remove it"
        ))),
        None => Ok(text),
    }
}
