// SPDX-License-Identifier: Apache-2.0
//! httpd's error log. Text goes through a constant "%s"; a text of several lines becomes as many
//! records.

use super::request::Request;
use super::server::Server;
use super::{c_string, module_index, sys};

/// Levels of httpd's log, by their numbers.
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
    /// For those who look for a cause.
    Debug = 7,
}

impl Level {
    /// The level with this number; what is beyond is the nearest.
    pub(crate) fn from_u8(number: u8) -> Self {
        match number {
            0 | 1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            _ => Self::Debug,
        }
    }
}

/// Logs for a server, into its ErrorLog.
pub(crate) fn server(server: Server<'_>, level: Level, text: &str) {
    if !server_logs(server, level) {
        return;
    }
    for line in lines(text.as_bytes()) {
        let line = c_string(line);
        // SAFETY: the server is alive, the text a C string; both are only read.
        unsafe {
            sys::mod_wsgi_shim_log_server(
                module_index(),
                i32::from(level as u8),
                server.as_ptr(),
                line.as_ptr(),
            );
        }
    }
}

/// Logs while there is no server yet, or none that it concerns.
pub(crate) fn process(level: Level, text: &str) {
    for line in lines(text.as_bytes()) {
        let line = c_string(line);
        // SAFETY: a null server is allowed and means the main log; the text is a C string.
        unsafe {
            sys::mod_wsgi_shim_log_server(
                module_index(),
                i32::from(level as u8),
                std::ptr::null(),
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
    // SAFETY: the request is alive and only read.
    let wanted = unsafe {
        sys::mod_wsgi_shim_request_logs(module_index(), request.as_ptr(), i32::from(level as u8))
    };
    if wanted == 0 {
        return;
    }
    let script = request.filename().unwrap_or_default();
    for (index, line) in lines(text).enumerate() {
        let mut record = Vec::with_capacity(line.len() + script.len() + 10);
        if index == 0 && !script.is_empty() {
            record.extend_from_slice(b"[script ");
            record.extend_from_slice(script);
            record.extend_from_slice(b"] ");
        }
        record.extend_from_slice(line);
        let record = c_string(&record);
        // SAFETY: the request is alive, the text a C string; both are only read.
        unsafe {
            sys::mod_wsgi_shim_log_request(
                module_index(),
                i32::from(level as u8),
                request.as_ptr(),
                record.as_ptr(),
            );
        }
    }
}

/// Whether a server's log takes this level.
pub(crate) fn server_logs(server: Server<'_>, level: Level) -> bool {
    // SAFETY: the server is alive and only read.
    unsafe {
        sys::mod_wsgi_shim_server_logs(module_index(), server.as_ptr(), i32::from(level as u8)) != 0
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}
