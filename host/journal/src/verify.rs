//! Verifying the chain, and naming what was done to it.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::error::JournalError;
use crate::line::{GENESIS, Head};
use crate::store::{COLUMNS, Raw};

/// How many lines that were removed, with the rest numbered anew, are recognised as missing.
const RENUMBERED: i64 = 1024;

/// What verifying came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Where the chain ends, as far as it is whole. Keep it elsewhere.
    pub head: Head,
    /// The first place where it is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Break>,
}

/// A place where the chain is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Break {
    /// The line.
    pub line: i64,
    /// What was done to it.
    pub what: Tampering,
}

/// What was done to a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Tampering {
    /// The line does not say what was written.
    Changed,
    /// The line, and all up to `to`, are not there.
    Missing {
        /// The last one that is missing.
        to: i64,
    },
    /// The line was not written by a journal.
    Inserted,
    /// In its place stands what was written as line `from`.
    Moved {
        /// The line it was.
        from: i64,
    },
    /// The head that was kept is no part of this journal: its end was cut off, or it was made anew
    /// from some line on.
    NotAnchored,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match self.what {
            Tampering::Changed => write!(f, "line {line} was changed"),
            Tampering::Missing { to } if to == line => write!(f, "line {line} is missing"),
            Tampering::Missing { to } => write!(f, "lines {line} to {to} are missing"),
            Tampering::Inserted => write!(f, "line {line} was inserted"),
            Tampering::Moved { from } => {
                write!(f, "in the place of line {line} stands what was written as line {from}")
            }
            Tampering::NotAnchored => write!(
                f,
                "the head that was kept is no part of this journal: lines were cut off its end, \
                 or it was made anew from line {line} or one before it"
            ),
        }
    }
}

/// A head that was kept elsewhere: `LINES:HASH` as [`Head`] is written, or the hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// How many lines there were, where it is known.
    pub lines: Option<u64>,
    /// The hash of the last of them.
    pub hash: String,
}

impl From<Head> for Anchor {
    fn from(head: Head) -> Anchor {
        Anchor { lines: Some(head.lines), hash: head.hash }
    }
}

impl FromStr for Anchor {
    type Err = String;

    /// # Errors
    /// It is neither.
    fn from_str(text: &str) -> Result<Anchor, String> {
        let (lines, hash) = match text.split_once(':') {
            Some((lines, hash)) => (Some(lines.parse::<u64>().ok()), hash),
            None => (None, text),
        };
        let is_hash = hash.len() == GENESIS.len()
            && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match lines {
            Some(None) => Err("a head is written LINES:HASH, or HASH alone".to_owned()),
            _ if !is_hash => Err("the hash of a head is 64 lower-case hexadecimal digits".into()),
            lines => Ok(Anchor { lines: lines.flatten(), hash: hash.to_owned() }),
        }
    }
}

/// Verifies the chain in a snapshot.
pub(crate) fn verify(
    connection: &Connection,
    anchor: Option<&Anchor>,
) -> Result<Report, JournalError> {
    let sql = format!("SELECT {COLUMNS} FROM lines ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut head = Head::default();
    // Of no line at all, everybody's head is part.
    let mut anchored = anchor.is_none_or(|anchor| is_at(anchor, &head));
    while let Some(row) = rows.next()? {
        let raw = Raw::read(row)?;
        let lines = head.lines + 1;
        let expected = i64::try_from(lines).unwrap_or(i64::MAX);
        if raw.seq != expected || raw.previous() != head.hash || !raw.is_genuine_as(expected) {
            let next = rows.next()?.map(Raw::read).transpose()?;
            let broken = judge(connection, &head, &raw, next.as_ref())?;
            head.lines = head.lines.min(u64::try_from(broken.line.saturating_sub(1)).unwrap_or(0));
            head.hash = hash_of(connection, head.lines)?;
            return Ok(Report { head, broken: Some(broken) });
        }
        head = Head { lines, hash: raw.hash().to_owned() };
        anchored |= anchor.is_some_and(|anchor| is_at(anchor, &head));
    }
    let broken = match anchor {
        Some(anchor) if !anchored => Some(unanchored(anchor, &head)),
        _ => None,
    };
    Ok(Report { head, broken })
}

fn is_at(anchor: &Anchor, head: &Head) -> bool {
    anchor.hash == head.hash && anchor.lines.is_none_or(|lines| lines == head.lines)
}

/// What a chain without the anchor has lost, as far as the anchor tells.
fn unanchored(anchor: &Anchor, head: &Head) -> Break {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match anchor.lines {
        Some(lines) if lines > head.lines => {
            Break { line: number(head.lines + 1), what: Tampering::Missing { to: number(lines) } }
        }
        lines => {
            let line = number(lines.unwrap_or(head.lines));
            Break { line, what: Tampering::NotAnchored }
        }
    }
}

fn hash_of(connection: &Connection, line: u64) -> Result<String, JournalError> {
    let hash = connection
        .query_row("SELECT hash FROM lines WHERE seq = ?1", [line], |row| row.get(0))
        .optional()?;
    Ok(hash.unwrap_or_else(|| GENESIS.to_owned()))
}

/// What was done, where `raw` does not follow `head`; `next` is the line after it.
fn judge(
    connection: &Connection,
    head: &Head,
    raw: &Raw,
    next: Option<&Raw>,
) -> Result<Break, JournalError> {
    let expected = i64::try_from(head.lines + 1).unwrap_or(i64::MAX);
    let at = |line: i64, what: Tampering| Ok(Break { line, what });
    if raw.seq < expected {
        return at(raw.seq, Tampering::Inserted);
    }
    if raw.seq > expected {
        return at(expected, Tampering::Missing { to: raw.seq - 1 });
    }
    // If the line that should be here comes next, this one was put before it.
    let comes_next = next.is_some_and(|next| next.is_genuine_as(expected));
    if raw.is_genuine_as(expected) {
        // It is whole in itself and follows another line than the one before it: that one was
        // changed with its hash, unless the next line shows that this one was.
        if comes_next {
            return at(expected, Tampering::Inserted);
        }
        let follows = next.is_none_or(|next| next.previous() == raw.hash());
        let line = if follows { (expected - 1).max(1) } else { expected };
        return at(line, Tampering::Changed);
    }
    // Under which number it was written, if it is a line of this journal at all: lines may have
    // been removed or inserted and the rest numbered anew. As many numbers as there are lines are
    // tried, as the numbers themselves may be whatever somebody has put there.
    let lines: i64 = connection.query_row("SELECT count(*) FROM lines", [], |row| row.get(0))?;
    let was = raw.genuine_as(1..=lines.saturating_add(RENUMBERED));
    match was {
        None if comes_next => at(expected, Tampering::Inserted),
        None => at(expected, Tampering::Changed),
        Some(was) if was < expected => at(was, Tampering::Inserted),
        Some(was) => {
            let sql = "SELECT count(*) > 0 FROM lines WHERE hash = ?1";
            let is_there: bool = connection.query_row(sql, [raw.previous()], |row| row.get(0))?;
            match is_there {
                true => at(expected, Tampering::Moved { from: was }),
                false => at(expected, Tampering::Missing { to: was - 1 }),
            }
        }
    }
}
