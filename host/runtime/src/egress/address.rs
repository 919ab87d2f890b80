//! Addresses: which are special, and which special ones an operator has opened.
//!
//! A special address is one that does not lead to the public internet, or leads there by way of
//! another address inside it. What is not known to be public is special: of IPv6 only
//! `2000::/3` is, with the exceptions below. Sources: the IANA special-purpose registries for
//! IPv4 and IPv6 (RFC 6890), and the providers' own pages for their metadata services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(segments: [u16; 8], length: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// The first range that holds an address names it; so the narrow ones come first.
const SPECIAL_V4: &[(Ipv4Net, &str)] = &[
    (v4(169, 254, 169, 254, 32), "cloud metadata service"),
    (v4(169, 254, 170, 2, 32), "cloud metadata service (Amazon containers)"),
    (v4(100, 100, 100, 200, 32), "cloud metadata service (Alibaba)"),
    (v4(168, 63, 129, 16, 32), "cloud metadata service (Azure)"),
    (v4(192, 0, 0, 192, 32), "cloud metadata service (Oracle)"),
    (v4(0, 0, 0, 0, 8), "this network (RFC 791)"),
    (v4(10, 0, 0, 0, 8), "private network (RFC 1918)"),
    (v4(100, 64, 0, 0, 10), "shared address space (RFC 6598)"),
    (v4(127, 0, 0, 0, 8), "loopback (RFC 1122)"),
    (v4(169, 254, 0, 0, 16), "link-local (RFC 3927)"),
    (v4(172, 16, 0, 0, 12), "private network (RFC 1918)"),
    (v4(192, 0, 0, 0, 24), "protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0, 24), "documentation (RFC 5737)"),
    (v4(192, 88, 99, 0, 24), "6to4 relay (RFC 7526)"),
    (v4(192, 168, 0, 0, 16), "private network (RFC 1918)"),
    (v4(198, 18, 0, 0, 15), "benchmarking (RFC 2544)"),
    (v4(198, 51, 100, 0, 24), "documentation (RFC 5737)"),
    (v4(203, 0, 113, 0, 24), "documentation (RFC 5737)"),
    (v4(224, 0, 0, 0, 4), "multicast (RFC 5771)"),
    (v4(255, 255, 255, 255, 32), "limited broadcast (RFC 919)"),
    (v4(240, 0, 0, 0, 4), "reserved (RFC 1112)"),
];

/// As [`SPECIAL_V4`].
const SPECIAL_V6: &[(Ipv6Net, &str)] = &[
    (v6([0; 8], 128), "unspecified (RFC 4291)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback (RFC 4291)"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "IPv4-mapped (RFC 4291)"),
    (v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96), "IPv4-translated (RFC 2765)"),
    (v6([0; 8], 96), "IPv4-compatible (RFC 4291)"),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), "NAT64 (RFC 6052)"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "local NAT64 (RFC 8215)"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discard only (RFC 6666)"),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), "dummy prefix (RFC 9780)"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "Teredo (RFC 4380)"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "protocol assignments (RFC 2928)"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "documentation (RFC 3849)"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "6to4 (RFC 3056)"),
    (v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16), "returned test network (RFC 3701)"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "documentation (RFC 9637)"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "segment routing (RFC 9602)"),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 64), "cloud metadata service (Amazon)"),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), "cloud metadata service (Google)"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "unique local (RFC 4193)"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local (RFC 4291)"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "site-local (RFC 3879)"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast (RFC 4291)"),
];

/// The only range of IPv6 that is given out for the public internet.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The special range an address is in; `None` for an address of the public internet.
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            let mut ranges = SPECIAL_V4.iter();
            ranges.find(|(range, _)| range.contains(&address)).map(|(_, name)| *name)
        }
        IpAddr::V6(address) => {
            let mut ranges = SPECIAL_V6.iter();
            let named = ranges.find(|(range, _)| range.contains(&address)).map(|(_, name)| *name);
            named
                .or_else(|| isatap(address).map(|_| "ISATAP (RFC 5214)"))
                .or_else(|| (!GLOBAL_V6.contains(&address)).then_some("not global (RFC 4291)"))
        }
    }
}

/// The IPv4 address behind an ISATAP interface identifier, `0000:5efe` or `0200:5efe` before it
/// (the universal and group bits vary), whatever the prefix.
fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, flags, marker, high, low] = address.segments();
    (flags & !0x0300 == 0 && marker == 0x5efe).then(|| from_segments(high, low))
}

