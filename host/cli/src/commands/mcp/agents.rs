//! Agents that are served: each as a tool, which runs it, and as a prompt, which has the client's own
//! model do what it would do.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ampoule::{Call, End, Host, HostBuilder, Outcome, ToolDefinition, ToolError, Tools, json};
use ampoule_agent::{Agent, AgentFile, AgentTool};
use ampoule_server::Prompts;
use ampoule_server::model::{
    GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role,
};
use serde_json::{Map, Value};

use crate::commands::run::Wanted;
use crate::exit::Failure;
use crate::setup::Setup;

/// The argument of a prompt that says what is to be done, as it is called where the agent is a tool.
const TASK: &str = "task";

/// The agents of the command line.
pub(super) struct Agents {
    files: Vec<(AgentFile, PathBuf)>,
    /// There once there is a host for them to work in.
    tools: OnceLock<Vec<AgentTool>>,
}

impl Agents {
    /// # Errors
    /// A file is not valid, or two have one name.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Arc<Agents>, Failure> {
        let mut files: Vec<(AgentFile, PathBuf)> = Vec::new();
        for path in paths {
            let file = AgentFile::open(path)
                .map_err(|error| Failure::configuration(format!("{}: {error}", path.display())))?;
            let name = &file.front_matter().name;
            if let Some((_, other)) = files.iter().find(|(f, _)| f.front_matter().name == *name) {
                let (one, two) = (other.display(), path.display());
                let message = format!("the agents {one} and {two} are both called `{name}`");
                return Err(Failure::configuration(message));
            }
            files.push((file, path.clone()));
        }
        Ok(Arc::new(Agents { files, tools: OnceLock::new() }))
    }

    /// Binds the models that the agents ask, where the configuration leaves it open.
    ///
    /// # Errors
    /// As [`Wanted::prepare`].
    pub(super) fn prepare(&self, setup: &mut Setup) -> Result<(), Failure> {
        self.wanted().try_for_each(|wanted| wanted.prepare(&mut setup.config))
    }

    /// Adds the agents to the tools of a host, which judges and records their calls as any other.
    pub(super) fn add_to(self: &Arc<Agents>, builder: HostBuilder) -> HostBuilder {
        match self.files.is_empty() {
            true => builder,
            false => builder.tools(self.clone()),
        }
    }

    /// Has the agents work in a host.
    ///
    /// # Errors
    /// A model is not there, or a tool that an agent names; or a binding has an agent's name.
    pub(super) fn work_in(&self, host: &Host) -> Result<(), Failure> {
        let mut tools = Vec::new();
        for ((file, path), wanted) in self.files.iter().zip(self.wanted()) {
            let failed = |why: String| Failure::configuration(format!("{}: {why}", path.display()));
            let name = &file.front_matter().name;
            if host.bindings().iter().any(|binding| binding.name == *name) {
                return Err(failed(format!("there is a binding `{name}` too")));
            }
            file.validate(host).map_err(|error| failed(error.to_string()))?;
            let model = wanted.find(host)?;
            tools.push(AgentTool::new(Agent::new(file.clone(), model, Arc::new(host.clone()))));
        }
        // It is called once.
        let _ = self.tools.set(tools);
        Ok(())
    }

    /// As prompts; nothing, where there are none.
    pub(super) fn prompts(self: &Arc<Agents>) -> Option<Arc<dyn Prompts>> {
        (!self.files.is_empty()).then(|| self.clone() as Arc<dyn Prompts>)
    }

    fn wanted(&self) -> impl Iterator<Item = Wanted> {
        self.files.iter().map(|(file, path)| Wanted::new(file, path, None, None))
    }

    fn all(&self) -> &[AgentTool] {
        self.tools.get().map_or(&[], Vec::as_slice)
    }
}

#[async_trait::async_trait]
impl Tools for Agents {
    fn tools(&self) -> Vec<Arc<ToolDefinition>> {
        let mut all: Vec<_> = self.all().iter().flat_map(AgentTool::tools).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    async fn call(&self, call: Call) -> Outcome {
        let is_called = |agent: &&AgentTool| agent.tools().iter().any(|tool| tool.id == call.tool);
        match self.all().iter().find(is_called) {
            Some(agent) => agent.call(call).await,
            // Nobody is told of a tool before it is there.
            None => {
                let end = End::Failed(ToolError::new("not-found", "there is no such agent"));
                let receipt = ampoule::Receipt::empty(String::new(), call.tool, end.word());
                Outcome { end, receipt }
            }
        }
    }
}

#[async_trait::async_trait]
impl Prompts for Agents {
    fn prompts(&self, _: Option<&str>) -> Vec<Prompt> {
        let prompt = |(file, _): &(AgentFile, PathBuf)| {
            let settings = file.front_matter();
            let required = file.tool_schema()["required"].clone();
            let is_required = |name: &str| {
                let names = required.as_array().into_iter().flatten();
                names.filter_map(Value::as_str).any(|required| required == name)
            };
            let task = PromptArgument::new(TASK)
                .with_description("What is to be done")
                .with_required(is_required(TASK));
            let inputs = settings.inputs.iter().map(|(name, schema)| {
                let argument = PromptArgument::new(name).with_required(is_required(name));
                match schema["description"].as_str() {
                    Some(about) => argument.with_description(about),
                    None => argument,
                }
            });
            let arguments = [task].into_iter().chain(inputs).collect();
            Prompt::new(&settings.name, Some(&settings.description), Some(arguments))
        };
        self.files.iter().map(prompt).collect()
    }

    async fn get(
        &self,
        name: &str,
        arguments: &JsonObject,
        _: Option<&str>,
    ) -> Result<Option<GetPromptResult>, String> {
        let Some((file, _)) = self.files.iter().find(|(f, _)| f.front_matter().name == name) else {
            return Ok(None);
        };
        let mut arguments = arguments.clone();
        let task = match arguments.remove(TASK) {
            None => String::new(),
            Some(Value::String(task)) => task,
            Some(_) => return Err(format!("`{TASK}` is a text")),
        };
        let inputs = &file.front_matter().inputs;
        let read = |(name, value): (String, Value)| {
            let value = read(inputs.get(&name), value);
            (name, value)
        };
        let inputs: Map<_, _> = arguments.into_iter().map(read).collect();
        let prompt = file.render(&inputs).map_err(|error| error.to_string())?;
        let text = [prompt.trim(), task.trim()].join("\n\n");
        let message = PromptMessage::new_text(Role::User, text.trim_end());
        Ok(Some(GetPromptResult::new(vec![message])))
    }
}

/// An argument as its schema has it: those of prompts are texts.
fn read(schema: Option<&Value>, value: Value) -> Value {
    let is_text = schema.is_none_or(|schema| schema["type"] == "string");
    let parsed = value.as_str().filter(|_| !is_text).and_then(|text| json::parse(text).ok());
    parsed.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_prompts_are_read_within_bounds() {
        let list = serde_json::json!({"type": "array"});
        assert_eq!(read(Some(&list), "[1, 2]".into()), serde_json::json!([1, 2]));
        assert_eq!(read(None, "[1, 2]".into()), Value::from("[1, 2]"));
        let many = format!("[{}0]", "0,".repeat(json::MAX_NODES));
        assert!(read(Some(&list), many.into()).is_string());
    }
}
