//! Admission: which calls may begin, and which wait for how long.
//!
//! A call needs a place in the instance pool, and room under the caps of `[concurrency]`: on all
//! calls, on those of its plugin, on those of its principal. Where there is none it waits, unbilled.
//! Principals take turns, one call each, and so do the plugins of one principal: a flood of one is
//! no delay of another beyond a turn. A component that needs more of the pool than most counts for
//! several places; who waits for several holds the turn until they are free.
//!
//! A tool that a running call has called never waits, because its caller holds a place meanwhile:
//! it has places set aside, takes others that nobody waits for, or is refused.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ampoule_contract::{CallContext, End, Meter};
use arc_swap::ArcSwapOption;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use tokio::sync::oneshot;

use crate::engine::POOL_INSTANCES;
use crate::manifest::LimitValue;
use crate::rate::{Rate, Rates};
use crate::state::lock;

/// Places for calls from outside. The rest of the pool is set aside for the tools they call, so
/// that a thousand calls that each call a tool do not all fail.
const OUTER_PLACES: u32 = POOL_INSTANCES * 9 / 10;

/// Places set aside for tools that running calls have called.
const INNER_PLACES: u32 = POOL_INSTANCES - OUTER_PLACES;

/// Of those, what the calls of one principal may take.
const INNER_PER_PRINCIPAL: u32 = INNER_PLACES * 3 / 4;

/// The most calls that may be let wait.
const MOST_WAITING: u32 = 1_000_000;

/// `[concurrency]`: how many calls may run and wait at once, and how often a principal may call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ConcurrencyConfig {
    /// Calls from outside that run at once, 1 to 900. Default: 900.
    #[serde(deserialize_with = "running")]
    pub calls: Option<u32>,
    /// The calls of one plugin, those that running calls make of it included. Default: three
    /// quarters of `calls`, and no bound where a running call calls it. A binding's own `calls`
    /// replaces it.
    #[serde(deserialize_with = "running")]
    pub per_plugin: Option<u32>,
    /// The calls of one principal. Default: three quarters of `calls`.
    #[serde(deserialize_with = "running")]
    pub per_principal: Option<u32>,
    /// Calls that wait at once; beyond it they end as `overloaded`. Default: 10,000.
    #[serde(deserialize_with = "waiting")]
    pub queue: Option<u32>,
    /// Of those, the calls of one principal. Default: half of `queue`.
    #[serde(deserialize_with = "waiting")]
    pub queue_per_principal: Option<u32>,
    /// How long a call may wait, such as `"30 s"`, which is the default.
    #[serde(deserialize_with = "time")]
    pub queue_time: Option<LimitValue>,
    /// How often one principal may call from outside, such as `"100/s"`. Default: no bound.
    pub rate_per_principal: Option<Rate>,
}

/// The longest a call waits where nobody says otherwise.
const QUEUE_TIME: Duration = Duration::from_secs(30);

fn bounded<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: u32,
    most: u32,
) -> Result<Option<u32>, D::Error> {
    let n = u32::deserialize(deserializer)?;
    match (least..=most).contains(&n) {
        true => Ok(Some(n)),
        false => Err(de::Error::custom(format!("{n} is not from {least} to {most}"))),
    }
}

/// A number of calls that run at once.
pub(crate) fn running<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    bounded(d, 1, OUTER_PLACES)
}

fn waiting<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    bounded(d, 0, MOST_WAITING)
}

fn time<'de, D: Deserializer<'de>>(d: D) -> Result<Option<LimitValue>, D::Error> {
    let value = LimitValue::deserialize(d)?;
    milliseconds(&value).map_err(de::Error::custom)?;
    Ok(Some(value))
}

fn milliseconds(value: &LimitValue) -> Result<u64, String> {
    match value {
        LimitValue::Number(n) => Ok(*n),
        LimitValue::Text(text) => Meter::WallTime.parse(text),
    }
}

