//! What one binding may send where.

use std::net::IpAddr;
use std::sync::Arc;

use ampoule_contract::Denial;
use sha2::{Digest, Sha256};

use super::address::{AddressGrant, special};
use super::pattern::{HttpPattern, check_method};
use super::url::{CheckedUrl, Host};
use crate::observe::{Observer, Use};

/// The longest pattern that a refusal proposes; nobody reads a longer one.
const MAX_PROPOSED: usize = 512;

/// How many addresses a refusal names.
const MAX_NAMED: usize = 4;

/// The rules for the requests of one binding. Cheap to clone.
///
/// A request must match a pattern of the manifest and one of the operator's, and the address it
/// goes to must be public or granted.
#[derive(Clone, Debug)]
pub struct Policy(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    binding: String,
    manifest: Vec<HttpPattern>,
    grant: Vec<HttpPattern>,
    addresses: AddressGrant,
    /// What is left to a principal, and the name of its table.
    principal: Option<(String, Vec<HttpPattern>)>,
    observer: Option<Observer>,
    digest: PolicyDigest,
}

/// Tells policies apart: SHA-256 over everything a policy holds.
pub(super) type PolicyDigest = [u8; 32];

impl Policy {
    /// The policy of `binding`, whose manifest asks for `manifest` and to which the operator
    /// grants `grant` and `addresses`.
    pub fn new(
        binding: impl Into<String>,
        manifest: Vec<HttpPattern>,
        grant: Vec<HttpPattern>,
        addresses: AddressGrant,
    ) -> Policy {
        let binding = binding.into();
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        text(&binding);
        for list in [&manifest, &grant] {
            text(&list.len().to_string());
            list.iter().for_each(|pattern| text(&pattern.to_string()));
        }
        Vec::<String>::from(addresses.clone()).iter().for_each(|address| text(address));
        let digest = hash.finalize().into();
        let (principal, observer) = (None, None);
        let rules = Rules { binding, manifest, grant, addresses, principal, observer, digest };
        Policy(Arc::new(rules))
    }

    /// What of it is left to the principal whose table has the name `key`, as TOML writes it.
    pub(crate) fn under_principal(&self, key: &str, left: &[HttpPattern]) -> Policy {
        let mut hash = Sha256::new();
        hash.update(self.0.digest);
        for text in std::iter::once(key.to_owned()).chain(left.iter().map(ToString::to_string)) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let principal = Some((key.to_owned(), left.to_vec()));
        Policy(Arc::new(Rules {
            principal,
            digest: hash.finalize().into(),
            ..Rules::clone(&self.0)
        }))
    }

    /// The same, with somebody who is told each request that is allowed.
    pub(crate) fn observed(&self, observer: &Observer) -> Policy {
        Policy(Arc::new(Rules { observer: Some(observer.clone()), ..Rules::clone(&self.0) }))
    }

    /// The binding it belongs to.
    pub fn binding(&self) -> &str {
        &self.0.binding
    }

    /// Whether the operator grants no request at all.
    pub fn nothing_granted(&self) -> bool {
        self.0.grant.is_empty()
    }

    /// Judges a request by everything that can be known before its host is resolved.
    ///
    /// # Errors
    /// The gate that refuses: `url`, `method`, `manifest`, `grant`, or `address` for a host
    /// that is itself an address; with the lines that would allow it.
    pub fn check(&self, method: &str, url: &str) -> Result<CheckedUrl, Denial> {
        let url = CheckedUrl::parse(url).map_err(|error| Denial {
            gate: "url",
            message: format!("the URL is refused: {error}"),
            allow: None,
        })?;
        self.judge(method, &url)?;
        Ok(url)
    }

