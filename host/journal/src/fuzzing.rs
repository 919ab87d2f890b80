//! The attack on the log that somebody may have written to: any bytes, and a panic where something
//! does not hold. The fuzz target `audit` is one line around it; the corpus beside the target is
//! run by the ordinary tests.

use std::path::Path;
use std::time::SystemTime;

use ampoule_contract::{AuditEvent, AuditKind};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::line::{Fields, GENESIS, Head};
use crate::reader::{Query, Reader};
use crate::store::{COLUMNS, Raw};
use crate::verify::Anchor;

/// Lines and tampering beyond these are left out: the cost of one input stays small.
const MAX_LINES: usize = 16;
const MAX_STEPS: usize = 16;

/// A whole file, where the bytes are one; else a script. Its first lines are bodies of events, each
/// written as a journal writes it; after an empty line stand the steps of somebody who tampers:
/// `cut N`, `move N M`, `copy N M`, `set N COLUMN TEXT`, `hash N` (makes the line's hash anew) and
/// `chain N` (the same, after the line before it).
pub fn audit(data: &[u8]) {
    if data.starts_with(b"SQLite format 3\0") {
        return file(data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (bodies, steps) = text.split_once("\n\n").unwrap_or((text, ""));
    let events: Vec<_> = bodies.lines().take(MAX_LINES).map(event).collect();
    let Ok(mut connection) = Connection::open_in_memory() else { return };
    crate::store::SCHEMA.iter().for_each(|table| {
        connection.execute(table, []).unwrap_or_else(|error| panic!("{error}"));
    });
    // What is refused is no line, and none of its batch is.
    let Ok(head) = crate::store::append(&mut connection, &Head::default(), &events) else { return };
    let before = lines(&connection);
    assert_eq!(before.len(), events.len());
    for step in steps.lines().take(MAX_STEPS) {
        tamper(&connection, step);
    }
    let after = lines(&connection);
    let reader = Reader { connection };
    let report = reader.verify(None).unwrap_or_else(|error| panic!("{error}"));
    let whole = naive_whole(&after);
    assert_eq!(report.broken.is_none(), whole, "{report:?}\n{after:#?}");
    if whole {
        assert_eq!(report.head.lines, after.len() as u64);
    }
    // Whoever kept the head learns of every change to what was written before it.
    let anchored = reader.verify(Some(&Anchor::from(head)));
    let anchored = anchored.unwrap_or_else(|error| panic!("{error}")).broken.is_none();
    assert_eq!(anchored, whole && after.starts_with(&before), "{after:#?}");
    pages(&reader);
}

/// A file from anywhere: it is read, or refused.
fn file(data: &[u8]) {
    let name = format!("ampoule-audit-{}.db", std::process::id());
    let path = std::env::temp_dir().join(&name);
    if std::fs::write(&path, data).is_ok() {
        read(&path);
    }
    for beside in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(path.with_file_name(format!("{name}{beside}")));
    }
}

fn read(path: &Path) {
    let Ok(reader) = Reader::open(path) else { return };
    let _ = reader.verify(None);
    pages(&reader);
}

/// Pages of what is wanted: each is within its bounds, or an error that names a line.
fn pages(reader: &Reader) {
    let newest = Query { limit: 3, newest: true, ..Query::default() };
    let kind = Query { kind: Some(AuditKind::CallStarted), limit: 2, ..Query::default() };
    let call = Query { call: Some("c".to_owned()), after: 1, ..Query::default() };
    for query in [newest, kind, call, Query::default()] {
        if let Ok(page) = reader.query(&query) {
            assert!(page.lines.len() <= query.limit);
            assert!(page.lines.is_sorted_by(|one, next| one.seq < next.seq));
        }
    }
}

fn event(body: &str) -> AuditEvent {
    let body = serde_json::from_str(body).unwrap_or_else(|_| json!({ "text": body }));
    let event = AuditEvent::new(AuditKind::CallStarted, body);
    AuditEvent { call: Some("c".to_owned()), time: SystemTime::UNIX_EPOCH, ..event }
}

/// A line as it is stored: its number and its columns.
type Stored = (i64, Vec<Option<String>>);

fn lines(connection: &Connection) -> Vec<Stored> {
    let sql = format!("SELECT {COLUMNS} FROM lines ORDER BY seq");
    let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{error}"));
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, (1..=10).map(|at| row.get(at)).collect::<Result<_, _>>()?))
    });
    let rows = rows.and_then(Iterator::collect);
    rows.unwrap_or_else(|error| panic!("{error}"))
}

