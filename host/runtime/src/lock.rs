//! `ampoule.lock`, beside `ampoule.toml`: which file each binding stands for, and what of its
//! plugin somebody has accepted.
//!
//! Where there is a lock, it decides before a plugin is bound. A binding that is not in it, and a
//! plugin that asks for more than was accepted, are refused; so is another file than the pinned
//! one, unless the binding names its plugin by a path: then it is being built, and a new file that
//! asks for no more is only noted. Without a lock every plugin is bound as it is.
//!
//! What a plugin asks for is compared conservatively: what cannot be shown to be within what was
//! accepted counts as more. What is left out of a lock was not accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ampoule_contract::{Effects, Meter};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::binary::without_version;
use crate::egress::{AudiencePattern, toml_key};
use crate::error::HostError;
use crate::files;
use crate::manifest::{
    FileAccess, LimitValue, Manifest, Requests, SecretRequest, ToolManifest, is_plugin_name,
    is_tool_name, limits,
};

/// The version of the format.
const VERSION: u32 = 1;

/// The largest lock: 16 MiB.
const MAX_BYTES: u64 = 16 << 20;

/// How many lines of a difference a refusal shows.
const SHOWN_LINES: usize = 32;

/// The longest of them, in characters.
const SHOWN_CHARS: usize = 240;

/// What stands at the top of the file.
const HEADER: &str = "\
# Written by `ampoule accept`: the plugins that were accepted, and what they may ask for.
# Keep it with ampoule.toml. A plugin that asks for more is refused until it is accepted anew.
";

/// A lock: what was accepted, by binding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    #[serde(deserialize_with = "version")]
    version: u32,
    /// The pins, by the names of their bindings.
    #[serde(default)]
    pub bindings: BTreeMap<String, Pin>,
}

impl Default for Lock {
    /// One in which nothing is accepted.
    fn default() -> Lock {
        Lock { version: VERSION, bindings: BTreeMap::new() }
    }
}

/// A plugin's file, and what it asks for and offers, in canonical order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pin {
    /// The plugin's name; of a component without a manifest, the name of its file.
    pub plugin: String,
    /// Its version; absent for a component without a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Digest of its file, `sha256:` and 64 hexadecimal digits.
    #[serde(deserialize_with = "digest")]
    pub digest: String,
    /// What the component imports, with versions. They are compared without.
    #[serde(default)]
    pub imports: BTreeSet<String>,
    /// The services it is a connector for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub serves: BTreeSet<String>,
    /// What its manifest asks for. Nothing for a component without one: it has what is granted.
    #[serde(default)]
    pub capabilities: Requests,
    /// The limits that its manifest sets, in the units of their meters. Others are the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, LimitValue>,
    /// Its tools, and what calling each may do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, ToolPin>,
    /// Those of them that its catalogue offers, and the digests of their definitions as models see
    /// them: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub discovered: BTreeMap<String, String>,
}

/// What calling a tool may do. What is left out it may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ToolPin {
    /// Change something.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub writes: bool,
    /// Overwrite or remove something.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub destroys: bool,
    /// Change something again when it is called again with the same arguments.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeats: bool,
    /// Meet an open set of others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open_world: bool,
}

/// How a plugin stands to what a lock says of its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is the file that was accepted.
    Accepted,
    /// It is another file, which asks for no more.
    OtherFile,
    /// It asks for more.
    Wider,
    /// The lock does not have its binding.
    Missing,
}

impl Lock {
    /// Where the lock of a configuration file is: beside it, with the ending `.lock`.
    pub fn path(config: &Path) -> PathBuf {
        config.with_extension("lock")
    }

