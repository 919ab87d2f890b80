//! SQLite in the sandbox: tables from JSON, CSV or a database file, queried in memory.
//!
//! Parity with `execute_sql` and `validate_sql` of the seed systems, for data that fits into a
//! call: nothing is kept between calls, and no server is asked.
//!
//! SQLite is compiled for Wasm without an operating system below it (`SQLITE_OS_OTHER`, see
//! `system.rs`): it has no files, no clock and no random numbers, so `date('now')` is null and
//! `random()` gives the same numbers in each call. Statements cannot attach files, load extensions
//! or set what a `PRAGMA` would change; a database from outside is opened defensively, with its
//! schema untrusted.
//!
//! Suite: `tests/cases.json` holds examples of SQLite's documentation of its functions, and our
//! own.

mod loading;
mod querying;
mod rules;
mod system;
mod validating;
mod values;

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;
use rusqlite::Connection;

use loading::Source;
use querying::query;
use validating::validate;

/// What a statement runs over.
struct Over {
    tables: BTreeMap<String, Source>,
    database: Option<Content>,
    /// A path in the workspace.
    file: Option<String>,
}

impl Over {
    /// A database in memory that holds all of it, for this SQL.
    fn open(self, sql: &str, read_only: bool) -> Result<(Connection, rules::Refused)> {
        if sql.contains('\0') {
            return Err(Error::bad_arguments(
                "`sql` holds a NUL character, where SQLite would end",
            ));
        }
        let mut connection = Connection::open_in_memory().map_err(failed)?;
        rules::bound(&connection)?;
        let from_file = self.database.is_some() || self.file.is_some();
        match (self.database, self.file) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_arguments("name `database` or `file`, not both"));
            }
            (Some(database), None) => {
                loading::database(&mut connection, database.bytes()?, read_only)?;
            }
            (None, Some(path)) => {
                loading::database(&mut connection, loading::file(&path)?, read_only)?;
            }
            (None, None) => {}
        }
        for (name, source) in self.tables {
            source.load(&mut connection, &name, from_file)?;
        }
        let refused = rules::authorize(&mut connection, read_only)?;
        Ok((connection, refused))
    }
}

/// An error of SQLite that is not the statement's own.
fn failed(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let message = match &error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::CannotOpen) => {
            Error::invalid_data(format!("the database cannot be read: {message}"))
        }
        Some(ErrorCode::TooBig | ErrorCode::OutOfMemory | ErrorCode::DiskFull) => {
            Error::too_large(message)
        }
        Some(ErrorCode::ConstraintViolation) => Error::conflict(message),
        _ => Error::bad_arguments(message),
    }
}

export!(query, validate);
