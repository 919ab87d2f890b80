//! What a plugin says of itself: the manifest inside its file, and `plugin.toml`, which its
//! author writes.
//!
//! The manifest is JSON in the custom section [`SECTION`] of the component. It is data: a host
//! never runs a guest to learn what it is. Both forms are strict; an unknown key refuses the
//! plugin, because a misspelt restriction would otherwise be no restriction.

use std::collections::BTreeMap;
use std::path::Path;

use ampoule_contract::{Effects, Example, Limits, Meter, ToolKind, ToolPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::egress::{AudiencePattern, HttpPattern, Inject};
use crate::error::HostError;

/// The custom section of a component that holds its manifest.
pub const SECTION: &str = "ampoule:manifest";

/// The largest manifest a host reads: 4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// What a plugin is, provides and asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Lower-case letters, digits and `-`, beginning with a letter, at most 64.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// What it is for, in a line.
    pub summary: String,
    /// SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// What it asks for.
    #[serde(default)]
    pub capabilities: Requests,
    /// The limits it needs, where they differ from the host's defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, LimitValue>,
    /// JSON Schema of a binding's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_schema: Option<Value>,
    /// The tools and components it provides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolManifest>,
    /// The services it is a connector for, such as `llm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// A tool or component of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ToolManifest {
    /// Letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// A function or a node.
    #[serde(default)]
    pub kind: ToolKind,
    /// A short title for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does and when to use it, for a model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What calling it may change.
    #[serde(default)]
    pub effects: Effects,
    /// Calls and what they answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// What a plugin cannot do without, and what it can make use of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Requests {
    /// Reading the clock and waiting.
    #[serde(skip_serializing_if = "is_false")]
    pub clock: bool,
    /// Randomness.
    #[serde(skip_serializing_if = "is_false")]
    pub random: bool,
    /// Asking the person behind the call.
    #[serde(skip_serializing_if = "is_false")]
    pub ask: bool,
    /// HTTP requests that match one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpPattern>,
    /// The workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FileAccess>,
    /// Tools it may call, by id; `*` stands for any run of characters but `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolPattern>,
    /// Services it may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Secrets it may use by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRequest>,
    /// The same again, for what it works without too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<Box<Requests>>,
}

/// What may be done with the workspace.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FileAccess {
    /// Read and list.
    Read,
    /// Read, list, write, remove.
    ReadWrite,
}

impl FileAccess {
    /// As files of configuration write it.
    pub const fn name(self) -> &'static str {
        match self {
            FileAccess::Read => "read",
            FileAccess::ReadWrite => "read-write",
        }
    }
}

/// A secret a plugin uses and never reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretRequest {
    /// What it is, for the operator.
    #[serde(default)]
    pub description: String,
    /// The origins it may be sent to. Empty: it is only used to sign, never sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<AudiencePattern>,
    /// Where in a request it is put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<Inject>,
}

/// A limit as files write it: a number in the meter's unit, or a text with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LimitValue {
    /// In the unit of the meter.
    Number(u64),
    /// `64 MiB`, `30 s`, `500M`.
    Text(String),
}

