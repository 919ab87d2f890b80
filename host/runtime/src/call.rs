//! One call: a fresh instance, its limits, its result, its receipt. Everything here dies with
//! the call. Calls of tools here; what the host itself asks of a plugin in [`exports`].

mod exports;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use ampoule_contract::{
    Account, Arguments, Breach, CallContext, Denial, End, Meter, Outcome, Output, Problem, Receipt,
    ToolError,
};
use serde_json::Value;
use wasmtime::component::{Instance, ResourceTable};
use wasmtime::{Store, Trap};

use crate::admit::Permit;
use crate::approval;
use crate::audit::{Beginning, Recorded};
use crate::bindings::ampoule::plugin::types;
use crate::engine::FUEL_YIELD_INTERVAL;
use crate::grants::Grants;
use crate::host::{Host, HostFault};
use crate::idle::Watch;
use crate::imports::block_bytes;
use crate::limits::{self, Limiter};
use crate::observe::Observer;
use crate::plugin::Code;
use crate::reflect::{Answer, Budget};
use crate::registry::{Binding, BoundTool, EntryPoint};
use crate::replay::Tape;
use crate::scan::RunSecrets;
use crate::sessions::{self, Kept, Lease};
use crate::state::{CallState, Deadline, Denials, Ending, Running, lock};
use crate::teardown::OwnedStore;
use crate::workspace::Overlay;

pub(crate) use self::exports::{discover, models, stream};

/// The most blocks a tool may answer.
const MAX_BLOCKS: usize = 10_000;

/// What a call of a tool starts from.
pub(crate) struct Request {
    pub arguments: Arguments,
    pub context: CallContext,
    /// The call's own account.
    pub account: Arc<Account>,
    pub depth: u64,
    /// The call whose guest makes it; none from outside.
    pub caller: Option<Arc<Running>>,
    /// Who is told what it uses.
    pub observer: Option<Observer>,
    /// What records or replays it.
    pub tape: Option<Arc<Tape>>,
}

/// An outcome, and the blobs that go with it.
pub(crate) struct Ended {
    pub outcome: Outcome,
    /// Ids of the blobs the result names and the call might open.
    pub blobs: Vec<String>,
}

/// A guest's wish to end the call and be run again when a person has answered.
#[derive(Debug)]
pub(crate) struct Suspended(pub String);

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting for an answer to: {}", self.0)
    }
}

impl std::error::Error for Suspended {}

/// Calls a tool of a plugin, and records its beginning and its end.
pub(crate) async fn invoke(host: Host, tool: Arc<BoundTool>, request: Request) -> Ended {
    let id = host.next_id();
    let beginning = Beginning {
        id: &id,
        tool: &tool.definition.id,
        binding: Some(&tool.binding),
        context: &request.context,
        account: Some(&request.account),
        arguments: Some(&request.arguments),
    };
    let recorded = match Recorded::start(&host, beginning) {
        Ok(recorded) => recorded,
        Err(end) => {
            let receipt = Receipt::empty(id, tool.definition.id.clone(), end.word());
            return Ended { outcome: Outcome { end, receipt }, blobs: Vec::new() };
        }
    };
    // On the heap, as is the work below: a future is copied whole into whoever waits for it, and each
    // of these holds some kilobytes.
    let mut ended = Box::pin(perform(host, id, tool, request)).await;
    recorded.end(&mut ended.outcome);
    ended
}

