//! Attacks on what reads text from outside: one function a subject, each of which takes any bytes
//! and panics where something does not hold.
//!
//! The fuzz targets in `fuzz/` are one line around each; the property tests feed them too, and
//! the corpus beside the targets is run by the ordinary tests. What is checked against is naive
//! on purpose: slow, short, and written from the documentation instead of the code.

use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;

use crate::egress::{AddressGrant, CheckedUrl, Host, HttpPattern, MAX_PATTERN_BYTES, special};
use crate::manifest::Manifest;
use crate::workspace::Overlay;

/// A manifest, as it stands in a plugin's file: what is read is what is written again.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::from_section(data) else { return };
    let written = serde_json::to_vec(&manifest).unwrap_or_default();
    assert_eq!(Manifest::from_section(&written), Ok(manifest));
}

/// `ampoule.toml`: what is read is what is written again, and errors name a place.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = crate::Config::parse(text) else { return };
    let written = toml::to_string(&config).unwrap_or_default();
    assert_eq!(crate::Config::parse(&written), Ok(config), "{written}");
}

/// A URL as a guest writes it. What is let through has one form, and nothing in it that the next
/// reader could take for something else.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(url) = CheckedUrl::parse(text) else { return };
    let sent = url.as_str();
    assert_eq!(CheckedUrl::parse(sent).as_ref(), Ok(&url), "{text:?} has two forms");
    let rest = sent.strip_prefix(url.scheme()).and_then(|rest| rest.strip_prefix("://"));
    let rest = rest.unwrap_or_else(|| panic!("{sent:?} does not begin with its scheme"));
    assert!(matches!(url.scheme(), "http" | "https"), "{sent:?}");
    assert!(sent.bytes().all(|b| (0x21..0x7f).contains(&b)), "{sent:?} is not plain ASCII");
    assert!(!sent.contains('#'), "{sent:?} has a fragment");
    // Read in the most naive way there is, the host is the host that was judged.
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    assert!(!authority.contains(['@', '\\', '%']), "{sent:?}");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (authority, Some(if url.scheme() == "https" { 443 } else { 80 })),
    };
    assert_eq!(port, Some(url.port()), "{sent:?}");
    match url.host() {
        Host::Name(name) => {
            assert_eq!(name, host);
            assert!(IpAddr::from_str(name).is_err(), "{sent:?} is an address");
            assert!(name.split('.').all(|label| !label.is_empty()), "{sent:?}");
        }
        Host::Address(address) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            assert_eq!(IpAddr::from_str(host), Ok(*address), "{sent:?}");
        }
    }
    let path = rest[authority.len()..].split('?').next().unwrap_or_default();
    assert!(path.starts_with('/') && !path.contains('\\'), "{sent:?}");
    assert!(path.split('/').all(|part| part != "." && part != ".."), "{sent:?}");
    // Whoever is granted exactly this is granted it, and its text says the same.
    let exactly = HttpPattern::exactly("GET", &url);
    assert!(exactly.matches("GET", &url) && !exactly.matches("POST", &url), "{sent:?}");
    let shown = exactly.to_string();
    if shown.len() <= MAX_PATTERN_BYTES {
        assert_eq!(shown.parse(), Ok(exactly), "of {sent:?}");
    }
}

/// A pattern and a URL, one a line: the matcher agrees with one that tries every way.
pub fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((pattern, url)) = text.split_once('\n') else { return };
    let Ok(parsed) = pattern.parse::<HttpPattern>() else { return };
    let shown = parsed.to_string();
    if shown.len() <= MAX_PATTERN_BYTES {
        assert_eq!(shown.parse(), Ok(parsed.clone()), "{pattern:?} is shown as {shown:?}");
    }
    let Ok(url) = CheckedUrl::parse(url) else { return };
    let Some(naive) = naive::matches(&shown, &url) else { return };
    assert_eq!(parsed.matches("GET", &url), naive, "{shown} against {url}");
}

