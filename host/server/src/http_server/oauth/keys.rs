//! The keys of an authorization server.
//!
//! They are got when the first token comes, so the server starts while the issuer is down, and got
//! anew when they are old or a token names one that is not there. Whatever clients send, the issuer
//! is asked once in [`PAUSE`] for all of them together. Where it cannot be reached, the keys there
//! are go on being used, for a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ampoule_contract::SecureUrl;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use url::Url;

/// How long keys are used without asking whether there are others.
pub(super) const FRESH: Duration = Duration::from_secs(600);

/// How long keys are used at most, from when they were got. By then tokens have ended that were
/// issued while the issuer could be reached.
pub(super) const KEPT: Duration = Duration::from_secs(3600);

/// How long the issuer is not asked again, whether it has answered or not.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// How long the issuer may take to tell its keys.
const TIME: Duration = Duration::from_secs(10);

/// The largest document of an issuer: 256 KiB.
const MAX_DOCUMENT_BYTES: usize = 256 << 10;

/// The most keys of an issuer.
const MAX_KEYS: usize = 64;

/// Gets documents over HTTP.
#[async_trait::async_trait]
pub trait Documents: Send + Sync {
    /// What `url` answers to `GET` with status 200. No redirect is followed, and nothing is sent
    /// that tells who asks.
    ///
    /// # Errors
    /// There is no such answer, or it has more than `most` bytes; in words for the operator.
    async fn get(&self, url: &Url, most: usize) -> Result<Vec<u8>, String>;
}

/// The keys of an issuer.
pub(super) struct Keys {
    issuer: SecureUrl,
    jwks: Option<SecureUrl>,
    documents: Arc<dyn Documents>,
    held: Mutex<Option<Arc<Held>>>,
    /// When the issuer was asked last; locked while it is.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

/// Keys, and when they were got.
struct Held {
    keys: Vec<(Jwk, DecodingKey)>,
    since: Instant,
}

/// Why there is no key for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// None could be got from the issuer.
    Unavailable,
    /// None of the issuer's fits.
    Unknown,
}

impl Keys {
    pub(super) fn new(
        issuer: SecureUrl,
        jwks: Option<SecureUrl>,
        documents: Arc<dyn Documents>,
    ) -> Keys {
        let (held, asked) = (Mutex::default(), tokio::sync::Mutex::default());
        Keys { issuer, jwks, documents, held, asked }
    }

    /// The key that a token names.
    pub(super) async fn find(self: &Arc<Keys>, header: &Header) -> Result<DecodingKey, NoKey> {
        if let Some(held) = self.held()
            && let Some(key) = held.fitting(header)
        {
            if held.since.elapsed() > FRESH {
                // Nobody waits for it.
                drop(self.ask_again());
            }
            return Ok(key.clone());
        }
        // One that panics is as good as no answer.
        let _ = self.ask_again().await;
        let held = self.held().ok_or(NoKey::Unavailable)?;
        held.fitting(header).cloned().ok_or(NoKey::Unknown)
    }

