//! Sends HTTP requests: any method, every usual kind of body, answers parsed by their type.
//!
//! A binding of it can be a connector to one API. With `base-url` set, requests name paths below
//! it and can ask for nothing else; `headers` and `query` go with each request that does not set
//! them itself.
//!
//! ```toml
//! [bindings.weather]
//! plugin = "http-request"
//! settings = { base-url = "https://api.example.com/v1", query = { units = "metric" }, credential = "bearer" }
//! grant.http = ["GET https://api.example.com/v1/**"]
//! grant.secrets.bearer = { secret = "weather", audience = ["https://api.example.com"] }
//! ```
//!
//! # Signing in
//!
//! Secrets are attached, or used to sign, by the host; the plugin reads none. `credential`, in a
//! request or in the settings, says which: `bearer`, `basic`, `authorization`, `api-key` and
//! `query-key` are put where `plugin.toml` says; `oauth1` and `oauth2` take a table in the
//! settings and a `base-url`, so that what they make goes to that API alone.
//!
//! ```toml
//! settings.oauth1 = { consumer-key = "abc", token = "def" }
//! settings.oauth2 = { token-url = "https://login.example.com/token", scope = "read" }
//! ```
//!
//! | way | state |
//! | --- | --- |
//! | OAuth 1 (RFC 5849), HMAC-SHA1 and HMAC-SHA256, with `oauth_body_hash` | whole, by `secrets.mac`; the operator's secret is the joined signing key, because the contract signs with one secret at a time |
//! | OAuth 2 client credentials (RFC 6749, section 4.4), client in basic authentication | whole, but for a cache: a call meets a fresh instance, so each fetches a token |
//! | the same with the client secret in the body (`client_secret_post`) | missing: the host puts secrets into headers and queries, not into fields of a body |
//! | OAuth 2 refresh tokens | missing for the same reason, and because the host keeps no secret that a plugin was given (rotated refresh tokens) |
//! | keys in other headers or parameters | missing: the place of a secret stands in the plugin's manifest, not in the operator's grant |
//! | proxies | not offered: the host has one egress |

mod answer;
mod body;
mod fields;
mod multipart;
mod oauth1;
mod oauth2;
mod settings;
mod target;

use std::time::Duration;

use ampoule_sdk::prelude::*;
use ampoule_sdk::{context, http};

use crate::answer::{Answer, As};
use crate::body::{Body, Content, Encoded};
use crate::settings::{Credential, Settings};

/// Bytes taken of an answer where nobody says how many.
const ANSWER_BYTES: u64 = 2 << 20;

/// Milliseconds a request may take where nobody says how many.
const TIMEOUT_MS: u64 = 30_000;

/// A request.
#[data]
struct Request {
    /// The method, such as `GET`. Default: `POST` where there is a body, else `GET`.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z][A-Za-z0-9_-]*$"))]
    method: Option<String>,
    /// An absolute URL, or a path below the API that this binding is for.
    #[schemars(length(max = 8192))]
    url: String,
    /// Values for `{name}` in `url`, percent-encoded into it (RFC 6570): texts, numbers, lists.
    #[serde(default)]
    variables: Map<String, Value>,
    /// Parameters added to the query; a list is a parameter that stands several times.
    #[serde(default)]
    query: Map<String, Value>,
    /// Headers; a list is a header that stands several times. Never put keys here: name a
    /// `credential`.
    #[serde(default)]
    headers: Map<String, Value>,
    /// The body, by its kind. Its content type is set, unless a header does.
    body: Option<Body>,
    /// The secret to sign in with. Default: as the operator has set.
    credential: Option<Credential>,
    /// As what to give the body of the answer.
    #[serde(default, rename = "response")]
    wanted: As,
    /// The headers of the answer to give, such as `["etag", "link"]`. Default: all of them.
    #[schemars(length(max = 100))]
    response_headers: Option<Vec<String>>,
    /// Bytes to take of the answer at most; the rest is cut. Default: 2 MiB.
    #[schemars(range(min = 1, max = 16_777_216))]
    max_bytes: Option<u64>,
    /// Redirects to follow; with 0 they are answers. Default: 5, and always 0 with OAuth 1.
    #[schemars(range(max = 20))]
    redirects: Option<u32>,
    /// Time until the last byte, in milliseconds. Default: 30,000.
    #[schemars(range(min = 1, max = 120_000))]
    timeout_ms: Option<u64>,
}

