//! What a binding may do: what its manifest asks for ∩ what the operator allows ∩ what is left to
//! the principal of the call.
//!
//! Every import asks here first. A refusal names the gate (`manifest` where the plugin never
//! asked, `grant` where the operator has not allowed it, `principal` where not for this one) and
//! the lines of `ampoule.toml` that would allow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampoule_contract::{Denial, ToolPattern};

use crate::config::{GrantConfig, SecretGrant};
use crate::egress::{AudiencePattern, CheckedUrl, Inject, Policy};
use crate::manifest::{FileAccess, Requests, SecretRequest};
use crate::observe::{Observer, Use};
use crate::principals::Principal;

/// The effective grants of a binding.
#[derive(Clone, Debug)]
pub(crate) struct Grants {
    binding: String,
    clock: Switch,
    random: Switch,
    ask: Switch,
    requested_files: Option<FileAccess>,
    granted_files: Option<FileAccess>,
    http: Option<Policy>,
    requested_tools: Vec<ToolPattern>,
    granted_tools: Vec<ToolPattern>,
    requested_services: Vec<String>,
    granted_services: BTreeMap<String, String>,
    requested_secrets: Vec<String>,
    secrets: BTreeMap<String, GrantedSecret>,
    /// For whom; nobody, where nothing is narrowed.
    principal: Option<Arc<Principal>>,
    /// Who is told what is used.
    observer: Option<Observer>,
}

/// A name that a guest gives, as it may stand in messages, receipts and lines of configuration.
///
/// # Errors
/// It is nothing that could be granted: it is not repeated.
fn named(what: &str, name: &str) -> Result<ToolPattern, Denial> {
    let plain = name.parse::<ToolPattern>().ok().filter(|name| !name.as_str().contains('*'));
    plain.ok_or_else(|| Denial {
        gate: "name",
        message: format!("that is no name of a {what}: it is too long, or has other characters"),
        allow: None,
    })
}

/// A capability that is there or not.
#[derive(Clone, Copy, Debug)]
struct Switch {
    requested: bool,
    granted: bool,
}

/// A secret a binding may use.
#[derive(Clone, Debug)]
pub(crate) struct GrantedSecret {
    /// The operator's name for it.
    pub source: String,
    /// The origins it may be sent to.
    pub audience: Vec<AudiencePattern>,
    /// Where it goes in a request.
    pub inject: Option<Inject>,
    /// Where a token would be got for it that the operator's audience leaves out.
    beyond: Option<String>,
}

impl GrantedSecret {
    fn new(request: &SecretRequest, given: &SecretGrant) -> GrantedSecret {
        let audience = given.audience.clone().unwrap_or_else(|| request.audience.clone());
        // The token endpoint is sent the secret itself.
        let beyond = match &request.inject {
            Some(Inject::OAuth2(client)) if given.audience.is_some() => {
                let url = CheckedUrl::parse(&client.token_url).ok();
                let within = |url: &CheckedUrl| audience.iter().any(|one| one.matches(url));
                (!url.is_some_and(|url| within(&url))).then(|| client.token_url.clone())
            }
            _ => None,
        };
        let (source, inject) = (given.secret.clone(), request.inject.clone());
        GrantedSecret { source, audience, inject, beyond }
    }
}

impl Grants {
    /// The intersection for the binding called `binding`.
    pub(crate) fn new(binding: &str, requests: &Requests, grant: &GrantConfig) -> Grants {
        let all = requests.all();
        let policy =
            Policy::new(binding, all.http.clone(), grant.http.clone(), grant.addresses.clone());
        let secrets = grant.secrets.iter().filter_map(|(name, given)| {
            let request = all.secrets.get(name)?;
            Some((name.clone(), GrantedSecret::new(request, given)))
        });
        Grants {
            binding: binding.to_owned(),
            clock: Switch { requested: all.clock, granted: grant.clock.unwrap_or(true) },
            random: Switch { requested: all.random, granted: grant.random.unwrap_or(true) },
            ask: Switch { requested: all.ask, granted: grant.ask },
            requested_files: all.files,
            granted_files: grant.files,
            http: (!all.http.is_empty()).then_some(policy),
            requested_tools: all.tools,
            granted_tools: grant.tools.clone(),
            requested_services: all.services,
            granted_services: grant.services.clone(),
            secrets: secrets.collect(),
            requested_secrets: all.secrets.into_keys().collect(),
            principal: None,
            observer: None,
        }
    }

