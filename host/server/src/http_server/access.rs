//! Who is asking: bearer tokens.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unauthorized {
    /// No token was sent.
    Missing,
    /// The one that was sent is none of those there are.
    Wrong,
}

impl Access {
    /// For whom a request is made; `somebody`, where nobody is asked who they are.
    pub(super) fn principal(
        &self,
        headers: &HeaderMap,
        somebody: Option<&str>,
    ) -> Result<Option<String>, Unauthorized> {
        let tokens = match self {
            Access::Open => return Ok(somebody.map(str::to_owned)),
            Access::Tokens(tokens) => tokens,
        };
        let sent = bearer(headers)?;
        let hash: [u8; 32] = Sha256::digest(sent).into();
        // Every token is looked at, whichever it is, so that time tells nothing.
        let (mut found, mut at) = (Choice::from(0), 0u64);
        for (n, token) in (0u64..).zip(tokens) {
            let same = hash.ct_eq(&token.hash);
            at.conditional_assign(&n, same);
            found |= same;
        }
        let token = usize::try_from(at).ok().and_then(|at| tokens.get(at));
        match token.filter(|_| bool::from(found)) {
            Some(token) => Ok(token.principal.clone()),
            None => Err(Unauthorized::Wrong),
        }
    }
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Unauthorized> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let only = sent.next().ok_or(Unauthorized::Missing)?;
    if sent.next().is_some() {
        return Err(Unauthorized::Wrong);
    }
    let (scheme, token) = only.as_bytes().split_at_checked(7).ok_or(Unauthorized::Wrong)?;
    match scheme.eq_ignore_ascii_case(b"bearer ") {
        true => Ok(token.trim_ascii()),
        false => Err(Unauthorized::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| (AUTHORIZATION, value.parse().expect("a header")));
        values.collect()
    }

    #[test]
    fn a_token_tells_for_whom_and_nothing_else_does() {
        let token =
            |text, who: &str| BearerToken::new(text, Some(who.to_owned())).expect("a token");
        let access = Access::Tokens(vec![
            token("alice-0123456789", "alice"),
            token("bob-0123456789abc", "bob"),
        ]);
        let who = |values: &[&'static str]| access.principal(&sent(values), Some("somebody"));
        assert_eq!(who(&["Bearer alice-0123456789"]), Ok(Some("alice".into())));
        assert_eq!(who(&["bearer  bob-0123456789abc "]), Ok(Some("bob".into())));
        assert_eq!(who(&[]), Err(Unauthorized::Missing));
        for wrong in [
            "Bearer alice-012345678",
            "Bearer alice-01234567890",
            "Bearer",
            "Bearer ",
            "Basic alice-0123456789",
            "alice-0123456789",
        ] {
            assert_eq!(who(&[wrong]), Err(Unauthorized::Wrong), "{wrong}");
        }
        let two = ["Bearer alice-0123456789", "Bearer alice-0123456789"];
        assert_eq!(who(&two), Err(Unauthorized::Wrong));
        assert_eq!(
            Access::Open.principal(&sent(&[]), Some("somebody")),
            Ok(Some("somebody".into()))
        );
        assert!(!format!("{access:?}").contains("0123"));
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
