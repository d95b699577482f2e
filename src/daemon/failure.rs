// SPDX-License-Identifier: Apache-2.0
//! What the client and the log get when no daemon process answered a request: 502 when its process
//! died, 503 when nobody could take it, 504 when it took too long. One line each, with a number of
//! its own, that says which process and, where the supervisor tells in time, of what it died.
#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::time::Duration;

use mod_wsgi_protocol::cause::{Cause, End};
use mod_wsgi_protocol::control::Reason;

use super::choice::{Chosen, Unavailable};
use super::connection::Failure;
use super::exchange::Task;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::os::process::Exit;
use crate::relay::Responder;

/// Seconds after which a client may come again when processes are busy or starting.
const SOON: &CStr = c"5";

/// The same when processes fail to start, or others have the places of their application group: not
/// before the supervisor's longest pause.
const LATER: &CStr = c"30";

/// Longest wait for the cause of a process's death, when the request has failed already.
const MOMENT: Duration = Duration::from_millis(100);

/// 503, with Retry-After.
fn refuse(task: &Task<'_, '_>, after: &CStr, text: &str) -> i32 {
    refuse_at(Level::Error, task, after, text)
}

fn refuse_at(level: Level, task: &Task<'_, '_>, after: &CStr, text: &str) -> i32 {
    log::request(task.request, level, text.as_bytes());
    // What a hook's failure is answered with is not this status.
    if task.work.takes_body() {
        set_retry_after(task.request, after);
    }
    503
}

fn set_retry_after(request: &Request<'_>, after: &CStr) {
    // The headers that httpd's error documents keep.
    if let (Some(headers), Some(pool)) = (request.error_headers_out(), request.pool()) {
        headers.replace(pool, c"Retry-After", after);
    }
}

/// A process answers 503 itself.
pub(super) fn ask_back_later(request: &Request<'_>) {
    set_retry_after(request, LATER);
}

/// The process could not be connected.
pub(super) fn not_connected(task: &Task<'_, '_>, failure: &Failure) -> i32 {
    let name = task.group.label();
    match failure {
        Failure::TimedOut => full(task),
        other => refuse(
            task,
            SOON,
            &format!(
                "WSGI0117: Unable to connect to WSGI daemon process '{name}': {other}: check WSGISocketPrefix and the owner of its directory"
            ),
        ),
    }
}

fn full(task: &Task<'_, '_>) -> i32 {
    let options = &task.group.options;
    refuse(
        task,
        SOON,
        &format!(
            "WSGI0116: Unable to connect to WSGI daemon process '{}' after multiple attempts as listener backlog limit was exceeded: all threads were busy, and {} requests waited for them, for {} s (listen-backlog, connect-timeout)",
            task.group.label(),
            u64::from(options.listen_backlog) + 1,
            options.connect_timeout
        ),
    )
}

/// As many processes as there may be attempts did not take the request.
pub(super) fn not_taken(task: &Task<'_, '_>, attempts: u32) -> i32 {
    let name = task.group.label();
    refuse(
        task,
        SOON,
        &format!(
            "WSGI0124: Maximum number of WSGI daemon process '{name}' reconnects reached: {attempts}"
        ),
    )
}

/// No process was chosen.
pub(super) fn unavailable(task: &Task<'_, '_>, reason: Unavailable) -> i32 {
    let Task { group, work, .. } = task;
    let name = group.label();
    match reason {
        Unavailable::Exhausted => refuse(
            task,
            LATER,
            &format!(
                "WSGI0300: No processes for application group '{}': WSGI process group '{name}' has its {} application groups already, raise application-groups= or name fewer groups",
                String::from_utf8_lossy(work.application_group()),
                group.options.application_groups
            ),
        ),
        Unavailable::Failing => refuse(
            task,
            LATER,
            &format!(
                "WSGI0301: No process of WSGI process group '{name}' is running: they fail to start, the reason is in the log before this line"
            ),
        ),
        Unavailable::TimedOut => refuse(
            task,
            SOON,
            &format!(
                "WSGI0302: No process of WSGI process group '{name}' was ready in time: it is still starting"
            ),
        ),
        Unavailable::Full => full(task),
        Unavailable::Stopping => {
            let text =
                format!("no process of WSGI process group '{name}' takes the request: httpd stops");
            refuse_at(Level::Info, task, SOON, &text)
        }
    }
}

