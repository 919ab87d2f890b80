//! Secrets on their way into a request. A guest names them; only the host reads them.

use std::fmt;
use std::sync::Arc;

use ampoule_contract::{Denial, ToolError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::headers::is_host_owned;
use super::origin::AudiencePattern;
use super::url::CheckedUrl;

/// What stands in a text where a secret stood.
const REDACTED: &[u8] = b"[redacted]";

/// Texts shorter than this are not looked for in answers: they are in everything.
const MIN_REDACTED: usize = 4;

/// The value of a secret. Its memory is wiped when the last clone goes; `Debug` and errors
/// never show it. (What a request was built from it lives, unwiped, until the request is sent.)
#[derive(Clone)]
pub struct SecretValue(Arc<Zeroizing<String>>);

impl SecretValue {
    /// Takes a value over.
    pub fn new(value: impl Into<String>) -> SecretValue {
        SecretValue(Arc::new(Zeroizing::new(value.into())))
    }

    /// The value itself, for those who compute with it. It belongs in no error, log or result.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue([redacted])")
    }
}

/// Where in a request a secret is put.
///
/// In files `{ header = "authorization", prefix = "Bearer " }`, `{ query = "key" }` or
/// `{ basic = "username" }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "InjectTable", into = "InjectTable")]
#[schemars(with = "InjectTable")]
pub enum Inject {
    /// The value of a header, after a prefix.
    Header {
        /// The header; one that the guest may set too.
        name: HeaderName,
        /// What stands before the secret, such as `Bearer `. Default: nothing.
        prefix: String,
    },
    /// The value of a parameter of the query. Headers are better: servers log queries.
    Query {
        /// The parameter.
        name: String,
    },
    /// The password of basic authentication (RFC 7617).
    Basic {
        /// The user it belongs to; may be empty.
        username: String,
    },
}

/// [`Inject`] as files write it.
#[derive(Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct InjectTable {
    /// The header whose value it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// What stands before it in the header, such as `Bearer `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The parameter of the query whose value it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The user whose password it is in basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basic: Option<String>,
}

impl TryFrom<InjectTable> for Inject {
    type Error = String;

    fn try_from(table: InjectTable) -> Result<Self, String> {
        match table {
            InjectTable { header: Some(name), prefix, query: None, basic: None } => {
                let name = HeaderName::try_from(&name)
                    .map_err(|_| format!("`{name}` is no name of a header"))?;
                if is_host_owned(&name) {
                    return Err(format!("the header `{name}` belongs to the host"));
                }
                let prefix = prefix.unwrap_or_default();
                if HeaderValue::try_from(&prefix).is_err() {
                    return Err("the prefix holds a control character".into());
                }
                Ok(Inject::Header { name, prefix })
            }
            InjectTable { header: None, prefix: None, query: Some(name), basic: None }
                if !name.is_empty() =>
            {
                Ok(Inject::Query { name })
            }
            InjectTable { header: None, prefix: None, query: None, basic: Some(username) } => {
                match username.contains(|c: char| c == ':' || c.is_control()) {
                    true => Err("the user holds `:` or a control character".into()),
                    false => Ok(Inject::Basic { username }),
                }
            }
            _ => Err("it is one of `header` (with `prefix`), `query` and `basic`".into()),
        }
    }
}

impl From<Inject> for InjectTable {
    fn from(inject: Inject) -> InjectTable {
        match inject {
            Inject::Header { name, prefix } => InjectTable {
                header: Some(name.to_string()),
                prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
                ..InjectTable::default()
            },
            Inject::Query { name } => InjectTable { query: Some(name), ..InjectTable::default() },
            Inject::Basic { username } => {
                InjectTable { basic: Some(username), ..InjectTable::default() }
            }
        }
    }
}

/// A secret to attach to a request, and to whom it may go.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The plugin's name for it.
    pub name: String,
    /// The origins it may be sent to. Empty: none.
    pub audience: Vec<AudiencePattern>,
    /// Where in the request it goes.
    pub inject: Inject,
    /// The secret.
    pub value: SecretValue,
}

impl Credential {
    /// Whether it may be sent with a request to `url`.
    pub fn goes_to(&self, url: &CheckedUrl) -> bool {
        self.audience.iter().any(|audience| audience.matches(url))
    }

