//! Reads documents page by page: PDF, DOCX, XLSX, PPTX, Markdown and plain text.
//!
//! Parity with SmythOS's `Doc`, which gives title, metadata and pages with content; here a page has
//! its text and its tables. A page is what the format has: a page of a PDF, a slide, up to
//! [`sheet::ROWS`] rows of a sheet; texts without pages are split after about
//! [`pages::PAGE_CHARS`] characters at the end of a paragraph, a DOCX also where it says so.
//!
//! hayro reads PDF and calamine XLSX; DOCX and PPTX are read from their XML (ISO/IEC 29500), which
//! may hold no DTD, so that no entity is ever defined. Whatever sizes a file names, what it
//! decompresses to is counted. In a PDF, tables are made out by cells that stand above one another;
//! text in pictures is not read, and `images` tells a scanned page.

mod docx;
mod markdown;
mod opc;
mod pages;
mod pdf;
mod pptx;
mod sheet;

use std::num::NonZeroUsize;

use ampoule_sdk::from_cursor;
use ampoule_sdk::prelude::*;

use opc::Package;
use pages::Pages;

/// Bytes of a document.
const MAX_BYTES: u64 = 48 << 20;

/// A document and which pages of it.
#[data]
struct Reading {
    /// The document.
    document: Content,
    /// What it is. Default: as its first bytes say; text is plain text.
    format: Option<Format>,
    /// The first page to give, from 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    from: usize,
    /// How many pages to give at most; 0 for the metadata alone.
    #[serde(default = "default_limit")]
    #[schemars(range(max = 1000))]
    limit: usize,
    /// The `next` of an earlier answer, to go on after it, in place of `from`.
    cursor: Option<String>,
    /// The password of a PDF, where it needs one.
    #[schemars(length(max = 200))]
    password: Option<String>,
}

fn one() -> usize {
    1
}

fn default_limit() -> usize {
    20
}

/// What a document is.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Format {
    /// PDF.
    Pdf,
    /// Word (Office Open XML).
    Docx,
    /// Excel (Office Open XML).
    Xlsx,
    /// PowerPoint (Office Open XML).
    Pptx,
    /// Markdown, whose text is given as it is.
    Markdown,
    /// Plain text.
    Text,
}

/// A document, as far as it was asked for.
#[data]
pub(crate) struct Document {
    /// What it is.
    format: Format,
    /// Its title, where it says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// What else it says of itself: `author`, `subject`, `keywords`, `created`, `modified`,
    /// `application`.
    metadata: Map<String, Value>,
    /// How many pages it has in all.
    page_count: usize,
    /// The pages that were asked for.
    pages: Vec<Page>,
}

/// A page.
#[data]
#[derive(Default, PartialEq)]
pub(crate) struct Page {
    /// Its number, from 1.
    number: usize,
    /// The title of a slide or the name of a sheet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Its text. Headings of a DOCX begin with `#`, list items with `-`; the cells of a row are
    /// separated by tabs.
    text: String,
    /// Its tables: rows of cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tables: Vec<Vec<Vec<String>>>,
    /// The speaker's notes of a slide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// How many pictures it shows (PDF); with little text, it may be a scan.
    #[serde(default, skip_serializing_if = "is_zero")]
    images: usize,
    /// Whether its text was cut because it is too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Read a document (PDF, DOCX, XLSX, PPTX, Markdown, plain text) page by page: text, tables, title
/// and metadata. Long documents come in parts: go on with `next` as `cursor`, or begin at a page
/// with `from`. A page without text but with `images` may be a scan, which is not read.
#[tool]
fn document(reading: Reading) -> Result<Output<Document>> {
    let Reading { document, format, from, limit, cursor, password } = reading;
    let first = from_cursor(cursor.as_deref())?.map_or(from, NonZeroUsize::get);
    let bytes = document.at_most(MAX_BYTES)?.bytes()?;
    let (format, package) = kind(&bytes, format)?;
    if password.is_some() && format != Format::Pdf {
        return Err(Error::bad_arguments("`password` is for a PDF"));
    }
    let mut pages = Pages::new(first, limit);
    let (title, metadata) = match (format, package) {
        (Format::Pdf, _) => pdf::read(bytes, password.as_deref().unwrap_or(""), &mut pages)?,
        (Format::Docx, Some(mut package)) => docx::read(&mut package, &mut pages)?,
        (Format::Pptx, Some(mut package)) => pptx::read(&mut package, &mut pages)?,
        (Format::Xlsx, Some(package)) => sheet::read(package, &mut pages)?,
        (Format::Markdown, _) => markdown::read(text(bytes)?, &mut pages),
        (_, _) => {
            pages.split(&text(bytes)?);
            (None, Map::new())
        }
    };
    let page_count = pages.count();
    if first > page_count.max(1) {
        return Err(Error::not_found(format!(
            "there is no page {first}: the document has {page_count}"
        )));
    }
    let next = pages.next();
    let pages = pages.into_pages();
    let cut = pages.iter().any(|page| page.cut);
    let document = Document { format, title, metadata, page_count, pages };
    Ok(Output::new(document).with_truncated(next.is_some() || cut).with_next(next))
}

export!(document);

fn text(bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid_data(format!("the text is not UTF-8 at byte {at}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// What a document is, and its package where it is one of Office Open XML.
fn kind(bytes: &[u8], format: Option<Format>) -> Result<(Format, Option<Package<'_>>)> {
    let is_zip = bytes.starts_with(b"PK\x03\x04");
    match format {
        None if is_zip => {
            let package = Package::open(bytes)?;
            let format = package.kind()?;
            Ok((format, Some(package)))
        }
        None if bytes[..bytes.len().min(1024)].windows(5).any(|part| part == b"%PDF-") => {
            Ok((Format::Pdf, None))
        }
        None if bytes.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]) => Err(Error::unsupported(
            "this is a document of Office before 2007, or one with a password, which is not read: \
             save it as DOCX, XLSX or PPTX without a password",
        )),
        None if bytes.contains(&0) => Err(Error::unsupported(
            "this is no document that is known: PDF, DOCX, XLSX, PPTX, Markdown and text are read",
        )),
        None => Ok((Format::Text, None)),
        Some(Format::Docx | Format::Xlsx | Format::Pptx) => {
            let package = Package::open(bytes)?;
            let found = package.kind()?;
            match format == Some(found) {
                true => Ok((found, Some(package))),
                false => Err(Error::bad_arguments(format!(
                    "`format` says otherwise, but this is {}",
                    json!(found)
                ))),
            }
        }
        Some(format) => Ok((format, None)),
    }
}
