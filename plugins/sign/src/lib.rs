//! Signs and verifies: HMAC, RSA, ECDSA, Ed25519, and JSON Web Tokens over them.
//!
//! The keys that sign are the operator's secrets `hmac-key` and `private-key`. The host works with
//! them and the plugin never sees them, so what it can sign with is what the host offers: HMAC with
//! SHA-1, SHA-256, SHA-384 and SHA-512, Ed25519, RSA and ECDSA on P-256 with SHA-256. Several keys
//! are several bindings. To verify, a public key may stand in the arguments too, in PEM, as a JWK or
//! as a set of them; RustCrypto works with it. A key for HMAC in the arguments is for keys that are
//! no secret, such as those of test vectors.
//!
//! Parity with SmythOS's FSign (HMAC, RSA; `None`, `Stringify`, `Querystring`). Deliberate
//! differences: MD5 is not offered and there is no default for the algorithm; JSON is signed in
//! canonical form (RFC 8785), so that the order of its fields does not matter; an unknown method is
//! an error and not `null`.
//!
//! Tokens (RFC 7515, 7519): the caller names the algorithms it accepts, a key is used for its own
//! kind of algorithm alone (RFC 8725, section 3.1), `none` does not exist, and a header that must be
//! understood (`crit`) and is not refuses the token. The suites are the vectors of RFC 4231, 7515,
//! 7520, 8032 and 8037, and signatures made by OpenSSL.

mod key;
mod token;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{secrets, serde_json};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use shared_canonical_json::canonical;

use crate::key::Key;

/// The operator's secret that HMAC is made with.
const HMAC_KEY: &str = "hmac-key";

/// The operator's secret that signatures are made with.
const PRIVATE_KEY: &str = "private-key";

/// What `encodeURIComponent`, and so Node's `querystring`, leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The algorithms, by the names the host has for them.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Algorithm {
    /// For old protocols only.
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    RsaPkcs1Sha256,
    /// Verified with a public key only.
    RsaPkcs1Sha384,
    /// Verified with a public key only.
    RsaPkcs1Sha512,
    RsaPssSha256,
    /// Verified with a public key only.
    RsaPssSha384,
    /// Verified with a public key only.
    RsaPssSha512,
    EcdsaP256Sha256,
    /// Verified with a public key only.
    EcdsaP384Sha384,
    /// Verified with a public key only.
    EcdsaP521Sha512,
    Ed25519,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::HmacSha1 => "hmac-sha1",
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::HmacSha384 => "hmac-sha384",
            Algorithm::HmacSha512 => "hmac-sha512",
            Algorithm::RsaPkcs1Sha256 => "rsa-pkcs1-sha256",
            Algorithm::RsaPkcs1Sha384 => "rsa-pkcs1-sha384",
            Algorithm::RsaPkcs1Sha512 => "rsa-pkcs1-sha512",
            Algorithm::RsaPssSha256 => "rsa-pss-sha256",
            Algorithm::RsaPssSha384 => "rsa-pss-sha384",
            Algorithm::RsaPssSha512 => "rsa-pss-sha512",
            Algorithm::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Algorithm::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Algorithm::EcdsaP521Sha512 => "ecdsa-p521-sha512",
            Algorithm::Ed25519 => "ed25519",
        }
    }

    pub(crate) fn is_hmac(self) -> bool {
        matches!(
            self,
            Algorithm::HmacSha1
                | Algorithm::HmacSha256
                | Algorithm::HmacSha384
                | Algorithm::HmacSha512
        )
    }

    /// Whether the host works with it.
    fn of_host(self) -> bool {
        self.is_hmac()
            || matches!(
                self,
                Algorithm::RsaPkcs1Sha256
                    | Algorithm::RsaPssSha256
                    | Algorithm::EcdsaP256Sha256
                    | Algorithm::Ed25519
            )
    }
}

/// A signature or MAC of `data` by the operator's secret.
///
/// # Errors
/// `denied` and `unauthorized` of the host; `unsupported` for what it does not sign with.
pub(crate) fn signed(algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>> {
    check_host(algorithm)?;
    if algorithm.is_hmac() {
        secrets::mac(HMAC_KEY, algorithm.name(), data)
    } else {
        secrets::sign(PRIVATE_KEY, algorithm.name(), data)
    }
}

/// Whether `signature` is that of `data`, by a key of the arguments or the operator's secret.
pub(crate) fn verified(
    algorithm: Algorithm,
    key: Option<&Key>,
    data: &[u8],
    signature: &[u8],
) -> Result<bool> {
    match key {
        Some(key) => key.verify(algorithm, data, signature),
        None => {
            check_host(algorithm)?;
            let name = if algorithm.is_hmac() { HMAC_KEY } else { PRIVATE_KEY };
            secrets::verify(name, algorithm.name(), data, signature)
        }
    }
}

fn check_host(algorithm: Algorithm) -> Result<()> {
    match algorithm.of_host() {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "the host does not work with `{}`: it is there to verify with a public key in `key`",
            algorithm.name()
        ))),
    }
}

