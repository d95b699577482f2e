// SPDX-License-Identifier: Apache-2.0
//! Which script, groups and callable a request goes to, and how: options of the alias or handler
//! script before the directory, before the server, before the default (spec-config 4.3), with
//! `%{…}` expanded.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::config::alias::Alias;
use crate::config::names::{self, Source};
use crate::config::proxies::{Subnet, TrustedHeader};
use crate::config::script::{HandlerScript, HookScript};
use crate::config::{MapHead, Scoped, ServerConfig, Text};
use crate::httpd::c_string;
use crate::httpd::request::{Request, Target};
use crate::mapping::{gate, path};
use crate::runtime::Runtime;

/// The settings that hold for a request: those of its directory before those of its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effective<'r> {
    /// Of sections and .htaccess, merged.
    directory: Option<&'r Scoped>,
    /// Of the virtual host, merged with the main server.
    server: &'r Scoped,
}

impl<'r> Effective<'r> {
    /// The settings of a directory in a server.
    pub(crate) fn new(directory: Option<&'r Scoped>, server: &'r Scoped) -> Self {
        Self { directory, server }
    }

    fn value<T: Copy>(&self, of: fn(&Scoped) -> Option<T>) -> Option<T> {
        self.directory.and_then(of).or_else(|| of(self.server))
    }

    fn shared<T: ?Sized>(&self, of: fn(&Scoped) -> &Option<Arc<T>>) -> Option<&'r T> {
        let inner = self.directory.and_then(|scoped| of(scoped).as_deref());
        inner.or_else(|| of(self.server).as_deref())
    }

    /// The handler script of this name.
    pub(crate) fn handler(&self, name: &[u8]) -> Option<&'r HandlerScript> {
        let inner = self.directory.and_then(|scoped| scoped.handler(name));
        inner.or_else(|| self.server.handler(name))
    }

    /// WSGIDispatchScript.
    pub(crate) fn dispatch_script(&self) -> Option<&'r HookScript> {
        self.shared(|scoped| &scoped.dispatch_script)
    }

    /// WSGIScriptReloading.
    pub(crate) fn script_reloading(&self) -> bool {
        self.value(|scoped| scoped.script_reloading).unwrap_or(true)
    }

    /// WSGIPassApacheRequest.
    pub(crate) fn pass_apache_request(&self) -> bool {
        self.value(|scoped| scoped.pass_apache_request).unwrap_or(false)
    }

    /// WSGIChunkedRequest.
    pub(crate) fn chunked_request(&self) -> bool {
        self.value(|scoped| scoped.chunked_request).unwrap_or(false)
    }

    /// Whether WSGIRestrictProcess names the process group for what stands here.
    pub(crate) fn names_process_group(&self, name: &[u8]) -> bool {
        self.shared(|scoped| &scoped.restrict_process).is_some() && self.allows_process_group(name)
    }

    /// Whether WSGIRestrictProcess lets the process group answer here. Case makes no difference, as
    /// in mod_wsgi.
    pub(crate) fn allows_process_group(&self, name: &[u8]) -> bool {
        self.shared(|scoped| &scoped.restrict_process).is_none_or(|allowed: &[Text]| {
            allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
        })
    }
}

/// Whose headers of a proxy are believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'r> {
    /// WSGITrustedProxyHeaders, in order.
    pub(crate) headers: &'r [TrustedHeader],
    /// WSGITrustedProxies; None is everyone.
    pub(crate) proxies: Option<&'r [Subnet]>,
}

/// Where a request goes, and how.
#[derive(Debug, Clone)]
pub(crate) struct Route<'r> {
    /// The WSGI script.
    pub(crate) script: &'r [u8],
    /// Whether it is a handler script, and not the file that the URL is mapped to.
    pub(crate) is_handler_script: bool,
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
    /// WSGIErrorOverride.
    pub(crate) error_override: bool,
    /// WSGIMapHEADToGET.
    pub(crate) map_head_to_get: MapHead,
    /// WSGIIgnoreActivity.
    pub(crate) ignore_activity: bool,
    /// WSGIEnableSendfile.
    pub(crate) enable_sendfile: bool,
    /// WSGIPassApacheRequest.
    pub(crate) pass_apache_request: bool,
    /// What a proxy in front is believed.
    pub(crate) trust: Option<Trust<'r>>,
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

