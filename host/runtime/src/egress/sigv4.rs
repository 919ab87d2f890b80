//! AWS Signature Version 4: a request signed by a secret that is never sent.
//!
//! The secret is `ACCESS_KEY_ID:SECRET_ACCESS_KEY`, for temporary credentials with
//! `:SESSION_TOKEN` behind. Signed are host, time, content type, the hash of the body and every
//! `x-amz-` header.

use ampoule_contract::ToolError;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::hmac;
use time::OffsetDateTime;
use url::Url;
use zeroize::Zeroizing;

use crate::digest;

/// What the canonical form of a request leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same in a path.
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The parts of a secret.
pub(super) struct Keys<'a> {
    id: &'a str,
    key: &'a str,
    pub(super) token: Option<&'a str>,
}

impl<'a> Keys<'a> {
    /// Reads a secret; `None` where it is not of that form.
    pub(super) fn parse(secret: &'a str) -> Option<Keys<'a>> {
        let (id, rest) = secret.split_once(':')?;
        let (key, token) = match rest.split_once(':') {
            Some((key, token)) => (key, Some(token)),
            None => (rest, None),
        };
        let parts = [Some(id), Some(key), token];
        parts.into_iter().flatten().all(|part| !part.is_empty()).then_some(Keys { id, key, token })
    }

    /// The parts that must not come out; the id is in every request.
    pub(super) fn secret_parts(&self) -> impl Iterator<Item = &'a str> {
        [Some(self.key), self.token].into_iter().flatten()
    }
}

/// Where and for what a request is signed.
pub(super) struct Scope<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
}

/// Signs a request as it is about to be sent, over whatever the guest had put in the places.
///
/// # Errors
/// `invalid-data`: a header that is signed, or the secret, has characters that cannot be.
pub(super) fn attach(
    keys: &Keys<'_>,
    scope: &Scope<'_>,
    method: &Method,
    url: &Url,
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), ToolError> {
    let unfit = || ToolError::new("invalid-data", "the request or the secret cannot be signed");
    let time = date_time(OffsetDateTime::now_utc());
    let content = digest::hex(&digest::sha256(body));
    let mut set = |name: HeaderName, value: &str| {
        let mut value = HeaderValue::from_str(value).map_err(|_| unfit())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok::<_, ToolError>(())
    };
    set(DATE, &time)?;
    set(CONTENT, &content)?;
    if let Some(token) = keys.token {
        set(TOKEN, token)?;
    }
    let mut signed = vec![("host".to_owned(), authority(url))];
    for name in headers.keys() {
        if name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
            let values = headers.get_all(name).iter().map(HeaderValue::to_str);
            let values = values.collect::<Result<Vec<_>, _>>().map_err(|_| unfit())?;
            signed.extend(values.into_iter().map(|value| (name.to_string(), value.to_owned())));
        }
    }
    // S3 takes a path as it is; for the others what is on the wire is encoded once more.
    let path = match scope.service {
        "s3" => percent_decode_str(url.path()).decode_utf8_lossy().into_owned(),
        _ => url.path().to_owned(),
    };
    let request = Request { method: method.as_str(), path: &path, query: url.query(), signed };
    let authorization = request.authorization(keys, scope, &time, &content);
    let mut value = HeaderValue::from_str(&authorization).map_err(|_| unfit())?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Host and port as the header `Host` will have them.
fn authority(url: &Url) -> String {
    match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}

/// `20150830T123600Z`.
fn date_time(time: OffsetDateTime) -> String {
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// What of a request is signed.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    /// Names in any case, in the order in which they are sent.
    signed: Vec<(String, String)>,
}

