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

use super::template::Birth;
use super::token::Token;
use super::{MESSAGES_A_TURN, Supervisor};
use crate::httpd::log::{self, Level};
use crate::os::process::end_now;
use crate::os::socket::{self, receive_now};
use crate::supervisor::launch::{self, Started};
use crate::supervisor::output::Lines;
use crate::supervisor::process::{self, DaemonProcess, Output, Role};
use crate::supervisor::scaling::Idleness;

impl Supervisor<'_> {
    /// Starts what is missing, kills what is overdue. Returns how long nothing else needs doing.
    pub(super) fn maintain(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut earliest = |at: Instant| {
            next = Some(next.map_or(at, |known: Instant| known.min(at)));
        };
        for process in self.processes.values_mut() {
            let Some(at) = process.kill_at else { continue };
            if at > now {
                earliest(at);
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
        if self.adopts_orphans {
            self.reap_strangers();
            self.kill_silent_templates(now);
        }
        if !self.is_stopping {
            if let Some(at) = self.scale(now) {
                earliest(at);
            }
            for group in 0..self.plans.len() {
                for set in 0..self.sets[group].len() {
                    let wanted = self.sets[group][set].wanted as usize;
                    let forks = self.plans[group].uses_template();
                    if !self.sets[group][set].is_used || wanted == 0 {
                        if forks {
                            self.dismiss_template_of(group, set);
                        }
                        continue;
                    }
                    let present = self
                        .processes
                        .values()
                        .filter(|process| {
                            process.group == group
                                && process.set as usize == set
                                && matches!(process.role, Role::Starting | Role::Serving)
                        })
                        .count();
                    let born = |birth: &&Birth| birth.group == group && birth.set == set;
                    let present = present + self.births.iter().filter(born).count();
                    // A template is there before it is needed.
                    if present >= wanted && !forks {
                        continue;
                    }
                    let state = &self.sets[group][set];
                    match state.not_before.max(state.not_before_after_death) {
                        Some(at) if at > now => earliest(at),
                        _ => {
                            let started = if forks {
                                self.fork_missing(group, set, wanted.saturating_sub(present))
                            } else {
                                (present..wanted).try_for_each(|_| self.start(group, set))
                            };
                            if let Err(error) = started {
                                self.start_failed(group, set, &error.to_string());
                                if let Some(at) = self.sets[group][set].not_before {
                                    earliest(at);
                                }
                            }
                        }
                    }
                }
            }
        }
        let next = self.next_answer().into_iter().chain(next).min();
        next.map(|at| at.saturating_duration_since(now))
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

    pub(super) fn start(&mut self, group: usize, set: usize) -> io::Result<()> {
        let plan = &self.plans[group];
        let slot = self.free_slot(group)?;
        let serial = self.claims.next_serial(group);
        let settings = self.settings_of(group, set, slot).encode();
        let started = launch::launch(plan, Some(&plan.group.address(serial)), &settings)?;
        let key = self.enter(group, set, slot, serial, started)?;
        if let Some(process) = self.processes.get(&key) {
            log::server(
                plan.server,
                Level::Info,
                &format!(
                    "daemon process {} of WSGI process group '{}' is starting, with {} threads",
                    process.process.pid(),
                    plan.group.label(),
                    plan.group.options.threads
                ),
            );
        }
        Ok(())
    }

    /// Takes a process that was started under the care of the loop; the result is its key.
    pub(super) fn enter(
        &mut self,
        group: usize,
        set: usize,
        slot: u32,
        serial: u32,
        Started { process, control, stdout, stderr }: Started,
    ) -> io::Result<u32> {
        let region = self.plans[group].group.region();
        let key = self.next_key;
        self.next_key += 1;
        let watched = self
            .epoll
            .add(process.as_fd(), Token::Exit(key).encode())
            .and_then(|()| self.epoll.add(control.as_fd(), Token::Control(key).encode()))
            .and_then(|()| self.epoll.add(stdout.as_fd(), Token::Output(key, 0).encode()))
            .and_then(|()| self.epoll.add(stderr.as_fd(), Token::Output(key, 1).encode()));
        if let Err(error) = watched {
            end_now(process.pid());
            return Err(error);
        }
        let set = set as u32;
        if let Some(published) = region.process(slot) {
            published.publish_start(serial, set, u32::try_from(process.pid()).unwrap_or(0));
        }
        let output = |fd| Some(Output { fd, lines: Lines::default() });
        self.processes.insert(
            key,
            DaemonProcess {
                group,
                set,
                slot,
                serial,
                process,
                control,
                outputs: [output(stdout), output(stderr)],
                started: Instant::now(),
                role: Role::Starting,
                reason: None,
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
                    match Control::decode(message.get(..length).unwrap_or_default()) {
                        Ok((Control::Ready, _)) => self.became_ready(key),
                        Ok((Control::Replace, reason)) => {
                            self.replace(key, Reason::from_u32(reason));
                        }
                        Ok((Control::Leaving, reason)) => {
                            self.leaves(key, Reason::from_u32(reason));
                        }
                        Ok((Control::Forked, pid)) => self.worker_was_forked(key, pid),
                        Ok((Control::ForkFailed, number)) => self.fork_failed(key, number),
                        Ok((Control::Drain | Control::Stop | Control::Fork, _)) | Err(_) => {}
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
        // One that waited for this one may go now.
        let outgoing = self.processes.iter().find(|(_, other)| {
            other.group == group && other.set == set && other.role == Role::Outgoing
        });
        if let Some(outgoing) = outgoing.map(|(key, _)| *key) {
            self.drain(outgoing);
        }
        plan.group.announce();
    }

    pub(super) fn replace(&mut self, key: u32, reason: Option<Reason>) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let (group, set, started) = (process.group, process.set, process.started);
        match process.role {
            Role::Serving => {}
            Role::Outgoing if reason == Some(Reason::ScriptChanged) => {}
            Role::Template => {
                return self.dismiss_template(key, reason.unwrap_or(Reason::Supervisor));
            }
            Role::Starting | Role::Outgoing | Role::Draining | Role::Importing => return,
        }
        process.reason = reason;
        process.role = Role::Outgoing;
        let template = process.template;
        let plan = &self.plans[group];
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "daemon process {} of WSGI process group '{}' is to be replaced: {}",
                process.process.pid(),
                plan.group.label(),
                reason.map_or("it asked for it", Reason::name)
            ),
        );
        if let (Some(reason), Some(template)) = (reason, template) {
            self.renew_template(template, reason);
        }
        if reason == Some(Reason::ScriptChanged) {
            // The code is old in every process of the set that is not younger than this one's word:
            // none of them gets another request.
            let old: Vec<u32> = self
                .processes
                .iter()
                .filter(|(other_key, other)| {
                    other.group == group
                        && other.set == set
                        && matches!(other.role, Role::Serving | Role::Outgoing)
                        && (**other_key == key || other.started <= started)
                })
                .map(|(key, _)| *key)
                .collect();
            for key in old {
                self.drain(key);
            }
        }
    }

    /// It leaves by itself.
    pub(super) fn leaves(&mut self, key: u32, reason: Option<Reason>) {
        self.forget_births(key);
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.reason = reason;
        process.role = Role::Draining;
        let plan = &self.plans[process.group];
        let timeout = plan.group.options.shutdown_timeout;
        process.kill_at = Some(Instant::now() + Duration::from_secs(u64::from(timeout.max(1)) + 1));
        if let Some(published) = plan.group.region().process(process.slot) {
            published.publish(ProcessState::Draining);
        }
        plan.group.announce();
        if reason == Some(Reason::InactivityTimeout) {
            let (group, set) = (process.group, process.set as usize);
            self.left_idle(group, set);
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
        // No time for running requests: as for an immediate stop.
        let message = match options.graceful_timeout {
            0 => Control::Stop.encode(options.shutdown_timeout),
            seconds => Control::Drain.encode(seconds),
        };
        if socket::send_message(process.control.as_fd(), &message).is_err() {
            let _ = process.process.signal(libc::SIGTERM);
        }
        let limit = Duration::from_secs(
            u64::from(options.graceful_timeout) + u64::from(options.shutdown_timeout.max(1)) + 1,
        );
        process.kill_at = Some(Instant::now() + limit);
        plan.group.announce();
    }

    /// Tells a process to leave within `shutdown-timeout`.
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
