//! Secrets: where their values come from, and what the host does with them so that no guest
//! needs to see one.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampoule_contract::ToolError;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use ring::{hmac, rand::SystemRandom};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use crate::config::SecretSource;
use crate::egress::SecretValue;
use crate::scan::MIN_SECRET_BYTES;

/// Where the host gets the values of secrets. An embedder can bring a vault of its own.
#[async_trait::async_trait]
pub trait Secrets: Send + Sync {
    /// The value of the operator's secret called `name`; `None` where it has none.
    ///
    /// # Errors
    /// For the operator's log: why the value cannot be had just now. It must not contain values.
    async fn get(&self, name: &str) -> Result<Option<SecretValue>, String>;
}

/// Secrets from environment variables and files, read at each use.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredSecrets {
    sources: Arc<BTreeMap<String, SecretSource>>,
}

impl ConfiguredSecrets {
    /// Secrets as `[secrets]` of an `ampoule.toml` names them.
    pub fn new(sources: BTreeMap<String, SecretSource>) -> ConfiguredSecrets {
        ConfiguredSecrets { sources: Arc::new(sources) }
    }

    /// Tells the operator of values too short to be looked for in what leaves a run.
    pub(crate) async fn warn_of_short(&self) {
        for name in self.sources.keys() {
            if let Ok(Some(value)) = self.get(name).await
                && value.expose().len() < MIN_SECRET_BYTES
            {
                tracing::warn!(
                    secret = name,
                    "the secret is shorter than {MIN_SECRET_BYTES} bytes: it is attached, but not \
                     looked for in what plugins say"
                );
            }
        }
    }
}

/// The largest file that holds a secret: 16 KiB. What is larger could not be looked for.
const MAX_FILE_BYTES: u64 = 16 << 10;

#[async_trait::async_trait]
impl Secrets for ConfiguredSecrets {
    async fn get(&self, name: &str) -> Result<Option<SecretValue>, String> {
        match self.sources.get(name) {
            None => Ok(None),
            Some(SecretSource::Env(variable)) => match std::env::var(variable) {
                Ok(value) if value.is_empty() => Ok(None),
                Ok(value) => Ok(Some(SecretValue::new(value))),
                Err(std::env::VarError::NotPresent) => Ok(None),
                Err(_) => Err(format!("the environment variable {variable} is not Unicode")),
            },
            Some(SecretSource::File(path)) => {
                let failed = |error: std::io::Error| format!("{}: {error}", path.display());
                let size = tokio::fs::metadata(path).await.map_err(failed)?.len();
                if size > MAX_FILE_BYTES {
                    return Err(format!("{}: larger than 16 KiB", path.display()));
                }
                let text = tokio::fs::read_to_string(path).await.map_err(failed)?;
                let value = text.strip_suffix('\n').unwrap_or(&text);
                let value = value.strip_suffix('\r').unwrap_or(value);
                Ok((!value.is_empty()).then(|| SecretValue::new(value.to_owned())))
            }
        }
    }
}

fn unknown_algorithm(algorithm: &str) -> ToolError {
    let shown: String = algorithm.chars().take(40).collect();
    ToolError::new(
        "unsupported",
        format!(
            "unknown algorithm `{shown}`; MACs: hmac-sha256, hmac-sha384, hmac-sha512, hmac-sha1; \
             signatures: ed25519, rsa-pkcs1-sha256, rsa-pss-sha256, ecdsa-p256-sha256"
        ),
    )
}

fn mac_key(value: &SecretValue, algorithm: &str) -> Option<hmac::Key> {
    let algorithm = match algorithm {
        "hmac-sha256" => hmac::HMAC_SHA256,
        "hmac-sha384" => hmac::HMAC_SHA384,
        "hmac-sha512" => hmac::HMAC_SHA512,
        "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        _ => return None,
    };
    Some(hmac::Key::new(algorithm, value.expose().as_bytes()))
}

/// A message authentication code of `data` under the secret.
///
/// # Errors
/// `unsupported`: there is no such algorithm.
pub(crate) fn mac(value: &SecretValue, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, ToolError> {
    let key = mac_key(value, algorithm).ok_or_else(|| unknown_algorithm(algorithm))?;
    Ok(hmac::sign(&key, data).as_ref().to_vec())
}

/// A private key, read from a secret.
enum SigningKey {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn signature::RsaEncoding),
}

fn signing_key(value: &SecretValue, algorithm: &str) -> Result<SigningKey, ToolError> {
    // The parser's reasons could quote the key, so they are not passed on.
    let unusable = || {
        let message = format!("the secret is not a PKCS #8 PEM private key for `{algorithm}`");
        ToolError::new("invalid-data", message)
    };
    if !["ed25519", "ecdsa-p256-sha256", "rsa-pkcs1-sha256", "rsa-pss-sha256"].contains(&algorithm)
    {
        return Err(unknown_algorithm(algorithm));
    }
    let der =
        PrivatePkcs8KeyDer::from_pem_slice(value.expose().as_bytes()).map_err(|_| unusable())?;
    let der = der.secret_pkcs8_der();
    let rsa = |encoding| {
        RsaKeyPair::from_pkcs8(der)
            .map(|key| SigningKey::Rsa(key, encoding))
            .map_err(|_| unusable())
    };
    match algorithm {
        "ed25519" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(SigningKey::Ed25519)
            .map_err(|_| unusable()),
        "ecdsa-p256-sha256" => EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            der,
            &SystemRandom::new(),
        )
        .map(SigningKey::Ecdsa)
        .map_err(|_| unusable()),
        "rsa-pkcs1-sha256" => rsa(&signature::RSA_PKCS1_SHA256),
        _ => rsa(&signature::RSA_PSS_SHA256),
    }
}