/// An address, in 4 or 16 bytes: it is special where the registries say so.
pub fn address(data: &[u8]) {
    let address = match (<[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
        (Ok(four), _) => IpAddr::from(four),
        (_, Ok(sixteen)) => IpAddr::from(sixteen),
        _ => return,
    };
    let expected = naive::special(address);
    assert_eq!(special(address).is_some(), expected, "{address}: {:?}", special(address));
    // Without grants exactly the special ones are refused; an address that is granted is open.
    assert_eq!(AddressGrant::default().permits(address), !expected);
    let granted = AddressGrant::parse([address.to_string()]);
    assert!(granted.is_ok_and(|granted| granted.permits(address)), "{address}");
}

/// A path as a guest writes it: what may be written lies in the workspace, under that very name.
pub fn path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let overlay = Overlay::open(&std::env::temp_dir());
    let overlay = overlay.unwrap_or_else(|error| panic!("no temporary folder: {error}")).above();
    let code = |result: Result<(), ampoule_contract::ToolError>| match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.code,
    };
    let written = code(overlay.write(path, Vec::new()));
    let refused = written == "bad-arguments";
    assert_eq!(refused, !naive::path(path), "{path:?}: {written}");
    for other in [
        code(overlay.stat(path).map(drop)),
        code(overlay.read(path, 0, 1).map(drop)),
        code(overlay.append(path, b"", 1).map(drop)),
        code(overlay.rename(path, "elsewhere", 1).map(drop)),
    ] {
        assert_eq!(other == "bad-arguments", refused, "{path:?}: {written}, {other}");
    }
    if refused {
        return;
    }
    // The system's own reading of it: names, one below the other, and no way up or to a root.
    let names: Vec<_> = std::path::Path::new(path).components().collect();
    assert!(names.iter().all(|name| matches!(name, std::path::Component::Normal(_))), "{path:?}");
    assert_eq!(names.len(), path.split('/').count(), "{path:?}");
}

/// A JSON text from outside: what is let through is JSON, and within its bounds.
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(value) = crate::json::parse(text) else { return };
    assert!(naive::depth(&value) <= crate::json::MAX_DEPTH, "{text:?}");
    assert!(naive::nodes(&value) <= crate::json::MAX_NODES);
    let again = value.to_string();
    assert_eq!(crate::json::parse(&again).ok(), Some(value), "{text:?} becomes {again:?}");
}

/// Values on their way into a component.
#[derive(Debug)]
pub struct Boundary {
    tool: crate::reflect::ReflectedTool,
    schema: jsonschema::Validator,
}

impl Boundary {
    /// The values of the only function that the component `wasm` exports.
    ///
    /// # Errors
    /// It is no component, or exports no function.
    pub fn new(wasm: &[u8]) -> Result<Boundary, String> {
        let engine = wasmtime::Engine::default();
        let component = wasmtime::component::Component::from_binary(&engine, wasm);
        let component = component.map_err(|error| format!("{error:#}"))?;
        let tool = crate::reflect::exports(&engine, &component, wasm).pop().ok_or("no function")?;
        let schema = jsonschema::draft202012::new(&tool.input_schema);
        Ok(Boundary { schema: schema.map_err(|error| error.to_string())?, tool })
    }

    /// Arguments as JSON: the reader and the schema that a model sees agree on what fits. Says
    /// whether they do.
    pub fn check(&self, data: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(data) else { return false };
        let Ok(arguments) = crate::json::parse(text) else { return false };
        // With next to nothing to draw from, an end is found just as well.
        let _ = self.tool.arguments(&arguments, 3);
        let read = self.tool.arguments(&arguments, crate::json::MAX_NODES);
        match (read, self.schema.is_valid(&arguments)) {
            (Ok(_), true) => true,
            (Err(_), false) => false,
            // What a schema cannot say; or, of digits just beyond 64 bits, only in a pattern ten times
            // as long, which a model would have to read.
            (Err(problem), true)
                if ["base64", "a string of digits"].iter().any(|w| problem.message.contains(w)) =>
            {
                false
            }
            (read, valid) => panic!("valid: {valid}, read: {read:?}: {arguments}"),
        }
    }
}

/// What the code is checked against.
mod naive {
    use super::{CheckedUrl, Host, IpAddr, Value};

    /// The IANA special-purpose registries (IPv4 as of RFC 6890 and its updates), the deprecated
    /// and transition ranges beside them, and addresses that providers answer from inside.
    const REGISTRY: &str = "
        0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
        192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
        224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
        ::/128 ::1/128 ::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64
        100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16 3ffe::/16 3fff::/20 5f00::/16 fc00::/7
        fe80::/10 fec0::/10 ff00::/8";