    /// What of it is left to a principal.
    pub(crate) fn under(&self, principal: &Arc<Principal>) -> Grants {
        let http = self.http.as_ref().map(|policy| match principal.http() {
            Some((key, left)) => policy.under_principal(key, left),
            None => policy.clone(),
        });
        Grants { http, principal: Some(principal.clone()), ..self.clone() }
    }

    /// The same, with somebody who is told what is used.
    pub(crate) fn observed(&self, observer: &Observer) -> Grants {
        let http = self.http.as_ref().map(|policy| policy.observed(observer));
        Grants { http, observer: Some(observer.clone()), ..self.clone() }
    }

    /// Tells what is used, which was allowed.
    fn used(&self, used: impl FnOnce() -> Use) {
        if let Some(observer) = &self.observer {
            observer.tell(used());
        }
    }

    pub(crate) fn clock(&self) -> Result<(), Denial> {
        self.switch("clock", self.clock)?;
        self.used(|| Use::Clock);
        Ok(())
    }

    pub(crate) fn random(&self) -> Result<(), Denial> {
        self.switch("random", self.random)?;
        self.used(|| Use::Random);
        Ok(())
    }

    pub(crate) fn ask(&self) -> Result<(), Denial> {
        self.switch("ask", self.ask)?;
        self.used(|| Use::Ask);
        Ok(())
    }

    fn switch(&self, name: &str, switch: Switch) -> Result<(), Denial> {
        match switch {
            Switch { requested: false, .. } => Err(self.not_requested(name)),
            Switch { granted: false, .. } => {
                Err(self.not_granted(format!("`{name}`"), format!("grant.{name} = true")))
            }
            _ => Ok(()),
        }
    }

    /// The rules for its HTTP requests; each request is judged by them.
    pub(crate) fn http(&self) -> Result<&Policy, Denial> {
        self.http.as_ref().ok_or_else(|| self.not_requested("http"))
    }

    pub(crate) fn files(&self, wanted: FileAccess) -> Result<(), Denial> {
        if self.requested_files < Some(wanted) {
            let what = format!("files = \"{}\"", wanted.name());
            return Err(self.not_requested(&what));
        }
        if self.granted_files < Some(wanted) {
            let what = format!("{} access to the workspace", wanted.name());
            return Err(self.not_granted(what, format!("grant.files = \"{}\"", wanted.name())));
        }
        self.principal.as_ref().map_or(Ok(()), |principal| principal.files(wanted))?;
        self.used(|| Use::Files(wanted));
        Ok(())
    }

    /// What it may do with files at most.
    pub(crate) fn file_access(&self) -> Option<FileAccess> {
        let most = self.requested_files.min(self.granted_files);
        let most = self.principal.as_ref().map_or(most, |principal| principal.file_access(most));
        if let Some(most) = most {
            // Asked by WASI, which gives it as a directory.
            self.used(|| Use::Files(most.min(FileAccess::Read)));
        }
        most
    }

    pub(crate) fn tool(&self, id: &str) -> Result<(), Denial> {
        let named = named("tool", id)?;
        if !self.requested_tools.iter().any(|pattern| pattern.matches(id)) {
            return Err(self.not_requested(&format!("tools = [\"{named}\"]")));
        }
        if !self.granted_tools.iter().any(|pattern| pattern.matches(id)) {
            let line = format!("grant.tools = [\"{named}\"]");
            return Err(self.not_granted(format!("calling the tool `{named}`"), line));
        }
        self.principal.as_ref().map_or(Ok(()), |principal| principal.tool(id))
    }

