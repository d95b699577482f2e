// SPDX-License-Identifier: Apache-2.0
//! The thread with the timers of a daemon process. It sleeps until the nearest deadline, needs no GIL
//! and waits for nobody, so that no timer depends on another one or on what the application does.
//! What has to be done with a GIL is the business of attendants.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::Reason;
use parking_lot::{Condvar, Mutex};

use super::attendants::Wedged;
use super::limits::Limits;
use super::requests::Watch;
use super::shared::Shared;
use crate::log::Level;
use crate::os;
use crate::script;

/// When the process must be gone, and the way to wake the thread.
#[derive(Debug, Clone)]
pub(super) struct Monitor(Arc<(Mutex<Limit>, Condvar)>);

#[derive(Debug, Clone)]
struct Limit {
    /// None is without limit.
    deadline: Option<Instant>,
    /// What is being waited for, for the log.
    what: &'static str,
}

impl Monitor {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let limit = Limit { deadline: None, what: "" };
        let monitor = Self(Arc::new((Mutex::new(limit), Condvar::new())));
        let rounds = Rounds {
            monitor: monitor.clone(),
            limits: Limits::new(&shared.settings),
            shared: Arc::clone(shared),
            requests: Watch::default(),
            fired: [false; 4],
        };
        std::thread::Builder::new().name("wsgi-monitor".to_owned()).spawn(move || rounds.go())?;
        Ok(monitor)
    }

    /// Sets the moment at which the process ends if it has not ended by itself: application threads
    /// that never finish, exit functions that hang, a GIL that nobody gives back.
    pub(super) fn limit(&self, deadline: Option<Instant>, what: &'static str) {
        let (limit, changed) = &*self.0;
        *limit.lock() = Limit { deadline, what };
        changed.notify_all();
    }

    /// The process must be gone at `deadline`, if it need not be earlier.
    fn limit_at_most(&self, deadline: Instant, what: &'static str) {
        let mut limit = self.0.0.lock();
        if limit.deadline.is_none_or(|known| known > deadline) {
            *limit = Limit { deadline: Some(deadline), what };
        }
    }
}

/// Timers that fire once.
#[derive(Debug, Clone, Copy)]
enum Once {
    Startup,
    Restart,
    Deadlock,
    Inactivity,
}

/// The thread.
struct Rounds {
    /// Where the end of the process is written.
    monitor: Monitor,
    /// What is watched.
    limits: Limits,
    /// The process.
    shared: Arc<Shared>,
    /// Timers of requests.
    requests: Watch,
    /// Which of [`Once`] have fired.
    fired: [bool; 4],
}

impl Rounds {
    fn go(mut self) {
        let monitor = self.monitor.clone();
        let (limit, changed) = &*monitor.0;
        loop {
            let next = self.round();
            let mut limit = limit.lock();
            let now = Instant::now();
            if limit.deadline.is_some_and(|deadline| now >= deadline) {
                let what = limit.what;
                drop(limit);
                self.shared.say(
                    Level::Info,
                    &format!(
                        "process ends without {what}: its time is up{}",
                        self.shared.running_requests()
                    ),
                );
                os::exit_now(1);
            }
            match (limit.deadline, next) {
                (None, None) => changed.wait(&mut limit),
                (deadline, next) => {
                    if let Some(at) = deadline.into_iter().chain(next).min() {
                        changed.wait_until(&mut limit, at);
                    }
                }
            }
        }
    }

    /// Looks at every timer; when there is something to look at again. None is never.
    fn round(&mut self) -> Option<Instant> {
        let now = self.shared.clock.now();
        let mut next = self.requests.round(&self.shared, &self.limits, now);
        if self.requests.is_out_of_time() {
            self.leave(Reason::RequestTimeout);
        }
        for timer in [Self::startup, Self::restart_interval, Self::deadlock, Self::inactivity] {
            next = next.min(timer(self, now));
        }
        (next != u64::MAX).then(|| self.shared.clock.instant(next))
    }

    fn has_fired(&self, timer: Once) -> bool {
        self.fired.get(timer as usize).copied().unwrap_or(true)
    }

    fn set_fired(&mut self, timer: Once) {
        if let Some(fired) = self.fired.get_mut(timer as usize) {
            *fired = true;
        }
    }

