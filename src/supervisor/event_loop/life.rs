// SPDX-License-Identifier: Apache-2.0
//! The life of daemon processes: starting what is missing, their messages, replacing, draining and
//! killing them.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::{CONTROL_SIZE, Control, Reason, set_name};
use mod_wsgi_protocol::region::ProcessState;
use mod_wsgi_protocol::settings::Settings;

use super::sets::MAX_BACK_OFF;
use super::template::Birth;
use super::token::Token;
use super::{MESSAGES_A_TURN, Supervisor};
use crate::httpd::log::{self, Level};
use crate::os::process::end_now;
use crate::os::socket::{self, receive_now};
use crate::supervisor::launch::{self, Ends, Started};
use crate::supervisor::output::{Lines, Output};
use crate::supervisor::process::{self, DaemonProcess, Role, Said};
use crate::supervisor::scaling::Idleness;

/// Most processes of a set that stand by.
const MAX_STANDBYS: usize = 4;

/// Longest pause before the next process of a set whose processes were told to leave by a signal as
/// soon as they were started.
const SIGNAL_PAUSE: Duration = Duration::from_secs(1);

/// The first of several moments.
struct Earliest(Option<Instant>);

impl Earliest {
    fn extend(&mut self, at: Option<Instant>) {
        self.0 = match (self.0, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
    }
}

impl Supervisor<'_> {
    /// Starts what is missing, kills what is overdue. Returns how long nothing else needs doing.
    pub(super) fn maintain(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let mut next = Earliest(None);
        self.kill_overdue(now, &mut next);
        if self.adopts_orphans {
            self.reap_strangers();
            self.kill_silent_templates(now);
        }
        if !self.is_stopping {
            next.extend(self.scale(now));
            next.extend(self.weigh(now));
            for group in 0..self.plans.len() {
                for set in 0..self.sets[group].len() {
                    let state = &self.sets[group][set];
                    if state.is_used && state.wanted > 0 {
                        self.advance_replacement(group, set);
                        self.fill(group, set, now, &mut next);
                        self.hide_exhausted(group, set);
                        self.keep_standbys(group, set, now, &mut next);
                    } else {
                        self.dismiss_standbys(group, set);
                        if self.plans[group].uses_template() {
                            self.dismiss_template_of(group, set);
                        }
                    }
                }
            }
        }
        next.extend(self.next_answer());
        next.0.map(|at| at.saturating_duration_since(now))
    }

    fn kill_overdue(&mut self, now: Instant, next: &mut Earliest) {
        for process in self.processes.values_mut() {
            let Some(at) = process.kill_at else { continue };
            if at > now {
                next.extend(Some(at));
            } else if !process.is_killed {
                process.is_killed = true;
                let plan = &self.plans[process.group];
                let _ = process.process.signal(libc::SIGKILL);
                log::server(
                    plan.server,
                    Level::Warning,
                    &format!(
                        "WSGI0307: {} {} of WSGI process group '{}' did not leave in time and is killed",
                        process.kind(),
                        process.process.pid(),
                        plan.group.label()
                    ),
                );
            }
        }
    }

    /// Starts what is missing of a set.
    fn fill(&mut self, group: usize, set: usize, now: Instant, next: &mut Earliest) {
        let census = self.census(group, set);
        let born = |birth: &&Birth| birth.group == group && birth.set == set;
        let coming = census.starting + self.births.iter().filter(born).count();
        let (present, wanted) = if census.held > 0 {
            // One tries the new code for all.
            (coming, 1)
        } else {
            (coming + census.serving, self.sets[group][set].wanted as usize)
        };
        let forks = self.plans[group].uses_template();
        // A template is there before it is needed.
        if present >= wanted && !forks {
            return;
        }
        let state = &self.sets[group][set];
        if let Some(at) = state.not_before.max(state.not_before_after_death).filter(|at| *at > now)
        {
            next.extend(Some(at));
            return;
        }
        // Where many finish long requests, one of them leaves before another can be started.
        if self.free_slot(group).is_err() {
            return;
        }
        let started = if forks {
            self.fork_missing(group, set, wanted.saturating_sub(present))
        } else {
            (present..wanted).try_for_each(|_| {
                if self.begin_standby(group, set) {
                    return Ok(());
                }
                self.start(group, set, Role::Starting)
            })
        };
        if let Err(error) = started {
            self.start_failed(group, set, &error.to_string());
            next.extend(self.sets[group][set].not_before);
        }
    }

