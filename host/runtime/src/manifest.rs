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

/// The most tools, examples of a tool, and requests of a kind.
const MAX_ENTRIES: usize = 256;

/// The longest description or other text, in bytes: 16 KiB.
const MAX_TEXT_BYTES: usize = 16 << 10;

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
    /// The group of the catalogue it belongs to, such as `data` or `web`: lower-case letters and
    /// `-`, beginning with a letter, at most 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Whether its instances may be kept between the calls of a session. Default: each call gets
    /// a fresh one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sessions: bool,
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
    /// Services it may use: letters, digits, `-` and `_`, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Secrets it may use by name: letters, digits, `-` and `_`, at most 64.
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

    /// Bounds and names, of these requests alone; `at` is where they stand.
    pub(crate) fn check(&self, at: &str) -> Result<(), String> {
        for (kind, count) in [
            ("http", self.http.len()),
            ("tools", self.tools.len()),
            ("services", self.services.len()),
            ("secrets", self.secrets.len()),
        ] {
            check_count(&format!("`{at}.{kind}`"), count)?;
        }
        for service in &self.services {
            check_name("service", service)?;
        }
        for (name, secret) in &self.secrets {
            check_name("secret", name)?;
            check_text(&format!("the description of the secret `{name}`"), &secret.description)?;
            check_count(&format!("the audience of the secret `{name}`"), secret.audience.len())?;
        }
        Ok(())
    }
}

