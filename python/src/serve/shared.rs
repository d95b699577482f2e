// SPDX-License-Identifier: Apache-2.0
//! What the threads of a daemon process share: the epoll set, the idle connections, counters, and
//! the decision to leave.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::{Control, Reason};
use mod_wsgi_protocol::region::Region;
use mod_wsgi_protocol::settings::Settings;
use parking_lot::Mutex;

use super::attendant::Errand;
use super::attendants::Attendants;
use super::interpreters::Interpreters;
use super::limits::Limits;
use super::monitor::seconds;
use super::running::{Clock, Running, RunningRequest};
use crate::exchange::Connection;
use crate::interp::Interpreter;
use crate::log::{self, Level};
use crate::os::{self, Epoll, Socket};
use crate::script;

/// What the threads of a daemon process share.
pub(super) struct Shared {
    /// What the configuration says.
    pub(super) settings: Settings,
    /// Shared memory of the process group.
    pub(super) region: Region<'static>,
    /// To the supervisor; each message is one send, so any thread may.
    pub(super) control: Socket,
    /// Where workers wait.
    pub(super) epoll: Epoll,
    /// Interpreters of this process.
    pub(super) interpreters: Interpreters,
    /// Connections that carry no request now. A worker that gets an event takes the connection out
    /// and so owns it; what is in here may be closed by the main thread.
    pub(super) idle: Mutex<HashMap<RawFd, Arc<Connection>>>,
    /// Workers that own a connection.
    running: AtomicUsize,
    /// Set once: requests that have not started are rejected.
    draining: AtomicBool,
    /// Requests that were run.
    count: AtomicU64,
    /// What each worker is doing.
    pub(super) workers: Vec<Arc<Running>>,
    /// Counts the time of this process.
    pub(super) clock: Clock,
    /// Who does with a GIL what timers want.
    pub(super) attendants: Attendants,
    /// Age from which on a request does not hold up the end, µs; None is never.
    stale: Option<u64>,
    /// When the last request began or ended that counts for `inactivity-timeout`; 0 is none yet.
    activity: AtomicU64,
    /// When the supervisor was told that it takes requests; 0 is not yet.
    ready: AtomicU64,
    /// Reasons for a replacement that the supervisor was told already, one bit each.
    told: AtomicU32,
    /// The first of them; 0 is none.
    first_told: AtomicU32,
    /// Why the main thread is to leave; 0 is no order.
    ordered: AtomicU32,
    /// Workers end while this is readable; the other end is `stop_workers`.
    stop: UnixStream,
    /// Its writing end.
    stop_workers: UnixStream,
    /// A byte for the main thread: a worker has become idle while draining.
    wake_main: UnixStream,
    /// Warnings about strangers and bad frames.
    warnings: Mutex<Warnings>,
}

/// A replacement is asked for when one part in so many of `maximum-requests` is left.
const LEAD: u64 = 10;

/// At most one warning a second; a client that misbehaves does not fill the log.
#[derive(Debug, Default)]
struct Warnings {
    /// When the last one was logged.
    last: Option<Instant>,
    /// How many were not logged since.
    suppressed: u64,
}

impl Shared {
    /// The second result is what the main thread waits on for workers.
    pub(super) fn new(
        settings: Settings,
        region: Region<'static>,
        control: Socket,
        interpreters: Interpreters,
    ) -> std::io::Result<(Self, UnixStream)> {
        let (stop, stop_workers) = UnixStream::pair()?;
        let (woken, wake_main) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake_main.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        epoll.add_level(stop.as_fd())?;
        let workers = (0..settings.threads).map(|_| Arc::new(Running::new())).collect();
        let stale = Limits::new(&settings).stale();
        let attendants = Attendants::new(settings.deadlock_timeout > 0);
        let shared = Self {
            settings,
            region,
            control,
            epoll,
            interpreters,
            idle: Mutex::default(),
            running: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            count: AtomicU64::new(0),
            workers,
            clock: Clock::start(),
            attendants,
            stale,
            activity: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            told: AtomicU32::new(0),
            first_told: AtomicU32::new(0),
            ordered: AtomicU32::new(0),
            stop,
            stop_workers,
            wake_main,
            warnings: Mutex::default(),
        };
        Ok((shared, woken))
    }

    /// Descriptor whose event means that workers end.
    pub(super) fn stop_event(&self) -> RawFd {
        use std::os::fd::AsRawFd;
        self.stop.as_raw_fd()
    }

    /// Ends all workers that wait.
    pub(super) fn stop_workers(&self) {
        // The socket is empty, so one byte always goes.
        let _ = (&self.stop_workers).write(&[0]);
    }

    /// From now on requests that have not started are rejected, and idle connections are closed.
    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    /// Whether requests that have not started are rejected.
    pub(super) fn is_draining(&self) -> bool {
        // Who signals this process expects it of the next request, whenever the main thread hears.
        self.draining.load(Ordering::SeqCst) || os::is_told_to_stop()
    }

