// SPDX-License-Identifier: Apache-2.0
//! What `mod_wsgi.process_metrics()` and `mod_wsgi.request_metrics()` tell of requests, of all
//! interpreters of the process together. Nothing is measured before somebody asks for it: until
//! then a request costs one counter and one look. Dicts are made of it in Python source.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::os;
use crate::timing::{self, Waits};

/// Sub-buckets of an octave, octaves, and what is beyond them.
const BUCKETS: usize = 4 * 16 + 1;

/// Durations of one phase of requests.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    /// How many.
    pub(crate) count: u64,
    /// All together, µs.
    pub(crate) sum: u64,
    /// The shortest, µs; meaningless without any.
    pub(crate) shortest: u64,
    /// The longest, µs.
    pub(crate) longest: u64,
    /// How many in each bucket, see [`bucket`].
    pub(crate) buckets: [u64; BUCKETS],
}

impl Phase {
    const fn new() -> Self {
        Self { count: 0, sum: 0, shortest: u64::MAX, longest: 0, buckets: [0; BUCKETS] }
    }

    /// Adds what lies between two moments, if both are known. Clocks that are set back make 0.
    fn add(&mut self, from: i64, to: i64) {
        if from > 0 && to > 0 {
            self.add_micros(between(from, to));
        }
    }

    fn add_duration(&mut self, duration: Duration) {
        self.add_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn add_micros(&mut self, micros: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.shortest = self.shortest.min(micros);
        self.longest = self.longest.max(micros);
        if let Some(count) = self.buckets.get_mut(bucket(micros)) {
            *count += 1;
        }
    }
}

/// The bucket of a duration: four for each octave from 1 ms to 65.536 s, with what is shorter in the
/// first one and what is longer in the last.
fn bucket(micros: u64) -> usize {
    let mut lower = 1000;
    for octave in 0..16 {
        if micros < 2 * lower {
            let within = micros.saturating_sub(lower) * 4 / lower;
            return 4 * octave + usize::try_from(within).unwrap_or(0);
        }
        lower *= 2;
    }
    BUCKETS - 1
}

/// What a thread has done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Thread {
    /// Requests that it has completed since recording began.
    pub(crate) all: u64,
    /// Of these in the interval.
    pub(crate) completed: u64,
    /// How long it has run requests in the interval, µs.
    pub(crate) busy: u64,
    /// CPU time of the requests that it has completed in the interval, µs.
    pub(crate) cpu: u64,
    /// The longest request that it has completed in the interval, µs.
    pub(crate) longest: u64,
    /// When the request began that it runs.
    pub(crate) current: Option<i64>,
}

/// What is known of an interval.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    /// When it began, µs since the epoch.
    pub(crate) start: i64,
    /// When it ended.
    pub(crate) stop: i64,
    /// CPU time of the process when it began: user's and system's, µs.
    cpu: [u64; 2],
    /// CPU time in it: user's and system's, µs.
    pub(crate) cpu_used: [u64; 2],
    /// Requests that were completed.
    pub(crate) completed: u64,
    /// These by the first digit of their status.
    pub(crate) statuses: [u64; 5],
    /// Bytes and reads of input, bytes and blocks of output.
    pub(crate) traffic: [u64; 4],
    /// How often requests took a GIL.
    pub(crate) gil_waits: u64,
    /// From httpd's to the application's work, all of it, and what requests waited for meanwhile; see
    /// [`PHASES`].
    pub(crate) phases: [Phase; PHASES.len()],
}

/// Names of the phases, in their order.
pub(crate) const PHASES: [&str; 8] = [
    "server",
    "queue",
    "daemon",
    "application",
    "request",
    "gil_wait",
    "input_read",
    "output_write",
];

impl Interval {
    const fn new() -> Self {
        Self {
            start: 0,
            stop: 0,
            cpu: [0; 2],
            cpu_used: [0; 2],
            completed: 0,
            statuses: [0; 5],
            traffic: [0; 4],
            gil_waits: 0,
            phases: [const { Phase::new() }; PHASES.len()],
        }
    }

    fn begin() -> Self {
        Self { start: os::wall_clock_micros(), cpu: os::cpu_micros(), ..Self::new() }
    }
}

struct State {
    interval: Interval,
    /// Threads that have run a request, by their numbers.
    threads: BTreeMap<i64, Thread>,
    /// How long threads have run requests before this interval, µs.
    busy: u64,
}

static RECORDING: AtomicBool = AtomicBool::new(false);
static COMPLETED: AtomicU64 = AtomicU64::new(0);
/// Held for moments, and never while Python runs.
static STATE: Mutex<State> =
    Mutex::new(State { interval: Interval::new(), threads: BTreeMap::new(), busy: 0 });