/// The caps in force.
#[derive(Clone, Copy)]
struct Caps {
    calls: u32,
    per_plugin: u32,
    /// The same where a running call calls the plugin: only what the operator has said.
    per_plugin_inner: u32,
    per_principal: u32,
    queue: u32,
    queue_per_principal: u32,
    queue_time: Duration,
}

impl Caps {
    fn new(config: &ConcurrencyConfig) -> Caps {
        let calls = config.calls.unwrap_or(OUTER_PLACES).min(OUTER_PLACES);
        let most = (calls * 3).div_ceil(4);
        let queue = config.queue.unwrap_or(10_000);
        // What cannot be read was refused before it came here.
        let queue_time = config.queue_time.as_ref().and_then(|value| milliseconds(value).ok());
        Caps {
            calls,
            per_plugin: config.per_plugin.unwrap_or(most),
            per_plugin_inner: config.per_plugin.unwrap_or(POOL_INSTANCES),
            per_principal: config.per_principal.unwrap_or(most),
            queue,
            queue_per_principal: config.queue_per_principal.unwrap_or(queue.div_ceil(2)),
            queue_time: queue_time.map_or(QUEUE_TIME, Duration::from_millis),
        }
    }
}

/// A call that wants to begin.
pub(crate) struct Wish<'a> {
    /// For whom.
    pub context: &'a CallContext,
    /// The binding.
    pub plugin: &'a str,
    /// The binding's own cap on its calls.
    pub calls: Option<u32>,
    /// The places its component takes in the pool.
    pub places: u32,
    /// Whether a running call has called it.
    pub inner: bool,
}

impl Wish<'_> {
    /// Calls for nobody in particular are those of one principal.
    fn principal(&self) -> &str {
        self.context.principal.as_deref().unwrap_or_default()
    }
}

/// Who may begin: shared by all calls of a host.
pub(crate) struct Admission {
    /// How often one principal may call; beside the state, for most calls need nothing more of it.
    rate_per_principal: ArcSwapOption<Rate>,
    state: Mutex<State>,
    plugins: Rates<String>,
    principals: Rates<String>,
}

/// Leave to run. Dropped, it lets the next one begin.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    principal: Arc<str>,
    plugin: Arc<str>,
    places: u32,
    /// Whether the places are of those set aside.
    aside: bool,
}

struct State {
    caps: Caps,
    /// Calls that run, those on places set aside left out.
    calls: u32,
    /// Places they take.
    places: u32,
    /// Places taken of those set aside.
    aside: u32,
    principals: HashMap<Arc<str>, Held>,
    /// Running calls of each plugin.
    plugins: HashMap<Arc<str>, u32>,
    /// The principals with calls that wait, the next one in front.
    turns: VecDeque<Arc<str>>,
    /// Their calls.
    lines: HashMap<Arc<str>, Line>,
    waiting: u32,
    tickets: u64,
}

/// What a principal's running calls hold.
#[derive(Default)]
struct Held {
    calls: u32,
    aside: u32,
}

/// The waiting calls of one principal: for each plugin those that came first come first, and the
/// plugins take turns.
#[derive(Default)]
struct Line {
    plugins: VecDeque<(Arc<str>, BTreeMap<u64, Ticket>)>,
    waiting: u32,
}

/// A call that waits.
struct Ticket {
    calls: Option<u32>,
    places: u32,
    admitted: oneshot::Sender<Permit>,
}

/// What a call had to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Full {
    /// The cap on all calls, or the pool: nobody can begin.
    Calls,
    Pool,
    Principal,
    Plugin,
}

/// What a principal's turn came to.
enum Turn {
    Admitted,
    /// It has reached caps of its own.
    Passed,
    /// There is no room for anybody.
    NoRoom,
}

type Admitted = Vec<(oneshot::Sender<Permit>, Permit)>;

