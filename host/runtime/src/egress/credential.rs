//! Secrets on their way into a request. A guest names them; only the host reads them.

use std::fmt;
use std::sync::Arc;

use ampoule_contract::{Denial, ToolError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::body::RequestBody;
use super::headers::is_host_owned;
use super::origin::AudiencePattern;
use super::sigv4::{self, Keys, Scope};
use super::url::CheckedUrl;
use crate::scan::Scanner;

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

/// How a secret gets into a request.
///
/// In files `{ header = "authorization", prefix = "Bearer " }`, `{ query = "key" }`,
/// `{ basic = "username" }`, `{ oauth2 = { token-url = "https://…", client-id = "…" } }` or
/// `{ aws-sigv4 = { service = "s3", region = "eu-central-1" } }`.
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
    /// Not sent to the audience itself: a token that the host gets for it is, as a bearer.
    OAuth2(ClientCredentials),
    /// Not sent at all: it signs the request (AWS Signature Version 4). The secret is
    /// `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, with `:SESSION_TOKEN` behind where there is one.
    AwsSigV4 {
        /// The service, such as `s3`.
        service: String,
        /// The region, such as `eu-central-1`.
        region: String,
    },
}

/// Where a token is got for a client's secret (RFC 6749, section 4.4). The request for it is the
/// binding's: manifest and grant must have `POST` to the URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientCredentials {
    /// The token endpoint, absolute.
    pub token_url: String,
    /// The client whose secret it is.
    pub client_id: String,
    /// What the token is for, as the server names it. Default: whatever the server gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// [`Inject`] as files write it.
#[derive(Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
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
    /// Where a token is got for it, which is attached in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oauth2: Option<ClientCredentials>,
    /// For what of AWS it signs requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aws_sigv4: Option<AwsTable>,
}

/// What an AWS signature is for.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct AwsTable {
    /// The service, such as `s3`.
    service: String,
    /// The region, such as `eu-central-1`.
    region: String,
}

impl TryFrom<InjectTable> for Inject {
    type Error = String;

