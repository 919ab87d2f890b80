//! The requests of one client.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ampoule_contract::{
    Account, Ask, CallContext, End, Outcome, Question, Receipt, ToolCall, ToolDefinition, Tools,
};
#[expect(deprecated, reason = "older revisions have it")]
use rmcp::model::SetLevelRequestParams;
use rmcp::model::{
    CallToolRequestMethod, CallToolRequestParams, CallToolResponse, ClientCapabilities,
    ConstString, CustomRequest, CustomResult, ElicitationCapability, ErrorCode, ErrorData,
    GetPromptRequestMethod, GetPromptRequestParams, GetPromptResponse, Implementation,
    InitializeResult, JsonObject, ListPromptsRequestMethod, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    PromptsCapability, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, ResourcesCapability, ServerCapabilities, ServerConfig, SubscriptionFilter,
    Tool, ToolsCapability,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::ask::{self, Asking, Waiting};
use crate::catalog::Catalog;
use crate::error::ServeError;
use crate::events::{Events, SetLevel, Wanted};
use crate::inspect::Inspect;
use crate::kept::Kept;
use crate::offers::{self, Prompts, Resources};
use crate::options::ServeOptions;
use crate::outcome::{self, Keep};
use crate::rounds::{Bound, States};
use crate::session;
use crate::trace::Parent;

/// How long calls may go on when the client has gone: requests that were piped in are answered,
/// and the server is over before a client that waits for that (two seconds, usually) kills it.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

const INSTRUCTIONS: &str = "\
Ampoule runs each of these tools in a sealed WebAssembly sandbox: afresh for every call, with only \
what the operator has granted, under limits. A call that fails leaves nothing behind and answers \
with a code and a message. `bad-arguments`: mend what the message names. `denied`: the operator has \
not allowed it; say so to the user instead of trying again. `limit`: ask for less at a time. Where \
a result was cut and gives a cursor, the same call with that `cursor` goes on.";

/// What all clients are served from.
pub(crate) struct Shared {
    catalog: Catalog,
    workspace: Option<PathBuf>,
    budget: Option<Arc<Account>>,
    prompts: Option<Arc<dyn Prompts>>,
    resources: Option<Arc<dyn Resources>>,
    pub(crate) inspect: Option<Arc<dyn Inspect>>,
    kept: Kept,
    states: States,
    /// Those who wait for the calls and requests under way wait here.
    pub(crate) calls: TaskTracker,
}

impl Shared {
    /// # Errors
    /// An entry of [`ServeOptions::tools`] is no pattern, or there is no randomness.
    pub(crate) fn new(tools: Arc<dyn Tools>, options: &ServeOptions) -> Result<Shared, ServeError> {
        Ok(Shared {
            catalog: Catalog::new(tools, &options.tools)?,
            workspace: options.workspace.clone(),
            budget: options.budget.clone(),
            prompts: options.prompts.clone(),
            resources: options.resources.clone(),
            inspect: options.inspect.clone(),
            kept: Kept::default(),
            states: States::new().map_err(ServeError::Key)?,
            calls: TaskTracker::new(),
        })
    }
}

/// For whom requests are answered.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) principal: Option<String>,
    /// It has gone.
    pub(crate) gone: CancellationToken,
}

/// Answers one client.
pub(crate) struct Server {
    client: Arc<Client>,
    level: SetLevel,
    /// Ends what runs for this client alone, if anything does.
    alive: OnceLock<DropGuard>,
}

impl Server {
    pub(crate) fn new(client: Arc<Client>) -> Server {
        Server { client, level: SetLevel::default(), alive: OnceLock::new() }
    }

    /// What of a call's events the client wants.
    fn wanted(&self, context: &RequestContext<RoleServer>, version: &ProtocolVersion) -> Wanted {
        let log = if version.has_initialize() {
            Some(self.level.get())
        } else {
            context.meta.log_level().map(Into::into)
        };
        Wanted { progress: context.meta.get_progress_token(), log }
    }

    /// The prompts, where there are any.
    fn prompts<M: ConstString>(&self) -> Result<&dyn Prompts, ErrorData> {
        self.client.shared.prompts.as_deref().ok_or_else(ErrorData::method_not_found::<M>)
    }