/// A signature of `data` by the private key in the secret.
///
/// # Errors
/// `unsupported` for an unknown algorithm, `invalid-data` where the secret is no such key.
pub(crate) fn sign(
    value: &SecretValue,
    algorithm: &str,
    data: &[u8],
) -> Result<Vec<u8>, ToolError> {
    let failed = |_| ToolError::new("internal", "signing failed");
    match signing_key(value, algorithm)? {
        SigningKey::Ed25519(key) => Ok(key.sign(data).as_ref().to_vec()),
        SigningKey::Ecdsa(key) => {
            Ok(key.sign(&SystemRandom::new(), data).map_err(failed)?.as_ref().to_vec())
        }
        SigningKey::Rsa(key, encoding) => {
            let mut proof = vec![0; key.public().modulus_len()];
            key.sign(encoding, &SystemRandom::new(), data, &mut proof).map_err(failed)?;
            Ok(proof)
        }
    }
}

/// Whether `proof` is the MAC or signature of `data` under the secret, in constant time.
///
/// # Errors
/// As [`mac`] and [`sign`].
pub(crate) fn verify(
    value: &SecretValue,
    algorithm: &str,
    data: &[u8],
    proof: &[u8],
) -> Result<bool, ToolError> {
    if let Some(key) = mac_key(value, algorithm) {
        return Ok(hmac::verify(&key, data, proof).is_ok());
    }
    let key = signing_key(value, algorithm)?;
    let (public, rules): (&[u8], &dyn signature::VerificationAlgorithm) = match &key {
        SigningKey::Ed25519(key) => (key.public_key().as_ref(), &signature::ED25519),
        SigningKey::Ecdsa(key) => (key.public_key().as_ref(), &signature::ECDSA_P256_SHA256_FIXED),
        SigningKey::Rsa(key, _) if algorithm == "rsa-pkcs1-sha256" => {
            (key.public_key().as_ref(), &signature::RSA_PKCS1_2048_8192_SHA256)
        }
        SigningKey::Rsa(key, _) => {
            (key.public_key().as_ref(), &signature::RSA_PSS_2048_8192_SHA256)
        }
    };
    Ok(signature::UnparsedPublicKey::new(rules, public).verify(data, proof).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretValue {
        SecretValue::new(text.to_owned())
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_the_standard_one() {
        let code =
            mac(&secret("Jefe"), "hmac-sha256", b"what do ya want for nothing?").expect("made");
        assert_eq!(
            crate::digest::hex(&code),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(
            verify(&secret("Jefe"), "hmac-sha256", b"what do ya want for nothing?", &code)
                .expect("checked")
        );
        assert!(
            !verify(&secret("jefe"), "hmac-sha256", b"what do ya want for nothing?", &code)
                .expect("checked")
        );
        assert_eq!(mac(&secret("k"), "md5", b"").unwrap_err().code, "unsupported");
    }

    #[test]
    fn signatures_are_made_and_checked() {
        use base64::Engine as _;
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("made");
        let text = base64::engine::general_purpose::STANDARD.encode(key.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let proof = sign(&secret(&pem), "ed25519", b"data").expect("signed");
        assert!(verify(&secret(&pem), "ed25519", b"data", &proof).expect("checked"));
        assert!(!verify(&secret(&pem), "ed25519", b"date", &proof).expect("checked"));
        let error = sign(&secret("not a key"), "ed25519", b"data").unwrap_err();
        assert_eq!(error.code, "invalid-data");
        assert!(!error.to_string().contains("not a key"));
        assert_eq!(sign(&secret(&pem), "rsa-pss-sha256", b"").unwrap_err().code, "invalid-data");
    }

    #[tokio::test]
    async fn values_come_from_files_and_the_environment() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "value\n").expect("written");
        let secrets = ConfiguredSecrets::new(BTreeMap::from([
            ("file".to_owned(), SecretSource::File(file.path().to_owned())),
            ("gone".to_owned(), SecretSource::File("/does/not/exist".into())),
            ("path".to_owned(), SecretSource::Env("PATH".into())),
            ("unset".to_owned(), SecretSource::Env("AMPOULE_TEST_UNSET".into())),
        ]));
        let value = secrets.get("file").await.expect("read").expect("there");
        assert_eq!(value.expose(), "value");
        assert!(!format!("{value:?}").contains("value"));
        assert!(secrets.get("path").await.expect("read").is_some());
        assert!(secrets.get("unset").await.expect("read").is_none());
        assert!(secrets.get("other").await.expect("read").is_none());
        assert!(secrets.get("gone").await.is_err());
    }
}
