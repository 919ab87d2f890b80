//! Words of OAuth 2 that the operator's file and the server share.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// The longest address, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// The longest scope, in bytes.
const MAX_SCOPE_BYTES: usize = 256;

/// An address of which nothing is read or changed on the way: `https`, or `http` on this machine's
/// loopback. It names no user and has no fragment.
///
/// It is kept as it was written, since OAuth compares addresses byte for byte (RFC 8414, section 3.3;
/// RFC 9728, section 3.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecureUrl {
    text: String,
    url: Url,
}

impl SecureUrl {
    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, parsed.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl TryFrom<String> for SecureUrl {
    type Error = String;

    fn try_from(text: String) -> Result<SecureUrl, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("an address has at most {MAX_URL_BYTES} bytes"));
        }
        let url = Url::parse(&text).map_err(|error| format!("`{text}` is no address: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(format!("`{text}` must have no user and no fragment"));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(format!("`{text}` must be https, or http on a loopback address")),
        }
        Ok(SecureUrl { text, url })
    }
}

impl From<SecureUrl> for String {
    fn from(url: SecureUrl) -> String {
        url.text
    }
}

impl fmt::Display for SecureUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SecureUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl JsonSchema for SecureUrl {
    fn schema_name() -> Cow<'static, str> {
        "SecureUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "uri",
            "description": "An https address, or http on a loopback address.",
        })
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What an access token is good for: a `scope-token` of RFC 6749, section 3.3.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Scope(String);

impl Scope {
    /// The scope as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Scope, String> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        match plain && (1..=MAX_SCOPE_BYTES).contains(&text.len()) {
            true => Ok(Scope(text)),
            false => Err(format!(
                "a scope has 1 to {MAX_SCOPE_BYTES} characters of ASCII, no blank, no `\"` and no `\\`"
            )),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_nobody_reads_along_are_secure() {
        for good in [
            "https://as.example.com",
            "https://as.example.com:8443/tenant?x=1",
            "http://localhost:3000",
            "http://127.3.2.1/mcp",
            "http://[::1]:8808/mcp",
        ] {
            let url = SecureUrl::try_from(good.to_owned());
            assert_eq!(url.expect("an address").as_str(), good);
        }
        for bad in [
            "",
            "as.example.com",
            "http://as.example.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "https://user@as.example.com",
            "https://:secret@as.example.com",
            "https://as.example.com/#a",
            "https://",
            "file:///etc/passwd",
        ] {
            assert!(SecureUrl::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(SecureUrl::try_from(format!("https://a/{}", "x".repeat(3000))).is_err());
    }

    #[test]
    fn a_scope_splits_no_header() {
        for good in ["mcp", "files:read", "https://example.com/all", "a'b"] {
            assert!(Scope::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\\b", "a\n", "ä", "\u{7f}"] {
            assert!(Scope::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
