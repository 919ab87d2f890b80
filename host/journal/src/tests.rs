//! The chain against those who may write the file.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ampoule_contract::{Audit, AuditEvent, AuditKind};
use rusqlite::{Connection, params};
use serde_json::json;

use crate::line::{Fields, GENESIS};
use crate::*;

fn event(call: &str) -> AuditEvent {
    let body = json!({ "b": [1, "é\u{1}"], "a": u64::MAX, "call": call });
    AuditEvent {
        call: Some(call.into()),
        tool: Some("files/read".into()),
        principal: Some("ann".into()),
        ..AuditEvent::new(AuditKind::CallStarted, body)
    }
}

/// A journal of ten lines: `opened`, then nine.
fn ten() -> (tempfile::TempDir, PathBuf, Head) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/journal.db");
    let journal = Journal::open(&path).unwrap();
    (2..=10).for_each(|n| journal.append(event(&format!("c-{n}"))).unwrap());
    drop(journal);
    let report = verify(&path);
    assert_eq!((report.head.lines, &report.broken), (10, &None));
    (folder, path, report.head)
}

fn verify(path: &Path) -> Report {
    Reader::open(path).unwrap().verify(None).unwrap()
}

fn against(path: &Path, anchor: &str) -> Option<Break> {
    Reader::open(path).unwrap().verify(Some(&anchor.parse().unwrap())).unwrap().broken
}

fn tamper(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Moves all lines from `from` on by `by`, as one would who makes or closes a gap.
fn renumber(path: &Path, from: i64, by: i64) {
    let far = 1_000_000;
    tamper(
        path,
        &format!(
            "UPDATE lines SET seq = seq + {far} WHERE seq >= {from};
             UPDATE lines SET seq = seq - {far} + {by} WHERE seq >= {far};"
        ),
    );
}

/// Makes the hash of a line anew, and of all that follow it if `on`.
fn rehash(path: &Path, from: i64, on: bool) {
    let connection = Connection::open(path).unwrap();
    let read = |seq: i64| {
        let sql = format!("SELECT {} FROM lines WHERE seq = ?1", crate::store::COLUMNS);
        connection.query_row(&sql, [seq], crate::store::Raw::read).ok()
    };
    let mut seq = from;
    let mut previous = read(from).unwrap().previous().to_owned();
    while let Some(raw) = read(seq) {
        let (fields, _) = raw.content.unwrap();
        let fields = Fields { previous, ..fields };
        let hash = fields.hash(seq, &fields.body().unwrap()).unwrap();
        let sql = "UPDATE lines SET previous = ?1, hash = ?2 WHERE seq = ?3";
        connection.execute(sql, params![fields.previous, hash, seq]).unwrap();
        if !on {
            return;
        }
        (previous, seq) = (hash, seq + 1);
    }
}

#[track_caller]
fn assert_broken(path: &Path, line: i64, what: Tampering, whole: u64) {
    let report = verify(path);
    assert_eq!(report.broken, Some(Break { line, what }));
    assert_eq!(report.head.lines, whole);
    assert_eq!(report.head.hash.len(), GENESIS.len());
}

#[test]
fn every_field_that_is_changed_is_found() {
    for change in [
        "time = '2020-01-01T00:00:00.000000Z'",
        "kind = 'denied'",
        "kind = 'nonsense'",
        "call = 'c-4'",
        "call = NULL",
        "parent = ''",
        "tool = 'files/write'",
        "principal = 'bob'",
        "run = 'r'",
        "body = '{}'",
        "body = 'no JSON'",
        // The same value in other words: numbers beyond 2^53 would hash alike.
        "body = replace(body, ':', ' :')",
        "body = replace(body, '18446744073709552000', '18446744073709552001')",
        "body = CAST(x'ff' AS TEXT)",
        "previous = hash",
        "hash = previous",
        "hash = upper(hash)",
    ] {
        let (_folder, path, _) = ten();
        tamper(&path, &format!("UPDATE lines SET {change} WHERE seq = 5"));
        assert_broken(&path, 5, Tampering::Changed, 4);
    }
}

#[test]
fn a_line_that_is_changed_with_its_hash_is_found() {
    for line in [1, 5, 9] {
        let (_folder, path, _) = ten();
        tamper(&path, &format!("UPDATE lines SET principal = 'bob' WHERE seq = {line}"));
        rehash(&path, line, false);
        assert_broken(&path, line, Tampering::Changed, u64::try_from(line).unwrap() - 1);
    }
}

#[test]
fn lines_that_are_deleted_are_found() {
    for (sql, from, to) in [
        ("DELETE FROM lines WHERE seq = 1", 1, 1),
        ("DELETE FROM lines WHERE seq = 5", 5, 5),
        ("DELETE FROM lines WHERE seq BETWEEN 3 AND 7", 3, 7),
    ] {
        let (_folder, path, _) = ten();
        tamper(&path, sql);
        let whole = u64::try_from(from).unwrap() - 1;
        assert_broken(&path, from, Tampering::Missing { to }, whole);
        // Also when the gap is closed.
        renumber(&path, to + 1, from - to - 1);
        assert_broken(&path, from, Tampering::Missing { to }, whole);
    }
}

#[test]
fn lines_that_are_inserted_are_found() {
    let (_folder, path, _) = ten();
    let copy = |seq: i64, from: i64| {
        format!(
            "INSERT INTO lines SELECT {seq}, time, kind, 'forged', parent, tool, principal, run, \
             body, previous, hash FROM lines WHERE seq = {from}"
        )
    };
    tamper(&path, &copy(0, 1));
    assert_broken(&path, 0, Tampering::Inserted, 0);
    for hashed in [false, true] {
        let (_folder, path, _) = ten();
        renumber(&path, 5, 1);
        tamper(&path, &copy(5, 6));
        if hashed {
            // It follows the line before it, as well as one can make it.
            rehash(&path, 5, false);
        }
        assert_broken(&path, 5, Tampering::Inserted, 4);
    }
}

/// Whoever may write the file chooses the numbers: they must not decide how long it is read.
#[test]
fn a_number_that_is_far_away_keeps_nobody_busy() {
    let (_folder, path, _) = ten();
    tamper(&path, &format!("UPDATE lines SET seq = {} WHERE seq = 10", i64::MAX));
    tamper(&path, "UPDATE lines SET principal = 'bob' WHERE seq = 5");
    assert_broken(&path, 5, Tampering::Changed, 4);
}

#[test]
fn the_corpus_of_the_fuzz_target_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/audit");
    let seeds: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|seed| seed.unwrap()).collect();
    assert!(seeds.len() >= 3, "{} seeds", seeds.len());
    seeds.iter().for_each(|seed| crate::fuzzing::audit(&std::fs::read(seed.path()).unwrap()));
    // A whole file, and one that was cut or changed in the middle.
    let (_folder, path, _) = ten();
    tamper(&path, "PRAGMA wal_checkpoint(TRUNCATE)");
    let whole = std::fs::read(path).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 0xff;
        crate::fuzzing::audit(&changed);
        crate::fuzzing::audit(&whole[..at]);
    }
}

