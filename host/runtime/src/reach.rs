//! What a plugin may reach at most, for people: one entry for each thing its manifest asks for,
//! whether it is granted, and the lines of `ampoule.toml` that would grant what is not.

use std::fmt;

use serde::Serialize;

use crate::binary::Binary;
use crate::config::GrantConfig;
use crate::egress::{Inject, toml_key};
use crate::manifest::{Manifest, Requests};

/// One thing a plugin asks to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reach {
    /// The capability, as manifests name it: `clock`, `http`, `files`, ….
    pub capability: &'static str,
    /// What the plugin would do, in words: `send GET https://example.com/**`.
    pub action: String,
    /// Whether the plugin cannot do without it.
    pub required: bool,
    /// Whether the operator has granted it, wholly or in part.
    pub granted: bool,
    /// In words: how the grant narrows it, or who serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.action)?;
        match (self.granted, &self.note) {
            (false, _) => f.write_str(" (not granted)"),
            (true, Some(note)) => write!(f, " ({note})"),
            (true, None) => Ok(()),
        }
    }
}

impl Manifest {
    /// What the plugin may reach at most, where nothing is granted but what needs no grant.
    pub fn reach(&self) -> Vec<Reach> {
        reach(&self.capabilities, &GrantConfig::default())
    }
}

/// What a component without a manifest may reach at most, and the lines that would grant what is
/// not granted. It asks for nothing in particular, so its imports tell what it could make use of.
pub(crate) fn of_component(
    binding: &str,
    binary: &Binary,
    grant: &GrantConfig,
) -> (Vec<Reach>, Option<String>) {
    let mut all = entries(&requested_by(grant), grant, false);
    let mut lines = Vec::new();
    for (imported, capability, action, line) in [
        ("wasi:clocks/", "clock", "read the clock and wait", "clock = true"),
        ("wasi:random/", "random", "draw random bytes", "random = true"),
        ("wasi:http/", "http", "send HTTP requests", "http = [\"GET https://HOST/**\"]"),
        ("wasi:filesystem/", "files", "reach files of the run's workspace", "files = \"read\""),
    ] {
        if binary.imports(imported) && !all.iter().any(|reach| reach.capability == capability) {
            all.push(Reach {
                capability,
                action: action.to_owned(),
                required: false,
                granted: false,
                note: None,
            });
            lines.push(format!("grant.{line}"));
        }
    }
    let lines = lines.join("\n");
    let lines = (!lines.is_empty()).then(|| format!("[bindings.{}]\n{lines}", toml_key(binding)));
    (all, lines)
}

/// What a component without a manifest is taken to ask for: what its binding grants.
pub(crate) fn requested_by(grant: &GrantConfig) -> Requests {
    Requests {
        clock: grant.clock == Some(true),
        random: grant.random == Some(true),
        http: grant.http.clone(),
        files: grant.files,
        ..Requests::default()
    }
}

/// What a binding may reach at most: what is required first, then what is optional.
pub(crate) fn reach(requests: &Requests, grant: &GrantConfig) -> Vec<Reach> {
    let mut all = entries(requests, grant, true);
    if let Some(optional) = &requests.optional {
        all.extend(entries(optional, grant, false));
    }
    all
}

fn entries(requests: &Requests, grant: &GrantConfig, required: bool) -> Vec<Reach> {
    let mut entries = Vec::new();
    let mut add = |capability, action: String, granted, note| {
        entries.push(Reach { capability, action, required, granted, note });
    };
    if requests.clock {
        add("clock", "read the clock and wait".into(), grant.clock != Some(false), None);
    }
    if requests.random {
        add("random", "draw random bytes".into(), grant.random != Some(false), None);
    }
    if requests.ask {
        add("ask", "ask the person behind the call".into(), grant.ask, None);
    }
    for pattern in &requests.http {
        let whole = grant.http.contains(pattern);
        let note = (!whole).then(|| within(&grant.http));
        add("http", format!("send {pattern}"), !grant.http.is_empty(), note);
    }
    if let Some(access) = requests.files {
        let action = format!("{} files of the run's workspace", access.name());
        let note = grant.files.filter(|&granted| granted < access);
        let note = note.map(|granted| format!("only {}", granted.name()));
        add("files", action, grant.files.is_some(), note);
    }
    for tool in &requests.tools {
        let note = (!grant.tools.contains(tool)).then(|| within(&grant.tools));
        add("tools", format!("call the tool {tool}"), !grant.tools.is_empty(), note);
    }
    for service in &requests.services {
        let server = grant.services.get(service);
        let note = server.map(|server| format!("served by {server}"));
        add("services", format!("use the service {service}"), server.is_some(), note);
    }
    for (name, secret) in &requests.secrets {
        let given = grant.secrets.get(name);
        let audience = given.and_then(|given| given.audience.as_ref()).unwrap_or(&secret.audience);
        let note = given.map(|given| format!("the operator's {}, {}", given.secret, to(audience)));
        let token = match &secret.inject {
            Some(Inject::OAuth2(client)) => format!(", for a token from {}", client.token_url),
            _ => String::new(),
        };
        let to = to(&secret.audience);
        let action = format!("use the secret {name}, {to}{token}, without reading it");
        add("secrets", action, given.is_some(), note);
    }
    entries
}

