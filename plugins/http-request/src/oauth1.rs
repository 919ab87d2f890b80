//! Signatures of OAuth 1 (RFC 5849), made with a key that only the host knows.
//!
//! A body that is no form is covered by `oauth_body_hash`, as the extension "OAuth Request Body
//! Hash" has it; RFC 5849 alone leaves it unsigned.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{clock, random, secrets};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use url::Url;

use crate::body::{Content, Encoded};
use crate::fields::encode;
use crate::settings::{Method, OAuth1, Settings};

/// The signing key's name in `plugin.toml`.
const KEY: &str = "oauth1";

/// The header `Authorization` of a request.
///
/// # Errors
/// `unsupported` where the settings have no `oauth1` or no `base-url`; `denied` without clock,
/// random or the key.
pub(crate) fn sign(
    settings: &Settings,
    method: &str,
    url: &Url,
    body: Option<&Encoded>,
) -> Result<String> {
    let oauth = settings.oauth1.as_ref().filter(|_| settings.base_url.is_some());
    let oauth = oauth.ok_or_else(|| {
        Error::unsupported("OAuth 1 needs `oauth1` and `base-url` in this binding's settings")
    })?;
    let mut nonce = [0; 16];
    random::fill(&mut nonce)?;
    let now = clock::now()?.duration_since(UNIX_EPOCH).or_code("internal")?;
    let fields = Fields { oauth, nonce: &hex(&nonce), timestamp: now.as_secs() };
    let mut parameters = fields.parameters();
    if let Some(body) = body.filter(|body| oauth.body_hash && body.form.is_none()) {
        parameters.push(("oauth_body_hash", body_hash(oauth.method, &body.content)?));
    }
    let form = body.and_then(|body| body.form.as_deref()).unwrap_or_default();
    let base = base_string(method, url, form, &parameters);
    let mac = secrets::mac(KEY, oauth.method.mac(), base.as_bytes())?;
    parameters.push(("oauth_signature", STANDARD.encode(mac)));
    Ok(header(oauth.realm.as_deref(), &parameters))
}

impl Method {
    /// Its name in requests.
    const fn name(self) -> &'static str {
        match self {
            Method::HmacSha1 => "HMAC-SHA1",
            Method::HmacSha256 => "HMAC-SHA256",
        }
    }

    /// Its name in the contract.
    const fn mac(self) -> &'static str {
        match self {
            Method::HmacSha1 => "hmac-sha1",
            Method::HmacSha256 => "hmac-sha256",
        }
    }
}

/// What goes into a signature beside the request.
struct Fields<'a> {
    oauth: &'a OAuth1,
    nonce: &'a str,
    /// Seconds since 1970.
    timestamp: u64,
}

impl Fields<'_> {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let OAuth1 { consumer_key, token, method, .. } = self.oauth;
        let mut parameters = vec![
            ("oauth_consumer_key", consumer_key.clone()),
            ("oauth_nonce", self.nonce.to_owned()),
            ("oauth_signature_method", method.name().to_owned()),
            ("oauth_timestamp", self.timestamp.to_string()),
            ("oauth_version", "1.0".to_owned()),
        ];
        parameters.extend(token.iter().map(|token| ("oauth_token", token.clone())));
        parameters
    }
}

/// The signature base string (RFC 5849, section 3.4.1).
fn base_string(
    method: &str,
    url: &Url,
    form: &[(String, String)],
    oauth: &[(&'static str, String)],
) -> String {
    let query = url.query_pairs().map(|(name, value)| (encode(&name), encode(&value)));
    let form = form.iter().map(|(name, value)| (encode(name), encode(value)));
    let oauth = oauth.iter().map(|(name, value)| (encode(name), encode(value)));
    let mut parameters: Vec<(String, String)> = query.chain(form).chain(oauth).collect();
    parameters.sort();
    let parameters: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = format!("{}{}", url.origin().ascii_serialization(), url.path());
    format!("{method}&{}&{}", encode(&target), encode(&parameters.join("&")))
}

/// The header with the parameters (RFC 5849, section 3.5.1).
fn header(realm: Option<&str>, parameters: &[(&'static str, String)]) -> String {
    let realm = realm.map(|realm| format!("realm=\"{}\"", encode(realm)));
    let fields = parameters.iter().map(|(name, value)| format!("{name}=\"{}\"", encode(value)));
    format!("OAuth {}", realm.into_iter().chain(fields).collect::<Vec<_>>().join(", "))
}

/// The digest of a body, of the kind that the signature is of.
fn body_hash(method: Method, content: &Content) -> Result<String> {
    let blob;
    let bytes = match content {
        Content::Bytes(bytes) => bytes,
        Content::Blob(reference) => {
            blob = reference.open()?.bytes();
            &blob
        }
    };
    Ok(match method {
        Method::HmacSha1 => STANDARD.encode(Sha1::digest(bytes)),
        Method::HmacSha256 => STANDARD.encode(Sha256::digest(bytes)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};

    use super::*;

    fn oauth(consumer_key: &str, token: Option<&str>) -> OAuth1 {
        OAuth1 {
            consumer_key: consumer_key.into(),
            token: token.map(Into::into),
            method: Method::HmacSha1,
            realm: None,
            body_hash: true,
        }
    }

    fn mac(key: &str, text: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("a key");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    #[test]
    fn the_base_string_of_the_rfc() {
        // RFC 5849, section 3.4.1.1 (as corrected by erratum 2550).
        let url = Url::parse("http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b");
        let form = [("c2", ""), ("a3", "2 q")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let parameters = [
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
        ];
        let parameters = parameters.map(|(name, value)| (name, value.to_owned()));
        let base = base_string("POST", &url.expect("a URL"), &form, &parameters);
        assert_eq!(
            base,
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D\
             %253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonc\
             e%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oau\
             th_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    #[test]
    fn the_signature_of_the_rfc() {
        // RFC 5849, section 1.2: the request for a photo.
        let url = Url::parse("http://photos.example.net/photos?file=vacation.jpg&size=original");
        let parameters = [
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "nnch734d00sl2jdk"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
        ];
        let parameters = parameters.map(|(name, value)| (name, value.to_owned()));
        let base = base_string("GET", &url.expect("a URL"), &[], &parameters);
        let signature = mac("kd94hf93k423kf44&pfkkdhi9sl3r4s00", &base);
        assert_eq!(signature, "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
    }

    #[test]
    fn a_body_hash_of_the_extension() {
        // OAuth Request Body Hash, section 5.1: the body `Hello World!`.
        let content = Content::Bytes(b"Hello World!".to_vec());
        let hash = body_hash(Method::HmacSha1, &content);
        assert_eq!(hash.as_deref(), Ok("Lve95gjOVATpfV8EL5X4nxwjKHE="));
    }

    #[test]
    fn the_header_is_encoded() {
        let oauth = oauth("key", Some("tok/en"));
        let fields = Fields { oauth: &oauth, nonce: "n", timestamp: 7 };
        assert_eq!(
            header(Some("a b"), &fields.parameters()),
            "OAuth realm=\"a%20b\", oauth_consumer_key=\"key\", oauth_nonce=\"n\", \
             oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"7\", oauth_version=\"1.0\", \
             oauth_token=\"tok%2Fen\""
        );
    }

    #[test]
    fn it_needs_settings_and_a_base() {
        let url = Url::parse("https://a.test/").expect("a URL");
        for settings in [
            Settings::default(),
            Settings { oauth1: Some(oauth("key", None)), ..Settings::default() },
        ] {
            let error = sign(&settings, "GET", &url, None).expect_err("incomplete");
            assert_eq!(error.code, "unsupported");
        }
    }
}
