// SPDX-License-Identifier: Apache-2.0
//! What the configuration says of time, in microseconds as the clock of the process counts.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::settings::Settings;

/// Limits of a daemon process; None is off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// `request-timeout`, times 1 + ln(threads).
    pub(super) request: Option<u64>,
    /// `interrupt-timeout`, where there is a `request-timeout`.
    pub(super) interrupt: Option<u64>,
    /// `startup-timeout`.
    pub(super) startup: Option<u64>,
    /// `inactivity-timeout`.
    pub(super) inactivity: Option<u64>,
    /// `deadlock-timeout`.
    pub(super) deadlock: Option<u64>,
    /// `restart-interval`.
    pub(super) restart: Option<u64>,
    /// WSGISlowRequests.
    pub(super) slow: Option<u64>,
}

impl Limits {
    /// Those of the settings.
    pub(super) fn new(settings: &Settings) -> Self {
        let limit = |seconds: u32| (seconds > 0).then(|| u64::from(seconds) * 1_000_000);
        // The more threads there are, the less one that is busy is missed.
        let scale = 1.0 + f64::from(settings.threads.max(1)).ln();
        Self {
            request: limit(settings.request_timeout).map(|micros| (micros as f64 * scale) as u64),
            interrupt: limit(settings.interrupt_timeout).filter(|_| settings.request_timeout > 0),
            // Running a service script is loading it.
            startup: limit(settings.startup_timeout).filter(|_| settings.threads > 0),
            inactivity: limit(settings.inactivity_timeout),
            deadlock: limit(settings.deadlock_timeout),
            restart: limit(settings.restart_interval),
            slow: (settings.slow_requests > 0).then_some(settings.slow_requests),
        }
    }

    /// Age from which on a request does not hold up the end of the process any more.
    pub(super) fn stale(&self) -> Option<u64> {
        self.request.map(|request| request.saturating_add(self.interrupt.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_more_time_where_there_are_more_threads() {
        let of = |threads| {
            let settings = Settings {
                threads,
                request_timeout: 60,
                interrupt_timeout: 5,
                ..Settings::default()
            };
            Limits::new(&settings)
        };
        assert_eq!(of(1).request, Some(60_000_000));
        let fifteen = of(15).request.unwrap();
        assert!((222_000_000..223_000_000).contains(&fifteen), "{fifteen}");
        assert_eq!(of(15).stale(), Some(fifteen + 5_000_000));
        assert_eq!(Limits::new(&Settings::default()), Limits::default());
    }
}
