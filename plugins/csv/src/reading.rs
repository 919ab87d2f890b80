//! CSV to rows.

use std::collections::BTreeSet;

use ampoule_sdk::from_cursor;
use ampoule_sdk::prelude::*;
use csv::{ByteRecord, ReaderBuilder};
use shared_table::{DELIMITERS, guess_delimiter};

use crate::types::Type;
use crate::{MAX_COLUMNS, MAX_HEADER_BYTES, ascii, distinct, json_len};

/// Rows in one answer where the caller names no number.
const DEFAULT_LIMIT: u32 = 1000;

/// Bytes of JSON after which an answer holds no more rows.
const PAGE_BYTES: usize = 4 << 20;

/// Bytes of JSON a row takes at most.
const MAX_ROW_BYTES: usize = 8 << 20;

/// Bad rows that are reported one by one.
const MAX_REPORTS: usize = 100;

/// What to read, and how.
#[data]
pub(crate) struct Reading {
    /// The CSV. A byte order mark is passed over, and one of UTF-16 is heeded.
    data: Content,
    /// The character between cells: `,`, `;`, a tab … Default: guessed among these and `|`.
    #[schemars(length(min = 1, max = 1))]
    delimiter: Option<String>,
    /// `true` (default): the first row holds the names of the columns. `false`: it is data, and the
    /// columns are called `column_1` and so on. Or the names themselves, where the data has none.
    #[serde(default)]
    headers: Headers,
    /// The character around cells that hold a delimiter or a line break; `""`: none is special.
    #[serde(default = "quote")]
    #[schemars(length(max = 1))]
    quote: String,
    /// The character before a quote inside a quoted cell, for example `\`. Default: the quote is
    /// doubled.
    #[schemars(length(min = 1, max = 1))]
    escape: Option<String>,
    /// Lines that begin with this character are passed over. Default: none.
    #[schemars(length(min = 1, max = 1))]
    comment: Option<String>,
    /// The encoding, by a name of the web such as `windows-1252` or `shift_jis`. Default: UTF-8, or
    /// UTF-16 where a byte order mark says so.
    #[schemars(length(min = 1, max = 40))]
    encoding: Option<String>,
    /// Take white space off both ends of names and cells.
    #[serde(default)]
    trim: bool,
    /// Guess a type for each column (integer, number, boolean, else text). Default: all is text.
    #[serde(default)]
    types: bool,
    /// Cells that become null. Default: `[""]` with `types`, else none.
    #[schemars(length(max = 100))]
    missing: Option<Vec<String>>,
    /// Shape of the rows: an object by column name, or an array in the order of the columns.
    #[serde(default)]
    rows: Shape,
    /// What becomes of rows with too few or too many cells or broken text: left out and listed in
    /// `bad` with their lines, or the call fails at the first.
    #[serde(default)]
    bad_rows: BadRows,
    /// Rows in one answer at most; fewer where they are large.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
    /// The `next` of an earlier answer, to go on after it.
    #[schemars(length(max = 20))]
    cursor: Option<String>,
}

fn quote() -> String {
    "\"".into()
}

fn limit() -> u32 {
    DEFAULT_LIMIT
}

