//! Patterns of scheme, host and port: the middle of an HTTP pattern, and by themselves the
//! audience of a secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::url::{CheckedUrl, Host};

/// `SCHEME://HOST[:PORT]` with `*` for any scheme or port, `*.suffix` for names below a suffix
/// and `**` for any host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OriginPattern {
    scheme: SchemePattern,
    host: HostPattern,
    port: PortPattern,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SchemePattern {
    Http,
    Https,
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum HostPattern {
    Exact(Host),
    /// One or more labels before the suffix; never the suffix itself, never an address.
    Below(String),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PortPattern {
    /// The port of the scheme.
    Default,
    Exact(u16),
    Any,
}

impl OriginPattern {
    /// Reads a pattern; `text` ends where its path would begin.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<OriginPattern, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            format!("`{text}` has no scheme; begin with `https://`, `http://` or `*://`")
        })?;
        let scheme = match scheme {
            "http" => SchemePattern::Http,
            "https" => SchemePattern::Https,
            "*" => SchemePattern::Any,
            _ => return Err(format!("the scheme `{scheme}` is not `http`, `https` or `*`")),
        };
        // A colon inside the brackets of an IPv6 address begins no port.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        Ok(OriginPattern { scheme, host: parse_host(host)?, port: parse_port(port, scheme)? })
    }

    /// The pattern that every origin matches.
    pub(super) fn any() -> OriginPattern {
        OriginPattern { scheme: SchemePattern::Any, host: HostPattern::Any, port: PortPattern::Any }
    }

    /// The pattern that only the origin of `url` matches.
    pub(super) fn exactly(url: &CheckedUrl) -> OriginPattern {
        let scheme = match url.scheme() {
            "https" => SchemePattern::Https,
            _ => SchemePattern::Http,
        };
        let port = match url.as_url().port() {
            Some(port) => PortPattern::Exact(port),
            None => PortPattern::Default,
        };
        OriginPattern { scheme, host: HostPattern::Exact(url.host().clone()), port }
    }

    pub(super) fn matches(&self, url: &CheckedUrl) -> bool {
        let scheme = match self.scheme {
            SchemePattern::Http => url.scheme() == "http",
            SchemePattern::Https => url.scheme() == "https",
            SchemePattern::Any => true,
        };
        let host = match (&self.host, url.host()) {
            (HostPattern::Any, _) => true,
            (HostPattern::Exact(wanted), host) => wanted == host,
            (HostPattern::Below(suffix), Host::Name(name)) => is_below(name, suffix),
            (HostPattern::Below(_), Host::Address(_)) => false,
        };
        let port = match self.port {
            PortPattern::Default => url.as_url().port().is_none(),
            PortPattern::Exact(port) => port == url.port(),
            PortPattern::Any => true,
        };
        scheme && host && port
    }

    /// Whether it is certain that `wider` matches whatever this one matches.
    pub(super) fn within(&self, wider: &OriginPattern) -> bool {
        let scheme = wider.scheme == SchemePattern::Any || wider.scheme == self.scheme;
        let host = match (&self.host, &wider.host) {
            (_, HostPattern::Any) => true,
            (HostPattern::Exact(host), HostPattern::Exact(wider)) => host == wider,
            (HostPattern::Exact(Host::Name(name)), HostPattern::Below(suffix)) => {
                is_below(name, suffix)
            }
            (HostPattern::Below(below), HostPattern::Below(suffix)) => {
                below == suffix || is_below(below, suffix)
            }
            _ => false,
        };
        let port = wider.port == PortPattern::Any || wider.port == self.port;
        scheme && host && port
    }

    /// Whether it names one host.
    pub(super) fn names_a_host(&self) -> bool {
        matches!(self.host, HostPattern::Exact(_))
    }
}

/// Whether a name has labels before `suffix`.
fn is_below(name: &str, suffix: &str) -> bool {
    let labels = name.strip_suffix(suffix).and_then(|labels| labels.strip_suffix('.'));
    labels.is_some_and(|labels| !labels.is_empty())
}

