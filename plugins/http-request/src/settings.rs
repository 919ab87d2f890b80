//! What the operator settles for a binding: one API, its usual headers, the way to sign in.

use std::collections::BTreeMap;

use ampoule_sdk::prelude::*;

/// The settings of a binding; all may be left out.
#[data]
#[derive(Default)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// Where the API is, such as `https://api.example.com/v1`. Requests then name paths below it,
    /// and can ask for nothing else.
    #[schemars(url)]
    pub(crate) base_url: Option<String>,
    /// Headers that go with each request, unless it sets them itself. Keys are secrets and do not
    /// belong here.
    pub(crate) headers: BTreeMap<String, String>,
    /// Parameters added to the query of each request, unless it has them itself.
    pub(crate) query: BTreeMap<String, String>,
    /// The secret that requests sign in with, unless they name another. Default: none.
    pub(crate) credential: Option<Credential>,
    /// How to sign requests by OAuth 1 (RFC 5849).
    pub(crate) oauth1: Option<OAuth1>,
    /// Where to get tokens by OAuth 2 client credentials (RFC 6749, section 4.4).
    pub(crate) oauth2: Option<OAuth2>,
}

/// The secret to sign in with: one of those in `plugin.toml`.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Credential {
    /// None.
    #[default]
    None,
    /// A token in the header `Authorization`.
    Bearer,
    /// User and password.
    Basic,
    /// Another scheme of the header `Authorization`.
    Authorization,
    /// A key in the header `X-Api-Key`.
    ApiKey,
    /// A key in the query parameter `key`.
    QueryKey,
    /// A signature by OAuth 1.
    Oauth1,
    /// A token by OAuth 2 client credentials.
    Oauth2,
}

impl Credential {
    /// Its name in arguments and in `plugin.toml`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Credential::None => "none",
            Credential::Bearer => "bearer",
            Credential::Basic => "basic",
            Credential::Authorization => "authorization",
            Credential::ApiKey => "api-key",
            Credential::QueryKey => "query-key",
            Credential::Oauth1 => "oauth1",
            Credential::Oauth2 => "oauth2",
        }
    }

    /// Whether it goes into the header `Authorization`.
    pub(crate) const fn takes_authorization(self) -> bool {
        !matches!(self, Credential::None | Credential::ApiKey | Credential::QueryKey)
    }
}

/// How to sign requests by OAuth 1. The signing key is the secret `oauth1`.
#[data]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OAuth1 {
    /// Who the client is: `oauth_consumer_key`.
    pub(crate) consumer_key: String,
    /// For whom it acts: `oauth_token`.
    pub(crate) token: Option<String>,
    /// The algorithm.
    #[serde(default)]
    pub(crate) method: Method,
    /// The realm, where the API wants one.
    pub(crate) realm: Option<String>,
    /// Whether bodies that are no form are hashed into the signature (`oauth_body_hash`).
    #[serde(default = "yes")]
    pub(crate) body_hash: bool,
}

/// How OAuth 1 signs.
#[data]
#[derive(Copy, Default)]
pub(crate) enum Method {
    /// As RFC 5849 has it.
    #[default]
    HmacSha1,
    /// As some newer servers want it.
    HmacSha256,
}

/// Where to get tokens by OAuth 2 client credentials. The client is the secret `oauth2`.
#[data]
#[serde(rename_all = "kebab-case")]
pub(crate) struct OAuth2 {
    /// The token endpoint; `POST` to it must be granted, and it must be in the secret's audience.
    #[schemars(url)]
    pub(crate) token_url: String,
    /// The scopes to ask for, separated by spaces.
    pub(crate) scope: Option<String>,
    /// Further parameters of the token request, such as `audience` or `resource`.
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, String>,
}

const fn yes() -> bool {
    true
}
