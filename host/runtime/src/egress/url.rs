//! URLs as guests write them, brought to the one form that is judged and sent.
//!
//! Most ways round a URL policy live in the gap between two parsers: the one that judges and
//! the one that connects, or the server behind it. So a URL is parsed once, by the WHATWG rules
//! (crate `url`); the same normal form is judged and sent; and spellings that some server reads
//! as another path or another host are refused instead of guessed at.

use std::fmt;
use std::net::IpAddr;

use url::Url;

use super::path::{Segment, path_segments};

/// The longest URL that is looked at, in bytes.
pub const MAX_URL_BYTES: usize = 8192;

/// How much of a URL's path an error text shows, in characters.
const SHOWN_PATH: usize = 200;

/// A URL in normal form: `http` or `https`, a host without a dot at its end (names in their
/// ASCII form, lower case), no user, no fragment, dot segments resolved, and a path that every
/// server reads as the same resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedUrl {
    url: Url,
    host: Host,
    port: u16,
    path: Vec<Segment>,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in ASCII, lower case, without a dot at its end.
    Name(String),
    /// An address, in whatever spelling it stood.
    Address(IpAddr),
}

/// Why a URL is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is longer than [`MAX_URL_BYTES`].
    #[error("it is longer than {MAX_URL_BYTES} bytes")]
    Length,
    /// It has a control character in it, or white space at an end.
    #[error("it holds a control character or has white space at its ends")]
    Control,
    /// It does not begin with `http://` or `https://` and a host.
    #[error("it must begin with `http://` or `https://` and a host")]
    Scheme,
    /// It has a `\` where some parsers read `/`.
    #[error("it has a `\\` before its query; write `/` or `%5C`")]
    Backslash,
    /// It names a user, or has an `@` before its path, where hosts are made to look like users.
    #[error("it names a user or password before the host; credentials are attached by the host")]
    User,
    /// Its host is none; with the reason.
    #[error("its host is not valid: {0}")]
    Host(String),
    /// Its port is 0 or no port.
    #[error("its port is not between 1 and 65535")]
    Port,
    /// Its path can be read in two ways, or not at all; with the reason.
    #[error("its path is ambiguous: {0}")]
    Path(&'static str),
}

impl UrlError {
    /// One word for it: `length`, `control`, `scheme`, `backslash`, `user`, `host`, `port` or
    /// `path`.
    pub const fn word(&self) -> &'static str {
        match self {
            UrlError::Length => "length",
            UrlError::Control => "control",
            UrlError::Scheme => "scheme",
            UrlError::Backslash => "backslash",
            UrlError::User => "user",
            UrlError::Host(_) => "host",
            UrlError::Port => "port",
            UrlError::Path(_) => "path",
        }
    }
}

impl CheckedUrl {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// It is refused; see [`UrlError`] for what is.
    pub fn parse(text: &str) -> Result<CheckedUrl, UrlError> {
        check_text(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlError::Scheme);
        }
        // The parser mends all of the following in silence; another one may mend it otherwise.
        let before_query = rest.split(['?', '#']).next().unwrap_or(rest);
        if before_query.contains('\\') {
            return Err(UrlError::Backslash);
        }
        let authority = before_query.split('/').next().unwrap_or(before_query);
        if authority.is_empty() {
            return Err(UrlError::Scheme);
        }
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::InvalidPort => UrlError::Port,
            other => UrlError::Host(other.to_string()),
        })?;
        CheckedUrl::normal(url)
    }

    /// The URL that `location` names when this one answers with it (RFC 3986, section 5).
    ///
    /// # Errors
    /// As [`parse`](CheckedUrl::parse).
    pub fn join(&self, location: &str) -> Result<CheckedUrl, UrlError> {
        check_text(location)?;
        let joined = self.url.join(location).map_err(|error| match error {
            url::ParseError::InvalidPort => UrlError::Port,
            other => UrlError::Host(other.to_string()),
        })?;
        CheckedUrl::parse(joined.as_str())
    }

    fn normal(mut url: Url) -> Result<CheckedUrl, UrlError> {
        url.set_fragment(None);
        let host = match url.host() {
            Some(url::Host::Ipv4(address)) => Host::Address(address.into()),
            Some(url::Host::Ipv6(address)) => Host::Address(address.into()),
            Some(url::Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_owned();
                check_name(&name).map_err(UrlError::Host)?;
                url.set_host(Some(&name)).map_err(|error| UrlError::Host(error.to_string()))?;
                Host::Name(name)
            }
            None => return Err(UrlError::Scheme),
        };
        let port = url.port_or_known_default().filter(|&port| port != 0).ok_or(UrlError::Port)?;
        let path = path_segments(url.path())?;
        // What is sent must be what was judged, whoever reads it next.
        if Url::parse(url.as_str()).as_ref() != Ok(&url) {
            return Err(UrlError::Path("it changes when it is normalised again"));
        }
        Ok(CheckedUrl { url, host, port, path })
    }

    /// The URL as it is sent, its query included.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The URL as it is sent, its query included.
    pub fn as_url(&self) -> &Url {
        &self.url
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port; that of the scheme where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Scheme, host and port, `https://example.com`; the port only where it is not the scheme's.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether both have the same scheme, host and port.
    pub fn same_origin(&self, other: &CheckedUrl) -> bool {
        self.scheme() == other.scheme() && self.host == other.host && self.port == other.port
    }

    /// The URL without its query, a long path cut: for error texts, into which no query belongs
    /// because queries carry keys.
    pub fn shown(&self) -> String {
        let path = self.url.path();
        match path.char_indices().nth(SHOWN_PATH) {
            None => format!("{}{path}", self.origin()),
            Some((cut, _)) => format!("{}{}…", self.origin(), &path[..cut]),
        }
    }

    /// The same URL without the parts of its query that are called `name` and for which
    /// `remove` says so of their decoded value.
    pub(super) fn without_parameter(
        mut self,
        name: &str,
        remove: impl Fn(&str) -> bool,
    ) -> CheckedUrl {
        let Some(query) = self.url.query() else { return self };
        let kept: Vec<_> = query
            .split('&')
            .filter(|part| {
                let mut pairs = url::form_urlencoded::parse(part.as_bytes());
                !pairs.any(|(key, value)| key == name && remove(&value))
            })
            .collect();
        if kept.len() < query.split('&').count() {
            let kept = kept.join("&");
            self.url.set_query(Some(kept.as_str()).filter(|query| !query.is_empty()));
        }
        self
    }

    pub(super) fn path(&self) -> &[Segment] {
        &self.path
    }
}