/// The connection broke, or nothing came on it in time, or nonsense. Returns what httpd's handler
/// returns.
pub(super) fn broken(
    task: &Task<'_, '_>,
    chosen: &Chosen<'_>,
    responder: &mut Responder<'_>,
    failure: &Failure,
) -> i32 {
    let name = task.group.label();
    let pid = chosen.pid;
    if responder.is_done() || responder.is_complete() {
        return responder.finish(500);
    }
    let waiting = responder.is_waiting();
    let cause = match failure {
        Failure::Closed => chosen.cause_of_end(MOMENT),
        Failure::TimedOut | Failure::System(_) | Failure::Protocol(_) => None,
    };
    let process = format!("WSGI daemon process '{name}' (pid {pid})");
    let is_too_slow = cause.is_some_and(|cause| is_too_slow(task, chosen, cause));
    let (status, text) = match (failure, cause.map(words)) {
        (Failure::TimedOut, _) if waiting => {
            (504, format!("WSGI0145: Timeout when reading response headers from {process}"))
        }
        (Failure::Closed, Some(cause)) if waiting && is_too_slow => (
            504,
            format!(
                "WSGI0328: This request ran for more than {} s (request-timeout): {process} {cause}",
                task.group.options.request_timeout
            ),
        ),
        (Failure::Closed, Some(cause)) if waiting => {
            (502, format!("WSGI0146: {process} {cause} while it ran this request"))
        }
        (Failure::Closed, None) if waiting => (
            502,
            format!(
                "WSGI0146: {process} closed the connection while it ran this request, before the response headers"
            ),
        ),
        (failure, _) if waiting => {
            (502, format!("WSGI0147: Error reading the response from {process}: {failure}"))
        }
        (_, Some(cause)) => (
            502,
            format!(
                "WSGI0119: The response is incomplete: {process} {cause} while it ran this request"
            ),
        ),
        (failure, None) => {
            (502, format!("WSGI0119: The response of {process} is incomplete: {failure}"))
        }
    };
    log::request(task.request, Level::Error, text.as_bytes());
    responder.abandon();
    if waiting { status } else { responder.finish(0) }
}

/// All of the response has come, but for its end: the process died, or takes longer than
/// `socket-timeout`. Returns what httpd's handler returns.
pub(super) fn broken_in_close(
    task: &Task<'_, '_>,
    chosen: &Chosen<'_>,
    responder: &mut Responder<'_>,
    has_died: bool,
) -> i32 {
    let what = if has_died {
        chosen.cause_of_end(MOMENT).map_or_else(|| "ended".to_owned(), words)
    } else {
        "takes longer than socket-timeout".to_owned()
    };
    let text = format!(
        "WSGI0119: The response is complete, but WSGI daemon process '{}' (pid {}) {what} in close()",
        task.group.label(),
        chosen.pid
    );
    log::request(task.request, Level::Error, text.as_bytes());
    responder.end_without_word();
    responder.finish(0)
}

/// Whether the process was ended because a request took too long, and it was this one.
pub(super) fn is_too_slow(task: &Task<'_, '_>, chosen: &Chosen<'_>, cause: Cause) -> bool {
    let limit = Duration::from_secs(task.group.options.request_timeout.into());
    cause.reason == Some(Reason::RequestTimeout) && chosen.since.elapsed() >= limit
}

/// "was killed by signal 11 (SIGSEGV)", and why it was to leave, if it was.
pub(super) fn words(cause: Cause) -> String {
    let end = match cause.end {
        End::Exit(code) => Exit::Status(i32::from(code)),
        End::Signal(number) => Exit::Signal(i32::from(number), false),
    };
    let overdue = if cause.is_overdue { ", as it did not leave in time" } else { "" };
    match cause.reason {
        Some(reason) => format!("{end}{overdue} ({})", reason.name()),
        None => format!("{end}{overdue}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_in_words() {
        let cause = Cause { end: End::Signal(11), is_overdue: false, reason: None };
        assert_eq!(words(cause), "was killed by signal 11 (SIGSEGV)");
        let cause =
            Cause { end: End::Signal(9), is_overdue: true, reason: Some(Reason::GracefulSignal) };
        assert_eq!(
            words(cause),
            "was killed by signal 9 (SIGKILL), as it did not leave in time (graceful_signal)"
        );
        let cause = Cause { end: End::Exit(3), is_overdue: false, reason: None };
        assert_eq!(words(cause), "ended with exit code 3");
    }
}