    pub(super) fn judge(&self, method: &str, url: &CheckedUrl) -> Result<(), Denial> {
        let rules = &*self.0;
        check_method(method).map_err(|message| Denial { gate: "method", message, allow: None })?;
        let allowed = |list: &[HttpPattern]| list.iter().any(|p| p.matches(method, url));
        let proposed = || {
            let pattern = HttpPattern::exactly(method, url).to_string();
            (pattern.len() <= MAX_PROPOSED).then_some(pattern)
        };
        if !allowed(&rules.manifest) {
            let line = match proposed() {
                Some(pattern) => format!(", with `http = [\"{pattern}\"]`"),
                None => String::new(),
            };
            return Err(Denial {
                gate: "manifest",
                message: format!(
                    "the plugin's manifest does not ask for `{method} {}`; only its author can \
                     change that{line}",
                    url.shown()
                ),
                allow: None,
            });
        }
        if !allowed(&rules.grant) {
            // Where the address is known already, it is told in one go what the next gate asks.
            let address = match url.host() {
                Host::Address(address) if !rules.addresses.permits(*address) => {
                    format!("\ngrant.addresses = [\"{address}\"]")
                }
                _ => String::new(),
            };
            let line = |pattern| {
                let lines = format!("grant.http = [\"{pattern}\"]{address}");
                binding_lines(&rules.binding, &lines)
            };
            return Err(Denial {
                gate: "grant",
                message: format!(
                    "`{method} {}` is not granted to `{}`",
                    url.shown(),
                    rules.binding
                ),
                allow: proposed().map(line),
            });
        }
        if let Some((key, left)) = &rules.principal
            && !allowed(left)
        {
            let table = format!("[principals.{key}]");
            return Err(Denial {
                gate: "principal",
                message: format!(
                    "`{method} {}` is not left to this principal by {table}",
                    url.shown()
                ),
                allow: proposed().map(|pattern| format!("{table}\ngrant.http = [\"{pattern}\"]")),
            });
        }
        if let Host::Address(address) = url.host() {
            self.check_addresses(&url.host().to_string(), &[*address])?;
        }
        if let Some(observer) = &rules.observer {
            let marked = |p: &HttpPattern| p.matches(method, url) && p.only_reads();
            let pattern = HttpPattern::exactly(method, url);
            let reads = pattern.only_reads() || rules.manifest.iter().any(marked);
            observer.tell(Use::Http { pattern, reads });
        }
        Ok(())
    }

