// SPDX-License-Identifier: Apache-2.0
//! What httpd's hooks do with a request: map it, check it, route it, and hand it to embedded or
//! daemon mode.
#![forbid(unsafe_code)]

use crate::config::{Scoped, ServerConfig, nearest};
use crate::daemon::{self, Group};
use crate::embedded;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::mapping::{gate, routing};
use crate::runtime::Runtime;

/// Whether httpd chose us.
pub(crate) fn is_ours(handler: &[u8]) -> bool {
    gate::is_ours(handler)
}

/// Maps a URL to a script. Returns whether an alias matched.
pub(crate) fn map(request: &Request<'_>, config: &ServerConfig) -> bool {
    routing::map(request, config)
}

/// Handles a request whose handler is ours. Returns what httpd's handler returns.
pub(crate) fn handle(
    request: &Request<'_>,
    directory: Option<&Scoped>,
    server: &ServerConfig,
) -> i32 {
    if let Err(status) = gate::check(request) {
        return i32::from(status);
    }
    let refuse = |text: &str| {
        log::request(request, Level::Error, text.as_bytes());
        500
    };
    let Some(runtime) = Runtime::current() else {
        return refuse("WSGI0210: The WSGI configuration is not running in this process");
    };
    let route = routing::resolve(request, directory, &server.scoped);
    if route.process_group.is_empty() {
        return match &runtime.embedded {
            Some(plan) => embedded::handle(request, plan, &route),
            None => refuse(
                "WSGI0143: Embedded mode of mod_wsgi disabled by runtime configuration: WSGIRestrictEmbedded is On and no process group is chosen for this request (WSGIProcessGroup)",
            ),
        };
    }
    let name = String::from_utf8_lossy(&route.process_group);
    let Some(group) = runtime.group(&route.process_group) else {
        if runtime.groups.is_empty() {
            return refuse(&format!(
                "WSGI0150: No WSGI daemon process called '{name}' has been configured, and no other either: write WSGIDaemonProcess {name}"
            ));
        }
        let hint = nearest(&name, runtime.group_names())
            .map_or_else(String::new, |near| format!(", did you mean {near}?"));
        return refuse(&format!(
            "WSGI0151: No WSGI daemon process called '{name}' has been configured{hint}"
        ));
    };
    if !is_visible(request, group) {
        return refuse(&format!(
            "WSGI0152: Daemon process called '{name}' cannot be accessed by this WSGI application as it is defined in a virtual host of another ServerName: move its WSGIDaemonProcess out of that virtual host"
        ));
    }
    match runtime.child() {
        Some(child) => daemon::exchange::handle(request, group, child, &route),
        None => refuse("WSGI0311: This httpd child cannot reach daemon processes"),
    }
}

fn is_visible(request: &Request<'_>, group: &Group) -> bool {
    request.server().is_some_and(|server| group.is_visible_from(server))
}

/// Lives as long as an httpd child does.
pub(crate) struct ChildEnd;

impl Drop for ChildEnd {
    fn drop(&mut self) {
        embedded::interpreter::stop();
    }
}