    /// Has a process that stands by take the place of one that would have to be started.
    fn begin_standby(&mut self, group: usize, set: usize) -> bool {
        let Some(&key) = self.keys_in(group, set, &[Role::Standby]).first() else { return false };
        let Some(process) = self.processes.get_mut(&key) else { return false };
        if socket::send_message(process.control.as_fd(), &Control::Begin.encode(0)).is_err() {
            self.dismiss(key, Reason::Supervisor);
            return false;
        }
        process.role = Role::Starting;
        process.started = Instant::now();
        let published = self.plans[group].group.region().process(process.slot);
        if let Some(published) = published {
            published.publish(ProcessState::Starting);
        }
        true
    }

    /// Keeps processes standing by as long as the script may be expected to change again.
    fn keep_standbys(&mut self, group: usize, set: usize, now: Instant, next: &mut Earliest) {
        let Some(until) = self.sets[group][set].standby_until else { return };
        let census = self.census(group, set);
        if until <= now {
            self.dismiss_standbys(group, set);
            return;
        }
        next.extend(Some(until));
        let wanted = self.sets[group][set].wanted as usize;
        // A process is forked from a template as quickly.
        if self.plans[group].uses_template() {
            return;
        }
        let is_quiet = census.held + census.starting == 0 && census.serving >= wanted;
        if !is_quiet || census.draining > wanted {
            return;
        }
        for _ in census.standby..wanted.min(MAX_STANDBYS) {
            if self.start(group, set, Role::Standby).is_err() {
                // What is in the way shows when a process is needed.
                self.sets[group][set].standby_until = None;
                return;
            }
        }
    }

    pub(super) fn dismiss_standbys(&mut self, group: usize, set: usize) {
        self.sets[group][set].standby_until = None;
        for key in self.keys_in(group, set, &[Role::Standby]) {
            self.dismiss(key, Reason::Supervisor);
        }
    }

    /// A place in the group's shared memory that no process has or will have.
    pub(super) fn free_slot(&self, group: usize) -> io::Result<u32> {
        let is_taken = |slot: u32| {
            self.processes.values().any(|process| process.group == group && process.slot == slot)
                || self.births.iter().any(|birth| birth.group == group && birth.slot == slot)
        };
        (0..self.plans[group].group.geometry().processes)
            .find(|slot| !is_taken(*slot))
            .ok_or_else(|| io::Error::other("no place is left in the shared memory"))
    }

    /// Settings of a process of the set.
    pub(super) fn settings_of(&self, group: usize, set: usize, slot: u32) -> Settings {
        let plan = &self.plans[group];
        let mut settings = plan.settings.clone();
        let name = self.sets[group][set].name.clone();
        settings.process_slot = slot;
        settings.set = set as u32;
        if !plan.group.shares_processes() {
            settings.preload.retain(|preload| {
                name.as_deref() == Some(set_name(&preload.application_group).as_slice())
            });
        }
        if plan.uses_template() {
            settings.preload = self.preloads_of(group, set, &settings.preload);
        }
        settings.application_group = name;
        settings
    }

    /// Starts a process of the set.
    fn start(&mut self, group: usize, set: usize, role: Role) -> io::Result<()> {
        let plan = &self.plans[group];
        let slot = self.free_slot(group)?;
        let serial = self.claims.next_serial(group);
        let mut settings = self.settings_of(group, set, slot);
        settings.stands_by = role == Role::Standby;
        self.publish_start(group, set, slot, serial, 0);
        let address = plan.group.address(serial);
        let started = launch::launch(plan, Some(&address), &settings.encode())
            .and_then(|started| self.enter(group, set, slot, serial, started));
        let key = match started {
            Ok(key) => key,
            Err(error) => {
                // Nobody is to wait for it.
                self.unpublish(group, slot, serial);
                return Err(error);
            }
        };
        if let Some(process) = self.processes.get_mut(&key) {
            process.role = role;
            if role == Role::Standby
                && let Some(published) = plan.group.region().process(slot)
            {
                // Nobody is to wait for it.
                published.publish(ProcessState::Empty);
            }
            log::server(
                plan.server,
                Level::Info,
                &format!(
                    "daemon process {} of WSGI process group '{}' {}, with {} threads",
                    process.process.pid(),
                    plan.group.label(),
                    if role == Role::Standby { "will stand by" } else { "is starting" },
                    plan.group.options.threads
                ),
            );
        }
        Ok(())
    }