async fn perform(host: Host, id: String, tool: Arc<BoundTool>, mut request: Request) -> Ended {
    let mut receipt = Receipt::empty(id.clone(), tool.definition.id.clone(), "");
    receipt.digest.clone_from(&tool.definition.digest);
    receipt.limits = *request.account.limits();
    let before = |end: End, mut receipt: Receipt, request: &Request| {
        receipt.end = end.word();
        receipt.used = request.account.usage();
        match &end {
            End::Limit(breach) => receipt.ended_by = Some(breach.meter),
            End::Denied(denial) => receipt.denials.push(denial.clone()),
            _ => {}
        }
        Ended { outcome: Outcome { end, receipt }, blobs: Vec::new() }
    };
    let (text, value) = std::mem::take(&mut request.arguments).into_parts();
    let printed = value.is_some();
    let arguments = match check_arguments(&tool, &request, &text, value) {
        Ok(arguments) => arguments,
        Err(end) => return before(end, receipt, &request),
    };
    if let Err(end) = approve(&host, &id, &tool, &text, &mut request).await {
        return before(end, receipt, &request);
    }
    let queued = Instant::now();
    let admitted = admit(&host, &tool, &request).await;
    receipt.queued = queued.elapsed();
    let (code, mut lease, permit) = match admitted {
        Ok(admitted) => admitted,
        Err(end) => return before(end, receipt, &request),
    };
    let passed = Passed::of(&arguments, &request);
    let Request { context, account, depth, caller, observer, tape, .. } = request;
    let grants = tool.binding.grants_for(context.principal.as_deref());
    let grants = match observer {
        Some(observer) => Arc::new(grants.observed(&observer)),
        None => grants.clone(),
    };
    let tool_id = tool.definition.id.clone();
    let kept = lease.as_mut().and_then(Lease::take);
    let live = Live::start(
        host,
        kept,
        tool.binding.clone(),
        grants,
        id,
        tool_id,
        context,
        account,
        depth,
        caller,
        passed,
        permit,
    );
    let mut live = match live {
        Ok(live) => live,
        Err(refused) => {
            let (end, mut start) = *refused;
            start.queued = receipt.queued;
            return Ended { outcome: Outcome { end, receipt: start }, blobs: Vec::new() };
        }
    };
    let _unnamed = Unnamed(live.call.clone());
    if let Some(tape) = tape {
        tape.begin(live.fuel);
        live.call.tape.get_or_init(|| tape);
    }
    let mut instance = live.instance;
    // What was validated is what is passed on: any other text is printed anew, so a reader that takes
    // duplicate keys or odd numbers another way sees what we saw.
    let print = move |value: &Value| if printed { text } else { crate::json::print(value) };
    let entered = live.run(async |store: &mut Store<CallState>| {
        enter(store, &mut instance, &code, &tool, &arguments, print).await
    });
    let entered = entered.await;
    match &lease {
        // What the guest has begun must have come to its end by itself: see `Live::keep`.
        Some(_) if entered.is_ok() => {}
        _ => live.settle().await,
    }
    if let Some(tape) = live.call.tape.get() {
        tape.settle(&live.call, |id| entered.as_ref().is_ok_and(|raw| raw.names(id)));
    }
    let mut end = match (entered, lacking(&live.call)) {
        (Ok(_), Some(denial)) => End::Denied(denial),
        (Ok(raw), None) => live.finish(&tool, raw).await,
        (Err(end), _) => end,
    };
    if let Some(lease) = &mut lease {
        live.keep(lease, instance, &mut end).await;
    }
    clean(&live.call, &mut end);
    let blobs = live.keep_blobs(&end);
    let call = live.call.clone();
    // What the instance holds goes first, then its place in the queue.
    let wall = live.started.elapsed();
    drop(live);
    drop(lease);
    receipt.wall = wall;
    let outcome = outcome(end, receipt, &call);
    if let Some(tape) = call.tape.get() {
        tape.ended(&outcome);
    }
    Ended { outcome, blobs }
}

/// What a call was refused, of a plugin that was not granted what it cannot do without: then
/// whatever it answers is no answer, and nothing of it is kept.
fn lacking(call: &Running) -> Option<Denial> {
    call.binding.missing.as_ref()?;
    lock(&call.denials).list.iter().find(|denial| denial.gate == "grant").cloned()
}