    /// The refusal for a `url` it may not go to.
    pub(super) fn denial(&self, binding: &str, url: &CheckedUrl) -> Denial {
        let to: Vec<_> = self.audience.iter().map(ToString::to_string).collect();
        let to = match to.is_empty() {
            true => "nobody".to_owned(),
            false => format!("{} only", to.join(", ")),
        };
        let key = super::toml_key(&self.name);
        let line =
            format!("grant.secrets.{key}.audience = [\"{}\"]", AudiencePattern::exactly(url));
        Denial {
            gate: "audience",
            message: format!(
                "the secret `{}` may be sent to {to}, not to {}",
                self.name,
                url.origin()
            ),
            allow: Some(super::binding_lines(binding, &line)),
        }
    }

    /// The place in a request that two secrets cannot share.
    pub(super) fn place(&self) -> (&'static str, &str) {
        match &self.inject {
            Inject::Header { name, .. } => ("header", name.as_str()),
            Inject::Query { name } => ("query parameter", name),
            Inject::Basic { .. } => ("header", header::AUTHORIZATION.as_str()),
        }
    }

    /// Puts it into a request, over whatever the guest had put in its place.
    ///
    /// # Errors
    /// `internal` where the value cannot stand in a header.
    pub(super) fn attach(&self, url: &mut Url, headers: &mut HeaderMap) -> Result<(), ToolError> {
        let (name, text) = match &self.inject {
            Inject::Query { name } => {
                url.query_pairs_mut().append_pair(name, self.value.expose());
                return Ok(());
            }
            Inject::Header { name, prefix } => {
                (name, Zeroizing::new(format!("{prefix}{}", self.value.expose())))
            }
            Inject::Basic { username } => (&header::AUTHORIZATION, self.basic(username)),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let log = format!(
                "the secret `{}` holds a line break or another character that a header cannot",
                self.name
            );
            let message = format!("the secret `{}` cannot be attached", self.name);
            ToolError { log: Some(log), ..ToolError::new("internal", message) }
        })?;
        // Not shown by `Debug`, and never put into a compression table (RFC 7541, section 7.1).
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }

    fn basic(&self, username: &str) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{username}:{}", self.value.expose()));
        Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }

    /// The texts by which the other side could give the secret back.
    fn forms(&self) -> Vec<Zeroizing<String>> {
        let value = self.value.expose();
        let form = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let form = Zeroizing::<String>::new(form);
        let percent = Zeroizing::new(utf8_percent_encode(value, NON_ALPHANUMERIC).to_string());
        let (form_lower, percent_lower) = (lower_hex(&form), lower_hex(&percent));
        let value = Zeroizing::new(value.to_owned());
        let mut forms = vec![value, form, percent, form_lower, percent_lower];
        if let Inject::Basic { username } = &self.inject {
            let header = self.basic(username);
            forms.push(Zeroizing::new(header.trim_start_matches("Basic ").to_owned()));
        }
        forms.retain(|form| form.len() >= MIN_REDACTED);
        forms
    }
}

/// What an encoder has percent-encoded, with the digits in lower case and all else as it is.
fn lower_hex(encoded: &str) -> Zeroizing<String> {
    let mut lower = Zeroizing::new(String::with_capacity(encoded.len()));
    let mut digits = 0_u8;
    for c in encoded.chars() {
        lower.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
        digits = if c == '%' { 2 } else { digits.saturating_sub(1) };
    }
    lower
}

/// `bytes` with every form of every secret in it replaced; `None` where there was none.
pub(super) fn redact(bytes: &[u8], credentials: &[Credential]) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    for form in credentials.iter().flat_map(Credential::forms) {
        let now = changed.as_deref().unwrap_or(bytes);
        let mut next = Vec::with_capacity(now.len());
        let mut from = 0;
        for at in memmem::find_iter(now, form.as_bytes()) {
            next.extend_from_slice(&now[from..at]);
            next.extend_from_slice(REDACTED);
            from = at + form.len();
        }
        if from > 0 {
            next.extend_from_slice(&now[from..]);
            changed = Some(next);
        }
    }
    changed
}

/// Takes secrets out of the fields of an answer: some servers repeat what they were sent.
pub(super) fn redact_headers(headers: &mut HeaderMap, credentials: &[Credential]) {
    for value in headers.values_mut() {
        if let Some(clean) = redact(value.as_bytes(), credentials) {
            *value = HeaderValue::from_bytes(&clean)
                .unwrap_or_else(|_| HeaderValue::from_static("[redacted]"));
        }
    }
}

