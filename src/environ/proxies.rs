// SPDX-License-Identifier: Apache-2.0
//! What the headers of a trusted proxy change in the environ, and which of them are taken out of it
//! (spec-config 8).
#![forbid(unsafe_code)]

use std::net::IpAddr;

use crate::config::proxies::{Category, HEADERS, Reading, Subnet};
use crate::mapping::routing::Trust;

/// What becomes of the environ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes<'a> {
    /// REMOTE_ADDR.
    pub(super) client: Option<Vec<u8>>,
    /// HTTP_HOST.
    pub(super) host: Option<&'a [u8]>,
    /// SERVER_NAME.
    pub(super) server: Option<&'a [u8]>,
    /// SERVER_PORT.
    pub(super) port: Option<&'a [u8]>,
    /// SCRIPT_NAME and mod_wsgi.mount_point.
    pub(super) script_name: Option<&'a [u8]>,
    /// Whether HTTPS is set; None leaves it as it is.
    pub(super) https: Option<bool>,
    /// Whether a header told the scheme, so that mod_ssl is not asked.
    pub(super) tells_scheme: bool,
    /// HTTP_X_FORWARDED_FOR, where it becomes another one.
    pub(super) forwarded_for: Option<Vec<u8>>,
    /// Variables that are not to be in the environ.
    pub(super) removed: Vec<&'static str>,
}

/// The changes for a request from `client`; `value` has the headers by the names of their variables.
pub(super) fn changes<'a>(
    trust: &Trust<'_>,
    client: &[u8],
    value: impl Fn(&'static str) -> Option<&'a [u8]>,
) -> Changes<'a> {
    let mut changes = Changes::default();
    let is_trusted = match trust.proxies {
        None => true,
        Some(proxies) => address(client).is_some_and(|address| is_in(proxies, address)),
    };
    let mut claimed: Vec<(Category, Option<&'static str>)> = Vec::new();
    for header in trust.headers {
        let found = value(header.variable).filter(|_| is_trusted);
        let winner = found.map(|_| header.variable);
        match claimed.iter_mut().find(|(category, _)| *category == header.category) {
            Some((_, known)) => *known = winner.or(*known),
            None => claimed.push((header.category, winner)),
        }
        let Some(found) = found else { continue };
        match header.reading {
            Reading::ForwardedFor => forwarded_for(trust.proxies, found, &mut changes),
            Reading::SchemeName | Reading::SchemeFlag => {
                changes.tells_scheme = true;
                if let Some(encrypted) = scheme(header.reading, found) {
                    changes.https = Some(encrypted);
                }
            }
            Reading::Verbatim => match header.category {
                Category::Client => changes.client = Some(found.to_vec()),
                Category::Host => changes.host = Some(found),
                Category::Server => changes.server = Some(found),
                Category::Port => changes.port = Some(found),
                Category::ScriptName => changes.script_name = Some(found),
                Category::Scheme => {}
            },
        }
    }
    for header in HEADERS {
        let of_category = claimed.iter().find(|(category, _)| *category == header.category);
        if of_category.is_some_and(|(_, winner)| *winner != Some(header.variable)) {
            changes.removed.push(header.variable);
        }
    }
    changes
}

fn scheme(reading: Reading, value: &[u8]) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
    let (encrypted, plain): (&[&str], &[&str]) = if reading == Reading::SchemeName {
        (&["https"], &["http"])
    } else {
        (&["on", "true", "1"], &["off", "false", "0"])
    };
    if is(encrypted) {
        Some(true)
    } else if is(plain) {
        Some(false)
    } else {
        None
    }
}

