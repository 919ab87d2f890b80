//! Which tools a client sees, and how each is described to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use ampoule_contract::{ToolDefinition, ToolPattern, Tools};
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
    /// Counts how often the tools have become others; none, where they stay.
    changes: Option<watch::Receiver<u64>>,
    /// The tools by their names for models, as of one count.
    named: RwLock<Arc<Named>>,
}

struct Named {
    count: u64,
    tools: HashMap<String, Arc<Served>>,
}

/// A tool that is served.
pub(crate) struct Served {
    pub(crate) definition: Arc<ToolDefinition>,
    /// As clients of the current revision see it; made when it is first needed.
    described: OnceLock<Tool>,
}

impl Served {
    /// As clients of the current revision see it.
    pub(crate) fn described(&self) -> &Tool {
        self.described.get_or_init(|| {
            describe(&self.definition.model_name(), &self.definition, &ProtocolVersion::LATEST)
        })
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
        let changes = tools.changes();
        let count = count(&changes);
        let named = RwLock::new(Arc::new(Named { count, tools: named(all, &patterns) }));
        Ok(Catalog { tools, patterns, changes, named })
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
        self.named().tools.get(name).cloned().ok_or_else(|| {
            let shown: String = name.chars().take(128).collect();
            ErrorData::invalid_params(
                format!("there is no tool `{shown}`; `tools/list` has all there are"),
                None,
            )
        })
    }

    fn named(&self) -> Arc<Named> {
        // Before the tools are read: of a change between the two the next call learns.
        let count = count(&self.changes);
        let kept = self.named.read().unwrap_or_else(PoisonError::into_inner).clone();
        if kept.count == count {
            return kept;
        }
        let tools = named(self.tools.tools(), &self.patterns);
        let named = Arc::new(Named { count, tools });
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = named.clone();
        named
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

fn count(changes: &Option<watch::Receiver<u64>>) -> u64 {
    changes.as_ref().map_or(0, |changes| *changes.borrow())
}

fn named(all: Vec<Arc<ToolDefinition>>, patterns: &[ToolPattern]) -> HashMap<String, Arc<Served>> {
    let mut named = HashMap::new();
    for definition in all.into_iter().filter(|tool| is_served(tool, patterns)) {
        let name = definition.model_name();
        let served = || Arc::new(Served { definition, described: OnceLock::new() });
        named.entry(name).or_insert_with(served);
    }
    named
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
