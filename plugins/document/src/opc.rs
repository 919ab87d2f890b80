//! Packages of Office Open XML: a zip with XML in it (ISO/IEC 29500-2).

use std::io::{Cursor, Read};

use ampoule_sdk::prelude::*;
use quick_xml::Reader;
use quick_xml::encoding::DecodingReader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::Format;

/// Bytes that the parts of a package may decompress to, together.
const MAX_PART_BYTES: u64 = 160 << 20;

/// How many times larger than its compressed form a part of more than a megabyte may be.
const MAX_RATIO: u64 = 300;

/// Parts of a package.
const MAX_PARTS: usize = 20_000;

/// A package.
pub(crate) struct Package<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    left: u64,
}

impl<'a> Package<'a> {
    /// Opens a package; nothing is decompressed yet.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Package<'a>> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
        if zip.len() > MAX_PARTS {
            return Err(Error::too_large(format!(
                "the document has {} parts and may have {MAX_PARTS}",
                zip.len()
            )));
        }
        Ok(Package { bytes, zip, left: MAX_PART_BYTES })
    }

    /// What it is, by its main part.
    pub(crate) fn kind(&self) -> Result<Format> {
        for (part, format) in [
            ("word/document.xml", Format::Docx),
            ("xl/workbook.xml", Format::Xlsx),
            ("ppt/presentation.xml", Format::Pptx),
        ] {
            if self.has(part) {
                return Ok(format);
            }
        }
        Err(Error::unsupported(
            "this is a zip and none of DOCX, XLSX and PPTX; to look into it use `archive`",
        ))
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.zip.index_for_name(part).is_some()
    }

    /// The bytes of the whole package, when each of its parts is known to be neither too large nor
    /// to define entities.
    pub(crate) fn checked(mut self) -> Result<&'a [u8]> {
        let parts: Vec<String> =
            self.zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        for part in parts {
            // Pictures and the like are not read.
            if part.ends_with(".xml") || part.ends_with(".rels") {
                self.part(&part)?;
            }
        }
        Ok(self.bytes)
    }

    /// The bytes of a part; empty where there is none.
    ///
    /// # Errors
    /// `too-large` where it decompresses to too much, `invalid-data` where it is malformed or
    /// defines entities.
    pub(crate) fn part(&mut self, name: &str) -> Result<Vec<u8>> {
        let file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(Vec::new()),
            Err(error) => return Err(malformed(error)),
        };
        let most = file.compressed_size().saturating_mul(MAX_RATIO).max(1 << 20);
        let bound = most.min(self.left);
        let mut bytes = Vec::new();
        file.take(bound + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| malformed(ZipError::Io(error)))?;
        if bytes.len() as u64 > bound {
            return Err(Error::too_large(format!(
                "`{name}` decompresses to more than {MAX_RATIO} times its size, or the parts \
                 together to more than {MAX_PART_BYTES} bytes, as a bomb does: split the document"
            )));
        }
        self.left -= bytes.len() as u64;
        refuse_dtd(name, &bytes)?;
        Ok(bytes)
    }

    /// What the package says of itself: its title and the rest (ISO/IEC 29500-2, core properties).
    pub(crate) fn properties(&mut self) -> Result<(Option<String>, Map<String, Value>)> {
        let part = self.part("docProps/core.xml")?;
        let mut found = Map::new();
        let mut open = None::<&str>;
        let mut text = String::new();
        walk(&part, "docProps/core.xml", &mut |event| {
            match event {
                Xml::Start(start) => {
                    open = match start.local_name().as_ref() {
                        "title" => Some("title"),
                        "creator" => Some("author"),
                        "subject" => Some("subject"),
                        "keywords" => Some("keywords"),
                        "created" => Some("created"),
                        "modified" => Some("modified"),
                        _ => None,
                    };
                    text.clear();
                }
                Xml::Text(more) if open.is_some() && text.len() < 4000 => text.push_str(more),
                Xml::Text(_) => {}
                Xml::End(_) => {
                    if let Some(name) = open.take()
                        && !text.trim().is_empty()
                    {
                        found.insert(name.to_owned(), text.trim().into());
                    }
                }
            }
            Ok(())
        })?;
        let title = found.shift_remove("title");
        Ok((title.and_then(|title| title.as_str().map(str::to_owned)), found))
    }

    /// The relations of a part: their ids, kinds and targets.
    pub(crate) fn relations(&mut self, part: &str) -> Result<Vec<Relation>> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let name = format!("{folder}/_rels/{file}.rels");
        let bytes = self.part(&name)?;
        let mut found = Vec::new();
        walk(&bytes, &name, &mut |event| {
            if let Xml::Start(start) = event
                && start.local_name().as_ref() == "Relationship"
                && attribute(start, "TargetMode").as_deref() != Some("External")
            {
                let target = attribute(start, "Target").unwrap_or_default();
                found.push(Relation {
                    id: attribute(start, "Id").unwrap_or_default(),
                    kind: attribute(start, "Type").unwrap_or_default(),
                    target: resolve(folder, &target),
                });
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// A relation of a part to another.
pub(crate) struct Relation {
    pub(crate) id: String,
    pub(crate) kind: String,
    /// The name of the other part.
    pub(crate) target: String,
}

fn malformed(error: ZipError) -> Error {
    Error::invalid_data(format!("the document is malformed: {error}"))
}

/// The name of a part that a target leads to from a folder.
fn resolve(folder: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in target.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Refuses what defines entities; nothing of Office Open XML may have a DTD (ISO/IEC 29500-2, 8.1).
fn refuse_dtd(name: &str, bytes: &[u8]) -> Result<()> {
    let head = &bytes[..bytes.len().min(4096)];
    let utf16: Vec<u8> = "<!DOCTYPE".bytes().flat_map(|byte| [byte, 0]).collect();
    let found = |needle: &[u8]| head.windows(needle.len()).any(|part| part == needle);
    if found(b"<!DOCTYPE") || found(&utf16) || found(b"<!ENTITY") {
        return Err(Error::invalid_data(format!(
            "`{name}` has a DTD, which no Office document has: it is not read"
        )));
    }
    Ok(())
}

/// What is met in a part.
pub(crate) enum Xml<'a> {
    /// The start of an element; one that is empty ends at once.
    Start(&'a BytesStart<'a>),
    /// Text, references resolved.
    Text(&'a str),
    /// The end of an element, by its local name.
    End(&'a str),
}

/// Visits a part from its beginning to its end.
pub(crate) fn walk(
    part: &[u8],
    name: &str,
    visit: &mut dyn FnMut(Xml<'_>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::from_reader(DecodingReader::new(part));
    let mut buffer = Vec::new();
    let failed = |error: &dyn std::fmt::Display| {
        Error::invalid_data(format!("`{name}` of the document is malformed: {error}"))
    };
    loop {
        match reader.read_event_into(&mut buffer).map_err(|error| failed(&error))? {
            Event::Start(start) => visit(Xml::Start(&start))?,
            Event::Empty(start) => {
                visit(Xml::Start(&start))?;
                visit(Xml::End(start.local_name().as_ref()))?;
            }
            Event::End(end) => visit(Xml::End(end.local_name().as_ref()))?,
            Event::Text(text) => visit(Xml::Text(&text))?,
            Event::CData(text) => visit(Xml::Text(&text))?,
            Event::GeneralRef(reference) => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    visit(Xml::Text(c.encode_utf8(&mut [0; 4])))?;
                } else if let Some(text) = quick_xml::escape::resolve_predefined_entity(&reference)
                {
                    visit(Xml::Text(text))?;
                }
            }
            Event::DocType(_) => return Err(failed(&"it has a DTD")),
            Event::Eof => return Ok(()),
            _ => {}
        }
        buffer.clear();
    }
}

/// The value of an attribute by its local name.
pub(crate) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes();
    attributes
        .with_checks(false)
        .filter_map(Result::ok)
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .and_then(|attribute| {
            quick_xml::escape::unescape(&attribute.value).ok().map(|value| value.into_owned())
        })
}
