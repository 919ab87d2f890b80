//! The one way out to the network: every HTTP request of every plugin, `wasi:http` included.
//!
//! A request passes these gates, and again at each redirect:
//!
//! 1. `url`: brought to one normal form, or refused where servers would read it differently
//!    ([`CheckedUrl`]);
//! 2. `method`, `manifest`, `grant`: it matches a pattern the plugin asks for and one the
//!    operator allows ([`HttpPattern`], [`Policy`]);
//! 3. `audience`: the secrets it names may go to that origin ([`Credential`]);
//! 4. `secret`: it carries no other secret of the run ([`RunSecrets`](crate::RunSecrets));
//! 5. `address`: every address of its host is public, or granted ([`special`],
//!    [`AddressGrant`]). The connection is made to an address of that same look-up.
//!
//! Then it is charged ([`Charge`]), sent, and its answer cut at its limits ([`EgressLimits`]) and
//! rid of the secrets the server repeats.
//! A refusal names its gate and, where the operator could allow the request, the lines that
//! would.
//!
//! What the host asks for on its own account, for the operator, goes another way ([`Errands`]).
//!
//! Nothing here knows of WebAssembly. The vectors in `tests/cases/egress` hold what is refused
//! and why, for this and any other implementation.

mod address;
mod body;
mod client;
mod credential;
mod errand;
mod error;
mod headers;
mod oauth2;
mod origin;
mod path;
mod pattern;
mod policy;
mod request;
mod resolve;
mod sigv4;
#[cfg(test)]
mod tests;
mod tls;
mod url;

pub use self::url::{CheckedUrl, Host, MAX_URL_BYTES, UrlError};
pub use address::{AddressGrant, special};
pub use body::{BoxError, Charge, RequestBody, ResponseBody};
pub use client::Egress;
pub use credential::{ClientCredentials, Credential, Inject, SecretValue};
pub use errand::Errands;
pub use error::EgressError;
pub use headers::header_map;
pub use origin::AudiencePattern;
pub use pattern::{HttpPattern, MAX_PATTERN_BYTES};
pub use policy::Policy;
pub use request::{EgressLimits, EgressRequest, EgressResponse};
pub use resolve::{Resolve, SystemResolver};

use policy::binding_lines;
pub(crate) use policy::toml_key;