impl ToolManifest {
    /// Digest of what a model or caller is told of it, in canonical order.
    pub(crate) fn digest(&self) -> String {
        let told = ToolManifest { examples: Vec::new(), ..self.clone() };
        let mut value = serde_json::to_value(told).unwrap_or_default();
        value.sort_all_objects();
        crate::digest::of(value.to_string().as_bytes())
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        check_name("tool", &self.name)?;
        let of = |what: &str| format!("{what} of `{}`", self.name);
        check_text(&of("the title"), self.title.as_deref().unwrap_or_default())?;
        check_text(&of("the description"), &self.description)?;
        check_count(&of("the examples"), self.examples.len())?;
        for example in &self.examples {
            let title = example.title.as_deref().unwrap_or_default();
            check_text(&of("the title of an example"), title)?;
        }
        if self.input_schema.get("type").and_then(Value::as_str) != Some("object") {
            let schema = of("the input schema");
            return Err(format!("{schema} must have \"type\": \"object\" at its root"));
        }
        Ok(())
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
                shown(&self.name)
            ));
        }
        semver::Version::parse(&self.version)
            .map_err(|error| format!("version `{}`: {error}", shown(&self.version)))?;
        check_text("the version", &self.version)?;
        check_text("the summary", &self.summary)?;
        check_text("the licence", self.license.as_deref().unwrap_or_default())?;
        if let Some(group) = self.group.as_deref().filter(|group| !is_group(group)) {
            return Err(format!(
                "the group `{}` is not lower-case letters and `-`, beginning with a letter (at \
                 most 32)",
                shown(group)
            ));
        }
        limits(&self.limits)?;
        self.capabilities.check("capabilities")?;
        if let Some(optional) = self.capabilities.optional.as_deref() {
            if optional.optional.is_some() {
                return Err("`capabilities.optional` cannot hold another `optional`".into());
            }
            optional.check("capabilities.optional")?;
        }
        check_count("`services`", self.services.len())?;
        for service in &self.services {
            check_name("service", service)?;
        }
        check_count("`tools`", self.tools.len())?;
        let mut names = std::collections::BTreeSet::new();
        for tool in &self.tools {
            tool.check()?;
            if !names.insert(&tool.name) {
                return Err(format!("there are two tools called `{}`", tool.name));
            }
        }
        self.check_effects()
    }

    /// Where every tool says it changes nothing, the plugin may not ask for what writes.
    ///
    /// It cannot be asked of each tool: a request is the plugin's, its tools share its imports, and
    /// nothing tells which of them uses which. So where one tool writes, that the others do not is
    /// their author's word.
    fn check_effects(&self) -> Result<(), String> {
        let tools = match self.tools.as_slice() {
            tools if tools.iter().any(|tool| !tool.effects.read_only) => return Ok(()),
            [] => return Ok(()),
            [tool] => format!("`{}` says it is", tool.name),
            _ => "all tools say they are".to_owned(),
        };
        let all = self.capabilities.all();
        if all.files == Some(FileAccess::ReadWrite) {
            return Err(format!("{tools} read-only, but the plugin asks to write files"));
        }
        match all.http.iter().find(|pattern| !pattern.only_reads()) {
            Some(pattern) => Err(format!(
                "{tools} read-only, but the plugin asks for `{pattern}`; mark the pattern \
                 `reads = true` if such requests change nothing"
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

/// Whether `name` can name a group of the catalogue.
fn is_group(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// Whether `name` can name a tool, a service or a secret.
pub(crate) fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    match is_tool_name(name) {
        true => Ok(()),
        false => Err(format!(
            "the {what} name `{}` is not letters, digits, `-` and `_` (at most 64)",
            shown(name)
        )),
    }
}

fn check_count(what: &str, count: usize) -> Result<(), String> {
    match count > MAX_ENTRIES {
        true => Err(format!("{what} has {count} entries; the most is {MAX_ENTRIES}")),
        false => Ok(()),
    }
}

fn check_text(what: &str, text: &str) -> Result<(), String> {
    match text.len() > MAX_TEXT_BYTES {
        true => Err(format!("{what} is longer than {MAX_TEXT_BYTES} bytes")),
        false => Ok(()),
    }
}

/// As much of a name that cannot be one as a message needs.
fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
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
    /// The group of the catalogue it belongs to: data, text, documents, logic, time-and-ids,
    /// safety, code, web, models, files, or another of lower-case letters and `-`.
    pub group: Option<String>,
    /// Whether its instances may be kept between the calls of a session. Default: no.
    pub sessions: bool,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A manifest with `change` made to it, read as a host reads it.
    fn read(change: impl FnOnce(&mut Value)) -> Result<Manifest, String> {
        let mut manifest = json!({
            "name": "probe", "version": "1.0.0", "summary": "Probes",
            "capabilities": {},
            "tools": [tool("one", true)],
        });
        change(&mut manifest);
        Manifest::from_section(manifest.to_string().as_bytes())
    }

    fn tool(name: &str, read_only: bool) -> Value {
        json!({
            "name": name, "description": "A tool",
            "input-schema": { "type": "object" }, "effects": { "read-only": read_only },
        })
    }

    /// What is wrong with a manifest that has these capabilities.
    fn refused(capabilities: Value) -> String {
        read(|manifest| manifest["capabilities"] = capabilities).unwrap_err()
    }

    #[test]
    fn names_of_secrets_and_services_are_checked() {
        assert!(read(|_| {}).is_ok());
        let good = json!({ "services": ["llm"], "secrets": { "api_Key-1": {} } });
        assert!(read(|manifest| manifest["capabilities"] = good).is_ok());
        let long = "x".repeat(65);
        for bad in ["", "a b", "a.b", "a/b", "a\n[secrets]", "é", "*", &long] {
            let named = |what: &str| format!("the {what} name `");
            let secrets = json!({ "secrets": { bad: {} } });
            assert!(refused(secrets.clone()).starts_with(&named("secret")), "{bad:?}");
            assert!(refused(json!({ "optional": secrets })).starts_with(&named("secret")));
            assert!(refused(json!({ "services": [bad] })).starts_with(&named("service")));
            let serves = read(|manifest| manifest["services"] = json!([bad]));
            assert!(serves.unwrap_err().starts_with(&named("service")), "{bad:?}");
        }
        let endless = refused(json!({ "services": ["\n".repeat(100_000)] }));
        assert!(endless.len() < 300 && !endless.contains('\n'), "{endless}");
    }

    #[test]
    fn groups_are_words() {
        let group = |name: &str| read(|manifest| manifest["group"] = json!(name));
        let manifest = group("time-and-ids").expect("a group");
        assert_eq!(manifest.group.as_deref(), Some("time-and-ids"));
        assert!(!manifest.sessions);
        let long = "x".repeat(33);
        for bad in ["", "Data", "a b", "a1", "-a", "a\nb", "é", &long] {
            let error = group(bad).unwrap_err();
            assert!(error.starts_with("the group `") && !error.contains('\n'), "{bad:?}: {error}");
        }
        let kept = read(|manifest| manifest["sessions"] = json!(true));
        assert!(kept.is_ok_and(|manifest| manifest.sessions));
    }

    #[test]
    fn counts_and_lengths_are_bounded() {
        let many = |n: usize, one: &dyn Fn(usize) -> Value| (0..n).map(one).collect::<Value>();
        let secrets = |n: usize| {
            let named = (0..n).map(|i| (format!("s{i}"), json!({})));
            Value::Object(named.collect())
        };
        let lists = |n: usize| {
            [
                json!({ "http": many(n, &|i| json!(format!("GET https://a{i}.test/"))) }),
                json!({ "tools": many(n, &|i| json!(format!("t{i}"))) }),
                json!({ "services": many(n, &|i| json!(format!("s{i}"))) }),
                json!({ "secrets": secrets(n) }),
            ]
        };
        for most in lists(MAX_ENTRIES) {
            assert!(read(|manifest| manifest["capabilities"] = most).is_ok());
        }
        for more in lists(MAX_ENTRIES + 1) {
            assert!(refused(more.clone()).contains("has 257 entries; the most is 256"));
            assert!(refused(json!({ "optional": more })).contains("`capabilities.optional."));
        }
        let tools = |n| many(n, &|i| tool(&format!("t{i}"), true));
        assert!(read(|manifest| manifest["tools"] = tools(MAX_ENTRIES)).is_ok());
        assert!(read(|manifest| manifest["tools"] = tools(MAX_ENTRIES + 1)).is_err());
        let examples = |n| many(n, &|_| json!({ "arguments": {} }));
        let with = |n| read(|manifest| manifest["tools"][0]["examples"] = examples(n));
        assert!(with(MAX_ENTRIES).is_ok());
        assert!(with(MAX_ENTRIES + 1).unwrap_err().starts_with("the examples of `one`"));

        let text = |n| json!("x".repeat(n));
        for (at, problem) in [
            ("/summary", "the summary is longer"),
            ("/license", "the licence is longer"),
            ("/tools/0/title", "the title of `one` is longer"),
            ("/tools/0/description", "the description of `one` is longer"),
            ("/tools/0/examples/0/title", "the title of an example of `one` is longer"),
            ("/capabilities/secrets/k/description", "the description of the secret `k` is longer"),
        ] {
            let with = |n| {
                read(|manifest| {
                    manifest["license"] = json!("");
                    manifest["tools"][0]["title"] = json!("");
                    manifest["tools"][0]["examples"] = json!([{ "title": "", "arguments": {} }]);
                    manifest["capabilities"] = json!({ "secrets": { "k": { "description": "" } } });
                    *manifest.pointer_mut(at).expect("there") = text(n);
                })
            };
            assert!(with(MAX_TEXT_BYTES).is_ok(), "{at}");
            let error = with(MAX_TEXT_BYTES + 1).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn where_all_tools_only_read_nothing_that_writes_is_asked_for() {
        let post = "POST https://a.test/";
        let with = |tools: &[Value], capabilities: &Value| {
            read(|manifest| {
                manifest["tools"] = json!(tools);
                manifest["capabilities"] = capabilities.clone();
            })
        };
        let (reads, writes) = (tool("one", true), tool("two", false));
        for asked in [
            json!({ "files": "read-write" }),
            json!({ "optional": { "files": "read-write" } }),
            json!({ "http": [post] }),
            json!({ "optional": { "http": ["GET https://a.test/", post] } }),
        ] {
            let one = with(std::slice::from_ref(&reads), &asked).unwrap_err();
            assert!(one.starts_with("`one` says it is read-only, but"), "{one}");
            let two = with(&[reads.clone(), tool("other", true)], &asked).unwrap_err();
            assert!(two.starts_with("all tools say they are read-only, but"), "{two}");
            assert!(with(&[reads.clone(), writes.clone()], &asked).is_ok(), "{asked}");
            assert!(with(&[], &asked).is_ok(), "{asked}");
        }
        for asked in [
            json!({ "files": "read", "http": ["GET,HEAD https://a.test/"] }),
            json!({ "http": [{ "pattern": post, "reads": true }] }),
        ] {
            assert!(with(&[reads.clone(), tool("other", true)], &asked).is_ok(), "{asked}");
        }
    }
}
