//! Access tokens of an authorization server (OAuth 2.1): this server is a protected resource, which
//! says in its metadata (RFC 9728) where tokens come from, and takes those that were issued for it.
//!
//! A token is a JWT (RFC 9068). Its signature is checked against the keys of the issuer, which are
//! fetched from there when they are first needed, and anew, at most once a minute, when a token names
//! one that is not among them.

mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::crypto::ring;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::{Host, Url};

/// How long the issuer may take to answer.
const TIME: Duration = Duration::from_secs(10);

/// The most bytes of an answer of the issuer: 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// How often keys are fetched at most.
const BETWEEN: Duration = Duration::from_secs(60);

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 30;

/// The longest subject, which names a principal.
const MAX_SUBJECT_BYTES: usize = 256;

/// What signatures may be made with. None that is made with a shared secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// An authorization server, and the tokens of it that are taken.
#[derive(Clone, Debug)]
pub struct OAuth {
    issuer: String,
    resource: Url,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    set: Option<JwkSet>,
    fetched: Option<Instant>,
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl OAuth {
    /// Takes tokens that `issuer` made for the audience `resource`, which is the URL under which
    /// clients reach this server. A call is made for the token's subject (`sub`).
    ///
    /// # Errors
    /// One of them is no URL, or has no TLS and is not of this machine.
    pub fn new(issuer: &str, resource: &str) -> Result<OAuth, String> {
        secure(issuer)?;
        let resource = secure(resource)?;
        let provider = Arc::new(ring::default_provider());
        let tls = rustls_platform_verifier::Verifier::new(provider.clone())
            .map_err(|error| format!("there are no roots of trust: {error}"))?;
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(tls))
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIME)
            .build()
            .map_err(|error| error.to_string())?;
        verify::install();
        let inner = Arc::new(Inner { client, keys: Mutex::default() });
        Ok(OAuth { issuer: issuer.to_owned(), resource, inner })
    }

    /// Where a client that has no token finds [`OAuth::metadata`].
    pub(super) fn metadata_url(&self) -> String {
        let mut url = self.resource.clone();
        url.set_path(&format!("{METADATA}{}", self.resource.path().trim_end_matches('/')));
        url.to_string()
    }

    /// The metadata of this server as a protected resource.
    pub(super) fn metadata(&self) -> Value {
        json!({
            "resource": self.resource,
            "authorization_servers": [self.issuer],
            "bearer_methods_supported": ["header"],
            "resource_name": "Ampoule",
        })
    }

    /// For whom a token was issued.
    ///
    /// # Errors
    /// It is not one of the issuer's, not for this server, or not valid now; or the keys cannot be
    /// had. The text is for the operator.
    pub(super) async fn subject(&self, token: &str) -> Result<String, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("it is signed with {:?}", header.alg));
        }
        let (key, named) = self.key(header.kid.as_deref()).await?;
        if named.is_some_and(|named| named != header.alg) {
            return Err("its key is for another algorithm".to_owned());
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[self.resource.as_str(), self.resource.as_str().trim_end_matches('/')]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let decoded = jsonwebtoken::decode::<Claims>(token, &key, &validation);
        let subject = decoded.map_err(|error| error.to_string())?.claims.sub;
        let fits = (1..=MAX_SUBJECT_BYTES).contains(&subject.len());
        match fits && !subject.chars().any(char::is_control) {
            true => Ok(subject),
            false => Err("its subject cannot be a principal".to_owned()),
        }
    }

    /// The key a token names, and the algorithm it is for, if it is for one alone.
    async fn key(&self, id: Option<&str>) -> Result<(DecodingKey, Option<Algorithm>), String> {
        let mut keys = self.inner.keys.lock().await;
        let may_fetch = keys.fetched.is_none_or(|at| at.elapsed() >= BETWEEN);
        if keys.set.as_ref().and_then(|set| find(set, id)).is_none() && may_fetch {
            keys.fetched = Some(Instant::now());
            keys.set = Some(self.fetch_keys().await?);
        }
        let found = keys.set.as_ref().and_then(|set| find(set, id));
        let key = found.ok_or("the issuer has no key of that name")?;
        let named = key.common.key_algorithm.and_then(|named| named.to_string().parse().ok());
        let decoding = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        Ok((decoding, named))
    }

    async fn fetch_keys(&self) -> Result<JwkSet, String> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let metadata = match self.fetch(&self.well_known("oauth-authorization-server")?).await? {
            Some(metadata) => metadata,
            None => self
                .fetch(&format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/')))
                .await?
                .ok_or("the issuer has no metadata")?,
        };
        let metadata: Metadata =
            serde_json::from_slice(&metadata).map_err(|error| error.to_string())?;
        if metadata.issuer != self.issuer {
            return Err(format!("the issuer calls itself `{}`", metadata.issuer));
        }
        secure(&metadata.jwks_uri)?;
        let keys = self.fetch(&metadata.jwks_uri).await?.ok_or("the issuer has no keys")?;
        serde_json::from_slice(&keys).map_err(|error| error.to_string())
    }

    /// The issuer's metadata under a name (RFC 8414 §3.1).
    fn well_known(&self, name: &str) -> Result<String, String> {
        let mut url = secure(&self.issuer)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("/.well-known/{name}{path}"));
        Ok(url.to_string())
    }

    /// What is at a URL; nothing, where there is nothing.
    async fn fetch(&self, url: &str) -> Result<Option<Vec<u8>>, String> {
        let failed = |error: reqwest::Error| format!("{url}: {error}");
        let mut response = self.inner.client.get(url).send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(format!("{url}: {status}")),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if chunk.len() > MAX_BYTES - body.len() {
                return Err(format!("{url}: more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

/// Where a protected resource says what it is (RFC 9728 §3); its own path follows.
pub(super) const METADATA: &str = "/.well-known/oauth-protected-resource";

/// A URL with TLS, or of this machine.
fn secure(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => Err(format!("`{text}` has no TLS: only https, or http on this machine, is taken")),
    }
}

/// The key of a name; the only one, where none is named.
fn find<'a>(set: &'a JwkSet, id: Option<&str>) -> Option<&'a jsonwebtoken::jwk::Jwk> {
    match (id, set.keys.as_slice()) {
        (Some(id), _) => set.find(id),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}