fn outcome(end: End, mut receipt: Receipt, call: &Running) -> Outcome {
    receipt.end = end.word();
    if let End::Limit(breach) = &end {
        receipt.ended_by = Some(breach.meter);
    }
    call.account.peak(Meter::WallTime, receipt.wall.as_millis() as u64);
    receipt.used = call.account.usage();
    let denials = std::mem::take(&mut *lock(&call.denials));
    receipt.denials = denials.list;
    receipt.denials_left_out = denials.left_out;
    receipt.children = std::mem::take(&mut *lock(&call.children));
    tracing::debug!(
        call = receipt.call,
        tool = receipt.tool,
        end = receipt.end,
        fuel = receipt.used.get(Meter::Fuel),
        wall_us = receipt.wall.as_micros() as u64,
        "call ended"
    );
    Outcome { end, receipt }
}

/// Waits for what a call needs to begin: the plugin's code, its session if it belongs to one, and
/// then its turn.
async fn admit(
    host: &Host,
    tool: &BoundTool,
    request: &Request,
) -> Result<(Arc<Code>, Option<Lease>, Permit), End> {
    let Request { context, depth, .. } = request;
    let code = host.prepare(&tool.binding, *depth, context).await?;
    let lease = lease(host, tool, request, code.places).await?;
    let permit = host.admit(&tool.binding, *depth, context, code.places).await?;
    Ok((code, lease, permit))
}

/// The session that a call belongs to, if it belongs to one.
async fn lease(
    host: &Host,
    tool: &BoundTool,
    request: &Request,
    places: u32,
) -> Result<Option<Lease>, End> {
    let Some(session) = &request.context.session else { return Ok(None) };
    if request.tape.is_some() {
        let message =
            "a call of a session cannot be recorded: what it does depends on those before";
        return Err(End::Denied(Denial { gate: "session", message: message.into(), allow: None }));
    }
    let sessions = host.held_sessions();
    let wait = host.queue_time();
    sessions.lease(session, &tool.binding, &request.context, places, wait).await.map(Some)
}

/// Has a person approve the call, where somebody has to. A replay does nothing to be approved.
async fn approve(
    host: &Host,
    id: &str,
    tool: &BoundTool,
    arguments: &str,
    request: &mut Request,
) -> Result<(), End> {
    if request.tape.as_ref().is_some_and(|tape| tape.plays()) {
        return Ok(());
    }
    let Request { context, caller, .. } = &*request;
    let caller = caller.as_deref();
    approval::approve(host, id, &tool.definition.id, arguments, context, caller).await?;
    if let Some(caller) = caller {
        // It was moved on by as long as the person took.
        request.context.deadline = Some(caller.deadline.at());
    }
    Ok(())
}

/// Bounds, parses and validates the arguments; looks whether the plugin can be used at all.
fn check_arguments(
    tool: &BoundTool,
    request: &Request,
    text: &str,
    value: Option<Value>,
) -> Result<Value, End> {
    // A replay asks for nothing that could be granted.
    let replays = request.tape.as_ref().is_some_and(|tape| tape.plays());
    if let Some(denial) = tool.binding.barred.as_ref().filter(|_| !replays) {
        return Err(End::Denied(denial.clone()));
    }
    request.account.charge(Meter::ArgumentBytes, text.len() as u64).map_err(End::Limit)?;
    let arguments = crate::json::arguments(text, value).map_err(End::BadArguments)?;
    tool.input.validate(&arguments).map_err(End::BadArguments)?;
    Ok(arguments)
}

/// The blobs a call may open from its start.
struct Passed(HashSet<String>);

impl Passed {
    fn of(arguments: &Value, request: &Request) -> Passed {
        let mut ids = HashSet::new();
        crate::json::each_blob(arguments, &mut |id| {
            // A calling plugin passes on only what it may open itself; who calls from outside
            // owns the store.
            if request.caller.as_ref().is_none_or(|caller| caller.may_open(id)) {
                ids.insert(id.to_owned());
            }
        });
        Passed(ids)
    }
}