impl Admission {
    pub(crate) fn new(config: &ConcurrencyConfig) -> Arc<Admission> {
        let state = State {
            caps: Caps::new(config),
            calls: 0,
            places: 0,
            aside: 0,
            principals: HashMap::new(),
            plugins: HashMap::new(),
            turns: VecDeque::new(),
            lines: HashMap::new(),
            waiting: 0,
            tickets: 0,
        };
        Arc::new(Admission {
            rate_per_principal: ArcSwapOption::from_pointee(config.rate_per_principal),
            state: Mutex::new(state),
            plugins: Rates::default(),
            principals: Rates::default(),
        })
    }

    /// Puts other caps in force. Who runs goes on, who waits waits under the new ones.
    pub(crate) fn configure(self: &Arc<Admission>, config: &ConcurrencyConfig) {
        let mut state = lock(&self.state);
        self.rate_per_principal.store(config.rate_per_principal.map(Arc::new));
        state.caps = Caps::new(config);
        let admitted = state.take_turns(self);
        drop(state);
        admit(admitted);
    }

    /// Counts a call against the rates of its plugin and, from outside, its principal.
    ///
    /// # Errors
    /// `overloaded`, with the rate and where it stands.
    pub(crate) fn count(
        &self,
        context: &CallContext,
        plugin: &str,
        rate: Option<Rate>,
        inner: bool,
    ) -> Result<(), End> {
        let principal = context.principal.as_deref().unwrap_or_default();
        let of_principal = self.rate_per_principal.load().as_deref().copied().filter(|_| !inner);
        let over = |whose: String, line: String, wait: Duration| {
            End::Overloaded(format!(
                "{whose} too often; try again in {} ms, or raise `{line}` in ampoule.toml",
                wait.as_millis().max(1)
            ))
        };
        if let Some(rate) = of_principal {
            self.principals.count(principal.to_owned(), rate).map_err(|wait| {
                let line = format!("[concurrency] rate-per-principal = \"{rate}\"");
                over(format!("{} calls", shown(principal)), line, wait)
            })?;
        }
        if let Some(rate) = rate {
            self.plugins.count(plugin.to_owned(), rate).map_err(|wait| {
                let line = format!("[bindings.{plugin}] rate = \"{rate}\"");
                over(format!("`{plugin}` is called"), line, wait)
            })?;
        }
        Ok(())
    }

    /// How long a call may wait.
    pub(crate) fn queue_time(&self) -> Duration {
        lock(&self.state).caps.queue_time
    }

    /// Waits until the call may begin.
    ///
    /// # Errors
    /// `overloaded`, with the cap that was reached; `cancelled`.
    pub(crate) async fn admit(self: &Arc<Admission>, wish: &Wish<'_>) -> Result<Permit, End> {
        if wish.inner {
            return self.admit_inner(wish);
        }
        let (mut admitted, waiting, until) = {
            let mut state = lock(&self.state);
            let (principal, plugin) = state.keys(wish);
            if state.turns.is_empty() && state.room(&principal, &plugin, wish).is_ok() {
                state.hold(&principal, &plugin, wish.places);
                return Ok(self.permit(principal, plugin, wish.places, false));
            }
            let (sender, admitted) = oneshot::channel();
            let id = state.queue(&principal, &plugin, wish, sender);
            let waiting = Waiting { admission: self, principal, plugin, id };
            // Those before it may all have reached caps of their own.
            let begin = state.take_turns(self);
            let caps = state.caps;
            let of_principal = state.lines.get(&waiting.principal).map_or(0, |line| line.waiting);
            let still = state.is_waiting(&waiting);
            let refused = match still {
                true if state.waiting > caps.queue => Some(("queue", caps.queue)),
                true if of_principal > caps.queue_per_principal => {
                    Some(("queue-per-principal", caps.queue_per_principal))
                }
                _ => None,
            };
            let reason = refused.map(|(key, n)| {
                format!(
                    "{}; {n} calls wait already, which is the most that may: `[concurrency] \
                     {key} = {n}` in ampoule.toml",
                    state.why(&waiting.principal, &waiting.plugin, wish)
                )
            });
            drop(state);
            admit(begin);
            if let Some(reason) = reason {
                return Err(End::Overloaded(reason));
            }
            (admitted, waiting, Instant::now() + caps.queue_time)
        };
        let deadline = wish.context.deadline.filter(|deadline| *deadline < until);
        let end = tokio::select! {
            biased;
            Ok(permit) = &mut admitted => return Ok(permit),
            () = wish.context.cancel.cancelled() => End::Cancelled,
            () = tokio::time::sleep_until(deadline.unwrap_or(until).into()) => {
                let state = lock(&self.state);
                let why = state.why(&waiting.principal, &waiting.plugin, wish);
                let time = match deadline {
                    Some(_) => "until the call's deadline".to_owned(),
                    None => {
                        let time = Meter::WallTime.show(state.caps.queue_time.as_millis() as u64);
                        format!("for {time} (`[concurrency] queue-time` in ampoule.toml)")
                    }
                };
                End::Overloaded(format!("no place {time}: {why}; try again later"))
            }
        };
        // Leaves the line.
        drop(waiting);
        Err(end)
    }

