// SPDX-License-Identifier: Apache-2.0
//! Notes of a request that tell the access log who answered it and how long that took:
//! `%{mod_wsgi.queue_time}n` in a LogFormat. Where a note is not there, the log has a hyphen.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::io::Write;

use mod_wsgi_protocol::response::Times;

use crate::httpd::request::Request;

/// Says which process has the request.
pub(crate) fn note_process(request: &Request<'_>, group: &[u8], pid: u32) {
    note(request, c"mod_wsgi.process_group", group);
    note_number(request, c"mod_wsgi.daemon_pid", u64::from(pid));
}

/// Says how long the request waited for a thread since `queue_start` (µs since the epoch; None in
/// embedded mode, where it does not), and how long the application had it, both in µs.
pub(crate) fn note_times(request: &Request<'_>, times: &Times, queue_start: Option<i64>) {
    if let Some(start) = queue_start {
        // Clocks of two processes are one, but it may have been set meanwhile.
        let waited = u64::try_from(times.daemon_start.saturating_sub(start)).unwrap_or(0);
        note_number(request, c"mod_wsgi.queue_time", waited);
    }
    if times.application > 0 {
        note_number(request, c"mod_wsgi.application_time", times.application);
    }
}

fn note_number(request: &Request<'_>, name: &'static CStr, number: u64) {
    // Room for the longest number.
    let mut text = [0; 20];
    let mut rest = &mut text[..];
    if write!(rest, "{number}").is_ok() {
        let length = 20 - rest.len();
        note(request, name, text.get(..length).unwrap_or_default());
    }
}

fn note(request: &Request<'_>, name: &'static CStr, value: &[u8]) {
    if let (Some(notes), Some(pool)) = (request.notes(), request.pool()) {
        notes.set(name.as_ptr(), pool.copy(value));
    }
}
