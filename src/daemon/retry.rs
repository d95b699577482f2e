// SPDX-License-Identifier: Apache-2.0
//! `retry=idempotent`: whether a request whose process died while it ran is sent to another one. Only
//! methods of which RFC 9110 (9.2.2) says that doing them twice is doing them once, only when nothing
//! of the body is used up, only when the process is known to have ended, so that no two run at once,
//! and a bounded number of times: a request may be what its processes die of.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::choice::Chosen;
use super::exchange::Task;
use super::failure;
use crate::config::daemon_process::Retry;
use crate::httpd::log::{self, Level};

/// How often one request is sent again after it had started.
const MOST: u32 = 2;

/// Longest wait for the supervisor to say that the process has ended. Its connections close when it
/// ends; an application that closed them itself goes on, and then its request is not sent again.
const CERTAINTY: Duration = Duration::from_secs(2);

/// The attempts of one request after it had started.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// How often it was sent again.
    count: u32,
}

impl Retries {
    /// Whether the request, which had started in this process, is to be sent to another one.
    /// `has_given_body`: the process got parts of the body that are not in the frame.
    pub(super) fn allow(
        &mut self,
        task: &Task<'_, '_>,
        chosen: &Chosen<'_>,
        has_given_body: bool,
    ) -> bool {
        if task.group.options.retry != Retry::Idempotent
            || !task.work.takes_body()
            || has_given_body
            || self.count >= MOST
            || !is_idempotent(task.request.method().unwrap_or_default())
        {
            return false;
        }
        let cause = chosen.cause_of_end(CERTAINTY);
        if (cause.is_none() && !chosen.is_gone())
            || cause.is_some_and(|cause| failure::is_too_slow(task, chosen, cause))
        {
            return false;
        }
        self.count += 1;
        let text = format!(
            "WSGI0327: WSGI daemon process '{}' (pid {}) {} while it ran this request, which is sent to another process (retry=idempotent, {} of {MOST})",
            task.group.label(),
            chosen.pid,
            cause.map_or_else(|| "ended".to_owned(), failure::words),
            self.count
        );
        log::request(task.request, Level::Warning, text.as_bytes());
        true
    }
}

/// Methods are case-sensitive (RFC 9110, 9.1).
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idempotent_methods_are_sent_again() {
        assert!(
            [&b"GET"[..], b"HEAD", b"OPTIONS", b"PUT", b"DELETE"].map(is_idempotent) == [true; 5]
        );
        assert!([&b"POST"[..], b"PATCH", b"get", b"", b"TRACE"].map(is_idempotent) == [false; 5]);
    }
}
