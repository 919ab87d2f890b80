//! The event log: every call, every set of grants, every refusal, in one SQLite file in which each
//! line holds the hash of the line before it.
//!
//! [`Journal`] writes: it is an [`Audit`](ampoule_contract::Audit), to be given to
//! `HostBuilder::audit`. [`Reader`] reads and verifies, also while others write.
//!
//! ```
//! use ampoule_contract::{Audit, AuditEvent, AuditKind};
//! use ampoule_journal::{Journal, Query};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("journal.db");
//! let journal = Journal::open(&path)?;
//! let event = AuditEvent::new(AuditKind::CallStarted, serde_json::json!({}));
//! journal.record(AuditEvent { call: Some("c-1".into()), ..event })?;
//!
//! let reader = journal.reader()?;
//! let page = reader.query(&Query { call: Some("c-1".into()), ..Query::default() })?;
//! assert_eq!(page.lines.len(), 1);
//! assert!(reader.verify(None)?.broken.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The chain
//!
//! The hash of a line is SHA-256, in hexadecimal, over the RFC 8785 form of the object of its other
//! fields: `seq`, `time`, `kind`, `call`, `parent`, `tool`, `principal`, `run` (absent ones are
//! `null`), `body` and `previous`, the hash of the line before, 64 zeros for the first. Numbers are
//! doubles there, so those of a body beyond 2^53 are rounded before they are written.
//!
//! [`Reader::verify`] names the first line that was changed, removed, inserted or moved. What a
//! chain alone cannot show is that its end was cut off, or that somebody who may write the file
//! made all of it anew: keep the [`Head`] that verifying gives in another place, and pass it to the
//! next verification.
//!
//! # Writing
//!
//! A queue of 1,024 events and one thread: who records does not wait for the disk unless the queue
//! is full, and then it waits; nothing is dropped. What is queued is written when the journal is
//! flushed or dropped; a process that is killed loses what was still queued, and the chain is
//! whole up to there. Processes may share a file: each batch is one transaction that begins at the
//! head.
//!
//! When the disk fails, [`OnFailure`] decides: by default events are refused from then on, so that
//! a host begins no more calls.

mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), allow(unreachable_pub))]
pub mod fuzzing;
mod line;
mod reader;
mod store;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use error::JournalError;
pub use line::{Head, Line, parse_time};
pub use reader::{Page, Query, Reader};
pub use verify::{Anchor, Break, Report, Tampering};
pub use writer::{Journal, OnFailure, Options};
