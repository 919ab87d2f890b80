//! Sessions: instances that are kept between the calls of one principal to one binding, under an
//! id that the caller chose, so that a program's variables live on.
//!
//! An instance is kept only after a call that came to an end of its own: a value, or the tool's own
//! error. A limit, a trap or cancelling leaves an instance that cannot be entered again, and the
//! session ends with it; the next call of that id is told so. Calls of one session wait for each
//! other. Sessions take places of the pool that are set aside for them, so they never keep a call
//! from beginning.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ampoule_contract::{CallContext, Denial, End, Meter, Session};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;
use wasmtime::Store;
use wasmtime::component::{Instance, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi_io::poll::DynPollable;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use crate::engine::SESSION_PLACES;
use crate::imports::{blobs, http, tools};
use crate::manifest::LimitValue;
use crate::registry::Binding;
use crate::scan::RunSecrets;
use crate::state::{CallState, lock};

/// The longest id.
const MAX_ID_BYTES: usize = 128;

/// The most calls of one session that run or wait.
const MOST_WAITING: usize = 16;

/// `[sessions]`: how many instances are kept between calls, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SessionConfig {
    /// All sessions there may be at once. Default: 64.
    pub total: Option<u32>,
    /// The sessions of one principal. Default: 8.
    pub per_principal: Option<u32>,
    /// Memory that all kept instances may have together. Default: `"2 GiB"`.
    pub memory: Option<LimitValue>,
    /// How long an instance is kept that nobody calls. Default: `"10 min"`.
    pub idle_time: Option<LimitValue>,
    /// How long a session may last. Default: `"4 h"`.
    pub age: Option<LimitValue>,
}

/// The caps in force.
#[derive(Clone, Copy, Debug)]
struct Caps {
    total: u32,
    per_principal: u32,
    memory: u64,
    idle: Duration,
    age: Duration,
}

impl SessionConfig {
    /// # Errors
    /// A size or time that cannot be read, with its key.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.caps().map(drop)
    }

    fn caps(&self) -> Result<Caps, String> {
        let read = |key: &str, value: &Option<LimitValue>, meter: Meter, default: u64| match value {
            None => Ok(default),
            Some(LimitValue::Number(number)) => Ok(*number),
            Some(LimitValue::Text(text)) => {
                meter.parse(text).map_err(|error| format!("`[sessions] {key}`: {error}"))
            }
        };
        let time = |key: &str, value: &Option<LimitValue>, default: u64| {
            read(key, value, Meter::WallTime, default).map(Duration::from_millis)
        };
        Ok(Caps {
            total: self.total.unwrap_or(64),
            per_principal: self.per_principal.unwrap_or(8),
            memory: read("memory", &self.memory, Meter::Memory, 2 << 30)?,
            idle: time("idle-time", &self.idle_time, 10 * 60_000)?,
            age: time("age", &self.age, 4 * 3_600_000)?,
        })
    }
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    principal: Option<String>,
    binding: String,
    id: String,
}

/// All sessions of a host.
pub(crate) struct Sessions {
    state: Mutex<State>,
}

struct State {
    caps: Caps,
    slots: HashMap<Key, Slot>,
    /// Whether something looks after those whose time is over.
    swept: bool,
}

/// A session, in use or not.
struct Slot {
    kept: Arc<tokio::sync::Mutex<Place>>,
    places: u32,
    memory: u64,
    born: Instant,
    used: Instant,
}

/// Where a session's instance is while nobody uses it.
#[derive(Default)]
struct Place {
    kept: Option<Kept>,
    /// How the last instance ended, until the next call is told.
    lost: Option<String>,
    /// Whether the session was closed while others waited for it.
    closed: bool,
}

/// An instance that is kept.
pub(crate) struct Kept {
    pub(crate) store: Store<CallState>,
    pub(crate) instance: Instance,
    /// What it was made for; another plugin, other grants or another workspace make it useless.
    binding: Arc<Binding>,
    workspace: Option<PathBuf>,
    /// How many calls it has had.
    calls: u64,
    /// What its calls have used: it may hold some of it.
    pub(crate) secrets: Arc<RunSecrets>,
}

/// The use of a session by one call; no other call of the session runs meanwhile.
pub(crate) struct Lease {
    sessions: Arc<Sessions>,
    key: Key,
    place: OwnedMutexGuard<Place>,
    close: bool,
    binding: Arc<Binding>,
    workspace: Option<PathBuf>,
    calls: u64,
    lost: Option<String>,
    /// Whether a call's answer has said so.
    told: bool,
    /// Whether the call came to an end after which there is nothing to say about the instance.
    settled: bool,
}

impl Sessions {
    pub(crate) fn new(config: &SessionConfig) -> Arc<Sessions> {
        // What cannot be read was refused before it came here.
        let caps = config.caps().or_else(|_| SessionConfig::default().caps());
        let caps = caps.unwrap_or(Caps {
            total: 0,
            per_principal: 0,
            memory: 0,
            idle: Duration::ZERO,
            age: Duration::ZERO,
        });
        let state = State { caps, slots: HashMap::new(), swept: false };
        Arc::new(Sessions { state: Mutex::new(state) })
    }

