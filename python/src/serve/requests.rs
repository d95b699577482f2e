// SPDX-License-Identifier: Apache-2.0
//! The monitor's view of the requests that run: which of them are slow, which are out of time, and
//! what has been done about them.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::control::Reason;

use super::attendant::Errand;
use super::limits::Limits;
use super::monitor::seconds;
use super::running::RunningRequest;
use super::shared::Shared;
use crate::log::Level;

/// Shortest pause between two looks for requests that have begun, µs: a limit below it is no reason
/// to look all the time.
const LEAST_PAUSE: u64 = 10_000;

/// What was done about the request of one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The request; 0 is none.
    request: u64,
    /// It was said that it is slow.
    slow: bool,
    /// When `RequestTimeout` was raised in it; 0 is not yet.
    interrupted: u64,
    /// It was given up.
    given_up: bool,
}

/// The requests that run, by worker.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What was done, by worker.
    seen: Vec<Seen>,
    /// Every worker has a request that was given up, and nobody has acted on that yet.
    is_out_of_time: bool,
}

impl Watch {
    /// Looks at every request; when there is something to look at again.
    pub(super) fn round(&mut self, shared: &Shared, limits: &Limits, now: u64) -> u64 {
        let Some(first) = [limits.slow, limits.request].into_iter().flatten().min() else {
            return u64::MAX;
        };
        self.seen.resize(shared.workers.len(), Seen::default());
        // What begins later is due later than this.
        let mut next = now.saturating_add(first.max(LEAST_PAUSE));
        for request in shared.requests() {
            let Some(seen) = self.seen.get_mut(request.worker) else { continue };
            if seen.request != request.began {
                *seen = Seen { request: request.began, ..Seen::default() };
            }
            next = next.min(look(seen, &request, shared, limits, now));
            if seen.given_up && shared.are_all_stale() {
                self.is_out_of_time = true;
            }
        }
        next
    }

    /// Whether nothing can be served any more, as every thread has a request that was given up. Says
    /// so once.
    pub(super) fn is_out_of_time(&mut self) -> bool {
        std::mem::take(&mut self.is_out_of_time)
    }
}

/// Does what is due for one request; when something is due again.
fn look(
    seen: &mut Seen,
    request: &RunningRequest,
    shared: &Shared,
    limits: &Limits,
    now: u64,
) -> u64 {
    let mut next = u64::MAX;
    let age = now.saturating_sub(request.began);
    let name = || request.name(&shared.region);
    if let Some(slow) = limits.slow.filter(|_| !seen.slow) {
        if age < slow {
            next = request.began.saturating_add(slow);
        } else {
            seen.slow = true;
            let text = format!(
                "WSGI0343: slow request: {} has run for {} s (WSGISlowRequests)",
                name(),
                seconds(age)
            );
            shared.say(Level::Warning, &text);
            shared.log_stack("WSGI0343", request, now);
        }
    }
    let Some(limit) = limits.request.filter(|_| !seen.given_up) else { return next };
    if age < limit {
        return next.min(request.began.saturating_add(limit));
    }
    match limits.interrupt {
        Some(interrupt) if seen.interrupted == 0 => {
            seen.interrupted = now;
            let text = format!(
                "WSGI0340: {} has run for {} s (request-timeout): RequestTimeout is raised in it",
                name(),
                seconds(age)
            );
            shared.say(Level::Warning, &text);
            shared.log_stack("WSGI0340", request, now);
            if let (Some(worker), Some(interpreter)) = shared.thread_of(request) {
                let errand = Errand::Interrupt { of: worker, request: request.began };
                shared.attendants.ask(shared, interpreter, now, errand);
            }
            next.min(now.saturating_add(interrupt))
        }
        Some(interrupt) if now < seen.interrupted.saturating_add(interrupt) => {
            next.min(seen.interrupted.saturating_add(interrupt))
        }
        _ => {
            seen.given_up = true;
            request.give_up(&shared.region);
            let why = match seen.interrupted {
                0 => "request-timeout".to_owned(),
                at => {
                    let since = seconds(now.saturating_sub(at));
                    format!("request-timeout; and RequestTimeout did not end it in {since} s")
                }
            };
            let text = format!(
                "WSGI0340: {} has run for {} s ({why}): the process is to be replaced{}",
                name(),
                seconds(age),
                shared.running_requests()
            );
            shared.say(Level::Warning, &text);
            shared.log_stacks("WSGI0340", now);
            if !shared.are_all_stale() {
                // Others are served until the replacement is there.
                shared.ask_for_replacement(Reason::RequestTimeout);
            }
            next
        }
    }
}