/// Who of the list is the client: with known proxies, the one that the last of them in an unbroken
/// row from the right has spoken for. Only numeric addresses can be known; a name is not looked up.
fn forwarded_for(proxies: Option<&[Subnet]>, value: &[u8], changes: &mut Changes<'_>) {
    let items: Vec<&[u8]> = value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
        .collect();
    let (Some(first), Some(last)) = (items.first(), items.len().checked_sub(1)) else { return };
    let Some(proxies) = proxies else {
        changes.client = Some(first.to_vec());
        return;
    };
    let is_known = |item: &[u8]| address(item).is_some_and(|address| is_in(proxies, address));
    let row = items.iter().rev().take_while(|item| is_known(item)).count();
    // The one left of the row; the first of the row where there is none; the last without a row.
    let chosen = if row == 0 { last } else { (last + 1 - row).saturating_sub(1) };
    changes.client = items.get(chosen).map(|item| item.to_vec());
    changes.forwarded_for = items.get(chosen..).map(|items| items.join(&b", "[..]));
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_in(proxies: &[Subnet], address: IpAddr) -> bool {
    proxies.iter().any(|proxy| proxy.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::proxies::TrustedHeader;

    fn run(
        listed: &str,
        proxies: Option<&str>,
        client: &str,
        sent: &'static [(&'static str, &'static str)],
    ) -> Changes<'static> {
        let headers: Vec<_> = listed
            .split_whitespace()
            .map(|name| TrustedHeader::named(name.as_bytes()).unwrap())
            .collect();
        let proxies: Option<Vec<_>> = proxies.map(|proxies| {
            proxies.split_whitespace().map(|p| Subnet::parse(p.as_bytes()).unwrap()).collect()
        });
        let trust = Trust { headers: &headers, proxies: proxies.as_deref() };
        changes(&trust, client.as_bytes(), |variable| {
            let found = sent.iter().find(|(name, _)| {
                TrustedHeader::named(name.as_bytes()).unwrap().variable == variable
            });
            found.map(|(_, value)| value.as_bytes())
        })
    }

    #[test]
    fn forwarded_for_without_proxies_is_its_first_item() {
        let changes =
            run("X-Forwarded-For", None, "9.9.9.9", &[("X-Forwarded-For", " , 1.1.1.1, 2.2.2.2")]);
        assert_eq!(changes.client.as_deref(), Some(&b"1.1.1.1"[..]));
        assert_eq!(changes.forwarded_for, None);
        assert_eq!(changes.removed, ["HTTP_X_CLIENT_IP", "HTTP_X_REAL_IP"]);
    }

    #[test]
    fn forwarded_for_with_proxies_is_left_of_the_known_row() {
        let proxies = Some("10.0.0.0/8 127.0.0.1");
        for (sent, client, rest) in [
            (&[("X-Forwarded-For", "1.1.1.1, 10.0.0.1")][..], "1.1.1.1", "1.1.1.1, 10.0.0.1"),
            (
                &[("X-Forwarded-For", "5.5.5.5, 1.1.1.1, 10.0.0.1, 10.0.0.2")],
                "1.1.1.1",
                "1.1.1.1, 10.0.0.1, 10.0.0.2",
            ),
            (&[("X-Forwarded-For", "10.0.0.3, 10.0.0.2")], "10.0.0.3", "10.0.0.3, 10.0.0.2"),
            (&[("X-Forwarded-For", "10.0.0.1, 1.1.1.1")], "1.1.1.1", "1.1.1.1"),
            (&[("X-Forwarded-For", "1.1.1.1, name.example")], "name.example", "name.example"),
            (&[("X-Forwarded-For", "garbage,10.0.0.1")], "garbage", "garbage, 10.0.0.1"),
        ] {
            let changes = run("X-Forwarded-For", proxies, "127.0.0.1", sent);
            assert_eq!(changes.client.as_deref(), Some(client.as_bytes()), "{sent:?}");
            assert_eq!(changes.forwarded_for.as_deref(), Some(rest.as_bytes()), "{sent:?}");
        }
        let empty = run("X-Forwarded-For", proxies, "127.0.0.1", &[("X-Forwarded-For", " , ,")]);
        assert_eq!((empty.client, empty.forwarded_for), (None, None));
        assert!(!empty.removed.contains(&"HTTP_X_FORWARDED_FOR"));
    }

    #[test]
    fn an_unknown_peer_loses_all_headers_of_claimed_categories() {
        let changes = run(
            "X-Forwarded-Host X-Forwarded-Proto",
            Some("10.0.0.0/8"),
            "1.1.1.1",
            &[("X-Forwarded-Host", "a"), ("X-Forwarded-Proto", "https"), ("X-Real-IP", "1")],
        );
        assert_eq!((changes.host, changes.https, changes.tells_scheme), (None, None, false));
        assert!(changes.removed.contains(&"HTTP_X_FORWARDED_HOST"));
        assert!(changes.removed.contains(&"HTTP_X_HTTPS"));
        assert!(!changes.removed.contains(&"HTTP_X_REAL_IP"));
    }

    #[test]
    fn the_last_of_a_category_wins() {
        let changes = run(
            "X-Forwarded-Host X-Host X-Scheme X-Forwarded-SSL",
            None,
            "1.1.1.1",
            &[
                ("X-Forwarded-Host", "a"),
                ("X-Host", "b"),
                ("X-Scheme", "HTTPS"),
                ("X-Forwarded-SSL", "perhaps"),
            ],
        );
        assert_eq!((changes.host, changes.https), (Some(&b"b"[..]), Some(true)));
        assert!(changes.removed.contains(&"HTTP_X_FORWARDED_HOST"));
        assert!(changes.removed.contains(&"HTTP_X_SCHEME"));
        assert!(!changes.removed.contains(&"HTTP_X_FORWARDED_SSL"));
        let off = run("X-HTTPS", None, "1.1.1.1", &[("X-HTTPS", "Off")]);
        assert_eq!((off.https, off.tells_scheme), (Some(false), true));
    }
}
