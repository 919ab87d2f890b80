//! OAuth 2.0 with client credentials (RFC 6749, section 4.4): the host gets a token for a client's
//! secret and attaches that. Guest and API never see the secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ampoule_contract::ToolError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use indexmap::IndexMap;
use serde::Deserialize;

use super::client::Egress;
use super::credential::{ClientCredentials, Credential, Inject, SecretValue};
use super::error::EgressError;
use super::origin::AudiencePattern;
use super::policy::Policy;
use super::request::{EgressLimits, EgressRequest};
use super::{Charge, RequestBody};
use crate::digest;
use crate::scan::RunSecrets;

/// How long before its end a token is no longer used.
const LEEWAY: Duration = Duration::from_secs(30);

/// The longest a token is kept, whatever its server says.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How many tokens are kept.
const MAX_TOKENS: usize = 256;

/// The largest answer of a token endpoint.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Tells tokens apart: the place, the client, what for, and the secret it was got by.
pub(super) type TokenKey = [u8; 32];

/// The tokens that are still good.
#[derive(Default)]
pub(super) struct Tokens(Mutex<IndexMap<TokenKey, Token>>);

struct Token {
    value: SecretValue,
    until: Instant,
}

/// What a token endpoint answers. It may say more.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    /// Seconds.
    expires_in: Option<u64>,
}

impl Tokens {
    fn get(&self, key: &TokenKey) -> Option<SecretValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(key).filter(|token| token.until > Instant::now())?;
        Some(token.value.clone())
    }

    fn keep(&self, key: TokenKey, token: Token) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        tokens.retain(|_, token| token.until > now);
        if tokens.len() >= MAX_TOKENS {
            tokens.shift_remove_index(0);
        }
        tokens.insert(key, token);
    }

    /// Gives tokens up that a server refused.
    pub(super) fn forget(&self, keys: &[TokenKey]) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            tokens.shift_remove(key);
        }
    }
}

/// What a token is got with, beside the credential itself.
pub(super) struct Fetching<'a> {
    pub(super) policy: &'a Policy,
    pub(super) secrets: &'a Arc<RunSecrets>,
    pub(super) limits: &'a EgressLimits,
    pub(super) charge: &'a Arc<dyn Charge>,
}

/// The form that asks for a token.
fn form(client: &ClientCredentials) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &client.scope {
        form.append_pair("scope", scope);
    }
    form.finish()
}

/// Client and secret are form-encoded before they are joined (section 2.3.1).
fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The credential with a token in the place of the client's secret, kept from before or got from
/// the token endpoint by a request that passes every gate, as the binding's own.
///
/// # Errors
/// Those of a request; `unauthorized` where the endpoint gives no token.
pub(super) async fn exchange(
    egress: &Egress,
    fetching: &Fetching<'_>,
    client: &ClientCredentials,
    credential: &Credential,
) -> Result<(Credential, TokenKey), EgressError> {
    let Fetching { policy, secrets, limits, charge } = *fetching;
    // Before a token that another binding may have left is used.
    let url = policy.check("POST", &client.token_url)?;
    let secret = credential.value.expose();
    let parts =
        [url.as_str(), &client.client_id, client.scope.as_deref().unwrap_or_default(), secret];
    let parts: Vec<_> = parts.iter().map(|part| digest::sha256(part.as_bytes())).collect();
    let key = digest::sha256(&parts.concat());
    let audience = vec![AudiencePattern::exactly(&url)];
    secrets.add(&credential.name, &audience, &credential.value)?;
    let bearer = |value| Credential {
        inject: Inject::Header { name: header::AUTHORIZATION, prefix: "Bearer ".into() },
        value,
        ..credential.clone()
    };
    if let Some(token) = egress.tokens().get(&key) {
        return Ok((bearer(token), key));
    }
    let mut headers = HeaderMap::new();
    let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, urlencoded);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let request = EgressRequest {
        headers,
        body: RequestBody::Bytes(form(client).into()),
        credentials: vec![Credential {
            name: credential.name.clone(),
            audience,
            inject: Inject::Basic { username: encode(&client.client_id) },
            value: SecretValue::new(encode(secret)),
        }],
        secrets: secrets.clone(),
        limits: EgressLimits {
            max_redirects: 0,
            max_response_bytes: MAX_ANSWER_BYTES,
            ..limits.clone()
        },
        ..EgressRequest::new("POST", url.as_str(), charge.clone())
    };
    // A request for a token has no token of its own: this does not go on for ever.
    let mut response = Box::pin(egress.send(policy, request)).await?;
    let refused = |why: String| {
        let message =
            format!("no token for the secret `{}`: {} {why}", credential.name, url.origin());
        ToolError::new("unauthorized", message)
    };
    if response.status != StatusCode::OK {
        return Err(refused(format!("answered {}", response.status.as_u16())).into());
    }
    let mut answer = Vec::new();
    while let Some(chunk) = response.body.chunk().await? {
        answer.extend_from_slice(&chunk);
    }
    // What is wrong with the answer is not said: it could quote the token.
    let text = String::from_utf8(answer).unwrap_or_default();
    let granted = crate::json::parse(&text).ok();
    let granted = granted.and_then(|value| serde_json::from_value::<Granted>(value).ok());
    let granted = granted
        .filter(|granted| granted.token_type.eq_ignore_ascii_case("bearer"))
        .filter(|granted| !granted.access_token.is_empty())
        .ok_or_else(|| refused("answered no bearer token".into()))?;
    let value = SecretValue::new(granted.access_token);
    let good_for = Duration::from_secs(granted.expires_in.unwrap_or(0)).min(LONGEST);
    let until = Instant::now() + good_for.saturating_sub(LEEWAY);
    egress.tokens().keep(key, Token { value: value.clone(), until });
    Ok((bearer(value), key))
}
