//! Signatures of tokens, checked by ring.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature as with;

/// Has tokens checked by ring in this process. What an embedder has installed before stays.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    ONCE.call_once(|| {
        // Only a second one could fail.
        let _ = PROVIDER.install_default();
    });
}

struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let family = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => AlgorithmFamily::Ec,
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            return Err(ErrorKind::UnsupportedAlgorithm.into());
        }
        _ => AlgorithmFamily::Rsa,
    };
    match key.family() == family {
        true => Ok(Box::new(Verifier { algorithm: *algorithm, key: key.clone() })),
        false => Err(ErrorKind::InvalidKeyFormat.into()),
    }
}

impl Verifier {
    fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), ring::error::Unspecified> {
        let rsa = match self.algorithm {
            Algorithm::RS256 => &with::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &with::RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &with::RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &with::RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &with::RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &with::RSA_PSS_2048_8192_SHA512,
            Algorithm::ES256 => return self.of_curve(&with::ECDSA_P256_SHA256_FIXED, message, signature),
            Algorithm::ES384 => return self.of_curve(&with::ECDSA_P384_SHA384_FIXED, message, signature),
            Algorithm::EdDSA => return self.of_curve(&with::ED25519, message, signature),
            _ => return Err(ring::error::Unspecified),
        };
        match self.key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                with::RsaPublicKeyComponents { n, e }.verify(rsa, message, signature)
            }
            DecodingKeyKind::SecretOrDer(_) => Err(ring::error::Unspecified),
        }
    }

    fn of_curve(
        &self,
        algorithm: &'static dyn with::VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), ring::error::Unspecified> {
        let key = self.key.try_get_as_bytes().map_err(|_| ring::error::Unspecified)?;
        with::UnparsedPublicKey::new(algorithm, key).verify(message, signature)
    }
}

impl jsonwebtoken::signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), jsonwebtoken::signature::Error> {
        self.check(message, signature).map_err(|_| jsonwebtoken::signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