    /// Runs a call; nothing, where it was dropped.
    async fn run(&self, call: ToolCall, cancelled: &CancellationToken) -> Option<Outcome> {
        let gone = async {
            self.client.gone.cancelled().await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            // First, so that a call that heeds the token ends with a receipt.
            biased;
            outcome = self.client.shared.catalog.tools().call(call) => Some(outcome),
            () = cancelled.cancelled() => None,
            () = gone => None,
        }
    }

    /// Hands on what a call says and asks, until it is over.
    async fn attend(
        &self,
        running: impl Future<Output = Option<Outcome>>,
        events: &mut Events<'_>,
        mut asking: Asking<'_>,
        questions: Option<mpsc::Receiver<Box<Waiting>>>,
        context: &RequestContext<RoleServer>,
    ) -> Option<Outcome> {
        let ended = CancellationToken::new();
        let running = async {
            let outcome = running.await;
            ended.cancel();
            outcome
        };
        let forwarding = async {
            tokio::select! {
                () = events.forward(&context.peer, &ended) => {}
                () = context.ct.cancelled() => {}
                () = self.client.gone.cancelled() => {}
            }
        };
        let answering = async {
            let Some(mut questions) = questions else { return };
            tokio::select! {
                () = asking.answer(&mut questions) => {}
                () = ended.cancelled() => {}
            }
        };
        let (outcome, (), ()) = tokio::join!(running, forwarding, answering);
        outcome
    }