/// A call with its instance. However it ends, dropped in the middle included, the fuel it did
/// not use goes back to where it came from.
struct Live {
    // The order of the fields is the order in which they go: the instance first.
    store: OwnedStore,
    /// The instance that a session has kept.
    instance: Option<Instance>,
    call: Arc<Running>,
    fuel: u64,
    started: Instant,
    _permit: Permit,
    /// The call itself does not keep its host alive.
    _host: Host,
}

impl Live {
    #[allow(clippy::too_many_arguments, reason = "the parts of one call, made in two places")]
    fn start(
        host: Host,
        kept: Option<Kept>,
        binding: Arc<Binding>,
        grants: Arc<Grants>,
        id: String,
        tool: String,
        mut context: CallContext,
        account: Arc<Account>,
        depth: u64,
        caller: Option<Arc<Running>>,
        passed: Passed,
        permit: Permit,
    ) -> Result<Live, Box<(End, Receipt)>> {
        let started = Instant::now();
        let limits = *account.limits();
        let refuse = |end: End, account: &Account| {
            let mut receipt = Receipt::empty(id.clone(), tool.clone(), end.word());
            receipt.digest.clone_from(&binding.plugin.digest);
            receipt.limits = limits;
            receipt.used = account.usage();
            if let End::Limit(breach) = &end {
                receipt.ended_by = Some(breach.meter);
            }
            Box::new((end, receipt))
        };
        let workspace = match (&caller, &context.workspace) {
            (Some(caller), _) => caller.workspace.as_ref().map(Overlay::above),
            (None, Some(directory)) => match Overlay::open(directory) {
                Ok(overlay) => Some(overlay),
                Err(error) => {
                    let message = format!("the workspace {}: {error}", directory.display());
                    return Err(refuse(End::Fault(message), &account));
                }
            },
            (None, None) => None,
        };
        // What a kept instance has already counts for this call too.
        let limiter = match &kept {
            Some(kept) => kept.store.data().limiter.pass_on(account.clone()),
            None => Ok(Limiter::new(account.clone())),
        };
        let limiter = limiter.map_err(|breach| refuse(End::Limit(breach), &account))?;
        let wanted = limits.get(Meter::Fuel);
        let fuel = account.reserve_above(Meter::Fuel, wanted);
        if fuel == 0 && wanted > 0 {
            let breach = Breach { meter: Meter::Fuel, limit: 0, above: true };
            return Err(refuse(End::Limit(breach), &account));
        }
        let state = context.state.get_or_insert_default();
        let secrets = state.get_or_default::<RunSecrets>().unwrap_or_default();
        if let Some(kept) = &kept
            && !Arc::ptr_eq(&kept.secrets, &secrets)
            && let Err(error) = secrets.take_over(&kept.secrets)
        {
            account.refund_above(Meter::Fuel, fuel);
            return Err(refuse(End::Failed(error), &account));
        }
        let own = started + Duration::from_millis(limits.get(Meter::WallTime));
        let at = context.deadline.map_or(own, |deadline| deadline.min(own));
        let engine = host.compiler().engine.clone();
        let call = Arc::new(Running {
            id,
            tool,
            binding,
            grants,
            blobs: context.blobs.clone().unwrap_or_default(),
            context,
            account: account.clone(),
            depth,
            deadline: Deadline::new(at),
            workspace,
            passed: Mutex::new(passed.0),
            made: Mutex::default(),
            underway: Arc::default(),
            caller,
            children: Mutex::default(),
            denials: Mutex::new(Denials::default()),
            refund: AtomicU64::new(0),
            over: AtomicBool::new(false),
            loans: AtomicU64::new(0),
            begun: Arc::default(),
            unsent: AtomicU64::new(0),
            breach: Ending::default(),
            secrets,
            tape: OnceLock::new(),
            host: host.weak(),
        });
        // How deep connectors and tools that are no plugins stand when they call on.
        call.account.peak(Meter::ToolDepth, depth);
        let handles = usize::try_from(limits.get(Meter::Handles)).unwrap_or(usize::MAX);
        let (mut store, instance) = match kept {
            Some(Kept { mut store, instance, .. }) => {
                let state = store.data_mut();
                state.enter(call.clone(), limiter);
                state.table.set_max_capacity(handles);
                (store, Some(instance))
            }
            None => {
                let mut table = ResourceTable::new();
                table.set_max_capacity(handles);
                let state = CallState { call: call.clone(), limiter, table, wasi: None };
                let mut store = Store::new(&engine, state);
                store.limiter(|state| &mut state.limiter);
                (store, None)
            }
        };
        store.set_max_component_handles(handles);
        let bytes = limits.get(Meter::HostCallBytes);
        store.set_hostcall_fuel(usize::try_from(bytes).unwrap_or(usize::MAX));
        // Both fail only where the engine does not count fuel, and ours does.
        let counted = store.set_fuel(fuel);
        let counted =
            counted.and_then(|()| store.fuel_async_yield_interval(Some(FUEL_YIELD_INTERVAL)));
        let store = host.teardown().own(store);
        let live = Live { store, instance, call, fuel, started, _permit: permit, _host: host };
        match counted {
            Ok(()) => Ok(live),
            Err(error) => {
                let receipt = Receipt::empty(live.call.id.clone(), live.call.tool.clone(), "fault");
                Err(Box::new((End::Fault(error.to_string()), receipt)))
            }
        }
    }

