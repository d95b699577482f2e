// SPDX-License-Identifier: Apache-2.0
//! Trusted proxies as configured: the headers that can be believed, and the addresses that are
//! (spec-config 8). What they do to an environ is in `environ/proxies.rs`.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a header of a proxy tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    /// The client's address.
    Client,
    /// The host that the client asked for.
    Host,
    /// The server's name.
    Server,
    /// The server's port.
    Port,
    /// Where the application is mounted.
    ScriptName,
    /// http or https.
    Scheme,
}

/// How the value of a header is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As it is.
    Verbatim,
    /// A list of addresses, the client's first.
    ForwardedFor,
    /// `http` or `https`.
    SchemeName,
    /// `On`, `true`, `1` and their opposites.
    SchemeFlag,
}

/// A header that a proxy may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrustedHeader {
    /// Its name, as usually written.
    pub(crate) name: &'static str,
    /// Its name in the environ.
    pub(crate) variable: &'static str,
    /// What it tells about.
    pub(crate) category: Category,
    /// How its value is read.
    pub(crate) reading: Reading,
}

/// All headers that can be believed.
pub(crate) const HEADERS: [TrustedHeader; 15] = {
    use Category::{Client, Host, Port, Scheme, ScriptName, Server};
    use Reading::{ForwardedFor, SchemeFlag, SchemeName, Verbatim};
    const fn header(
        name: &'static str,
        variable: &'static str,
        category: Category,
        reading: Reading,
    ) -> TrustedHeader {
        TrustedHeader { name, variable, category, reading }
    }
    [
        header("X-Forwarded-For", "HTTP_X_FORWARDED_FOR", Client, ForwardedFor),
        header("X-Client-IP", "HTTP_X_CLIENT_IP", Client, Verbatim),
        header("X-Real-IP", "HTTP_X_REAL_IP", Client, Verbatim),
        header("X-Forwarded-Host", "HTTP_X_FORWARDED_HOST", Host, Verbatim),
        header("X-Host", "HTTP_X_HOST", Host, Verbatim),
        header("X-Forwarded-Server", "HTTP_X_FORWARDED_SERVER", Server, Verbatim),
        header("X-Forwarded-Port", "HTTP_X_FORWARDED_PORT", Port, Verbatim),
        header("X-Script-Name", "HTTP_X_SCRIPT_NAME", ScriptName, Verbatim),
        header("X-Forwarded-Script-Name", "HTTP_X_FORWARDED_SCRIPT_NAME", ScriptName, Verbatim),
        header("X-Forwarded-Proto", "HTTP_X_FORWARDED_PROTO", Scheme, SchemeName),
        header("X-Forwarded-Scheme", "HTTP_X_FORWARDED_SCHEME", Scheme, SchemeName),
        header("X-Scheme", "HTTP_X_SCHEME", Scheme, SchemeName),
        header("X-Forwarded-HTTPS", "HTTP_X_FORWARDED_HTTPS", Scheme, SchemeFlag),
        header("X-Forwarded-SSL", "HTTP_X_FORWARDED_SSL", Scheme, SchemeFlag),
        header("X-HTTPS", "HTTP_X_HTTPS", Scheme, SchemeFlag),
    ]
};

impl TrustedHeader {
    /// The header of this name, in any case.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        HEADERS.into_iter().find(|header| header.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Names of all, for messages.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        HEADERS.iter().map(|header| header.name)
    }
}

/// A range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// Its first address, in the form of IPv6.
    network: u128,
    /// Bits that an address must share with it.
    mask: u128,
}

/// Bits of IPv4 in the form of IPv6 (`::ffff:a.b.c.d`).
const V4_BITS: u32 = 96;

/// The bits that all of IPv4 has in common.
const V4_MASK: u128 = !(u32::MAX as u128);

/// The first address of IPv4.
const V4_NETWORK: u128 = 0xffff_0000_0000;

