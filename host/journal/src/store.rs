//! The SQLite file: its tables, and adding lines at its end.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ampoule_contract::{AuditEvent, AuditKind};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior,
};

use crate::error::JournalError;
use crate::line::{Fields, GENESIS, Head};

/// Tells a journal from other SQLite files: `AMPJ`.
const APPLICATION_ID: i32 = 0x414D_504A;

/// Raised whenever the tables or the form of a line change.
const VERSION: i32 = 1;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(30);

/// The tables, as SQLite keeps their text.
pub(crate) const SCHEMA: [&str; 3] = [
    "CREATE TABLE lines (
    seq INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,
    call TEXT,
    parent TEXT,
    tool TEXT,
    principal TEXT,
    run TEXT,
    body TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT",
    "CREATE INDEX lines_call ON lines (call)",
    "CREATE INDEX lines_kind ON lines (kind, tool)",
];

/// Opens a journal for writing, and makes it where there is none: for its owner alone, as the
/// log of what others did is nobody else's to read.
pub(crate) fn open(path: &Path) -> Result<Connection, JournalError> {
    make(path).map_err(|error| told(error, path))
}

/// What is no database at all is told like any other file that is no journal.
fn told(error: JournalError, path: &Path) -> JournalError {
    match error {
        JournalError::Store(error)
            if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) =>
        {
            let message = "it is no SQLite file".to_owned();
            JournalError::Foreign { path: path.to_owned(), message }
        }
        error => error,
    }
}

fn make(path: &Path) -> Result<Connection, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path).map_err(io)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    settle(&connection)?;
    // A commit is on the disk when it returns, even if the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if is_empty(&transaction)? {
        SCHEMA.iter().try_for_each(|table| transaction.execute(table, []).map(drop))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    check(&transaction, path)?;
    transaction.commit()?;
    let mode = write_ahead(&connection)?;
    if mode != "wal" {
        let message = format!("it cannot be written ahead (its mode is `{mode}`)");
        return Err(JournalError::Foreign { path: path.to_owned(), message });
    }
    Ok(connection)
}

/// Turns the write-ahead log on, for which SQLite does not wait for others by itself.
fn write_ahead(connection: &Connection) -> rusqlite::Result<String> {
    let until = Instant::now() + BUSY;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            mode => return mode,
        }
    }
}

/// Opens a journal for reading.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, JournalError> {
    fs::metadata(path).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    settle(&connection).and_then(|()| check(&connection, path)).map_err(|e| told(e, path))?;
    Ok(connection)
}

/// Nothing in the file is run: it may be somebody else's work.
fn settle(connection: &Connection) -> Result<(), JournalError> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(())
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// A table, view or trigger that is not ours could show other lines than there are.
fn check(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let foreign = |message: &str| JournalError::Foreign {
        path: path.to_owned(),
        message: message.to_owned(),
    };
    let number = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0))
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(foreign("it is no journal"));
    }
    if number("user_version")? != VERSION {
        return Err(foreign("it was written by another version"));
    }
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    if found != SCHEMA {
        return Err(foreign("its tables were changed"));
    }
    Ok(())
}

/// Where the journal ends.
fn head(connection: &Connection) -> Result<Head, JournalError> {
    let last = "SELECT seq, hash FROM lines ORDER BY seq DESC LIMIT 1";
    let head =
        connection.query_row(last, [], |row| Ok(Head { lines: row.get(0)?, hash: row.get(1)? }));
    Ok(head.optional()?.unwrap_or_default())
}

/// Writes events at the end, all or none, and gives where the journal then ends. `known` is where
/// it ended when this process last wrote: what it wrote must still be there.
pub(crate) fn append(
    connection: &mut Connection,
    known: &Head,
    events: &[AuditEvent],
) -> Result<Head, JournalError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if known.lines > 0 {
        let found: Option<String> = transaction
            .query_row("SELECT hash FROM lines WHERE seq = ?1", [known.lines], |row| row.get(0))
            .optional()?;
        if found.as_ref() != Some(&known.hash) {
            return Err(JournalError::Changed(known.lines));
        }
    }
    let mut head = head(&transaction)?;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO lines (seq, time, kind, call, parent, tool, principal, run, body, \
             previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        for event in events {
            let fields = Fields::new(event, &head.hash)?;
            if event.kind == AuditKind::Grants && is_known(&transaction, &fields)? {
                continue;
            }
            let lines = head.lines + 1;
            let seq = i64::try_from(lines).map_err(|error| event_error(&error))?;
            let body = fields.body().ok_or_else(|| event_error(&"its body is not canonical"))?;
            let hash =
                fields.hash(seq, &body).ok_or_else(|| event_error(&"its body has no hash"))?;
            insert.execute(rusqlite::params![
                seq,
                fields.time,
                fields.kind,
                fields.call,
                fields.parent,
                fields.tool,
                fields.principal,
                fields.run,
                fields.body,
                fields.previous,
                hash
            ])?;
            head = Head { lines, hash };
        }
    }
    transaction.commit()?;
    Ok(head)
}

fn event_error(why: &dyn std::fmt::Display) -> JournalError {
    JournalError::Event(why.to_string())
}

/// Whether the last line about the grants of a binding says the same.
fn is_known(transaction: &Transaction<'_>, fields: &Fields) -> Result<bool, JournalError> {
    let last = "SELECT body FROM lines WHERE kind = ?1 AND tool IS ?2 ORDER BY seq DESC LIMIT 1";
    let body: Option<String> = transaction
        .query_row(last, rusqlite::params![fields.kind, fields.tool], |row| row.get(0))
        .optional()?;
    Ok(body.as_ref() == Some(&fields.body))
}

/// The columns of a line, in the order in which [`Raw::read`] takes them.
pub(crate) const COLUMNS: &str =
    "seq, time, kind, call, parent, tool, principal, run, body, previous, hash";

/// A line as it is stored, of which nothing is believed.
pub(crate) struct Raw {
    pub seq: i64,
    /// `None` where a column holds what no line has.
    pub content: Option<(Fields, String)>,
}

impl Raw {
    pub(crate) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
        let content = || -> rusqlite::Result<(Fields, String)> {
            let fields = Fields {
                time: row.get(1)?,
                kind: row.get(2)?,
                call: row.get(3)?,
                parent: row.get(4)?,
                tool: row.get(5)?,
                principal: row.get(6)?,
                run: row.get(7)?,
                body: row.get(8)?,
                previous: row.get(9)?,
            };
            Ok((fields, row.get(10)?))
        };
        Ok(Raw { seq: row.get(0)?, content: content().ok() })
    }

    /// Whether its hash is that of a line with these fields and the number `seq`.
    pub(crate) fn is_genuine_as(&self, seq: i64) -> bool {
        self.genuine_as([seq]).is_some()
    }

    /// Under which of these numbers it was written.
    pub(crate) fn genuine_as(&self, seqs: impl IntoIterator<Item = i64>) -> Option<i64> {
        let (fields, hash) = self.content.as_ref()?;
        let body = fields.body()?;
        seqs.into_iter().find(|&seq| fields.hash(seq, &body).as_ref() == Some(hash))
    }

    pub(crate) fn previous(&self) -> &str {
        self.content.as_ref().map_or(GENESIS, |(fields, _)| &fields.previous)
    }

    pub(crate) fn hash(&self) -> &str {
        self.content.as_ref().map_or("", |(_, hash)| hash)
    }
}
