//! `ampoule.toml`, the operator's file: which plugins, under which names, with which grants.
//!
//! Strict: an unknown key, an unreadable size or a missing file is an error, never a default
//! that opens. A file that is not there at all grants nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ampoule_contract::{Limits, Scope, SecureUrl, ToolPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::admit::ConcurrencyConfig;
use crate::egress::{AddressGrant, AudiencePattern, HttpPattern, toml_key};
use crate::error::HostError;
use crate::lock::Lock;
use crate::manifest::{FileAccess, LimitValue, is_plugin_name, limits_over};
use crate::principals::{PrincipalConfig, check_name};
use crate::rate::Rate;
pub use crate::sessions::SessionConfig;

/// The operator's file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Folders in which plugins (`*.wasm`) are looked for, and single files; relative to this
    /// file. Where different files have one name, none is bound by it: bind one by its path.
    pub plugins: Vec<PathBuf>,
    /// Caps on the limits of every call, whatever a plugin asks for.
    pub limits: BTreeMap<String, LimitValue>,
    /// The budget of a run: what all calls below it may use together. Default: no bound beside
    /// the limits of each call.
    pub run: BTreeMap<String, LimitValue>,
    /// How many calls may run and wait at once.
    pub concurrency: ConcurrencyConfig,
    /// How many instances are kept between calls.
    pub sessions: SessionConfig,
    /// The event log. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalConfig>,
    /// Where secrets come from.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Plugins under a name. A plugin that is found and not bound is bound under its own name,
    /// with no grant.
    pub bindings: BTreeMap<String, BindingConfig>,
    /// The tools each of whose calls a person has to approve before it begins, whoever makes it:
    /// patterns of their ids, in which `*` stands for any run of characters but `/`. Where there
    /// is nobody to ask, such a call is denied. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<ToolPattern>,
    /// What of all that is left in calls made for a principal. `"*"` is everybody who has no
    /// table. Default: all of it.
    pub principals: BTreeMap<String, PrincipalConfig>,
    /// Whose access tokens clients may bring over HTTP. Default: nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthConfig>,
    /// What was accepted, from the lock beside the file. Default: no lock, nothing is pinned.
    #[serde(skip)]
    pub lock: Option<Lock>,
}

/// The event log: each call, grant and refusal, in a hash-chained file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JournalConfig {
    /// Its file, relative to this one.
    pub path: PathBuf,
    /// What to do when it cannot be written. Default: no call begins.
    #[serde(default)]
    pub on_failure: JournalFailure,
}

/// What to do when the event log cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JournalFailure {
    /// Begin no more calls: they end as a fault.
    #[default]
    Refuse,
    /// Go on without a record.
    Continue,
}

/// The authorization server whose access tokens `ampoule mcp --http` takes, beside the static tokens
/// of principals. A token's claim `sub` says for whom its calls are: the principal with that `subject`.
/// Read once, when the server starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OAuthConfig {
    /// Who issues the tokens, as their claim `iss` and the issuer's own metadata write it.
    pub issuer: SecureUrl,
    /// The address under which clients reach this server, such as `https://mcp.example.com/mcp`: the
    /// audience of its tokens (RFC 8707).
    pub resource: SecureUrl,
    /// Where the issuer's keys are. Default: where its metadata says (RFC 8414, or OpenID Connect
    /// Discovery).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<SecureUrl>,
    /// The scopes that a token must have, all of them. Default: none.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// For whom calls are made whose token has the `sub` of no principal. Default: nobody, such calls
    /// are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

impl OAuthConfig {
    fn check(&self) -> Result<(), String> {
        for (key, url) in [("issuer", &self.issuer), ("resource", &self.resource)] {
            if url.url().query().is_some() {
                return Err(format!("{key}: `{url}` must have no query"));
            }
        }
        self.principal.iter().try_for_each(|name| check_name(name))
    }
}

