//! A table in either form, read column by column.

use std::collections::{BTreeMap, BTreeSet};

use ampoule_sdk::prelude::*;
use csv::ByteRecord;
use shared_table::{DELIMITERS, guess_delimiter, unique_names};

use crate::column::Column;

/// Columns of a table at most.
const MAX_COLUMNS: usize = 100_000;

/// A table.
pub(crate) enum Table {
    /// Objects by column name.
    Rows(Vec<Map<String, Value>>),
    /// CSV.
    Csv { text: String, delimiter: u8 },
}

impl Table {
    /// Reads CSV.
    ///
    /// # Errors
    /// Those of [`Content::text`]; `bad-arguments` where the delimiter is none.
    pub(crate) fn csv(content: Content, delimiter: Option<&str>) -> Result<Table> {
        let text = content.text()?;
        let delimiter = match delimiter.map(str::as_bytes) {
            None => guess_delimiter(text.as_bytes(), DELIMITERS, shared_table::reader),
            Some([byte]) if byte.is_ascii() && !b"\r\n\"".contains(byte) => *byte,
            Some(_) => {
                return Err(Error::bad_arguments(
                    "`delimiter` is one ASCII character that is no line break and no quote",
                ));
            }
        };
        Ok(Table::Csv { text, delimiter })
    }

    /// The names of the columns, in order.
    ///
    /// # Errors
    /// `too-large` where there are too many.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        match self {
            Table::Rows(rows) => {
                for name in rows.iter().flat_map(Map::keys) {
                    if seen.insert(name) {
                        names.push(name.clone());
                    }
                    if names.len() > MAX_COLUMNS {
                        return Err(too_many());
                    }
                }
            }
            Table::Csv { text, delimiter } => {
                let mut record = ByteRecord::new();
                reader(text, *delimiter).read_byte_record(&mut record).or_code("invalid-data")?;
                if record.len() > MAX_COLUMNS {
                    return Err(too_many());
                }
                // A text cut at ASCII characters is text.
                let cells = record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned());
                names = unique_names(cells.collect(), str::to_owned);
            }
        }
        Ok(names)
    }

    /// Puts the values into the columns. Answers the rows, and those that are uneven.
    ///
    /// # Errors
    /// `invalid-data` where CSV cannot be read.
    pub(crate) fn fill(self, columns: &mut [Column], missing: &[String]) -> Result<(usize, usize)> {
        let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
        let names = self.names()?;
        match self {
            Table::Rows(rows) => {
                for row in &rows {
                    for column in columns.iter_mut() {
                        match row.get(column.name()) {
                            Some(Value::String(text)) if missing.contains(text.as_str()) => {
                                column.add_missing();
                            }
                            None | Some(Value::Null) => column.add_missing(),
                            Some(value) => column.add(value),
                        }
                    }
                }
                Ok((rows.len(), 0))
            }
            Table::Csv { text, delimiter } => {
                let width = names.len();
                let at: BTreeMap<String, usize> = names.into_iter().zip(0..).collect();
                let places: Vec<usize> =
                    columns.iter().filter_map(|column| at.get(column.name()).copied()).collect();
                let mut reader = reader(&text, delimiter);
                let mut record = ByteRecord::new();
                let (mut rows, mut uneven, mut first) = (0, 0, true);
                while reader.read_byte_record(&mut record).or_code("invalid-data")? {
                    if std::mem::take(&mut first) {
                        continue;
                    }
                    rows += 1;
                    uneven += usize::from(record.len() != width);
                    for (column, place) in columns.iter_mut().zip(&places) {
                        match record.get(*place).map(String::from_utf8_lossy) {
                            Some(cell) if !missing.contains(&*cell) => column.add_text(&cell),
                            _ => column.add_missing(),
                        }
                    }
                }
                Ok((rows, uneven))
            }
        }
    }
}

fn too_many() -> Error {
    Error::too_large(format!("there are more than {MAX_COLUMNS} columns"))
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    shared_table::reader(delimiter).from_reader(text.as_bytes())
}