    /// Notes that it calls a tool, which was allowed.
    pub(crate) fn calls(&self, id: &str) {
        self.used(|| Use::Tool(id.to_owned()));
    }

    /// Whether it asks for tools at all. Which of them it may call, [`Grants::tool`] says.
    pub(crate) fn tools_requested(&self) -> Result<(), Denial> {
        match self.requested_tools.is_empty() {
            true => Err(self.not_requested("tools")),
            false => Ok(()),
        }
    }

    /// Whether there is any tool it may call.
    pub(crate) fn tools(&self) -> Result<(), Denial> {
        self.tools_requested()?;
        match self.granted_tools.is_empty() {
            // Which ones it would call is not known yet.
            true => {
                Err(Denial { allow: None, ..self.not_granted("calling tools".into(), "".into()) })
            }
            false => Ok(()),
        }
    }

    /// The binding that serves a service for this one.
    pub(crate) fn service(&self, service: &str) -> Result<&str, Denial> {
        if !self.requested_services.iter().any(|requested| requested == service) {
            return Err(self.not_requested(&format!("services = [\"{service}\"]")));
        }
        let server = self.granted_services.get(service).ok_or_else(|| {
            let line = format!("grant.services = {{ {service} = \"BINDING\" }}");
            self.not_granted(format!("the service `{service}`"), line)
        })?;
        self.principal.as_ref().map_or(Ok(()), |principal| principal.service(service))?;
        self.used(|| Use::Service(service.to_owned()));
        Ok(server)
    }

    pub(crate) fn secret(&self, name: &str) -> Result<&GrantedSecret, Denial> {
        named("secret", name)?;
        if !self.requested_secrets.iter().any(|requested| requested == name) {
            return Err(self.not_requested(&format!("secrets.{name}")));
        }
        let granted = self.secrets.get(name).ok_or_else(|| {
            let line = format!("grant.secrets.{name} = {{ secret = \"NAME\" }}");
            self.not_granted(format!("the secret `{name}`"), line)
        })?;
        if let Some(url) = &granted.beyond {
            let message = format!(
                "the secret `{name}` would be sent to {url} for a token, which is not in the \
                 `audience` that is granted: add its origin there if that is right"
            );
            return Err(Denial { gate: "secret", message, allow: None });
        }
        let left = |principal: &Arc<Principal>| principal.secret(name, &granted.source);
        self.principal.as_ref().map_or(Ok(()), left)?;
        self.used(|| Use::Secret(name.to_owned()));
        Ok(granted)
    }