/// A plugin under a name, with settings and grants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct BindingConfig {
    /// The plugin's name, or the path of its file relative to this one. Default: the binding's
    /// name.
    pub plugin: Option<String>,
    /// Settings the plugin reads.
    pub settings: serde_json::Map<String, Value>,
    /// What is allowed.
    pub grant: GrantConfig,
    /// Limits that replace the plugin's own; the caps above still count.
    pub limits: BTreeMap<String, LimitValue>,
    /// Its calls that run at once, in place of `[concurrency] per-plugin`.
    #[serde(deserialize_with = "crate::admit::running")]
    pub calls: Option<u32>,
    /// How often it may be called, such as `"10/s"`. Default: no bound.
    pub rate: Option<Rate>,
    /// How often it may ask one host for something over HTTP, such as `"5/s"`; each redirect
    /// counts. Default: no bound.
    pub http_rate: Option<Rate>,
}

/// What the operator allows a binding. What the plugin does not ask for has no effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GrantConfig {
    /// The clock. Default: yes, where the plugin asks.
    pub clock: Option<bool>,
    /// Randomness. Default: yes, where the plugin asks.
    pub random: Option<bool>,
    /// Asking the person behind the call.
    pub ask: bool,
    /// HTTP requests that match one of these.
    pub http: Vec<HttpPattern>,
    /// Special addresses (private, loopback …) that may be connected to all the same.
    pub addresses: AddressGrant,
    /// The run's workspace.
    pub files: Option<FileAccess>,
    /// Tools it may call, by id; `*` stands for any run of characters but `/`.
    pub tools: Vec<ToolPattern>,
    /// Which binding (or embedded model) serves a service it uses.
    pub services: BTreeMap<String, String>,
    /// Secrets it may use: the plugin's name for it, and which of the operator's it is.
    pub secrets: BTreeMap<String, SecretGrant>,
}

/// One of the operator's secrets, for one of the plugin's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretGrant {
    /// The name under `[secrets]`.
    pub secret: String,
    /// The origins it may be sent to. Default: those the plugin's manifest names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<AudiencePattern>>,
}

/// Where a secret's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretSource {
    /// An environment variable of the host.
    Env(String),
    /// A file, relative to this one; a line break at its end does not count.
    File(PathBuf),
}

impl BindingConfig {
    /// Whether the plugin is named by the path of its file.
    pub fn names_a_path(&self) -> bool {
        self.plugin.as_ref().is_some_and(|plugin| plugin.contains(['/', '.']))
    }
}

impl Config {
    /// Reads `ampoule.toml`, and `ampoule.lock` beside it where there is one.
    ///
    /// # Errors
    /// It cannot be read or is malformed; with the line.
    pub fn read(path: &Path) -> Result<Config, HostError> {
        let text = std::fs::read_to_string(path).map_err(HostError::io(path))?;
        let mut config = Config::parse(&text).map_err(|error| HostError::config(path, error))?;
        config.lock = Lock::read(&Lock::path(path))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for plugin in &mut config.plugins {
            *plugin = folder.join(&*plugin);
        }
        if let Some(journal) = &mut config.journal {
            journal.path = folder.join(&journal.path);
        }
        let tokens =
            config.principals.values_mut().filter_map(|principal| principal.token.as_mut());
        for source in config.secrets.values_mut().chain(tokens) {
            if let SecretSource::File(file) = source {
                *file = folder.join(&*file);
            }
        }
        for binding in config.bindings.values_mut() {
            if let Some(plugin) = &mut binding.plugin
                && plugin.contains(['/', '.'])
            {
                *plugin = folder.join(&*plugin).to_string_lossy().into_owned();
            }
        }
        Ok(config)
    }

