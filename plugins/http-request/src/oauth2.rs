//! Tokens by OAuth 2 client credentials (RFC 6749, section 4.4). The host signs the client in at
//! the token endpoint; the plugin sees the token it gets, and never the secret.

use std::time::Duration;

use ampoule_sdk::http;
use ampoule_sdk::prelude::*;

use crate::settings::{OAuth2, Settings};

/// The client's name in `plugin.toml`.
const CLIENT: &str = "oauth2";

/// Bytes of a token endpoint's answer.
const MAX_BYTES: u64 = 256 << 10;

/// Characters of a token endpoint's error that are shown.
const MAX_CHARS: usize = 300;

/// How long a token endpoint may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A token endpoint's answer (RFC 6749, sections 5.1 and 5.2).
#[data(open)]
#[derive(Default)]
#[serde(default)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// A token for the API.
///
/// # Errors
/// `unsupported` where the settings have no `oauth2` or no `base-url`; `unauthorized` where the
/// endpoint refuses the client; those of [`http::Request::send`].
pub(crate) async fn token(settings: &Settings) -> Result<String> {
    let oauth = settings.oauth2.as_ref().filter(|_| settings.base_url.is_some());
    let oauth = oauth.ok_or_else(|| {
        Error::unsupported("OAuth 2 needs `oauth2` and `base-url` in this binding's settings")
    })?;
    let mut response = http::post(&*oauth.token_url)
        .form(&fields(oauth))
        .header("accept", "application/json")
        .credential(CLIENT)
        .redirects(0)
        .timeout(TIMEOUT)
        .max_bytes(MAX_BYTES)
        .send()
        .await?;
    let failed = response.error();
    let answer = response.json().await;
    read(response.status(), failed, answer)
}

fn fields(oauth: &OAuth2) -> Vec<(&str, &str)> {
    let mut fields = vec![("grant_type", "client_credentials")];
    fields.extend(oauth.scope.iter().map(|scope| ("scope", scope.as_str())));
    fields.extend(oauth.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    fields
}

/// The token in an answer; `failed` is what its status stands for.
fn read(status: u16, failed: Option<Error>, answer: Result<Answer>) -> Result<String> {
    if failed.is_some() || !(200..300).contains(&status) {
        let Answer { error, error_description, .. } = answer.unwrap_or_default();
        let why: Vec<String> = [error, error_description].into_iter().flatten().collect();
        let why: String = why.join(": ").chars().take(MAX_CHARS).collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        let message = format!("the token endpoint answered status {status}{why}");
        // A 400 is how it refuses a client or a scope (RFC 6749, section 5.2).
        return Err(match failed {
            Some(error) if status >= 429 => Error { message, ..error },
            _ => Error::unauthorized(message),
        });
    }
    let bad = |what: &str| Error::unavailable(format!("the token endpoint answered {what}"));
    let Answer { access_token, token_type, .. } =
        answer.map_err(|error| bad(&format!("what cannot be read: {}", error.message)))?;
    if !token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(bad("with a token that is no bearer token"));
    }
    let token = access_token
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    token.ok_or_else(|| bad("without a token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(value: Value) -> Result<Answer> {
        Ok(ampoule_sdk::serde_json::from_value(value)?)
    }

    #[test]
    fn tokens_are_read() {
        let ok = |value: Value| read(200, None, answer(value));
        let whole = json!({ "access_token": "abc", "token_type": "Bearer", "expires_in": 3600 });
        assert_eq!(ok(whole).as_deref(), Ok("abc"));
        assert_eq!(ok(json!({ "access_token": "abc" })).as_deref(), Ok("abc"));
        for bad in [
            json!({}),
            json!({ "access_token": "" }),
            json!({ "access_token": "a\r\nx: y" }),
            json!({ "access_token": "a", "token_type": "mac" }),
            json!({ "access_token": 7 }),
            json!([]),
        ] {
            assert_eq!(ok(bad.clone()).expect_err("no token").code, "unavailable", "{bad}");
        }
    }

    #[test]
    fn refusals_say_why() {
        let said = json!({ "error": "invalid_client", "error_description": "x".repeat(900) });
        let error = read(400, Some(Error::bad_arguments("")), answer(said)).expect_err("refused");
        assert_eq!(error.code, "unauthorized");
        assert!(error.message.contains("400 (invalid_client: xxx"), "{}", error.message);
        assert!(error.message.len() < 400);
        let limited = Some(Error::rate_limited("").with_retry_after(Duration::from_secs(3)));
        let error = read(429, limited, answer(json!({}))).expect_err("later");
        assert_eq!((error.code.as_str(), error.retry_after_ms), ("rate-limited", Some(3000)));
        let moved = read(302, None, answer(json!({ "access_token": "a" }))).expect_err("moved");
        assert_eq!(moved.code, "unauthorized");
    }

    #[test]
    fn the_request_names_what_is_asked_for() {
        let oauth = OAuth2 {
            token_url: "https://login.test/token".into(),
            scope: Some("read write".into()),
            parameters: [("audience".to_owned(), "api".to_owned())].into(),
        };
        let asked =
            [("grant_type", "client_credentials"), ("scope", "read write"), ("audience", "api")];
        assert_eq!(fields(&oauth), asked);
    }
}
