// SPDX-License-Identifier: Apache-2.0
//! The main thread of a daemon process, from its start to the moment when Python finalises.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::{Control, Reason};
use mod_wsgi_protocol::settings::Settings;

use super::control::{Happening, Waiting};
use super::gate;
use super::interpreters::{Interpreters, Visits};
use super::monitor::Monitor;
use super::service;
use super::shared::Shared;
use super::signals::Announcer;
use super::start::{self, Inheritance, StartError};
use super::{template, worker};
use crate::api;
use crate::exchange::Connection;
use crate::interp::{Outcome, Seat, clear_exception};
use crate::log::{self, Level};
use crate::os::{self, Listener, Signal, SignalPipe};
use crate::scoreboard;
use crate::script;
use crate::wsgi::leave_if_forked;

/// What a connection takes before the httpd child has read, in bytes, unless `send-buffer-size` says
/// otherwise. The kernel doubles it, so that a few blocks of 64 KiB are under way, and takes memory
/// only for what is there; 208 KiB is what it allows everywhere (net.core.wmem_max). Measured: less
/// has the two processes wait for one another, more leaves the processor's cache.
const SEND_BUFFER: u32 = 208 << 10;

/// Serves until the process shall end; `seat` is that of the main thread.
pub(crate) fn run(seat: &Seat) -> Outcome {
    let started = start::inherit().and_then(|inheritance| match inheritance.settings.threads {
        0 => service::run(seat, inheritance),
        // What the application has registered for the end is run by processes that serve: here it
        // would take away what they still use.
        _ => Daemon::start(seat, inheritance)
            .map(|daemon| daemon.map_or_else(|| os::exit_now(0), Daemon::serve)),
    });
    started.unwrap_or_else(|error| {
        log::process(Level::Critical, &error.to_string());
        Outcome::Exit(1)
    })
}

/// After a failure to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The main thread of a daemon process.
struct Daemon<'a> {
    /// Its seat in the main interpreter.
    seat: &'a Seat,
    /// What it shares with the workers.
    shared: Arc<Shared>,
    /// Where connections come from; None when no more are taken.
    listener: Option<Listener>,
    /// Signals.
    signals: SignalPipe,
    /// From workers that have become idle.
    woken: UnixStream,
    /// Has the timers, and ends the process in the end.
    monitor: Monitor,
    /// Tells applications of signals.
    announcer: Announcer,
    /// The workers.
    workers: Vec<std::thread::JoinHandle<()>>,
    /// Why the process leaves; None while it serves.
    leaving: Option<Reason>,
    /// Until when it only waits for what runs; None once it stops, or while it serves.
    draining: Option<Drain>,
    /// Whether subscribers know that it leaves.
    published: bool,
    /// When connections are accepted again, after that has failed.
    accept_again: Option<Instant>,
    /// Until when running requests may go on at most.
    deadline: Option<Instant>,
}

/// A time in which the process takes no more requests, and those that run are not hurried.
#[derive(Debug, Clone, Copy)]
struct Drain {
    /// Its end; None is without limit.
    until: Option<Instant>,
}

impl<'a> Daemon<'a> {
    /// Nothing when it is not to serve: it was a template, stood by, or has code that is not wanted.
    fn start(seat: &'a Seat, mut inheritance: Inheritance) -> Result<Option<Self>, StartError> {
        let system = |what| move |error| StartError::System(what, error);
        let signals = SignalPipe::install().map_err(system("signal handlers"))?;
        let settings = &inheritance.settings;
        start::set_up(seat, settings, Some(signals.writing_end()))?;
        let interpreters = Interpreters::new(seat.interpreter(), settings.interpreters);
        if settings.is_template {
            inheritance = match template::run(seat, &signals, &interpreters, inheritance)? {
                Some(worker) => worker,
                None => return Ok(None),
            };
        }
        let Inheritance { control, listener, region, metrics, settings } = inheritance;
        metrics.into_iter().for_each(scoreboard::ask_supervisor);
        let (shared, woken) = Shared::new(settings, region, control, interpreters)
            .map_err(system("worker threads can not be woken"))?;
        let shared = Arc::new(shared);
        let monitor = Monitor::start(&shared).map_err(system("WSGI0068: no thread for timers"))?;
        if !gate::pass(&shared, &signals, seat) {
            return Ok(None);
        }
        gate::remember_scripts(&shared);
        let mut workers = Vec::new();
        for (running, number) in shared.workers.iter().zip(1..) {
            let worker = worker::start(&shared, running, number)
                .map_err(system("WSGI0022: no thread for a worker"))?;
            workers.push(worker);
        }
        shared.set_ready();
        Ok(Some(Self {
            seat,
            shared,
            listener,
            signals,
            woken,
            monitor,
            announcer: Announcer::default(),
            workers,
            leaving: None,
            draining: None,
            published: false,
            accept_again: None,
            deadline: None,
        }))
    }

