// SPDX-License-Identifier: Apache-2.0
//! What httpd's hooks do with a request: map it, check it, route it, and hand it to embedded or
//! daemon mode.
#![forbid(unsafe_code)]

use crate::access;
use crate::config::{Scoped, ServerConfig, nearest};
use crate::daemon::{self, Group};
use crate::embedded;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::response::Repeats;
use crate::mapping::routing::{Effective, Route};
use crate::mapping::{gate, ownership, routing};
use crate::relay::{Manner, Responder};
use crate::runtime::Runtime;
use crate::work::Work;

/// Maps a URL to a script. Returns whether an alias matched.
pub(crate) fn map(request: &Request<'_>, config: &ServerConfig) -> bool {
    routing::map(request, config)
}

/// Handles a request. Returns what httpd's handler returns, or None when the handler that httpd
/// chose is not ours.
pub(crate) fn handle(
    request: &Request<'_>,
    directory: Option<&Scoped>,
    server: &ServerConfig,
) -> Option<i32> {
    let chosen = request.handler()?;
    let settings = Effective::new(directory, &server.scoped);
    let handler =
        if gate::is_script_handler(chosen) { None } else { Some(settings.handler(chosen)?) };
    if handler.is_none()
        && let Err(status) = gate::check_script(request)
    {
        return Some(i32::from(status));
    }
    if let Err(status) = gate::check_request(request, settings.chunked_request()) {
        return Some(i32::from(status));
    }
    let mut route = routing::resolve(request, &settings, handler);
    if let Some(script) = settings.dispatch_script()
        && let Err(status) = access::dispatch(request, script, &settings, handler, &mut route)
    {
        return Some(i32::from(status));
    }
    Some(run(request, &settings, &route))
}

fn run(request: &Request<'_>, settings: &Effective<'_>, route: &Route<'_>) -> i32 {
    let refuse = |text: &str| {
        log::request(request, Level::Error, text.as_bytes());
        500
    };
    let Some(runtime) = Runtime::current() else {
        return refuse("WSGI0210: The WSGI configuration is not running in this process");
    };
    let name = String::from_utf8_lossy(&route.process_group);
    if !settings.allows_process_group(&route.process_group) {
        return refuse(&format!(
            "WSGI0149: Daemon process called '{name}' cannot be accessed by this WSGI application as it is not in list of allowed groups (WSGIRestrictProcess)"
        ));
    }
    let is_embedded = route.process_group.is_empty();
    let manner = Manner {
        repeats: if is_embedded { Repeats::Separate } else { Repeats::Merged },
        overrides_errors: route.error_override && !is_embedded,
        sends_files: route.enable_sendfile,
        header_limit: 0,
        client_timeout: 0,
    };
    let work = Work::Application(route);
    if is_embedded {
        return match &runtime.embedded {
            Some(plan) if runtime.global.allows_embedded() => {
                respond(request, manner, |responder| {
                    embedded::handle(request, plan, work, responder)
                })
            }
            _ => refuse(
                "WSGI0143: Embedded mode of mod_wsgi disabled by runtime configuration: WSGIRestrictEmbedded is On and no process group is chosen for this request (WSGIProcessGroup)",
            ),
        };
    }
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
    if group.path_inside(route.script).is_none() {
        let text = format!(
            "WSGI0081: The WSGI script {} is outside of chroot= of process group '{name}'",
            String::from_utf8_lossy(route.script)
        );
        log::request(request, Level::Error, text.as_bytes());
        return 502;
    }
    if let Err(text) = ownership::check(request, &group.options) {
        log::request(request, Level::Error, text.as_bytes());
        return 403;
    }
    match runtime.child() {
        Some(child) => {
            let header_limit = usize::try_from(group.options.header_buffer_size).unwrap_or(0);
            let client_timeout = match group.options.response_socket_timeout {
                0 => group.options.socket_timeout,
                seconds => seconds,
            };
            let manner = Manner { header_limit, client_timeout, ..manner };
            respond(request, manner, |responder| {
                daemon::exchange::handle(request, group, child, work, responder)
            })
        }
        None => refuse("WSGI0311: This httpd child cannot reach daemon processes"),
    }
}

fn respond<'a>(
    request: &Request<'a>,
    manner: Manner,
    work: impl FnOnce(&mut Responder<'a>) -> i32,
) -> i32 {
    Responder::new(*request, manner).map_or(500, |mut responder| work(&mut responder))
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
