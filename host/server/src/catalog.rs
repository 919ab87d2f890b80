//! Which tools a client sees, and how each is described to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use ampoule_contract::{ToolDefinition, ToolPattern, Tools};
use arc_swap::ArcSwap;
use rmcp::model::{ErrorData, JsonObject, ListToolsResult, ProtocolVersion, Tool, ToolAnnotations};
use serde_json::Value;
use tokio::sync::watch;

use crate::error::ServeError;
use crate::paging::page;
use crate::{session, structured};

/// The tools that are served, out of all there are.
pub(crate) struct Catalog {
    tools: Arc<dyn Tools>,
    patterns: Vec<ToolPattern>,
    named: ArcSwap<Named>,
}

/// The tools by their names for models.
struct Named {
    tools: HashMap<String, Arc<Served>>,
    /// Says whether they have become others since; none, where they stay.
    changes: Option<watch::Receiver<u64>>,
}

impl Named {
    fn new(tools: &dyn Tools, patterns: &[ToolPattern]) -> Named {
        // Before the tools are read: of a change between the two the next call learns.
        let changes = tools.changes();
        let mut named = HashMap::new();
        let all = tools.tools().into_iter();
        for definition in all.filter(|tool| is_served(tool, patterns)) {
            let name = definition.model_name();
            let served = || Arc::new(Served { definition, with_headers: OnceLock::new() });
            named.entry(name).or_insert_with(served);
        }
        Named { tools: named, changes }
    }

    fn is_current(&self) -> bool {
        self.changes.as_ref().is_none_or(|changes| !changes.has_changed().unwrap_or(false))
    }
}

/// A tool that is served.
pub(crate) struct Served {
    pub(crate) definition: Arc<ToolDefinition>,
    /// See [`Served::with_headers`]; made when it is first asked for.
    with_headers: OnceLock<Option<Tool>>,
}

impl Served {
    /// As clients of the current revision see it, where its schema has arguments that come as headers
    /// too, `Mcp-Param-…`.
    pub(crate) fn with_headers(&self) -> Option<&Tool> {
        let described = self.with_headers.get_or_init(|| {
            let Served { definition, .. } = self;
            let may_have = definition.input_schema.to_string().contains("x-mcp-header");
            let describe =
                || describe(&definition.model_name(), definition, &ProtocolVersion::LATEST);
            may_have.then(describe)
        });
        described.as_ref()
    }
}

impl Catalog {
    /// # Errors
    /// An entry is no pattern.
    pub(crate) fn new(tools: Arc<dyn Tools>, patterns: &[String]) -> Result<Catalog, ServeError> {
        let patterns = patterns.iter().map(|text| text.parse().map_err(ServeError::Pattern));
        let patterns = patterns.collect::<Result<Vec<ToolPattern>, _>>()?;
        let all = tools.tools();
        for pattern in &patterns {
            if !all.iter().any(|tool| pattern.matches(&tool.id)) {
                tracing::warn!("the pattern `{pattern}` stands for no tool there is now");
            }
        }
        let named = ArcSwap::from_pointee(Named::new(&*tools, &patterns));
        Ok(Catalog { tools, patterns, named })
    }

    pub(crate) fn tools(&self) -> &dyn Tools {
        &*self.tools
    }

    /// The tool with a name for models; also where a principal may not call it: the call is denied
    /// then, by a message that says so.
    ///
    /// # Errors
    /// There is none, or it is not served.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Served>, ErrorData> {
        if !self.named.load().is_current() {
            self.named.store(Arc::new(Named::new(&*self.tools, &self.patterns)));
        }
        self.named.load().tools.get(name).cloned().ok_or_else(|| {
            let shown: String = name.chars().take(128).collect();
            ErrorData::invalid_params(
                format!("there is no tool `{shown}`; `tools/list` has all there are"),
                None,
            )
        })
    }

    /// The tools of a principal after `cursor`, in byte order of their names for models.
    ///
    /// # Errors
    /// The cursor is not one that a page before gave.
    pub(crate) fn page(
        &self,
        cursor: Option<&str>,
        principal: Option<&str>,
        version: &ProtocolVersion,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut named = BTreeMap::new();
        let tools = self.tools.tools_for(principal).into_iter();
        for tool in tools.filter(|tool| is_served(tool, &self.patterns)) {
            // As in `named`, the first one of a name has it.
            named.entry(tool.model_name()).or_insert(tool);
        }
        let (page, next) = page(named, cursor)?;
        let tools = page.iter().map(|(name, tool)| describe(name, tool, version)).collect();
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = next;
        Ok(result)
    }
}

fn is_served(tool: &ToolDefinition, patterns: &[ToolPattern]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(&tool.id))
}

fn describe(name: &str, tool: &ToolDefinition, version: &ProtocolVersion) -> Tool {
    let effects = tool.effects;
    let hints = ToolAnnotations::new()
        .read_only(effects.read_only)
        .destructive(effects.destructive && !effects.read_only)
        .idempotent(effects.idempotent)
        .open_world(effects.open_world);
    let mut input = input_schema(&tool.input_schema);
    if session::taken_by(tool) {
        session::add_to(&mut input);
    }
    let mut described =
        Tool::new(name.to_owned(), tool.description.clone(), input).with_annotations(hints);
    described.title = tool.title.clone();
    described.output_schema =
        tool.output_schema.as_ref().map(|schema| Arc::new(structured::schema(schema, version)));
    described
}

/// The input schema as it is; MCP wants its root to say that it is an object.
fn input_schema(schema: &Value) -> JsonObject {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| "object".into());
    schema
}
