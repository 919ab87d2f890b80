//! TLS: rustls on ring, with the platform's own roots of trust.

use std::sync::Arc;

use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::Verifier;

/// How many sessions a client remembers, to shorten later handshakes.
const SESSIONS: usize = 64;

/// A configuration that trusts what the platform trusts, and `extra` roots beside.
///
/// Where the platform has no roots and there are no extra ones, plain HTTP still works and
/// every TLS handshake fails.
pub(super) fn config(extra: &[CertificateDer<'static>]) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = || -> ConfigBuilder<ClientConfig, WantsVerifier> {
        ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
    };
    let verifier = match extra.is_empty() {
        true => Verifier::new(provider.clone()),
        false => Verifier::new_with_extra_roots(extra.iter().cloned(), provider.clone()),
    };
    let mut config = match verifier {
        Ok(verifier) => builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no roots of trust could be loaded; no https request can work");
            builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// The same with a memory of sessions of its own: tickets are not shared between policies,
/// since they let a server recognise who comes again. For requests with bodies it offers no
/// HTTP/2.
pub(super) fn separate(config: &ClientConfig, has_body: bool) -> ClientConfig {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    if has_body {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    config
}
