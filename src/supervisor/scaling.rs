// SPDX-License-Identifier: Apache-2.0
//! When a set with `processes=MIN-MAX` gets more processes, and when a process has been idle for so
//! long that it may go. Rules alone; looking and acting are in `event_loop/demand.rs`.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// How long all threads of a set must be busy, and requests wait for one, before it gets more
/// processes; also the time between two looks meanwhile.
pub(crate) const STEP: Duration = Duration::from_millis(100);

/// What a set is doing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Processes that serve.
    pub(crate) ready: u32,
    /// Processes that are starting, or finish what they have.
    pub(crate) changing: u32,
    /// Requests that those have which serve.
    pub(crate) in_flight: u64,
    /// Threads of each process.
    pub(crate) threads: u32,
    /// A request waits in an httpd child for a thread.
    pub(crate) is_awaited: bool,
}

impl Load {
    /// Whether requests wait for a thread.
    pub(crate) fn is_pressed(&self) -> bool {
        let threads = u64::from(self.ready) * u64::from(self.threads.max(1));
        self.in_flight > threads || self.in_flight == threads && self.is_awaited
    }

    /// How many more processes it gets when it is pressed: half as many again, but no further ones
    /// while some are still on their way.
    pub(crate) fn growth(&self, wanted: u32, most: u32) -> u32 {
        if self.changing > 0 || self.ready < wanted || !self.is_pressed() {
            return 0;
        }
        (self.ready / 2).max(1).min(most.saturating_sub(wanted))
    }
}

/// How long a process has had no request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idleness {
    /// What its activity was when it was looked at last.
    activity: u32,
    /// Since when nothing is known to have come.
    since: Instant,
}

impl Idleness {
    /// Of a process that has just started.
    pub(crate) fn new(now: Instant) -> Self {
        Self { activity: 0, since: now }
    }

    /// Looks at the requests that it has now, and at its activity.
    pub(crate) fn look(&mut self, load: u32, activity: u32, now: Instant) {
        if load != 0 || activity != self.activity {
            self.since = now;
        }
        self.activity = activity;
    }

    /// For how long nothing has come.
    pub(crate) fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// Time between two looks for processes that are idle for so long.
pub(crate) fn idle_look(limit: Duration) -> Duration {
    (limit / 8).clamp(Duration::from_millis(50), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_grows_only_when_requests_wait() {
        let load = Load { ready: 2, in_flight: 6, threads: 3, ..Load::default() };
        assert_eq!(load.growth(2, 8), 0);
        assert_eq!(Load { is_awaited: true, ..load }.growth(2, 8), 1);
        assert_eq!(Load { in_flight: 5, is_awaited: true, ..load }.growth(2, 8), 0);
        assert_eq!(Load { in_flight: 7, ..load }.growth(2, 8), 1);
    }

    #[test]
    fn a_set_grows_by_half_and_not_beyond_its_most() {
        let load = Load { ready: 8, in_flight: 100, threads: 1, ..Load::default() };
        assert_eq!(load.growth(8, 20), 4);
        assert_eq!(load.growth(8, 10), 2);
        assert_eq!(load.growth(8, 8), 0);
    }

    #[test]
    fn a_set_does_not_grow_while_processes_are_on_their_way() {
        let load = Load { ready: 2, in_flight: 100, threads: 1, ..Load::default() };
        assert_eq!(Load { changing: 1, ..load }.growth(2, 8), 0);
        // One that is wanted is not there: it failed to start, and is waited for.
        assert_eq!(load.growth(3, 8), 0);
    }

    #[test]
    fn idleness_begins_anew_with_each_request() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut idleness = Idleness::new(start);
        idleness.look(0, 0, after(5));
        assert_eq!(idleness.lasted(after(5)), Duration::from_secs(5));
        // Came and went between two looks.
        idleness.look(0, 1, after(6));
        assert_eq!(idleness.lasted(after(8)), Duration::from_secs(2));
        idleness.look(1, 1, after(9));
        idleness.look(0, 1, after(10));
        assert_eq!(idleness.lasted(after(10)), Duration::from_secs(1));
    }
}
