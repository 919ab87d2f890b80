//! Keys in arguments: PEM, JWK and sets of JWKs (RFC 7517, 7518, 8037).

use ampoule_sdk::prelude::*;
use ampoule_sdk::serde_json;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use rsa::BoxedUint;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::Algorithm;

/// The least modulus of RSA, in bytes: 2048 bits (NIST SP 800-131A).
const MIN_RSA_BYTES: usize = 256;

/// The longest part of a JWK, in digits of base64url: more than RSA of 8192 bits has.
const MAX_PART: usize = 16 << 10;

/// A key in the arguments.
#[data]
#[serde(untagged)]
#[schemars(description = "A PEM text, a JWK, or a set of JWKs (`{\"keys\": […]}`).")]
pub(crate) enum Key {
    /// PEM; for HMAC the key itself.
    Text(String),
    /// A JWK, or a set of them.
    Jwk(Map<String, Value>),
}

/// The fields of a JWK that are used.
#[data(open)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<String>,
}

impl Key {
    /// Of a set the one key that `kid` names, or the only one; a single key as it is.
    pub(crate) fn select(&self, kid: Option<&str>) -> Result<Key> {
        let Key::Jwk(object) = self else { return Ok(self.clone()) };
        let Some(keys) = object.get("keys") else { return Ok(self.clone()) };
        let keys = keys.as_array().filter(|keys| keys.len() <= 1_000).ok_or_else(|| {
            Error::bad_arguments("`keys` of the set is not a list of at most 1,000 keys")
        })?;
        let named = |key: &&Value| kid.is_none() || key.get("kid").and_then(Value::as_str) == kid;
        let mut matching = keys.iter().filter(named);
        match (matching.next(), matching.next()) {
            (Some(Value::Object(key)), None) => Ok(Key::Jwk(key.clone())),
            (None, _) => Err(Error::not_found("no key of the set has the `kid` of the token")),
            (Some(_), None) => Err(Error::bad_arguments("a key of the set is not an object")),
            (Some(_), Some(_)) => Err(Error::bad_arguments(
                "several keys of the set fit the token: give the one that is meant",
            )),
        }
    }