    /// Puts other caps in force; they count from the next call on.
    pub(crate) fn configure(&self, config: &SessionConfig) {
        if let Ok(caps) = config.caps() {
            lock(&self.state).caps = caps;
        }
    }

    /// The session a call belongs to, for this call alone: waits for those before it, `wait` at most.
    ///
    /// # Errors
    /// `denied` where the plugin keeps no state or the id cannot be one, `overloaded` where there
    /// are too many sessions, `cancelled`.
    pub(crate) async fn lease(
        self: &Arc<Sessions>,
        session: &Session,
        binding: &Arc<Binding>,
        context: &CallContext,
        places: u32,
        wait: Duration,
    ) -> Result<Lease, End> {
        check(&session.id).map_err(|message| {
            End::BadArguments(ampoule_contract::Problem { path: None, message })
        })?;
        if !binding.plugin.keeps_state() {
            let message = format!(
                "`{}` keeps no state between calls: call it without a session",
                binding.name
            );
            return Err(End::Denied(Denial { gate: "session", message, allow: None }));
        }
        let key = Key {
            principal: context.principal.clone(),
            binding: binding.name.clone(),
            id: session.id.clone(),
        };
        let longest = Instant::now() + wait;
        let until = context.deadline.map_or(longest, |deadline| deadline.min(longest));
        loop {
            let place = self.slot(&key, places)?;
            let deadline = tokio::time::sleep_until(until.into());
            let mut place = tokio::select! {
                biased;
                place = place.lock_owned() => place,
                () = context.cancel.cancelled() => return Err(End::Cancelled),
                () = deadline => {
                    let message = "another call of this session is running; try again";
                    return Err(End::Overloaded(message.into()));
                }
            };
            if place.closed {
                continue;
            }
            let stale = place.kept.as_ref().and_then(|kept| {
                if !Arc::ptr_eq(&kept.binding, binding) {
                    Some("the plugin or its grants were changed")
                } else if kept.workspace != context.workspace {
                    Some("this call has another workspace")
                } else {
                    None
                }
            });
            if let Some(why) = stale {
                place.kept = None;
                place.lost = Some(why.to_owned());
            }
            let lost = place.lost.take();
            let calls = place.kept.as_ref().map_or(0, |kept| kept.calls);
            return Ok(Lease {
                sessions: self.clone(),
                key,
                place,
                close: session.close,
                binding: binding.clone(),
                workspace: context.workspace.clone(),
                calls,
                lost,
                told: false,
                settled: false,
            });
        }
    }

    /// The place of a session, made where there is none.
    fn slot(
        self: &Arc<Sessions>,
        key: &Key,
        places: u32,
    ) -> Result<Arc<tokio::sync::Mutex<Place>>, End> {
        let mut state = lock(&self.state);
        state.sweep();
        if let Some(slot) = state.slots.get_mut(key) {
            slot.used = Instant::now();
            // Whoever uses it and whoever waits for it holds on to it.
            if Arc::strong_count(&slot.kept) > MOST_WAITING {
                return Err(End::Overloaded(format!(
                    "{MOST_WAITING} calls of this session wait already; try again"
                )));
            }
            return Ok(slot.kept.clone());
        }
        let caps = state.caps;
        let full = |key: &str, most: u32| {
            Err(End::Overloaded(format!(
                "there are {most} sessions already; close one, or raise `[sessions] {key}` in \
                 ampoule.toml"
            )))
        };
        let own = state.slots.keys().filter(|other| other.principal == key.principal).count();
        if own >= caps.per_principal as usize {
            return full("per-principal", caps.per_principal);
        }
        if state.slots.len() >= caps.total as usize {
            return full("total", caps.total);
        }
        let taken: u32 = state.slots.values().map(|slot| slot.places).sum();
        if taken + places > SESSION_PLACES {
            return Err(End::Overloaded(format!(
                "the sessions take all {SESSION_PLACES} places of the pool that are set aside for \
                 them; close one"
            )));
        }
        let kept = Arc::<tokio::sync::Mutex<Place>>::default();
        let now = Instant::now();
        let slot = Slot { kept: kept.clone(), places, memory: 0, born: now, used: now };
        state.slots.insert(key.clone(), slot);
        if !std::mem::replace(&mut state.swept, true) {
            tokio::spawn(look_after(Arc::downgrade(self)));
        }
        Ok(kept)
    }

    /// Closes a session that is not in use; one in use ends with the call that uses it. Whether
    /// there was one.
    pub(crate) fn close(&self, principal: Option<&str>, binding: &str, id: &str) -> bool {
        let key = Key {
            principal: principal.map(str::to_owned),
            binding: binding.to_owned(),
            id: id.to_owned(),
        };
        lock(&self.state).slots.remove(&key).is_some()
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        let mut state = lock(&self.state);
        state.sweep();
        state.slots.len()
    }
}

