//! `tools`: calling other plugins' tools.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ampoule_contract::{
    Account, Breach, CallContext, End, Limits, Meter, Outcome, Receipt, ToolError,
};
use wasmtime::component::{HasSelf, Resource};
use wasmtime_wasi_io::poll::{DynPollable, subscribe};

use super::pending::Pending;
use super::{Gate, Host, answer, granted};
use crate::bindings::ampoule::plugin::tools::{self, Definition};
use crate::bindings::ampoule::plugin::types::{Error, Output};
use crate::call::{Ended, Fuel, Request};
use crate::grants::Grants;
use crate::host::Callee;
use crate::limits::price;
use crate::state::{CallState, Running, lock};

/// A call a guest has started.
pub type Calling = Pending<Ended>;

impl tools::Host for CallState {}
impl tools::HostPending for CallState {}

impl tools::HostWithStore<CallState> for HasSelf<CallState> {
    fn list(mut host: Host<'_>) -> wasmtime::Result<Result<Vec<Definition>, Error>> {
        granted!(host, price::WORK, Grants::tools);
        let call = host.get().call.clone();
        let definitions = call.host.definitions();
        let allowed = definitions.iter().filter(|tool| allowed(&call, &tool.id).is_ok());
        let list: Vec<_> = allowed
            .map(|tool| Definition {
                name: tool.id.clone(),
                description: tool.description.clone(),
                input_schema: tool.input_schema.to_string(),
                output_schema: tool.output_schema.as_ref().map(ToString::to_string),
            })
            .collect();
        let bytes = list.iter().map(|tool| tool.description.len() + tool.input_schema.len()).sum();
        host.enter(price::bytes(bytes))?;
        Ok(Ok(list))
    }

    async fn call(
        mut host: Host<'_>,
        name: String,
        arguments: String,
    ) -> wasmtime::Result<Result<Output, Error>> {
        granted!(host, price::LEAVE + price::bytes(arguments.len()), Grants::tools);
        let work = match begin(&mut host, &name, arguments)? {
            Ok(work) => work,
            Err(error) => return Ok(Err(error)),
        };
        let ended = work.await;
        receive(&mut host, ended)
    }

    fn start(
        mut host: Host<'_>,
        name: String,
        arguments: String,
    ) -> wasmtime::Result<Result<Resource<Calling>, Error>> {
        granted!(host, price::LEAVE + price::bytes(arguments.len()), Grants::tools);
        let work = match begin(&mut host, &name, arguments)? {
            Ok(work) => work,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(host.get().table.push(Calling::start(work))?))
    }
}

impl tools::HostPendingWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, pending: Resource<Calling>) -> wasmtime::Result<()> {
        host.get().table.delete(pending)?;
        Ok(())
    }

    fn subscribe(
        mut host: Host<'_>,
        pending: Resource<Calling>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        host.enter(price::LOOK)?;
        subscribe(&mut host.get().table, pending)
    }

    async fn take(
        mut host: Host<'_>,
        pending: Resource<Calling>,
    ) -> wasmtime::Result<Result<Output, Error>> {
        host.enter(price::WORK)?;
        match host.get().table.get_mut(&pending)?.take().await? {
            Some(ended) => receive(&mut host, ended),
            None => answer(Err(ToolError::new("conflict", "the result was taken before"))),
        }
    }
}

/// Whether a call may call the tool `id`: by its own grants, and by what its caller passed on.
fn allowed(call: &Running, id: &str) -> Result<(), ampoule_contract::Denial> {
    call.binding.grants.tool(id)?;
    match &call.context.tools {
        Some(passed) if !passed.iter().any(|tool| tool == id) => Err(ampoule_contract::Denial {
            gate: "tools",
            message: format!("the tool `{id}` is not among those this run may use"),
            allow: None,
        }),
        _ => Ok(()),
    }
}

/// Judges a call of a tool, takes its budget from what the caller has left, and gives the work.
fn begin(
    host: &mut Host<'_>,
    name: &str,
    arguments: String,
) -> wasmtime::Result<Result<impl Future<Output = Ended> + Send + 'static + use<>, Error>> {
    let call = host.get().call.clone();
    let Some(callee) = call.host.find(name) else {
        // Unknown and not allowed are one answer where the grants do not reach: a guest cannot
        // list the host's tools by asking.
        if let Err(denial) = allowed(&call, name) {
            return Ok(Err(call.deny(denial)));
        }
        return answer(Err(ToolError::new("not-found", format!("there is no tool `{name}`"))));
    };
    let id = callee.id().to_owned();
    if let Err(denial) = allowed(&call, &id) {
        return Ok(Err(call.deny(denial)));
    }
    call.account.charge(Meter::ToolCalls, 1)?;
    let left = host.fuel()?;
    let limits = match &callee {
        Callee::Plugin(tool) => tool.binding.limits,
        Callee::Other(..) => rest(&call.account),
    };
    let fuel = limits.get(Meter::Fuel).min(left);
    host.set_fuel(left - fuel)?;
    let slot = {
        let mut children = lock(&call.children);
        children.push(None);
        children.len() - 1
    };
    let account = match &callee {
        Callee::Plugin(_) => call.account.child(limits),
        // It counts for itself; what it has used is charged when it ends.
        Callee::Other(..) => Account::root(limits.with(Meter::Fuel, fuel)),
    };
    let context = CallContext {
        deadline: Some(call.deadline.at()),
        cancel: call.context.cancel.child_token(),
        // Its events are its caller's business, who decides what to pass on.
        events: None,
        ..call.context.clone()
    };
    Ok(Ok(run(call, callee, id, arguments, account, context, fuel, slot)))
}