    /// Runs work on the instance until it ends, is cancelled, or its time is over.
    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Store<CallState>) -> wasmtime::Result<T>,
    ) -> Result<T, End> {
        let call = self.call.clone();
        let watch = Watch::new();
        let ended = tokio::select! {
            biased;
            ended = watch.over(Box::pin(work(&mut self.store))) => ended,
            () = call.context.cancel.cancelled() => return Err(End::Cancelled),
            breach = call.breach.met() => return Err(End::Limit(breach)),
            difference = diverged(&call) => return Err(End::Fault(difference)),
            () = call.deadline.passed() => return Err(self.late()),
            breach = watch.idle(&call) => return Err(End::Limit(breach)),
        };
        match call.breach.now() {
            // The guest may have come to an end of its own before it was stopped.
            Some(breach) => Err(End::Limit(breach)),
            None => ended.map_err(|error| self.end_of(&error)),
        }
    }

    /// Ends what the guest has left under way, so that its writes, its fuel and its receipts are
    /// settled before this call's.
    async fn settle(&mut self) {
        let state = self.store.data_mut();
        drop(std::mem::take(&mut state.table));
        state.wasi.iter().for_each(|wasi| wasi.finish());
        drop(self.call.underway.clone().write_owned().await);
    }

    /// Leaves the instance with its session, where the call has ended so that it is of use, and says
    /// so in the answer.
    async fn keep(&mut self, lease: &mut Lease, instance: Option<Instance>, end: &mut End) {
        let well = matches!(end, End::Value(_) | End::Failed(_) | End::BadOutput(_));
        let instance = match instance {
            Some(instance) if well && self.call.breach.now().is_none() => instance,
            _ => return lease.lose(end.word()),
        };
        self.store.data().wasi.iter().for_each(|wasi| wasi.finish());
        if let Some(open) = sessions::open(&mut self.store.data_mut().table) {
            return lease.lose(&format!("{}, but left {open} open", end.word()));
        }
        let idle = self.call.nothing();
        let engine = self.store.engine().clone();
        let left = self.store.get_fuel().unwrap_or(0);
        // In its place one that holds nothing but the fuel that is left: see `drop`.
        let limiter = Limiter::new(idle.account.clone());
        let state =
            CallState { call: self.call.clone(), limiter, table: ResourceTable::new(), wasi: None };
        let mut empty = Store::new(&engine, state);
        if empty.set_fuel(left).is_err() {
            return lease.lose("fault");
        }
        let mut store = std::mem::replace(&mut *self.store, empty);
        let limiter = match store.data().limiter.pass_on(idle.account.clone()) {
            Ok(limiter) => limiter,
            Err(_) => return lease.lose("fault"),
        };
        store.data_mut().enter(idle, limiter);
        // Whatever else holds on to the call is work that the guest has left under way. Those that
        // may are this, the empty store, and what takes the blobs that nobody names.
        if Arc::strong_count(&self.call) > 3 {
            drop(store);
            drop(self.call.underway.clone().write_owned().await);
            lease.lose("a value, but left work under way");
        } else {
            lease.keep(store, instance, self.call.secrets.clone());
        }
        if let End::Value(output) = end {
            let meta = output.meta.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Value::Object(meta) = meta {
                meta.insert("session".into(), lease.say());
            }
        }
    }

    fn late(&self) -> End {
        let limit = self.call.account.limits().get(Meter::WallTime);
        let own = self.started.elapsed() >= Duration::from_millis(limit);
        End::Limit(Breach { meter: Meter::WallTime, limit, above: !own })
    }

    /// Which end an error of the engine or of an import is.
    fn end_of(&self, error: &wasmtime::Error) -> End {
        // A question is the guest's own text: it is not searched for the engine's words.
        if let Some(suspended) = error.downcast_ref::<Suspended>() {
            return End::Suspended(suspended.0.clone());
        }
        if let Some(mut breach) = limits::breach(error, &self.call.account) {
            if breach.meter == Meter::Fuel && self.fuel < breach.limit {
                // It had less than its own limit: what there was above it is used up.
                breach = Breach { limit: self.fuel, above: true, ..breach };
            }
            return End::Limit(breach);
        }
        if let Some(fault) = error.downcast_ref::<HostFault>() {
            return End::Fault(fault.to_string());
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return End::Overloaded("all instance slots are taken; try again".into());
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return End::Trap(format!("the guest exited with code {}", exit.0));
        }
        End::Trap(match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => format!("{error:#}"),
        })
    }

    /// Bounds and validates what the guest answered, and keeps its writes if all is well.
    async fn finish(&mut self, tool: &BoundTool, raw: Raw) -> End {
        let output = match raw {
            Raw::Output(Ok(output)) => read_output(&self.call, output),
            Raw::Ports(Ok(ports)) => read_value(&self.call, &ports).map(Output::value),
            Raw::Value(Ok(value)) => count_value(&self.call, value.as_ref())
                .map(|()| Output { value, ..Output::default() }),
            Raw::Output(Err(error)) | Raw::Ports(Err(error)) => {
                return read_error(&self.call, error);
            }
            Raw::Value(Err(error)) => return End::Failed(error),
            Raw::BadArguments(problem) => return End::BadArguments(problem),
        };
        let mut output = match output {
            Ok(output) => output,
            Err(end) => return end,
        };
        if let (Some(schema), Some(value)) = (&tool.output, &output.value)
            && let Err(problem) = schema.validate(value)
        {
            return End::BadOutput(problem);
        }
        if let Some(workspace) = self.call.workspace.clone() {
            let commit = tokio::task::spawn_blocking(move || workspace.commit());
            let committed = match commit.await {
                Ok(committed) => committed.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = committed {
                return End::Fault(format!("the workspace could not be written: {error}"));
            }
        }
        if self.call.context.blobs.is_none() && self.call.depth == 0 {
            // Nobody else could read them.
            for block in &mut output.blocks {
                let blob = block.blob.as_ref().filter(|id| self.call.may_open(id));
                if let Some(blob) = blob.and_then(|id| self.call.blobs.get(id)) {
                    let bytes = blob.data.len() as u64;
                    if let Err(breach) = self.call.account.charge(Meter::OutputBytes, bytes) {
                        return End::Limit(breach);
                    }
                    block.blob = None;
                    block.media_type.get_or_insert(blob.media_type);
                    block.data = Some(blob.data.to_vec());
                }
            }
        }
        End::Value(output)
    }

    /// The blobs a result names, of those the call may open. Others that were made for it go:
    /// nobody can name them any more.
    fn keep_blobs(&self, end: &End) -> Vec<String> {
        let mut ids = Vec::new();
        if let End::Value(output) = end {
            let mut name = |id: &str| {
                if self.call.may_open(id) {
                    ids.push(id.to_owned());
                }
            };
            if let Some(value) = &output.value {
                crate::json::each_blob(value, &mut name);
            }
            output.blocks.iter().filter_map(|block| block.blob.as_deref()).for_each(name);
        }
        let named: HashSet<&str> = ids.iter().map(String::as_str).collect();
        for id in std::mem::take(&mut *lock(&self.call.made)) {
            if !named.contains(id.as_str()) {
                self.call.blobs.remove(&id);
            } else if let Some(caller) = &self.call.caller {
                lock(&caller.made).push(id);
            }
        }
        ids
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // First: what comes back after the next line is not the guest's any more.
        self.call.over.store(true, Ordering::Release);
        let returned = self.call.refund.swap(0, Ordering::AcqRel);
        let left = self.store.get_fuel().unwrap_or(0).saturating_add(returned).min(self.fuel);
        self.call.account.peak(Meter::Fuel, self.fuel - left);
        self.call.account.refund_above(Meter::Fuel, left);
    }
}

