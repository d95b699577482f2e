// SPDX-License-Identifier: Apache-2.0
//! The line about a request that was slow, once it is over.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use mod_wsgi_protocol::frame::Kind;
use mod_wsgi_protocol::key;
use mod_wsgi_protocol::request::{Name, Request};

use super::run::Job;
use crate::exchange::{Exchange, Frame};
use crate::log::Level;

const REQUEST_METHOD: u8 = key::number("REQUEST_METHOD");
const REQUEST_URI: u8 = key::number("REQUEST_URI");

/// Measures a request, where WSGISlowRequests says so.
pub(super) struct Stopwatch(Option<Instant>);

impl Stopwatch {
    /// Begins.
    pub(super) fn start(job: &Job<'_>) -> Self {
        Self((job.settings.slow_requests > 0).then(Instant::now))
    }

    /// Logs the request if it was slow.
    pub(super) fn stop(&self, job: &Job<'_>, exchange: &mut dyn Exchange) {
        let Some(began) = self.0 else { return };
        let application = began.elapsed();
        if application < Duration::from_micros(job.settings.slow_requests) {
            return;
        }
        let head = &job.request.head;
        let queue = job.daemon_start.saturating_sub(head.queue_start).max(0);
        let queue = if job.daemon_start == 0 || head.queue_start == 0 {
            String::new()
        } else {
            format!("{:.3} s in the queue, ", queue as f64 / 1e6)
        };
        let text = format!(
            "WSGI0343: slow request: {} took {queue}{:.3} s in the application (WSGISlowRequests)",
            name(job.request),
            application.as_secs_f64()
        );
        let parts = [&[Level::Warning as u8][..], text.as_bytes()];
        // What becomes of the response shows whether the other end is gone.
        let _ = exchange.send(&Frame { kind: Kind::Log, flags: 0, parts }, 0);
    }
}

/// Method and path; text of clients is escaped, and the query stays out of logs.
fn name(request: &Request<'_>) -> String {
    let value = |number| {
        let mut entries = request.entries();
        entries
            .find(|(name, _)| *name == Name::Numbered(number))
            .map_or(&[][..], |(_, value)| value)
    };
    let uri = value(REQUEST_URI);
    let path = uri.split(|byte| *byte == b'?').next().unwrap_or_default();
    format!("'{} {}'", value(REQUEST_METHOD).escape_ascii(), path.escape_ascii())
}