/// What is left of every meter of an account.
fn rest(account: &Account) -> Limits {
    let mut rest = Limits::UNLIMITED;
    for &meter in Meter::ALL {
        if meter.additive() {
            rest.set(meter, account.left(meter));
        }
    }
    rest
}

#[allow(clippy::too_many_arguments, reason = "the parts of one call, made in one place above")]
async fn run(
    call: Arc<Running>,
    callee: Callee,
    id: String,
    arguments: String,
    account: Arc<Account>,
    context: CallContext,
    fuel: u64,
    slot: usize,
) -> Ended {
    /// Leaves a receipt even where the call is dropped before its end.
    struct Note {
        call: Arc<Running>,
        account: Arc<Account>,
        id: String,
        slot: usize,
    }
    impl Drop for Note {
        fn drop(&mut self) {
            let mut children = lock(&self.call.children);
            if children[self.slot].is_none() {
                let mut receipt =
                    Receipt::empty(String::new(), self.id.clone(), End::Cancelled.word());
                receipt.used = self.account.usage();
                receipt.limits = *self.account.limits();
                children[self.slot] = Some(receipt);
            }
        }
    }
    let note = Note { call: call.clone(), account: account.clone(), id: id.clone(), slot };
    let depth = call.depth + 1;
    let deepest = call.account.limits().get(Meter::ToolDepth);
    let ended = if depth > deepest {
        let breach = Breach { meter: Meter::ToolDepth, limit: deepest, above: false };
        call.refund.fetch_add(fuel, Ordering::AcqRel);
        let mut receipt = Receipt::empty(String::new(), id, "limit");
        receipt.ended_by = Some(Meter::ToolDepth);
        Ended { outcome: Outcome { end: End::Limit(breach), receipt }, blobs: Vec::new() }
    } else {
        match callee {
            Callee::Plugin(tool) => {
                let request = Request {
                    arguments,
                    context,
                    account,
                    depth,
                    fuel: Fuel::OfCaller(fuel, call.clone()),
                };
                crate::call::invoke(call.host.clone(), tool, request).await
            }
            Callee::Other(tools, _) => {
                // Whatever it calls in turn is one deeper than it is.
                account.peak(Meter::ToolDepth, depth);
                let context = CallContext { budget: Some(account.clone()), ..context };
                let outcome =
                    tools.call(ampoule_contract::ToolCall { tool: id, arguments, context }).await;
                let used = account.usage();
                for (meter, n) in used.iter().filter(|(meter, _)| meter.additive()) {
                    if meter != Meter::Fuel {
                        // It was within what was left when it began; what has been used beside
                        // it since then may leave less, and is not undone.
                        call.account.charge_up_to(meter, n);
                    }
                }
                let unused = fuel.saturating_sub(used.get(Meter::Fuel));
                call.refund.fetch_add(unused, Ordering::AcqRel);
                Ended { outcome, blobs: Vec::new() }
            }
        }
    };
    lock(&call.children)[slot] = Some(ended.outcome.receipt.clone());
    drop(note);
    ended
}

/// What a tool answered, as its caller sees it.
fn receive(host: &mut Host<'_>, ended: Ended) -> wasmtime::Result<Result<Output, Error>> {
    host.fuel()?;
    let call = host.get().call.clone();
    for id in &ended.blobs {
        call.pass_blob(id);
    }
    let result = ended.outcome.end.into_result();
    if let Err(ToolError { log: Some(log), .. }) = &result {
        tracing::warn!(call = call.id, "a called tool failed: {log}");
    }
    let result = result.map(|output| Output {
        value: output.value.map(|value| value.to_string()),
        blocks: output.blocks.into_iter().map(Into::into).collect(),
        truncated: output.truncated,
        next: output.next,
        meta: output.meta.map(|meta| meta.to_string()),
    });
    if let Ok(output) = &result {
        host.enter(price::bytes(output.value.as_ref().map_or(0, String::len)))?;
    }
    answer(result)
}
