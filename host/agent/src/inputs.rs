//! What an agent's prompt needs from its caller.

use std::sync::Arc;

use ampoule_contract::Problem;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::{Map, Value, json};

use crate::error::AgentError;

/// The name under which an agent that is a tool takes its task; no input may have it.
pub(crate) const TASK: &str = "task";

/// Bytes that a compiled pattern of a schema may take.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The declared inputs, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    properties: Map<String, Value>,
    validator: Arc<Validator>,
}

impl Inputs {
    /// Compiles the declarations: names and JSON Schemas.
    ///
    /// # Errors
    /// The first name that a template could not use, the first schema that is not one, the first
    /// default that its own schema refuses.
    pub(crate) fn new(properties: &Map<String, Value>) -> Result<Inputs, AgentError> {
        for (name, schema) in properties {
            check(name, schema)
                .map_err(|message| AgentError::InputSchema { name: name.clone(), message })?;
        }
        let properties = properties.clone();
        let validator = compile(&object_schema(&properties))
            .map_err(|message| AgentError::InputSchema { name: "*".into(), message })?;
        Ok(Inputs { properties, validator: Arc::new(validator) })
    }

    /// Their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.keys().map(String::as_str)
    }

    /// `given` with the defaults of what is absent.
    ///
    /// # Errors
    /// One is unknown, absent without a default, or not what its schema asks for.
    pub(crate) fn resolve(
        &self,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Problem> {
        let mut inputs = given.clone();
        for (name, schema) in &self.properties {
            if let Some(default) = schema.get("default") {
                inputs.entry(name).or_insert_with(|| default.clone());
            }
        }
        let inputs = Value::Object(inputs);
        self.validator.validate(&inputs).map_err(|error| Problem {
            path: Some(error.instance_path().to_string()),
            message: error.to_string(),
        })?;
        match inputs {
            Value::Object(inputs) => Ok(inputs),
            _ => Ok(Map::new()),
        }
    }

    /// The schema of the arguments of the agent as a tool: the task and the inputs.
    pub(crate) fn tool_schema(&self) -> Value {
        let task = json!({ "type": "string", "minLength": 1, "description": "What to do." });
        let mut properties = Map::from_iter([(TASK.to_owned(), task)]);
        properties.extend(self.properties.clone());
        object_schema(&properties)
    }
}

fn object_schema(properties: &Map<String, Value>) -> Value {
    let required: Vec<_> = properties
        .iter()
        .filter(|(_, schema)| schema.get("default").is_none())
        .map(|(name, _)| name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn check(name: &str, schema: &Value) -> Result<(), String> {
    let letter = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !letter || !rest || name.len() > 64 {
        return Err(
            "a name has at most 64 lower-case letters, digits and `_`, a letter first".into()
        );
    }
    if name == TASK {
        return Err("the name is taken by the task itself".into());
    }
    let Some(object) = schema.as_object() else {
        return Err("write a JSON Schema, such as `{ type: string }`".into());
    };
    if object.get("required").is_some_and(Value::is_boolean) {
        return Err("an input is required unless it has a `default`; leave `required` out".into());
    }
    let validator = compile(schema)?;
    match object.get("default") {
        Some(default) => validator.validate(default).map_err(|error| format!("default: {error}")),
        None => Ok(()),
    }
}

/// Compiles a schema: no remote references, linear-time patterns.
fn compile(schema: &Value) -> Result<Validator, String> {
    struct NoRetrieval;
    impl Retrieve for NoRetrieval {
        fn retrieve(
            &self,
            uri: &Uri<String>,
        ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
            Err(format!("schemas may not refer to other documents (`{uri}`)").into())
        }
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(NoRetrieval)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
        .build(schema)
        .map_err(|error| error.to_string())
}