impl Subnet {
    /// Reads `address`, `address/bits`, `address/mask` or the beginning of an IPv4 address, such as
    /// `10.1`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "it is no address")?;
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let (network, bits) = if address.contains(':') {
            let address: Ipv6Addr =
                address.parse().map_err(|_| "the specified IP address is invalid")?;
            let bits = match mask {
                None => 128,
                Some(mask) => prefix_length(mask, 128)?,
            };
            (address.to_bits(), bits)
        } else {
            let (address, given) =
                v4_beginning(address).ok_or("the specified IP address is invalid")?;
            let bits = match mask {
                None => given,
                Some(mask) if mask.contains('.') => {
                    let mask: Ipv4Addr =
                        mask.parse().map_err(|_| "the specified network mask is invalid")?;
                    let mask = u128::from(mask.to_bits()) | !u128::from(u32::MAX);
                    let network = address.to_ipv6_mapped().to_bits() & mask;
                    return Ok(Self { network, mask });
                }
                Some(mask) => prefix_length(mask, 32)?,
            };
            (address.to_ipv6_mapped().to_bits(), bits + V4_BITS)
        };
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        Ok(Self { network: network & mask, mask })
    }

    /// Whether the address is in the range. IPv4 is a part of IPv6 only for ranges within that part:
    /// `::/16` is not meant to trust everyone.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let bits = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let is_v4 = bits & V4_MASK == V4_NETWORK;
        bits & self.mask == self.network && (!is_v4 || self.mask & V4_MASK == V4_MASK)
    }
}

/// 0 would be everyone, and is no mask for mod_wsgi either.
fn prefix_length(text: &str, most: u32) -> Result<u32, &'static str> {
    let bits = text.parse().ok();
    bits.filter(|bits| (1..=most).contains(bits)).ok_or("the specified network mask is invalid")
}

/// An IPv4 address, or its first numbers; with the number of bits that were given.
fn v4_beginning(text: &str) -> Option<(Ipv4Addr, u32)> {
    let mut octets = [0; 4];
    let mut count = 0;
    for part in text.strip_suffix('.').unwrap_or(text).split('.') {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octets.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    Some((octets.into(), 8 * u32::try_from(count).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(subnet: &str, address: &str) -> bool {
        Subnet::parse(subnet.as_bytes()).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn headers_are_known_in_any_case() {
        assert_eq!(
            TrustedHeader::named(b"x-forwarded-FOR").unwrap().variable,
            "HTTP_X_FORWARDED_FOR"
        );
        assert_eq!(TrustedHeader::named(b"Forwarded"), None);
        assert_eq!(TrustedHeader::named(b"X_Forwarded_For"), None);
        for header in HEADERS {
            let variable = format!("HTTP_{}", header.name.to_uppercase().replace('-', "_"));
            assert_eq!(variable, header.variable);
        }
    }

    #[test]
    fn subnets() {
        assert!(contains("10.0.0.0/8", "10.9.8.7") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("10.1", "10.1.2.3") && !contains("10.1", "10.2.0.0"));
        assert!(contains("192.168.0.0/255.255.0.0", "192.168.9.9"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1") && !contains("2001:db8::/32", "::1"));
        assert!(contains("2001:DB8::/32", "2001:db8::5"));
        assert!(contains("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(contains("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(contains("9.9.9.9/0.0.0.0", "1.2.3.4") && !contains("9.9.9.9/0.0.0.0", "::1"));
        assert!(contains("::1/64", "::2") && !contains("::1/64", "127.0.0.1"));
        assert!(!contains("::ffff:0:0/90", "127.0.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.1.1"));
    }

    #[test]
    fn what_is_no_subnet() {
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.256",
            "10..1",
            "1.2.3.4.5",
            "::1/129",
            "::/0",
            "0.0.0.0/0",
            "g::1",
        ] {
            assert!(Subnet::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