/// Send an HTTP request and give status, headers and body of the answer: JSON parsed, text
/// decoded, anything else as a blob. An error status such as 404 is an answer too, with `ok`
/// false.
#[tool]
async fn http_request(request: Request) -> Result<Output<Answer>> {
    let settings: Settings = context::settings()?;
    let method = method(&request);
    let (wanted, max_bytes) = (request.wanted, request.max_bytes.unwrap_or(ANSWER_BYTES));
    let only = request.response_headers.clone();
    let request = prepare(method.clone(), request, &settings).await?;
    let response = request.max_bytes(max_bytes).send().await?;
    let answer = answer::read(response, wanted, method == "HEAD").await?.with_headers(only);
    let truncated = answer.truncated();
    Ok(Output::new(answer).with_truncated(truncated))
}

export!(http_request; settings: Settings);

fn method(request: &Request) -> String {
    match &request.method {
        Some(method) => method.to_ascii_uppercase(),
        None if request.body.is_some() => "POST".into(),
        None => "GET".into(),
    }
}

/// The request as it is sent, signed in.
async fn prepare(method: String, request: Request, settings: &Settings) -> Result<http::Request> {
    let Request { url, variables, query, headers, body, credential, redirects, timeout_ms, .. } =
        request;
    let url = target::resolve(settings, &url, &variables, &query)?;
    let body = body.map(Body::encode).transpose()?;
    let headers = headers_of(settings, &headers, body.as_ref())?;
    let credential = credential.or(settings.credential).unwrap_or_default();
    if credential.takes_authorization() && names(&headers, "authorization") {
        return Err(Error::bad_arguments(format!(
            "`headers` has `authorization`, which `credential` {} sets too; leave one of them out",
            credential.name()
        )));
    }

    let mut sent = http::request(&*method, url.as_str());
    for (name, value) in &headers {
        sent = sent.header(name, value.as_bytes());
    }
    match credential {
        Credential::None => {}
        Credential::Oauth1 => {
            let signature = oauth1::sign(settings, &method, &url, body.as_ref())?;
            // What is signed is one URL: at another the signature is worthless.
            sent = sent.header("authorization", signature).redirects(0);
        }
        Credential::Oauth2 => {
            let token = oauth2::token(settings).await?;
            sent = sent.header("authorization", format!("Bearer {token}"));
        }
        secret => sent = sent.credential(secret.name()),
    }
    if let Some(redirects) = redirects.filter(|_| credential != Credential::Oauth1) {
        sent = sent.redirects(redirects);
    }
    sent = match body.map(|body| body.content) {
        None => sent,
        Some(Content::Bytes(bytes)) => sent.body(bytes),
        Some(Content::Blob(blob)) => sent.body_blob(&blob),
    };
    Ok(sent.timeout(Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS))))
}

/// The headers of the request, then of the settings, then of the body: the first to set one counts.
fn headers_of(
    settings: &Settings,
    given: &Map<String, Value>,
    body: Option<&Encoded>,
) -> Result<Vec<(String, String)>> {
    let mut headers = fields::pairs("headers", given)?;
    if names(&headers, "content-type") && body.is_some_and(|body| body.needs_content_type) {
        return Err(Error::bad_arguments(
            "`headers` has `content-type`, which a multipart body sets itself; leave it out",
        ));
    }
    for (name, value) in &settings.headers {
        if !names(&headers, name) {
            headers.push((name.clone(), value.clone()));
        }
    }
    if let Some(body) = body {
        if body.needs_content_type {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        }
        if !names(&headers, "content-type") {
            headers.push(("content-type".into(), body.content_type.clone()));
        }
    }
    Ok(headers)
}

fn names(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
