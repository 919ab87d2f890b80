//! Tables and databases into memory.

use ampoule_sdk::files;
use ampoule_sdk::prelude::*;
use csv::StringRecord;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, params_from_iter};
use shared_table::{Cell, DELIMITERS, guess_delimiter, unique_names};

use crate::failed;
use crate::values::Given;

/// Bytes of a database at most.
const MAX_DATABASE: u64 = 64 << 20;

/// Columns of a table at most.
const MAX_COLUMNS: usize = 1000;

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
    let delimiter = guess_delimiter(text.as_bytes(), DELIMITERS, shared_table::reader);
    let mut record = StringRecord::new();
    let mut reader = reader(text, delimiter);
    reader.read_record(&mut record).or_code("invalid-data")?;
    // As SQLite compares them.
    let names = record.iter().map(|name| name.trim().to_owned()).collect();
    let columns = unique_names(names, str::to_ascii_lowercase);
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
    shared_table::reader(delimiter).from_reader(text.as_bytes())
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
        let own = match Cell::of(cell) {
            Cell::Text("") => return self,
            Cell::Integer(_) => Type::Integer,
            Cell::Number(_) => Type::Number,
            Cell::Boolean(_) | Cell::Text(_) => Type::Text,
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
        match (self, Cell::of(cell)) {
            (Type::Text, _) => Sql::Text(cell.to_owned()),
            (Type::Integer, Cell::Integer(number)) => Sql::Integer(number),
            (Type::Number, Cell::Number(number)) => Sql::Real(number),
            (Type::Number, Cell::Integer(number)) => Sql::Real(number as f64),
            _ => Sql::Null,
        }
    }
}
