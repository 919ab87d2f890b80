//! Tables and databases into memory.

use std::collections::BTreeSet;

use ampoule_sdk::files;
use ampoule_sdk::prelude::*;
use csv::{ReaderBuilder, StringRecord};
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::failed;
use crate::values::Given;

/// Bytes of a database at most.
const MAX_DATABASE: u64 = 64 << 20;

/// Columns of a table at most.
const MAX_COLUMNS: usize = 1000;

/// Integers up to this are the same in every reader of JSON: 2^53.
const EXACT: u64 = 1 << 53;

/// A table to load.
#[data]
#[serde(untagged)]
pub(crate) enum Source {
    /// Objects by column name.
    Rows(Vec<Map<String, Value>>),
    /// CSV.
    Csv(Content),
}

/// Puts a database file in place of the empty one.
pub(crate) fn database(
    connection: &mut Connection,
    mut bytes: Vec<u8>,
    read_only: bool,
) -> Result<()> {
    if bytes.len() as u64 > MAX_DATABASE {
        return Err(too_large());
    }
    if !bytes.starts_with(b"SQLite format 3\0") || bytes.len() < 100 {
        return Err(Error::invalid_data("the database is not a SQLite file"));
    }
    // A file that was written with a log beside it says so in these bytes; in memory there is none.
    bytes[18..20].copy_from_slice(&[1, 1]);
    let length = bytes.len();
    connection.deserialize_read_exact("main", &bytes[..], length, read_only).map_err(failed)?;
    // Names that are no text would end the plugin where they are told.
    let mut schema = connection
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")
        .map_err(failed)?;
    let mut rows = schema.raw_query();
    while let Some(row) = rows.next().map_err(failed)? {
        for at in 0..4 {
            if let ValueRef::Text(text) = row.get_ref(at).map_err(failed)?
                && std::str::from_utf8(text).is_err()
            {
                return Err(Error::invalid_data(
                    "the database cannot be read: its schema holds what is not UTF-8",
                ));
            }
        }
    }
    Ok(())
}

/// The bytes of a file of the workspace.
pub(crate) fn file(path: &str) -> Result<Vec<u8>> {
    if files::stat(path)?.size > MAX_DATABASE {
        return Err(too_large());
    }
    files::read(path)
}

fn too_large() -> Error {
    Error::too_large(format!("the database is larger than {} MiB", MAX_DATABASE >> 20))
}

impl Source {
    /// Makes the table; beside a database file, a temporary one.
    pub(crate) fn load(
        self,
        connection: &mut Connection,
        name: &str,
        temporary: bool,
    ) -> Result<()> {
        let wrong = |error: Error| {
            Error::new(error.code, format!("the table {name:?} of `tables`: {}", error.message))
        };
        let transaction = connection.transaction().map_err(failed)?;
        let loaded = match self {
            Source::Rows(rows) => from_rows(&transaction, name, temporary, &rows),
            Source::Csv(csv) => {
                csv.text().and_then(|text| from_csv(&transaction, name, temporary, &text))
            }
        };
        loaded.map_err(wrong)?;
        transaction.commit().map_err(failed)
    }
}

fn from_rows(
    connection: &Connection,
    name: &str,
    temporary: bool,
    rows: &[Map<String, Value>],
) -> Result<()> {
    let mut columns: Map<String, Value> = Map::new();
    for key in rows.iter().flat_map(Map::keys) {
        if !columns.contains_key(key) {
            columns.insert(key.clone(), Value::Null);
            if columns.len() > MAX_COLUMNS {
                return Err(too_many());
            }
        }
    }
    let columns: Vec<String> = columns.into_iter().map(|(key, _)| key).collect();
    let insert = create(connection, name, temporary, &columns)?;
    let mut insert = connection.prepare(&insert).map_err(failed)?;
    for row in rows {
        let cells = columns.iter().map(|column| Given(row.get(column).unwrap_or(&Value::Null)));
        insert.execute(params_from_iter(cells)).map_err(failed)?;
    }
    Ok(())
}

