//! Which tools a client sees, and how each is described to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampoule_contract::{ToolDefinition, ToolPattern, Tools};
use rmcp::model::{ErrorData, JsonObject, ListToolsResult, ProtocolVersion, Tool, ToolAnnotations};
use serde_json::Value;

use crate::error::ServeError;
use crate::paging::page;
use crate::{session, structured};

/// The tools that are served, out of all there are.
pub(crate) struct Catalog {
    tools: Arc<dyn Tools>,
    patterns: Vec<ToolPattern>,
}

impl Catalog {
    /// # Errors
    /// An entry is no pattern.
    pub(crate) fn new(tools: Arc<dyn Tools>, patterns: &[String]) -> Result<Catalog, ServeError> {
        let patterns = patterns.iter().map(|text| text.parse().map_err(ServeError::Pattern));
        let catalog = Catalog { tools, patterns: patterns.collect::<Result<_, _>>()? };
        let all = catalog.tools.tools();
        for pattern in &catalog.patterns {
            if !all.iter().any(|tool| pattern.matches(&tool.id)) {
                tracing::warn!("the pattern `{pattern}` stands for no tool there is now");
            }
        }
        Ok(catalog)
    }

    pub(crate) fn tools(&self) -> &dyn Tools {
        &*self.tools
    }

    /// The tool with a name for models; also where a principal may not call it: the call is denied
    /// then, by a message that says so.
    ///
    /// # Errors
    /// There is none, or it is not served.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<ToolDefinition>, ErrorData> {
        let mut tools = self.tools.tools().into_iter();
        tools.find(|tool| tool.model_name() == name && self.serves(tool)).ok_or_else(|| {
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
        for tool in tools.filter(|tool| self.serves(tool)) {
            // As in `find`, the first one of a name has it.
            named.entry(tool.model_name()).or_insert(tool);
        }
        let (page, next) = page(named, cursor)?;
        let tools = page.iter().map(|(name, tool)| describe(name, tool, version)).collect();
        let mut result = ListToolsResult::with_all_items(tools);
        result.next_cursor = next;
        Ok(result)
    }

    fn serves(&self, tool: &ToolDefinition) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(&tool.id))
    }
}

pub(crate) fn describe(name: &str, tool: &ToolDefinition, version: &ProtocolVersion) -> Tool {
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