    /// Reads a lock; `None` where there is no such file.
    ///
    /// # Errors
    /// It cannot be read or is malformed; with the line.
    pub fn read(path: &Path) -> Result<Option<Lock>, HostError> {
        // A link that leads nowhere is no absent lock: without one everything is bound.
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HostError::io(path)(error)),
            Ok(_) => {}
        }
        let bytes = files::open_regular(path, true)
            .and_then(|file| files::read_bounded(file, MAX_BYTES))
            .map_err(HostError::io(path))?;
        let text = String::from_utf8(bytes).map_err(|error| HostError::config(path, error))?;
        Lock::parse(&text).map(Some).map_err(|error| HostError::config(path, error))
    }

    /// Reads the text of a lock.
    ///
    /// # Errors
    /// What is wrong and in which line.
    pub fn parse(text: &str) -> Result<Lock, String> {
        let lock: Lock = toml::from_str(text).map_err(|error| error.to_string())?;
        for (name, pin) in &lock.bindings {
            let at = |error: String| format!("[bindings.{}]: {error}", toml_key(name));
            if !is_plugin_name(name) {
                return Err(at("a binding's name is lower-case letters, digits and `-`".into()));
            }
            pin.check().map_err(at)?;
        }
        Ok(lock)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// Something in it has no form in TOML.
    pub fn to_text(&self) -> Result<String, String> {
        let text = toml::to_string_pretty(self).map_err(|error| error.to_string())?;
        Ok(format!("{HEADER}{text}"))
    }

    /// How what was found for a binding stands to what was accepted for it.
    pub fn standing(&self, binding: &str, found: &Pin) -> Standing {
        let Some(accepted) = self.bindings.get(binding) else { return Standing::Missing };
        match accepted.digest == found.digest {
            // Also for the file itself: a lock from which lines were taken accepts less than it.
            _ if !found.beyond(accepted).is_empty() => Standing::Wider,
            true => Standing::Accepted,
            false => Standing::OtherFile,
        }
    }

    /// A line for each thing that a plugin asks for beyond what was accepted for its binding.
    pub fn beyond(&self, binding: &str, found: &Pin) -> Vec<String> {
        match self.bindings.get(binding) {
            Some(accepted) => found.beyond(accepted),
            None => found.beyond(&Pin::default()),
        }
    }

    /// Whether a binding may stand for the plugin that was found; `built` where the operator names
    /// it by its path.
    ///
    /// # Errors
    /// Why not, and the command that would accept it.
    pub(crate) fn admit(&self, binding: &str, found: &Pin, built: bool) -> Result<(), String> {
        let accept = format!("if that is right: ampoule accept {binding}");
        match self.standing(binding, found) {
            Standing::Accepted => Ok(()),
            Standing::OtherFile if built => {
                tracing::info!(
                    binding,
                    digest = found.digest,
                    "another file than ampoule.lock pins, which asks for no more"
                );
                Ok(())
            }
            Standing::OtherFile => Err(format!(
                "it is another file than the one ampoule.lock pins, and asks for no more; {accept}"
            )),
            Standing::Wider => Err(format!(
                "it asks for more than ampoule.lock accepts:\n{}{accept}",
                shown(&self.beyond(binding, found))
            )),
            Standing::Missing => Err(format!(
                "ampoule.lock does not have it; it asks for\n{}{accept}",
                shown(&self.beyond(binding, found))
            )),
        }
    }
}

/// Lines of a difference, as many as a person reads.
fn shown(lines: &[String]) -> String {
    if lines.is_empty() {
        return "  nothing\n".into();
    }
    let mut text: String =
        lines.iter().take(SHOWN_LINES).map(|line| format!("  + {line}\n")).collect();
    if lines.len() > SHOWN_LINES {
        text.push_str(&format!("  and {} more\n", lines.len() - SHOWN_LINES));
    }
    text
}

impl Pin {
    /// The pin of a plugin as it is.
    pub(crate) fn new<'a>(
        plugin: &crate::plugin::Plugin,
        tools: impl Iterator<Item = (&'a str, Effects)>,
    ) -> Pin {
        let manifest = plugin.manifest.as_ref();
        let stem = || plugin.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Pin {
            plugin: manifest.map_or_else(stem, |manifest| manifest.name.clone()),
            version: manifest.map(|manifest| manifest.version.clone()),
            digest: plugin.digest.clone(),
            imports: plugin.binary.imports.clone(),
            serves: manifest.map(|m| m.services.iter().cloned().collect()).unwrap_or_default(),
            capabilities: manifest.map(|m| canonical(&m.capabilities)).unwrap_or_default(),
            limits: manifest.map(set_limits).unwrap_or_default(),
            tools: tools.map(|(name, effects)| (name.to_owned(), effects.into())).collect(),
            discovered: BTreeMap::new(),
        }
    }

