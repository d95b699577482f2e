// SPDX-License-Identifier: Apache-2.0
//! Which groups and which callable a request goes to: options of the alias before the directory,
//! before the server, before the default (spec-config 4.3), with `%{…}` expanded.
#![forbid(unsafe_code)]

use crate::config::alias::Alias;
use crate::config::names::{self, Source};
use crate::config::{Scoped, ServerConfig};
use crate::httpd::c_string;
use crate::httpd::request::Request;
use crate::mapping::{gate, path};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Process group; "" is embedded mode.
    pub(crate) process_group: Vec<u8>,
    /// Application group; "" is the main interpreter.
    pub(crate) application_group: Vec<u8>,
    /// Name of the callable.
    pub(crate) callable: Vec<u8>,
    /// Whether the Authorization header is passed on.
    pub(crate) pass_authorization: bool,
    /// Whether a changed script is loaded anew.
    pub(crate) script_reloading: bool,
}

const PROCESS_GROUP: &std::ffi::CStr = c"mod_wsgi.process_group";
const APPLICATION_GROUP: &std::ffi::CStr = c"mod_wsgi.application_group";
const CALLABLE_OBJECT: &std::ffi::CStr = c"mod_wsgi.callable_object";
const PASS_AUTHORIZATION: &std::ffi::CStr = c"mod_wsgi.pass_authorization";

/// Maps a URL to the script of the first alias that matches it. Returns whether one did.
pub(crate) fn map(request: &Request<'_>, config: &ServerConfig) -> bool {
    let uri = request.uri().unwrap_or_default();
    if !uri.is_empty() && !uri.starts_with(b"/") {
        return false;
    }
    let Some((alias, file)) =
        config.aliases.iter().find_map(|alias| alias.file_for(uri).map(|file| (alias, file)))
    else {
        return false;
    };
    request.map_to(&file, c"wsgi-script");
    note(request, alias);
    true
}

fn note(request: &Request<'_>, alias: &Alias) {
    let (Some(notes), Some(pool)) = (request.notes(), request.pool()) else { return };
    let set = |name: &std::ffi::CStr, value: &[u8]| notes.replace(pool, name, &c_string(value));
    set(gate::ALIAS_NOTE, b"wsgi-script");
    for (name, value) in [
        (PROCESS_GROUP, &alias.process_group),
        (APPLICATION_GROUP, &alias.application_group),
        (CALLABLE_OBJECT, &alias.callable_object),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    if let Some(pass) = alias.pass_authorization {
        set(PASS_AUTHORIZATION, if pass { b"1" } else { b"0" });
    }
}

/// The route of a request.
pub(crate) fn resolve(request: &Request<'_>, directory: Option<&Scoped>, server: &Scoped) -> Route {
    let notes = request.notes().filter(|notes| notes.get(gate::ALIAS_NOTE) == Some(b"wsgi-script"));
    let note = |name| notes.and_then(|notes| notes.get(name));
    let source = Expansion { request };
    let text = |of: fn(&Scoped) -> Option<&[u8]>| directory.and_then(of).or_else(|| of(server));
    let flag = |of: fn(&Scoped) -> Option<bool>| directory.and_then(of).or_else(|| of(server));

    let process_group =
        note(PROCESS_GROUP).or_else(|| text(|scoped| scoped.process_group.as_deref()));
    let application_group =
        note(APPLICATION_GROUP).or_else(|| text(|scoped| scoped.application_group.as_deref()));
    Route {
        process_group: names::process_group(process_group, &source),
        application_group: names::application_group(application_group, &source),
        callable: match note(CALLABLE_OBJECT) {
            Some(literal) => literal.to_vec(),
            None => names::callable(text(|scoped| scoped.callable_object.as_deref()), &source),
        },
        pass_authorization: match note(PASS_AUTHORIZATION) {
            Some(value) => value == b"1",
            None => flag(|scoped| scoped.pass_authorization).unwrap_or(false),
        },
        script_reloading: flag(|scoped| scoped.script_reloading).unwrap_or(true),
    }
}

/// What a request knows of itself, for names.
struct Expansion<'a> {
    /// The request.
    request: &'a Request<'a>,
}

impl Source for Expansion<'_> {
    fn server(&self) -> Vec<u8> {
        self.request.server().and_then(|server| server.name()).unwrap_or_default().to_vec()
    }

    fn host(&self) -> Vec<u8> {
        match self.request.hostname() {
            Some(host) if !host.is_empty() => host.to_vec(),
            _ => self.server(),
        }
    }

    /// httpd takes the port from the Host header as a rule. A port that this server does not have
    /// would let clients mint names, and with them processes: the real one stands in for it.
    fn port(&self) -> u16 {
        let port = self.request.server_port();
        let local = self.request.local_port();
        let configured = self.request.server().map_or(0, |server| server.port());
        if port == 80 || port == 443 || port == local || port == configured { port } else { local }
    }

    fn script_name(&self) -> Vec<u8> {
        let uri = self.request.uri().unwrap_or_default();
        let info = self.request.path_info().unwrap_or_default();
        path::collapsed(path::script_part(uri, info))
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let c_name = c_string(name);
        let tables = [self.request.notes(), self.request.variables()];
        let found = tables.into_iter().flatten().find_map(|table| table.get(&c_name));
        found.map(<[u8]>::to_vec).or_else(|| {
            let name = std::str::from_utf8(name).ok()?;
            std::env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec)
        })
    }
}
