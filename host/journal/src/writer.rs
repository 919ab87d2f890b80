//! Writing: a queue and one thread.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use ampoule_contract::{Audit, AuditError, AuditEvent, AuditKind};
use rusqlite::Connection;
use serde_json::json;

use crate::error::JournalError;
use crate::line::Head;
use crate::reader::Reader;

/// How many events wait for the disk before those who record wait too.
const QUEUED: usize = 1024;

/// How many events are written at once.
const BATCH: usize = 256;

/// What to do when events cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Refuse events from then on, so that no call begins that would leave no trace.
    #[default]
    Refuse,
    /// Go on without those that cannot be written, and say so in the log of the program.
    Continue,
}

/// How a journal is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What to do when events cannot be written. Default: refuse.
    pub on_failure: OnFailure,
}

/// Writes the journal. Dropping it writes what is queued.
pub struct Journal {
    path: PathBuf,
    options: Options,
    queue: Option<SyncSender<Work>>,
    writer: Option<JoinHandle<()>>,
    /// Why events can no longer be written.
    failed: Arc<OnceLock<String>>,
}

enum Work {
    Write(AuditEvent),
    /// Answers when all before it is written.
    Flush(SyncSender<()>),
}

impl Journal {
    /// Opens the journal in a file, and makes it where there is none, with the folders above it.
    ///
    /// # Errors
    /// The file cannot be made or written, or is no journal.
    pub fn open(path: impl AsRef<Path>) -> Result<Journal, JournalError> {
        Journal::open_with(path, Options::default())
    }

    /// Opens it with options.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Journal, JournalError> {
        let path = path.as_ref().to_owned();
        let connection = crate::store::open(&path)?;
        let failed = Arc::new(OnceLock::new());
        let (queue, work) = sync_channel(QUEUED);
        let writer = Writer { connection, head: Head::default(), options, failed: failed.clone() };
        let writer = std::thread::Builder::new()
            .name("ampoule-journal".to_owned())
            .spawn(move || writer.run(&work))
            .map_err(|source| JournalError::Io { path: path.clone(), source })?;
        Ok(Journal { path, options, queue: Some(queue), writer: Some(writer), failed })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an event at the end. Waits where the queue is full.
    ///
    /// # Errors
    /// Earlier ones could not be written, and the options do not say to go on without.
    pub fn append(&self, event: AuditEvent) -> Result<(), JournalError> {
        self.check()?;
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Work::Write(event)).map_err(|_| gone())
    }

    /// Waits until all that was recorded before is on the disk.
    ///
    /// # Errors
    /// It could not be written.
    pub fn flush(&self) -> Result<(), JournalError> {
        let (sender, written) = sync_channel(1);
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Work::Flush(sender)).map_err(|_| gone())?;
        written.recv().map_err(|_| gone())?;
        self.check()
    }

    /// A reader of all that was recorded before.
    ///
    /// # Errors
    /// It could not be written, or cannot be read.
    pub fn reader(&self) -> Result<Reader, JournalError> {
        self.flush()?;
        Reader::open(&self.path)
    }

    fn check(&self) -> Result<(), JournalError> {
        match self.failed.get() {
            Some(why) if self.options.on_failure == OnFailure::Refuse => {
                Err(JournalError::Failed(why.clone()))
            }
            _ => Ok(()),
        }
    }
}

fn gone() -> JournalError {
    JournalError::Failed("the thread that writes the journal is gone".to_owned())
}

impl Audit for Journal {
    fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        self.append(event).map_err(|error| {
            AuditError(format!("the journal {} cannot be written: {error}", self.path.display()))
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // A panic there has been printed where it happened.
            drop(writer.join());
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The thread that writes.
struct Writer {
    connection: Connection,
    /// Where the journal ended when this process last wrote.
    head: Head,
    options: Options,
    failed: Arc<OnceLock<String>>,
}

impl Writer {
    fn run(mut self, work: &Receiver<Work>) {
        let mut batch = Vec::new();
        while let Ok(first) = work.recv() {
            let mut waiting = Vec::new();
            let more = std::iter::once(first).chain(work.try_iter()).take(BATCH);
            for work in more {
                match work {
                    Work::Write(event) => batch.push(event),
                    Work::Flush(sender) => waiting.push(sender),
                }
            }
            self.write(&mut batch);
            for sender in waiting {
                // Who asked may have stopped waiting.
                let _ = sender.send(());
            }
        }
    }

    fn write(&mut self, batch: &mut Vec<AuditEvent>) {
        let refuses = self.options.on_failure == OnFailure::Refuse;
        if batch.is_empty() || (refuses && self.failed.get().is_some()) {
            return batch.clear();
        }
        if self.head.lines == 0 {
            batch.insert(0, opened());
        }
        match crate::store::append(&mut self.connection, &self.head, batch) {
            Ok(head) => self.head = head,
            Err(error) => {
                tracing::error!(events = batch.len(), "the journal cannot be written: {error}");
                // Where it goes on, it goes on from whatever there is.
                self.head = Head::default();
                self.failed.get_or_init(|| error.to_string());
            }
        }
        batch.clear();
    }
}

/// The first line a process writes.
fn opened() -> AuditEvent {
    let body = json!({ "version": env!("CARGO_PKG_VERSION"), "process": std::process::id() });
    AuditEvent::new(AuditKind::Opened, body)
}
