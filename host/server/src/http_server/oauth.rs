//! Access tokens of an authorization server: this server as a resource server of OAuth 2.1.
//!
//! A token is a JWT (RFC 9068) that the issuer signed with one of its [`keys`], for this server and no
//! other (RFC 8707). Clients find the issuer by the metadata of this server (RFC 9728), to which every
//! refusal points. What is wrong with a token is said in the log; its sender learns no more than
//! RFC 6750 has words for.

mod crypto;
mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ampoule_contract::{Scope, SecureUrl};
use bytes::Bytes;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::Deserialize;
use serde_json::json;

use super::access::NotLetIn;
pub use keys::Documents;
use keys::{Keys, NoKey};

/// Where the metadata of a resource server stands (RFC 9728, section 3).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The longest access token: 16 KiB.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The longest claim `sub`, as OpenID Connect has it.
const MAX_SUBJECT_BYTES: usize = 255;

/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 30;

/// The authorization server whose access tokens are taken, and for whom.
#[derive(Clone)]
pub struct OAuth {
    /// Who issues the tokens: the claim `iss`.
    pub issuer: SecureUrl,
    /// The address under which clients reach this server: the claim `aud`, or one of it.
    pub resource: SecureUrl,
    /// Where the issuer's keys are; nothing, where its metadata says so (RFC 8414, or OpenID Connect
    /// Discovery).
    pub jwks: Option<SecureUrl>,
    /// The scopes that a token must have, all of them.
    pub scopes: Vec<Scope>,
    /// The principals, by the claim `sub` of their tokens.
    pub subjects: BTreeMap<String, String>,
    /// For whom calls are made whose token has the `sub` of none of them; nobody is refused.
    pub principal: Option<String>,
    /// Gets the issuer's metadata and keys.
    pub documents: Arc<dyn Documents>,
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth")
            .field("issuer", &self.issuer)
            .field("resource", &self.resource)
            .field("jwks", &self.jwks)
            .field("scopes", &self.scopes)
            .field("subjects", &self.subjects)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// Judges access tokens.
pub(super) struct Judge {
    oauth: OAuth,
    keys: Arc<Keys>,
    /// The metadata of this server, as JSON.
    metadata: Bytes,
    /// What every challenge has: where that is, and the scopes that are needed.
    hints: String,
}

/// The claims of a token that are looked at here; the others are validated by jsonwebtoken. The
/// issuer stands here too since it must be one text, not a list.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "iss")]
    _iss: String,
    sub: String,
    #[serde(default)]
    scope: String,
}

impl Judge {
    pub(super) fn new(oauth: OAuth) -> Judge {
        crypto::install();
        let mut metadata = json!({
            "resource": oauth.resource.as_str(),
            "authorization_servers": [oauth.issuer.as_str()],
            "bearer_methods_supported": ["header"],
            "resource_name": "Ampoule",
        });
        let mut address = oauth.resource.url().clone();
        let path = address.path().trim_end_matches('/').to_owned();
        address.set_path(&format!("{METADATA}{path}"));
        let mut hints = format!("resource_metadata=\"{address}\"");
        if !oauth.scopes.is_empty() {
            let scopes: Vec<_> = oauth.scopes.iter().map(Scope::as_str).collect();
            hints += &format!(", scope=\"{}\"", scopes.join(" "));
            metadata["scopes_supported"] = scopes.into();
        }
        let (issuer, jwks) = (oauth.issuer.clone(), oauth.jwks.clone());
        let keys = Arc::new(Keys::new(issuer, jwks, oauth.documents.clone()));
        Judge { oauth, keys, metadata: metadata.to_string().into(), hints }
    }

    /// The metadata of this server, where it is asked for it: at the root, and at the path of the
    /// resource.
    pub(super) fn metadata(&self, path: &str) -> Option<&Bytes> {
        let of = path.strip_prefix(METADATA)?;
        let own = self.oauth.resource.url().path().trim_end_matches('/');
        (of.is_empty() || of == own).then_some(&self.metadata)
    }

    /// What a refusal tells a client: an error of RFC 6750, section 3.1, where it has sent a token.
    pub(super) fn challenge(&self, error: Option<&str>) -> HeaderValue {
        let error = error.map_or_else(String::new, |error| format!("error=\"{error}\", "));
        // Addresses and scopes hold what a header may.
        HeaderValue::try_from(format!("Bearer {error}{}", self.hints))
            .unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// For whom a request with this token is made.
    pub(super) async fn principal(&self, token: &[u8]) -> Result<String, NotLetIn> {
        let claims = match self.claims(token).await {
            Ok(claims) => claims,
            Err(why) => {
                tracing::warn!("an access token was refused: {why}");
                return Err(match why {
                    Wrong::NoKeys => NotLetIn::Unavailable,
                    _ => NotLetIn::Wrong,
                });
            }
        };
        let granted: Vec<_> = claims.scope.split(' ').collect();
        if let Some(missing) = self.oauth.scopes.iter().find(|s| !granted.contains(&s.as_str())) {
            tracing::warn!(subject = claims.sub, ?missing, "an access token lacks a scope");
            return Err(NotLetIn::Scope);
        }
        let principal = self.oauth.subjects.get(&claims.sub).or(self.oauth.principal.as_ref());
        principal.cloned().ok_or_else(|| {
            tracing::warn!(subject = claims.sub, "an access token is nobody's");
            NotLetIn::Nobody(claims.sub)
        })
    }

    async fn claims(&self, token: &[u8]) -> Result<Claims, Wrong> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Wrong::Form("it is too long"));
        }
        let header = jsonwebtoken::decode_header(token)?;
        check_header(&header)?;
        let key = self.keys.find(&header).await.map_err(|none| match none {
            NoKey::Unavailable => Wrong::NoKeys,
            NoKey::Unknown => Wrong::Form("the issuer has no such key for its algorithm"),
        })?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[self.oauth.issuer.as_str()]);
        validation.set_audience(&[self.oauth.resource.as_str()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)?.claims;
        let is_plain = !claims.sub.is_empty() && !claims.sub.chars().any(char::is_control);
        match is_plain && claims.sub.len() <= MAX_SUBJECT_BYTES {
            true => Ok(claims),
            false => Err(Wrong::Form("its subject is empty, too long or no text")),
        }
    }
}

/// Whether it is the header of an access token, in a form and with extensions that are understood.
fn check_header(header: &Header) -> Result<(), Wrong> {
    let typ = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
    // RFC 9068, section 4; servers that came before it say `JWT`.
    if !matches!(&*typ, "at+jwt" | "application/at+jwt" | "jwt") {
        return Err(Wrong::Form("its type is not that of an access token"));
    }
    // RFC 7515, section 4.1.11.
    if header.crit.is_some() {
        return Err(Wrong::Form("it needs an extension that is not known"));
    }
    match header.alg {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            Err(Wrong::Form("it is signed with a shared secret"))
        }
        _ => Ok(()),
    }
}

/// What is wrong with a token, for the log. It repeats nothing of the token.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    Form(&'static str),
    #[error("the issuer's keys are not there")]
    NoKeys,
    #[error("{}", kind(.0))]
    Token(#[from] jsonwebtoken::errors::Error),
}

/// The kind of an error alone: the text of some quotes the token.
fn kind(error: &jsonwebtoken::errors::Error) -> String {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => "it is malformed".into(),
        kind => format!("{kind:?}"),
    }
}

#[cfg(test)]
mod tests;
