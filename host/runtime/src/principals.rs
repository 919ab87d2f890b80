//! Principals: for whom calls are made, and what that narrows.
//!
//! `[principals.NAME]` in `ampoule.toml` allows nothing by itself. It takes away from what the
//! manifest asks for and the bindings grant, in every call made for that principal and in the
//! tools these call. A call for nobody in particular, and for somebody who has no table, is under
//! `[principals."*"]` where there is one; where there is none, the bindings' grants decide alone.
//! Names are compared byte for byte.
//!
//! A connector that serves a model is a plugin like any other: a principal that may ask the model
//! needs what its connector needs, its requests and its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampoule_contract::{Denial, Limits, ToolPattern};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::SecretSource;
use crate::egress::{HttpPattern, toml_key};
use crate::manifest::{FileAccess, LimitValue, limits_over};

/// The table for everybody who has none of their own.
const EVERYBODY: &str = "*";

/// The longest name of a principal, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// What may be done for a principal. What is left out is not narrowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PrincipalConfig {
    /// The tools that may be called for it at all, by whomever, by id; `*` stands for any run of
    /// characters but `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolPattern>>,
    /// The tools each of whose calls a person has to approve, beside those that the file's own
    /// `approve` names, by id; `*` stands for any run of characters but `/`. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<ToolPattern>,
    /// What of the bindings' grants is left.
    pub grant: PrincipalGrant,
    /// Caps on the limits of every call.
    pub limits: BTreeMap<String, LimitValue>,
    /// Where the bearer token comes from that calls for it bring over HTTP. Default: none, nobody
    /// calls for it over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
    /// The claim `sub` of the access tokens that calls for it bring over HTTP, where `[oauth]` says
    /// who issues them. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// What of the bindings' grants is left for a principal. An empty list leaves nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PrincipalGrant {
    /// HTTP requests that match one of these too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Vec<HttpPattern>>,
    /// The run's workspace, no further than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<PrincipalFiles>,
    /// Tools that plugins may call, by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolPattern>>,
    /// Services that plugins may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<String>>,
    /// Secrets that plugins may use, by their names under `[secrets]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
}

/// How far a principal lets plugins into the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrincipalFiles {
    /// Not at all.
    None,
    /// Read and list.
    Read,
    /// As far as the binding does.
    ReadWrite,
}

impl PrincipalFiles {
    const fn access(self) -> Option<FileAccess> {
        match self {
            PrincipalFiles::None => None,
            PrincipalFiles::Read => Some(FileAccess::Read),
            PrincipalFiles::ReadWrite => Some(FileAccess::ReadWrite),
        }
    }
}

impl PrincipalConfig {
    /// Checks what the types cannot say; `known` tells whether there is such a secret.
    pub(crate) fn check(&self, name: &str, known: impl Fn(&str) -> bool) -> Result<(), String> {
        check_name(name)?;
        if name == EVERYBODY && (self.token.is_some() || self.subject.is_some()) {
            return Err("whoever has a `token` or a `subject` has a name, and a table of that \
                        name"
                .into());
        }
        if let Some(subject) = &self.subject
            && (subject.is_empty() || subject.chars().any(char::is_control))
        {
            return Err("`subject` is empty or has a control character".into());
        }
        let secrets = self.grant.secrets.iter().flatten();
        if let Some(unknown) = secrets.into_iter().find(|secret| !known(secret)) {
            return Err(format!("grant.secrets: there is no secret `{unknown}` under [secrets]"));
        }
        self.caps().map(drop)
    }

    fn caps(&self) -> Result<Limits, String> {
        limits_over(Limits::UNLIMITED, &self.limits)
    }
}

/// Checks the name of a principal.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!(
            "a principal's name has 1 to {MAX_NAME_BYTES} bytes and no control character"
        ));
    }
    Ok(())
}

/// A principal's table, ready to be asked.
#[derive(Debug)]
pub(crate) struct Principal {
    /// The table's name, as TOML writes it.
    key: String,
    config: PrincipalConfig,
    /// Caps on the limits of a call.
    pub caps: Limits,
}

impl Principal {
    /// Whether a tool may be called for it.
    pub(crate) fn calls(&self, id: &str) -> Result<(), Denial> {
        let allowed = self.config.tools.as_deref();
        self.listed_tool(allowed, id, "tools")
    }

    /// What says that a person has to approve a call of a tool for it, where something does.
    pub(crate) fn approval(&self, id: &str) -> Option<String> {
        let named = self.config.approve.iter().any(|pattern| pattern.matches(id));
        named.then(|| format!("`approve` under [principals.{}]", self.key))
    }