impl Request<'_> {
    /// The header `Authorization`.
    fn authorization(
        &self,
        keys: &Keys<'_>,
        scope: &Scope<'_>,
        time: &str,
        content: &str,
    ) -> String {
        let (names, canonical) = self.canonical(content);
        let day = &time[..8];
        let under = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
        let hash = digest::hex(&digest::sha256(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{under}\n{hash}");
        let first = Zeroizing::new(format!("AWS4{}", keys.key));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [day, scope.region, scope.service, "aws4_request"] {
            let derived = hmac::sign(&key, part.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        }
        let signature = digest::hex(hmac::sign(&key, text.as_bytes()).as_ref());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{under}, SignedHeaders={names}, Signature={signature}",
            keys.id
        )
    }

    /// The names of the signed headers, and the canonical request.
    fn canonical(&self, content: &str) -> (String, String) {
        let path = utf8_percent_encode(self.path, ENCODED_IN_PATH).to_string();
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let pairs = url::form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        // By name, then by value; the text of both would put `a-` before `a=`.
        let mut pairs: Vec<_> =
            pairs.map(|(name, value)| (encode(&name), encode(&value))).collect();
        pairs.sort();
        let pairs: Vec<_> =
            pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut fields = std::collections::BTreeMap::<String, Vec<String>>::new();
        for (name, value) in &self.signed {
            // Spaces in a row are one.
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            fields.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
        let names = fields.keys().map(String::as_str).collect::<Vec<_>>().join(";");
        let fields: String =
            fields.iter().map(|(name, values)| format!("{name}:{}\n", values.join(","))).collect();
        let query = pairs.join("&");
        let method = self.method;
        (names.clone(), format!("{method}\n{path}\n{query}\n{fields}\n{names}\n{content}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde::Deserialize;

    use super::*;

    /// A case of the test suite that AWS publishes (awslabs/aws-c-auth, Apache-2.0).
    #[derive(Deserialize)]
    struct Case {
        name: String,
        method: String,
        path: String,
        query: Option<String>,
        headers: Vec<(String, String)>,
        body: String,
        canonical: String,
        authorization: String,
    }

    #[test]
    fn the_published_cases_are_signed_alike() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
        let text = std::fs::read_to_string(folder.join("sigv4.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        assert!(cases.len() >= 20, "only {} cases", cases.len());
        let keys = Keys::parse("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap();
        let scope = Scope { service: "service", region: "us-east-1" };
        for case in cases {
            let request = Request {
                method: &case.method,
                path: &case.path,
                query: case.query.as_deref(),
                signed: case.headers,
            };
            let content = digest::hex(&digest::sha256(case.body.as_bytes()));
            assert_eq!(request.canonical(&content).1, case.canonical, "{}", case.name);
            let authorization = request.authorization(&keys, &scope, "20150830T123600Z", &content);
            assert_eq!(authorization, case.authorization, "{}", case.name);
        }
    }

    /// The example of the documentation: `GET https://iam.amazonaws.com/?Action=ListUsers`.
    #[test]
    fn the_documented_example() {
        let keys = Keys::parse("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: "GET",
            path: "/",
            query: Some("Action=ListUsers&Version=2010-05-08"),
            signed: vec![
                header("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                header("host", "iam.amazonaws.com"),
                header("x-amz-date", "20150830T123600Z"),
            ],
        };
        let scope = Scope { service: "iam", region: "us-east-1" };
        let content = digest::hex(&digest::sha256(b""));
        let authorization = request.authorization(&keys, &scope, "20150830T123600Z", &content);
        assert!(
            authorization.ends_with(
                "SignedHeaders=content-type;host;x-amz-date, Signature=\
             5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
            ),
            "{authorization}"
        );
    }

    #[test]
    fn a_request_is_signed_over_what_the_guest_had_set() {
        let url = Url::parse("https://b.s3.example:8443/a%20b?x=1").unwrap();
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-amz-date", "x-amz-security-token"] {
            headers.insert(name, HeaderValue::from_static("guest"));
        }
        let keys = Keys::parse("AKID:key:token").unwrap();
        let scope = Scope { service: "s3", region: "eu-central-1" };
        attach(&keys, &scope, &Method::PUT, &url, &mut headers, b"body").unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
        assert!(
            authorization.contains(
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
            ),
            "{authorization}"
        );
        assert_eq!(headers["x-amz-security-token"], "token");
        assert!(!format!("{headers:?}").contains("guest"));
        assert_eq!(authority(&url), "b.s3.example:8443");
        assert_eq!(date_time(OffsetDateTime::UNIX_EPOCH), "19700101T000000Z");
    }

    #[test]
    fn what_is_no_pair_of_keys() {
        for bad in ["", "id", "id:", ":key", "id:key:"] {
            assert!(Keys::parse(bad).is_none(), "{bad}");
        }
    }
}
