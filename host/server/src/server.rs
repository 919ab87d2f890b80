//! The requests of one client.

use std::sync::Arc;
use std::time::Duration;

use ampoule_contract::{CallContext, End, Outcome, Receipt, ToolCall, ToolDefinition, Tools};
#[expect(deprecated, reason = "older revisions have it")]
use rmcp::model::SetLevelRequestParams;
use rmcp::model::{
    CallToolRequestMethod, CallToolRequestParams, CallToolResponse, ConstString, CustomRequest,
    CustomResult, ErrorCode, ErrorData, Implementation, InitializeResult, JsonObject,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::error::ServeError;
use crate::events::{Events, SetLevel, Wanted};
use crate::options::ServeOptions;
use crate::{outcome, session};

/// How long calls may go on when the client has gone: requests that were piped in are answered,
/// and the server is over before a client that waits for that (two seconds, usually) kills it.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

const INSTRUCTIONS: &str = "\
Ampoule runs each of these tools in a sealed WebAssembly sandbox: afresh for every call, with only \
what the operator has granted, under limits. A call that fails leaves nothing behind and answers \
with a code and a message. `bad-arguments`: mend what the message names. `denied`: the operator has \
not allowed it; say so to the user instead of trying again. `limit`: ask for less at a time. Where \
a result was cut and gives a cursor, the same call with that `cursor` goes on.";

/// Answers one client.
pub(crate) struct Server {
    catalog: Catalog,
    options: ServeOptions,
    level: SetLevel,
    /// The client has gone.
    gone: CancellationToken,
}

impl Server {
    /// # Errors
    /// An entry of [`ServeOptions::tools`] is no pattern.
    pub(crate) fn new(
        tools: Arc<dyn Tools>,
        options: ServeOptions,
        gone: CancellationToken,
    ) -> Result<Server, ServeError> {
        let catalog = Catalog::new(tools, &options.tools)?;
        Ok(Server { catalog, options, level: SetLevel::default(), gone })
    }

    /// What of a call's events the client wants.
    fn wanted(&self, context: &RequestContext<RoleServer>) -> Wanted {
        let log = if version(context).has_initialize() {
            Some(self.level.get())
        } else {
            context.meta.log_level().map(Into::into)
        };
        Wanted { progress: context.meta.get_progress_token(), log }
    }

    /// Runs a call; nothing, where it was dropped.
    async fn run(&self, call: ToolCall, cancelled: &CancellationToken) -> Option<Outcome> {
        let gone = async {
            self.gone.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            // First, so that a call that heeds the token ends with a receipt.
            biased;
            outcome = self.catalog.tools().call(call) => Some(outcome),
            () = cancelled.cancelled() => None,
            () = gone => None,
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder().enable_tools().build();
        capabilities.logging = Some(JsonObject::new());
        let about = Implementation::new("ampoule", env!("CARGO_PKG_VERSION"))
            .with_title("Ampoule")
            .with_description("Sealed WebAssembly tools");
        InitializeResult::new(capabilities).with_server_info(about).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        self.catalog.page(cursor.as_deref(), &version(&context))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = self.catalog.find(&request.name)?;
        let mut arguments = request.arguments.unwrap_or_default();
        let session = match session::taken_by(&tool) {
            true => session::take(&mut arguments)?,
            false => None,
        };
        let (sink, mut events) = Events::new(&tool.id, self.wanted(&context));
        let call = ToolCall {
            tool: tool.id.clone(),
            arguments: Value::Object(arguments).to_string(),
            context: CallContext {
                principal: self.options.principal.clone(),
                workspace: self.options.workspace.clone(),
                budget: self.options.budget.clone(),
                cancel: context.ct.clone(),
                events: Some(sink),
                session,
                ..CallContext::default()
            },
        };
        let ended = CancellationToken::new();
        let running = async {
            let outcome = self.run(call, &context.ct).await;
            ended.cancel();
            outcome
        };
        let forwarding = async {
            tokio::select! {
                () = events.forward(&context.peer, &ended) => {}
                () = context.ct.cancelled() => {}
                () = self.gone.cancelled() => {}
            }
        };
        let (outcome, ()) = tokio::join!(running, forwarding);
        let outcome = outcome.unwrap_or_else(|| {
            let end = End::Cancelled;
            let receipt = Receipt::empty(context.id.to_string(), tool.id.clone(), end.word());
            Outcome { end, receipt }
        });
        note(&tool, &outcome);
        Ok(outcome::result(&tool, outcome, events.blocks(), &version(&context)).into())
    }

    #[expect(deprecated, reason = "older revisions have it")]
    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !version(&context).has_initialize() {
            return Err(ErrorData::method_not_found::<rmcp::model::SetLevelRequestMethod>());
        }
        self.level.set(request.level.into());
        Ok(())
    }

    /// Gets what rmcp cannot read as a request it knows, so a call with malformed parameters too.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if request.method == CallToolRequestMethod::VALUE {
            let message = "`tools/call` takes a `name`, a text, and `arguments`, an object";
            return Err(ErrorData::invalid_params(message, None));
        }
        let method: String = request.method.chars().take(128).collect();
        let message = format!("there is no method `{method}` here");
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None))
    }
}

/// The revision a request is made in.
fn version(context: &RequestContext<RoleServer>) -> ProtocolVersion {
    context.protocol_version().unwrap_or(ProtocolVersion::LATEST_WITH_INITIALIZE)
}

/// Tells the operator how a call ended, with what the client is not told. (The log line of a tool's
/// own error is told where the tool runs.)
fn note(tool: &ToolDefinition, outcome: &Outcome) {
    let Receipt { call, end, wall, .. } = &outcome.receipt;
    let log = match &outcome.end {
        End::BadOutput(problem) => Some(problem.message.as_str()),
        End::Trap(text) | End::Fault(text) => Some(text.as_str()),
        _ => None,
    };
    match log {
        Some(log) => tracing::warn!(call, tool = tool.id, end, ?wall, "{log}"),
        None => tracing::info!(call, tool = tool.id, end, ?wall, "a call ended"),
    }
}