/// The blobs of a call that is dropped before its end: no result names them, so they go.
struct Unnamed(Arc<Running>);

impl Drop for Unnamed {
    fn drop(&mut self) {
        // At its end a call has told its blobs apart, and left none here.
        for id in std::mem::take(&mut *lock(&self.0.made)) {
            self.0.blobs.remove(&id);
        }
    }
}

/// Takes secrets out of what a call ends with.
fn clean(call: &Running, end: &mut End) {
    match end {
        End::Value(output) => call.clean("the output", |cleaner| cleaner.output(output)),
        End::Failed(error) => call.clean("the error", |cleaner| cleaner.error(error)),
        End::BadArguments(problem) | End::BadOutput(problem) => {
            call.clean("the error", |cleaner| cleaner.problem(problem));
        }
        End::Denied(denial) => call.clean("the error", |cleaner| cleaner.denial(denial)),
        End::Trap(text) | End::Overloaded(text) | End::Suspended(text) | End::Fault(text) => {
            call.clean("the error", |cleaner| cleaner.text(text));
        }
        End::Limit(_) | End::Cancelled => {}
    }
}

/// Waits until the replay of a call differs from its recording.
async fn diverged(call: &Running) -> String {
    match call.tape.get() {
        Some(tape) => tape.stopped().await,
        None => std::future::pending().await,
    }
}