/// Where the names of the columns come from.
#[data]
#[serde(untagged)]
enum Headers {
    /// Whether they stand in the first row.
    First(bool),
    /// The names.
    Names(#[schemars(length(min = 1, max = 100_000))] Vec<String>),
}

impl Default for Headers {
    fn default() -> Self {
        Headers::First(true)
    }
}

/// Shape of a row.
#[data]
#[derive(Copy, Default)]
enum Shape {
    #[default]
    Objects,
    Arrays,
}

/// What becomes of bad rows.
#[data]
#[derive(Copy, Default, PartialEq)]
enum BadRows {
    #[default]
    Report,
    Fail,
}

/// A table.
#[data]
pub(crate) struct Table {
    /// The columns, in order. A name that is there twice gets a number, an empty one `column_N`.
    columns: Vec<Column>,
    /// The rows of this part.
    rows: Vec<Value>,
    /// Good rows in all.
    total: usize,
    /// The delimiter, as given or guessed.
    delimiter: String,
    /// Rows that were left out, the first 100.
    bad: Vec<Bad>,
    /// Rows that were left out, in all.
    bad_total: usize,
}

/// A column.
#[data]
struct Column {
    /// Its name.
    name: String,
    /// The guessed type, where asked for.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Type>,
}

/// A row that was left out.
#[data]
struct Bad {
    /// The line where it begins, counted from 1.
    line: u64,
    /// What is wrong with it.
    reason: String,
}

/// Read CSV, TSV and the like: columns, rows and what was wrong with the rest.
///
/// Finds the delimiter by itself. Cells are text unless `types` is set; then each column gets the
/// one type that all its cells have, while codes with leading zeros and integers beyond 2^53 stay
/// text. Rows that do not fit are left out and listed in `bad`. At most 100,000 columns; go on with
/// `cursor`.
#[tool]
pub(crate) fn read(reading: Reading) -> Result<Output<Table>> {
    let offset: usize = from_cursor(reading.cursor.as_deref())?.unwrap_or(0);
    let format = Format::new(&reading)?;
    let bytes = decoded(reading.data, reading.encoding.as_deref())?;
    let format = format.guessed(&bytes);

    let mut rows = Rows::new(format, &bytes);
    let names = names(reading.headers, &mut rows)?;
    let missing = reading.missing.unwrap_or_else(|| vec![String::new(); reading.types.into()]);
    let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
    let sought = reading.types.then_some(&missing);
    let survey = Survey::of(rows, names.len(), offset, reading.bad_rows, sought)?;

    let value = |at: usize, cell: &str| match survey.types.get(at) {
        _ if missing.contains(cell) => Value::Null,
        Some(kind) => kind.value(cell),
        None => cell.into(),
    };
    let keys: usize = match reading.rows {
        Shape::Objects => names.iter().map(|name| json_len(name) + 1).sum(),
        Shape::Arrays => 0,
    };
    let mut rows = Rows::new(format, &bytes[survey.start..]);
    let (mut page, mut size) = (Vec::new(), 0);
    while page.len() < reading.limit as usize
        && let Some((_, row)) = rows.next()
    {
        let Ok(cells) = row.cells(names.len()) else { continue };
        size += keys + row_bytes(&cells);
        if size > PAGE_BYTES && !page.is_empty() {
            break;
        }
        let values = cells.iter().enumerate().map(|(at, cell)| value(at, cell));
        page.push(match reading.rows {
            Shape::Arrays => Value::Array(values.collect()),
            Shape::Objects => Value::Object(names.iter().cloned().zip(values).collect()),
        });
    }

    let end = offset.saturating_add(page.len());
    let next = (end < survey.total).then(|| end.to_string());
    let kinds = survey.types.iter().copied().map(Some).chain(std::iter::repeat(None));
    let table = Table {
        columns: names.into_iter().zip(kinds).map(|(name, kind)| Column { name, kind }).collect(),
        rows: page,
        total: survey.total,
        delimiter: char::from(format.delimiter).into(),
        bad: survey.bad,
        bad_total: survey.bad_total,
    };
    Ok(Output::new(table).with_truncated(next.is_some()).with_next(next))
}

/// The data in UTF-8, without a byte order mark. Where no encoding is named, broken UTF-8 is left
/// to the row that holds it.
fn decoded(data: Content, label: Option<&str>) -> Result<Vec<u8>> {
    let named = label.map(|label| {
        encoding_rs::Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            Error::bad_arguments(format!(
                "`encoding` {label:?} is not known: use a name such as `utf-8`, `utf-16le`, \
                 `windows-1252` or `shift_jis`"
            ))
        })
    });
    let named = named.transpose()?;
    // A text has its encoding behind it.
    let named = named.filter(|_| !matches!(data, Content::Text(_)));
    let bytes = data.bytes()?;
    let marked = encoding_rs::Encoding::for_bom(&bytes).map(|(encoding, _)| encoding);
    match marked.or(named) {
        Some(encoding) if encoding != encoding_rs::UTF_8 => {
            let (text, _, broken) = encoding.decode(&bytes);
            if broken {
                let name = encoding.name();
                let message = format!("the data is not {name}: set `encoding` to what it is");
                return Err(Error::invalid_data(message));
            }
            Ok(text.into_owned().into_bytes())
        }
        _ => Ok(match bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => rest.to_vec(),
            None => bytes,
        }),
    }
}

