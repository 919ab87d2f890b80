//! The cryptography of jsonwebtoken: ring, and only what verifies.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error as Mismatch, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has jsonwebtoken use ring in this process. Where the application has chosen another provider
/// before, that one verifies.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

/// By which rules of ring a signature is checked.
enum Rules {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

impl Rules {
    /// None for algorithms that share a secret.
    fn of(algorithm: Algorithm) -> Option<Rules> {
        Some(match algorithm {
            Algorithm::RS256 => Rules::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Rules::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Rules::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Rules::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Rules::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Rules::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Rules::Other(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Rules::Other(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Rules::Other(&ED25519),
            _ => return None,
        })
    }
}

struct Ring {
    algorithm: Algorithm,
    rules: Rules,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let rules = Rules::of(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Ring { algorithm: *algorithm, rules, key: key.clone() }))
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Mismatch> {
        let verified = match (&self.rules, self.key.kind()) {
            (Rules::Rsa(rules), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(rules, message, signature)
            }
            (Rules::Other(rules), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*rules, point).verify(message, signature)
            }
            _ => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| Mismatch::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