    /// Reads the text of an `ampoule.toml`; its paths stay as they are.
    ///
    /// # Errors
    /// What is wrong and in which line.
    pub fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        self.caps()?;
        self.run_limits()?;
        self.sessions.check()?;
        if self.journal.as_ref().is_some_and(|journal| journal.path.as_os_str().is_empty()) {
            return Err("[journal]: `path` is empty".into());
        }
        for (name, binding) in &self.bindings {
            let at = |error: String| format!("[bindings.{name}]: {error}");
            if !is_plugin_name(name) {
                return Err(at("a binding's name is lower-case letters, digits and `-`".into()));
            }
            limits_over(Limits::default(), &binding.limits).map_err(at)?;
            for (wanted, grant) in &binding.grant.secrets {
                if !self.secrets.contains_key(&grant.secret) {
                    return Err(at(format!(
                        "grant.secrets.{wanted}: there is no secret `{}` under [secrets]",
                        grant.secret
                    )));
                }
            }
        }
        for (name, principal) in &self.principals {
            let known = |secret: &str| self.secrets.contains_key(secret);
            let checked = principal.check(name, known);
            checked.map_err(|error| format!("[principals.{}]: {error}", toml_key(name)))?;
        }
        if let Some(oauth) = &self.oauth {
            oauth.check().map_err(|error| format!("[oauth]: {error}"))?;
        }
        let mut subjects = BTreeMap::new();
        for (name, principal) in &self.principals {
            let Some(subject) = &principal.subject else { continue };
            let at = |error| Err(format!("[principals.{}]: subject: {error}", toml_key(name)));
            if self.oauth.is_none() {
                return at("there is no [oauth] that says who issues tokens".to_owned());
            }
            if let Some(other) = subjects.insert(subject, name) {
                return at(format!("it is that of [principals.{}] too", toml_key(other)));
            }
        }
        Ok(())
    }

    /// The caps on every call.
    ///
    /// # Errors
    /// An entry that is no limit.
    pub(crate) fn caps(&self) -> Result<Limits, String> {
        limits_over(Limits::UNLIMITED, &self.limits).map_err(|error| format!("[limits]: {error}"))
    }

    /// The limits of a binding: what its manifest asks for, as far as a manifest alone may or
    /// `[limits]` says, with the operator's own words for this binding over it; never beyond
    /// `[limits]`.
    ///
    /// # Errors
    /// An entry that is no limit.
    pub(crate) fn limits_of(
        &self,
        asked: &Limits,
        binding: &BindingConfig,
    ) -> Result<Limits, String> {
        let most = limits_over(Limits::most_asked(), &self.limits)?;
        let limits = limits_over(asked.min(&most), &binding.limits)?;
        Ok(limits.min(&self.caps()?))
    }

    /// The budget of a run.
    ///
    /// # Errors
    /// An entry that is no limit.
    pub(crate) fn run_limits(&self) -> Result<Limits, String> {
        limits_over(Limits::UNLIMITED, &self.run).map_err(|error| format!("[run]: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_cannot_raise_its_own_limits_beyond_the_ceiling() {
        use ampoule_contract::Meter::{Fuel, Memory};
        let asked = Limits::UNLIMITED.with(Memory, 100 << 20);
        let limits = |text: &str| {
            let config = Config::parse(text).expect("valid");
            let binding = config.bindings.get("x").cloned().unwrap_or_default();
            let limits = config.limits_of(&asked, &binding).expect("valid");
            (limits.get(Fuel), limits.get(Memory))
        };
        let most = ampoule_contract::Meter::Fuel.most_asked();
        assert_eq!(limits(""), (most, 100 << 20));
        assert_eq!(limits("[bindings.x]\nlimits = { fuel = 7, memory = \"1 GiB\" }"), (7, 1 << 30));
        // `[limits]` moves the ceiling both ways, and stands above a binding's own.
        assert_eq!(limits("[limits]\nfuel = 5"), (5, 100 << 20));
        assert_eq!(limits("[limits]\nfuel = \"900G\"").0, 900_000_000_000);
        assert_eq!(limits("[limits]\nfuel = 5\n[bindings.x]\nlimits = { fuel = 7 }").0, 5);
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(
            r#"
            plugins = ["target/plugins"]
            [limits]
            memory = "256 MiB"
            [secrets]
            openai = { env = "OPENAI_API_KEY" }
            [bindings.openai]
            settings = { base-url = "http://127.0.0.1:1" }
            grant.http = ["POST http://127.0.0.1:1/v1/**"]
            grant.addresses = ["127.0.0.1"]
            grant.secrets.api-key = { secret = "openai", audience = ["http://127.0.0.1:1"] }
            limits = { wall-time = "2 min" }
            [principals.alice]
            subject = "a1"
            [oauth]
            issuer = "https://as.example.com"
            resource = "https://mcp.example.com/mcp"
            jwks = "http://localhost:3000/jwks"
            scopes = ["mcp", "files:read"]
            principal = "guest"
            "#,
        )
        .expect("valid");
        assert_eq!(config.bindings["openai"].grant.http.len(), 1);
        assert_eq!(
            config.caps().map(|caps| caps.get(ampoule_contract::Meter::Memory)),
            Ok(256 << 20)
        );
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in [
            "plugin = []",
            "[limits]\nmemory = \"64 MB\"",
            "[limits]\nmemroy = 1",
            "[limits]\nmemory = -1",
            "[run]\nstack = 1",
            "[bindings.Upper]",
            "[bindings.a]\ngrants.http = []",
            "[bindings.a]\ngrant.files = \"write\"",
            "[bindings.a]\ngrant.http = [\"GET example.com\"]",
            "[bindings.a]\ngrant.addresses = [\"10.0.0.0/33\"]",
            "[bindings.a]\ngrant.secrets.k = { secret = \"none\" }",
            "[concurrency]\ncalls = 0",
            "[concurrency]\ncall = 1",
            "[bindings.a]\ncalls = 0",
            "[bindings.a]\nrate = 10",
            "[bindings.a]\nrate = \"10 a day\"",
            "[bindings.a]\nhttp-rate = \"0/s\"",
            "[secrets]\nk = { env = \"A\", file = \"b\" }",
            "lock = {}",
            "[principals.a]\nhttp = []",
            "[principals.a]\ngrant.file = \"read\"",
            "[principals.a]\ngrant.files = \"write\"",
            "[principals.a]\ngrant.http = [\"GET example.com\"]",
            "[principals.a]\ngrant.secrets = [\"none\"]",
            "[principals.a]\ntools = [\"a b\"]",
            "[principals.a]\nlimits = { fuels = 1 }",
            "[principals.a]\nlimits = { stack = 1 }",
            "[principals.a]\ntoken = \"0123456789abcdef\"",
            "[principals.\"*\"]\ntoken = { env = \"TOKEN\" }",
            "[principals.\"\"]",
            "[principals.\"a\\n\"]",
            "[principals.\"*\"]\nsubject = \"a\"\n[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"",
            "[principals.a]\nsubject = \"\"\n[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"",
            "[principals.a]\nsubject = \"s\"",
            "[principals]\na.subject = \"s\"\nb.subject = \"s\"\n[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"",
            "[oauth]",
            "[oauth]\nissuer = \"https://a\"",
            "[oauth]\nissuer = \"http://a\"\nresource = \"https://b/mcp\"",
            "[oauth]\nissuer = \"https://a\"\nresource = \"https://b/mcp?c\"",
            "[oauth]\nissuer = \"https://a?b\"\nresource = \"https://b/mcp\"",
            "[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"\njwks = \"http://c/jwks\"",
            "[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"\nscopes = [\"a b\"]",
            "[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"\nscope = \"a\"",
            "[oauth]\nissuer = \"https://a\"\nresource = \"https://b\"\nprincipal = \"\"",
            "journal = \"log.db\"",
            "[journal]",
            "[journal]\npath = \"\"",
            "[journal]\npath = 1",
            "[journal]\npath = \"log.db\"\nhead = \"x\"",
            "[journal]\npath = \"log.db\"\non-failure = \"ignore\"",
        ] {
            assert!(Config::parse(bad).is_err(), "accepted: {bad}");
        }
    }
}
