// SPDX-License-Identifier: Apache-2.0
//! The environ of a request, written straight into the request frame (spec-config 5). What is a
//! Python object there (`wsgi.*`, tuples, times) is added on the Python side.
#![forbid(unsafe_code)]

mod hook;
mod proxies;
mod writer;

use mod_wsgi_protocol::key;

use crate::access::Question;
use crate::config::MapHead;
use crate::httpd::request::Request;
use crate::mapping::path;
use crate::mapping::routing::Route;
use crate::work::Delivery;
use proxies::Changes;
use writer::{Writer, number, put};

pub(crate) use hook::write_hook;

/// Name of the handler that has been chosen, for `mod_wsgi.request_handler`.
fn handler<'a>(request: &Request<'a>) -> &'a [u8] {
    request.handler().unwrap_or_default()
}

/// Whose environ it is.
#[derive(Debug, Clone, Copy)]
enum Reader<'r> {
    /// The application's.
    Application,
    /// A dispatch script's (spec-config 5.7).
    Dispatch(&'r Question<'r>),
}

/// Appends the entries of the request to the frame, for its application. False when the request has
/// more than fits.
pub(crate) fn write(
    request: &Request<'_>,
    route: &Route<'_>,
    delivery: &Delivery<'_>,
    frame: &mut Vec<u8>,
) -> bool {
    write_for(Reader::Application, request, route, delivery, frame)
}

/// Appends the entries of the request to the frame, for a dispatch script; as [`write`].
pub(crate) fn write_dispatch(
    request: &Request<'_>,
    route: &Route<'_>,
    question: &Question<'_>,
    delivery: &Delivery<'_>,
    frame: &mut Vec<u8>,
) -> bool {
    write_for(Reader::Dispatch(question), request, route, delivery, frame)
}

fn write_for(
    reader: Reader<'_>,
    request: &Request<'_>,
    route: &Route<'_>,
    delivery: &Delivery<'_>,
    frame: &mut Vec<u8>,
) -> bool {
    let mut writer = Writer::new(frame);
    let variables = request.variables();
    if let Some(variables) = variables {
        writer.respect_spellings(variables.iter().map(|(name, _)| name));
    }
    let changes = changes(request, route);
    headers(request, route, &changes, &mut writer);
    server(request, &changes, &mut writer);
    resource(request, route, delivery, &changes, &mut writer);
    module(request, route, reader, &mut writer);
    let https = match changes.https {
        None if !changes.tells_scheme && request.is_encrypted() => Some(true),
        known => known,
    };
    if https == Some(true) {
        put!(writer, "HTTPS", b"1");
    }
    for (name, value) in variables.into_iter().flat_map(|variables| variables.iter()) {
        let is_removed = |removed: &&str| name.eq_ignore_ascii_case(removed.as_bytes());
        let is_hidden = is_wire_key(name)
            || changes.removed.iter().any(is_removed)
            || (https == Some(false) && name.eq_ignore_ascii_case(b"HTTPS"))
            || match reader {
                Reader::Application => name == b"PATH",
                Reader::Dispatch(_) => name.eq_ignore_ascii_case(b"mod_wsgi.callable_object"),
            };
        if !is_hidden {
            writer.variable(name, value);
        }
    }
    writer.finish()
}

/// Whether it is a name that mod_wsgi keeps to itself, also behind redirects inside httpd.
fn is_wire_key(name: &[u8]) -> bool {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"REDIRECT_") {
        name = rest;
    }
    name.starts_with(b"mod_wsgi.x-")
}

/// What the headers of a proxy in front change.
fn changes<'a>(request: &Request<'a>, route: &Route<'_>) -> Changes<'a> {
    let Some(trust) = &route.trust else { return Changes::default() };
    let client = request.client_address().unwrap_or_default();
    proxies::changes(trust, client, |variable| {
        let header = variable.strip_prefix("HTTP_")?.replace('_', "-");
        let sent = request.headers()?.get(&crate::httpd::c_string(header.as_bytes()));
        sent.or_else(|| request.variables()?.get(&crate::httpd::c_string(variable.as_bytes())))
    })
}