    /// Workers that own a connection.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// A worker takes a connection. Counted before it looks whether the process is draining, so
    /// that the main thread, which looks the other way round, sees it.
    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Ordering::SeqCst);
    }

    /// A worker has given its connection up.
    pub(super) fn end(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.is_draining() {
            // A full socket wakes as well.
            let _ = (&self.wake_main).write(&[0]);
        }
    }

    /// Puts a connection back; false when it is to be closed.
    pub(super) fn put_back(&self, connection: Arc<Connection>) -> bool {
        let number = connection.socket().number();
        let mut idle = self.idle.lock();
        if self.is_draining() {
            return false;
        }
        idle.insert(number, connection);
        drop(idle);
        // After a drain that came in between, the descriptor is closed and this fails.
        let _ = self.epoll.arm(number);
        true
    }

    /// Adds a new connection.
    pub(super) fn add(&self, connection: Arc<Connection>) -> std::io::Result<()> {
        let number = connection.socket().number();
        self.idle.lock().insert(number, Arc::clone(&connection));
        let added = self.epoll.add_once(connection.socket().descriptor());
        if added.is_err() {
            self.idle.lock().remove(&number);
        }
        added
    }

    /// Counts a request; whether the process may take it, and whether it was its last.
    pub(super) fn count_request(&self) -> Quota {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let maximum = self.settings.maximum_requests;
        // Asked for before it is needed, the replacement is ready when the time has come.
        let asked = maximum - maximum / LEAD;
        if maximum == 0 || count < asked {
            Quota::Within
        } else if count == asked {
            Quota::Last
        } else if count == maximum.saturating_mul(2) {
            Quota::Exhausted
        } else if count <= maximum {
            Quota::Within
        } else {
            Quota::Beyond
        }
    }

    /// Tells the supervisor to replace this process, once for each reason.
    pub(super) fn ask_for_replacement(&self, reason: Reason) {
        let bit = 1 << (reason as u32);
        if self.told.fetch_or(bit, Ordering::SeqCst) & bit == 0 {
            let (first, order) = (reason as u32, Ordering::SeqCst);
            // Only the first one stays.
            let _ = self.first_told.compare_exchange(0, first, order, order);
            let detail = match reason {
                Reason::ScriptChanged => script::seen_change(),
                _ => 0,
            };
            self.send(&Control::Replace.encode_with(reason as u32, detail));
        }
    }

    /// A request is over that stood so to `maximum-requests`: the supervisor is told where that means
    /// something to it.
    pub(super) fn act_on_quota(&self, quota: Quota) {
        match quota {
            Quota::Last => self.ask_for_replacement(Reason::MaximumRequests),
            Quota::Exhausted => {
                self.send(&Control::Replace.encode_with(Reason::MaximumRequests as u32, 1));
            }
            Quota::Within | Quota::Beyond => {}
        }
    }

    /// The replacement that was asked for for this reason does not come: it may be asked for again.
    pub(super) fn forget_reason(&self, reason: Reason) {
        self.told.fetch_and(!(1 << (reason as u32)), Ordering::SeqCst);
        let (known, order) = (reason as u32, Ordering::SeqCst);
        // It stays if it is another one.
        let _ = self.first_told.compare_exchange(known, 0, order, order);
    }

    /// Why a replacement was first asked for, if it was.
    pub(super) fn reason_told(&self) -> Option<Reason> {
        Reason::from_u32(self.first_told.load(Ordering::SeqCst))
    }

    /// Says that the process takes requests.
    pub(super) fn set_ready(&self) {
        // The supervisor's end is heard of over the control socket from now on.
        os::outlive_parent();
        self.ready.store(self.clock.now(), Ordering::SeqCst);
        self.tell(Control::Ready, Reason::Supervisor);
    }

    /// Whether the process has said that it takes requests.
    pub(super) fn is_ready(&self) -> bool {
        self.ready_since().is_some()
    }

    /// Since when it takes requests.
    pub(super) fn ready_since(&self) -> Option<u64> {
        let ready = self.ready.load(Ordering::SeqCst);
        (ready != 0).then_some(ready)
    }

    /// Has the main thread leave at once. The supervisor knows it before that, and no further
    /// request begins, whatever the main thread is doing.
    pub(super) fn order_to_leave(&self, reason: Reason) {
        let ordered =
            self.ordered.compare_exchange(0, reason as u32, Ordering::SeqCst, Ordering::SeqCst);
        if ordered.is_ok() {
            self.tell(Control::Leaving, reason);
            self.start_draining();
            // A full socket wakes as well.
            let _ = (&self.wake_main).write(&[0]);
        }
    }

    /// Why the main thread is to leave at once, if it is.
    pub(super) fn order(&self) -> Option<Reason> {
        Reason::from_u32(self.ordered.load(Ordering::SeqCst))
    }

    /// Sends a message to the supervisor.
    pub(super) fn tell(&self, control: Control, reason: Reason) {
        self.send(&control.encode(reason as u32));
    }

    fn send(&self, message: &[u8]) {
        // A supervisor that is gone shows itself on the main thread.
        let _ = self.control.send(&[IoSlice::new(message)], None, false);
    }

    /// A request begins or ends.
    pub(super) fn note_activity(&self, now: u64) {
        self.activity.store(now, Ordering::Relaxed);
    }

    /// When the last one began or ended that counts.
    pub(super) fn last_activity(&self) -> Option<u64> {
        let last = self.activity.load(Ordering::Relaxed);
        (last != 0).then_some(last)
    }

    /// The requests that run.
    pub(super) fn requests(&self) -> impl Iterator<Item = RunningRequest> {
        self.workers.iter().enumerate().filter_map(|(index, worker)| worker.request(index))
    }

    fn is_stale(&self, request: &RunningRequest, now: u64) -> bool {
        self.stale.is_some_and(|stale| request.age(now) >= stale)
    }

    /// Whether every worker has a request that is out of time for good.
    pub(super) fn are_all_stale(&self) -> bool {
        let now = self.clock.now();
        let stale = self.requests().filter(|request| self.is_stale(request, now)).count();
        stale > 0 && stale == self.workers.len()
    }

    /// Workers that hold up the end, and when one of them does so no more.
    pub(super) fn unfinished(&self) -> (usize, Option<Instant>) {
        let Some(limit) = self.stale else { return (self.running(), None) };
        let now = self.clock.now();
        let (mut stale, mut next) = (0, u64::MAX);
        for request in self.requests() {
            if self.is_stale(&request, now) {
                stale += 1;
            } else {
                next = next.min(request.began.saturating_add(limit));
            }
        }
        let next = (next != u64::MAX).then(|| self.clock.instant(next));
        (self.running().saturating_sub(stale), next)
    }

    /// The requests that run, as the end of a sentence for the log.
    pub(super) fn running_requests(&self) -> String {
        const NAMED: usize = 5;
        let now = self.clock.now();
        let all: Vec<String> = self
            .requests()
            .map(|request| {
                format!("{} for {} s", request.name(&self.region), seconds(request.age(now)))
            })
            .collect();
        let named = all.get(..NAMED.min(all.len())).unwrap_or_default().join(", ");
        match all.len() {
            0 => String::new(),
            count @ ..=NAMED => format!("; {count} running: {named}"),
            count => format!("; {count} running: {named} and {} more", count - NAMED),
        }
    }

    /// The worker of a request, if it still runs it, and the interpreter that it is in.
    pub(super) fn thread_of(
        &self,
        request: &RunningRequest,
    ) -> (Option<Arc<Running>>, Option<&'static Interpreter>) {
        let worker = self.workers.get(request.worker).filter(|worker| worker.runs(request.began));
        (worker.cloned(), worker.and_then(|worker| worker.thread.interpreter()))
    }

    /// Has the Python stack of a request logged, as soon as the GIL can be had.
    pub(super) fn log_stack(&self, number: &str, request: &RunningRequest, now: u64) {
        let (Some(of), Some(interpreter)) = self.thread_of(request) else { return };
        let name = request.name(&self.region);
        let headline = self.sentence(&format!("{number}: stack of {name}:"));
        let errand = Errand::Stack { of, request: request.began, headline };
        self.attendants.ask(self, interpreter, now, errand);
    }

    /// As [`Self::log_stack`], for all that run.
    pub(super) fn log_stacks(&self, number: &str, now: u64) {
        for request in self.requests() {
            self.log_stack(number, &request, now);
        }
    }

    fn sentence(&self, text: &str) -> String {
        let group = String::from_utf8_lossy(&self.settings.process_group);
        format!("daemon process {} of WSGI process group '{group}': {text}", std::process::id())
    }

    /// Logs what the process has to say of itself.
    pub(super) fn say(&self, level: Level, text: &str) {
        log::process(level, &self.sentence(text));
    }

    /// Logs a warning, at most one a second.
    pub(super) fn warn(&self, text: &str) {
        let mut warnings = self.warnings.lock();
        if warnings.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            warnings.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut warnings.suppressed);
        warnings.last = Some(Instant::now());
        drop(warnings);
        let group = String::from_utf8_lossy(&self.settings.process_group);
        let more = match suppressed {
            0 => String::new(),
            count => format!(" ({count} more like this were not logged)"),
        };
        log::process(Level::Warning, &format!("process group '{group}': {text}{more}"));
    }
}

/// How a request stands to `maximum-requests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quota {
    /// More will follow.
    Within,
    /// It is (nearly) the last one that the process was meant for.
    Last,
    /// It is the last one that the process takes while there is hope for another.
    Exhausted,
    /// The process serves it because its replacement is not there yet.
    Beyond,
}
