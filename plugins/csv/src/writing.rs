//! Rows to CSV.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs, serde_json};
use csv::{QuoteStyle, Terminator, WriterBuilder};

use crate::{MAX_COLUMNS, MAX_HEADER_BYTES, ascii, distinct};

/// Bytes of CSV that go into the answer itself.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Bytes of CSV at most.
const MAX_BYTES: usize = 32 << 20;

/// What to write, and how.
#[data]
pub(crate) struct Writing {
    /// Objects by column name, or arrays of cells. A cell is text, a number, a boolean or null; an
    /// array or object in a cell is written as JSON.
    #[schemars(length(max = 1_000_000))]
    rows: Vec<Row>,
    /// The columns, in order. Default: the keys of the objects in the order they first come; for
    /// arrays no names are written.
    #[schemars(length(min = 1, max = 100_000))]
    columns: Option<Vec<String>>,
    /// Whether the names of the columns are the first row.
    #[serde(default = "yes")]
    headers: bool,
    /// The character between cells.
    #[serde(default = "comma")]
    #[schemars(length(min = 1, max = 1))]
    delimiter: String,
    /// The character around cells; it is doubled inside them.
    #[serde(default = "quote")]
    #[schemars(length(min = 1, max = 1))]
    quote: String,
    /// Which cells are quoted.
    #[serde(default)]
    quoting: Quoting,
    /// How lines end.
    #[serde(default)]
    line_ending: LineEnding,
    /// What is written for null and for keys an object lacks.
    #[serde(default)]
    #[schemars(length(max = 100))]
    null: String,
    /// Begin with a byte order mark, by which Excel knows UTF-8.
    #[serde(default)]
    bom: bool,
    /// Put `'` before texts that a spreadsheet would run as a formula (those that begin with `=`,
    /// `+`, `-`, `@`, a tab or a carriage return). For text that others wrote.
    #[serde(default)]
    escape_formulas: bool,
}

fn yes() -> bool {
    true
}

fn comma() -> String {
    ",".into()
}

fn quote() -> String {
    "\"".into()
}

/// A row.
#[data]
#[serde(untagged)]
enum Row {
    /// Cells by column.
    Object(Map<String, Value>),
    /// Cells in order.
    Array(Vec<Value>),
}

/// Which cells are quoted.
#[data]
#[derive(Copy, Default)]
enum Quoting {
    /// Those that need it.
    #[default]
    Necessary,
    /// All.
    Always,
    /// All that are no numbers.
    NonNumeric,
}

/// How lines end.
#[data]
#[derive(Copy, Default)]
enum LineEnding {
    #[default]
    Lf,
    Crlf,
}

/// CSV.
#[data]
pub(crate) struct Written {
    /// The CSV, where it is no longer than 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The CSV as a blob, where it is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    /// Rows, without that of the names.
    rows: usize,
    /// Columns.
    columns: usize,
    /// Length in bytes.
    bytes: usize,
}

/// Write rows as CSV, TSV and the like.
///
/// Rows are objects by column name, or arrays; quotes, delimiters and line breaks inside cells are
/// taken care of. A CSV of more than 1 MiB comes as a blob, one of more than 32 MiB is refused. Set
/// `escape_formulas` where the cells come from strangers and a person will open the file in a
/// spreadsheet.
#[tool]
pub(crate) fn write(writing: Writing) -> Result<Written> {
    let delimiter = ascii("delimiter", &writing.delimiter)?;
    let quote = ascii("quote", &writing.quote)?;
    distinct(&[("delimiter", Some(delimiter)), ("quote", Some(quote))])?;
    let columns = match &writing.columns {
        Some(columns) => columns.clone(),
        None => keys(&writing.rows)?,
    };
    let places = places(&columns)?;
    let width = match columns.len() {
        0 => writing.rows.iter().map(Row::len).max().unwrap_or_default(),
        width => width,
    };
    if width > MAX_COLUMNS {
        return Err(Error::too_large(format!(
            "a row has {width} cells; this tool writes {MAX_COLUMNS}"
        )));
    }

    let style = match writing.quoting {
        Quoting::Necessary => QuoteStyle::Necessary,
        Quoting::Always => QuoteStyle::Always,
        Quoting::NonNumeric => QuoteStyle::NonNumeric,
    };
    let terminator = match writing.line_ending {
        LineEnding::Lf => Terminator::Any(b'\n'),
        LineEnding::Crlf => Terminator::CRLF,
    };
    let start = if writing.bom { "\u{feff}" } else { "" };
    let mut csv = WriterBuilder::new()
        .delimiter(delimiter)
        .quote(quote)
        .quote_style(style)
        .terminator(terminator)
        .flexible(true)
        .from_writer(Bounded(start.as_bytes().to_vec()));
    let mut cells = vec![String::new(); width];
    if writing.headers && !columns.is_empty() {
        let names = columns.iter().map(|name| safe(name.clone(), writing.escape_formulas));
        csv.write_record(names).map_err(too_large)?;
    }
    for (at, row) in writing.rows.iter().enumerate() {
        cells.iter_mut().for_each(|cell| cell.clone_from(&writing.null));
        row.check(at, &places, width)?;
        for (place, value) in row.cells(&places) {
            if let Some(cell) = cells.get_mut(place)
                && let Some(text) = text_of(value, writing.escape_formulas)?
            {
                *cell = text;
            }
        }
        csv.write_record(&cells).map_err(too_large)?;
    }
    let Bounded(bytes) =
        csv.into_inner().map_err(|error| too_large(csv::Error::from(error.into_error())))?;

    let length = bytes.len();
    let (text, blob) = if length > MAX_TEXT_BYTES {
        (None, Some(blobs::store("text/csv; charset=utf-8", &bytes)?))
    } else {
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::internal("the CSV that was written is not UTF-8"))?;
        (Some(text), None)
    };
    Ok(Written { text, blob, rows: writing.rows.len(), columns: width, bytes: length })
}

