// SPDX-License-Identifier: Apache-2.0
//! The environ of a request, written straight into the request frame (spec-config 5). What is a
//! Python object there (`wsgi.*`, tuples, times) is added on the Python side.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use mod_wsgi_protocol::key;
use mod_wsgi_protocol::request::Entries;
use once_cell::sync::Lazy;

use crate::httpd::request::Request;
use crate::mapping::path;
use crate::mapping::routing::Route;

/// FNV-1a: the keys are short and the table is ours.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Numbers of the names that have one.
static NUMBERS: Lazy<HashMap<&'static [u8], u8, BuildHasherDefault<Fnv>>> =
    Lazy::new(|| key::KEYS.iter().map(|name| (name.as_bytes(), key::number(name))).collect());

/// Writes entries and remembers which names are written.
struct Writer<'a> {
    /// The frame.
    entries: Entries<'a>,
    /// Numbers that are written, a bit each.
    numbers: [u64; 4],
    /// Other names that are written.
    names: Vec<Vec<u8>>,
}

macro_rules! put {
    ($writer:expr, $name:literal, $value:expr) => {{
        const NUMBER: u8 = key::number($name);
        const { assert!(NUMBER != 0) };
        $writer.numbered(NUMBER, $value);
    }};
}

impl Writer<'_> {
    fn numbered(&mut self, number: u8, value: &[u8]) {
        self.numbers[usize::from(number >> 6)] |= 1 << (number & 63);
        self.entries.numbered(number, value);
    }

    fn named(&mut self, name: &[u8], value: &[u8]) {
        match NUMBERS.get(name) {
            Some(number) => self.numbered(*number, value),
            None => {
                self.entries.named(name, value);
                self.names.push(name.to_vec());
            }
        }
    }

    /// A variable of another module: it yields to what is written already, whatever its case.
    fn variable(&mut self, name: &[u8], value: &[u8]) {
        let upper = name.to_ascii_uppercase();
        let written = match NUMBERS.get(upper.as_slice()).or_else(|| NUMBERS.get(name)) {
            Some(number) => self.numbers[usize::from(number >> 6)] & (1 << (number & 63)) != 0,
            None => self.names.iter().any(|known| known.eq_ignore_ascii_case(name)),
        };
        if !written {
            match NUMBERS.get(name) {
                Some(number) => self.entries.numbered(*number, value),
                None => self.entries.named(name, value),
            }
        }
    }
}

/// Name of the handler that has been chosen, for `mod_wsgi.request_handler`.
fn handler<'a>(request: &Request<'a>) -> &'a [u8] {
    request.handler().unwrap_or_default()
}

/// Appends the entries of the request to the frame.
pub(crate) fn write(request: &Request<'_>, route: &Route, frame: &mut Vec<u8>) {
    let mut writer = Writer { entries: Entries::new(frame), numbers: [0; 4], names: Vec::new() };
    headers(request, route, &mut writer);
    server(request, &mut writer);
    resource(request, &mut writer);
    module(request, route, &mut writer);
    if request.is_encrypted() {
        put!(writer, "HTTPS", b"1");
    }
    if let Some(variables) = request.variables() {
        for (name, value) in variables.iter() {
            if !name.starts_with(b"mod_wsgi.x-")
                && !name.starts_with(b"REDIRECT_mod_wsgi.x-")
                && name != b"PATH"
            {
                writer.variable(name, value);
            }
        }
    }
    writer.entries.finish();
}

/// Request headers: CONTENT_TYPE, CONTENT_LENGTH and HTTP_*. A name with anything but letters,
/// digits and hyphens would be ambiguous as a variable and is left out; so are `Proxy`
/// (CVE-2016-5385) and, unless it is wanted, `Authorization`.
fn headers(request: &Request<'_>, route: &Route, writer: &mut Writer<'_>) {
    let Some(headers) = request.headers() else { return };
    let cgi_passes = request.core_settings().pass_authorization;
    let mut variable = Vec::with_capacity(40);
    for (name, value) in headers.iter() {
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        {
            continue;
        }
        variable.clear();
        variable.extend_from_slice(b"HTTP_");
        variable.extend(name.iter().map(|byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        }));
        match variable.get(5..).unwrap_or_default() {
            b"CONTENT_TYPE" => put!(writer, "CONTENT_TYPE", value),
            b"CONTENT_LENGTH" => put!(writer, "CONTENT_LENGTH", value),
            b"PROXY" => {}
            b"AUTHORIZATION" if !route.pass_authorization && !cgi_passes => {}
            b"PROXY_AUTHORIZATION" if !cgi_passes => {}
            _ => writer.named(&variable, value),
        }
    }
}