    /// The same with the definitions of the tools that its catalogue offers.
    pub(crate) fn with_discovered(self, tools: &[ToolManifest]) -> Pin {
        let digests = tools.iter().map(|tool| (tool.name.clone(), tool.digest()));
        Pin { discovered: digests.collect(), ..self }
    }

    fn check(&self) -> Result<(), String> {
        self.capabilities.check("capabilities")?;
        if let Some(optional) = self.capabilities.optional.as_deref() {
            if optional.optional.is_some() {
                return Err("`capabilities.optional` cannot hold another `optional`".into());
            }
            optional.check("capabilities.optional")?;
        }
        limits(&self.limits).map_err(|error| format!("`limits`: {error}"))?;
        match self.tools.keys().find(|name| !is_tool_name(name)) {
            Some(name) => Err(format!("`{}` is no name of a tool", line(name.clone()))),
            None => Ok(()),
        }
    }

    /// A line for each thing that this plugin asks for, or may do, beyond what was `accepted`.
    /// None where all of it is within.
    pub fn beyond(&self, accepted: &Pin) -> Vec<String> {
        let (new, old) = (self.capabilities.all(), accepted.capabilities.all());
        let mut more = Vec::new();
        for (name, new, old) in [
            ("clock", new.clock, old.clock),
            ("random", new.random, old.random),
            ("ask", new.ask, old.ask),
        ] {
            if new && !old {
                more.push(name.to_owned());
            }
        }
        if new.files > old.files {
            let before = old.files.map(FileAccess::name);
            let before = before.map(|name| format!(", not only {name}")).unwrap_or_default();
            more.extend(new.files.map(|files| format!("files {}{before}", files.name())));
        }
        let beyond = new.http.iter().filter(|http| !old.http.iter().any(|old| http.within(old)));
        more.extend(beyond.map(|http| {
            let writes = if http.only_reads() { "" } else { ", which may write" };
            format!("http {http}{writes}")
        }));
        let beyond = new.tools.iter().filter(|tool| !old.tools.iter().any(|old| tool.within(old)));
        more.extend(beyond.map(|tool| format!("call tools {tool}")));
        let beyond = new.services.iter().filter(|name| !old.services.contains(*name));
        more.extend(beyond.map(|name| format!("use the service {name}")));
        for (name, secret) in &new.secrets {
            let old = old.secrets.get(name);
            if !old.is_some_and(|old| secret_within(secret, old)) {
                more.push(format!("secret {name}, {}", secret_words(secret)));
            }
        }
        // Checked when they were read; where they cannot be, the defaults are the least.
        let [new, old] = [self, accepted].map(|pin| limits(&pin.limits).unwrap_or_default());
        let beyond = Meter::ALL.iter().filter(|&&meter| new.get(meter) > old.get(meter));
        more.extend(beyond.map(|&meter| {
            let [new, old] = [&new, &old].map(|limits| meter.show(limits.get(meter)));
            format!("limit {meter} {new}, not only {old}")
        }));
        let known: BTreeSet<_> =
            accepted.imports.iter().map(|name| without_version(name)).collect();
        let beyond = self.imports.iter().filter(|name| !known.contains(without_version(name)));
        more.extend(beyond.map(|name| format!("import {name}")));
        let beyond = self.serves.difference(&accepted.serves);
        more.extend(beyond.map(|name| format!("serve {name} to others")));
        for (name, tool) in &self.tools {
            match accepted.tools.get(name) {
                None => more.push(format!("offer the tool {name}, which {tool}")),
                Some(old) if !tool.within(*old) => {
                    more.push(format!("the tool {name} {tool}; before it was: {old}"));
                }
                Some(_) => {}
            }
        }
        for (name, digest) in &self.discovered {
            if accepted.tools.contains_key(name) && accepted.discovered.get(name) != Some(digest) {
                more.push(format!("the tool {name}, whose definition is another one now"));
            }
        }
        more.into_iter().map(line).collect()
    }
}

