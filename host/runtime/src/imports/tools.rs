//! `tools`: calling other plugins' tools.

use std::sync::Arc;

use ampoule_contract::{
    Account, Breach, CallContext, End, Limits, Meter, Outcome, Receipt, ToolError,
};
use wasmtime::component::{HasSelf, Resource};
use wasmtime_wasi_io::poll::{DynPollable, subscribe};

use super::loan::{Loan, Share};
use super::pending::{Pending, Place};
use super::{Gate, Host, answer, granted};
use crate::bindings::ampoule::plugin::tools::{self, Definition};
use crate::bindings::ampoule::plugin::types::{Error, Output};
use crate::call::{Ended, Request};
use crate::grants::Grants;
use crate::host::Callee;
use crate::limits::price;
use crate::state::{CallState, Running, lock};

/// The longest id of a tool, `binding/tool`.
const MAX_NAME_BYTES: usize = 256;

/// A call a guest has started.
pub type Calling = Pending<Ended>;

impl tools::Host for CallState {}
impl tools::HostPending for CallState {}

impl tools::HostWithStore<CallState> for HasSelf<CallState> {
    fn list(mut host: Host<'_>) -> wasmtime::Result<Result<Vec<Definition>, Error>> {
        granted!(host, price::WORK, Grants::tools);
        let call = host.get().call.clone();
        let definitions = call.host().definitions();
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
        let fuel = price::LEAVE + price::bytes(name.len() + arguments.len());
        granted!(host, fuel, Grants::tools_requested);
        let work = match begin(&mut host, &name, arguments, Share::All)? {
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
        let fuel = price::LEAVE + price::bytes(name.len() + arguments.len());
        granted!(host, fuel, Grants::tools_requested);
        let place = match Place::take(&host.get().call) {
            Ok(place) => place,
            Err(error) => return answer(Err(error)),
        };
        let work = match begin(&mut host, &name, arguments, Share::Part)? {
            Ok(work) => work,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(host.get().table.push(Calling::start(work).at(place))?))
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
    call.grants.tool(id)?;
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
    share: Share,
) -> wasmtime::Result<Result<impl Future<Output = Ended> + Send + 'static + use<>, Error>> {
    let call = host.get().call.clone();
    // First by the name as it was given: what is no name is not looked up.
    let callee = match name.len() {
        0..=MAX_NAME_BYTES => call.host().find(name),
        _ => None,
    };
    let id = callee.as_ref().map_or(name, Callee::id).to_owned();
    if let Err(denial) = allowed(&call, &id) {
        // Unknown and not allowed are one answer: a guest cannot list the host's tools by asking.
        return Ok(Err(call.deny(denial)));
    }
    let Some(callee) = callee else {
        return answer(Err(ToolError::new("not-found", format!("there is no tool `{name}`"))));
    };
    if let Err(refused) = call.refuse_secrets("the call of a tool", [arguments.as_bytes()]) {
        return Ok(Err(refused));
    }
    call.grants.calls(&id);
    call.account.charge(Meter::ToolCalls, 1)?;
    let limits = match &callee {
        Callee::Plugin(tool) => tool.binding.limits_for(call.context.principal.as_deref()),
        Callee::Other(..) => Limits::UNLIMITED,
    };
    let loan = Loan::take(host, &call, limits.get(Meter::Fuel), share)?;
    let slot = {
        let mut children = lock(&call.children);
        children.push(Receipt::empty(String::new(), id.clone(), End::Cancelled.word()));
        children.len() - 1
    };
    let context = CallContext {
        deadline: Some(call.deadline.at()),
        cancel: call.context.cancel.child_token(),
        // Its events are its caller's business, who decides what to pass on.
        events: None,
        parent: Some(call.id.clone()),
        session: None,
        ..call.context.clone()
    };
    Ok(Ok(async move { run(&call, callee, id, arguments, &loan, limits, context, slot).await }))
}

#[allow(clippy::too_many_arguments, reason = "the parts of one call, made in one place above")]
async fn run(
    call: &Arc<Running>,
    callee: Callee,
    id: String,
    arguments: String,
    loan: &Loan,
    limits: Limits,
    context: CallContext,
    slot: usize,
) -> Ended {
    /// Leaves a receipt even where the call is dropped before its end.
    struct Note<'a> {
        call: &'a Running,
        account: &'a Account,
        slot: usize,
        receipt: Option<Receipt>,
    }
    impl Drop for Note<'_> {
        fn drop(&mut self) {
            let mut children = lock(&self.call.children);
            // The caller may have ended and taken them.
            let Some(place) = children.get_mut(self.slot) else { return };
            match self.receipt.take() {
                Some(receipt) => *place = receipt,
                None => {
                    place.used = self.account.usage();
                    place.limits = *self.account.limits();
                }
            }
        }
    }
    let depth = call.depth + 1;
    let account = match &callee {
        Callee::Plugin(_) => loan.account.child(limits),
        Callee::Other(..) => loan.account.clone(),
    };
    let mut note = Note { call, account: &account, slot, receipt: None };
    let deepest = call.account.limits().get(Meter::ToolDepth);
    let ended = if depth > deepest {
        let breach = Breach { meter: Meter::ToolDepth, limit: deepest, above: false };
        let mut receipt = Receipt::empty(String::new(), id, "limit");
        receipt.ended_by = Some(Meter::ToolDepth);
        Ended { outcome: Outcome { end: End::Limit(breach), receipt }, blobs: Vec::new() }
    } else {
        match callee {
            Callee::Plugin(tool) => {
                let caller = Some(call.clone());
                let account = account.clone();
                let request = Request {
                    arguments: arguments.into(),
                    context,
                    account,
                    depth,
                    caller,
                    observer: None,
                    tape: None,
                };
                crate::call::invoke(call.host(), tool, request).await
            }
            Callee::Other(tools, _) => {
                // Whatever it calls in turn is one deeper than it is. What it would write could
                // not be taken back if its caller failed, so it gets no workspace.
                account.peak(Meter::ToolDepth, depth);
                let budget = Some(account.clone());
                let context = CallContext { budget, workspace: None, ..context };
                let arguments = arguments.into();
                let made = ampoule_contract::ToolCall { tool: id, arguments, context };
                let outcome =
                    crate::audit::call_other(&call.host(), &*tools, made, Some(call)).await;
                Ended { outcome, blobs: Vec::new() }
            }
        }
    };
    note.receipt = Some(ended.outcome.receipt.clone());
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