#[test]
fn lines_that_change_places_are_found() {
    for (a, b) in [(4, 5), (2, 9), (1, 10)] {
        let (_folder, path, _) = ten();
        tamper(
            &path,
            &format!(
                "UPDATE lines SET seq = 1000 WHERE seq = {a};
                 UPDATE lines SET seq = {a} WHERE seq = {b};
                 UPDATE lines SET seq = {b} WHERE seq = 1000;"
            ),
        );
        assert_broken(&path, a, Tampering::Moved { from: b }, u64::try_from(a).unwrap() - 1);
    }
}

#[test]
fn only_a_head_that_was_kept_shows_what_was_cut_off_or_made_anew() {
    let (_folder, path, head) = ten();
    let Head { hash, .. } = &head;
    assert_eq!(against(&path, &head.to_string()), None);
    // It has grown since.
    Journal::open(&path).unwrap().append(event("more")).unwrap();
    assert_eq!(verify(&path).head.lines, 12);
    for anchor in [head.to_string(), hash.clone(), format!("0:{GENESIS}")] {
        assert_eq!(against(&path, &anchor), None, "{anchor}");
    }
    let wrong = Break { line: 9, what: Tampering::NotAnchored };
    assert_eq!(against(&path, &format!("9:{hash}")), Some(wrong));

    tamper(&path, "DELETE FROM lines WHERE seq > 8");
    assert_eq!(verify(&path).broken, None);
    let cut = Break { line: 9, what: Tampering::Missing { to: 10 } };
    assert_eq!(against(&path, &head.to_string()), Some(cut));
    let cut = Break { line: 8, what: Tampering::NotAnchored };
    assert_eq!(against(&path, hash), Some(cut));

    let (_folder, path, head) = ten();
    tamper(&path, "UPDATE lines SET principal = 'bob' WHERE seq = 5");
    rehash(&path, 5, true);
    assert_eq!(verify(&path).broken, None);
    let anew = Break { line: 10, what: Tampering::NotAnchored };
    assert_eq!(against(&path, &head.to_string()), Some(anew));
    for bad in ["", "x", "10", ":", "x:y", &format!("-1:{hash}"), &hash.to_uppercase()] {
        assert!(bad.parse::<Anchor>().is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_journal_is_neither_read_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let told = [
            Reader::open(path).unwrap_err().to_string(),
            Journal::open(path).unwrap_err().to_string(),
        ];
        told.join("\n")
    };
    assert!(Reader::open(folder.path().join("none.db")).is_err());
    let text = folder.path().join("text");
    std::fs::write(&text, "no database, and longer than a header of one would have to be").unwrap();
    assert!(refused(&text).contains("no SQLite file"), "{}", refused(&text));
    let other = folder.path().join("other.db");
    tamper(&other, "CREATE TABLE t (x)");
    assert!(refused(&other).contains("it is no journal"), "{}", refused(&other));

    // A view in the place of the table could show anything.
    for sql in [
        "ALTER TABLE lines RENAME TO real; CREATE VIEW lines AS SELECT * FROM real",
        "CREATE TRIGGER t AFTER INSERT ON lines BEGIN DELETE FROM lines; END",
        "CREATE TABLE more (x)",
    ] {
        let (_folder, path, _) = ten();
        tamper(&path, sql);
        assert!(refused(&path).contains("tables were changed"), "{sql}");
    }
    let (_folder, path, _) = ten();
    tamper(&path, "PRAGMA user_version = 2");
    assert!(refused(&path).contains("another version"));
}

#[test]
fn many_threads_and_several_journals_write_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    // As two processes would.
    let journals = [0, 1].map(|_| Arc::new(Journal::open(&path).unwrap()));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = journals[thread % 2].clone();
            scope.spawn(move || {
                // More than the queue holds.
                (0..1000).for_each(|n| journal.record(event(&format!("{thread}-{n}"))).unwrap());
            });
        }
    });
    drop(journals);
    let reader = Reader::open(&path).unwrap();
    let report = reader.verify(None).unwrap();
    assert_eq!((report.broken, report.head.lines), (None, 8002));
    let all = reader.query(&Query { limit: usize::MAX, ..Query::default() }).unwrap();
    for thread in 0..8 {
        let of_thread = all.lines.iter().filter_map(|line| line.call.clone());
        let of_thread: Vec<_> =
            of_thread.filter(|call| call.starts_with(&format!("{thread}-"))).collect();
        let expected: Vec<_> = (0..1000).map(|n| format!("{thread}-{n}")).collect();
        assert_eq!(of_thread, expected);
    }
}