/// What a guest answered, unread.
enum Raw {
    Output(Result<types::Output, types::Error>),
    Ports(Result<String, types::Error>),
    /// A function's value; `None` where it returns nothing.
    Value(Result<Option<Value>, ToolError>),
    BadArguments(Problem),
}

impl Raw {
    /// Whether it may name the blob `id`, which cannot be guessed.
    fn names(&self, id: &str) -> bool {
        match self {
            Raw::Output(Ok(output)) => {
                let blobs = output.blocks.iter().filter_map(|block| block.blob.as_deref());
                output.value.as_ref().is_some_and(|value| value.contains(id))
                    || blobs.into_iter().any(|blob| blob == id)
            }
            Raw::Ports(Ok(ports)) => ports.contains(id),
            Raw::Value(Ok(Some(value))) => value.to_string().contains(id),
            _ => false,
        }
    }
}

/// Makes the instance, where no session has kept one, and calls the tool in it.
async fn enter(
    store: &mut Store<CallState>,
    kept: &mut Option<Instance>,
    code: &Code,
    tool: &BoundTool,
    arguments: &Value,
    print: impl FnOnce(&Value) -> String,
) -> wasmtime::Result<Raw> {
    let instance = match *kept {
        Some(instance) => instance,
        None => *kept.insert(code.pre.instantiate_async(&mut *store).await?),
    };
    let name = &tool.definition.name;
    let absent = || crate::host::fault("the plugin lost an export it had");
    match &tool.entry {
        EntryPoint::Tool => {
            let indices = code.tool.as_ref().ok_or_else(absent)?;
            let guest = indices.load(&mut *store, &instance)?;
            guest.call_call(&mut *store, name, &print(arguments)).await.map(Raw::Output)
        }
        EntryPoint::Component => {
            let indices = code.component.as_ref().ok_or_else(absent)?;
            let guest = indices.load(&mut *store, &instance)?;
            let part = |key: &str| arguments.get(key).map_or("{}".into(), crate::json::print);
            let (settings, inputs) = (part("settings"), part("inputs"));
            guest.call_process(&mut *store, name, &settings, &inputs).await.map(Raw::Ports)
        }
        EntryPoint::Function(at) => {
            let function = code.reflected.get(*at).ok_or_else(absent)?;
            let values = match function.arguments(arguments, crate::json::MAX_NODES) {
                Ok(values) => values,
                Err(problem) => return Ok(Raw::BadArguments(problem)),
            };
            let bytes = store.data().call.account.left(Meter::OutputBytes);
            let budget = Budget {
                nodes: crate::json::MAX_NODES,
                bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            };
            Ok(match function.call(&mut *store, &instance, &values, budget).await? {
                Answer::Value(value) => Raw::Value(Ok(value)),
                Answer::Failed(error) => Raw::Value(Err(error)),
                Answer::TooLarge => {
                    let limit = store.data().call.account.limits().get(Meter::OutputBytes);
                    return Err(Breach { meter: Meter::OutputBytes, limit, above: false }.into());
                }
            })
        }
    }
}

