//! `llm`: asking a model, by whichever connector or embedded model the operator has bound.

use std::sync::Arc;

use ampoule_contract::{
    Account, Breach, CallContext, Meter, Model, ModelEvent, ModelRequest, ModelResponse,
    ModelStream, ToolError,
};
use futures::StreamExt;
use wasmtime::component::{HasSelf, Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::loan::{Loan, Share};
use super::pending::{Pending, Place};
use super::{Gate, Host, answer, blobs, granted};
use crate::bindings::ampoule::llm::{llm, waiting};
use crate::bindings::ampoule::plugin::types::Error;
use crate::limits::price;
use crate::model;
use crate::state::{CallState, Running};

/// The most parts of a request's messages, and tools it offers.
const MAX_PARTS: usize = 10_000;

/// What came of asking: a response, the model's error, or the limit of tokens.
type Completed = Result<Result<ModelResponse, ToolError>, Breach>;

/// A response a guest has asked for.
pub type Completing = Pending<Completed>;

/// What a guest has asked a model: the fuel it lends to the connector, and the tokens it pays.
/// They are charged when the response comes; where it is given up before, by an estimate.
struct Asked {
    loan: Loan,
    /// Tokens so far: about one for four bytes.
    estimate: u64,
    settled: bool,
}

impl Asked {
    fn account(&self) -> &Account {
        self.loan.caller_account()
    }

    /// Charges what a response says it took.
    ///
    /// # Errors
    /// There were not so many tokens left; all that were are used up.
    fn settle(&mut self, response: &ModelResponse) -> Result<(), Breach> {
        self.settled = true;
        let said = response.usage.as_ref();
        let tokens = said
            .map_or(self.estimate, |usage| usage.input_tokens.saturating_add(usage.output_tokens));
        self.account().charge(Meter::ModelTokens, tokens).inspect_err(|_| {
            self.account().charge_up_to(Meter::ModelTokens, tokens);
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.settled {
            self.account().charge_up_to(Meter::ModelTokens, self.estimate);
        }
    }
}

/// A request that may be sent.
struct Prepared {
    model: Arc<dyn Model>,
    request: ModelRequest,
    context: CallContext,
    asked: Asked,
}

impl Prepared {
    async fn complete(mut self) -> Completed {
        match self.model.complete(self.request, self.context).await {
            Ok(response) => self.asked.settle(&response).map(|()| Ok(response)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn stream(self) -> Result<Coming, ToolError> {
        let stream = self.model.stream(self.request, self.context).await?;
        Ok(Coming { stream, asked: self.asked })
    }
}

/// A stream whose response is paid for as it comes.
struct Coming {
    stream: ModelStream,
    asked: Asked,
}

/// An event, the model's error, or the limit of tokens.
type Next = Result<Result<ModelEvent, ToolError>, Breach>;

impl Coming {
    async fn next(&mut self) -> Option<Next> {
        let event = match self.stream.next().await? {
            Ok(event) => event,
            Err(error) => return Some(Ok(Err(error))),
        };
        self.asked.estimate += event.text.as_ref().map_or(0, String::len) as u64 / 4;
        if let Some(response) = &event.response
            && let Err(breach) = self.asked.settle(response)
        {
            return Some(Err(breach));
        }
        Some(Ok(Ok(event)))
    }
}

/// A response on its way to a guest.
pub struct Events {
    stage: Stage,
    /// An event that came while the guest only asked whether one had.
    next: Option<Option<Next>>,
    /// Until it is over.
    place: Option<Place>,
}

enum Stage {
    Asking(Pending<Result<Coming, ToolError>>),
    Coming(Coming),
    Over,
}

impl Events {
    fn new(stage: Stage, place: Place) -> Events {
        Events { stage, next: None, place: Some(place) }
    }

    fn end(&mut self) {
        (self.stage, self.place) = (Stage::Over, None);
    }

    /// Waits until there is an event to take.
    async fn fill(&mut self) {
        if self.next.is_some() {
            return;
        }
        if let Stage::Asking(asking) = &mut self.stage {
            let started = asking.take().await;
            let failed = match started {
                Ok(Some(Ok(coming))) => {
                    self.stage = Stage::Coming(coming);
                    None
                }
                Ok(Some(Err(error))) => Some(error),
                Ok(None) => Some(ToolError::new("conflict", "the response is over")),
                Err(fault) => Some(ToolError {
                    log: Some(fault.to_string()),
                    ..ToolError::new("internal", "the host could not ask the model")
                }),
            };
            if let Some(error) = failed {
                self.end();
                self.next = Some(Some(Ok(Err(error))));
                return;
            }
        }
        let next = match &mut self.stage {
            Stage::Coming(coming) => coming.next().await,
            Stage::Asking(_) | Stage::Over => None,
        };
        if !matches!(next, Some(Ok(Ok(_)))) {
            self.end();
        }
        self.next = Some(next);
    }

    async fn take(&mut self) -> Option<Next> {
        self.fill().await;
        self.next.take().flatten()
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for Events {
    async fn ready(&mut self) {
        self.fill().await;
    }
}

impl llm::Host for CallState {}
impl llm::HostEvents for CallState {}
impl waiting::Host for CallState {}
impl waiting::HostPending for CallState {}
impl waiting::HostPendingEvents for CallState {}

impl llm::HostWithStore<CallState> for HasSelf<CallState> {
    async fn models(mut host: Host<'_>) -> wasmtime::Result<Result<Vec<llm::Model>, Error>> {
        granted!(host, price::LEAVE, |grants| grants.service("llm").map(drop));
        let call = host.get().call.clone();
        let model = match bound(&call) {
            Ok(model) => model,
            Err(error) => return answer(Err(error)),
        };
        let loan = Loan::take(&mut host, &call, u64::MAX, Share::All)?;
        let models = model.models(context(&call, &loan)).await;
        drop(loan);
        host.fuel()?;
        answer(models.map(|models| models.into_iter().map(Into::into).collect()))
    }

    async fn complete(
        mut host: Host<'_>,
        request: llm::Request,
    ) -> wasmtime::Result<Result<llm::Response, Error>> {
        let bytes = model::request_bytes(&request);
        granted!(host, price::LEAVE + price::bytes(bytes), |grants| grants
            .service("llm")
            .map(drop));
        let completed = match prepare(&mut host, request, Share::All)? {
            Ok(prepared) => prepared.complete().await,
            Err(error) => Ok(Err(error)),
        };
        respond(&mut host, completed)
    }

    async fn stream(
        mut host: Host<'_>,
        request: llm::Request,
    ) -> wasmtime::Result<Result<Resource<Events>, Error>> {
        let bytes = model::request_bytes(&request);
        granted!(host, price::LEAVE + price::bytes(bytes), |grants| grants
            .service("llm")
            .map(drop));
        let place = match Place::take(&host.get().call) {
            Ok(place) => place,
            Err(error) => return answer(Err(error)),
        };
        let coming = match prepare(&mut host, request, Share::Part)? {
            Ok(prepared) => prepared.stream().await,
            Err(error) => Err(error),
        };
        match coming {
            Ok(coming) => {
                let events = Events::new(Stage::Coming(coming), place);
                Ok(Ok(host.get().table.push(events)?))
            }
            Err(error) => answer(Err(error)),
        }
    }
}

impl llm::HostEventsWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, events: Resource<Events>) -> wasmtime::Result<()> {
        host.get().table.delete(events)?;
        Ok(())
    }

    async fn next(
        mut host: Host<'_>,
        events: Resource<Events>,
    ) -> wasmtime::Result<Result<Option<llm::Event>, Error>> {
        next(&mut host, events).await
    }
}

impl waiting::HostWithStore<CallState> for HasSelf<CallState> {
    fn start(
        mut host: Host<'_>,
        request: llm::Request,
    ) -> wasmtime::Result<Result<Resource<Completing>, Error>> {
        let bytes = model::request_bytes(&request);
        granted!(host, price::LEAVE + price::bytes(bytes), |grants| grants
            .service("llm")
            .map(drop));
        let place = match Place::take(&host.get().call) {
            Ok(place) => place,
            Err(error) => return answer(Err(error)),
        };
        match prepare(&mut host, request, Share::Part)? {
            Ok(prepared) => {
                let completing = Pending::start(prepared.complete()).at(place);
                Ok(Ok(host.get().table.push(completing)?))
            }
            Err(error) => answer(Err(error)),
        }
    }

    fn start_stream(
        mut host: Host<'_>,
        request: llm::Request,
    ) -> wasmtime::Result<Result<Resource<Events>, Error>> {
        let bytes = model::request_bytes(&request);
        granted!(host, price::LEAVE + price::bytes(bytes), |grants| grants
            .service("llm")
            .map(drop));
        let place = match Place::take(&host.get().call) {
            Ok(place) => place,
            Err(error) => return answer(Err(error)),
        };
        match prepare(&mut host, request, Share::Part)? {
            Ok(prepared) => {
                let asking = Stage::Asking(Pending::start(prepared.stream()));
                let events = Events::new(asking, place);
                Ok(Ok(host.get().table.push(events)?))
            }
            Err(error) => answer(Err(error)),
        }
    }
}

impl waiting::HostPendingWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, pending: Resource<Completing>) -> wasmtime::Result<()> {
        host.get().table.delete(pending)?;
        Ok(())
    }

    fn subscribe(
        mut host: Host<'_>,
        pending: Resource<Completing>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        host.enter(price::LOOK)?;
        subscribe(&mut host.get().table, pending)
    }

    async fn take(
        mut host: Host<'_>,
        pending: Resource<Completing>,
    ) -> wasmtime::Result<Result<llm::Response, Error>> {
        host.enter(price::WORK)?;
        match host.get().table.get_mut(&pending)?.take().await? {
            Some(completed) => respond(&mut host, completed),
            None => answer(Err(ToolError::new("conflict", "the response was taken before"))),
        }
    }
}

impl waiting::HostPendingEventsWithStore<CallState> for HasSelf<CallState> {
    fn drop(mut host: Host<'_>, events: Resource<Events>) -> wasmtime::Result<()> {
        host.get().table.delete(events)?;
        Ok(())
    }

    fn subscribe(
        mut host: Host<'_>,
        events: Resource<Events>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        host.enter(price::LOOK)?;
        subscribe(&mut host.get().table, events)
    }

    async fn next(
        mut host: Host<'_>,
        events: Resource<Events>,
    ) -> wasmtime::Result<Result<Option<llm::Event>, Error>> {
        next(&mut host, events).await
    }
}

async fn next(
    host: &mut Host<'_>,
    events: Resource<Events>,
) -> wasmtime::Result<Result<Option<llm::Event>, Error>> {
    host.enter(price::WORK)?;
    let next = host.get().table.get_mut(&events)?.take().await;
    host.fuel()?;
    answer(next.transpose()?.transpose().map(|event| event.map(Into::into)))
}

/// The model the operator has bound for a call.
fn bound(call: &Arc<Running>) -> Result<Arc<dyn Model>, ToolError> {
    let name = call.grants.service("llm").map_err(ToolError::from)?;
    call.host().model(name).ok_or_else(|| {
        let message = format!("the service llm is bound to `{name}`, which is no model connector");
        ToolError::new("unavailable", message)
    })
}

/// The context a connector runs in.
fn context(call: &Arc<Running>, loan: &Loan) -> CallContext {
    let account = loan.account.clone();
    account.peak(Meter::ToolDepth, call.depth);
    CallContext {
        deadline: Some(call.deadline.at()),
        cancel: call.context.cancel.child_token(),
        budget: Some(account),
        workspace: None,
        events: None,
        parent: Some(call.id.clone()),
        blobs: Some(call.blobs.clone()),
        ..call.context.clone()
    }
}

fn prepare(
    host: &mut Host<'_>,
    request: llm::Request,
    share: Share,
) -> wasmtime::Result<Result<Prepared, ToolError>> {
    let call = host.get().call.clone();
    let left = call.account.left(Meter::ModelTokens);
    if left == 0 {
        let limit = call.account.limits().get(Meter::ModelTokens);
        return Err(Breach { meter: Meter::ModelTokens, limit, above: limit > 0 }.into());
    }
    let model = match bound(&call) {
        Ok(model) => model,
        Err(error) => return Ok(Err(error)),
    };
    let parts = request.messages.iter().map(|message| message.parts.len()).sum::<usize>();
    if parts.max(request.tools.len()).max(request.messages.len()) > MAX_PARTS
        || model::request_values(&request) > crate::json::MAX_NODES
    {
        let message = format!(
            "a request has at most {MAX_PARTS} messages, parts and tools, and {} values in JSON",
            crate::json::MAX_NODES
        );
        return Ok(Err(ToolError::new("too-large", message)));
    }
    if let Err(refused) =
        call.refuse_secrets("the request to a model", model::request_parts(&request))
    {
        return Ok(Err(refused.into()));
    }
    let mut bytes = model::request_bytes(&request) as u64;
    let mut request: ModelRequest = match request.try_into() {
        Ok(request) => request,
        Err(error) => return Ok(Err(error)),
    };
    let most = call.account.limits().get(Meter::HostCallBytes);
    for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
        let Some(id) = part.blob.take() else { continue };
        let blob = match blobs::find(&call, &id) {
            Ok(blob) => blob,
            Err(error) => return Ok(Err(error)),
        };
        bytes += blob.data.len() as u64;
        if bytes > most {
            let message = format!(
                "the blobs of a request and the rest of it have more than {}",
                Meter::HostCallBytes.show(most)
            );
            return Ok(Err(ToolError::new("too-large", message)));
        }
        host.enter(price::bytes(blob.data.len()))?;
        // A blob belongs to the call that may open it; the connector is another, so it gets the
        // bytes.
        part.media_type.get_or_insert(blob.media_type);
        part.data = Some(blob.data.to_vec());
    }
    let loan = Loan::take(host, &call, u64::MAX, share)?;
    let context = context(&call, &loan);
    let asked = Asked { loan, estimate: bytes / 4, settled: false };
    Ok(Ok(Prepared { model, request, context, asked }))
}

fn respond(
    host: &mut Host<'_>,
    completed: Completed,
) -> wasmtime::Result<Result<llm::Response, Error>> {
    host.fuel()?;
    answer(completed?.map(Into::into))
}