    /// Calls a tool for the client.
    async fn call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let _under_way = self.client.shared.calls.token();
        let principal = self.client.principal.as_deref();
        let tool = self.client.shared.catalog.find(&request.name)?;
        let tool = &tool.definition;
        let mut arguments = request.arguments.unwrap_or_default();
        let version = version(&context);
        let can_ask = ask::can(context.client_capabilities().as_ref());
        // With all arguments, because an answer is for the session it was asked in, too; and only
        // where there may be one.
        let may_ask = can_ask && !version.has_initialize();
        let whole =
            (may_ask || request.request_state.is_some()).then(|| Value::Object(arguments.clone()));
        let bound = || Bound::new(principal, &tool.id, whole.as_ref().unwrap_or(&Value::Null));
        let session = match session::taken_by(tool) {
            true => session::take(&mut arguments)?,
            false => None,
        };
        let states = &self.client.shared.states;
        let state = request.request_state.as_deref();
        let mut rounds = states.open(bound, state, request.input_responses)?;
        // Nothing is asked through a queue where nobody could answer.
        let nobody = Arc::new(ask::Nobody::default());
        let (person, questions) = match can_ask {
            true => {
                let (person, questions) = ask::channel();
                (person, Some(questions))
            }
            false => (nobody.clone() as Arc<dyn Ask>, None),
        };
        let parent = Parent::of(&context);
        let span = match &parent {
            Some(Parent { trace, span }) => {
                tracing::info_span!("tools/call", tool = tool.id, trace, parent = span)
            }
            None => tracing::info_span!("tools/call", tool = tool.id),
        };
        let (sink, mut events) = Events::new(&tool.id, self.wanted(&context, &version));
        let call = ToolCall {
            tool: tool.id.clone(),
            arguments: Value::Object(arguments).into(),
            context: CallContext {
                principal: self.client.principal.clone(),
                run: parent.map(|parent| parent.trace),
                parent: None,
                workspace: self.client.shared.workspace.clone(),
                budget: self.client.shared.budget.clone(),
                deadline: None,
                cancel: context.ct.clone(),
                events: Some(sink),
                locale: None,
                blobs: None,
                tools: None,
                session,
                ask: Some(person),
                state: None,
            },
        };
        let running = self.run(call, &context.ct).instrument(span.clone());
        let outcome = match (events.are_wanted(), questions) {
            (false, None) => running.await,
            (_, questions) => {
                let asking = match version.has_initialize() {
                    true => Asking::Client(&context.peer),
                    false => Asking::Rounds(&mut rounds),
                };
                // On the heap: it is large, and most calls say and ask nothing.
                Box::pin(self.attend(running, &mut events, asking, questions, &context)).await
            }
        };
        let outcome = outcome.unwrap_or_else(|| {
            let end = End::Cancelled;
            let receipt = Receipt::empty(context.id.to_string(), tool.id.clone(), end.word());
            Outcome { end, receipt }
        });
        span.in_scope(|| note(tool, &outcome));
        if let Some(inspect) = &self.client.shared.inspect {
            inspect.ended(principal, &outcome);
        }
        if matches!(outcome.end, End::Suspended(_))
            && let Some(question) = states.ask(bound, rounds)?
        {
            return Ok(question.into());
        }
        let failed = match &outcome.end {
            End::Failed(error) => error.code == "unavailable",
            End::Denied(denial) => denial.gate == Question::APPROVAL,
            _ => false,
        };
        if nobody.was_asked() && failed && !version.has_initialize() {
            let mut needed = ClientCapabilities::default();
            needed.elicitation = Some(ElicitationCapability::default());
            return Err(ErrorData::missing_required_client_capability(needed));
        }
        let keep = Keep { kept: &self.client.shared.kept, principal };
        let asked = context.meta.get(outcome::RECEIPT) == Some(&Value::Bool(true));
        Ok(outcome::result(tool, outcome, events.blocks(), &version, keep, asked).into())
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        capabilities.logging = Some(JsonObject::new());
        let changes = self.client.shared.catalog.tools().changes().is_some();
        let mut tools = ToolsCapability::default();
        tools.list_changed = changes.then_some(true);
        capabilities.tools = Some(tools);
        capabilities.prompts =
            self.client.shared.prompts.as_ref().map(|_| PromptsCapability::default());
        // Files of results are among them.
        capabilities.resources = Some(ResourcesCapability::default());
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
        self.client.shared.catalog.page(
            cursor.as_deref(),
            self.client.principal.as_deref(),
            &version(&context),
        )
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // On the heap: the futures of all requests are as large as the largest of them, and rmcp moves
        // them about.
        Box::pin(self.call(request, context)).await
    }

    /// What rmcp checks the headers `Mcp-Param-…` of a call against; nothing, where there are none.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.client.shared.catalog.find(name).ok()?.with_headers().cloned()
    }

    /// Tells a client of an older revision when there are other tools.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let Some(mut changes) = self.client.shared.catalog.tools().changes() else { return };
        let alive = CancellationToken::new();
        if self.alive.set(alive.clone().drop_guard()).is_err() {
            // It has said so before.
            return;
        }
        tokio::spawn(async move {
            let tell = async {
                while changes.changed().await.is_ok() {
                    if context.peer.notify_tool_list_changed().await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = tell => {}
                () = alive.cancelled() => {}
            }
        });
    }

    fn accepted_subscription_filter(&self, _: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let changes = self.client.shared.catalog.tools().changes();
        changes.map(|_| SubscriptionFilter::builder().tools_list_changed().build())
    }

    /// Tells a client of the current revision the same.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let Some(mut changes) = self.client.shared.catalog.tools().changes() else { return Ok(()) };
        let tell = async {
            while changes.changed().await.is_ok() {
                if context.sink().notify_tool_list_changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = tell => {}
            () = context.cancelled() => {}
            () = self.client.gone.cancelled() => {}
        }
        Ok(())
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = self.prompts::<ListPromptsRequestMethod>()?;
        let cursor = request.and_then(|request| request.cursor);
        offers::list_prompts(prompts, self.client.principal.as_deref(), cursor.as_deref())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let prompts = self.prompts::<GetPromptRequestMethod>()?;
        let arguments = request.arguments.unwrap_or_default();
        let principal = self.client.principal.as_deref();
        let result = offers::get_prompt(prompts, &request.name, &arguments, principal).await?;
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let Some(resources) = &self.client.shared.resources else {
            return Ok(ListResourcesResult::with_all_items(Vec::new()));
        };
        offers::list_resources(&**resources, self.client.principal.as_deref(), cursor.as_deref())
            .await
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let Some(resources) = &self.client.shared.resources else {
            return Ok(ListResourceTemplatesResult::with_all_items(Vec::new()));
        };
        offers::list_templates(&**resources, self.client.principal.as_deref(), cursor.as_deref())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let principal = self.client.principal.as_deref();
        if let Some(content) = self.client.shared.kept.read(&request.uri, principal) {
            return Ok(ReadResourceResult::new(vec![content]).into());
        }
        let resources = self.client.shared.resources.as_deref();
        Ok(offers::read_resource(resources, &request.uri, principal).await?.into())
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
