//! Who is asking: bearer tokens, those of the operator and those of an authorization server.

use std::fmt;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::oauth::{Judge, OAuth};

/// The shortest token: 16 bytes. A shorter one can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The longest token: 4 KiB. The headers of a request have no more.
const MAX_TOKEN_BYTES: usize = 4 << 10;

/// Who may call over HTTP.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everybody who reaches the address, which must be a loopback address then.
    #[default]
    Open,
    /// Those who send one of these as `Authorization: Bearer …`.
    Tokens(Vec<BearerToken>),
    /// Those who send an access token of an authorization server, or one of these.
    OAuth(Box<OAuth>, Vec<BearerToken>),
}

/// A token, and for whom its calls are made. Only its hash is kept.
#[derive(Clone)]
pub struct BearerToken {
    hash: [u8; 32],
    principal: Option<String>,
}

impl BearerToken {
    /// A token whose calls are made for `principal`.
    ///
    /// # Errors
    /// It has fewer than 16 or more than 4096 bytes, or characters that RFC 6750 does not allow.
    pub fn new(token: &str, principal: Option<String>) -> Result<BearerToken, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if !(MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len()) {
            return Err(format!(
                "a bearer token has {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} characters"
            ));
        }
        if !token.bytes().all(allowed) {
            return Err("a bearer token has only letters, digits and `-._~+/=`".to_owned());
        }
        Ok(BearerToken { hash: Sha256::digest(token).into(), principal })
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken").field("principal", &self.principal).finish_non_exhaustive()
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotLetIn {
    /// No token was sent.
    Missing,
    /// The one that was sent is good for nothing.
    Wrong,
    /// It is good, and lacks a scope.
    Scope,
    /// It is good, and its subject is no principal's.
    Nobody(String),
    /// Nobody can tell now: there are no keys to verify it with.
    Unavailable,
}

/// Tells who is asking.
pub(super) struct Callers {
    /// None, where nobody is asked who they are.
    tokens: Option<Vec<BearerToken>>,
    oauth: Option<Judge>,
}

impl From<Access> for Callers {
    fn from(access: Access) -> Callers {
        match access {
            Access::Open => Callers { tokens: None, oauth: None },
            Access::Tokens(tokens) => Callers { tokens: Some(tokens), oauth: None },
            Access::OAuth(oauth, tokens) => {
                Callers { tokens: Some(tokens), oauth: Some(Judge::new(*oauth)) }
            }
        }
    }
}

impl Callers {
    /// For whom a request is made; `somebody`, where nobody is asked who they are.
    pub(super) async fn principal(
        &self,
        headers: &HeaderMap,
        somebody: Option<&str>,
    ) -> Result<Option<String>, NotLetIn> {
        let Some(tokens) = &self.tokens else { return Ok(somebody.map(str::to_owned)) };
        let sent = bearer(headers)?;
        match (known(tokens, sent), &self.oauth) {
            (Some(token), _) => Ok(token.principal.clone()),
            (None, Some(oauth)) => oauth.principal(sent).await.map(Some),
            (None, None) => Err(NotLetIn::Wrong),
        }
    }

    /// What is told a client with a refusal (RFC 6750, section 3).
    pub(super) fn challenge(&self, error: Option<&'static str>) -> HeaderValue {
        match (&self.oauth, error) {
            (Some(oauth), error) => oauth.challenge(error),
            (None, None) => HeaderValue::from_static("Bearer"),
            // Static tokens know of one error.
            (None, Some(_)) => HeaderValue::from_static("Bearer error=\"invalid_token\""),
        }
    }

    /// The metadata for clients that stands at a path, where any does.
    pub(super) fn metadata(&self, path: &str) -> Option<&Bytes> {
        self.oauth.as_ref()?.metadata(path)
    }
}

/// Which of the tokens was sent. Every one is looked at, whichever it is, so that time tells nothing.
fn known<'a>(tokens: &'a [BearerToken], sent: &[u8]) -> Option<&'a BearerToken> {
    let hash: [u8; 32] = Sha256::digest(sent).into();
    let (mut found, mut at) = (Choice::from(0), 0u64);
    for (n, token) in (0u64..).zip(tokens) {
        let same = hash.ct_eq(&token.hash);
        at.conditional_assign(&n, same);
        found |= same;
    }
    let token = usize::try_from(at).ok().and_then(|at| tokens.get(at));
    token.filter(|_| bool::from(found))
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Result<&[u8], NotLetIn> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let only = sent.next().ok_or(NotLetIn::Missing)?;
    if sent.next().is_some() {
        return Err(NotLetIn::Wrong);
    }
    let (scheme, token) = only.as_bytes().split_at_checked(7).ok_or(NotLetIn::Wrong)?;
    match scheme.eq_ignore_ascii_case(b"bearer ") {
        true => Ok(token.trim_ascii()),
        false => Err(NotLetIn::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| (AUTHORIZATION, value.parse().expect("a header")));
        values.collect()
    }

    #[tokio::test]
    async fn a_token_tells_for_whom_and_nothing_else_does() {
        let token =
            |text, who: &str| BearerToken::new(text, Some(who.to_owned())).expect("a token");
        let access = Access::Tokens(vec![
            token("alice-0123456789", "alice"),
            token("bob-0123456789abc", "bob"),
        ]);
        assert!(!format!("{access:?}").contains("0123"));
        let callers = Callers::from(access);
        let who = async |values: &[&'static str]| {
            callers.principal(&sent(values), Some("somebody")).await
        };
        assert_eq!(who(&["Bearer alice-0123456789"]).await, Ok(Some("alice".into())));
        assert_eq!(who(&["bearer  bob-0123456789abc "]).await, Ok(Some("bob".into())));
        assert_eq!(who(&[]).await, Err(NotLetIn::Missing));
        for wrong in [
            "Bearer alice-012345678",
            "Bearer alice-01234567890",
            "Bearer",
            "Bearer ",
            "Basic alice-0123456789",
            "alice-0123456789",
        ] {
            assert_eq!(who(&[wrong]).await, Err(NotLetIn::Wrong), "{wrong}");
        }
        let two = ["Bearer alice-0123456789", "Bearer alice-0123456789"];
        assert_eq!(who(&two).await, Err(NotLetIn::Wrong));
        let open = Callers::from(Access::Open);
        assert_eq!(open.principal(&sent(&[]), Some("me")).await, Ok(Some("me".into())));
    }

    #[test]
    fn tokens_that_could_be_guessed_or_never_sent_are_refused() {
        for bad in ["", "short", "fifteen-letters", "with a blank inside", "umlaut-äöü-0123456"]
        {
            assert!(BearerToken::new(bad, None).is_err(), "{bad}");
        }
        assert!(BearerToken::new(&"x".repeat(5000), None).is_err());
    }
}