    /// The HMAC of `data`.
    pub(crate) fn mac(&self, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>> {
        let secret = self.secret(algorithm)?;
        match algorithm {
            Algorithm::HmacSha1 => hmac::<Hmac<Sha1>>(&secret, data, None),
            Algorithm::HmacSha256 => hmac::<Hmac<Sha256>>(&secret, data, None),
            Algorithm::HmacSha384 => hmac::<Hmac<Sha384>>(&secret, data, None),
            _ => hmac::<Hmac<Sha512>>(&secret, data, None),
        }
        .ok_or_else(|| Error::internal("the key cannot be used for HMAC"))
    }

    /// Whether `signature` is that of `data` under this key.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        data: &[u8],
        signature: &[u8],
    ) -> Result<bool> {
        if algorithm.is_hmac() {
            let secret = self.secret(algorithm)?;
            let tag = Some(signature);
            return Ok(match algorithm {
                Algorithm::HmacSha1 => hmac::<Hmac<Sha1>>(&secret, data, tag),
                Algorithm::HmacSha256 => hmac::<Hmac<Sha256>>(&secret, data, tag),
                Algorithm::HmacSha384 => hmac::<Hmac<Sha384>>(&secret, data, tag),
                _ => hmac::<Hmac<Sha512>>(&secret, data, tag),
            }
            .is_some());
        }
        Ok(match algorithm {
            Algorithm::RsaPkcs1Sha256 => {
                self.rsa(algorithm)?.pkcs1v15_verify::<Sha256>(data, signature).is_ok()
            }
            Algorithm::RsaPkcs1Sha384 => {
                self.rsa(algorithm)?.pkcs1v15_verify::<Sha384>(data, signature).is_ok()
            }
            Algorithm::RsaPkcs1Sha512 => {
                self.rsa(algorithm)?.pkcs1v15_verify::<Sha512>(data, signature).is_ok()
            }
            Algorithm::RsaPssSha256 => {
                self.rsa(algorithm)?.pss_verify::<Sha256>(data, signature).is_ok()
            }
            Algorithm::RsaPssSha384 => {
                self.rsa(algorithm)?.pss_verify::<Sha384>(data, signature).is_ok()
            }
            Algorithm::RsaPssSha512 => {
                self.rsa(algorithm)?.pss_verify::<Sha512>(data, signature).is_ok()
            }
            Algorithm::EcdsaP256Sha256 => {
                ecdsa!(self, algorithm, p256, "P-256", 32, data, signature)
            }
            Algorithm::EcdsaP384Sha384 => {
                ecdsa!(self, algorithm, p384, "P-384", 48, data, signature)
            }
            Algorithm::EcdsaP521Sha512 => {
                ecdsa!(self, algorithm, p521, "P-521", 66, data, signature)
            }
            _ => {
                let key = self.ed25519(algorithm)?;
                ed25519_dalek::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify_strict(data, &signature).is_ok())
            }
        })
    }

    /// A key of HMAC.
    fn secret(&self, algorithm: Algorithm) -> Result<Vec<u8>> {
        match self {
            // A public key must never pass for a shared one (RFC 8725, section 2.1).
            Key::Text(text) if text.trim_start().starts_with("-----BEGIN") => {
                Err(Error::bad_arguments(format!(
                    "`key` is PEM, and `{}` has no public key: name the algorithm of the key",
                    algorithm.name()
                )))
            }
            Key::Text(text) if text.is_empty() => Err(Error::bad_arguments("`key` is empty")),
            Key::Text(text) => Ok(text.clone().into_bytes()),
            Key::Jwk(_) => {
                let jwk = self.jwk(algorithm, "oct")?;
                let secret = part("k", jwk.k.as_deref())?;
                match secret.is_empty() {
                    true => Err(Error::bad_arguments("`k` of the key is empty")),
                    false => Ok(secret),
                }
            }
        }
    }

    fn rsa(&self, algorithm: Algorithm) -> Result<rsa::PublicKey> {
        let key = match self {
            Key::Text(text) => {
                let text = pem(text)?;
                let key = match text.contains("BEGIN RSA PUBLIC KEY") {
                    true => rsa::PublicKey::from_pkcs1_pem(text).ok(),
                    false => rsa::PublicKey::from_public_key_pem(text).ok(),
                };
                key.ok_or_else(|| unfit(algorithm))?
            }
            Key::Jwk(_) => {
                let jwk = self.jwk(algorithm, "RSA")?;
                let number = |name, text: Option<&str>| {
                    let bytes = part(name, text)?;
                    BoxedUint::from_be_slice(&bytes, (8 * bytes.len().max(8)) as u32)
                        .map_err(|_| unfit(algorithm))
                };
                let (n, e) = (number("n", jwk.n.as_deref())?, number("e", jwk.e.as_deref())?);
                rsa::PublicKey::new(n, e).map_err(|_| unfit(algorithm))?
            }
        };
        match key.size() < MIN_RSA_BYTES {
            true => Err(Error::bad_arguments(format!(
                "the RSA key has {} bits; the least is {}",
                8 * key.size(),
                8 * MIN_RSA_BYTES
            ))),
            false => Ok(key),
        }
    }

    fn ed25519(&self, algorithm: Algorithm) -> Result<ed25519_dalek::VerifyingKey> {
        match self {
            Key::Text(text) => ed25519_dalek::VerifyingKey::from_public_key_pem(pem(text)?)
                .map_err(|_| unfit(algorithm)),
            Key::Jwk(_) => {
                let jwk = self.jwk(algorithm, "OKP")?;
                if jwk.crv.as_deref() != Some("Ed25519") {
                    return Err(unfit(algorithm));
                }
                let bytes = part("x", jwk.x.as_deref())?;
                let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| unfit(algorithm))?;
                ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| unfit(algorithm))
            }
        }
    }

    /// A point on a curve, uncompressed (SEC 1).
    fn point(&self, algorithm: Algorithm, curve: &str, length: usize) -> Result<Vec<u8>> {
        let jwk = self.jwk(algorithm, "EC")?;
        if jwk.crv.as_deref() != Some(curve) {
            return Err(unfit(algorithm));
        }
        let mut point = vec![4];
        for (name, text) in [("x", jwk.x), ("y", jwk.y)] {
            let part = part(name, text.as_deref())?;
            if part.len() != length {
                return Err(unfit(algorithm));
            }
            point.extend(part);
        }
        Ok(point)
    }

    /// The JWK, where it is of this kind and may be used for this.
    fn jwk(&self, algorithm: Algorithm, kind: &str) -> Result<Jwk> {
        let Key::Jwk(object) = self else { return Err(unfit(algorithm)) };
        let jwk: Jwk = serde_json::from_value(object.clone().into()).map_err(|error| {
            Error::bad_arguments(format!("`key` is not a JWK (RFC 7517): {error}"))
        })?;
        if jwk.kty != kind {
            return Err(unfit(algorithm));
        }
        if jwk.d.is_some() {
            return Err(Error::bad_arguments(
                "`key` is a private key (`d`), which does not belong into arguments: give its \
                 public part",
            ));
        }
        let alg = jwk.alg.as_deref();
        if alg.is_some_and(|alg| !crate::token::Name::of(algorithm).iter().any(|name| name == &alg))
        {
            return Err(Error::bad_arguments(format!(
                "`key` is for `{}` and not for `{}`, as its `alg` says",
                alg.unwrap_or_default(),
                algorithm.name()
            )));
        }
        let signs = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(|operations| {
                operations.iter().any(|name| name == "verify" || name == "sign")
            });
        match signs {
            true => Ok(jwk),
            false => Err(Error::bad_arguments(
                "`key` is not for signatures, as its `use` or `key_ops` says",
            )),
        }
    }
}

