//! Work with secrets that the plugin cannot read. Capability `secrets`.
//!
//! To send a secret, name it in [`http::Request::credential`](crate::http::Request::credential).

use crate::bindings::ampoule::plugin::secrets;
use crate::{Result, host};

/// Whether the secret is granted and has a value. Natively: no.
pub fn exists(name: &str) -> bool {
    host::PRESENT && secrets::exists(name)
}

/// A message authentication code. `algorithm`: `hmac-sha256`, `hmac-sha512`, `hmac-sha384`,
/// `hmac-sha1` (for old protocols only).
///
/// # Errors
/// `denied` where the secret is not granted, `unsupported` for another algorithm.
pub fn mac(name: &str, algorithm: &str, data: &[u8]) -> Result<Vec<u8>> {
    host::require("secrets")?;
    Ok(secrets::mac(name, algorithm, data)?)
}

/// A signature by a private key (PKCS #8, PEM). `algorithm`: `ed25519`, `rsa-pkcs1-sha256`,
/// `rsa-pss-sha256`, `ecdsa-p256-sha256` (fixed-length r and s).
///
/// # Errors
/// `denied` where the secret is not granted, `unsupported` for another algorithm.
pub fn sign(name: &str, algorithm: &str, data: &[u8]) -> Result<Vec<u8>> {
    host::require("secrets")?;
    Ok(secrets::sign(name, algorithm, data)?)
}

/// Whether `proof` is the right MAC or signature of `data`, compared in constant time.
///
/// # Errors
/// `denied` where the secret is not granted, `unsupported` for another algorithm.
pub fn verify(name: &str, algorithm: &str, data: &[u8], proof: &[u8]) -> Result<bool> {
    host::require("secrets")?;
    Ok(secrets::verify(name, algorithm, data, proof)?)
}