    /// Admits a tool that a running call has called, or refuses it at once.
    fn admit_inner(self: &Arc<Admission>, wish: &Wish<'_>) -> Result<Permit, End> {
        let mut state = lock(&self.state);
        let (principal, plugin) = state.keys(wish);
        let full = if state.of_plugin(&plugin) >= wish.calls.unwrap_or(state.caps.per_plugin_inner)
        {
            Full::Plugin
        } else {
            let held = state.principals.get(&principal).map_or(0, |held| held.aside);
            if state.aside + wish.places <= INNER_PLACES
                && held + wish.places <= INNER_PER_PRINCIPAL
            {
                state.aside += wish.places;
                state.principals.entry(principal.clone()).or_default().aside += wish.places;
                *state.plugins.entry(plugin.clone()).or_default() += 1;
                return Ok(self.permit(principal, plugin, wish.places, true));
            }
            match state.room(&principal, &plugin, wish) {
                Ok(()) if state.turns.is_empty() => {
                    state.hold(&principal, &plugin, wish.places);
                    return Ok(self.permit(principal, plugin, wish.places, false));
                }
                // Others wait for what is free.
                Ok(()) => Full::Calls,
                Err(full) => full,
            }
        };
        let why = state.words(full, &principal, &plugin, wish.calls);
        Err(End::Overloaded(format!("a tool cannot wait for a place: {why}; try again later")))
    }

    fn permit(
        self: &Arc<Admission>,
        principal: Arc<str>,
        plugin: Arc<str>,
        places: u32,
        aside: bool,
    ) -> Permit {
        Permit { admission: self.clone(), principal, plugin, places, aside }
    }
}

/// Tells those who wait that they may begin. Not under the lock: who has gone meanwhile gives the
/// permit back, which takes it.
fn admit(admitted: Admitted) {
    for (waiting, permit) in admitted {
        drop(waiting.send(permit));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.admission.state);
        state.give_back(self);
        let admitted = state.take_turns(&self.admission);
        drop(state);
        admit(admitted);
    }
}

/// A call in line; dropped, it leaves.
struct Waiting<'a> {
    admission: &'a Arc<Admission>,
    principal: Arc<str>,
    plugin: Arc<str>,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.admission.state);
        state.leave(&self.principal, &self.plugin, self.id);
        // It may have held the turn for want of several places.
        let admitted = state.take_turns(self.admission);
        drop(state);
        admit(admitted);
    }
}

impl State {
    /// The names of a wish's principal and plugin, shared with what is known of them.
    fn keys(&self, wish: &Wish<'_>) -> (Arc<str>, Arc<str>) {
        fn shared<V>(known: &HashMap<Arc<str>, V>, name: &str) -> Arc<str> {
            known.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
        }
        (shared(&self.principals, wish.principal()), shared(&self.plugins, wish.plugin))
    }