    /// Publishes a process; also before there is one, since it finds its set there.
    pub(super) fn publish_start(
        &self,
        group: usize,
        set: usize,
        slot: u32,
        serial: u32,
        pid: libc::pid_t,
    ) {
        if let Some(published) = self.plans[group].group.region().process(slot) {
            published.publish_start(serial, set as u32, u32::try_from(pid).unwrap_or(0));
        }
    }

    /// Takes a process that was started under the care of the loop; the result is its key.
    pub(super) fn enter(
        &mut self,
        group: usize,
        set: usize,
        slot: u32,
        serial: u32,
        Started { process, ends }: Started,
    ) -> io::Result<u32> {
        let Ends { control, metrics, stdout, stderr } = ends;
        let key = self.next_key;
        self.next_key += 1;
        let watched = self
            .epoll
            .add(process.as_fd(), Token::Exit(key).encode())
            .and_then(|()| self.epoll.add(control.as_fd(), Token::Control(key).encode()))
            .and_then(|()| {
                metrics.as_ref().map_or(Ok(()), |metrics| {
                    self.epoll.add(metrics.as_fd(), Token::Metrics(key).encode())
                })
            })
            .and_then(|()| self.epoll.add(stdout.as_fd(), Token::Output(key, 0).encode()))
            .and_then(|()| self.epoll.add(stderr.as_fd(), Token::Output(key, 1).encode()));
        if let Err(error) = watched {
            end_now(process.pid());
            return Err(error);
        }
        self.publish_start(group, set, slot, serial, process.pid());
        let output = |fd| Some(Output { fd, lines: Lines::default() });
        self.processes.insert(
            key,
            DaemonProcess {
                group,
                set: set as u32,
                slot,
                serial,
                process,
                control,
                metrics,
                outputs: [output(stdout), output(stderr)],
                said: Said::default(),
                started: Instant::now(),
                role: Role::Starting,
                reason: None,
                wish: None,
                is_keeping: false,
                is_exhausted: false,
                idleness: Idleness::new(Instant::now()),
                kill_at: None,
                is_killed: false,
                is_template: false,
                is_blank: false,
                template: None,
            },
        );
        Ok(key)
    }

