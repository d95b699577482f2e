// SPDX-License-Identifier: Apache-2.0
//! Directives that say how a request is passed to the application and its response to the client.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::{Action, Directive, Here, Place};
use crate::config::proxies::{Subnet, TrustedHeader};
use crate::config::words::{Words, text};
use crate::config::{MapHead, Scoped};

/// A directive that is On or Off in a server, a directory or .htaccess.
const fn boolean(
    name: &'static std::ffi::CStr,
    default: &'static str,
    meaning: &'static std::ffi::CStr,
    set: fn(&mut Scoped, bool),
) -> Directive {
    Directive {
        name,
        place: Place::FileInfo,
        usage: "On|Off",
        default,
        meaning,
        action: Action::ScopedBoolean(set),
    }
}

pub(super) const DIRECTIVES: &[Directive] = &[
    boolean(
        c"WSGIPassAuthorization",
        "Off",
        c"Whether the application sees the Authorization header",
        |scoped, value| scoped.pass_authorization = Some(value),
    ),
    boolean(
        c"WSGIScriptReloading",
        "On",
        c"Whether a changed script is loaded anew, and its daemon processes replaced",
        |scoped, value| scoped.script_reloading = Some(value),
    ),
    boolean(
        c"WSGIErrorOverride",
        "Off",
        c"Daemon mode: whether ErrorDocument answers in place of an application's 4xx and 5xx",
        |scoped, value| scoped.error_override = Some(value),
    ),
    boolean(
        c"WSGIChunkedRequest",
        "Off",
        c"Whether request bodies without a Content-Length are taken; Off answers 411",
        |scoped, value| scoped.chunked_request = Some(value),
    ),
    Directive {
        name: c"WSGIMapHEADToGET",
        place: Place::FileInfo,
        usage: "On|Off|Auto",
        default: "Auto",
        meaning:
            c"Whether the application sees GET for HEAD; Auto: where a filter would change the body",
        action: Action::Line(map_head_to_get),
    },
    boolean(
        c"WSGIIgnoreActivity",
        "Off",
        c"Whether requests here do not count for inactivity-timeout",
        |scoped, value| scoped.ignore_activity = Some(value),
    ),
    boolean(
        c"WSGIEnableSendfile",
        "Off",
        c"Whether the kernel may send files of wsgi.file_wrapper (as EnableSendfile On does)",
        |scoped, value| scoped.enable_sendfile = Some(value),
    ),
    Directive {
        name: c"WSGIPassApacheRequest",
        place: Place::Directory,
        usage: "On|Off",
        default: "Off",
        meaning: c"Embedded mode: whether the environ has httpd's request as apache.request_rec",
        action: Action::ScopedBoolean(|scoped, value| scoped.pass_apache_request = Some(value)),
    },
    Directive {
        name: c"WSGITrustedProxyHeaders",
        place: Place::FileInfo,
        usage: "[header-name ...]",
        default: "none",
        meaning: c"Headers of a proxy in front that the environ is made from",
        action: Action::Line(trusted_proxy_headers),
    },
    Directive {
        name: c"WSGITrustedProxies",
        place: Place::FileInfo,
        usage: "[address|address/bits|address/mask ...]",
        default: "every client is trusted",
        meaning: c"Addresses of proxies whose WSGITrustedProxyHeaders are believed",
        action: Action::Line(trusted_proxies),
    },
];

fn map_head_to_get(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let word = super::single("WSGIMapHEADToGET", "On|Off|Auto", line)?;
    let value = match word.to_ascii_lowercase().as_slice() {
        b"on" => MapHead::On,
        b"off" => MapHead::Off,
        b"auto" => MapHead::Auto,
        _ => {
            return Err(format!(
                "WSGIMapHEADToGET must be one of: Off | On | Auto, and not \"{}\"",
                text(&word)
            ));
        }
    };
    here.scoped()?.map_head_to_get = Some(value);
    Ok(())
}

fn trusted_proxy_headers(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let mut words = Words::new(line);
    let mut headers = Vec::new();
    for word in std::iter::from_fn(|| words.next()) {
        match TrustedHeader::named(&word) {
            Some(header) => headers.push(header),
            None => here.context.warn(format!(
                "WSGITrustedProxyHeaders {}: this header says nothing that the environ is made from, and is ignored; known are {}",
                text(&word),
                TrustedHeader::names().collect::<Vec<_>>().join(", ")
            )),
        }
    }
    let known = here.scoped()?.trusted_proxy_headers.get_or_insert_default();
    *known = known.iter().copied().chain(headers).collect();
    Ok(())
}

fn trusted_proxies(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let mut words = Words::new(line);
    let subnets = std::iter::from_fn(|| words.next())
        .map(|word| {
            Subnet::parse(&word).map_err(|reason| {
                format!(
                    "Unable to parse trusted proxy IP address/subnet \"{}\": {reason}",
                    text(&word)
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let known: &mut Arc<[Subnet]> = here.scoped()?.trusted_proxies.get_or_insert_default();
    *known = known.iter().cloned().chain(subnets).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use crate::config::MapHead;

    #[test]
    fn head_has_three_words() {
        let value = |word: &str| {
            read(&[&format!("WSGIMapHEADToGET {word}")])
                .map(|(_, server)| server.scoped.map_head_to_get)
        };
        assert_eq!(value("auto"), Ok(Some(MapHead::Auto)));
        assert_eq!(value("ON"), Ok(Some(MapHead::On)));
        assert!(value("yes").unwrap_err().contains("Off | On | Auto"));
    }

    #[test]
    fn lists_of_proxies_grow() {
        let (global, server) = read(&[
            "WSGITrustedProxyHeaders X-Forwarded-For x-host",
            "WSGITrustedProxyHeaders X-Forwarded-Proto X-Odd",
            "WSGITrustedProxies 10.0.0.0/8 ::1",
            "WSGITrustedProxies",
        ])
        .unwrap();
        assert_eq!(server.scoped.trusted_proxy_headers.unwrap().len(), 3);
        assert_eq!(server.scoped.trusted_proxies.unwrap().len(), 2);
        assert_eq!(global.warnings.len(), 1);
        assert!(read(&["WSGITrustedProxies 10.0.0.0/33"]).is_err());
    }
}