#[test]
fn grants_are_written_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&path).unwrap();
    for (binding, grants) in [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("b", 1), ("a", 1)] {
        let event = AuditEvent::new(AuditKind::Grants, json!({ "grants": grants }));
        journal.append(AuditEvent { tool: Some(binding.into()), ..event }).unwrap();
    }
    let query = Query { kind: Some(AuditKind::Grants), ..Query::default() };
    let page = journal.reader().unwrap().query(&query).unwrap();
    let written: Vec<_> =
        page.lines.iter().map(|l| (l.tool.as_deref().unwrap(), l.body["grants"].clone())).collect();
    assert_eq!(written, [("a", json!(1)), ("b", json!(1)), ("a", json!(2)), ("a", json!(1))]);
}

#[test]
fn lines_are_found_in_pages() {
    let (_folder, path, _) = ten();
    let reader = Reader::open(&path).unwrap();
    let seqs = |query: Query| {
        let page = reader.query(&query).unwrap();
        (page.lines.iter().map(|line| line.seq).collect::<Vec<_>>(), page.more)
    };
    let base = Query::default;
    assert_eq!(seqs(Query { limit: 3, ..base() }), (vec![1, 2, 3], true));
    assert_eq!(seqs(Query { after: 8, limit: 3, ..base() }), (vec![9, 10], false));
    assert_eq!(seqs(Query { newest: true, limit: 2, ..base() }), (vec![9, 10], true));
    assert_eq!(seqs(Query { call: Some("c-4".into()), ..base() }), (vec![4], false));
    assert_eq!(seqs(Query { kind: Some(AuditKind::Opened), ..base() }), (vec![1], false));
    assert_eq!(seqs(Query { principal: Some("bob".into()), ..base() }), (vec![], false));
    let tool = |pattern: &str| Query { tool: Some(pattern.parse().unwrap()), ..base() };
    assert_eq!(seqs(Query { limit: 1, ..tool("files") }), (vec![2], true));
    assert_eq!(seqs(tool("files/write")), (vec![], false));
    let since = |text: &str| Query { since: Some(parse_time(text).unwrap()), ..base() };
    assert_eq!(seqs(since("2020-01-01T00:00:00Z")).0.len(), 10);
    assert_eq!(seqs(since("2999-01-01T00:00:00Z")).0.len(), 0);
    let line = &reader.query(&base()).unwrap().lines[4];
    assert_eq!(parse_time(&line.time).map(crate::line::time).as_ref(), Ok(&line.time));
    assert!(parse_time("yesterday").is_err());
}

#[test]
fn a_journal_that_cannot_be_written_says_so() {
    for (on_failure, goes_on) in [(OnFailure::Refuse, false), (OnFailure::Continue, true)] {
        let (_folder, path, _) = ten();
        let journal = Journal::open_with(&path, Options { on_failure }).unwrap();
        journal.append(event("a")).unwrap();
        journal.flush().unwrap();
        // What this process wrote is taken away behind its back.
        tamper(&path, "DELETE FROM lines WHERE seq > 3");
        journal.append(event("b")).unwrap();
        assert_eq!(journal.flush().is_ok(), goes_on);
        let told = journal.record(event("c"));
        assert_eq!(told.is_ok(), goes_on, "{told:?}");
        if let Err(error) = told {
            assert!(error.to_string().contains("line 12 of the journal was changed"), "{error}");
        }
        drop(journal);
        let calls = Reader::open(&path).unwrap().query(&Query::default()).unwrap().lines;
        assert_eq!(calls.iter().any(|line| line.call.as_deref() == Some("c")), goes_on);
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path, _) = ten();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
