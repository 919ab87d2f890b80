//! Tools made of Rust functions, and clients of both eras.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ampoule_contract::{
    Effects, End, Outcome, Output, Receipt, ToolCall, ToolDefinition, ToolKind, Tools,
};
use ampoule_server::{ServeError, ServeOptions};
use futures::future::BoxFuture;
#[expect(deprecated, reason = "older revisions have log messages")]
use rmcp::model::LoggingMessageNotificationParam;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationCapability, ErrorData, ProgressNotificationParam, ProtocolVersion,
    RequestMetaObject, Tool,
};
use rmcp::service::{NotificationContext, RequestContext, RunningService};
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError, ServiceExt,
};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a tool does.
type Function = Arc<dyn Fn(ToolCall) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A shelf of tools, in the order of their ids.
#[derive(Default)]
pub(crate) struct Shelf {
    tools: Vec<(Arc<ToolDefinition>, Function)>,
    /// Counts how often the tools have become others.
    pub(crate) changes: watch::Sender<u64>,
}

impl Shelf {
    pub(crate) fn with<F>(
        mut self,
        definition: ToolDefinition,
        function: impl Fn(ToolCall) -> F + Send + Sync + 'static,
    ) -> Shelf
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let function: Function = Arc::new(move |call| Box::pin(function(call)));
        self.tools.push((Arc::new(definition), function));
        self.tools.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        self
    }

    /// A tool that always ends the same way.
    pub(crate) fn ending(self, definition: ToolDefinition, end: End) -> Shelf {
        self.with(definition, move |call| std::future::ready(outcome(&call, end.clone())))
    }
}

#[async_trait::async_trait]
impl Tools for Shelf {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        self.tools.iter().map(|(definition, _)| definition.clone()).collect()
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changes.subscribe())
    }

    async fn call(&self, call: ToolCall) -> Outcome {
        let (_, function) = self.tools.iter().find(|(tool, _)| tool.id == call.tool).unwrap();
        function(call).await
    }
}

pub(crate) fn tool(id: &str) -> ToolDefinition {
    let (binding, name) = id.split_once('/').unwrap_or((id, id));
    ToolDefinition {
        id: id.to_owned(),
        binding: binding.to_owned(),
        name: name.to_owned(),
        kind: ToolKind::Tool,
        title: None,
        description: format!("Does {id}."),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        effects: Effects::default(),
        sessions: false,
        examples: Vec::new(),
        digest: String::new(),
    }
}

pub(crate) fn outcome(call: &ToolCall, end: End) -> Outcome {
    let mut receipt = Receipt::empty("call-1".to_owned(), call.tool.clone(), end.word());
    receipt.wall = Duration::from_micros(1500);
    Outcome { end, receipt }
}

pub(crate) fn value(value: Value) -> End {
    End::Value(Output::value(value))
}

/// Which revision a client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Era {
    /// 2025-11-25, which begins with `initialize`.
    Old,
    /// 2026-07-28, where each request stands for itself.
    New,
}

pub(crate) const ERAS: [Era; 2] = [Era::Old, Era::New];

/// A client that keeps what it is told.
#[derive(Clone, Default)]
#[expect(deprecated, reason = "older revisions have log messages")]
pub(crate) struct Listener {
    pub(crate) progress: Arc<Mutex<Vec<ProgressNotificationParam>>>,
    pub(crate) log: Arc<Mutex<Vec<LoggingMessageNotificationParam>>>,
    /// How often it was told that there are other tools.
    pub(crate) changed: Arc<Mutex<u32>>,
    /// What its person was asked.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// What its person will say, the first first.
    pub(crate) says: Arc<Mutex<VecDeque<ElicitResult>>>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.capabilities.elicitation = Some(ElicitationCapability::default());
        config.with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            panic!("no form: {request:?}")
        };
        self.asked.lock().unwrap().push(message);
        Ok(self.says.lock().unwrap().pop_front().expect("a question too many"))
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        *self.changed.lock().unwrap() += 1;
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.progress.lock().unwrap().push(params);
    }

    #[expect(deprecated, reason = "older revisions have log messages")]
    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.log.lock().unwrap().push(params);
    }
}

/// A server with one client.
pub(crate) struct Served {
    pub(crate) client: RunningService<RoleClient, Listener>,
    pub(crate) heard: Listener,
    pub(crate) server: JoinHandle<Result<(), ServeError>>,
}

/// Starts a server; the client's end of its pipe.
pub(crate) fn start(
    shelf: Shelf,
    options: ServeOptions,
) -> (DuplexStream, JoinHandle<Result<(), ServeError>>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (input, output) = tokio::io::split(far);
    let tools = Arc::new(shelf);
    (near, tokio::spawn(ampoule_server::serve(tools, input, output, options)))
}

pub(crate) async fn serve_with(shelf: Shelf, era: Era, options: ServeOptions) -> Served {
    let (pipe, server) = start(shelf, options);
    let heard = Listener::default();
    let client = match era {
        Era::Old => heard.clone().serve(pipe).await.unwrap(),
        Era::New => {
            let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
            let mode = ClientLifecycleMode::Discover { preferred_versions };
            heard.clone().serve_with_lifecycle(pipe, mode).await.unwrap()
        }
    };
    Served { client, heard, server }
}

pub(crate) async fn serve(shelf: Shelf, era: Era) -> Served {
    serve_with(shelf, era, ServeOptions::default()).await
}

pub(crate) fn request(name: &str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    CallToolRequestParams::new(name.to_owned()).with_arguments(arguments)
}

impl Served {
    pub(crate) async fn list(&self) -> Vec<Tool> {
        self.client.list_all_tools().await.unwrap()
    }

    pub(crate) async fn call(&self, name: &str, arguments: Value) -> CallToolResult {
        self.client.call_tool(request(name, arguments)).await.unwrap()
    }

    /// Calls with a request's own metadata.
    pub(crate) async fn call_with(&self, name: &str, meta: RequestMetaObject) -> CallToolResult {
        let mut params = request(name, json!({}));
        params.meta = Some(meta);
        self.client.call_tool(params).await.unwrap()
    }

    /// The protocol error a call is answered with.
    pub(crate) async fn refusal(&self, name: &str) -> ErrorData {
        match self.client.call_tool(request(name, json!({}))).await {
            Err(ServiceError::McpError(error)) => error,
            other => panic!("no protocol error: {other:?}"),
        }
    }
}

/// All texts of a result.
pub(crate) fn texts(result: &CallToolResult) -> Vec<&str> {
    result.content.iter().filter_map(|block| Some(block.as_text()?.text.as_str())).collect()
}

/// An entry of a result's `_meta`.
pub(crate) fn meta(result: &CallToolResult, key: &str) -> Value {
    result.meta.as_ref().and_then(|meta| meta.get(key)).cloned().unwrap_or_default()
}