fn read_output(call: &Running, output: types::Output) -> Result<Output, End> {
    if output.blocks.len() > MAX_BLOCKS {
        let message = format!("more than {MAX_BLOCKS} blocks");
        return Err(End::BadOutput(Problem { path: None, message }));
    }
    let value = output.value.as_deref().map(|value| read_value(call, value)).transpose()?;
    let blocks: u64 = output.blocks.iter().map(block_bytes).sum();
    let rest = output.next.as_ref().map_or(0, String::len) as u64;
    call.account.charge(Meter::OutputBytes, blocks + rest).map_err(End::Limit)?;
    let meta = output.meta.as_deref().map(|meta| read_value(call, meta)).transpose()?;
    Ok(Output {
        value,
        blocks: output.blocks.into_iter().map(Into::into).collect(),
        truncated: output.truncated,
        next: output.next,
        meta,
    })
}

fn read_value(call: &Running, text: &str) -> Result<Value, End> {
    call.account.charge(Meter::OutputBytes, text.len() as u64).map_err(End::Limit)?;
    crate::json::parse(text).map_err(End::BadOutput)
}

/// Counts a value that did not come as a text.
fn count_value(call: &Running, value: Option<&Value>) -> Result<(), End> {
    let bytes = value.map_or(0, |value| value.to_string().len()) as u64;
    call.account.charge(Meter::OutputBytes, bytes).map_err(End::Limit)
}

fn read_error(call: &Running, error: types::Error) -> End {
    let texts = [error.log.as_ref(), error.data.as_ref()];
    let bytes = error.code.len() + error.message.len();
    let bytes = bytes + texts.into_iter().flatten().map(String::len).sum::<usize>();
    if let Err(breach) = call.account.charge(Meter::OutputBytes, bytes as u64) {
        return End::Limit(breach);
    }
    let mut error = ToolError::from(error);
    call.clean("the error", |cleaner| cleaner.error(&mut error));
    if let Some(log) = &error.log {
        tracing::warn!(call = call.id, tool = call.tool, "the tool failed: {log}");
    }
    End::Failed(error)
}