    /// Whether a plugin may call a tool for it.
    pub(crate) fn tool(&self, id: &str) -> Result<(), Denial> {
        self.calls(id)?;
        self.listed_tool(self.config.grant.tools.as_deref(), id, "grant.tools")
    }

    fn listed_tool(
        &self,
        allowed: Option<&[ToolPattern]>,
        id: &str,
        key: &str,
    ) -> Result<(), Denial> {
        match allowed {
            Some(list) if !list.iter().any(|pattern| pattern.matches(id)) => {
                // A name that no pattern can be is no tool of a binding, and nothing to repeat.
                let named = id.parse::<ToolPattern>().ok();
                let line = named.as_ref().map(|id| format!("{key} = [\"{id}\"]"));
                let id = named.map_or_else(|| "this tool".into(), |id| format!("the tool `{id}`"));
                Err(self.denial(format!("calling {id}"), line))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn files(&self, wanted: FileAccess) -> Result<(), Denial> {
        match self.config.grant.files {
            Some(files) if files.access() < Some(wanted) => {
                let line = format!("grant.files = \"{}\"", wanted.name());
                Err(self.denial(format!("{} access to the workspace", wanted.name()), Some(line)))
            }
            _ => Ok(()),
        }
    }

    /// The most of `granted` that is left.
    pub(crate) fn file_access(&self, granted: Option<FileAccess>) -> Option<FileAccess> {
        self.config.grant.files.map_or(granted, |files| granted.min(files.access()))
    }

    pub(crate) fn service(&self, service: &str) -> Result<(), Denial> {
        let line = || format!("grant.services = [\"{service}\"]");
        self.listed(&self.config.grant.services, service, line, || {
            format!("the service `{service}`")
        })
    }

    /// Whether the operator's secret called `source` may be used for it, which a plugin calls
    /// `name`.
    pub(crate) fn secret(&self, name: &str, source: &str) -> Result<(), Denial> {
        let line = || format!("grant.secrets = [{}]", serde_json::Value::from(source));
        self.listed(&self.config.grant.secrets, source, line, || format!("the secret `{name}`"))
    }

    fn listed(
        &self,
        allowed: &Option<Vec<String>>,
        name: &str,
        line: impl Fn() -> String,
        what: impl Fn() -> String,
    ) -> Result<(), Denial> {
        match allowed {
            Some(list) if !list.iter().any(|known| known == name) => {
                Err(self.denial(what(), Some(line())))
            }
            _ => Ok(()),
        }
    }

    /// The requests that are left, and the table they stand in; `None` where all are.
    pub(crate) fn http(&self) -> Option<(&str, &[HttpPattern])> {
        self.config.grant.http.as_deref().map(|http| (self.key.as_str(), http))
    }

    fn denial(&self, what: String, line: Option<String>) -> Denial {
        let table = format!("[principals.{}]", self.key);
        Denial {
            gate: "principal",
            message: format!("{what} is not left to this principal by {table}"),
            allow: line.map(|line| format!("{table}\n{line}")),
        }
    }
}

/// All principals of a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Principals(Arc<BTreeMap<String, Arc<Principal>>>);

impl Principals {
    /// # Errors
    /// An entry of `limits` that is none.
    pub(crate) fn new(configs: &BTreeMap<String, PrincipalConfig>) -> Result<Principals, String> {
        let each = configs.iter().map(|(name, config)| {
            let key = toml_key(name);
            let caps = config.caps().map_err(|error| format!("[principals.{key}]: {error}"))?;
            Ok((name.clone(), Arc::new(Principal { key, config: config.clone(), caps })))
        });
        each.collect::<Result<_, String>>().map(|all| Principals(Arc::new(all)))
    }

    /// The name of the table that a call is under, where it is under one, and the table.
    pub(crate) fn of(&self, principal: Option<&str>) -> Option<(&str, &Arc<Principal>)> {
        let own = principal.and_then(|name| self.0.get_key_value(name));
        let found = own.or_else(|| self.0.get_key_value(EVERYBODY));
        found.map(|(name, principal)| (name.as_str(), principal))
    }

    /// All that the tables' `approve` name.
    pub(crate) fn approvals(&self) -> impl Iterator<Item = &ToolPattern> {
        self.0.values().flat_map(|principal| &principal.config.approve)
    }

    /// The names of the tables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}
