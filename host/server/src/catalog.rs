//! Which tools a client sees, and how each is described to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use ampoule_contract::{ToolDefinition, ToolPattern, Tools};
use arc_swap::{ArcSwap, Guard};
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
        let mut changes = tools.changes();
        changes.iter_mut().for_each(watch::Receiver::mark_unchanged);
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
        // What was said last is seen also where nobody is there any more who could say something.
        let changed = |changes: &watch::Receiver<u64>| {
            changes.has_changed().unwrap_or_else(|_| changes.borrow().has_changed())
        };
        !self.changes.as_ref().is_some_and(changed)
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
        let named = Named::new(&*tools, &patterns);
        for pattern in &patterns {
            if !named.tools.values().any(|tool| pattern.matches(&tool.definition.id)) {
                tracing::warn!("the pattern `{pattern}` stands for no tool there is now");
            }
        }
        let named = ArcSwap::from_pointee(named);
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
        let mut named = self.named.load();
        if !named.is_current() {
            let current = Arc::new(Named::new(&*self.tools, &self.patterns));
            self.named.store(current.clone());
            named = Guard::from_inner(current);
        }
        named.tools.get(name).cloned().ok_or_else(|| {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ampoule_contract::{Effects, Outcome, ToolCall, ToolKind};
    use serde_json::json;

    use super::*;

    /// Tools that become others, and whose word of it is a copy of one that has heard nothing.
    struct Changing {
        name: Mutex<String>,
        changes: watch::Receiver<u64>,
        asked: AtomicUsize,
    }

    #[async_trait::async_trait]
    impl Tools for Changing {
        fn tools(&self) -> Vec<Arc<ToolDefinition>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let name = self.name.lock().unwrap().clone();
            vec![Arc::new(ToolDefinition {
                id: name.clone(),
                binding: name.clone(),
                name,
                kind: ToolKind::Tool,
                title: None,
                description: String::new(),
                input_schema: json!({}),
                output_schema: None,
                effects: Effects::default(),
                sessions: false,
                examples: Vec::new(),
                digest: String::new(),
            })]
        }

        fn changes(&self) -> Option<watch::Receiver<u64>> {
            Some(self.changes.clone())
        }

        async fn call(&self, _: ToolCall) -> Outcome {
            unreachable!("nobody calls them")
        }
    }

    #[test]
    fn tools_are_read_again_when_they_have_changed_and_only_then() {
        let (change, changes) = watch::channel(0);
        let (name, asked) = (Mutex::new("a".to_owned()), AtomicUsize::new(0));
        let tools = Arc::new(Changing { name, changes, asked });
        let catalog = Catalog::new(tools.clone(), &["*".to_owned()]).unwrap();
        let becomes = |name: &str| {
            *tools.name.lock().unwrap() = name.to_owned();
            change.send_modify(|count| *count += 1);
        };
        for name in ["a", "b", "c"] {
            becomes(name);
            assert!(catalog.find(name).is_ok());
            let asked = tools.asked.load(Ordering::Relaxed);
            assert!(catalog.find(name).is_ok() && catalog.find("other").is_err());
            assert_eq!(tools.asked.load(Ordering::Relaxed), asked);
        }
        // Also when it is the last that will be heard.
        becomes("d");
        drop(change);
        assert!(catalog.find("c").is_err());
        assert!(catalog.find("d").is_ok());
    }
}