/// Takes secrets out of a text for a guest or a log.
pub(super) fn redact_text(text: String, credentials: &[Credential]) -> String {
    match redact(text.as_bytes(), credentials) {
        Some(clean) => String::from_utf8_lossy(&clean).into_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn credential(inject: Inject) -> Credential {
        Credential {
            name: "api-key".into(),
            audience: vec!["https://api.example.com".parse().unwrap()],
            inject,
            value: SecretValue::new("s3cr/et+value"),
        }
    }

    fn header(name: &'static str, prefix: &str) -> Inject {
        Inject::Header { name: HeaderName::from_static(name), prefix: prefix.into() }
    }

    #[test]
    fn attached_in_its_place_over_what_was_there() {
        let attach = |inject, url: &str| {
            let mut url = Url::parse(url).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_static("guest"));
            credential(inject).attach(&mut url, &mut headers).unwrap();
            (url.to_string(), headers)
        };
        let (_, headers) = attach(header("authorization", "Bearer "), "https://api.example.com/");
        assert_eq!(headers["authorization"], "Bearer s3cr/et+value");
        assert_eq!(headers.len(), 1);
        assert!(headers["authorization"].is_sensitive());
        let basic = Inject::Basic { username: "ada".into() };
        let (_, headers) = attach(basic, "https://api.example.com/");
        assert_eq!(headers["authorization"], "Basic YWRhOnMzY3IvZXQrdmFsdWU=");
        let query = Inject::Query { name: "key".into() };
        let (url, _) = attach(query, "https://api.example.com/?a=b");
        assert_eq!(url, "https://api.example.com/?a=b&key=s3cr%2Fet%2Bvalue");
    }

    #[test]
    fn a_value_that_no_header_can_hold_is_not_shown() {
        let mut credential = credential(header("x-key", ""));
        credential.value = SecretValue::new("line\nbreak");
        let mut url = Url::parse("https://api.example.com").unwrap();
        let error = credential.attach(&mut url, &mut HeaderMap::new()).unwrap_err();
        assert!(!format!("{error:?} {credential:?}").contains("break\""));
        assert!(!format!("{error:?} {credential:?}").contains("line\\n"));
    }

    #[test]
    fn every_form_is_redacted() {
        let credentials = [credential(Inject::Basic { username: "ada".into() })];
        for text in [
            "see s3cr/et+value here",
            "see s3cr%2Fet%2Bvalue here",
            "see s3cr%2fet%2bvalue here",
            "see YWRhOnMzY3IvZXQrdmFsdWU= here",
        ] {
            assert_eq!(redact_text(text.into(), &credentials), "see [redacted] here");
        }
        let twice = redact_text("s3cr/et+values3cr/et+value".into(), &credentials);
        assert_eq!(twice, "[redacted][redacted]");
        assert_eq!(redact(b"nothing", &credentials), None);
    }

    #[test]
    fn only_the_digits_of_escapes_are_lowered() {
        let mut credential = credential(header("authorization", ""));
        credential.value = SecretValue::new("AB/C é*-");
        for text in ["AB%2fC+%c3%a9*-", "AB%2fC%20%c3%a9%2a%2d", "AB%2FC%20%C3%A9%2A%2D"] {
            assert_eq!(redact_text(text.into(), std::slice::from_ref(&credential)), "[redacted]");
        }
        assert_eq!(redact(b"ab%2fc+%c3%a9*-", &[credential]), None);
    }

    #[test]
    fn a_refusal_names_the_line() {
        let url = CheckedUrl::parse("https://evil.example:8443/x?q").unwrap();
        let credential = credential(header("authorization", ""));
        assert!(!credential.goes_to(&url));
        let denial = credential.denial("weather", &url);
        assert_eq!(denial.gate, "audience");
        assert_eq!(
            denial.allow.unwrap(),
            "[bindings.weather]\n\
             grant.secrets.api-key.audience = [\"https://evil.example:8443\"]"
        );
    }

    #[test]
    fn places_are_read_strictly() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct File {
            inject: Inject,
        }
        for good in [
            "{ header = \"authorization\", prefix = \"Bearer \" }",
            "{ header = \"x-api-key\" }",
            "{ query = \"key\" }",
            "{ basic = \"\" }",
        ] {
            let file: File = toml::from_str(&format!("inject = {good}")).unwrap();
            let text = toml::to_string(&file).unwrap();
            assert_eq!(toml::from_str::<File>(&text).unwrap(), file);
        }
        for bad in [
            "{}",
            "{ header = \"a b\" }",
            "{ header = \"Host\" }",
            "{ header = \"proxy-authorization\" }",
            "{ header = \"x\", query = \"y\" }",
            "{ query = \"\" }",
            "{ query = \"k\", prefix = \"p\" }",
            "{ basic = \"a:b\" }",
            "{ header = \"x\", prefix = \"a\\nb\" }",
            "{ path = \"x\" }",
        ] {
            assert!(toml::from_str::<File>(&format!("inject = {bad}")).is_err(), "read {bad}");
        }
    }
}