fn from_csv(connection: &Connection, name: &str, temporary: bool, text: &str) -> Result<()> {
    let delimiter = guessed(text);
    let mut record = StringRecord::new();
    let mut reader = reader(text, delimiter);
    reader.read_record(&mut record).or_code("invalid-data")?;
    let columns = unique(&record);
    if columns.len() > MAX_COLUMNS {
        return Err(too_many());
    }
    let start = reader.position().clone();
    // A column is of the narrowest type that all its cells have.
    let mut types = vec![Type::Empty; columns.len()];
    while reader.read_record(&mut record).or_code("invalid-data")? {
        if record.len() != columns.len() {
            let line = record.position().map_or(0, csv::Position::line);
            return Err(Error::invalid_data(format!(
                "line {line} of the CSV has {} cells where there are {} columns; the tool `csv` \
                 reads what is uneven",
                record.len(),
                columns.len()
            )));
        }
        for (kind, cell) in types.iter_mut().zip(&record) {
            *kind = kind.with(cell);
        }
    }
    let insert = create(connection, name, temporary, &columns)?;
    let mut insert = connection.prepare(&insert).map_err(failed)?;
    let start = usize::try_from(start.byte()).unwrap_or(usize::MAX).min(text.len());
    let mut reader = self::reader(&text[start..], delimiter);
    while reader.read_record(&mut record).or_code("invalid-data")? {
        let cells = types.iter().zip(&record).map(|(kind, cell)| kind.value(cell));
        insert.execute(params_from_iter(cells)).map_err(failed)?;
    }
    Ok(())
}

/// Makes an empty table, and answers the statement that fills it.
fn create(
    connection: &Connection,
    name: &str,
    temporary: bool,
    columns: &[String],
) -> Result<String> {
    if name.is_empty() || name.len() > 200 || name.contains('\0') {
        return Err(Error::bad_arguments(
            "its name must have 1 to 200 characters, none of them NUL",
        ));
    }
    if columns.iter().any(|column| column.contains('\0')) {
        return Err(Error::bad_arguments("the name of a column holds NUL"));
    }
    let name = quoted(name);
    // SQLite has no table without columns.
    let names: Vec<String> = match columns {
        [] => vec![quoted("empty")],
        columns => columns.iter().map(|column| quoted(column)).collect(),
    };
    let (schema, keyword) = if temporary { ("temp", "TEMP ") } else { ("main", "") };
    let names = names.join(", ");
    connection.execute_batch(&format!("CREATE {keyword}TABLE {name} ({names})")).map_err(failed)?;
    let places = vec!["?"; columns.len().max(1)].join(", ");
    Ok(format!("INSERT INTO {schema}.{name} VALUES ({places})"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn too_many() -> Error {
    Error::too_large(format!("it has more than {MAX_COLUMNS} columns"))
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// The delimiter that splits the first row into the most cells.
fn guessed(text: &str) -> u8 {
    let mut best = (b',', 1);
    for delimiter in *b",;\t|" {
        let mut record = StringRecord::new();
        let read = reader(text, delimiter).read_record(&mut record).unwrap_or(false);
        if read && record.len() > best.1 {
            best = (delimiter, record.len());
        }
    }
    best.0
}

/// The names of the columns, different from one another as SQLite compares them.
fn unique(record: &StringRecord) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = record.iter().enumerate().map(|(at, name)| {
        let mut name = match name.trim() {
            "" => format!("column_{}", at + 1),
            name => name.to_owned(),
        };
        while !seen.insert(name.to_ascii_lowercase()) {
            name = format!("{name}_{}", at + 1);
        }
        name
    });
    names.collect()
}

/// The type of a column of CSV.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    Empty,
    Integer,
    Number,
    Text,
}

impl Type {
    fn with(self, cell: &str) -> Type {
        let own = match cell {
            "" => return self,
            _ if integer(cell).is_some() => Type::Integer,
            _ if number(cell).is_some() => Type::Number,
            _ => Type::Text,
        };
        match (self, own) {
            (Type::Empty, own) => own,
            (one, own) if one == own => one,
            (Type::Integer | Type::Number, Type::Integer | Type::Number) => Type::Number,
            _ => Type::Text,
        }
    }

    /// A cell as a value; an empty one is null, unless its column is text.
    fn value(self, cell: &str) -> Sql {
        match self {
            Type::Text => Sql::Text(cell.to_owned()),
            Type::Integer => integer(cell).map_or(Sql::Null, Sql::Integer),
            Type::Number => {
                let number = number(cell).or_else(|| integer(cell).map(|n| n as f64));
                number.map_or(Sql::Null, Sql::Real)
            }
            Type::Empty => Sql::Null,
        }
    }
}

/// A whole number to 2^53, without leading zeros: others are codes and ids.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.len() <= 16
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    let number: i64 = if plain { text.parse().ok()? } else { return None };
    (number.unsigned_abs() <= EXACT && text != "-0").then_some(number)
}

/// A number with a point or an exponent.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
    let begins = digits.starts_with(|first: char| first == '.' || first.is_ascii_digit());
    let code = whole.len() > 1 && whole.starts_with('0');
    if !begins || whole.len() == digits.len() || code || digits.len() > 400 {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