fn within(granted: &[impl fmt::Display]) -> String {
    let granted: Vec<_> = granted.iter().map(ToString::to_string).collect();
    format!("within {}", granted.join(", "))
}

fn to(audience: &[impl fmt::Display]) -> String {
    match audience {
        [] => "to sign with".to_owned(),
        origins => {
            let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
            format!("sent to {}", origins.join(", "))
        }
    }
}

/// The lines of `ampoule.toml` that would grant the binding called `binding` all that it asks for
/// and has not been granted at all; `None` where there is nothing.
pub(crate) fn lines(binding: &str, requests: &Requests, grant: &GrantConfig) -> Option<String> {
    let all = requests.all();
    let mut lines = Vec::new();
    for (name, refused) in [
        ("clock", all.clock && grant.clock == Some(false)),
        ("random", all.random && grant.random == Some(false)),
        ("ask", all.ask && !grant.ask),
    ] {
        if refused {
            lines.push(format!("grant.{name} = true"));
        }
    }
    if !all.http.is_empty() && grant.http.is_empty() {
        lines.push(format!("grant.http = {}", list(&all.http)));
    }
    if let Some(access) = all.files
        && grant.files.is_none()
    {
        lines.push(format!("grant.files = \"{}\"", access.name()));
    }
    if !all.tools.is_empty() && grant.tools.is_empty() {
        lines.push(format!("grant.tools = {}", list(&all.tools)));
    }
    for service in all.services.iter().filter(|service| !grant.services.contains_key(*service)) {
        lines.push(format!("grant.services.{} = \"BINDING\"", toml_key(service)));
    }
    let mut secrets = Vec::new();
    for name in all.secrets.keys().filter(|name| !grant.secrets.contains_key(*name)) {
        let own = format!("{binding}-{name}");
        let variable = own.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        lines.push(format!("grant.secrets.{} = {{ secret = {} }}", toml_key(name), quoted(&own)));
        secrets.push(format!("{} = {{ env = \"{variable}\" }}", toml_key(&own)));
    }
    if lines.is_empty() {
        return None;
    }
    let mut text = format!("[bindings.{}]\n{}", toml_key(binding), lines.join("\n"));
    if !secrets.is_empty() {
        text.push_str("\n\n[secrets]\n");
        text.push_str(&secrets.join("\n"));
    }
    Some(text)
}

pub(crate) fn list(items: &[impl fmt::Display]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A text as TOML writes it: JSON's escapes are among TOML's.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn requests() -> Requests {
        toml::from_str(
            r#"
            clock = true
            http = ["GET,HEAD https://**/**"]
            files = "read-write"
            services = ["llm"]
            [secrets.api-key]
            audience = ["https://api.example.com"]
            [optional]
            tools = ["json-*"]
            "#,
        )
        .expect("valid")
    }

    #[test]
    fn what_is_not_granted_can_be_granted_by_the_lines() {
        let nothing = GrantConfig::default();
        let refused: Vec<_> = reach(&requests(), &nothing)
            .into_iter()
            .filter(|reach| !reach.granted)
            .map(|reach| (reach.capability, reach.required))
            .collect();
        let expected = [
            ("http", true),
            ("files", true),
            ("services", true),
            ("secrets", true),
            ("tools", false),
        ];
        assert_eq!(refused, expected);

        let lines = lines("my-site", &requests(), &nothing).expect("something is missing");
        assert!(lines.contains("MY_SITE_API_KEY"), "{lines}");
        let grant = Config::parse(&lines).expect("valid").bindings["my-site"].grant.clone();
        assert!(reach(&requests(), &grant).iter().all(|reach| reach.granted));
        assert_eq!(super::lines("my-site", &requests(), &grant), None);
    }

    #[test]
    fn the_imports_of_a_component_without_a_manifest_tell_what_it_may_reach() {
        let imports = ["wasi:http/outgoing-handler@0.2.0", "wasi:filesystem/types@0.2.0"];
        let binary = Binary { imports: imports.map(str::to_owned).into(), ..Binary::default() };
        let (reach, lines) = of_component("x", &binary, &GrantConfig::default());
        let refused = |reach: &Vec<Reach>| reach.iter().filter(|reach| !reach.granted).count();
        assert_eq!((reach.len(), refused(&reach)), (2, 2));
        let grant = Config::parse(&lines.expect("something is missing").replace("HOST", "a.com"))
            .expect("valid")
            .bindings["x"]
            .grant
            .clone();
        let (reach, lines) = of_component("x", &binary, &grant);
        assert_eq!((reach.len(), refused(&reach), lines), (2, 0, None));
        assert_eq!(reach[0].to_string(), "send GET https://a.com/**");
    }

    #[test]
    fn a_narrower_grant_is_named() {
        let grant: GrantConfig = toml::from_str(
            "http = [\"GET https://example.com/**\"]\nfiles = \"read\"\nclock = false",
        )
        .expect("valid");
        let texts: Vec<_> =
            reach(&requests(), &grant).iter().take(3).map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "read the clock and wait (not granted)",
                "send GET,HEAD https://**/** (within GET https://example.com/**)",
                "read-write files of the run's workspace (only read)",
            ]
        );
    }
}
