//! `llm`: asking a model, by whichever connector or embedded model the operator has bound.

use std::sync::Arc;

use ampoule_contract::{
    Blob, CallContext, Meter, Model, ModelEvent, ModelRequest, ModelResponse, ModelStream, Part,
    ToolError,
};
use futures::StreamExt;
use wasmtime::component::{HasSelf, Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::pending::Pending;
use super::{Gate, Host, answer, blobs, granted};
use crate::bindings::ampoule::llm::{llm, waiting};
use crate::bindings::ampoule::plugin::types::Error;
use crate::limits::price;
use crate::model;
use crate::state::{CallState, Running};

/// A response a guest has asked for.
pub type Completing = Pending<Result<ModelResponse, ToolError>>;

/// A response on its way to a guest.
pub struct Events {
    stage: Stage,
    /// An event that came while the guest only asked whether one had.
    next: Option<Option<Result<ModelEvent, ToolError>>>,
}

enum Stage {
    Asking(Pending<Result<ModelStream, ToolError>>),
    Coming(ModelStream),
    Over,
}

impl Events {
    fn new(asking: Pending<Result<ModelStream, ToolError>>) -> Events {
        Events { stage: Stage::Asking(asking), next: None }
    }

    /// Waits until there is an event to take.
    async fn fill(&mut self) {
        if self.next.is_some() {
            return;
        }
        if let Stage::Asking(asking) = &mut self.stage {
            let started = asking.take().await;
            self.stage = match started {
                Ok(Some(Ok(stream))) => Stage::Coming(stream),
                Ok(Some(Err(error))) => {
                    self.next = Some(Some(Err(error)));
                    Stage::Over
                }
                Ok(None) => Stage::Over,
                Err(fault) => {
                    let error = ToolError {
                        log: Some(fault.to_string()),
                        ..ToolError::new("internal", "the host could not ask the model")
                    };
                    self.next = Some(Some(Err(error)));
                    Stage::Over
                }
            };
            if self.next.is_some() {
                return;
            }
        }
        self.next = Some(match &mut self.stage {
            Stage::Coming(stream) => stream.next().await,
            Stage::Asking(_) | Stage::Over => None,
        });
        if matches!(self.next, Some(None | Some(Err(_)))) {
            self.stage = Stage::Over;
        }
    }

    async fn take(&mut self) -> Option<Result<ModelEvent, ToolError>> {
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
        let (model, context) = match bound(&host.get().call.clone()) {
            Ok(bound) => bound,
            Err(error) => return answer(Err(error)),
        };
        let models = model.models(context).await;
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
        let call = host.get().call.clone();
        let result = match prepare(&call, request) {
            Ok((model, request, context)) => model.complete(request, context).await,
            Err(error) => Err(error),
        };
        respond(&call, result)
    }

    async fn stream(
        mut host: Host<'_>,
        request: llm::Request,
    ) -> wasmtime::Result<Result<Resource<Events>, Error>> {
        let bytes = model::request_bytes(&request);
        granted!(host, price::LEAVE + price::bytes(bytes), |grants| grants
            .service("llm")
            .map(drop));
        let call = host.get().call.clone();
        let stream = match prepare(&call, request) {
            Ok((model, request, context)) => model.stream(request, context).await,
            Err(error) => Err(error),
        };
        match stream {
            Ok(stream) => {
                let events = Events { stage: Stage::Coming(stream), next: None };
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
        let state = host.get();
        match prepare(&state.call.clone(), request) {
            Ok((model, request, context)) => {
                let work = async move { model.complete(request, context).await };
                Ok(Ok(state.table.push(Pending::start(work))?))
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
        let state = host.get();
        match prepare(&state.call.clone(), request) {
            Ok((model, request, context)) => {
                let work = async move { model.stream(request, context).await };
                Ok(Ok(state.table.push(Events::new(Pending::start(work)))?))
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
        let call = host.get().call.clone();
        match host.get().table.get_mut(&pending)?.take().await? {
            Some(result) => respond(&call, result),
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
    let call = host.get().call.clone();
    match host.get().table.get_mut(&events)?.take().await {
        None => Ok(Ok(None)),
        Some(Err(error)) => answer(Err(error)),
        Some(Ok(event)) => {
            if let Some(response) = &event.response {
                charge(&call, response)?;
            }
            Ok(Ok(Some(event.into())))
        }
    }
}

/// The model the operator has bound for a call, and the context its connector runs in.
fn bound(call: &Arc<Running>) -> Result<(Arc<dyn Model>, CallContext), ToolError> {
    let name = call.binding.grants.service("llm").map_err(ToolError::from)?;
    let model = call.host.model(name).ok_or_else(|| {
        let message = format!("the service llm is bound to `{name}`, which is no model connector");
        ToolError::new("unavailable", message)
    })?;
    let context = CallContext {
        deadline: Some(call.deadline.at()),
        cancel: call.context.cancel.child_token(),
        budget: Some(call.account.clone()),
        workspace: None,
        events: None,
        blobs: Some(call.blobs.clone()),
        ..call.context.clone()
    };
    Ok((model, context))
}

type Prepared = (Arc<dyn Model>, ModelRequest, CallContext);

fn prepare(call: &Arc<Running>, request: llm::Request) -> Result<Prepared, ToolError> {
    let (model, context) = bound(call)?;
    let mut request: ModelRequest = request.try_into()?;
    for message in &mut request.messages {
        for part in &mut message.parts {
            inline(call, part)?;
        }
    }
    Ok((model, request, context))
}

/// A blob belongs to the call that may open it; the connector is another, so it gets the bytes.
fn inline(call: &Running, part: &mut Part) -> Result<(), ToolError> {
    if let Some(id) = part.blob.take() {
        part.data = Some(blobs::data(call, &id)?.to_vec());
        if part.media_type.is_none() {
            part.media_type = call.blobs.get(&id).map(|blob: Blob| blob.media_type);
        }
    }
    Ok(())
}

fn respond(
    call: &Running,
    result: Result<ModelResponse, ToolError>,
) -> wasmtime::Result<Result<llm::Response, Error>> {
    if let Ok(response) = &result {
        charge(call, response)?;
    }
    answer(result.map(Into::into))
}

/// Charges the tokens of an exchange to the call that asked.
fn charge(call: &Running, response: &ModelResponse) -> wasmtime::Result<()> {
    if let Some(usage) = &response.usage {
        let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
        call.account.charge(Meter::ModelTokens, tokens)?;
    }
    Ok(())
}