/// The IPv4 address that a packet to `address` ends up at, where a transition mechanism
/// says so.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from_segments(high, low)),
        // The local prefix may be used with any length of RFC 6052; a /96 is the common one.
        [0x64, 0xff9b, 1, _, _, _, high, low] => Some(from_segments(high, low)),
        [0x2002, high, low, ..] => Some(from_segments(high, low)),
        // Teredo carries its client's address with every bit turned over.
        [0x2001, 0, _, _, _, _, high, low] => Some(from_segments(!high, !low)),
        _ => isatap(address),
    }
}

fn from_segments(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

/// The special addresses that may be connected to all the same: a list of addresses and
/// networks, `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
#[derive(schemars::JsonSchema)]
#[schemars(with = "Vec<String>")]
pub struct AddressGrant(Vec<IpNet>);

impl AddressGrant {
    /// Reads the list as `grant.addresses` has it.
    ///
    /// # Errors
    /// The first entry that is no address or network, with what is wrong with it.
    pub fn parse<S: AsRef<str>>(
        entries: impl IntoIterator<Item = S>,
    ) -> Result<AddressGrant, String> {
        entries.into_iter().map(|entry| network(entry.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a connection to `address` is allowed: it is public, or it was granted.
    ///
    /// A granted network does not open the IPv4 addresses embedded in it: `64:ff9b::/96` lets
    /// through what a translator makes of public addresses, and not `64:ff9b::7f00:1`, unless
    /// `127.0.0.1` is granted too. An address that is granted as such is open.
    pub fn permits(&self, address: IpAddr) -> bool {
        special(address).is_none() || self.opens(address)
    }

    fn opens(&self, address: IpAddr) -> bool {
        let mut holding = self.0.iter().filter(|network| network.contains(&address)).peekable();
        if holding.peek().is_none() {
            return false;
        }
        let inner = match address {
            IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        match inner {
            Some(inner) if special(inner).is_some() => {
                let whole = |network: &IpNet| network.prefix_len() == network.max_prefix_len();
                holding.any(whole) || self.opens(inner)
            }
            _ => true,
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = IpAddr::from_str(text) {
        return Ok(IpNet::from(address));
    }
    let network = IpNet::from_str(text).map_err(|_| {
        format!("`{text}` is neither an address (`127.0.0.1`) nor a network (`10.0.0.0/8`)")
    })?;
    if network.trunc() != network {
        return Err(format!(
            "`{text}` has bits set beyond its length; write `{}`, or the address alone",
            network.trunc()
        ));
    }
    match network.prefix_len() {
        0 => Err(format!("`{text}` opens every address; name the networks that are meant")),
        _ => Ok(network),
    }
}

impl TryFrom<Vec<String>> for AddressGrant {
    type Error = String;

    fn try_from(entries: Vec<String>) -> Result<Self, String> {
        AddressGrant::parse(entries)
    }
}

impl From<AddressGrant> for Vec<String> {
    fn from(grant: AddressGrant) -> Vec<String> {
        grant.0.iter().map(shown).collect()
    }
}

fn shown(network: &IpNet) -> String {
    match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        input: IpAddr,
        #[serde(default)]
        granted: Vec<String>,
        expected: Option<String>,
        why: String,
    }

    #[test]
    fn public_vectors() {
        crate::egress::tests::check_vectors("addresses.json", |row: Row| {
            let Row { input, granted, expected, why } = row;
            let grant = AddressGrant::parse(granted).unwrap();
            let found = special(input).filter(|_| !grant.permits(input));
            let wrong = found != expected.as_deref();
            wrong.then(|| format!("{input}: {found:?}, not {expected:?}: {why}"))
        });
    }

    #[test]
    fn every_range_is_met_at_both_ends_and_not_beside_them() {
        for (range, name) in SPECIAL_V4 {
            assert!(special(range.network().into()).is_some(), "{name}");
            assert!(special(range.broadcast().into()).is_some(), "{name}");
        }
        for (range, name) in SPECIAL_V6 {
            assert!(special(range.network().into()).is_some(), "{name}");
            assert!(special(range.broadcast().into()).is_some(), "{name}");
        }
    }

    #[test]
    fn grants_are_read_strictly() {
        for good in ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "172.16.0.0/12"] {
            let grant = AddressGrant::parse([good]).unwrap();
            assert_eq!(Vec::from(grant), [good]);
        }
        for bad in [
            "",
            " 127.0.0.1",
            "127.1",
            "0177.0.0.1",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "0.0.0.0/0",
            "::/0",
            "localhost",
            "*",
            "127.0.0.1:80",
            "[::1]",
            "fe80::1%eth0",
            "10.0.0.0/08x",
        ] {
            assert!(AddressGrant::parse([bad]).is_err(), "read {bad:?}");
        }
    }
}