/// How a signature is written.
#[data]
#[derive(Copy, Default)]
enum Encoding {
    #[default]
    Hex,
    Base64,
    /// Without padding.
    Base64url,
}

/// What to sign, and how. One of `data`, `json` and `fields` is given.
#[data]
struct Signing {
    /// The algorithm.
    algorithm: Algorithm,
    /// The bytes to sign; of a text its UTF-8.
    data: Option<Content>,
    /// A JSON value to sign, in canonical form (RFC 8785).
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    json: Option<Value>,
    /// Fields to sign as a query string, `a=1&b=2` in their order; a list is a field for each item.
    fields: Option<Map<String, Value>>,
    /// A key of HMAC that is no secret: a text or a JWK of `kty` `oct`. Default: the operator's.
    key: Option<Key>,
    /// How the signature is written. Default: `hex`.
    #[serde(default)]
    encoding: Encoding,
}

/// A signature.
#[data]
struct Signed {
    /// The signature or MAC. That of ECDSA is r and s, each of the curve's length.
    signature: String,
}

/// Sign data with the operator's key, or make its HMAC.
///
/// The key is the operator's secret, `hmac-key` for HMAC and `private-key` for the others; nobody
/// can read it. Use it to sign requests, webhooks and messages.
#[tool]
fn sign(signing: Signing) -> Result<Signed> {
    let Signing { algorithm, data, json, fields, key, encoding } = signing;
    let data = message(data, json, fields)?;
    let signature = match key {
        None => signed(algorithm, &data)?,
        Some(key) if algorithm.is_hmac() => key.mac(algorithm, &data)?,
        Some(_) => {
            return Err(Error::bad_arguments(
                "`key` is for HMAC: a private key does not belong into arguments; leave it out \
                 and the operator's secret `private-key` is used",
            ));
        }
    };
    Ok(Signed {
        signature: match encoding {
            Encoding::Hex => HEXLOWER.encode(&signature),
            Encoding::Base64 => BASE64.encode(&signature),
            Encoding::Base64url => BASE64URL_NOPAD.encode(&signature),
        },
    })
}

/// What was signed, and by whom. One of `data`, `json` and `fields` is given.
#[data]
struct Verifying {
    /// The algorithm.
    algorithm: Algorithm,
    /// The bytes that were signed; of a text its UTF-8.
    data: Option<Content>,
    /// A JSON value that was signed, in canonical form (RFC 8785).
    #[serde(default, deserialize_with = "ampoule_sdk::present")]
    json: Option<Value>,
    /// Fields that were signed as a query string.
    fields: Option<Map<String, Value>>,
    /// The signature; one of ECDSA may also be in DER.
    #[schemars(length(max = 8_192))]
    signature: String,
    /// The public key: PEM (`BEGIN PUBLIC KEY`, `BEGIN RSA PUBLIC KEY`) or a JWK; for HMAC a text or
    /// a JWK. Default: the operator's secret.
    key: Option<Key>,
    /// How the signature is written. Default: `hex`.
    #[serde(default)]
    encoding: Encoding,
}

/// Whether it is right.
#[data]
struct Verified {
    /// Whether the signature is that of the data under the key.
    valid: bool,
}

/// Tell whether a signature or HMAC is right, by a public key given or by the operator's secret.
#[tool]
fn verify(verifying: Verifying) -> Result<Verified> {
    let Verifying { algorithm, data, json, fields, signature, key, encoding } = verifying;
    let data = message(data, json, fields)?;
    let text: Vec<u8> = signature.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let trimmed = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(&text);
    let signature = match encoding {
        Encoding::Hex => HEXLOWER_PERMISSIVE.decode(&text),
        Encoding::Base64 => data_encoding::BASE64_NOPAD.decode(trimmed),
        Encoding::Base64url => BASE64URL_NOPAD.decode(trimmed),
    }
    .map_err(|error| {
        Error::bad_arguments(format!("`signature` is not written as `encoding` says: {error}"))
    })?;
    Ok(Verified { valid: verified(algorithm, key.as_ref(), &data, &signature)? })
}

/// The bytes that are signed.
fn message(
    data: Option<Content>,
    json: Option<Value>,
    fields: Option<Map<String, Value>>,
) -> Result<Vec<u8>> {
    match (data, json, fields) {
        (Some(data), None, None) => data.bytes(),
        (None, Some(json), None) => Ok(canonical(&json).into_bytes()),
        (None, None, Some(fields)) => query_string(fields).map(String::into_bytes),
        _ => Err(Error::bad_arguments("give one of `data`, `json` and `fields`")),
    }
}