    /// The keys that may still be used.
    fn held(&self) -> Option<Arc<Held>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|held| held.since.elapsed() <= KEPT)
    }

    /// Asks the issuer, unless that was just done. In a task of its own: a client that goes away must
    /// not keep the keys from the others.
    fn ask_again(self: &Arc<Keys>) -> JoinHandle<()> {
        let (keys, wanted) = (self.clone(), Instant::now());
        tokio::spawn(async move {
            let mut asked = keys.asked.lock().await;
            if asked.is_some_and(|asked| asked + PAUSE > wanted) {
                return;
            }
            let got = timeout(TIME, keys.get()).await;
            *asked = Some(Instant::now());
            match got.unwrap_or_else(|_| Err(format!("it takes longer than {TIME:?}"))) {
                Ok(held) => {
                    tracing::debug!(keys = held.keys.len(), "the issuer's keys are there");
                    let mut place = keys.held.lock().unwrap_or_else(PoisonError::into_inner);
                    *place = Some(Arc::new(held));
                }
                Err(why) => tracing::warn!("no keys of the issuer {}: {why}", keys.issuer),
            }
        })
    }

    async fn get(&self) -> Result<Held, String> {
        let place = match &self.jwks {
            Some(place) => place.clone(),
            None => self.discover().await?,
        };
        let set: Set = self.document(place.url()).await?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("{place} has more than {MAX_KEYS} keys"));
        }
        // A key of a kind that is not known says nothing about the others.
        let keys = set.keys.into_iter().filter_map(|key| {
            let key: Jwk = serde_json::from_value(key).ok()?;
            let decoding = DecodingKey::from_jwk(&key).ok()?;
            Some((key, decoding))
        });
        Ok(Held { keys: keys.collect(), since: Instant::now() })
    }

    /// Where the issuer's metadata says that its keys are.
    async fn discover(&self) -> Result<SecureUrl, String> {
        let mut failures = Vec::new();
        for url in metadata_of(self.issuer.url()) {
            match self.document::<Metadata>(&url).await {
                Ok(metadata) if metadata.issuer == self.issuer.as_str() => {
                    let jwks = SecureUrl::try_from(metadata.jwks_uri)
                        .map_err(|why| format!("{url}: jwks_uri: {why}"))?;
                    let as_safe = jwks.url().scheme() == self.issuer.url().scheme();
                    return match as_safe {
                        true => Ok(jwks),
                        false => Err(format!("{url}: jwks_uri: {jwks} has another scheme")),
                    };
                }
                // RFC 8414, section 3.3: then nothing else of it may be used.
                Ok(_) => failures.push(format!("{url}: it is that of another issuer")),
                Err(why) => failures.push(why),
            }
        }
        Err(failures.join("; "))
    }

    async fn document<T: for<'de> Deserialize<'de>>(&self, url: &Url) -> Result<T, String> {
        let got = self.documents.get(url, MAX_DOCUMENT_BYTES).await;
        let got = got.map_err(|why| format!("{url}: {why}"))?;
        if got.len() > MAX_DOCUMENT_BYTES {
            return Err(format!("{url}: it has more than {MAX_DOCUMENT_BYTES} bytes"));
        }
        serde_json::from_slice(&got).map_err(|error| format!("{url}: {error}"))
    }
}

/// A JWK Set (RFC 7517, section 5).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// What is read of an issuer's metadata (RFC 8414, section 2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Where the metadata of an issuer may be, in the order in which it is looked for: RFC 8414, section
/// 3; the same for OpenID Connect, its section 5; OpenID Connect Discovery 1.0, section 4.
fn metadata_of(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    let mut all = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ];
    all.dedup();
    all
}

impl Held {
    fn fitting(&self, header: &Header) -> Option<&DecodingKey> {
        let found = self.keys.iter().find(|(key, _)| fits(key, header));
        found.map(|(_, decoding)| decoding)
    }
}

/// Whether a key is the one a token names, and was made for what the token says it does.
fn fits(key: &Jwk, header: &Header) -> bool {
    let common = &key.common;
    let is_named = common.key_id == header.kid;
    let algorithm = common.key_algorithm.is_none_or(|own| own == header.alg.into());
    let is_to_verify = common
        .public_key_use
        .as_ref()
        .is_none_or(|wanted| *wanted == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    is_named && algorithm && is_to_verify && is_of_kind(key, header.alg)
}

fn is_of_kind(key: &Jwk, algorithm: Algorithm) -> bool {
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => algorithm.family() == AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(key) => match algorithm {
            Algorithm::ES256 => key.curve == EllipticCurve::P256,
            Algorithm::ES384 => key.curve == EllipticCurve::P384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(key) => {
            algorithm == Algorithm::EdDSA && key.curve == EllipticCurve::Ed25519
        }
        _ => false,
    }
}