/// Makes the name of a header a variable's. Returns false for a name with anything but letters,
/// digits and hyphens, which would be ambiguous as a variable.
fn variable_of(name: &[u8], variable: &mut Vec<u8>) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if name.is_empty() || !name.iter().all(is_plain) {
        return false;
    }
    variable.clear();
    variable.extend_from_slice(b"HTTP_");
    variable.extend(name.iter().map(|byte| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_uppercase(),
    }));
    true
}

/// Request headers: CONTENT_TYPE, CONTENT_LENGTH and HTTP_*, but for `Proxy` (CVE-2016-5385) and,
/// unless they are wanted, for credentials.
fn headers(
    request: &Request<'_>,
    route: &Route<'_>,
    changes: &Changes<'_>,
    writer: &mut Writer<'_>,
) {
    let Some(headers) = request.headers() else { return };
    let cgi_passes = request.core_settings().pass_authorization;
    let mut variable = Vec::with_capacity(40);
    for (name, value) in headers.iter() {
        if !variable_of(name, &mut variable)
            || changes.removed.iter().any(|removed| removed.as_bytes() == variable)
        {
            continue;
        }
        match variable.get(5..).unwrap_or_default() {
            b"CONTENT_TYPE" => put!(writer, "CONTENT_TYPE", value),
            b"CONTENT_LENGTH" => put!(writer, "CONTENT_LENGTH", value),
            b"PROXY" => {}
            b"AUTHORIZATION" if !route.pass_authorization && !cgi_passes => {}
            b"PROXY_AUTHORIZATION" if !cgi_passes => {}
            b"HOST" if changes.host.is_some() => {}
            b"X_FORWARDED_FOR" if changes.forwarded_for.is_some() => {}
            _ => writer.named(&variable, value),
        }
    }
    if let Some(host) = changes.host {
        put!(writer, "HTTP_HOST", host);
    }
    if let Some(items) = &changes.forwarded_for
        && !changes.removed.contains(&"HTTP_X_FORWARDED_FOR")
    {
        put!(writer, "HTTP_X_FORWARDED_FOR", items);
    }
}

/// Server, client and connection.
fn server(request: &Request<'_>, changes: &Changes<'_>, writer: &mut Writer<'_>) {
    put!(writer, "SERVER_SOFTWARE", crate::httpd::server::banner());
    let name = request.server_name();
    if let Some(name) = changes.server {
        put!(writer, "SERVER_NAME", name);
    // httpd escapes it in its own documents and CGI variables; a plain name stays as it is.
    } else if name.iter().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    }) {
        put!(writer, "SERVER_NAME", name);
    } else {
        put!(writer, "SERVER_NAME", request.escaped(name));
    }
    put!(writer, "SERVER_ADDR", request.local_address().unwrap_or_default());
    match changes.port {
        Some(port) => put!(writer, "SERVER_PORT", port),
        None => {
            number(writer, const { key::number("SERVER_PORT") }, u64::from(request.server_port()));
        }
    }
    match &changes.client {
        Some(client) => put!(writer, "REMOTE_ADDR", client),
        None => put!(writer, "REMOTE_ADDR", request.client_address().unwrap_or_default()),
    }
    number(writer, const { key::number("REMOTE_PORT") }, u64::from(request.client_port()));
    if let Some(admin) = request.server().and_then(|server| server.admin()) {
        put!(writer, "SERVER_ADMIN", admin);
    }
    put!(writer, "SERVER_PROTOCOL", request.protocol().unwrap_or_default());
    put!(writer, "REQUEST_SCHEME", request.scheme());
    if let Some(user) = request.user() {
        put!(writer, "REMOTE_USER", user);
    } else {
        let mut previous = request.previous();
        while let Some(earlier) = previous {
            if let Some(user) = earlier.user() {
                put!(writer, "REDIRECT_REMOTE_USER", user);
                break;
            }
            previous = earlier.previous();
        }
    }
    if let Some(auth_type) = request.auth_type() {
        put!(writer, "AUTH_TYPE", auth_type);
    }
}