impl fmt::Display for CheckedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Host {
    /// Reads a host as it stands in a URL: a name, an IPv4 address, or an IPv6 address in
    /// brackets.
    ///
    /// # Errors
    /// It is no host; with the reason.
    pub(super) fn parse(text: &str) -> Result<Host, String> {
        match url::Host::parse(text).map_err(|error| error.to_string())? {
            url::Host::Ipv4(address) => Ok(Host::Address(address.into())),
            url::Host::Ipv6(address) => Ok(Host::Address(address.into())),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                check_name(name)?;
                Ok(Host::Name(name.to_owned()))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            // The form of URLs, which writes embedded IPv4 addresses in hexadecimal too.
            Host::Address(IpAddr::V6(address)) => url::Host::<&str>::Ipv6(*address).fmt(f),
        }
    }
}

fn check_text(text: &str) -> Result<(), UrlError> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlError::Length);
    }
    match text.contains(|c: char| c.is_control()) || text.trim() != text {
        true => Err(UrlError::Control),
        false => Ok(()),
    }
}

/// The rule for names: letters, digits, `-` and `_` (which service names begin with). What a
/// pattern gives a meaning, `*` above all, can therefore never stand in a name.
fn check_name(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err("it is longer than 253 bytes".into());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("each part between dots has 1 to 63 bytes".into());
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("a name is letters, digits, `-`, `_` and dots".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        input: String,
        expected: Expected,
        why: String,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Expected {
        Sent(String),
        Refused(String),
    }

    #[test]
    fn public_vectors() {
        crate::egress::tests::check_vectors("urls.json", |Row { input, expected, why }| {
            let found = match CheckedUrl::parse(&input) {
                Ok(url) => Expected::Sent(url.to_string()),
                Err(error) => Expected::Refused(error.word().to_owned()),
            };
            (found != expected).then(|| format!("{input:?}: {found:?}, not {expected:?}: {why}"))
        });
    }

    #[test]
    fn length_is_bounded() {
        let url = |n: usize| format!("https://example.com/{}", "a".repeat(n));
        assert!(CheckedUrl::parse(&url(MAX_URL_BYTES - 20)).is_ok());
        assert_eq!(CheckedUrl::parse(&url(MAX_URL_BYTES)), Err(UrlError::Length));
    }

    #[test]
    fn normal_form_is_a_fixed_point() {
        for text in ["http://EXAMPLE.com.:80/a/../b%7E?x#y", "https://bücher.example/ü//x;y"] {
            let url = CheckedUrl::parse(text).unwrap();
            assert_eq!(CheckedUrl::parse(url.as_str()), Ok(url));
        }
    }

    #[test]
    fn locations_are_judged_like_urls() {
        let base = CheckedUrl::parse("https://example.com/a/b?q").unwrap();
        for (location, expected) in [
            ("/c", Ok("https://example.com/c")),
            ("../c?x#y", Ok("https://example.com/c?x")),
            ("//other.example/", Ok("https://other.example/")),
            ("http://0x7f.1/", Ok("http://127.0.0.1/")),
            ("?next", Ok("https://example.com/a/b?next")),
            ("https://user@example.com/", Err("user")),
            ("ftp://example.com/", Err("scheme")),
            ("javascript:alert(1)", Err("scheme")),
            ("/a/..%2fb", Err("path")),
            ("/a/..%3fb", Err("path")),
            ("/a/b%252f..%2523", Err("path")),
            ("/a/b%3f%23", Ok("https://example.com/a/b%3f%23")),
            ("/a\tb", Err("control")),
        ] {
            let found = base.join(location);
            let found = found.as_ref().map(CheckedUrl::as_str).map_err(UrlError::word);
            assert_eq!(found, expected, "{location}");
        }
    }

    #[test]
    fn parameters_are_taken_out_by_name_and_value() {
        let left = |query: &str, value: Option<&str>| {
            let url = CheckedUrl::parse(&format!("https://h.example/p{query}")).unwrap();
            let url = url.without_parameter("key", |found| value.is_none_or(|v| v == found));
            url.as_url().query().map(str::to_owned)
        };
        assert_eq!(left("?a=1&key=x&b=%2F&key=y", None).as_deref(), Some("a=1&b=%2F"));
        assert_eq!(left("?k%65y=x", None), None);
        assert_eq!(left("?key=x&key=y", Some("x")).as_deref(), Some("key=y"));
        assert_eq!(left("?", None).as_deref(), Some(""));
        assert_eq!(left("", None), None);
    }

    #[test]
    fn shown_form_has_no_query_and_is_short() {
        let url = CheckedUrl::parse("https://h.example:8443/p?key=secret").unwrap();
        assert_eq!(url.shown(), "https://h.example:8443/p");
        let long = CheckedUrl::parse(&format!("https://h.example/{}", "a".repeat(4000))).unwrap();
        assert!(long.shown().len() < 250);
    }
}