/// How the text is written.
#[derive(Clone, Copy)]
struct Format {
    delimiter: u8,
    guess: bool,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    trim: bool,
}

impl Format {
    fn new(reading: &Reading) -> Result<Format> {
        let option =
            |name, text: &Option<String>| text.as_deref().map(|text| ascii(name, text)).transpose();
        let quote = Some(reading.quote.clone()).filter(|quote| !quote.is_empty());
        let quote = option("quote", &quote)?;
        let escape = option("escape", &reading.escape)?;
        let comment = option("comment", &reading.comment)?;
        let delimiter = option("delimiter", &reading.delimiter)?;
        distinct(&[
            ("delimiter", delimiter),
            ("quote", quote),
            ("escape", escape),
            ("comment", comment),
        ])?;
        Ok(Format {
            delimiter: delimiter.unwrap_or(DELIMITERS[0]),
            guess: delimiter.is_none(),
            quote,
            escape,
            comment,
            trim: reading.trim,
        })
    }

    /// The same with a delimiter that the text is split by, where none was named.
    fn guessed(mut self, bytes: &[u8]) -> Format {
        if self.guess {
            let taken = [self.quote, self.escape, self.comment];
            let free = DELIMITERS.into_iter().filter(|byte| !taken.contains(&Some(*byte)));
            let reader = |delimiter| Format { delimiter, ..self }.reader();
            self.delimiter = guess_delimiter(bytes, free, reader);
        }
        self
    }
}

/// Rows one after the other.
struct Rows<'a> {
    reader: csv::Reader<&'a [u8]>,
    record: ByteRecord,
    format: Format,
    bytes: &'a [u8],
}

/// A row, still unjudged.
struct Row<'a> {
    record: &'a ByteRecord,
    format: Format,
    /// Whether it ends inside a quote.
    open: bool,
}

impl<'a> Rows<'a> {
    fn new(format: Format, bytes: &'a [u8]) -> Rows<'a> {
        Rows {
            reader: format.reader().from_reader(bytes),
            record: ByteRecord::new(),
            format,
            bytes,
        }
    }

    /// The byte where the next row begins.
    fn at(&self) -> usize {
        usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX).min(self.bytes.len())
    }

    /// The next row, with the line where it begins.
    fn next(&mut self) -> Option<(u64, Row<'_>)> {
        // Reading from memory does not fail, and rows may have any width.
        if !self.reader.read_byte_record(&mut self.record).unwrap_or(false) {
            return None;
        }
        let at = self.record.position().map_or((0, 0), |at| (at.byte(), at.line()));
        let start = usize::try_from(at.0).unwrap_or(usize::MAX).min(self.bytes.len());
        let open = self.at() == self.bytes.len() && self.format.is_open(&self.bytes[start..]);
        let line = at.1 + self.format.skipped(&self.bytes[start..]);
        Some((line, Row { record: &self.record, format: self.format, open }))
    }
}

impl Format {
    fn reader(&self) -> ReaderBuilder {
        let mut builder = shared_table::reader(self.delimiter);
        builder
            .quoting(self.quote.is_some())
            .quote(self.quote.unwrap_or(b'"'))
            .escape(self.escape)
            .comment(self.comment);
        builder
    }

    /// Blank lines and comments before the first row.
    fn skipped(&self, mut rest: &[u8]) -> u64 {
        let mut lines = 0;
        loop {
            let line = match rest.first() {
                Some(b'\n' | b'\r') => 1,
                first if first.is_some() && first == self.comment.as_ref() => {
                    rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)
                }
                _ => return lines,
            };
            lines += u64::from(rest[..line].ends_with(b"\n"));
            rest = &rest[line..];
        }
    }

    /// Whether the last row, written so, ends inside a quote: then one more line is no row of its
    /// own.
    fn is_open(&self, last: &[u8]) -> bool {
        let Some(quote) = self.quote else { return false };
        if !last.contains(&quote) {
            return false;
        }
        let line: &[u8] = if self.comment == Some(b'x') { b"\ny\n" } else { b"\nx\n" };
        let text = [last, line].concat();
        self.reader().from_reader(&text[..]).into_byte_records().count() < 2
    }
}

