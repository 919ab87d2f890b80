//! What a call says while it runs, as notifications to the client.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ampoule_contract::{Block, CallEvent, EventSink, Signal};
#[expect(
    deprecated,
    reason = "older revisions have log messages; clients of the current may ask"
)]
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Notifications of one call that may wait for a client that reads slowly. More are left out: a
/// call does not wait for its listeners.
const WAITING: usize = 256;

/// What of a call's events a client wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Under which token it wants progress.
    pub(crate) progress: Option<ProgressToken>,
    /// From which level on it wants log lines.
    pub(crate) log: Option<Level>,
}

/// The events of one call.
pub(crate) struct Events<'a> {
    shared: Arc<Shared>,
    /// Absent where the client wants none. Boxed, since a queue makes 32 places at once.
    queue: Option<mpsc::Receiver<Box<CallEvent>>>,
    wanted: Wanted,
    tool: &'a str,
}

#[derive(Default)]
struct Shared {
    /// Content handed out before the end. MCP has no place for it but the result. What a plugin
    /// can hand out is bounded by its limit `event-bytes`.
    blocks: Mutex<Vec<Block>>,
    left_out: AtomicU64,
}

impl<'a> Events<'a> {
    /// A sink for a call of `tool`, and what comes out of it.
    pub(crate) fn new(tool: &'a str, wanted: Wanted) -> (EventSink, Events<'a>) {
        let any = wanted.progress.is_some() || wanted.log.is_some();
        let (sender, queue) = any.then(|| mpsc::channel(WAITING)).unzip();
        let shared = Arc::new(Shared::default());
        let events = Events { shared: shared.clone(), queue, wanted: wanted.clone(), tool };
        let sink = EventSink::new(move |event| {
            let queued = match &event {
                CallEvent::Block { block } => {
                    shared.blocks().push(block.clone());
                    return Signal::Proceed;
                }
                CallEvent::Progress { .. } => wanted.progress.is_some(),
                CallEvent::Log { level, .. } => wanted.log.is_some_and(|l| Level::of(level) >= l),
            };
            if queued
                && let Some(sender) = &sender
                && sender.try_send(Box::new(event)).is_err()
            {
                shared.left_out.fetch_add(1, Ordering::Relaxed);
            }
            Signal::Proceed
        });
        (sink, events)
    }

    /// Whether the client wants any.
    pub(crate) fn are_wanted(&self) -> bool {
        self.queue.is_some()
    }

    /// Sends notifications until `ended`, and then those that still wait. Drop it where the client
    /// does not listen any more: a notification to one that has gone never comes to an end.
    pub(crate) async fn forward(&mut self, peer: &Peer<RoleServer>, ended: &CancellationToken) {
        let Some(mut queue) = self.queue.take() else { return };
        let mut furthest = f64::NEG_INFINITY;
        loop {
            let event = tokio::select! {
                biased;
                event = queue.recv() => event,
                () = ended.cancelled() => queue.try_recv().ok(),
            };
            let Some(event) = event else { break };
            // On the heap: it is large, and most calls say nothing.
            if !Box::pin(self.send(peer, *event, &mut furthest)).await {
                break;
            }
        }
        match self.shared.left_out.load(Ordering::Relaxed) {
            0 => {}
            n => tracing::warn!(tool = self.tool, "the client read too slowly: {n} left out"),
        }
    }

    /// The blocks that were handed out.
    pub(crate) fn blocks(self) -> Vec<Block> {
        std::mem::take(&mut *self.shared.blocks())
    }

    /// Sends one; answers whether the client is still there.
    #[expect(deprecated, reason = "log messages, as above")]
    async fn send(&self, peer: &Peer<RoleServer>, event: CallEvent, furthest: &mut f64) -> bool {
        let sent = match (event, &self.wanted.progress) {
            (CallEvent::Progress { done, total, message }, Some(token)) => {
                // The protocol wants numbers that grow; JSON has no others than finite ones.
                if !done.is_finite() || done <= *furthest {
                    return true;
                }
                *furthest = done;
                let mut progress = ProgressNotificationParam::new(token.clone(), done);
                progress.total = total.filter(|total| total.is_finite());
                progress.message = message;
                peer.notify_progress(progress).await
            }
            (CallEvent::Log { level, message, fields }, _) => {
                let data = match fields {
                    Some(fields) => json!({ "message": message, "fields": fields }),
                    None => Value::from(message),
                };
                let level = Level::of(level).into();
                let line = LoggingMessageNotificationParam::new(level, data);
                peer.notify_logging_message(line.with_logger(self.tool)).await
            }
            _ => return true,
        };
        sent.is_ok()
    }
}

impl Shared {
    fn blocks(&self) -> std::sync::MutexGuard<'_, Vec<Block>> {
        // A push is all that is done under the lock: a panic elsewhere leaves it whole.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much a log line matters: those of MCP's levels that plugins have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Warning,
    Error,
    /// What plugins cannot say: nothing is sent.
    Above,
}

impl Level {
    const ALL: [Level; 5] = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Above];

    /// The level of a log line of a call.
    fn of(word: &str) -> Level {
        match word {
            "trace" | "debug" => Level::Debug,
            "warn" => Level::Warning,
            "error" => Level::Error,
            _ => Level::Info,
        }
    }
}

#[expect(deprecated, reason = "log messages, as above")]
impl From<LoggingLevel> for Level {
    fn from(level: LoggingLevel) -> Level {
        match level {
            LoggingLevel::Debug => Level::Debug,
            LoggingLevel::Info => Level::Info,
            LoggingLevel::Notice | LoggingLevel::Warning => Level::Warning,
            LoggingLevel::Error => Level::Error,
            _ => Level::Above,
        }
    }
}

#[expect(deprecated, reason = "log messages, as above")]
impl From<Level> for LoggingLevel {
    fn from(level: Level) -> LoggingLevel {
        match level {
            Level::Debug => LoggingLevel::Debug,
            Level::Info => LoggingLevel::Info,
            Level::Warning => LoggingLevel::Warning,
            Level::Error | Level::Above => LoggingLevel::Error,
        }
    }
}

/// The level a client has set for all its calls; at first `info`.
pub(crate) struct SetLevel(AtomicUsize);

impl SetLevel {
    pub(crate) fn get(&self) -> Level {
        Level::ALL[self.0.load(Ordering::Relaxed)]
    }

    pub(crate) fn set(&self, level: Level) {
        self.0.store(level as usize, Ordering::Relaxed);
    }
}

impl Default for SetLevel {
    fn default() -> SetLevel {
        SetLevel(AtomicUsize::new(Level::Info as usize))
    }
}
