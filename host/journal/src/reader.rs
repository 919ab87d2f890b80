//! Reading: pages of lines.

use std::path::Path;
use std::time::SystemTime;

use ampoule_contract::{AuditKind, ToolPattern};
use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::error::JournalError;
use crate::line::{Line, time};
use crate::store::{COLUMNS, Raw};
use crate::verify::{Anchor, Report};

/// Which lines are wanted. Default: the first 100.
#[derive(Clone, Debug)]
pub struct Query {
    /// Lines of this call.
    pub call: Option<String>,
    /// Lines of the calls that this call made.
    pub parent: Option<String>,
    /// Lines of this kind.
    pub kind: Option<AuditKind>,
    /// Lines whose tool matches.
    pub tool: Option<ToolPattern>,
    /// Lines of calls that this one asked for.
    pub principal: Option<String>,
    /// Lines of this run.
    pub run: Option<String>,
    /// Lines from this time on.
    pub since: Option<SystemTime>,
    /// Lines after the one with this number: the last of the page before. Default: 0.
    pub after: u64,
    /// How many lines at most. Default: 100.
    pub limit: usize,
    /// The last `limit` lines instead of the first, still in their order. Default: no.
    pub newest: bool,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            call: None,
            parent: None,
            kind: None,
            tool: None,
            principal: None,
            run: None,
            since: None,
            after: 0,
            limit: 100,
            newest: false,
        }
    }
}

/// Lines that were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The lines, in the order in which they were written.
    pub lines: Vec<Line>,
    /// Whether there are more that match.
    pub more: bool,
}

/// Reads a journal, also while others write to it.
#[derive(Debug)]
pub struct Reader {
    pub(crate) connection: Connection,
}

impl Reader {
    /// Opens the journal in a file. Nothing is written.
    ///
    /// # Errors
    /// The file is not there or is no journal.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader, JournalError> {
        Ok(Reader { connection: crate::store::open_to_read(path.as_ref())? })
    }

    /// The lines that are wanted. The chain is not verified.
    ///
    /// # Errors
    /// The file, or a line of it, cannot be read.
    pub fn query(&self, query: &Query) -> Result<Page, JournalError> {
        let after = i64::try_from(query.after).unwrap_or(i64::MAX);
        let mut conditions = vec!["seq > ?".to_owned()];
        let mut values = vec![Sql::Integer(after)];
        let mut equal = |column: &str, value: Option<String>| {
            if let Some(value) = value {
                conditions.push(format!("{column} = ?"));
                values.push(Sql::Text(value));
            }
        };
        equal("call", query.call.clone());
        equal("parent", query.parent.clone());
        equal("kind", query.kind.map(|kind| kind.name().to_owned()));
        equal("principal", query.principal.clone());
        equal("run", query.run.clone());
        if let Some(since) = query.since {
            conditions.push("time >= ?".to_owned());
            values.push(Sql::Text(time(since)));
        }
        let order = if query.newest { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT {COLUMNS} FROM lines WHERE {} ORDER BY seq {order}",
            conditions.join(" AND ")
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        let mut page = Page::default();
        while let Some(row) = rows.next()? {
            let line = line(Raw::read(row)?)?;
            let wanted = |pattern: &ToolPattern| {
                line.tool.as_ref().is_some_and(|tool| pattern.matches(tool))
            };
            if !query.tool.as_ref().is_none_or(wanted) {
                continue;
            }
            if page.lines.len() == query.limit {
                page.more = true;
                break;
            }
            page.lines.push(line);
        }
        if query.newest {
            page.lines.reverse();
        }
        Ok(page)
    }

    /// Verifies the whole chain, and that `anchor`, a head that was kept elsewhere, is part of it.
    ///
    /// # Errors
    /// The file cannot be read. What was tampered with is no error: it is in the report.
    pub fn verify(&self, anchor: Option<&Anchor>) -> Result<Report, JournalError> {
        // One snapshot, however long it takes.
        let snapshot = self.connection.unchecked_transaction()?;
        crate::verify::verify(&snapshot, anchor)
    }
}

/// A line as it is meant.
fn line(raw: Raw) -> Result<Line, JournalError> {
    let seq = raw.seq;
    let unreadable = |message: &str| JournalError::Line { line: seq, message: message.to_owned() };
    let (fields, hash) = raw.content.ok_or_else(|| unreadable("a column is of another type"))?;
    Ok(Line {
        seq: u64::try_from(seq).map_err(|_| unreadable("its number is negative"))?,
        kind: fields.kind.parse().map_err(|error: String| unreadable(&error))?,
        body: fields.body().ok_or_else(|| unreadable("its body is no canonical JSON"))?,
        time: fields.time,
        call: fields.call,
        parent: fields.parent,
        tool: fields.tool,
        principal: fields.principal,
        run: fields.run,
        previous: fields.previous,
        hash,
    })
}
