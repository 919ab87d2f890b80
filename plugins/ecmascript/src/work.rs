//! What is under way for a program: calls of tools, requests, timers; and what it has left behind.
//!
//! Timers run on virtual time. While nothing else is under way, the clock jumps to the next timer;
//! beside real work, they take the time they take.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ampoule_sdk::http::Response;
use ampoule_sdk::prelude::*;
use ampoule_sdk::{clock, files};
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;

use crate::{Line, time};

/// How many lines of the console are kept at most.
const MAX_LINES: usize = 2_000;

/// How many blocks a program may show.
const MAX_BLOCKS: usize = 64;

/// How many files come back as blocks, and how many bytes of them.
const MAX_FILES: usize = 16;
const MAX_FILE_BYTES: u64 = 8 << 20;

/// How many timers a program may have.
const MAX_TIMERS: usize = 10_000;

/// What an operation ends with.
pub(crate) enum Done {
    Text(String),
    Bytes(Vec<u8>),
    Failed(Error),
}

/// An operation, by the number under which the program waits for it.
type Operation = Pin<Box<dyn Future<Output = (u32, Done)>>>;

/// What a program waits for next.
pub(crate) enum Event {
    Settled(u32, Done),
    Timer(u32),
}

/// All that belongs to one call.
#[derive(Default)]
pub(crate) struct Work {
    last: u32,
    /// Operations that have been begun and not yet been looked at.
    begun: Vec<Operation>,
    /// When timers are due, by virtual time, in the order they were made.
    timers: BTreeSet<(Duration, u32)>,
    /// When each timer is due, and whether it repeats.
    due: BTreeMap<u32, (Duration, bool)>,
    responses: BTreeMap<u32, Response>,
    pub(crate) modules: BTreeMap<String, String>,
    console: Vec<Line>,
    room: usize,
    unprinted: usize,
    blocks: Vec<Block>,
    undisplayed: usize,
    written: BTreeSet<String>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::new(Work::default());
}

/// Begins the work of a call that may print `room` bytes; what an earlier one left is gone.
pub(crate) fn begin(room: usize, modules: BTreeMap<String, String>) {
    WORK.set(Work { room, modules, ..Work::default() });
}

/// Looks at the work of this call.
pub(crate) fn with<T>(look: impl FnOnce(&mut Work) -> T) -> T {
    WORK.with_borrow_mut(look)
}

impl Work {
    /// Begins an operation.
    pub(crate) fn start(&mut self, work: impl Future<Output = Done> + 'static) -> u32 {
        self.last += 1;
        let id = self.last;
        self.begun.push(Box::pin(async move { (id, work.await) }));
        id
    }

    /// Makes a timer.
    pub(crate) fn add_timer(&mut self, wait: Duration, repeats: bool) -> Result<u32> {
        if self.due.len() >= MAX_TIMERS {
            return Err(Error::too_large(format!("there are {MAX_TIMERS} timers already")));
        }
        self.last += 1;
        self.set_timer(self.last, wait, repeats);
        Ok(self.last)
    }

    /// Sets a timer that has fired once more.
    pub(crate) fn set_timer(&mut self, id: u32, wait: Duration, repeats: bool) {
        let due = time::monotonic().saturating_add(wait);
        self.timers.insert((due, id));
        self.due.insert(id, (due, repeats));
    }

    /// Takes a timer away.
    pub(crate) fn remove_timer(&mut self, id: u32) {
        if let Some((due, _)) = self.due.remove(&id) {
            self.timers.remove(&(due, id));
        }
    }

    /// Keeps a response until its body is read.
    pub(crate) fn keep(&mut self, response: Response) -> u32 {
        self.last += 1;
        self.responses.insert(self.last, response);
        self.last
    }

    /// The response kept under a number.
    pub(crate) fn take(&mut self, id: u32) -> Option<Response> {
        self.responses.remove(&id)
    }