/// Whether a signature is right under a key on a curve. The curves' types share no name.
macro_rules! ecdsa {
    ($key:expr, $algorithm:expr, $curve:ident, $name:literal, $length:literal, $data:expr, $signature:expr) => {{
        use $curve::ecdsa::signature::Verifier;
        use $curve::ecdsa::{Signature, VerifyingKey};
        let key = match $key {
            Key::Text(text) => VerifyingKey::from_public_key_pem(pem(text)?).ok(),
            Key::Jwk(_) => {
                VerifyingKey::from_sec1_bytes(&$key.point($algorithm, $name, $length)?).ok()
            }
        };
        let key = key.ok_or_else(|| unfit($algorithm))?;
        let signature = match $signature.len() {
            length if length == 2 * $length => Signature::from_slice($signature),
            _ => Signature::from_der($signature),
        };
        signature.is_ok_and(|signature| key.verify($data, &signature).is_ok())
    }};
}
use ecdsa;

/// The MAC of `data`; where a tag is given, `None` unless it is that, compared in constant time.
fn hmac<M: Mac + KeyInit>(key: &[u8], data: &[u8], tag: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    mac.update(data);
    match tag {
        None => Some(mac.finalize().into_bytes().to_vec()),
        Some(tag) => mac.verify_slice(tag).ok().map(|()| Vec::new()),
    }
}

/// A PEM text, unless it holds what does not belong here.
fn pem(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        return Err(Error::bad_arguments(
            "`key` is a private key, which does not belong into arguments: give its public part",
        ));
    }
    if text.contains("BEGIN CERTIFICATE") {
        return Err(Error::unsupported(
            "`key` is a certificate: give its public key (`openssl x509 -pubkey -noout`)",
        ));
    }
    match text.starts_with("-----BEGIN") {
        true => Ok(text),
        false => Err(Error::bad_arguments(
            "`key` is not PEM (`-----BEGIN PUBLIC KEY-----` …) and not a JWK, an object",
        )),
    }
}

/// A part of a JWK.
fn part(name: &str, text: Option<&str>) -> Result<Vec<u8>> {
    let text = text.filter(|text| text.len() <= MAX_PART).ok_or_else(|| {
        Error::bad_arguments(format!("`{name}` of the key is missing or too long"))
    })?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|error| {
        Error::bad_arguments(format!("`{name}` of the key is not base64url: {error}"))
    })
}

fn unfit(algorithm: Algorithm) -> Error {
    Error::bad_arguments(format!("`key` is not a public key for `{}`", algorithm.name()))
}