    pub(super) fn hear_process(&mut self, key: u32) {
        let mut message = [0; CONTROL_SIZE + 1];
        for _ in 0..MESSAGES_A_TURN {
            let Some(process) = self.processes.get(&key) else { return };
            match receive_now(process.control.as_fd(), &mut message) {
                Ok(None) => return,
                Ok(Some(0)) | Err(_) => {
                    // It is ending; its pidfd tells how.
                    let _ = self.epoll.remove(process.control.as_fd());
                    return;
                }
                Ok(Some(length)) => {
                    let message = message.get(..length).unwrap_or_default();
                    match Control::decode(message) {
                        Ok((Control::Ready, _)) => self.became_ready(key),
                        Ok((Control::NotLoaded, _)) => self.not_loaded(key),
                        Ok((Control::Replace, reason)) => {
                            let detail = Control::detail(message);
                            self.replace(key, Reason::from_u32(reason), detail);
                        }
                        Ok((Control::Leaving, reason)) => {
                            self.leaves(key, Reason::from_u32(reason));
                        }
                        Ok((Control::Forked, pid)) => self.worker_was_forked(key, pid),
                        Ok((Control::ForkFailed, number)) => self.fork_failed(key, number),
                        // The others are ours to say.
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
    }

    pub(super) fn became_ready(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        match process.role {
            Role::Starting => {}
            Role::Importing => return self.template_is_ready(key),
            Role::Serving if process.is_keeping => return self.keeps_on(key),
            _ => return,
        }
        process.role = Role::Serving;
        process.idleness = Idleness::new(Instant::now());
        let (group, set) = (process.group, process.set);
        let plan = &self.plans[group];
        if let Some(published) = plan.group.region().process(process.slot) {
            published.publish(ProcessState::Ready);
        }
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "daemon process {} of WSGI process group '{}' is ready after {}",
                process.process.pid(),
                plan.group.label(),
                process::age(process.started.elapsed())
            ),
        );
        self.start_succeeded(group, set as usize);
        // One that waited for this one may go now, and all whose code is old.
        let outgoing = self.keys_in(group, set as usize, &[Role::Outgoing]);
        let held = self.keys_in(group, set as usize, &[Role::Held]);
        for key in outgoing.into_iter().take(1).chain(held) {
            self.drain(key);
        }
        plan.group.announce();
    }

    /// It leaves by itself.
    pub(super) fn leaves(&mut self, key: u32, reason: Option<Reason>) {
        self.forget_births(key);
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.role == Role::Draining {
            // It was told to, or has said so: its time has begun, and nothing that it says gives it more.
            return;
        }
        process.reason = reason;
        process.role = Role::Draining;
        let plan = &self.plans[process.group];
        process.kill_at = match (reason, plan.group.options.shutdown_timeout) {
            // Without limit, unless it has said that it is stuck.
            (Some(Reason::ShutdownSignal), 0) => None,
            (_, timeout) => {
                Some(Instant::now() + Duration::from_secs(u64::from(timeout.max(1)) + 1))
            }
        };
        if let Some(published) = plan.group.region().process(process.slot) {
            published.publish(ProcessState::Draining);
        }
        plan.group.announce();
        let (group, set, started, pid) =
            (process.group, process.set, process.started, process.process.pid());
        if reason == Some(Reason::InactivityTimeout) {
            self.left_idle(group, set as usize);
        }
        // What ends as soon as it was started is not started again and again without a pause.
        let longest = match reason {
            Some(Reason::ServiceEnded) => Some(MAX_BACK_OFF),
            // Somebody else may have sent it, to all of them.
            Some(Reason::ShutdownSignal) => Some(SIGNAL_PAUSE),
            _ => None,
        };
        let pause =
            longest.and_then(|longest| self.pause_after_quick_deaths(group, set, started, longest));
        let plan = &self.plans[group];
        if reason == Some(Reason::ServiceEnded) {
            let again = pause.map_or_else(String::new, |pause| {
                format!("; it is run again after a pause of {}", process::age(pause))
            });
            log::server(
                plan.server,
                Level::Info,
                &format!(
                    "the service script of daemon process {pid} of WSGI process group '{}' has ended after {}{again}",
                    plan.group.label(),
                    process::age(started.elapsed())
                ),
            );
        } else if let Some(pause) = pause {
            let reason = reason.unwrap_or(Reason::Supervisor).name();
            log::server(
                plan.server,
                Level::Warning,
                &format!(
                    "WSGI0355: daemon process {pid} of WSGI process group '{}' leaves by itself after {} ({reason}), as others before it: the next one is started after a pause of {}",
                    plan.group.label(),
                    process::age(started.elapsed()),
                    process::age(pause)
                ),
            );
        }
    }

    /// Gives it no more requests and tells it to leave when it has none.
    pub(super) fn drain(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let plan = &self.plans[process.group];
        process.role = Role::Draining;
        if let Some(published) = plan.group.region().process(process.slot) {
            published.publish(ProcessState::Draining);
        }
        let options = &plan.group.options;
        let time = match (process.reason, options.eviction_timeout) {
            (Some(Reason::EvictionSignal), seconds @ 1..) => seconds,
            _ => options.graceful_timeout,
        };
        // No time for running requests: as for an immediate stop.
        let message = match time {
            0 => Control::Stop.encode(options.shutdown_timeout),
            seconds => Control::Drain.encode(seconds),
        };
        if socket::send_message(process.control.as_fd(), &message).is_err() {
            let _ = process.process.signal(libc::SIGTERM);
        }
        let is_stuck = matches!(
            process.reason,
            Some(Reason::RequestTimeout | Reason::StartupTimeout | Reason::DeadlockTimeout)
        );
        process.kill_at = match options.shutdown_timeout {
            // Without limit: what it has may take as long as it likes.
            0 if !is_stuck => None,
            timeout => {
                let seconds = u64::from(time) + u64::from(timeout.max(1)) + 1;
                Some(Instant::now() + Duration::from_secs(seconds))
            }
        };
        plan.group.announce();
    }

    /// Tells a process to leave within `shutdown-timeout`, and soon where that is without limit:
    /// nobody waits for what it does.
    pub(super) fn stop_now(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let plan = &self.plans[process.group];
        if let Some(published) = plan.group.region().process(process.slot) {
            published.publish(ProcessState::Draining);
        }
        process.role = Role::Draining;
        process.reason.get_or_insert(Reason::Supervisor);
        let timeout = plan.group.options.shutdown_timeout;
        let message = Control::Stop.encode(timeout);
        if socket::send_message(process.control.as_fd(), &message).is_err() {
            let _ = process.process.signal(libc::SIGTERM);
        }
        let limit = Duration::from_secs(u64::from(timeout.max(1))) + Duration::from_millis(500);
        process.kill_at = Some(Instant::now() + limit);
    }

    pub(super) fn stop_all(&mut self) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        let all: Vec<u32> = self.processes.keys().copied().collect();
        for key in all {
            self.stop_now(key);
        }
        for plan in self.plans {
            plan.group.announce();
        }
    }
}