    /// Whether the console takes more.
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0 && self.console.len() < MAX_LINES
    }

    /// Prints a line, or counts it where the console is full.
    pub(crate) fn print(&mut self, level: &str, mut text: String) {
        if !self.has_room() {
            self.unprinted += 1;
            return;
        }
        if text.len() > self.room {
            let end = text.floor_char_boundary(self.room);
            text.truncate(end);
            text.push('…');
        }
        self.room = self.room.saturating_sub(text.len() + 1);
        self.console.push(Line { level: level.into(), text });
    }

    /// Shows something.
    pub(crate) fn display(&mut self, block: Block, title: Option<String>) {
        if self.blocks.len() >= MAX_BLOCKS {
            self.undisplayed += 1;
            return;
        }
        let meta = title.map(|title| json!({ "title": title }));
        self.blocks.push(Block { meta, ..block });
    }

    /// Notes that a file was written.
    pub(crate) fn wrote(&mut self, path: String) {
        self.written.insert(path);
    }

    /// Notes that a file is gone.
    pub(crate) fn removed(&mut self, path: &str) {
        self.written.remove(path);
    }

    /// The console's lines, taken.
    pub(crate) fn console(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.console)
    }

    /// What of the console and of what was shown was left out.
    pub(crate) fn cuts(&self) -> Vec<String> {
        let mut cuts = Vec::new();
        if self.unprinted > 0 {
            cuts.push(format!("console: {} more lines", self.unprinted));
        }
        if self.undisplayed > 0 {
            cuts.push(format!("display: {} more blocks", self.undisplayed));
        }
        cuts
    }

    /// What was shown, then the files that were written, as far as there is room for them.
    pub(crate) fn blocks(&mut self) -> (Vec<Block>, Vec<String>) {
        let mut blocks = std::mem::take(&mut self.blocks);
        let mut room = MAX_FILE_BYTES;
        let written: Vec<String> = std::mem::take(&mut self.written).into_iter().collect();
        for path in written.iter().take(MAX_FILES) {
            let Ok(entry) = files::stat(path) else { continue };
            if entry.size > room {
                continue;
            }
            let media_type = media_type(path);
            let Ok(blob) = files::to_blob(path, Some(media_type)) else { continue };
            room -= entry.size;
            let kind = if media_type.starts_with("image/") { "image" } else { "file" };
            let meta = Some(json!({ "title": path }));
            blocks.push(Block { meta, ..Block::blob(kind, media_type, blob) });
        }
        (blocks, written)
    }
}

/// What is under way, while a program is driven.
#[derive(Default)]
pub(crate) struct Driver(FuturesUnordered<Operation>);

impl Driver {
    /// Whether nothing is under way, and no timer is set.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_empty() && with(|work| work.begun.is_empty() && work.timers.is_empty())
    }

    /// Waits for what happens next. `None` where nothing is under way that would bring anything:
    /// timers that repeat count only while the program waits for something (`repeats`).
    pub(crate) async fn next(&mut self, repeats: bool) -> Option<Event> {
        let timer = with(|work| {
            self.0.extend(work.begun.drain(..));
            let mut timers = work.timers.iter();
            timers.find(|(_, id)| repeats || work.due.get(id).is_some_and(|due| !due.1)).copied()
        });
        let Some((due, id)) = timer else {
            let (id, done) = self.0.next().await?;
            return Some(Event::Settled(id, done));
        };
        let wait = due.saturating_sub(time::monotonic());
        if self.0.is_empty() {
            time::pass(wait);
        } else if !wait.is_zero() {
            // At the precision of the host's clock, a millisecond.
            let sleep = std::pin::pin!(clock::sleep(wait.max(Duration::from_millis(1))));
            if let Either::Left((Some((id, done)), _)) = select(self.0.next(), sleep).await {
                return Some(Event::Settled(id, done));
            }
            if due > time::monotonic() {
                time::pass(due - time::monotonic());
            }
        }
        with(|work| {
            work.timers.remove(&(due, id));
            work.due.remove(&id);
        });
        Some(Event::Timer(id))
    }
}

/// The media type of a file by its name.
fn media_type(path: &str) -> &'static str {
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "md" => "text/markdown",
        "pdf" => "application/pdf",
        "txt" | "log" => "text/plain",
        "xml" => "application/xml",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}
