//! Which `Host` and which `Origin` a request may have.
//!
//! A page of the web can have its own name resolve to 127.0.0.1, and then ask this server with the
//! person's browser (DNS rebinding). Such a request says the page's name as `Host` and `Origin`, so
//! both are let in only where they are this machine or the operator has named them.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};
use url::{Origin, Url};

use crate::error::ServeError;

/// The gate before everything else.
pub(super) struct Gate {
    /// The address served on, which nobody else's name can stand for.
    address: SocketAddr,
    hosts: Vec<Authority>,
    origins: Vec<Origin>,
}

/// What is let in.
#[derive(Debug, PartialEq)]
pub(super) enum Passed {
    /// No browser says where it comes from.
    NoOrigin,
    /// A page of this origin, which may read the answer.
    From(String),
}

/// Why a request is not let in, in words for whoever sent it.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// 400.
    Malformed(&'static str),
    /// 403.
    Forbidden(String),
}

impl Gate {
    /// # Errors
    /// An entry is no host, or no origin.
    pub(super) fn new(
        address: SocketAddr,
        hosts: &[String],
        origins: &[String],
    ) -> Result<Gate, ServeError> {
        let host = |text: &String| {
            let parsed = text.parse::<Authority>().ok();
            let parsed = parsed.filter(|host| is_plain(host) && !host.as_str().contains('*'));
            parsed.ok_or_else(|| ServeError::Host(text.clone()))
        };
        let origin = |text: &String| {
            let bare =
                |url: &Url| url.path() == "/" && url.query().is_none() && url.origin().is_tuple();
            let parsed = Url::parse(text).ok().filter(bare);
            parsed.map(|url| url.origin()).ok_or_else(|| ServeError::Origin(text.clone()))
        };
        Ok(Gate {
            address,
            hosts: hosts.iter().map(host).collect::<Result<_, _>>()?,
            origins: origins.iter().map(origin).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<Passed, Refused> {
        let host = host(uri, headers)?;
        if !self.is_own(&host) && !self.hosts.iter().any(|allowed| names(allowed, &host)) {
            return Err(Refused::Forbidden(format!(
                "The header `Host` says `{host}`, which is not this machine. Where clients reach \
                 the server by this name, start it with: --allow-host {}",
                host.host()
            )));
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(Passed::NoOrigin) };
        let text = origin.to_str().ok().filter(|_| origins.next().is_none());
        let text = text.ok_or(Refused::Malformed("The header `Origin` is malformed."))?;
        let origin = Url::parse(text).ok().map(|url| url.origin()).filter(Origin::is_tuple);
        let is_one = origin.is_some();
        let allowed =
            origin.is_some_and(|origin| self.origins.contains(&origin) || is_same(&origin, &host));
        match allowed {
            true => Ok(Passed::From(text.to_owned())),
            false => Err(Refused::Forbidden(format!(
                "The request comes from a page of the origin `{text}`. Where that page may call \
                 the tools, start the server with: --allow-origin {text}{}",
                // A page of a file or of a sandbox, which anybody can make.
                if is_one { "" } else { " (which has to be one like https://app.example.com)" }
            ))),
        }
    }

    /// A name of this machine, or the address that is served on.
    fn is_own(&self, host: &Authority) -> bool {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        match name.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || ip == self.address.ip(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The one host a request says it is for.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refused> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next().ok_or(Refused::Malformed("The header `Host` is missing."))?;
    let parsed = Authority::try_from(header.as_bytes()).ok();
    let host = parsed.filter(|host| hosts.next().is_none() && is_plain(host));
    let host = host.ok_or(Refused::Malformed("The header `Host` is malformed."))?;
    match uri.authority() {
        Some(other) if *other != host => {
            Err(Refused::Malformed("The header `Host` and the address of the request differ."))
        }
        _ => Ok(host),
    }
}

/// Whether it is a host, and a port at most.
fn is_plain(host: &Authority) -> bool {
    let has_port = host.port_u16().is_some();
    !host.as_str().contains('@') && (has_port || host.as_str() == host.host())
}

/// Whether an entry names a host: with its port, or with any where it has none.
fn names(allowed: &Authority, host: &Authority) -> bool {
    let port = allowed.port_u16().is_none() || allowed.port_u16() == host.port_u16();
    port && allowed.host().eq_ignore_ascii_case(host.host())
}

/// Whether a page comes from the host it asks.
fn is_same(origin: &Origin, host: &Authority) -> bool {
    let Origin::Tuple(scheme, ..) = origin else { return false };
    Url::parse(&format!("{scheme}://{host}")).is_ok_and(|url| url.origin() == *origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gate: &Gate, host: &str, origin: Option<&str>) -> Result<Passed, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header"));
        }
        gate.check(&Uri::from_static("/mcp"), &headers)
    }

    fn gate(address: &str, hosts: &[&str], origins: &[&str]) -> Result<Gate, ServeError> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Gate::new(address.parse().expect("an address"), &owned(hosts), &owned(origins))
    }

    #[test]
    fn only_names_of_this_machine_and_those_named_are_hosts() {
        let gate = gate("127.0.0.1:80", &["mcp.example.com", "b.example.com:8443"], &[]);
        let gate = gate.expect("a gate");
        for host in [
            "localhost",
            "localhost:7000",
            "LOCALHOST:1",
            "127.0.0.1:80",
            "127.3.2.1",
            "[::1]:80",
            "mcp.example.com",
            "MCP.example.com:1",
            "b.example.com:8443",
        ] {
            assert_eq!(check(&gate, host, None), Ok(Passed::NoOrigin), "{host}");
        }
        for host in [
            "evil.example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "b.example.com",
            "b.example.com:1",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "localhost.",
        ] {
            match check(&gate, host, None) {
                Err(Refused::Forbidden(message)) => {
                    assert!(message.contains("--allow-host"), "{message}");
                }
                other => panic!("{host}: {other:?}"),
            }
        }
        for host in ["", "a b", "user@localhost", "localhost:port", "localhost/"] {
            let malformed = check(&gate, host, None);
            assert!(matches!(malformed, Err(Refused::Malformed(_))), "{host}: {malformed:?}");
        }
    }

    #[test]
    fn an_address_served_on_is_a_host_and_every_address_is_not() {
        let own = gate("192.0.2.1:80", &[], &[]).expect("a gate");
        assert!(check(&own, "192.0.2.1:80", None).is_ok());
        assert!(check(&own, "192.0.2.2:80", None).is_err());
        let every = gate("0.0.0.0:80", &[], &[]).expect("a gate");
        assert!(check(&every, "192.0.2.1:80", None).is_err());
    }

    #[test]
    fn only_the_same_origin_and_those_named_may_ask() {
        let gate = gate("127.0.0.1:80", &[], &["https://app.example.com", "http://localhost:6274"]);
        let gate = gate.expect("a gate");
        for origin in [
            "https://app.example.com",
            "https://app.example.com:443",
            "http://localhost:6274",
            "http://localhost:7000",
        ] {
            let passed = check(&gate, "localhost:7000", Some(origin));
            assert_eq!(passed, Ok(Passed::From(origin.to_owned())));
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://evil.example.com",
            "http://localhost:7001",
            "http://localhost",
            "null",
            "",
            "file:///",
            "nonsense",
            "http://127.0.0.1:7000",
        ] {
            match check(&gate, "localhost:7000", Some(origin)) {
                Err(Refused::Forbidden(message)) => {
                    assert!(message.contains("--allow-origin"), "{message}");
                }
                other => panic!("{origin}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_request_for_two_hosts_is_malformed() {
        let gate = gate("127.0.0.1:80", &[], &[]).expect("a gate");
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static("http://evil.example.com/mcp");
        headers.insert(HOST, "localhost".parse().expect("a header"));
        assert!(matches!(gate.check(&uri, &headers), Err(Refused::Malformed(_))));
        headers.append(HOST, "localhost".parse().expect("a header"));
        let uri = Uri::from_static("/mcp");
        assert!(matches!(gate.check(&uri, &headers), Err(Refused::Malformed(_))));
        assert!(matches!(gate.check(&uri, &HeaderMap::new()), Err(Refused::Malformed(_))));
    }

    #[test]
    fn entries_that_are_no_hosts_or_origins_are_refused() {
        for bad in ["", "*", "https://a.example.com", "a b", "u@a.example.com"] {
            assert!(gate("127.0.0.1:80", &[bad], &[]).is_err(), "{bad}");
        }
        for bad in ["", "*", "null", "app.example.com", "https://a.example.com/x", "file:///"] {
            assert!(gate("127.0.0.1:80", &[], &[bad]).is_err(), "{bad}");
        }
    }
}
