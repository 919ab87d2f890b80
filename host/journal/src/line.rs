//! A line, its canonical form and its hash.

use std::fmt;
use std::time::SystemTime;

use ampoule_contract::{AuditEvent, AuditKind};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::JournalError;

/// What stands for the hash before the first line.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    /// Its number, from 1.
    pub seq: u64,
    /// When it happened: RFC 3339, UTC, microseconds.
    pub time: String,
    /// What happened.
    pub kind: AuditKind,
    /// The call it happened to.
    pub call: Option<String>,
    /// The call that made that call.
    pub parent: Option<String>,
    /// The tool's id; for `grants` the binding.
    pub tool: Option<String>,
    /// Who asked.
    pub principal: Option<String>,
    /// The run the call belongs to.
    pub run: Option<String>,
    /// The rest, as [`AuditKind`] says.
    pub body: Value,
    /// The hash of the line before it, in hexadecimal; 64 zeros for the first.
    pub previous: String,
    /// Its own hash, in hexadecimal.
    pub hash: String,
}

/// Where a journal ends: how many lines, and the hash of the last. Written as `LINES:HASH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Head {
    /// How many lines there are.
    pub lines: u64,
    /// The hash of the last; 64 zeros where there is none.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Head {
        Head { lines: 0, hash: GENESIS.to_owned() }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lines, self.hash)
    }
}

/// The texts of a line as they are stored. Names of fields are those that are hashed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fields {
    pub time: String,
    pub kind: String,
    pub call: Option<String>,
    pub parent: Option<String>,
    pub tool: Option<String>,
    pub principal: Option<String>,
    pub run: Option<String>,
    /// In canonical form.
    #[serde(skip)]
    pub body: String,
    pub previous: String,
}

/// What is hashed.
#[derive(Serialize)]
struct Hashed<'a> {
    seq: i64,
    #[serde(flatten)]
    fields: &'a Fields,
    body: &'a Value,
}

impl Fields {
    /// The fields of an event, after the line with the hash `previous`.
    pub(crate) fn new(event: &AuditEvent, previous: &str) -> Result<Fields, JournalError> {
        let body = serde_json_canonicalizer::to_string(&event.body)
            .map_err(|error| JournalError::Event(error.to_string()))?;
        Ok(Fields {
            time: time(event.time),
            kind: event.kind.name().to_owned(),
            call: event.call.clone(),
            parent: event.parent.clone(),
            tool: event.tool.clone(),
            principal: event.principal.clone(),
            run: event.run.clone(),
            body,
            previous: previous.to_owned(),
        })
    }

    /// The body; `None` where the text is not the canonical form of what it says. Text that is
    /// read as the same value would otherwise have the same hash.
    pub(crate) fn body(&self) -> Option<Value> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        let canonical = serde_json_canonicalizer::to_string(&body).ok()?;
        (canonical == self.body).then_some(body)
    }

    /// The hash of a line with these fields, this body and this number.
    pub(crate) fn hash(&self, seq: i64, body: &Value) -> Option<String> {
        let text = serde_json_canonicalizer::to_vec(&Hashed { seq, fields: self, body }).ok()?;
        Some(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A time as lines have it: of one length, so that texts are in the order of times.
pub(crate) fn time(time: SystemTime) -> String {
    let clock = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{clock:.6}")
}

/// A time as people and logs write it, RFC 3339: `2026-01-31T09:00:00Z`.
///
/// # Errors
/// It is none.
pub fn parse_time(text: &str) -> Result<SystemTime, String> {
    let time: Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Ok(time.into())
}