    fn bits(address: IpAddr) -> Vec<bool> {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1)).collect()
    }

    /// Whether an address lies in a range, bit by bit.
    fn within(address: IpAddr, range: &str) -> bool {
        let Some((base, length)) = range.split_once('/') else { return false };
        let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<usize>()) else {
            return false;
        };
        address.is_ipv4() == base.is_ipv4() && bits(address)[..length] == bits(base)[..length]
    }

    pub(super) fn special(address: IpAddr) -> bool {
        let isatap = match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => {
                matches!(address.octets()[8..12], [0..=3, 0, 0x5e, 0xfe])
            }
        };
        let global = address.is_ipv4() || within(address, "2000::/3");
        !global || isatap || REGISTRY.split_whitespace().any(|range| within(address, range))
    }

    /// Whether a path may be written: the rule as the contract says it.
    pub(super) fn path(path: &str) -> bool {
        let devices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].map(str::to_owned);
        let numbered = ["COM", "LPT"].into_iter().flat_map(|device| {
            "0123456789¹²³".chars().map(move |digit| format!("{device}{digit}"))
        });
        let devices: Vec<String> = devices.into_iter().chain(numbered).collect();
        let name = |name: &str| {
            let before_dot = name.split('.').next().unwrap_or(name).trim_end();
            !["", ".", ".."].contains(&name)
                && name.len() <= 255
                && !name.starts_with(".ampoule-staged-")
                && !name.contains(['\\', ':'])
                && !name.contains(char::is_control)
                && !devices.iter().any(|device| before_dot.eq_ignore_ascii_case(device))
        };
        path.len() <= 1024 && path.split('/').all(name)
    }

    pub(super) fn depth(value: &Value) -> usize {
        let inner: &mut dyn Iterator<Item = usize> = match value {
            Value::Array(items) => &mut items.iter().map(depth),
            Value::Object(fields) => &mut fields.values().map(depth),
            _ => return 0,
        };
        1 + inner.max().unwrap_or(0)
    }

    pub(super) fn nodes(value: &Value) -> usize {
        let inner: &mut dyn Iterator<Item = usize> = match value {
            Value::Array(items) => &mut items.iter().map(nodes),
            Value::Object(fields) => &mut fields.values().map(nodes),
            _ => return 1,
        };
        1 + inner.sum::<usize>()
    }

    /// Whether a `GET` of `url` matches a pattern in normal form; `None` where escapes come in,
    /// which this knows nothing of.
    pub(super) fn matches(pattern: &str, url: &CheckedUrl) -> Option<bool> {
        let (methods, target) = pattern.split_once(' ')?;
        let (scheme, rest) = target.split_once("://")?;
        let (origin, path) = rest.split_at(rest.find('/')?);
        let sent = url.as_url().path();
        if path.contains('%') || sent.contains('%') {
            return None;
        }
        let (host, port) = match origin.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.to_owned()),
            _ => (origin, if url.scheme() == "https" { "443" } else { "80" }.to_owned()),
        };
        let host = match (host, url.host()) {
            ("**", _) => true,
            (host, Host::Name(name)) if host.starts_with("*.") => name.ends_with(&host[1..]),
            (host, found) => *host == found.to_string(),
        };
        let path = match path.strip_suffix("**") {
            // At least the slash before it is there.
            Some(folder) => {
                let parts = folder.matches('/').count();
                let found: Vec<&str> = sent.split('/').collect();
                found.len() > parts && segments(folder, &(found[..parts].join("/") + "/"))
            }
            None => segments(path, sent),
        };
        Some(
            (methods == "*" || methods.split(',').any(|method| method == "GET"))
                && (scheme == "*" || scheme == url.scheme())
                && host
                && (port == "*" || port == url.port().to_string())
                && path,
        )
    }

    fn segments(pattern: &str, path: &str) -> bool {
        let (pattern, path): (Vec<&str>, Vec<&str>) =
            (pattern.split('/').collect(), path.split('/').collect());
        pattern.len() == path.len()
            && pattern.iter().zip(path).all(|(pattern, segment)| match *pattern {
                "*" => !segment.is_empty(),
                pattern => {
                    !(pattern.contains('*') && segment.contains('\\'))
                        && glob(pattern.as_bytes(), segment.as_bytes())
                }
            })
    }

    /// Tries every length for every star.
    fn glob(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', pattern @ ..] => (0..=text.len()).any(|at| glob(pattern, &text[at..])),
            [byte, pattern @ ..] => {
                text.split_first().is_some_and(|(first, text)| first == byte && glob(pattern, text))
            }
        }
    }
}
