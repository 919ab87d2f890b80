//! JSON Web Tokens in compact form (RFC 7515, 7518, 7519, 8037).

use ampoule_sdk::prelude::*;
use ampoule_sdk::{clock, serde_json};
use data_encoding::BASE64URL_NOPAD;

use crate::key::Key;
use crate::{Algorithm, json_of, signed, verified};

/// The longest token, in bytes: 64 KiB.
const MAX_TOKEN: usize = 64 << 10;

/// The algorithms of tokens.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Name {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "PS512")]
    Ps512,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "ES512")]
    Es512,
    /// Ed25519, by the name of RFC 8037.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// The same, by the name of RFC 9864.
    Ed25519,
}

/// The algorithms that tokens can be signed with.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum SigningName {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningName {
    fn name(self) -> Name {
        match self {
            SigningName::Hs256 => Name::Hs256,
            SigningName::Hs384 => Name::Hs384,
            SigningName::Hs512 => Name::Hs512,
            SigningName::Rs256 => Name::Rs256,
            SigningName::Ps256 => Name::Ps256,
            SigningName::Es256 => Name::Es256,
            SigningName::EdDsa => Name::EdDsa,
        }
    }
}

/// Each algorithm with its names in tokens.
const NAMES: [(Name, &str, Algorithm); 14] = [
    (Name::Hs256, "HS256", Algorithm::HmacSha256),
    (Name::Hs384, "HS384", Algorithm::HmacSha384),
    (Name::Hs512, "HS512", Algorithm::HmacSha512),
    (Name::Rs256, "RS256", Algorithm::RsaPkcs1Sha256),
    (Name::Rs384, "RS384", Algorithm::RsaPkcs1Sha384),
    (Name::Rs512, "RS512", Algorithm::RsaPkcs1Sha512),
    (Name::Ps256, "PS256", Algorithm::RsaPssSha256),
    (Name::Ps384, "PS384", Algorithm::RsaPssSha384),
    (Name::Ps512, "PS512", Algorithm::RsaPssSha512),
    (Name::Es256, "ES256", Algorithm::EcdsaP256Sha256),
    (Name::Es384, "ES384", Algorithm::EcdsaP384Sha384),
    (Name::Es512, "ES512", Algorithm::EcdsaP521Sha512),
    (Name::EdDsa, "EdDSA", Algorithm::Ed25519),
    (Name::Ed25519, "Ed25519", Algorithm::Ed25519),
];

impl Name {
    fn entry(self) -> (&'static str, Algorithm) {
        let at = NAMES.iter().position(|(name, ..)| *name == self).unwrap_or_default();
        (NAMES[at].1, NAMES[at].2)
    }

    /// The names of an algorithm in a JWK's `alg`; none where tokens do not have it.
    pub(crate) fn of(algorithm: Algorithm) -> Vec<&'static str> {
        NAMES.iter().filter(|(.., of)| *of == algorithm).map(|(_, name, _)| *name).collect()
    }
}

/// The time in seconds since 1970: `at`, or the host's clock.
pub(crate) fn time(at: Option<u64>) -> Result<u64> {
    if let Some(at) = at {
        return Ok(at);
    }
    let now = clock::now().map_err(|error| match error.code.as_str() {
        "denied" => Error {
            message: format!("{}; or name the time in `at`, in seconds since 1970", error.message),
            ..error
        },
        _ => error,
    })?;
    let since = now.duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map(|since| since.as_secs()).map_err(|_| Error::internal("the clock stands before 1970"))
}

/// A token in compact form.
pub(crate) fn sign(
    algorithm: SigningName,
    more: Map<String, Value>,
    claims: &Map<String, Value>,
) -> Result<String> {
    let (name, algorithm) = algorithm.name().entry();
    let mut header = Map::new();
    header.insert("alg".into(), name.into());
    header.insert("typ".into(), "JWT".into());
    for (name, value) in more {
        if ["alg", "b64", "crit"].contains(&name.as_str()) {
            return Err(Error::bad_arguments(format!("`header` cannot set `{name}`")));
        }
        header.insert(name, value);
    }
    let mut token = BASE64URL_NOPAD.encode(&json_of(&header)?);
    token.push('.');
    token.push_str(&BASE64URL_NOPAD.encode(&json_of(claims)?));
    if token.len() > MAX_TOKEN {
        return Err(Error::too_large("the token would be longer than 64 KiB"));
    }
    let signature = signed(algorithm, token.as_bytes())?;
    token.push('.');
    token.push_str(&BASE64URL_NOPAD.encode(&signature));
    Ok(token)
}