    fn try_from(table: InjectTable) -> Result<Self, String> {
        let InjectTable { header, prefix, query, basic, oauth2, aws_sigv4 } = table;
        if prefix.is_some() && header.is_none() {
            return Err("a `prefix` belongs to a `header`".into());
        }
        match (header, query, basic, oauth2, aws_sigv4) {
            (Some(name), None, None, None, None) => {
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
            (None, Some(name), None, None, None) if !name.is_empty() => Ok(Inject::Query { name }),
            (None, None, Some(username), None, None) => {
                match username.contains(|c: char| c == ':' || c.is_control()) {
                    true => Err("the user holds `:` or a control character".into()),
                    false => Ok(Inject::Basic { username }),
                }
            }
            (None, None, None, Some(client), None) => {
                CheckedUrl::parse(&client.token_url)
                    .map_err(|error| format!("the `token-url` is refused: {error}"))?;
                let scope = client.scope.as_deref();
                if client.client_id.is_empty()
                    || scope.is_some_and(str::is_empty)
                    || [Some(&*client.client_id), scope]
                        .into_iter()
                        .flatten()
                        .any(|text| text.contains(char::is_control))
                {
                    return Err(
                        "`client-id` or `scope` is empty or holds a control character".into()
                    );
                }
                Ok(Inject::OAuth2(client))
            }
            (None, None, None, None, Some(AwsTable { service, region })) => {
                let fits = |text: &str| {
                    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                    (1..=64).contains(&text.len()) && text.bytes().all(plain)
                };
                match fits(&service) && fits(&region) {
                    true => Ok(Inject::AwsSigV4 { service, region }),
                    false => {
                        Err("`service` and `region` are lower-case letters, digits and `-`".into())
                    }
                }
            }
            _ => Err("it is one of `header` (with `prefix`), `query`, `basic`, `oauth2` and \
                      `aws-sigv4`"
                .into()),
        }
    }
}

impl From<Inject> for InjectTable {
    fn from(inject: Inject) -> InjectTable {
        let none = InjectTable::default();
        match inject {
            Inject::Header { name, prefix } => InjectTable {
                header: Some(name.to_string()),
                prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
                ..none
            },
            Inject::Query { name } => InjectTable { query: Some(name), ..none },
            Inject::Basic { username } => InjectTable { basic: Some(username), ..none },
            Inject::OAuth2(client) => InjectTable { oauth2: Some(client), ..none },
            Inject::AwsSigV4 { service, region } => {
                InjectTable { aws_sigv4: Some(AwsTable { service, region }), ..none }
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
            Inject::Basic { .. } | Inject::OAuth2(_) | Inject::AwsSigV4 { .. } => {
                ("header", header::AUTHORIZATION.as_str())
            }
        }
    }

    /// What is looked for in what the run lets out: the value, or the parts of it that are secret.
    pub(super) fn looked_for(&self) -> Vec<SecretValue> {
        let keys = match &self.inject {
            Inject::AwsSigV4 { .. } => Keys::parse(self.value.expose()),
            _ => None,
        };
        let parts = keys.iter().flat_map(Keys::secret_parts).map(SecretValue::new);
        [self.value.clone()].into_iter().chain(parts).collect()
    }

    /// Whether it must be attached last, since it signs what is there.
    pub(super) fn signs(&self) -> bool {
        matches!(self.inject, Inject::AwsSigV4 { .. })
    }

    /// Puts it into a request with a body, over whatever the guest had put in its place.
    ///
    /// # Errors
    /// `internal` where the value cannot stand in a header or is no pair of keys, `unsupported`
    /// where a body that is still being made would have to be signed.
    pub(super) fn attach(
        &self,
        method: &Method,
        url: &mut Url,
        headers: &mut HeaderMap,
        body: Option<&RequestBody>,
    ) -> Result<(), ToolError> {
        let failed = |log: String| {
            let message = format!("the secret `{}` cannot be attached", self.name);
            ToolError { log: Some(log), ..ToolError::new("internal", message) }
        };
        let (name, text) = match &self.inject {
            Inject::Query { name } => {
                url.query_pairs_mut().append_pair(name, self.value.expose());
                return Ok(());
            }
            Inject::Header { name, prefix } => {
                (name, Zeroizing::new(format!("{prefix}{}", self.value.expose())))
            }
            Inject::Basic { username } => (&header::AUTHORIZATION, self.basic(username)),
            Inject::OAuth2(_) => {
                return Err(failed("no token was got for it".into()));
            }
            Inject::AwsSigV4 { service, region } => {
                let keys = Keys::parse(self.value.expose()).ok_or_else(|| {
                    failed(format!(
                        "the secret `{}` is not ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]",
                        self.name
                    ))
                })?;
                let body = match body {
                    Some(RequestBody::Bytes(bytes)) => &bytes[..],
                    Some(RequestBody::Empty) => &[],
                    Some(RequestBody::Stream { .. }) | None => {
                        let message = "a body that is made while it is sent cannot be signed";
                        return Err(ToolError::new("unsupported", message));
                    }
                };
                return sigv4::attach(
                    &keys,
                    &Scope { service, region },
                    method,
                    url,
                    headers,
                    body,
                );
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            failed(format!(
                "the secret `{}` holds a line break or another character that a header cannot",
                self.name
            ))
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
}

/// Takes secrets out of the fields of an answer: some servers repeat what they were sent.
pub(super) fn redact_headers(headers: &mut HeaderMap, scanner: &Arc<Scanner>) {
    let old = std::mem::take(headers);
    let mut name = None;
    for (next, mut value) in old {
        name = next.or(name);
        if let Some(clean) = scanner.redact(value.as_bytes()).0 {
            value = HeaderValue::from_bytes(&clean)
                .unwrap_or_else(|_| HeaderValue::from_static("[secret]"));
        }
        // A secret in a name has no place to be marked in: the field goes.
        if let Some(name) = name.clone().filter(|name| scanner.is_clean(name.as_str())) {
            headers.append(name, value);
        }
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
            credential(inject).attach(&Method::GET, &mut url, &mut headers, None).unwrap();
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
        let error =
            credential.attach(&Method::GET, &mut url, &mut HeaderMap::new(), None).unwrap_err();
        assert!(!format!("{error:?} {credential:?}").contains("break\""));
        assert!(!format!("{error:?} {credential:?}").contains("line\\n"));
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
            "{ oauth2 = { token-url = \"https://id.example/t\", client-id = \"c\" } }",
            "{ oauth2 = { token-url = \"https://id.example/t\", client-id = \"c\", scope = \"a b\" } }",
            "{ aws-sigv4 = { service = \"s3\", region = \"eu-central-1\" } }",
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
            "{ oauth2 = { token-url = \"id.example/t\", client-id = \"c\" } }",
            "{ oauth2 = { token-url = \"https://id.example/t\" } }",
            "{ oauth2 = { token-url = \"https://id.example/t\", client-id = \"\" } }",
            "{ oauth2 = { token-url = \"https://id.example/t\", client-id = \"c\", scope = \"\" } }",
            "{ oauth2 = { token-url = \"https://id.example/t\", client-id = \"c\", secret = \"s\" } }",
            "{ aws-sigv4 = { service = \"s3\" } }",
            "{ aws-sigv4 = { service = \"S3\", region = \"eu\" } }",
            "{ aws-sigv4 = { service = \"s3/x\", region = \"eu\" } }",
            "{ basic = \"u\", aws-sigv4 = { service = \"s3\", region = \"eu\" } }",
        ] {
            assert!(toml::from_str::<File>(&format!("inject = {bad}")).is_err(), "read {bad}");
        }
    }
}