/// Method, URL and file.
fn resource(
    request: &Request<'_>,
    route: &Route<'_>,
    delivery: &Delivery<'_>,
    changes: &Changes<'_>,
    writer: &mut Writer<'_>,
) {
    // A filter such as mod_deflate changes what the body would be: the application must produce
    // one, or the headers of HEAD and GET would differ.
    let maps = match route.map_head_to_get {
        MapHead::On => true,
        MapHead::Off => false,
        MapHead::Auto => request.has_content_filter(),
    };
    let method =
        if request.is_head() && maps { b"GET" } else { request.method().unwrap_or_default() };
    let settings = request.core_settings();
    put!(writer, "REQUEST_METHOD", method);
    put!(writer, "QUERY_STRING", request.arguments().unwrap_or_default());
    if settings.uri_is_current {
        put!(writer, "REQUEST_URI", request.uri().unwrap_or_default());
    } else {
        put!(writer, "REQUEST_URI", original_uri(request.request_line().unwrap_or_default()));
    }
    // One that the application cannot reach is none.
    let reaches = |path| delivery.group.is_none_or(|group| group.path_inside(path).is_some());
    let document_root = request.document_root();
    if reaches(document_root) {
        put!(writer, "DOCUMENT_ROOT", delivery.path(document_root));
    }
    put!(writer, "CONTEXT_PREFIX", request.context_prefix());
    put!(writer, "CONTEXT_DOCUMENT_ROOT", request.context_document_root());
    let file = request.filename().unwrap_or_default();
    put!(writer, "SCRIPT_FILENAME", delivery.path(file));

    let uri = request.uri().unwrap_or_default();
    let info = request.path_info().unwrap_or_default();
    let script =
        if request.protocol() == Some(b"INCLUDED") { uri } else { path::script_part(uri, info) };
    let (script, info) = (path::collapsed(script), path::collapsed(info));
    match changes.script_name {
        Some(mount) => {
            put!(writer, "SCRIPT_NAME", mount);
            put!(writer, "mod_wsgi.mount_point", mount);
        }
        None => put!(writer, "SCRIPT_NAME", &script),
    }
    put!(writer, "PATH_INFO", &info);
    put!(writer, "mod_wsgi.script_name", &script);
    put!(writer, "mod_wsgi.path_info", &info);

    if let Some(previous) = request.previous() {
        let url =
            if settings.qualifies_redirect_url { previous.qualified_url() } else { previous.uri() };
        if let Some(url) = url {
            put!(writer, "REDIRECT_URL", url);
        }
        if let Some(arguments) = previous.arguments() {
            put!(writer, "REDIRECT_QUERY_STRING", arguments);
        }
    }
}

/// What is mod_wsgi's own.
fn module(request: &Request<'_>, route: &Route<'_>, reader: Reader<'_>, writer: &mut Writer<'_>) {
    match reader {
        Reader::Application => {
            put!(writer, "mod_wsgi.process_group", &route.process_group);
            put!(writer, "mod_wsgi.application_group", &route.application_group);
            put!(writer, "mod_wsgi.callable_object", &route.callable);
        }
        Reader::Dispatch(question) => {
            put!(writer, "mod_wsgi.process_group", &question.process_group);
            put!(writer, "mod_wsgi.application_group", &question.application_group);
        }
    }
    put!(writer, "mod_wsgi.request_handler", handler(request));
    let handler_script = if route.is_handler_script { route.script } else { b"" };
    put!(writer, "mod_wsgi.handler_script", handler_script);
    put!(writer, "mod_wsgi.listener_host", request.local_host().unwrap_or_default());
    number(
        writer,
        const { key::number("mod_wsgi.listener_port") },
        u64::from(request.local_port()),
    );
    number(writer, const { key::number("mod_wsgi.server_pid") }, u64::from(std::process::id()));
    if let Some(id) = request.log_id() {
        put!(writer, "mod_wsgi.request_id", id);
    }
    if let Some(id) = request.connection_log_id() {
        put!(writer, "mod_wsgi.connection_id", id);
    }
}

/// The URL of the request line, as it was sent.
fn original_uri(line: &[u8]) -> &[u8] {
    let mut words = line.splitn(3, u8::is_ascii_whitespace);
    words.nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_uri_is_the_second_word() {
        assert_eq!(original_uri(b"GET /a%20b?c HTTP/1.1"), b"/a%20b?c");
        assert_eq!(original_uri(b"GET"), b"");
        assert_eq!(original_uri(b""), b"");
    }

    #[test]
    fn wire_keys_are_known_behind_redirects() {
        assert!(is_wire_key(b"mod_wsgi.x-magic"));
        assert!(is_wire_key(b"REDIRECT_REDIRECT_mod_wsgi.x-magic"));
        assert!(!is_wire_key(b"REDIRECT_mod_wsgi.version"));
    }
}