impl<'a> Row<'a> {
    /// The cells, where the row has this many and is sound; else what is wrong with it.
    fn cells(&self, width: usize) -> Result<Vec<&'a str>, String> {
        if self.open {
            return Err("a quote is never closed".into());
        }
        let cells = self.record.len();
        if cells != width {
            let s = if cells == 1 { "" } else { "s" };
            return Err(format!("{cells} cell{s} where there are {width} columns"));
        }
        let texts = self.record.iter().map(std::str::from_utf8);
        let mut texts: Vec<&str> = texts
            .collect::<Result<_, _>>()
            .map_err(|_| "it is not UTF-8: set `encoding` to what it is".to_owned())?;
        if self.format.trim {
            texts.iter_mut().for_each(|text| *text = text.trim());
        }
        if row_bytes(&texts) > MAX_ROW_BYTES {
            return Err(format!("it is larger than {} MiB", MAX_ROW_BYTES >> 20));
        }
        Ok(texts)
    }
}

/// Bytes of JSON the cells take.
fn row_bytes(cells: &[&str]) -> usize {
    cells.iter().map(|cell| json_len(cell) + 1).sum()
}

/// The names of the columns. Where they stand in the first row, it is read.
fn names(headers: Headers, rows: &mut Rows<'_>) -> Result<Vec<String>> {
    let names: Vec<String> = match headers {
        Headers::Names(names) => names,
        Headers::First(here) => {
            let (format, bytes) = (rows.format, rows.bytes);
            let Some((line, row)) = rows.next() else { return Ok(Vec::new()) };
            let width = row.record.len();
            if width > MAX_COLUMNS {
                return Err(Error::too_large(format!(
                    "there are {width} columns; this tool reads {MAX_COLUMNS}"
                )));
            }
            let cells = row.cells(width).map_err(|reason| {
                Error::invalid_data(format!(
                    "the first row, in line {line}, cannot be read: {reason}"
                ))
            })?;
            let names = cells.iter().map(|cell| if here { *cell } else { "" }.to_owned()).collect();
            if !here {
                *rows = Rows::new(format, bytes);
            }
            names
        }
    };
    if names.iter().map(|name| json_len(name)).sum::<usize>() > MAX_HEADER_BYTES {
        let most = MAX_HEADER_BYTES >> 20;
        let message = format!("the names of the columns are longer than {most} MiB together");
        return Err(Error::too_large(format!("{message}: is the first row a header?")));
    }
    Ok(shared_table::unique_names(names, str::to_owned))
}

/// What the first pass over the rows finds.
struct Survey {
    /// The types of the columns, where asked for.
    types: Vec<Type>,
    /// The byte where the row at the offset begins.
    start: usize,
    total: usize,
    bad: Vec<Bad>,
    bad_total: usize,
}

impl Survey {
    fn of(
        mut rows: Rows<'_>,
        width: usize,
        offset: usize,
        bad_rows: BadRows,
        missing: Option<&BTreeSet<&str>>,
    ) -> Result<Survey> {
        let types = missing.map_or(Vec::new(), |_| vec![Type::Empty; width]);
        let mut survey =
            Survey { types, start: rows.bytes.len(), total: 0, bad: vec![], bad_total: 0 };
        loop {
            if survey.total == offset {
                survey.start = survey.start.min(rows.at());
            }
            let Some((line, row)) = rows.next() else { return Ok(survey) };
            match row.cells(width) {
                Ok(cells) => {
                    survey.total += 1;
                    if let Some(missing) = missing {
                        let present = survey.types.iter_mut().zip(cells);
                        for (kind, cell) in present.filter(|(_, cell)| !missing.contains(cell)) {
                            *kind = kind.with(cell);
                        }
                    }
                }
                Err(reason) if bad_rows == BadRows::Fail => {
                    return Err(Error::invalid_data(format!("line {line}: {reason}"))
                        .with_data(json!({ "line": line, "reason": reason })));
                }
                Err(reason) => {
                    survey.bad_total += 1;
                    if survey.bad.len() < MAX_REPORTS {
                        survey.bad.push(Bad { line, reason });
                    }
                }
            }
        }
    }
}