    /// The secrets that are granted: the plugin's name for each, and the operator's.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets.iter().map(|(name, granted)| (name.as_str(), granted.source.as_str()))
    }

    /// What the plugin cannot do without and has not been granted at all.
    pub(crate) fn missing(&self, required: &Requests) -> Option<Denial> {
        let http = || {
            let policy = self.http.as_ref().filter(|_| !required.http.is_empty())?;
            policy.nothing_granted().then(|| {
                let pattern = &required.http[0];
                let line = format!("grant.http = [\"{pattern}\"]");
                self.not_granted(format!("HTTP requests such as `{pattern}`"), line)
            })
        };
        let tools = || {
            let wanted = required.tools.first().filter(|_| self.granted_tools.is_empty())?;
            let line = format!("grant.tools = [\"{wanted}\"]");
            Some(self.not_granted("calling tools".into(), line))
        };
        self.barred(required)
            .or_else(|| required.files.and_then(|access| self.files(access).err()))
            .or_else(http)
            .or_else(tools)
    }

    /// The part of it without which no call begins: where the line that allows it is the same
    /// whatever the call does. Of requests, tools and writing, what a call needs shows when it
    /// comes to need it, and the refusal there names exactly that.
    pub(crate) fn barred(&self, required: &Requests) -> Option<Denial> {
        let services = || required.services.iter().find_map(|name| self.service(name).err());
        let secrets = || required.secrets.keys().find_map(|name| self.secret(name).err());
        None.or_else(|| required.clock.then(|| self.clock().err()).flatten())
            .or_else(|| required.random.then(|| self.random().err()).flatten())
            .or_else(|| required.ask.then(|| self.ask().err()).flatten())
            .or_else(|| required.files.and_then(|_| self.reading().err()))
            .or_else(services)
            .or_else(secrets)
    }

    /// Reading, of who asks for no more: also by way of WASI, where no refusal is told.
    fn reading(&self) -> Result<(), Denial> {
        match self.requested_files {
            Some(FileAccess::Read) => self.files(FileAccess::Read),
            _ => Ok(()),
        }
    }

    fn not_requested(&self, what: &str) -> Denial {
        Denial {
            gate: "manifest",
            message: format!(
                "the plugin's manifest does not ask for `{what}`; only its author can change that"
            ),
            allow: None,
        }
    }

    fn not_granted(&self, what: String, line: String) -> Denial {
        Denial {
            gate: "grant",
            message: format!("{what} is not granted to `{}`", self.binding),
            allow: Some(format!("[bindings.{}]\n{line}", self.binding)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_not_repeated() {
        let requests: Requests = toml::from_str("tools = [\"*\"]").expect("valid");
        let grants = Grants::new("x", &requests, &GrantConfig::default());
        let denial = grants.tool("hash").unwrap_err();
        assert_eq!(denial.allow.as_deref(), Some("[bindings.x]\ngrant.tools = [\"hash\"]"));
        let long = "a".repeat(1 << 20);
        for name in ["x\"]\ngrant.http = [\"* https:**", "*", "", "a\u{1b}[0m", &long] {
            for denial in [grants.tool(name).unwrap_err(), grants.secret(name).unwrap_err()] {
                assert_eq!(
                    (denial.gate, denial.allow),
                    ("name", None),
                    "{}",
                    &name[..name.len().min(9)]
                );
                assert!(denial.message.len() < 100);
            }
        }
    }

    #[test]
    fn the_audience_that_is_granted_holds_for_the_token_endpoint_too() {
        let requests: Requests = toml::from_str(
            r#"
            [secrets.key]
            audience = ["https://api.example.com"]
            inject.oauth2 = { token-url = "https://login.example.org/token", client-id = "me" }
            "#,
        )
        .expect("valid");
        for (audience, allowed) in [
            (None, true),
            (Some("[\"https://api.example.com\"]"), false),
            (Some("[\"https://api.example.com\", \"https://login.example.org\"]"), true),
            (Some("[\"https://*.example.org\"]"), true),
        ] {
            let audience = audience.map(|list| format!(", audience = {list}")).unwrap_or_default();
            let grant = format!("secrets.key = {{ secret = \"mine\"{audience} }}");
            let grant: GrantConfig = toml::from_str(&grant).expect("valid");
            match Grants::new("x", &requests, &grant).secret("key") {
                Ok(_) => assert!(allowed, "{audience}"),
                Err(denial) => {
                    assert!(!allowed, "{audience}");
                    assert_eq!(denial.gate, "secret");
                    assert!(denial.message.contains("https://login.example.org/token"));
                }
            }
        }
    }

    #[test]
    fn nothing_is_granted_by_default_but_clock_and_random() {
        let requests: Requests =
            toml::from_str("clock = true\nfiles = \"read\"\nask = true").expect("valid");
        let grants = Grants::new("x", &requests, &GrantConfig::default());
        assert!(grants.clock().is_ok());
        assert_eq!(grants.random().unwrap_err().gate, "manifest");
        let denial = grants.files(FileAccess::Read).unwrap_err();
        assert_eq!(denial.allow.as_deref(), Some("[bindings.x]\ngrant.files = \"read\""));
        assert_eq!(grants.files(FileAccess::ReadWrite).unwrap_err().gate, "manifest");
        assert_eq!(grants.missing(&requests).map(|d| d.gate), Some("grant"));
    }
}