/// Fields as Node's `querystring.stringify` writes them.
fn query_string(fields: Map<String, Value>) -> Result<String> {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let text = match value {
                Value::String(text) => text,
                Value::Null => String::new(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(Error::bad_arguments(format!(
                        "the field `{name}` is nested: a query string has texts, numbers, true, \
                         false, null and lists of them"
                    )));
                }
            };
            let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
            pairs.push(format!("{}={}", encode(&name), encode(&text)));
        }
    }
    Ok(pairs.join("&"))
}

/// What to put into a token.
#[data]
struct TokenWanted {
    /// The algorithm.
    algorithm: token::SigningName,
    /// The claims.
    claims: Map<String, Value>,
    /// Fields of the header beside `alg` and `typ`, such as `kid`.
    #[serde(default)]
    header: Map<String, Value>,
    /// Seconds for which it is valid: sets `iat` and `exp`, counted from `at`.
    #[schemars(range(min = 1, max = 3_153_600_000_u64))]
    expires_in_s: Option<u64>,
    /// The time in seconds since 1970. Default: now, by the host's clock.
    #[schemars(range(max = 253_402_300_799_u64))]
    at: Option<u64>,
}

/// A token.
#[data]
struct Token {
    /// The token, in compact form.
    token: String,
}

/// Make a JSON Web Token, signed with the operator's key (`hmac-key` for HS…, else `private-key`).
#[tool]
fn jwt_sign(wanted: TokenWanted) -> Result<Token> {
    let TokenWanted { algorithm, mut claims, header, expires_in_s, at } = wanted;
    if let Some(seconds) = expires_in_s {
        let now = token::time(at)?;
        for (name, value) in [("iat", now), ("exp", now.saturating_add(seconds))] {
            if claims.insert(name.into(), value.into()).is_some() {
                return Err(Error::bad_arguments(format!(
                    "`expires_in_s` sets `{name}`: leave one of them out"
                )));
            }
        }
    }
    token::sign(algorithm, header, &claims).map(|token| Token { token })
}

/// A token, and what it has to fulfil.
#[data]
struct TokenGiven {
    /// The token, in compact form.
    #[schemars(length(max = 65_536))]
    token: String,
    /// The algorithms that are accepted: those of the key, all of one kind.
    #[schemars(length(min = 1, max = 14))]
    algorithms: Vec<token::Name>,
    /// The public key: PEM, a JWK, or a set of JWKs of which `kid` names one; for HS… a text or JWK.
    /// Default: the operator's secret.
    key: Option<Key>,
    /// Who must be among its `aud`.
    audience: Option<String>,
    /// What its `iss` must be.
    issuer: Option<String>,
    /// What its `sub` must be.
    subject: Option<String>,
    /// Claims that must be there.
    #[serde(default)]
    #[schemars(length(max = 100))]
    required: Vec<String>,
    /// The time in seconds since 1970, for `exp` and `nbf`. Default: now, by the host's clock.
    #[schemars(range(max = 253_402_300_799_u64))]
    at: Option<u64>,
    /// Seconds by which clocks may differ. Default: 0.
    #[serde(default)]
    #[schemars(range(max = 600))]
    leeway_s: u64,
}

/// What was found.
#[data]
struct Judged {
    /// Whether the signature is right and every claim is as it must be.
    valid: bool,
    /// Why it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The header of a valid token.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Map<String, Value>>,
    /// The claims of a valid token; nobody vouches for those of another, so they are not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
}

/// Verify a JSON Web Token: signature, `exp`, `nbf`, and the audience, issuer and subject asked for.
///
/// A token that carries an audience is valid only where `audience` is asked for. Claims are answered
/// only where the token is valid, else the reason why not.
#[tool]
fn jwt_verify(given: TokenGiven) -> Result<Judged> {
    let TokenGiven { token, algorithms, key, audience, issuer, subject, required, at, leeway_s } =
        given;
    let expected = token::Expected { audience, issuer, subject, required, at, leeway_s };
    Ok(match token::verify(&token, &algorithms, key.as_ref(), &expected)? {
        Ok((header, claims)) => {
            Judged { valid: true, reason: None, header: Some(header), claims: Some(claims) }
        }
        Err(reason) => Judged { valid: false, reason: Some(reason), header: None, claims: None },
    })
}

/// JSON of an object that a caller gave.
pub(crate) fn json_of(object: &Map<String, Value>) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(object)?)
}

export!(sign, verify, jwt_sign, jwt_verify);
