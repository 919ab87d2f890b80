//! The settings at the head of an agent file.

use std::fmt;

use ampoule_contract::ToolPattern;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::limits::AgentLimits;
use crate::scalar;

/// The front matter of an agent file. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "agent")]
pub struct FrontMatter {
    /// What the agent is called, and its id as a tool: lower-case letters, digits and `-`,
    /// beginning with a letter, at most 64 characters.
    #[serde(deserialize_with = "agent_name")]
    #[schemars(regex(pattern = r"^[a-z][a-z0-9-]{0,63}$"))]
    pub name: String,
    /// What it does and when to use it, for people and for other agents. Not empty, at most 1,024
    /// characters.
    #[serde(deserialize_with = "description")]
    #[schemars(length(min = 1, max = 1024))]
    pub description: String,
    /// The model it asks: a binding, or a binding and the name of a model.
    pub model: ModelRef,
    /// The tools it may use, by id; `*` stands for any characters, and a binding alone for all its
    /// tools. Each entry must match something. Default: none.
    #[serde(default)]
    pub tools: Vec<ToolPattern>,
    /// What the prompt needs from the caller: each a name and a JSON Schema. An input is required
    /// unless its schema has a `default`. Default: none.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// What one run may do at most.
    #[serde(default)]
    pub limits: AgentLimits,
    /// How the model is asked.
    #[serde(default)]
    pub options: ModelOptions,
}

/// A model by name: `binding`, whose own default model is asked, or `binding/model`.
///
/// Everything after the first `/` is the provider's name of the model and may hold more of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// The binding of the connector, or `echo` or `scripted`.
    pub binding: String,
    /// The provider's name of the model; for `scripted`, the script's path from the folder of the
    /// agent file. Empty: the binding's default.
    pub model: String,
}

impl ModelRef {
    /// Reads `binding` or `binding/model`.
    ///
    /// # Errors
    /// The binding is not made of letters, digits, `-` and `_`, or nothing follows the `/`.
    pub fn parse(text: &str) -> Result<ModelRef, String> {
        let (binding, model) = match text.split_once('/') {
            Some((_, "")) => return Err(format!("`{text}` names no model after the `/`")),
            Some((binding, model)) => (binding, model),
            None => (text, ""),
        };
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if binding.is_empty() || !binding.chars().all(named) || model.len() > 1024 {
            return Err(format!("`{text}` is not a model: write `binding` or `binding/model`"));
        }
        Ok(ModelRef { binding: binding.to_owned(), model: model.to_owned() })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.binding)?;
        if self.model.is_empty() { Ok(()) } else { write!(f, "/{}", self.model) }
    }
}

impl<'de> Deserialize<'de> for ModelRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar::text(deserializer, ModelRef::parse)
    }
}

impl JsonSchema for ModelRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Model".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+(/.+)?$" })
    }
}

/// How the model is asked: those options of the contract's `llm` requests that are an author's to
/// choose. `max-tokens` follows from the limits, and `tool-choice` belongs to the loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ModelOptions {
    /// How freely the model chooses its words, from 0; the upper end is the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The share of likely words it chooses from, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Texts that end its answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// JSON Schema of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<Map<String, Value>>,
    /// How much it thinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    /// A seed, for providers that promise the same answer for the same seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// A name for the person behind the run, as some providers ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Anything else, merged into the provider's own request last.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub provider: Map<String, Value>,
}

/// How much a model thinks: by tokens or in a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Thinking {
    /// Tokens it may think for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<u64>,
    /// The provider's word: `low`, `medium`, `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
}

fn agent_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    scalar::text(deserializer, |name| {
        let letter = name.starts_with(|c: char| c.is_ascii_lowercase());
        let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if letter && rest && name.len() <= 64 {
            return Ok(name.to_owned());
        }
        Err(format!(
            "`{name}` is not a name: use at most 64 lower-case letters, digits and `-`, \
             a letter first"
        ))
    })
}

fn description<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    scalar::text(deserializer, |text| match text.chars().count() {
        1..=1024 if !text.trim().is_empty() => Ok(text.to_owned()),
        n => Err(format!("it has {n} characters; write 1 to 1,024 of them")),
    })
}