fn parse_host(text: &str) -> Result<HostPattern, String> {
    if text == "**" {
        return Ok(HostPattern::Any);
    }
    if text == "*" {
        return Err("the host `*` is written `**` (any host) or `*.example.com`".into());
    }
    if text.is_empty() {
        return Err("the host is missing; `**` stands for any".into());
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(suffix) => (true, suffix),
        None => (false, text),
    };
    if name.contains('*') {
        return Err(format!(
            "the host `{text}` has a `*` inside it; it may only begin with `*.` or be `**`"
        ));
    }
    if name.contains(['@', '%', '\\', ' ']) {
        return Err(format!("the host `{text}` holds `@`, `%`, `\\` or a blank"));
    }
    let host = Host::parse(name).map_err(|error| format!("the host `{text}`: {error}"))?;
    match (below, host) {
        (true, Host::Name(suffix)) => match Host::parse(&format!("a.{suffix}")) {
            Ok(Host::Name(_)) => Ok(HostPattern::Below(suffix)),
            _ => Err(format!("no name ends like `{text}`")),
        },
        (true, Host::Address(_)) => Err(format!("`{text}`: there is nothing below an address")),
        (false, host @ Host::Address(_)) if host.to_string() != text => {
            Err(format!("the address `{text}` is written `{host}`"))
        }
        (false, host) => Ok(HostPattern::Exact(host)),
    }
}

fn parse_port(text: Option<&str>, scheme: SchemePattern) -> Result<PortPattern, String> {
    let Some(text) = text else { return Ok(PortPattern::Default) };
    if text == "*" {
        return Ok(PortPattern::Any);
    }
    let port = text.parse::<u16>().ok().filter(|&port| port != 0 && port.to_string() == text);
    match (port, scheme) {
        (None, _) => Err(format!("the port `{text}` is not `*` or a number from 1 to 65535")),
        (Some(80), SchemePattern::Http) | (Some(443), SchemePattern::Https) => {
            Ok(PortPattern::Default)
        }
        (Some(port), _) => Ok(PortPattern::Exact(port)),
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            SchemePattern::Http => "http://",
            SchemePattern::Https => "https://",
            SchemePattern::Any => "*://",
        })?;
        match &self.host {
            HostPattern::Exact(host) => write!(f, "{host}")?,
            HostPattern::Below(suffix) => write!(f, "*.{suffix}")?,
            HostPattern::Any => f.write_str("**")?,
        }
        match self.port {
            PortPattern::Default => Ok(()),
            PortPattern::Exact(port) => write!(f, ":{port}"),
            PortPattern::Any => f.write_str(":*"),
        }
    }
}

/// Where a secret may be sent: `SCHEME://HOST[:PORT]`, such as `https://api.example.com`,
/// `https://*.example.com` or `http://127.0.0.1:*`.
///
/// Narrower than an HTTP pattern: the scheme is written out, and some host is named, because a
/// secret that may go anywhere is not one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct AudiencePattern(OriginPattern);

impl AudiencePattern {
    /// Whether a secret for this audience may be sent with a request to `url`.
    pub fn matches(&self, url: &CheckedUrl) -> bool {
        self.0.matches(url)
    }

    /// Whether it is certain that every origin of this audience is one of `wider`.
    pub fn within(&self, wider: &AudiencePattern) -> bool {
        self.0.within(&wider.0)
    }

    /// The narrowest audience that `url` belongs to.
    pub fn exactly(url: &CheckedUrl) -> AudiencePattern {
        AudiencePattern(OriginPattern::exactly(url))
    }
}

impl FromStr for AudiencePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#'])) {
            return Err(format!("the audience `{text}` ends after its host or port"));
        }
        let origin = OriginPattern::parse(text)?;
        if origin.scheme == SchemePattern::Any || origin.host == HostPattern::Any {
            return Err(format!(
                "the audience `{text}` is too wide for a secret; name a scheme and a host"
            ));
        }
        Ok(AudiencePattern(origin))
    }
}

impl fmt::Display for AudiencePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for AudiencePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AudiencePattern> for String {
    fn from(pattern: AudiencePattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn audiences() {
        for (pattern, url, expected) in [
            ("https://api.example.com", "https://api.example.com/v1?x", true),
            ("https://api.example.com", "https://api.example.com:443/", true),
            ("https://api.example.com", "http://api.example.com/", false),
            ("https://api.example.com", "https://api.example.com:8443/", false),
            ("https://api.example.com", "https://api.example.com.evil.example/", false),
            ("https://*.example.com", "https://a.b.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://evilexample.com/", false),
            ("http://127.0.0.1:*", "http://127.0.0.1:9999/", true),
            ("http://127.0.0.1", "http://2130706433/", true),
        ] {
            let url = CheckedUrl::parse(url).unwrap();
            let pattern: AudiencePattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&url), expected, "{pattern} against {url}");
            assert!(AudiencePattern::exactly(&url).matches(&url));
        }
        for bad in [
            "",
            "api.example.com",
            "*://api.example.com",
            "https://**",
            "https://*",
            "https://a.example/",
            "https://a.example/v1",
            "https://user@a.example",
            "ftp://a.example",
            "https://",
            "https://:443",
            "https://a.example:0",
        ] {
            assert!(bad.parse::<AudiencePattern>().is_err(), "read {bad:?}");
        }
    }
}