/// The keys of the objects, in the order they first come.
fn keys(rows: &[Row]) -> Result<Vec<String>> {
    let mut keys = Map::new();
    for row in rows {
        if let Row::Object(object) = row {
            for key in object.keys() {
                if !keys.contains_key(key) {
                    keys.insert(key.clone(), Value::Null);
                }
            }
            if keys.len() > MAX_COLUMNS {
                return Err(Error::too_large(format!(
                    "the objects have more than {MAX_COLUMNS} keys together: name `columns`"
                )));
            }
        }
    }
    Ok(keys.into_iter().map(|(key, _)| key).collect())
}

/// Where each column stands.
fn places(columns: &[String]) -> Result<BTreeMap<&str, usize>> {
    let mut places = BTreeMap::new();
    for (at, column) in columns.iter().enumerate() {
        if places.insert(column.as_str(), at).is_some() {
            return Err(Error::bad_arguments(format!("the column {column:?} is named twice")));
        }
    }
    if columns.iter().map(String::len).sum::<usize>() > MAX_HEADER_BYTES {
        let most = MAX_HEADER_BYTES >> 20;
        let message = format!("the names of the columns are longer than {most} MiB together");
        return Err(Error::too_large(message));
    }
    Ok(places)
}

impl Row {
    fn len(&self) -> usize {
        match self {
            Row::Object(object) => object.len(),
            Row::Array(cells) => cells.len(),
        }
    }

    /// Refuses an array that is longer than there are columns.
    fn check(&self, at: usize, places: &BTreeMap<&str, usize>, width: usize) -> Result<()> {
        match self {
            Row::Array(cells) if cells.len() > width && !places.is_empty() => {
                Err(Error::bad_arguments(format!(
                    "`rows[{at}]` has {} cells where there are {width} columns",
                    cells.len()
                )))
            }
            _ => Ok(()),
        }
    }

    /// The cells and their columns; what has no column is passed over.
    fn cells<'a>(
        &'a self,
        places: &'a BTreeMap<&str, usize>,
    ) -> Box<dyn Iterator<Item = (usize, &'a Value)> + 'a> {
        match self {
            Row::Array(cells) => Box::new(cells.iter().enumerate()),
            Row::Object(object) => Box::new(
                object.iter().filter_map(|(key, value)| Some((*places.get(key.as_str())?, value))),
            ),
        }
    }
}

/// A value as a cell, `None` for null.
fn text_of(value: &Value, escape: bool) -> Result<Option<String>> {
    Ok(match value {
        Value::Null => None,
        Value::String(text) => Some(safe(text.clone(), escape)),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => Some(safe(serde_json::to_string(value)?, escape)),
    })
}

/// The text, made harmless for a spreadsheet where asked for.
fn safe(text: String, escape: bool) -> String {
    if escape && text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text
    }
}

/// A buffer that refuses to grow beyond [`MAX_BYTES`].
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writing to memory fails for one reason.
fn too_large(_: csv::Error) -> Error {
    let most = MAX_BYTES >> 20;
    Error::too_large(format!("the CSV is larger than {most} MiB: write it in parts"))
}