/// What a token has to fulfil beside its signature.
pub(crate) struct Expected {
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) required: Vec<String>,
    pub(crate) at: Option<u64>,
    pub(crate) leeway_s: u64,
}

/// Header and claims of a valid token, or why it is not valid.
type Judgement = Result<(Map<String, Value>, Map<String, Value>), String>;

/// Judges a token.
///
/// # Errors
/// Where it cannot be judged: the key does not fit the algorithm, or there is no clock.
pub(crate) fn verify(
    token: &str,
    algorithms: &[Name],
    key: Option<&Key>,
    expected: &Expected,
) -> Result<Judgement> {
    check_one_kind(algorithms)?;
    if token.len() > MAX_TOKEN {
        return Ok(Err("it is longer than 64 KiB".into()));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(Err(
            "it does not have three parts, as a signed token in compact form has".into()
        ));
    };
    let signed = &token[..header.len() + 1 + claims.len()];
    let Some(header) = object(header) else {
        return Ok(Err("its header is not base64url of a JSON object".into()));
    };
    let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else {
        return Ok(Err("its signature is not base64url".into()));
    };
    let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let Some((_, algorithm)) =
        algorithms.iter().map(|name| name.entry()).find(|(name, _)| *name == alg)
    else {
        let shown: String = alg.chars().take(40).collect();
        return Ok(Err(format!("its algorithm {shown:?} is not among `algorithms`")));
    };
    // None of the extensions that a header can insist on is known here (RFC 7515, section 4.1.11).
    if header.contains_key("crit") || header.contains_key("b64") {
        return Ok(Err("its header asks for an extension that is not known here (`crit`)".into()));
    }
    let kid = header.get("kid").and_then(Value::as_str);
    let key = match key.map(|key| key.select(kid)) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(error)) if error.code == "not-found" => return Ok(Err(error.message)),
        Some(Err(error)) => return Err(error),
    };
    if !verified(algorithm, key.as_ref(), signed.as_bytes(), &signature)? {
        return Ok(Err("its signature is wrong".into()));
    }
    let Some(claims) = object(claims) else {
        return Ok(Err("its claims are not base64url of a JSON object".into()));
    };
    Ok(judge(&claims, expected)?.map(|()| (header, claims)))
}

/// Refuses a list that mixes shared and public keys, with which one could pass for the other.
fn check_one_kind(algorithms: &[Name]) -> Result<()> {
    let mut kinds = algorithms.iter().map(|name| name.entry().1.is_hmac());
    let first = kinds.next();
    match kinds.all(|kind| Some(kind) == first) {
        true => Ok(()),
        false => Err(Error::bad_arguments(
            "`algorithms` mixes HS… with others, and no key is for both (RFC 8725, section 3.1)",
        )),
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
}

/// The claims against what is expected (RFC 7519, section 4.1).
fn judge(claims: &Map<String, Value>, expected: &Expected) -> Result<Result<(), String>> {
    if let Some(missing) = expected.required.iter().find(|name| !claims.contains_key(*name)) {
        return Ok(Err(format!("it has no claim `{missing}`")));
    }
    for (name, wanted) in [("iss", &expected.issuer), ("sub", &expected.subject)] {
        if let Some(wanted) = wanted
            && claims.get(name).and_then(Value::as_str) != Some(wanted)
        {
            return Ok(Err(format!("its `{name}` is not the one expected")));
        }
    }
    let audiences = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect(),
    };
    match &expected.audience {
        Some(audience) if !audiences.contains(&audience.as_str()) => {
            return Ok(Err("the audience expected is not among its `aud`".into()));
        }
        None if claims.contains_key("aud") => {
            return Ok(
                Err("it is for an audience (`aud`), and no `audience` was asked for".into()),
            );
        }
        _ => {}
    }
    let mut times = [None; 2];
    for (time, name) in times.iter_mut().zip(["exp", "nbf"]) {
        if let Some(value) = claims.get(name) {
            match value.as_f64() {
                Some(number) => *time = Some(number),
                None => return Ok(Err(format!("its `{name}` is not a number"))),
            }
        }
    }
    if times == [None; 2] {
        return Ok(Ok(()));
    }
    let (now, leeway) = (time(expected.at)? as f64, expected.leeway_s as f64);
    let [expiry, start] = times;
    if expiry.is_some_and(|expiry| now >= expiry + leeway) {
        return Ok(Err("it has expired (`exp`)".into()));
    }
    if start.is_some_and(|start| now < start - leeway) {
        return Ok(Err("it is not valid yet (`nbf`)".into()));
    }
    Ok(Ok(()))
}