impl State {
    /// Drops the sessions whose time is over and that nobody uses.
    fn sweep(&mut self) {
        let (now, caps) = (Instant::now(), self.caps);
        self.slots.retain(|_, slot| {
            let over = now.duration_since(slot.used) > caps.idle
                || now.duration_since(slot.born) > caps.age;
            // In use or waited for: it stays.
            !over || Arc::strong_count(&slot.kept) > 1
        });
    }
}

/// Drops sessions when their time is over, for as long as there are any.
async fn look_after(sessions: Weak<Sessions>) {
    loop {
        let pause = {
            let Some(sessions) = sessions.upgrade() else { return };
            let mut state = lock(&sessions.state);
            state.sweep();
            if state.slots.is_empty() {
                state.swept = false;
                return;
            }
            (state.caps.idle / 4).clamp(Duration::from_millis(100), Duration::from_secs(30))
        };
        tokio::time::sleep(pause).await;
    }
}

/// What a guest has open in the host that must not outlive its call: it would grow, or go on, beside
/// every account and every search for secrets. Files and standard streams may stay.
pub(crate) fn open(table: &mut ResourceTable) -> Option<&'static str> {
    table.iter_mut().find_map(|entry| {
        let entry: &dyn std::any::Any = entry;
        if entry.is::<Descriptor>()
            || entry.is::<DynInputStream>()
            || entry.is::<DynOutputStream>()
            || entry.is::<DynPollable>()
        {
            return None;
        }
        Some(match () {
            () if entry.is::<http::Response>() => "an answer to a request",
            () if entry.is::<http::Sending>() => "a request",
            () if entry.is::<tools::Calling>() => "a call of a tool",
            () if entry.is::<blobs::OpenBlob>() || entry.is::<blobs::BlobWriter>() => "a blob",
            () => "something in the host",
        })
    })
}

/// # Errors
/// It is no id.
fn check(id: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(good) {
        true => Ok(()),
        false => Err(format!(
            "a session's id is letters, digits, `-`, `_`, `.` and `:`, at most {MAX_ID_BYTES}"
        )),
    }
}

impl Lease {
    /// The instance of the session, if it has one.
    pub(crate) fn take(&mut self) -> Option<Kept> {
        self.place.kept.take()
    }

    /// Keeps an instance whose call has ended well. What a call says of it is [`Lease::say`].
    pub(crate) fn keep(
        &mut self,
        store: Store<CallState>,
        instance: Instance,
        secrets: Arc<RunSecrets>,
    ) {
        self.settled = true;
        self.calls += 1;
        let memory = store.data().limiter.memory();
        if self.close || !self.has_room(memory) {
            return;
        }
        let (binding, workspace, calls) =
            (self.binding.clone(), self.workspace.clone(), self.calls);
        self.place.kept = Some(Kept { store, instance, binding, workspace, calls, secrets });
    }

    /// Whether the kept instances have room for this one; notes what it has.
    fn has_room(&mut self, memory: u64) -> bool {
        let mut state = lock(&self.sessions.state);
        let others: u64 =
            state.slots.iter().filter(|(key, _)| **key != self.key).map(|(_, s)| s.memory).sum();
        let most = state.caps.memory;
        if others + memory > most {
            drop(state);
            self.place.lost = Some(format!(
                "the kept instances would have more than {most} bytes of memory together \
                 (`[sessions] memory`)"
            ));
            return false;
        }
        match state.slots.get_mut(&self.key) {
            Some(slot) => {
                slot.memory = memory;
                slot.used = Instant::now();
                true
            }
            // It was closed meanwhile.
            None => false,
        }
    }

    /// The session ends with a call that ended so that its instance is of no more use.
    pub(crate) fn lose(&mut self, how: &str) {
        self.settled = true;
        self.place.lost = Some(format!("the call before this one ended as {how}"));
    }

    /// What a call's answer says of its session: its id, how many calls its instance has had, and
    /// why an earlier state is gone.
    pub(crate) fn say(&mut self) -> Value {
        self.told = true;
        let mut said = json!({ "id": self.key.id, "calls": self.calls });
        if let Some(lost) = &self.lost {
            said["lost"] = format!("the state of this session is new: {lost}").into();
        }
        if self.close {
            said["closed"] = true.into();
        }
        said
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            // The call's future was dropped, or it never began.
            if self.place.kept.is_none() && self.calls > 0 {
                self.place.lost = Some("the call before this one was dropped".to_owned());
            }
        }
        if !self.told && self.place.lost.is_none() {
            self.place.lost = self.lost.take();
        }
        if self.close {
            self.place.closed = true;
            self.place.kept = None;
            lock(&self.sessions.state).slots.remove(&self.key);
        }
    }
}