    fn startup(&mut self, now: u64) -> u64 {
        let Some(limit) = self.limits.startup.filter(|_| !self.has_fired(Once::Startup)) else {
            return u64::MAX;
        };
        let deadline = match script::first_load() {
            script::FirstLoad::Done => {
                self.set_fired(Once::Startup);
                return u64::MAX;
            }
            // One that begins later has a later deadline than this.
            script::FirstLoad::NotYet => return now.saturating_add(limit),
            script::FirstLoad::Since(began) => {
                self.shared.clock.moment(began).saturating_add(limit)
            }
        };
        if now < deadline {
            return deadline;
        }
        self.set_fired(Once::Startup);
        self.shared.say(
            Level::Warning,
            &format!(
                "WSGI0341: the WSGI script was not loaded within {} s (startup-timeout); the process is replaced",
                seconds(limit)
            ),
        );
        self.shared.log_stacks("WSGI0341", now);
        self.leave(Reason::StartupTimeout);
        u64::MAX
    }

    fn restart_interval(&mut self, now: u64) -> u64 {
        let Some(interval) = self.limits.restart.filter(|_| !self.has_fired(Once::Restart)) else {
            return u64::MAX;
        };
        if self.shared.is_draining() {
            return u64::MAX;
        }
        // One that becomes ready later is as old later.
        let Some(ready) = self.shared.ready_since() else { return now.saturating_add(interval) };
        let deadline = ready.saturating_add(interval);
        if now < deadline {
            return deadline;
        }
        self.set_fired(Once::Restart);
        self.shared.say(
            Level::Info,
            &format!(
                "it has served for {} s (restart-interval) and is to be replaced",
                seconds(now - ready)
            ),
        );
        self.shared.ask_for_replacement(Reason::RestartInterval);
        u64::MAX
    }

    fn deadlock(&mut self, now: u64) -> u64 {
        let Some(limit) = self.limits.deadlock.filter(|_| !self.has_fired(Once::Deadlock)) else {
            return u64::MAX;
        };
        let (wedged, next) = self.shared.attendants.probe(&self.shared, now, limit);
        let Some(Wedged { interpreter, since, stacks }) = wedged else { return next };
        self.set_fired(Once::Deadlock);
        self.shared.say(
            Level::Error,
            &format!(
                "WSGI0342: the GIL of {interpreter} was not to be had for {} s (deadlock-timeout); the process is replaced{}\n{stacks}",
                seconds(now - since.min(now)),
                self.shared.running_requests()
            ),
        );
        self.leave(Reason::DeadlockTimeout);
        u64::MAX
    }

    fn inactivity(&mut self, now: u64) -> u64 {
        let Some(limit) = self.limits.inactivity.filter(|_| !self.has_fired(Once::Inactivity))
        else {
            return u64::MAX;
        };
        if self.shared.is_draining() {
            return u64::MAX;
        }
        // What begins or ends later has a later deadline than this.
        let later = now.saturating_add(limit);
        let Some(last) = self.shared.last_activity() else { return later };
        if self.shared.running() > 0 {
            return later;
        }
        let deadline = last.saturating_add(limit);
        if now < deadline {
            return deadline;
        }
        self.set_fired(Once::Inactivity);
        self.shared.say(
            Level::Info,
            &format!("no request came for {} s (inactivity-timeout); it leaves", seconds(limit)),
        );
        self.leave(Reason::InactivityTimeout);
        u64::MAX
    }

    /// The process leaves now. The main thread does that, but must not be able to prevent it.
    fn leave(&self, reason: Reason) {
        if !self.shared.is_ready() {
            // As for any other start that fails: the supervisor pauses before the next one.
            os::exit_now(1);
        }
        let timeout = self.shared.settings.shutdown_timeout;
        if timeout > 0 {
            let deadline = Instant::now() + Duration::from_secs(u64::from(timeout));
            self.monitor.limit_at_most(deadline, "the end of the requests that it runs");
        }
        self.shared.order_to_leave(reason);
    }
}

/// Microseconds as seconds, for the log.
pub(super) fn seconds(micros: u64) -> String {
    format!("{:.1}", micros as f64 / 1e6)
}