/// The route of a request, before a dispatch script is asked.
pub(crate) fn resolve<'r>(
    request: &'r Request<'_>,
    settings: &Effective<'r>,
    handler: Option<&'r HandlerScript>,
) -> Route<'r> {
    let notes = request.notes().filter(|notes| notes.get(gate::ALIAS_NOTE) == Some(b"wsgi-script"));
    let note = |name| notes.and_then(|notes| notes.get(name)).filter(|_| handler.is_none());
    let source = Expansion { request, handler };

    let process_group = match handler {
        Some(handler) => handler.process_group.as_deref(),
        None => note(PROCESS_GROUP),
    };
    let process_group = process_group.or_else(|| settings.shared(|scoped| &scoped.process_group));
    let application_group = match handler {
        Some(handler) => handler.application_group.as_deref(),
        None => note(APPLICATION_GROUP),
    };
    let application_group =
        application_group.or_else(|| settings.shared(|scoped| &scoped.application_group));
    let pass_authorization = match handler {
        Some(handler) => handler.pass_authorization,
        None => note(PASS_AUTHORIZATION).map(|value| value == b"1"),
    };
    let flag = |of| settings.value(of).unwrap_or(false);
    Route {
        script: handler
            .map_or_else(|| request.filename().unwrap_or_default(), |handler| &handler.script),
        is_handler_script: handler.is_some(),
        process_group: names::process_group(process_group, &source),
        application_group: names::application_group(application_group, &source),
        callable: match (handler, note(CALLABLE_OBJECT)) {
            (Some(_), _) => b"handle_request".to_vec(),
            (None, Some(literal)) => literal.to_vec(),
            (None, None) => {
                names::callable(settings.shared(|scoped| &scoped.callable_object), &source)
            }
        },
        pass_authorization: pass_authorization
            .unwrap_or_else(|| flag(|scoped| scoped.pass_authorization)),
        script_reloading: settings.script_reloading(),
        error_override: flag(|scoped| scoped.error_override),
        map_head_to_get: settings.value(|scoped| scoped.map_head_to_get).unwrap_or(MapHead::Auto),
        ignore_activity: flag(|scoped| scoped.ignore_activity),
        enable_sendfile: flag(|scoped| scoped.enable_sendfile),
        pass_apache_request: settings.pass_apache_request(),
        trust: settings.shared(|scoped| &scoped.trusted_proxy_headers).map(|headers| Trust {
            headers,
            proxies: settings.shared(|scoped| &scoped.trusted_proxies),
        }),
    }
}

impl Route<'_> {
    /// Follows what a dispatch script said: process group, application group, callable.
    pub(crate) fn follow(
        &mut self,
        request: &Request<'_>,
        handler: Option<&HandlerScript>,
        values: &[Option<Vec<u8>>],
    ) {
        let source = Expansion { request, handler };
        if let Some(Some(value)) = values.first() {
            self.process_group = names::process_group(Some(value), &source);
        }
        if let Some(Some(value)) = values.get(1) {
            self.application_group = names::application_group(Some(value), &source);
        }
        if let Some(Some(value)) = values.get(2) {
            self.callable = names::callable(Some(value), &source);
        }
    }
}

/// The name of a group behind a hook's script.
pub(crate) fn hook_group(request: &Request<'_>, name: Option<&[u8]>) -> Vec<u8> {
    names::hook_group(name, &Expansion { request, handler: None })
}

/// What a request knows of itself, for names.
struct Expansion<'a> {
    /// The request.
    request: &'a Request<'a>,
    /// The handler script that answers it.
    handler: Option<&'a HandlerScript>,
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

    /// A handler script answers for files that are not there, too: their URLs are the client's to
    /// choose, and must not mint names. The script's own stands in.
    fn script_name(&self) -> Vec<u8> {
        if let Some(handler) = self.handler
            && self.request.target() == Target::Missing
        {
            return handler.script.to_vec();
        }
        let uri = self.request.uri().unwrap_or_default();
        let info = self.request.path_info().unwrap_or_default();
        let name = path::collapsed(path::script_part(uri, info));
        let is_folded = Runtime::current()
            .is_some_and(|runtime| runtime.global.case_sensitivity == Some(false));
        if is_folded { name.to_ascii_lowercase() } else { name }
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
