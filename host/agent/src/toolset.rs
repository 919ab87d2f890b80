//! The tools of a run, as they are when it starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampoule_contract::{Denial, ModelTool, ToolDefinition, ToolError, ToolPattern, Tools};
use serde_json::json;

use crate::error::{AgentError, list};
use crate::event::ToolVersion;

/// The longest name of a tool that models take, by the contract.
const MAX_NAME: usize = 64;

/// A snapshot of the tools an agent may use, by the names a model knows them under.
#[derive(Debug)]
pub(crate) struct Toolset {
    tools: BTreeMap<String, Arc<ToolDefinition>>,
}

/// Why a call does not reach a tool.
pub(crate) struct Refusal {
    /// One word, as receipts have it.
    pub(crate) end: &'static str,
    /// What the model is told.
    pub(crate) error: ToolError,
    /// For the receipt, where something was not granted.
    pub(crate) denial: Option<Denial>,
}

impl Refusal {
    pub(crate) fn failed(error: ToolError) -> Box<Refusal> {
        Box::new(Refusal { end: "failed", error, denial: None })
    }
}

impl Toolset {
    /// The tools that match `patterns` and, where the caller narrows them, are among `allowed`.
    ///
    /// # Errors
    /// A pattern matches nothing, or a model cannot be offered a tool under its name.
    pub(crate) fn snapshot(
        tools: &dyn Tools,
        patterns: &[ToolPattern],
        allowed: Option<&[String]>,
    ) -> Result<Toolset, AgentError> {
        let all = tools.tools();
        if let Some(pattern) =
            patterns.iter().find(|pattern| !all.iter().any(|tool| pattern.matches(&tool.id)))
        {
            return Err(AgentError::NoSuchTool {
                entry: pattern.as_str().to_owned(),
                known: all.iter().map(|tool| tool.id.clone()).collect(),
            });
        }
        let mut chosen: BTreeMap<_, Arc<ToolDefinition>> = BTreeMap::new();
        for tool in all {
            let granted = allowed.is_none_or(|allowed| allowed.contains(&tool.id));
            if !granted || !patterns.iter().any(|pattern| pattern.matches(&tool.id)) {
                continue;
            }
            let refused = |message| AgentError::ToolName { tool: tool.id.clone(), message };
            let name = tool.model_name();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
                return Err(refused(format!(
                    "`{name}` is not a name of at most {MAX_NAME} letters, digits, `-` and `_`"
                )));
            }
            if let Some(other) = chosen.get(&name) {
                return Err(refused(format!("`{}` has the same name `{name}`", other.id)));
            }
            chosen.insert(name, tool);
        }
        Ok(Toolset { tools: chosen })
    }

    /// The tools as a model is offered them, in byte order of their names.
    pub(crate) fn offered(&self) -> Vec<ModelTool> {
        let offer = |(name, tool): (&String, &Arc<ToolDefinition>)| ModelTool {
            name: name.clone(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
        };
        self.tools.iter().map(offer).collect()
    }

    /// Ids and digests.
    pub(crate) fn versions(&self) -> Vec<ToolVersion> {
        let tools = self.tools.values();
        tools.map(|tool| ToolVersion { id: tool.id.clone(), digest: tool.digest.clone() }).collect()
    }

    /// Ids.
    pub(crate) fn ids(&self) -> Arc<[String]> {
        self.tools.values().map(|tool| tool.id.clone()).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The id of the tool that a model calls `name`, or `name` itself.
    pub(crate) fn id_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.tools.get(&name.replace('/', "__")).map_or(name, |tool| &tool.id)
    }

    /// The tool that a model calls `name`, if it is still what it was at the start.
    ///
    /// # Errors
    /// There is no such tool, the agent may not use it, or `now` holds another version of it.
    pub(crate) fn find(
        &self,
        name: &str,
        now: &[Arc<ToolDefinition>],
    ) -> Result<&ToolDefinition, Box<Refusal>> {
        let current = |id: &str| now.iter().find(|tool| tool.id == id || tool.model_name() == id);
        let Some(tool) = self.tools.get(&name.replace('/', "__")) else {
            return Err(self.refusal(name, current(name).is_some()));
        };
        if !current(&tool.id).is_some_and(|current| **current == **tool) {
            let message = format!(
                "the tool `{name}` has changed since this run began and is out of its reach; \
                 a new run will see what it is now"
            );
            return Err(Refusal::failed(ToolError::new("conflict", message)));
        }
        Ok(tool)
    }

    fn refusal(&self, name: &str, exists: bool) -> Box<Refusal> {
        let names: Vec<_> = self.tools.keys().collect();
        let data = json!({ "allowed": names });
        let allowed = list(&names);
        if !exists {
            let message = format!("there is no tool `{name}`; this agent may use: {allowed}");
            let error = ToolError { data: Some(data), ..ToolError::new("not-found", message) };
            return Box::new(Refusal { end: "denied", error, denial: None });
        }
        let message = format!("this agent may not use the tool `{name}`; it may use: {allowed}");
        let denial = Denial {
            gate: "agent",
            message: format!("the agent may not use the tool `{name}`"),
            allow: Some(format!("`{name}` in `tools` of the agent file")),
        };
        let error = ToolError { data: Some(data), ..ToolError::new("denied", message) };
        Box::new(Refusal { end: "denied", error, denial: Some(denial) })
    }
}