/// Begins to record, if that is not so yet.
pub(crate) fn start() {
    timing::want();
    let mut state = STATE.lock();
    if !RECORDING.swap(true, Ordering::Relaxed) {
        state.interval = Interval::begin();
    }
}

/// Moments of a request, µs since the epoch; 0 where there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// httpd began with it.
    pub(crate) request: i64,
    /// The child turned to the daemon.
    pub(crate) queue: i64,
    /// The daemon process took it.
    pub(crate) daemon: i64,
}

/// What a request has moved, and how long it has waited.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Statistics {
    /// HTTP status.
    pub(crate) status: u64,
    /// Bytes of output.
    pub(crate) output: u64,
    /// Blocks of it.
    pub(crate) writes: u64,
    /// How long it waited until they were taken; what is sent after the application is not in here.
    pub(crate) writing: Duration,
    /// Bytes of input.
    pub(crate) input: u64,
    /// Reads that asked httpd for it.
    pub(crate) reads: u64,
    /// How long they took.
    pub(crate) reading: Duration,
    /// Waits for the GIL.
    pub(crate) gil: Waits,
}

/// A request that is measured; dropped without an end when its thread panics.
pub(crate) struct Measured {
    /// Number of its thread.
    thread: i64,
    /// When the application was called.
    start: i64,
    /// CPU time of the thread then.
    cpu: u64,
}

/// The application is about to be called.
pub(crate) fn begin(thread: i64) -> Option<Measured> {
    if !RECORDING.load(Ordering::Relaxed) || os::is_forked_child() {
        return None;
    }
    let start = os::wall_clock_micros();
    STATE.lock().threads.entry(thread).or_default().current = Some(start);
    Some(Measured { thread, start, cpu: os::thread_cpu_micros() })
}

/// The request is over, but for what is still to be sent. When it is measured, how long sending took
/// so far, for [`sent`].
pub(crate) fn end(
    measured: Option<Measured>,
    moments: &Moments,
    statistics: impl FnOnce() -> Statistics,
) -> Option<Duration> {
    COMPLETED.fetch_add(1, Ordering::Relaxed);
    let measured = measured?;
    let statistics = statistics();
    let cpu = os::thread_cpu_micros().saturating_sub(measured.cpu);
    STATE.lock().end(&measured, moments, &statistics, os::wall_clock_micros(), cpu);
    Some(statistics.writing)
}

/// All of a request that is measured is sent, which took this long.
pub(crate) fn sent(writing: Duration) {
    let [.., output] = &mut STATE.lock().interval.phases;
    output.add_duration(writing);
}

impl Drop for Measured {
    fn drop(&mut self) {
        if let Some(thread) = STATE.lock().threads.get_mut(&self.thread) {
            thread.current = None;
        }
    }
}

