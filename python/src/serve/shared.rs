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

use super::interpreters::Interpreters;
use crate::exchange::Connection;
use crate::log::{self, Level};
use crate::os::{Epoll, Socket};
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
    requests: AtomicU64,
    /// Reasons for a replacement that the supervisor was told already, one bit each.
    told: AtomicU32,
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
        let shared = Self {
            settings,
            region,
            control,
            epoll,
            interpreters,
            idle: Mutex::default(),
            running: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            told: AtomicU32::new(0),
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
        self.draining.load(Ordering::SeqCst)
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

    /// Its set in the process group.
    pub(super) fn set(&self) -> Option<u32> {
        self.region.process(self.settings.process_slot).map(|process| process.set())
    }

    /// Counts a request; whether the process may take it, and whether it was its last.
    pub(super) fn count_request(&self) -> Quota {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
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
            let detail = match reason {
                Reason::ScriptChanged => script::seen_change(),
                _ => 0,
            };
            self.send(&Control::Replace.encode_with(reason as u32, detail));
        }
    }

    /// Tells the supervisor that the process, which is to be replaced for that reason, has served
    /// twice as many requests as it should.
    pub(super) fn tell_exhausted(&self) {
        self.send(&Control::Replace.encode_with(Reason::MaximumRequests as u32, 1));
    }

    /// The replacement that was asked for for this reason does not come: it may be asked for again.
    pub(super) fn forget_reason(&self, reason: Reason) {
        self.told.fetch_and(!(1 << (reason as u32)), Ordering::SeqCst);
    }

    /// Why a replacement was asked for, if it was.
    pub(super) fn reason_told(&self) -> Option<Reason> {
        let told = self.told.load(Ordering::SeqCst);
        (1..32).filter(|bit| told & (1 << bit) != 0).find_map(Reason::from_u32)
    }

    /// Sends a message to the supervisor.
    pub(super) fn tell(&self, control: Control, reason: Reason) {
        self.send(&control.encode(reason as u32));
    }

    fn send(&self, message: &[u8]) {
        // A supervisor that is gone shows itself on the main thread.
        let _ = self.control.send(&[IoSlice::new(message)], None, false);
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