    fn serve(mut self) -> Outcome {
        loop {
            if self.leaving.is_some() && self.shared.running() == 0 {
                return self.finish();
            }
            let next = self.end_of_drain();
            let waiting =
                Waiting { shared: &self.shared, signals: &self.signals, woken: &self.woken };
            let listener = self.listener.as_ref().filter(|_| self.accept_again.is_none());
            let next = self.accept_again.into_iter().chain(next).min();
            let pause = next.map(|at| at.saturating_duration_since(Instant::now()));
            let happened = waiting.next(listener, pause);
            if self.accept_again.is_some_and(|at| at <= Instant::now()) {
                self.accept_again = None;
            }
            for happening in happened {
                self.act(happening);
            }
        }
    }

    fn act(&mut self, happening: Happening) {
        let timeout = self.shared.settings.shutdown_timeout;
        match happening {
            Happening::Drain(seconds) => {
                let reason = self.shared.reason_told().unwrap_or(Reason::Supervisor);
                self.drain(reason, seconds);
            }
            Happening::Stop(seconds) => {
                let reason = self.shared.reason_told().unwrap_or(Reason::Supervisor);
                self.stop(reason, seconds);
            }
            Happening::Keep(modified) => {
                script::keep(modified);
                self.shared.forget_reason(Reason::ScriptChanged);
                // From now on no request is rejected for that change.
                self.shared.tell(Control::Ready, Reason::Supervisor);
            }
            Happening::Orphaned => {
                let was_leaving = self.leaving.is_some();
                if !was_leaving {
                    log::process(Level::Info, "the supervisor is gone: this daemon process leaves");
                }
                // Nobody is there any more for whom the end of a drain would be too early.
                self.stop(Reason::Supervisor, time_to_end(&self.shared.settings));
                if was_leaving {
                    // The socket stays readable: it must not be waited on again.
                    self.wait_without_supervisor();
                }
            }
            Happening::Signal(Signal::Stop) => {
                if self.leaving.is_none() {
                    self.shared.tell(Control::Leaving, Reason::ShutdownSignal);
                }
                self.stop(Reason::ShutdownSignal, timeout);
            }
            Happening::Signal(Signal::Graceful) => {
                let is_eviction = self.shared.settings.eviction_timeout > 0;
                self.ask_for_replacement(match is_eviction {
                    true => Reason::EvictionSignal,
                    false => Reason::GracefulSignal,
                });
            }
            Happening::Signal(Signal::CpuTime) => self.ask_for_replacement(Reason::CpuTimeLimit),
            Happening::Signal(Signal::Published(signal)) => {
                if self.leaving.is_none() {
                    self.announcer.announce(&self.shared, signal);
                }
            }
            Happening::Signal(Signal::Python) => start::run_signal_handlers(self.seat),
            Happening::Connections => self.accept(),
            Happening::Woken => {
                if let Some(reason) = self.shared.order() {
                    self.stop(reason, timeout);
                }
            }
        }
    }

    fn ask_for_replacement(&self, reason: Reason) {
        if self.leaving.is_none() {
            self.shared.ask_for_replacement(reason);
        }
    }

    /// Takes no more requests, and waits for those that run: `seconds` (0: without limit), and then as
    /// long as after [`Self::stop`]. Told again, the earlier moment counts.
    fn drain(&mut self, reason: Reason, seconds: u32) {
        if self.leaving.is_some() && self.draining.is_none() {
            return;
        }
        let seconds = match (reason, self.shared.settings.eviction_timeout) {
            (Reason::EvictionSignal, eviction @ 1..) => eviction,
            _ => seconds,
        };
        let before = self.draining.and_then(|drain| drain.until);
        let until = before.into_iter().chain(limit(seconds)).min();
        self.draining = Some(Drain { until });
        let timeout = self.shared.settings.shutdown_timeout;
        let deadline = until.filter(|_| timeout > 0).map(|until| until + duration(timeout));
        self.leave(reason, deadline);
    }

    /// Takes no more requests; those that run may go on for `seconds` (0: without limit).
    fn stop(&mut self, reason: Reason, seconds: u32) {
        self.draining = None;
        self.leave(reason, limit(seconds));
        self.publish_stopping();
    }

    fn leave(&mut self, reason: Reason, deadline: Option<Instant>) {
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        self.leaving = Some(self.leaving.unwrap_or(reason));
        self.monitor.limit(self.deadline, "the end of the requests that it runs");
        self.listener = None;
        self.shared.start_draining();
    }

    /// Ends a drain whose time is over, or in which only requests are left that are out of time
    /// themselves. When to look again.
    fn end_of_drain(&mut self) -> Option<Instant> {
        let drain = self.draining?;
        let (unfinished, next) = self.shared.unfinished();
        let is_over = drain.until.is_some_and(|until| until <= Instant::now());
        if unfinished > 0 && !is_over {
            return drain.until.into_iter().chain(next).min();
        }
        if is_over {
            let running = self.shared.running_requests();
            let text = format!(
                "WSGI0344: requests did not end in the time that they had when the process was to be replaced (graceful-timeout){running}"
            );
            self.shared.say(Level::Warning, &text);
            self.shared.log_stacks("WSGI0344", self.shared.clock.now());
        }
        self.stop(
            self.leaving.unwrap_or(Reason::Supervisor),
            self.shared.settings.shutdown_timeout,
        );
        None
    }