/// A line that a terminal shows as one, cut where nobody reads on.
fn line(text: String) -> String {
    let plain: String = text.chars().take(SHOWN_CHARS).flat_map(escaped).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() { format!("{plain}…") } else { plain }
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, escape) = match c.is_control() {
        true => (None, Some(c.escape_unicode())),
        false => (Some(c), None),
    };
    plain.into_iter().chain(escape.into_iter().flatten())
}

fn secret_within(secret: &SecretRequest, accepted: &SecretRequest) -> bool {
    let audience = |one: &AudiencePattern| accepted.audience.iter().any(|wider| one.within(wider));
    let inject = secret.inject.is_none() || secret.inject == accepted.inject;
    inject && secret.audience.iter().all(audience)
}

fn secret_words(secret: &SecretRequest) -> String {
    let audience: Vec<_> = secret.audience.iter().map(ToString::to_string).collect();
    let to = match audience.is_empty() {
        true => "to sign with".to_owned(),
        false => format!("sent to {}", audience.join(", ")),
    };
    match secret.inject.as_ref().map(serde_json::to_string) {
        Some(Ok(inject)) => format!("{to}, put into {inject}"),
        _ => to,
    }
}

/// The limits that a manifest sets, as numbers that TOML has.
fn set_limits(manifest: &Manifest) -> BTreeMap<String, LimitValue> {
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    let all = manifest.limits();
    let set = all.iter().filter(|(meter, _)| manifest.limits.contains_key(meter.name()));
    set.map(|(meter, n)| (meter.name().to_owned(), LimitValue::Number(n.min(most)))).collect()
}

/// The requests in byte order, each once, without the texts that are for people.
fn canonical(requests: &Requests) -> Requests {
    fn sorted<T: Clone + ToString + PartialEq>(list: &[T]) -> Vec<T> {
        let mut list = list.to_vec();
        list.sort_by_cached_key(ToString::to_string);
        list.dedup();
        list
    }
    let secrets = requests.secrets.iter().map(|(name, secret)| {
        let audience = sorted(&secret.audience);
        let inject = secret.inject.clone();
        (name.clone(), SecretRequest { description: String::new(), audience, inject })
    });
    Requests {
        http: sorted(&requests.http),
        tools: sorted(&requests.tools),
        services: sorted(&requests.services),
        secrets: secrets.collect(),
        optional: requests.optional.as_deref().map(|optional| Box::new(canonical(optional))),
        ..*requests
    }
}

impl From<Effects> for ToolPin {
    fn from(effects: Effects) -> ToolPin {
        let writes = !effects.read_only;
        ToolPin {
            writes,
            destroys: writes && effects.destructive,
            repeats: writes && !effects.idempotent,
            open_world: effects.open_world,
        }
    }
}

impl ToolPin {
    fn within(self, accepted: ToolPin) -> bool {
        self.words().iter().all(|word| accepted.words().contains(word))
    }

    fn words(self) -> Vec<&'static str> {
        let all = [
            (self.writes, "writes"),
            (self.destroys, "may destroy"),
            (self.repeats, "adds up when repeated"),
            (self.open_world, "meets an open world"),
        ];
        all.into_iter().filter_map(|(is, word)| is.then_some(word)).collect()
    }
}

impl fmt::Display for ToolPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words();
        f.write_str(&if words.is_empty() { "only reads".into() } else { words.join(", ") })
    }
}

/// Checks a text while it is visited, which is when a reader knows its line.
fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Digest;
    impl Visitor<'_> for Digest {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a digest, `sha256:` and 64 hexadecimal digits in lower case")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
            let digits = text.strip_prefix("sha256:").unwrap_or_default();
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            match digits.len() == 64 && digits.bytes().all(is_hex) {
                true => Ok(text.to_owned()),
                false => {
                    Err(E::custom("a digest is `sha256:` and 64 hexadecimal digits in lower case"))
                }
            }
        }
    }
    deserializer.deserialize_str(Digest)
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(D::Error::custom(format!(
            "this host reads version {VERSION} of the lock, not {other}"
        ))),
    }
}

#[cfg(test)]
mod tests;
