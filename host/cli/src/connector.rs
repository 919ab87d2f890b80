//! The model connector `openai` without configuration: a binding that lives for one run, made of
//! what the environment says.

use std::env;

use ampoule::Config;
use url::{Host, Url};

use crate::env_vars::{OPENAI_API_KEY, OPENAI_BASE_URL};
use crate::exit::Failure;

/// The binding, and the plugin, that are meant.
pub(crate) const OPENAI: &str = "openai";

/// The provider's own address.
const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// Whether the environment holds a key and the configuration says nothing of the connector.
pub(crate) fn is_only_in_environment(config: &Config) -> bool {
    let key = env::var_os(OPENAI_API_KEY).is_some_and(|key| !key.is_empty());
    key && !config.bindings.contains_key(OPENAI)
}

/// The lines of `ampoule.toml` that bind the connector as the environment has it.
///
/// # Errors
/// The base URL is not one.
pub(crate) fn lines() -> Result<String, Failure> {
    let base = env::var(OPENAI_BASE_URL).ok().filter(|base| !base.trim().is_empty());
    lines_for(base.as_deref())
        .map_err(|error| Failure::configuration(format!("{OPENAI_BASE_URL}: {error}")))
}

/// Adds the binding of [`lines`] to a configuration, which has none.
///
/// # Errors
/// As [`lines`].
pub(crate) fn bind(config: &mut Config) -> Result<(), Failure> {
    let from_environment = Config::parse(&lines()?).map_err(|error| {
        Failure::configuration(format!(
            "the connector cannot be bound from the environment: {error}"
        ))
    })?;
    config.bindings.extend(from_environment.bindings);
    for (name, source) in from_environment.secrets {
        config.secrets.entry(name).or_insert(source);
    }
    Ok(())
}

fn lines_for(base: Option<&str>) -> Result<String, String> {
    let url = Url::parse(base.unwrap_or(DEFAULT_BASE_URL)).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{url}` is not an http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials; the key belongs into OPENAI_API_KEY".into());
    }
    if url.query().is_some() || url.fragment().is_some() || url.path().contains('*') {
        return Err(format!("`{url}` must end with a path, without `?`, `#` or `*`"));
    }
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    // A key sent to this machine or a private network is the very wish of who names it.
    let addresses = match url.host() {
        Some(Host::Ipv4(address)) => vec![address.to_string()],
        Some(Host::Ipv6(address)) => vec![address.to_string()],
        Some(Host::Domain("localhost")) => vec!["127.0.0.1".into(), "::1".into()],
        _ => Vec::new(),
    };
    let mut lines = vec![format!("[bindings.{OPENAI}]")];
    if base.is_some() {
        lines.push(format!("settings = {{ base-url = \"{origin}{path}\" }}"));
    }
    lines.push(format!("grant.http = [\"GET,POST {origin}{path}/**\"]"));
    if !addresses.is_empty() {
        lines.push(format!("grant.addresses = [\"{}\"]", addresses.join("\", \"")));
    }
    lines.push(format!(
        "grant.secrets.api-key = {{ secret = \"openai-api-key\", audience = [\"{origin}\"] }}"
    ));
    lines.push(format!("\n[secrets]\nopenai-api-key = {{ env = \"{OPENAI_API_KEY}\" }}"));
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_grant_that_address_and_no_other() {
        for (base, http, addresses) in [
            (None, "GET,POST https://api.openai.com/v1/**", "[]"),
            (
                Some("http://127.0.0.1:4010/v1/"),
                "GET,POST http://127.0.0.1:4010/v1/**",
                "[\"127.0.0.1/32\"]",
            ),
            (Some("http://[::1]:8080"), "GET,POST http://[::1]:8080/**", "[\"::1/128\"]"),
            (Some("https://example.com/a/b"), "GET,POST https://example.com/a/b/**", "[]"),
        ] {
            let lines = lines_for(base).expect("an address");
            let config = Config::parse(&lines).unwrap_or_else(|error| panic!("{error}\n{lines}"));
            let binding = &config.bindings[OPENAI];
            assert_eq!(binding.grant.http[0].to_string(), http);
            let granted = serde_json::to_string(&binding.grant.addresses).expect("serialised");
            assert_eq!(
                granted.replace("/32", "").replace("/128", ""),
                addresses.replace("/32", "").replace("/128", "")
            );
            assert_eq!(binding.settings.contains_key("base-url"), base.is_some());
            assert!(binding.grant.secrets.contains_key("api-key"));
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for bad in [
            "example.com",
            "ftp://example.com",
            "https://key@example.com",
            "https://example.com/?x=1",
            "https://example.com/*",
            "https://example.com/#\"]",
        ] {
            assert!(lines_for(Some(bad)).is_err(), "{bad} was taken");
        }
    }
}
