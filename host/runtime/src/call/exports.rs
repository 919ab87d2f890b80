//! Calls that the host itself makes: of a connector for its models and their answers, of a catalogue
//! for its tools. They have limits, grants and lines of the audit as calls of tools have, and no
//! session, tape, workspace or caller.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ampoule_contract::{
    Account, Breach, CallContext, Denial, End, Meter, ModelEvent, ModelInfo, Outcome, Output,
    Receipt, ToolError,
};
use tokio::sync::mpsc;
use wasmtime::Store;

use super::{Live, Passed, clean, outcome};
use crate::audit::{Beginning, Recorded};
use crate::bindings::exports::ampoule::llm::llm;
use crate::bindings::exports::ampoule::plugin::catalog;
use crate::host::Host;
use crate::plugin::Code;
use crate::registry::Binding;
use crate::state::CallState;

/// How long a catalogue may take: a host does not begin before all have answered.
const DISCOVERY_TIME: Duration = Duration::from_secs(10);

/// Sets up a call of an export that the host itself asks, a connector's or a catalogue's, and
/// records that it begins.
async fn connect(
    host: Host,
    binding: Arc<Binding>,
    export: &str,
    context: CallContext,
) -> Result<(Live, Arc<Code>, Recorded), ToolError> {
    let refused = |end: End| end.into_result().err().unwrap_or_default();
    let above = context.budget.clone().unwrap_or_else(|| host.run_account());
    let limits = binding.limits_for(context.principal.as_deref());
    let account = above.child(limits);
    let (id, tool) = (host.next_id(), format!("{}/{export}", binding.name));
    let beginning = Beginning {
        id: &id,
        tool: &tool,
        binding: Some(&binding),
        context: &context,
        account: Some(&account),
        arguments: None,
    };
    let recorded = Recorded::start(&host, beginning).map_err(refused)?;
    let mut receipt = Receipt::empty(id.clone(), tool.clone(), "");
    receipt.digest.clone_from(&binding.plugin.digest);
    receipt.limits = limits;
    match enter_connector(host, binding, context, id, tool, account, &above).await {
        Ok((live, code)) => Ok((live, code, recorded)),
        Err(end) => {
            receipt.end = end.word();
            let mut outcome = Outcome { end, receipt };
            recorded.end(&mut outcome);
            Err(refused(outcome.end))
        }
    }
}

async fn enter_connector(
    host: Host,
    binding: Arc<Binding>,
    context: CallContext,
    id: String,
    tool: String,
    account: Arc<Account>,
    above: &Account,
) -> Result<(Live, Arc<Code>), End> {
    if let Some(denial) = &binding.barred {
        return Err(End::Denied(Denial::clone(denial)));
    }
    let depth = above.used(Meter::ToolDepth) + 1;
    let limits = binding.limits_for(context.principal.as_deref());
    let deepest = limits.get(Meter::ToolDepth);
    if depth > deepest {
        return Err(End::Limit(Breach { meter: Meter::ToolDepth, limit: deepest, above: false }));
    }
    let code = host.prepare(&binding, depth, &context).await?;
    let permit = host.admit(&binding, depth, &context, code.places).await?;
    let passed = Passed(HashSet::new());
    // A model answers; it has no business with the run's files.
    let context = CallContext { workspace: None, ..context };
    let grants = binding.grants_for(context.principal.as_deref()).clone();
    let live = Live::start(
        host, None, binding, grants, id, tool, context, account, depth, None, passed, permit,
    );
    live.map(|live| (live, code)).map_err(|start| start.0)
}

/// The models of a connector.
pub(crate) async fn models(
    host: Host,
    binding: Arc<Binding>,
    context: CallContext,
) -> Result<Vec<ModelInfo>, ToolError> {
    let (mut live, code, recorded) = connect(host, binding, "llm", context).await?;
    let models = live.run(async |store: &mut Store<CallState>| {
        let instance = code.pre.instantiate_async(&mut *store).await?;
        let indices = code.llm.as_ref();
        let indices = indices.ok_or_else(|| crate::host::fault("the plugin is no connector"))?;
        indices.load(&mut *store, &instance)?.call_models(&mut *store).await
    });
    let (models, end) = match models.await {
        Ok(Ok(models)) => {
            let mut models: Vec<ModelInfo> = models.into_iter().map(Into::into).collect();
            live.call.clean("a list of models", |cleaner| {
                models.iter_mut().for_each(|model| cleaner.model_info(model));
            });
            (models, End::Value(Output::default()))
        }
        Ok(Err(error)) => (Vec::new(), End::Failed(error.into())),
        Err(end) => (Vec::new(), end),
    };
    live.close(end, recorded).into_result()?;
    Ok(models)
}

