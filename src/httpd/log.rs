// SPDX-License-Identifier: Apache-2.0
//! httpd's error log. Text goes through a constant "%s"; a text of several lines becomes as many
//! records.

use std::borrow::Cow;
use std::ffi::{CString, c_char};

use mod_wsgi_protocol::log::{Entry, MAX_LINE, Origin, lines};

use super::request::Request;
use super::server::Server;
use super::{c_string, module_index, sys};

/// Levels of httpd's log that this side uses, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    /// The system is unusable for us.
    Alert = 1,
    /// A condition that stops part of the service.
    Critical = 2,
    /// A request or process failed.
    Error = 3,
    /// Something to look at.
    Warning = 4,
    /// Normal but of note.
    Notice = 5,
    /// Life of processes.
    Info = 6,
}

/// A record as httpd takes it. NUL, which would end it, is written as an escape sequence.
fn record(text: &[u8]) -> CString {
    if !text.contains(&0) {
        return c_string(text);
    }
    let mut escaped = Vec::with_capacity(text.len() + 16);
    for byte in text {
        match byte {
            0 => escaped.extend_from_slice(b"\\x00"),
            byte => escaped.push(*byte),
        }
    }
    c_string(&escaped)
}

/// File and line as httpd shows them at level debug.
struct Place {
    /// The file; None where httpd is to show none.
    file: Option<CString>,
    /// The line in it.
    line: i32,
}

impl Place {
    fn new(origin: Option<Origin<'_>>) -> Self {
        let file = origin.map(|origin| c_string(origin.file));
        Self { file, line: origin.map_or(0, |origin| i32::try_from(origin.line).unwrap_or(0)) }
    }

    fn file(&self) -> *const c_char {
        self.file.as_ref().map_or(std::ptr::null(), |file| file.as_ptr())
    }
}

/// Logs for a server, into its ErrorLog.
pub(crate) fn server(server: Server<'_>, level: Level, text: &str) {
    let text = text.as_bytes();
    server_entry(server, &Entry { level: level as u8, each_line: false, origin: None, text });
}

/// Logs for a server what a daemon process or its Python says.
pub(crate) fn server_entry(server: Server<'_>, entry: &Entry<'_>) {
    if entry.level > server_level(server) {
        return;
    }
    write_to_server(Some(server), entry);
}

/// Logs while there is no server yet, or none that it concerns.
pub(crate) fn process(level: Level, text: &str) {
    let text = text.as_bytes();
    write_to_server(None, &Entry { level: level as u8, each_line: false, origin: None, text });
}

fn write_to_server(server: Option<Server<'_>>, entry: &Entry<'_>) {
    let place = Place::new(entry.origin);
    let server = server.map_or(std::ptr::null(), |server| server.as_ptr().cast_const());
    for line in lines_to_log(entry) {
        let line = record(line);
        // SAFETY: the server is alive, or null, which means the main log; the texts are C strings,
        // but for the file, which may be null. All are only read.
        unsafe {
            sys::mod_wsgi_shim_log_server(
                module_index(),
                i32::from(entry.level),
                place.file(),
                place.line,
                server,
                line.as_ptr(),
            );
        }
    }
}

/// Tells the operator at a terminal, during start and configtest.
pub(crate) fn startup(level: Level, text: &str) {
    let text = c_string(text.as_bytes());
    // SAFETY: the text is a C string.
    unsafe {
        sys::mod_wsgi_shim_log_startup(module_index(), i32::from(level as u8), text.as_ptr());
    }
}

/// Logs for a request, with its client, into the ErrorLog of its virtual host. `script` is named
/// before the first line, as mod_wsgi does.
pub(crate) fn request(request: &Request<'_>, level: Level, text: &[u8]) {
    request_entry(request, &Entry { level: level as u8, each_line: false, origin: None, text });
}

/// Logs for a request what its Python says.
pub(crate) fn request_entry(request: &Request<'_>, entry: &Entry<'_>) {
    if entry.level > request_level(request) {
        return;
    }
    let place = Place::new(entry.origin);
    let script = request.filename().unwrap_or_default();
    for (index, line) in lines_to_log(entry).enumerate() {
        let names_script = !script.is_empty() && (index == 0 || entry.each_line);
        let line = if names_script { with_script(script, line) } else { Cow::Borrowed(line) };
        let line = record(&line);
        // SAFETY: the request is alive, the texts are C strings, but for the file, which may be
        // null. All are only read.
        unsafe {
            sys::mod_wsgi_shim_log_request(
                module_index(),
                i32::from(entry.level),
                place.file(),
                place.line,
                request.as_ptr(),
                line.as_ptr(),
            );
        }
    }
}

/// The line with the script, which comes before everything but the numbers of exceptions: what
/// reads logs of mod_wsgi looks for them so.
fn with_script<'l>(script: &[u8], line: &'l [u8]) -> Cow<'l, [u8]> {
    let number: &[u8] = match line.get(..10) {
        Some(number @ (b"WSGI0174: " | b"WSGI0175: ")) => number,
        _ => b"",
    };
    let rest = line.get(number.len()..).unwrap_or_default();
    [number, b"[script ", script, b"] ", rest].concat().into()
}

/// Lines as records. An empty one is one only where somebody has printed it.
fn lines_to_log<'e>(entry: &Entry<'e>) -> impl Iterator<Item = &'e [u8]> + use<'e> {
    let each_line = entry.each_line;
    lines(entry.text)
        .filter(move |line| each_line || !line.trim_ascii().is_empty())
        .map(|line| line.get(..MAX_LINE).unwrap_or(line))
}

/// The least urgent level that a server logs, by its number; above 7, which is debug, it is one of
/// trace.
pub(crate) fn server_level(server: Server<'_>) -> u8 {
    // SAFETY: the server is alive and only read; the index is the module's, or the -1 of none.
    let level = unsafe { sys::ap_get_server_module_loglevel(server.as_ptr(), module_index()) };
    u8::try_from(level).unwrap_or(0)
}

/// The least urgent level that is logged for a request, where it is now.
pub(crate) fn request_level(request: &Request<'_>) -> u8 {
    // SAFETY: the request is alive and only read; the index is the module's, or the -1 of none.
    let level = unsafe { sys::ap_get_request_module_loglevel(request.as_ptr(), module_index()) };
    u8::try_from(level).unwrap_or(0)
}