/// One step. What SQLite refuses did not happen.
fn tamper(connection: &Connection, step: &str) {
    let words: Vec<&str> = step.splitn(4, ' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
    let Some(line) = number(1) else { return };
    let _ = match (words[0], number(2)) {
        ("cut", _) => connection.execute("DELETE FROM lines WHERE seq = ?1", [line]),
        ("move", Some(to)) => {
            connection.execute("UPDATE lines SET seq = ?2 WHERE seq = ?1", [line, to])
        }
        ("copy", Some(to)) => {
            let columns = &COLUMNS["seq, ".len()..];
            let sql = format!(
                "INSERT INTO lines ({COLUMNS}) SELECT ?2, {columns} FROM lines WHERE seq = ?1"
            );
            connection.execute(&sql, [line, to])
        }
        ("set", _) => {
            let (Some(column), text) = (words.get(2), words.get(3)) else { return };
            let known = COLUMNS.split(", ").skip(1).find(|known| known == column);
            let Some(known) = known else { return };
            let sql = format!("UPDATE lines SET {known} = ?2 WHERE seq = ?1");
            connection.execute(&sql, params![line, text])
        }
        ("hash" | "chain", _) => {
            rehash(connection, line, words[0] == "chain");
            return;
        }
        _ => return,
    };
}

fn rehash(connection: &Connection, line: i64, chain: bool) {
    let sql = format!("SELECT {COLUMNS} FROM lines WHERE seq = ?1");
    let Ok(raw) = connection.query_row(&sql, [line], Raw::read) else { return };
    let Some((fields, _)) = raw.content else { return };
    let before = "SELECT hash FROM lines WHERE seq = ?1";
    let previous = match chain {
        true => connection.query_row(before, [line.saturating_sub(1)], |row| row.get(0)),
        false => Ok(fields.previous.clone()),
    };
    let previous = previous.unwrap_or_else(|_| GENESIS.to_owned());
    let fields = Fields { previous, ..fields };
    let Some(hash) = fields.body().and_then(|body| fields.hash(line, &body)) else { return };
    let sql = "UPDATE lines SET previous = ?2, hash = ?3 WHERE seq = ?1";
    let _ = connection.execute(sql, params![line, fields.previous, hash]);
}

/// Whether lines are a chain, by the words of the documentation.
fn naive_whole(lines: &[Stored]) -> bool {
    let mut before = "0".repeat(64);
    lines.iter().zip(1..).all(|((seq, columns), expected)| {
        let [time, kind, call, parent, tool, principal, run, body, previous, hash] =
            columns.as_slice()
        else {
            return false;
        };
        let Some(said) = body.as_ref().and_then(|body| serde_json::from_str::<Value>(body).ok())
        else {
            return false;
        };
        let canonical = |value: &Value| serde_json_canonicalizer::to_string(value).ok();
        let fields = json!({
            "seq": seq, "time": time, "kind": kind, "call": call, "parent": parent, "tool": tool,
            "principal": principal, "run": run, "body": said, "previous": previous,
        });
        let digest = canonical(&fields).map(Sha256::digest);
        let digest = digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect());
        let follows = previous.as_ref() == Some(&before);
        before = hash.clone().unwrap_or_default();
        *seq == expected && follows && canonical(&said) == *body && digest == *hash
    })
}