fn between(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

impl State {
    fn end(
        &mut self,
        measured: &Measured,
        moments: &Moments,
        statistics: &Statistics,
        now: i64,
        cpu: u64,
    ) {
        let interval = &mut self.interval;
        interval.completed += 1;
        let class =
            statistics.status.checked_div(100).and_then(|class| usize::try_from(class).ok());
        if let Some(count) =
            class.and_then(|class| interval.statuses.get_mut(class.wrapping_sub(1)))
        {
            *count += 1;
        }
        let Statistics { input, reads, output, writes, .. } = *statistics;
        for (sum, number) in interval.traffic.iter_mut().zip([input, reads, output, writes]) {
            *sum += number;
        }
        interval.gil_waits += statistics.gil.count;
        // In embedded mode httpd's part goes on until the application begins.
        let server_end = if moments.queue > 0 { moments.queue } else { measured.start };
        let spans = [
            (moments.request, server_end),
            (moments.queue, moments.daemon),
            (moments.daemon, measured.start),
            (measured.start, now),
            (moments.request, now),
        ];
        for (phase, (from, to)) in interval.phases.iter_mut().zip(spans) {
            phase.add(from, to);
        }
        let [.., gil_wait, input_read, _] = &mut interval.phases;
        gil_wait.add_duration(statistics.gil.time);
        input_read.add_duration(statistics.reading);
        let thread = self.threads.entry(measured.thread).or_default();
        thread.current = None;
        thread.all += 1;
        thread.completed += 1;
        thread.busy += between(measured.start.max(interval.start), now);
        thread.cpu += cpu;
        thread.longest = thread.longest.max(between(measured.start, now));
    }

    /// Counts what running requests have taken of the interval until now.
    fn with_running(&self, now: i64) -> BTreeMap<i64, Thread> {
        let mut threads = self.threads.clone();
        for thread in threads.values_mut() {
            if let Some(start) = thread.current {
                thread.busy += between(start.max(self.interval.start), now);
            }
        }
        threads
    }
}

/// What is known of the process.
pub(crate) struct Process {
    /// Requests that were completed since its start.
    pub(crate) completed: u64,
    /// How long threads have run requests since recording began, µs.
    pub(crate) busy: u64,
    /// Its threads.
    pub(crate) threads: BTreeMap<i64, Thread>,
}

/// What is known of the process; None when nothing is recorded.
pub(crate) fn process() -> Option<Process> {
    if !RECORDING.load(Ordering::Relaxed) {
        return None;
    }
    let state = STATE.lock();
    let threads = state.with_running(os::wall_clock_micros());
    let busy = state.busy + threads.values().map(|thread| thread.busy).sum::<u64>();
    Some(Process { completed: COMPLETED.load(Ordering::Relaxed), busy, threads })
}

/// Ends the interval; what is known of it and its threads. None when nothing is recorded.
pub(crate) fn take_interval() -> Option<(Interval, BTreeMap<i64, Thread>)> {
    if !RECORDING.load(Ordering::Relaxed) {
        return None;
    }
    let mut state = STATE.lock();
    let next = Interval::begin();
    let threads = state.with_running(next.start);
    state.busy += threads.values().map(|thread| thread.busy).sum::<u64>();
    for thread in state.threads.values_mut() {
        *thread = Thread { all: thread.all, current: thread.current, ..Thread::default() };
    }
    let mut interval = std::mem::replace(&mut state.interval, next);
    interval.stop = state.interval.start;
    for ((used, before), now) in
        interval.cpu_used.iter_mut().zip(interval.cpu).zip(state.interval.cpu)
    {
        *used = now.saturating_sub(before);
    }
    Some((interval, threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_four_an_octave() {
        for (micros, expected) in [
            (0, 0),
            (999, 0),
            (1000, 0),
            (1249, 0),
            (1250, 1),
            (1999, 3),
            (2000, 4),
            (2500, 5),
            (4000, 8),
            (65_535_999, 63),
            (65_536_000, 64),
            (u64::MAX / 8, 64),
        ] {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
    }

    #[test]
    fn a_request_is_counted_in_each_phase() {
        let mut state = State { interval: Interval::new(), threads: BTreeMap::new(), busy: 0 };
        state.interval.start = 1500;
        let measured = Measured { thread: 7, start: 2000, cpu: 0 };
        let moments = Moments { request: 1000, queue: 1100, daemon: 1300 };
        let statistics = Statistics {
            status: 404,
            output: 10,
            writes: 2,
            input: 40,
            reads: 3,
            reading: Duration::from_micros(50),
            gil: Waits { time: Duration::from_micros(6), count: 2 },
            ..Statistics::default()
        };
        state.end(&measured, &moments, &statistics, 5000, 600);
        let sums = state.interval.phases.clone().map(|phase| (phase.count, phase.sum));
        let work = [(1, 100), (1, 200), (1, 700), (1, 3000), (1, 4000)];
        assert_eq!(sums[..5], work);
        // What writing took is known later.
        assert_eq!(sums[5..], [(1, 6), (1, 50), (0, 0)]);
        assert_eq!(state.interval.gil_waits, 2);
        assert_eq!(state.interval.statuses, [0, 0, 0, 1, 0]);
        assert_eq!(state.interval.traffic, [40, 3, 10, 2]);
        let thread = &state.threads[&7];
        assert_eq!((thread.completed, thread.busy, thread.cpu), (1, 3000, 600));
        let embedded = Moments { request: 1000, queue: 0, daemon: 0 };
        state.end(&measured, &embedded, &Statistics::default(), 5000, 0);
        let counts = state.interval.phases.clone().map(|phase| phase.count);
        assert_eq!(counts, [2, 1, 1, 2, 2, 2, 2, 0]);
        std::mem::forget(measured);
    }

    #[test]
    fn running_requests_count_as_busy() {
        let mut state = State { interval: Interval::new(), threads: BTreeMap::new(), busy: 0 };
        state.interval.start = 1000;
        state.threads.entry(1).or_default().current = Some(500);
        state.threads.entry(2).or_default().current = Some(1800);
        let busy: Vec<_> = state.with_running(2000).values().map(|thread| thread.busy).collect();
        assert_eq!(busy, [1000, 200]);
    }
}