    fn of_plugin(&self, plugin: &str) -> u32 {
        self.plugins.get(plugin).copied().unwrap_or(0)
    }

    /// Whether there is room for one more call; if not, for want of what.
    fn room(&self, principal: &str, plugin: &str, wish: &Wish<'_>) -> Result<(), Full> {
        self.room_for(principal, plugin, wish.calls, wish.places)
    }

    fn room_for(
        &self,
        principal: &str,
        plugin: &str,
        calls: Option<u32>,
        places: u32,
    ) -> Result<(), Full> {
        let held = self.principals.get(principal).map_or(0, |held| held.calls);
        // Caps of its own first: they are no reason for others to wait.
        if held >= self.caps.per_principal {
            Err(Full::Principal)
        } else if self.of_plugin(plugin) >= calls.unwrap_or(self.caps.per_plugin) {
            Err(Full::Plugin)
        } else if self.calls >= self.caps.calls {
            Err(Full::Calls)
        } else if self.places + places > OUTER_PLACES {
            Err(Full::Pool)
        } else {
            Ok(())
        }
    }

    /// What a call waits for, in words.
    fn why(&self, principal: &str, plugin: &str, wish: &Wish<'_>) -> String {
        // Where there is room, somebody waits for more of it.
        let full = self.room(principal, plugin, wish).err().unwrap_or(Full::Calls);
        self.words(full, principal, plugin, wish.calls)
    }

    /// What is full, in words, with the line that says so.
    fn words(&self, full: Full, principal: &str, plugin: &str, calls: Option<u32>) -> String {
        let line = |key: &str, n: u32| format!("`[concurrency] {key} = {n}` in ampoule.toml");
        match full {
            Full::Calls => format!("the host is busy: {}", line("calls", self.caps.calls)),
            Full::Pool => format!("the instance pool of {POOL_INSTANCES} places is full"),
            Full::Principal => format!(
                "{} has as many calls under way as it may: {}",
                shown(principal),
                line("per-principal", self.caps.per_principal)
            ),
            Full::Plugin => {
                let line = match calls {
                    Some(n) => format!("`[bindings.{plugin}] calls = {n}` in ampoule.toml"),
                    None => line("per-plugin", self.caps.per_plugin),
                };
                format!("`{plugin}` has as many calls under way as it may: {line}")
            }
        }
    }

    fn hold(&mut self, principal: &Arc<str>, plugin: &Arc<str>, places: u32) {
        self.calls += 1;
        self.places += places;
        self.principals.entry(principal.clone()).or_default().calls += 1;
        *self.plugins.entry(plugin.clone()).or_default() += 1;
    }

    fn give_back(&mut self, permit: &Permit) {
        if let Some(held) = self.principals.get_mut(&permit.principal) {
            match permit.aside {
                true => held.aside -= permit.places,
                false => held.calls -= 1,
            }
            if held.aside == 0 && held.calls == 0 {
                self.principals.remove(&permit.principal);
            }
        }
        match permit.aside {
            true => self.aside -= permit.places,
            false => {
                self.calls -= 1;
                self.places -= permit.places;
            }
        }
        if let Some(calls) = self.plugins.get_mut(&permit.plugin) {
            *calls -= 1;
            if *calls == 0 {
                self.plugins.remove(&permit.plugin);
            }
        }
    }

    /// Puts a call at the end of its line.
    fn queue(
        &mut self,
        principal: &Arc<str>,
        plugin: &Arc<str>,
        wish: &Wish<'_>,
        admitted: oneshot::Sender<Permit>,
    ) -> u64 {
        self.tickets += 1;
        let id = self.tickets;
        let line = self.lines.entry(principal.clone()).or_insert_with(|| {
            self.turns.push_back(principal.clone());
            Line::default()
        });
        let ticket = Ticket { calls: wish.calls, places: wish.places, admitted };
        match line.plugins.iter_mut().find(|(name, _)| name == plugin) {
            Some((_, tickets)) => drop(tickets.insert(id, ticket)),
            None => line.plugins.push_back((plugin.clone(), BTreeMap::from([(id, ticket)]))),
        }
        line.waiting += 1;
        self.waiting += 1;
        id
    }