impl Requests {
    /// The required and the optional requests as one list, `optional` left empty.
    pub fn all(&self) -> Requests {
        let mut all = Requests { optional: None, ..self.clone() };
        if let Some(more) = self.optional.as_deref() {
            all.clock |= more.clock;
            all.random |= more.random;
            all.ask |= more.ask;
            all.http.extend(more.http.iter().cloned());
            all.files = all.files.max(more.files);
            all.tools.extend(more.tools.iter().cloned());
            all.services.extend(more.services.iter().cloned());
            all.secrets.extend(more.secrets.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        all
    }
}

impl Manifest {
    /// Reads a manifest from its section.
    ///
    /// # Errors
    /// What is wrong with it: size, syntax, an unknown key, a name or limit that cannot be.
    pub fn from_section(bytes: &[u8]) -> Result<Manifest, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("its manifest is larger than {MAX_BYTES} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "its manifest is not UTF-8")?;
        crate::json::check(text).map_err(|problem| format!("its manifest: {problem}"))?;
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|error| format!("its manifest: {error}"))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks what the types cannot say.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !is_plugin_name(&self.name) {
            return Err(format!(
                "the name `{}` is not lower-case letters, digits and `-` (at most 64)",
                self.name
            ));
        }
        semver::Version::parse(&self.version)
            .map_err(|error| format!("version `{}`: {error}", self.version))?;
        if self.capabilities.optional.as_ref().is_some_and(|inner| inner.optional.is_some()) {
            return Err("`capabilities.optional` cannot hold another `optional`".into());
        }
        limits(&self.limits)?;
        let mut names = std::collections::BTreeSet::new();
        for tool in &self.tools {
            if !is_tool_name(&tool.name) {
                return Err(format!(
                    "the tool name `{}` is not letters, digits, `-` and `_` (at most 64)",
                    tool.name
                ));
            }
            if !names.insert(&tool.name) {
                return Err(format!("there are two tools called `{}`", tool.name));
            }
            if tool.input_schema.get("type").and_then(Value::as_str) != Some("object") {
                return Err(format!(
                    "the input schema of `{}` must have \"type\": \"object\" at its root",
                    tool.name
                ));
            }
            self.check_effects(tool)?;
        }
        Ok(())
    }

    /// A tool that says it changes nothing may not hold a request that writes.
    fn check_effects(&self, tool: &ToolManifest) -> Result<(), String> {
        let all = self.capabilities.all();
        if !tool.effects.read_only || self.tools.len() > 1 {
            return Ok(());
        }
        if all.files == Some(FileAccess::ReadWrite) {
            return Err(format!("`{}` says it is read-only but asks to write files", tool.name));
        }
        match all.http.iter().find(|pattern| !pattern.only_reads()) {
            Some(pattern) => Err(format!(
                "`{}` says it is read-only but asks for `{pattern}`; mark the pattern \
                 `reads = true` if such requests change nothing",
                tool.name
            )),
            None => Ok(()),
        }
    }

    /// The default limits of a call with the plugin's own put over them.
    pub fn limits(&self) -> Limits {
        // Checked when the manifest was read.
        limits(&self.limits).unwrap_or_default()
    }
}

/// The defaults with `entries` put over them.
///
/// # Errors
/// A name that is no limit, or a value that is no number of it.
pub(crate) fn limits(entries: &BTreeMap<String, LimitValue>) -> Result<Limits, String> {
    limits_over(Limits::default(), entries)
}

/// `base` with `entries` put over it.
pub(crate) fn limits_over(
    mut base: Limits,
    entries: &BTreeMap<String, LimitValue>,
) -> Result<Limits, String> {
    for (name, value) in entries {
        let meter: Meter = name.parse()?;
        if meter == Meter::Stack {
            return Err("the stack is the same for all calls; `stack` cannot be set".into());
        }
        let n = match value {
            LimitValue::Number(n) => *n,
            LimitValue::Text(text) => {
                meter.parse(text).map_err(|error| format!("limit `{name}`: {error}"))?
            }
        };
        base.set(meter, n);
    }
    Ok(base)
}

/// Whether `name` can name a plugin or a binding: lower-case letters, digits and `-`, beginning
/// with a letter, at most 64.
pub fn is_plugin_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether `name` can name a tool.
pub(crate) fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_false(value: &bool) -> bool {
    !value
}

/// `plugin.toml`: what an author writes beside the code. What the code's types or `Cargo.toml`
/// already say is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PluginFile {
    /// Default: the name in `Cargo.toml`.
    pub name: Option<String>,
    /// Default: the version in `Cargo.toml`.
    pub version: Option<String>,
    /// Default: the description in `Cargo.toml`.
    pub summary: Option<String>,
    /// Default: the licence in `Cargo.toml`.
    pub license: Option<String>,
    /// What it asks for.
    pub capabilities: Requests,
    /// The limits it needs.
    pub limits: BTreeMap<String, LimitValue>,
    /// JSON Schema of a binding's settings, where the code's types do not give one.
    pub settings_schema: Option<Value>,
    /// What to add to the tools the code describes, or whole tools where it describes none.
    pub tools: BTreeMap<String, ToolFile>,
    /// Services it is a connector for, where the code does not say.
    pub services: Vec<String>,
}

/// A tool in `plugin.toml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ToolFile {
    /// A function or a node.
    pub kind: Option<ToolKind>,
    /// A short title for people.
    pub title: Option<String>,
    /// What it does; needed where the code does not say.
    pub description: Option<String>,
    /// JSON Schema of the arguments; needed where the code does not give one.
    pub input_schema: Option<Value>,
    /// JSON Schema of the value.
    pub output_schema: Option<Value>,
    /// What calling it may change. Default: the worst.
    pub effects: Option<Effects>,
}

impl PluginFile {
    /// Reads `plugin.toml`.
    ///
    /// # Errors
    /// It cannot be read, or is not what a plugin file may be; with the line.
    pub fn read(path: &Path) -> Result<PluginFile, HostError> {
        let text = std::fs::read_to_string(path).map_err(HostError::io(path))?;
        toml::from_str(&text).map_err(|error| HostError::config(path, error))
    }
}