    /// Judges all the addresses that `host` has.
    ///
    /// # Errors
    /// The gate `address` when one of them is special and not granted.
    pub(super) fn check_addresses(&self, host: &str, found: &[IpAddr]) -> Result<(), Denial> {
        let rules = &*self.0;
        let mut refused: Vec<IpAddr> = Vec::new();
        for &address in found {
            if !rules.addresses.permits(address) && !refused.contains(&address) {
                refused.push(address);
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        refused.truncate(MAX_NAMED);
        let named: Vec<_> = refused
            .iter()
            .map(|&address| format!("{address}, {}", special(address).unwrap_or("not granted")))
            .collect();
        let list: Vec<_> = refused.iter().map(|address| format!("\"{address}\"")).collect();
        let line = format!("grant.addresses = [{}]", list.join(", "));
        Err(Denial {
            gate: "address",
            message: format!(
                "`{host}` is at a special address that is not granted to `{}`: {}",
                rules.binding,
                named.join("; ")
            ),
            allow: Some(binding_lines(&rules.binding, &line)),
        })
    }

    /// Whether the operator names the host of `url`, and does not only match it.
    pub(super) fn names_host(&self, url: &CheckedUrl) -> bool {
        self.0.grant.iter().any(|pattern| pattern.names_a_host(url))
    }

    pub(super) fn digest(&self) -> PolicyDigest {
        self.0.digest
    }
}

/// A line of `ampoule.toml` under the table of its binding.
pub(super) fn binding_lines(binding: &str, line: &str) -> String {
    format!("[bindings.{}]\n{line}", toml_key(binding))
}

/// A key as TOML writes it: bare where it can be.
pub(crate) fn toml_key(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match !key.is_empty() && key.bytes().all(bare) {
        true => key.to_owned(),
        // JSON's escapes are among TOML's.
        false => serde_json::Value::from(key).to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn policy(manifest: &[&str], grant: &[&str], addresses: &[&str]) -> Policy {
        let patterns = |list: &[&str]| list.iter().map(|p| p.parse().unwrap()).collect();
        let addresses = AddressGrant::parse(addresses).unwrap();
        Policy::new("weather", patterns(manifest), patterns(grant), addresses)
    }

    fn refusal(policy: &Policy, method: &str, url: &str) -> (&'static str, Option<String>) {
        let denial = policy.check(method, url).unwrap_err();
        (denial.gate, denial.allow)
    }

    #[test]
    fn each_gate_names_itself_and_its_line() {
        let policy = policy(
            &["GET,POST https://**/**", "GET http://**/**"],
            &["GET https://api.example.com/v1/**", "GET http://**:*/**", "GET https://**/open/**"],
            &[],
        );
        assert!(policy.check("GET", "https://api.example.com/v1/x?q=1").is_ok());
        assert_eq!(refusal(&policy, "GET", "gopher://x/"), ("url", None));
        assert_eq!(refusal(&policy, "get", "https://api.example.com/v1/x"), ("method", None));
        assert_eq!(refusal(&policy, "TRACE", "https://api.example.com/v1/x"), ("method", None));
        assert_eq!(refusal(&policy, "PUT", "https://api.example.com/v1/x"), ("manifest", None));
        assert_eq!(
            refusal(&policy, "POST", "https://api.example.com/v1/x?key=secret"),
            (
                "grant",
                Some(
                    "[bindings.weather]\n\
                     grant.http = [\"POST https://api.example.com/v1/x\"]"
                        .into()
                )
            )
        );
        assert_eq!(
            refusal(&policy, "GET", "http://0x7f.1/"),
            ("address", Some("[bindings.weather]\ngrant.addresses = [\"127.0.0.1\"]".into()))
        );
        assert_eq!(refusal(&policy, "GET", "https://[::ffff:10.0.0.1]/open/").0, "address");
        let lines = "[bindings.weather]\ngrant.http = [\"GET https://[::1]/x\"]\n\
                     grant.addresses = [\"::1\"]";
        assert_eq!(refusal(&policy, "GET", "https://[::1]/x"), ("grant", Some(lines.into())));
    }

    #[test]
    fn the_proposed_line_allows_the_request() {
        let manifest = ["GET https://**/**"];
        let url = "https://api.example.com/a%2Ab/%22q%22/x%2Fy;z?k=v";
        let refused = policy(&manifest, &[], &[]);
        let lines = refusal(&refused, "GET", url).1.unwrap();
        let file: toml::Table = lines.parse().unwrap();
        let pattern = file["bindings"]["weather"]["grant"]["http"][0].as_str().unwrap();
        assert!(policy(&manifest, &[pattern], &[]).check("GET", url).is_ok());
        let wider = policy(&manifest, &[pattern], &[]);
        assert!(wider.check("GET", "https://api.example.com/aXb/%22q%22/x%2Fy;z").is_err());
    }

    #[test]
    fn one_special_address_among_public_ones_refuses_the_name() {
        let policy = policy(&[], &[], &["10.1.0.0/16"]);
        let check = |list: &[&str]| {
            let list: Vec<IpAddr> = list.iter().map(|a| a.parse().unwrap()).collect();
            policy.check_addresses("h.example", &list)
        };
        assert!(check(&["1.1.1.1", "2606:4700::1111", "10.1.2.3"]).is_ok());
        let denial = check(&["1.1.1.1", "10.2.0.1", "::1", "10.2.0.1"]).unwrap_err();
        assert_eq!(
            denial.allow.unwrap(),
            "[bindings.weather]\ngrant.addresses = [\"10.2.0.1\", \"::1\"]"
        );
    }

    #[test]
    fn digests_tell_every_part_apart() {
        let all = [
            policy(&["GET https://a.example/"], &[], &[]),
            policy(&[], &["GET https://a.example/"], &[]),
            policy(&["GET https://a.example/"], &["GET https://a.example/"], &[]),
            policy(&["GET https://a.example/"], &[], &["::1"]),
            Policy::new(
                "other",
                vec!["GET https://a.example/".parse().unwrap()],
                vec![],
                AddressGrant::default(),
            ),
        ];
        let digests: std::collections::HashSet<_> = all.iter().map(Policy::digest).collect();
        assert_eq!(digests.len(), all.len());
        assert_eq!(policy(&["GET https://a.example/"], &[], &[]).digest(), all[0].digest());
    }
}