/// Server, client and connection.
fn server(request: &Request<'_>, writer: &mut Writer<'_>) {
    put!(writer, "SERVER_SOFTWARE", crate::httpd::server::banner());
    let name = request.server_name();
    // httpd escapes it in its own documents and CGI variables; a plain name stays as it is.
    if name.iter().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    }) {
        put!(writer, "SERVER_NAME", name);
    } else {
        put!(writer, "SERVER_NAME", request.escaped(name));
    }
    put!(writer, "SERVER_ADDR", request.local_address().unwrap_or_default());
    number(writer, const { key::number("SERVER_PORT") }, u64::from(request.server_port()));
    put!(writer, "REMOTE_ADDR", request.client_address().unwrap_or_default());
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
fn resource(request: &Request<'_>, writer: &mut Writer<'_>) {
    let method = if request.is_head() && request.has_content_filter() {
        // A filter such as mod_deflate changes what the body would be: the application must produce
        // one, or the headers of HEAD and GET would differ.
        b"GET"
    } else {
        request.method().unwrap_or_default()
    };
    put!(writer, "REQUEST_METHOD", method);
    put!(writer, "QUERY_STRING", request.arguments().unwrap_or_default());
    put!(writer, "REQUEST_URI", original_uri(request.request_line().unwrap_or_default()));
    put!(writer, "DOCUMENT_ROOT", request.document_root());
    put!(writer, "CONTEXT_PREFIX", request.context_prefix());
    put!(writer, "CONTEXT_DOCUMENT_ROOT", request.context_document_root());
    put!(writer, "SCRIPT_FILENAME", request.filename().unwrap_or_default());

    let uri = request.uri().unwrap_or_default();
    let info = request.path_info().unwrap_or_default();
    let script =
        if request.protocol() == Some(b"INCLUDED") { uri } else { path::script_part(uri, info) };
    let (script, info) = (path::collapsed(script), path::collapsed(info));
    put!(writer, "SCRIPT_NAME", &script);
    put!(writer, "PATH_INFO", &info);
    put!(writer, "mod_wsgi.script_name", &script);
    put!(writer, "mod_wsgi.path_info", &info);

    if let Some(previous) = request.previous() {
        if let Some(url) = previous.uri() {
            put!(writer, "REDIRECT_URL", url);
        }
        if let Some(arguments) = previous.arguments() {
            put!(writer, "REDIRECT_QUERY_STRING", arguments);
        }
    }
}

/// What is mod_wsgi's own.
fn module(request: &Request<'_>, route: &Route, writer: &mut Writer<'_>) {
    put!(writer, "mod_wsgi.process_group", &route.process_group);
    put!(writer, "mod_wsgi.application_group", &route.application_group);
    put!(writer, "mod_wsgi.callable_object", &route.callable);
    put!(writer, "mod_wsgi.request_handler", handler(request));
    put!(writer, "mod_wsgi.handler_script", b"");
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

fn number(writer: &mut Writer<'_>, key: u8, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    writer.numbered(key, &digits[at..]);
}

/// The URL of the request line, as it was sent.
fn original_uri(line: &[u8]) -> &[u8] {
    let mut words = line.splitn(3, u8::is_ascii_whitespace);
    words.nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mod_wsgi_protocol::request::Name;

    #[test]
    fn the_original_uri_is_the_second_word() {
        assert_eq!(original_uri(b"GET /a%20b?c HTTP/1.1"), b"/a%20b?c");
        assert_eq!(original_uri(b"GET"), b"");
        assert_eq!(original_uri(b""), b"");
    }

    #[test]
    fn variables_yield_to_what_is_written_whatever_their_case() {
        let mut frame = Vec::new();
        let mut writer =
            Writer { entries: Entries::new(&mut frame), numbers: [0; 4], names: Vec::new() };
        put!(writer, "REQUEST_METHOD", b"GET");
        writer.named(b"HTTP_X_ODD", b"1");
        number(&mut writer, const { key::number("SERVER_PORT") }, 8080);
        writer.variable(b"request_method", b"no");
        writer.variable(b"HTTP_X_ODD", b"no");
        writer.variable(b"UNIQUE_ID", b"u");
        writer.variable(b"Own", b"o");
        writer.entries.finish();
        let mut payload = Vec::new();
        mod_wsgi_protocol::request::Head {
            slot: 0,
            mark: 1,
            body: mod_wsgi_protocol::request::Body::Whole,
            script_reloading: false,
            enable_sendfile: false,
            ignore_activity: false,
            request_start: 0,
            queue_start: 0,
            content_length: -1,
            script_mtime: 0,
            script: b"",
            application_group: b"",
            callable: b"",
        }
        .encode(&mut payload);
        payload.extend_from_slice(&frame);
        let request = mod_wsgi_protocol::request::Request::decode(&payload).unwrap();
        let entries: Vec<_> = request.entries().collect();
        assert_eq!(
            entries,
            [
                (Name::Numbered(key::number("REQUEST_METHOD")), &b"GET"[..]),
                (Name::Text(b"HTTP_X_ODD"), &b"1"[..]),
                (Name::Numbered(key::number("SERVER_PORT")), &b"8080"[..]),
                (Name::Numbered(key::number("UNIQUE_ID")), &b"u"[..]),
                (Name::Text(b"Own"), &b"o"[..]),
            ]
        );
    }
}