    fn is_waiting(&self, call: &Waiting<'_>) -> bool {
        let line = self.lines.get(&call.principal);
        let plugins = line.into_iter().flat_map(|line| &line.plugins);
        let mut plugins = plugins.filter(|(plugin, _)| *plugin == call.plugin);
        plugins.any(|(_, tickets)| tickets.contains_key(&call.id))
    }

    /// Takes a call out of its line, if it is still there.
    fn leave(&mut self, principal: &Arc<str>, plugin: &Arc<str>, id: u64) {
        let Some(line) = self.lines.get_mut(principal) else { return };
        let Some(at) = line.plugins.iter().position(|(name, _)| name == plugin) else { return };
        let tickets = &mut line.plugins[at].1;
        if tickets.remove(&id).is_none() {
            return;
        }
        if tickets.is_empty() {
            line.plugins.remove(at);
        }
        line.waiting -= 1;
        self.waiting -= 1;
        if line.waiting == 0 {
            self.lines.remove(principal);
            self.turns.retain(|waiting| waiting != principal);
        }
    }

    /// Lets the principals take turns for as long as there is room.
    fn take_turns(&mut self, admission: &Arc<Admission>) -> Admitted {
        let mut admitted = Vec::new();
        let mut passed = 0;
        while passed < self.turns.len() {
            let Some(principal) = self.turns.pop_front() else { break };
            match self.take_turn(&principal, admission, &mut admitted) {
                Turn::Admitted => {
                    passed = 0;
                    if self.lines.contains_key(&principal) {
                        self.turns.push_back(principal);
                    }
                }
                Turn::Passed => {
                    passed += 1;
                    self.turns.push_back(principal);
                }
                Turn::NoRoom => {
                    self.turns.push_front(principal);
                    break;
                }
            }
        }
        admitted
    }

    fn take_turn(
        &mut self,
        principal: &Arc<str>,
        admission: &Arc<Admission>,
        admitted: &mut Admitted,
    ) -> Turn {
        let plugins = self.lines.get(principal).map_or(0, |line| line.plugins.len());
        for _ in 0..plugins {
            let Some(line) = self.lines.get(principal) else { break };
            let Some((plugin, tickets)) = line.plugins.front() else { break };
            let Some((&id, first)) = tickets.first_key_value() else { break };
            let (plugin, calls, places) = (plugin.clone(), first.calls, first.places);
            match self.room_for(principal, &plugin, calls, places) {
                Ok(()) => {}
                Err(Full::Calls | Full::Pool) => return Turn::NoRoom,
                Err(Full::Principal) => return Turn::Passed,
                Err(Full::Plugin) => {
                    if let Some(line) = self.lines.get_mut(principal) {
                        line.plugins.rotate_left(1);
                    }
                    continue;
                }
            }
            let Some(line) = self.lines.get_mut(principal) else { break };
            let ticket = line.plugins.front_mut().and_then(|(_, tickets)| tickets.remove(&id));
            let Some(ticket) = ticket else { break };
            match line.plugins.pop_front() {
                Some(rest) if !rest.1.is_empty() => line.plugins.push_back(rest),
                _ => {}
            }
            line.waiting -= 1;
            self.waiting -= 1;
            if line.waiting == 0 {
                self.lines.remove(principal);
            }
            self.hold(principal, &plugin, places);
            let permit = admission.permit(principal.clone(), plugin, places, false);
            admitted.push((ticket.admitted, permit));
            return Turn::Admitted;
        }
        Turn::Passed
    }
}

/// A principal in a message, as far as anybody reads it.
fn shown(principal: &str) -> String {
    match principal {
        "" => "the principal without a name".to_owned(),
        name => format!("the principal `{}`", name.chars().take(80).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
