//! What can be called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tool or component of a binding, as a caller sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ToolDefinition {
    /// `binding/name`; the binding alone where it has one tool.
    pub id: String,
    /// The binding that provides it.
    pub binding: String,
    /// Its name inside the plugin.
    pub name: String,
    /// Whether it is a function or a node with ports.
    pub kind: ToolKind,
    /// A short title for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does and when to use it, for a model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments; its root is an object. For a component, of an
    /// object with `settings` and `inputs`.
    pub input_schema: Value,
    /// JSON Schema of the value, where the plugin gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What calling it may change.
    pub effects: Effects,
    /// Whether calls may share an instance, as a [`Session`](crate::Session).
    #[serde(skip_serializing_if = "is_false")]
    pub sessions: bool,
    /// Calls and what they answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// Digest of the plugin's file, `sha256:…`.
    pub digest: String,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl ToolDefinition {
    /// The name to offer a model: the id with `/` as `__`, since models take only letters,
    /// digits, `-` and `_`.
    pub fn model_name(&self) -> String {
        self.id.replace('/', "__")
    }
}

/// Whether a tool is a function or a node with ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ToolKind {
    /// A function: arguments in, a value out.
    #[default]
    Tool,
    /// A node: settings and named inputs in, the ports that fired out.
    Component,
}

/// What calling a tool may change, in the four words of the Model Context Protocol.
///
/// The defaults are that protocol's: the worst, until the plugin says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Effects {
    /// Changes nothing outside itself. Default: false.
    pub read_only: bool,
    /// May overwrite or remove. Means nothing for a read-only tool. Default: true.
    pub destructive: bool,
    /// A second call with the same arguments changes nothing more. Default: false.
    pub idempotent: bool,
    /// Meets an open set of others, such as the web. Default: true.
    pub open_world: bool,
}

impl Default for Effects {
    fn default() -> Self {
        Effects { read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

/// A call and what it answers: a test, a help text and a hint for a model in one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Example {
    /// What it shows, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The arguments.
    pub arguments: Value,
    /// The value it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The code of the error it answers instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