    fn wait_without_supervisor(&self) {
        // Nothing can be told any more; the monitor bounds this.
        while self.shared.running() > 0 {
            let woken = [Some(std::os::fd::AsFd::as_fd(&self.woken))];
            if os::poll_readable(woken, None).is_ok() {
                let mut bytes = [0; 64];
                let _ = std::io::Read::read(&mut &self.woken, &mut bytes);
            }
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        loop {
            match listener.accept() {
                Ok(Some(socket)) => self.admit(socket),
                Ok(None) => return,
                Err(error) => {
                    // No descriptor left, for instance: asking again at once would change nothing.
                    self.shared.warn(&format!("a connection can not be accepted: {error}"));
                    self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// Adds a connection, if its other end is one of our httpd children.
    fn admit(&self, socket: os::Socket) {
        let settings = &self.shared.settings;
        let refused = match socket.peer() {
            Err(error) => Some(format!("its other end is unknown: {error}")),
            Ok(peer) if peer.uid != settings.peer_uid => {
                Some(format!("user id {} is not {}", peer.uid, settings.peer_uid))
            }
            Ok(peer) if !self.shared.region.is_owner(peer.pid) => {
                Some(format!("process {} is no httpd child of this server", peer.pid))
            }
            Ok(_) => None,
        };
        if let Some(problem) = refused {
            self.shared.warn(&format!("a connection is refused: {problem}"));
            return;
        }
        let send = match settings.send_buffer_size {
            0 => SEND_BUFFER,
            size => size,
        };
        let receive = settings.receive_buffer_size;
        if let Err((what, error)) = socket.set_buffers(send, receive) {
            self.shared.warn(&format!("{what} can not be set: {error}"));
        }
        if settings.socket_timeout > 0 {
            let timeout = Duration::from_secs(u64::from(settings.socket_timeout));
            if let Err(error) = socket.set_timeout(timeout) {
                self.shared.warn(&format!("socket-timeout can not be set: {error}"));
            }
        }
        if let Err(error) = self.shared.add(Arc::new(Connection::new(socket))) {
            self.shared.warn(&format!("a connection can not be waited for: {error}"));
        }
    }

    fn publish_stopping(&mut self) {
        if std::mem::replace(&mut self.published, true) {
            return;
        }
        let reason = self.leaving.unwrap_or(Reason::Supervisor).name();
        let publish = |seat: &Seat| {
            seat.attach(|py| {
                api::process_stopping(py, reason);
                clear_exception(py);
            });
            leave_if_forked();
        };
        publish(self.seat);
        let interpreters = &self.shared.interpreters;
        if interpreters.has_subs() {
            let mut visits = Visits::new(interpreters, 0);
            for visit in visits.subs(interpreters) {
                publish(visit.seat());
            }
            visits.leave();
        }
    }

    /// Nothing runs any more.
    fn finish(mut self) -> Outcome {
        let shared = Arc::clone(&self.shared);
        let settings = &shared.settings;
        let deadline = limit(time_to_end(settings));
        let deadline = match (self.deadline, deadline) {
            (Some(requests), Some(exit)) => Some(requests.max(exit)),
            (requests, exit) => requests.or(exit),
        };
        self.monitor.limit(deadline, "the end of Python's exit functions");
        self.publish_stopping();
        // What waits for a GIL when Python finalises would never come back.
        self.announcer.stop();
        self.shared.attendants.stop();
        self.shared.stop_workers();
        for worker in self.workers.drain(..) {
            // A worker that has panicked is over as well.
            let _ = worker.join();
        }
        if self.shared.interpreters.has_subs() || settings.skip_finalisation {
            // CPython ends the whole process with an error when threads of an application are left
            // in a sub-interpreter, so these are not ended: each runs what it has for its end.
            let mut visits = Visits::new(&self.shared.interpreters, 0);
            for visit in visits.everywhere(&self.shared.interpreters) {
                visit.seat().attach(|py| api::run_exit_functions(py, settings));
            }
            // What C code has printed.
            os::flush_standard_io();
            os::exit_now(0);
        }
        Outcome::Finish
    }
}

/// Seconds that a process has to end when it has no requests, and with them when its supervisor is
/// gone: without limit it would stay for ever where it cannot end.
pub(super) fn time_to_end(settings: &Settings) -> u32 {
    match settings.shutdown_timeout {
        0 => 5,
        seconds => seconds,
    }
}

fn duration(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// The moment `seconds` from now; None without limit.
pub(super) fn limit(seconds: u32) -> Option<Instant> {
    (seconds > 0).then(|| Instant::now() + duration(seconds))
}
