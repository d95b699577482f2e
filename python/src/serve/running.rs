// SPDX-License-Identifier: Apache-2.0
//! What each worker is doing, written by the worker with plain stores and read by the monitor,
//! which must not be in the way of requests.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use mod_wsgi_protocol::region::Region;
use mod_wsgi_protocol::request::NO_SLOT;

use crate::interp::Interruptible;

/// Microseconds on the monotonic clock since the process started to serve, so that a moment is one
/// number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub(super) fn start() -> Self {
        // The first moment is not 0, which means "never".
        Self(Instant::now().checked_sub(Duration::from_micros(1)).unwrap_or_else(Instant::now))
    }

    /// This moment.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The moment of an instant.
    pub(super) fn moment(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.0);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// The moment as an instant.
    pub(super) fn instant(&self, moment: u64) -> Instant {
        self.0 + Duration::from_micros(moment)
    }
}

/// What one worker is doing.
#[derive(Debug)]
pub(super) struct Running {
    /// The thread.
    pub(super) thread: Interruptible,
    /// When its request began, on the clock of the process; 0 is no request. It is also the number
    /// of the request: a worker has no two that begin in the same microsecond.
    began: AtomicU64,
    /// Where the child has written what the request is.
    slot: AtomicU32,
    /// The number by which the child knows that it has started.
    mark: AtomicU32,
}

/// A request that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunningRequest {
    /// Index of its worker.
    pub(super) worker: usize,
    /// When it began; its number.
    pub(super) began: u64,
    /// Where the child has written what it is.
    pub(super) slot: u32,
    /// The number by which the child knows that it has started.
    mark: u32,
}

impl Running {
    /// A worker that does nothing yet.
    pub(super) fn new() -> Self {
        Self {
            thread: Interruptible::new(),
            began: AtomicU64::new(0),
            slot: AtomicU32::new(NO_SLOT),
            mark: AtomicU32::new(0),
        }
    }

    /// A request begins.
    pub(super) fn begin(&self, now: u64, slot: u32, mark: u32) {
        // Who reads what is of this request sees that the one before is over.
        fence(Ordering::Release);
        self.slot.store(slot, Ordering::Relaxed);
        self.mark.store(mark, Ordering::Relaxed);
        self.began.store(now, Ordering::Release);
    }

    /// It is over.
    pub(super) fn end(&self) {
        self.began.store(0, Ordering::Relaxed);
    }

    /// Whether it is the request with this number that runs.
    pub(super) fn runs(&self, request: u64) -> bool {
        self.began.load(Ordering::Relaxed) == request
    }

    /// The request of the worker with this index.
    pub(super) fn request(&self, worker: usize) -> Option<RunningRequest> {
        let began = self.began.load(Ordering::Acquire);
        let slot = self.slot.load(Ordering::Relaxed);
        let mark = self.mark.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (began != 0 && self.runs(began)).then_some(RunningRequest { worker, began, slot, mark })
    }
}

impl RunningRequest {
    /// How long it has run, in microseconds.
    pub(super) fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.began)
    }

    /// Says to the child that it is not to be sent to another process: it would take as long there.
    pub(super) fn give_up(&self, region: &Region<'_>) {
        if let Some(slot) = region.slot(self.slot) {
            slot.give_up(self.mark);
        }
    }

    /// Its method and path, for the log.
    pub(super) fn name(&self, region: &Region<'_>) -> String {
        match region.slot(self.slot).map(|slot| slot.description()) {
            // What clients send is escaped.
            Some(line) if !line.is_empty() => format!("'{}'", line.escape_ascii()),
            _ => "request".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_there_from_begin_to_end() {
        let clock = Clock::start();
        let running = Running::new();
        assert_eq!(running.request(0), None);
        let now = clock.now();
        assert_ne!(now, 0);
        running.begin(now, 7, 41);
        assert_eq!(
            running.request(3),
            Some(RunningRequest { worker: 3, began: now, slot: 7, mark: 41 })
        );
        running.end();
        assert_eq!(running.request(3), None);
    }
}