/// The tools that a plugin's catalogue offers a binding, unread.
pub(crate) async fn discover(
    host: Host,
    binding: Arc<Binding>,
) -> Result<Vec<catalog::ToolDefinition>, ToolError> {
    // Compiling has bounds of its own and none of this time. Where it fails, connecting says so.
    let _ = binding.plugin.code(host.compiler()).await;
    let deadline = Some(Instant::now() + DISCOVERY_TIME);
    let context = CallContext { deadline, ..CallContext::default() };
    let (mut live, code, recorded) = connect(host, binding, "catalog", context).await?;
    let call = live.call.clone();
    let discovered = live.run(async |store: &mut Store<CallState>| {
        let instance = code.pre.instantiate_async(&mut *store).await?;
        let indices = code.catalog.as_ref();
        let indices = indices.ok_or_else(|| crate::host::fault("the plugin has no catalogue"))?;
        let discovered = indices.load(&mut *store, &instance)?.call_discover(&mut *store).await?;
        for tool in discovered.iter().flatten() {
            let texts = [&tool.output_schema, &tool.meta].into_iter().flatten();
            let bytes = [&tool.name, &tool.description, &tool.input_schema];
            let bytes = bytes.into_iter().chain(texts).map(String::len).sum::<usize>();
            call.account.charge(Meter::OutputBytes, bytes as u64)?;
        }
        Ok(discovered)
    });
    let (tools, end) = match discovered.await {
        Ok(Ok(mut tools)) => {
            live.call.clean("the catalogue", |cleaner| {
                for tool in &mut tools {
                    cleaner.text(&mut tool.name);
                    cleaner.text(&mut tool.description);
                    cleaner.json(&mut tool.input_schema);
                    tool.output_schema.iter_mut().for_each(|schema| cleaner.json(schema));
                    tool.meta.iter_mut().for_each(|meta| cleaner.json(meta));
                }
            });
            (tools, End::Value(Output::default()))
        }
        Ok(Err(error)) => (Vec::new(), End::Failed(error.into())),
        Err(end) => (Vec::new(), end),
    };
    live.close(end, recorded).into_result()?;
    Ok(tools)
}

/// Asks a connector and sends what comes to `events`, until it is over or nobody listens.
pub(crate) async fn stream(
    host: Host,
    binding: Arc<Binding>,
    request: llm::Request,
    context: CallContext,
    events: mpsc::Sender<Result<ModelEvent, ToolError>>,
) {
    let (mut live, code, recorded) = match connect(host, binding, "llm", context).await {
        Ok(connected) => connected,
        Err(error) => return drop(events.send(Err(error)).await),
    };
    let call = live.call.clone();
    let streamed = live.run(async |store: &mut Store<CallState>| {
        let instance = code.pre.instantiate_async(&mut *store).await?;
        let indices = code.llm.as_ref();
        let indices = indices.ok_or_else(|| crate::host::fault("the plugin is no connector"))?;
        let guest = indices.load(&mut *store, &instance)?;
        let stream = match guest.call_stream(&mut *store, &request).await? {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(ToolError::from(error))),
        };
        loop {
            match guest.events().call_next(&mut *store, stream).await? {
                Ok(Some(event)) => {
                    let mut event = ModelEvent::from(event);
                    call.account.charge(Meter::OutputBytes, event_bytes(&event))?;
                    call.clean("a response", |cleaner| cleaner.model_event(&mut event));
                    if events.send(Ok(event)).await.is_err() {
                        // The reader has gone: so does the instance.
                        return Ok(Ok(()));
                    }
                }
                Ok(None) => break,
                Err(error) => return Ok(Err(ToolError::from(error))),
            }
        }
        Ok(Ok(()))
    });
    let end = match streamed.await {
        Ok(Ok(())) => End::Value(Output::default()),
        Ok(Err(error)) => End::Failed(error),
        Err(end) => end,
    };
    if let Err(failed) = live.close(end, recorded).into_result() {
        drop(events.send(Err(failed)).await);
    }
}

/// Roughly the bytes of an event; the whole response repeats what came before and is not counted.
fn event_bytes(event: &ModelEvent) -> u64 {
    let part = event.part.as_ref().map_or(0, |part| {
        part.text.as_ref().map_or(0, String::len) + part.data.as_ref().map_or(0, Vec::len) + 64
    });
    (event.text.as_ref().map_or(0, String::len) + part + 64) as u64
}

impl Live {
    /// Ends the call and records how.
    fn close(self, mut end: End, recorded: Recorded) -> End {
        let call = self.call.clone();
        self.store.data().wasi.iter().for_each(|wasi| wasi.finish());
        clean(&call, &mut end);
        let mut receipt = Receipt::empty(call.id.clone(), call.tool.clone(), "");
        receipt.digest.clone_from(&call.binding.plugin.digest);
        receipt.limits = *call.account.limits();
        receipt.wall = self.started.elapsed();
        drop(self);
        let mut outcome = outcome(end, receipt, &call);
        recorded.end(&mut outcome);
        outcome.end
    }
}
