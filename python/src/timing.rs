// SPDX-License-Identifier: Apache-2.0
//! How long a request waits: for its body, for those who take its response, for the GIL. No clock is
//! read before somebody wants to know: `mod_wsgi.start_recording_metrics()` was called, or a request
//! found a subscriber to events.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// From now on clocks are read.
pub(crate) fn want() {
    if !IS_WANTED.load(Ordering::Relaxed) {
        IS_WANTED.store(true, Ordering::Relaxed);
    }
}

/// Does the work, and adds what it takes to `spent`, if somebody wants to know.
pub(crate) fn timed<R>(spent: &mut Duration, work: impl FnOnce() -> R) -> R {
    if !IS_WANTED.load(Ordering::Relaxed) {
        return work();
    }
    let begun = Instant::now();
    let result = work();
    *spent += begun.elapsed();
    result
}

/// Waits of a thread for a GIL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// How long, all together.
    pub(crate) time: Duration,
    /// How often a GIL was taken.
    pub(crate) count: u64,
}

impl Waits {
    const NONE: Self = Self { time: Duration::ZERO, count: 0 };

    /// Those after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            time: self.time.saturating_sub(before.time),
            count: self.count.saturating_sub(before.count),
        }
    }
}

thread_local! {
    /// Waits of this thread.
    static WAITS: Cell<Waits> = const { Cell::new(Waits::NONE) };
}

/// Takes a GIL.
pub(crate) fn take_gil(take: impl FnOnce()) {
    if !IS_WANTED.load(Ordering::Relaxed) {
        return take();
    }
    let begun = Instant::now();
    take();
    let Waits { time, count } = WAITS.get();
    WAITS.set(Waits { time: time + begun.elapsed(), count: count + 1 });
}

/// Waits of this thread so far.
pub(crate) fn gil_waits() -> Waits {
    WAITS.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_once_they_are_wanted() {
        want();
        let before = gil_waits();
        let mut spent = Duration::ZERO;
        let pause = Duration::from_millis(1);
        for _ in 0..2 {
            take_gil(|| std::thread::sleep(pause));
            timed(&mut spent, || std::thread::sleep(pause));
        }
        let waits = gil_waits().since(before);
        assert_eq!(waits.count, 2);
        assert!(waits.time >= 2 * pause && spent >= 2 * pause);
        let none = std::thread::spawn(gil_waits).join().unwrap();
        assert_eq!(none, Waits::NONE);
        assert_eq!(none.since(waits), Waits::NONE);
    }
}
