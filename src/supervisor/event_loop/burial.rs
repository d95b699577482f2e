// SPDX-License-Identifier: Apache-2.0
//! What daemon processes write, and their ends: how one ended, after how long, with what running.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::Reason;
use mod_wsgi_protocol::log::Entry;
use mod_wsgi_protocol::region::ProcessState;

use super::Supervisor;
use super::sets::{MAX_BACK_OFF, back_off};
use crate::httpd::log::{self, Level};
use crate::os::process::Exit;
use crate::supervisor::process::{self, Role};

/// Requests that are named when a process dies.
const NAMED_REQUESTS: usize = 5;

/// A process that ends sooner than this after its start has not served.
const QUICK_DEATH: Duration = Duration::from_secs(1);

/// Quick deaths, one after the other, that are answered by a new process without a pause.
const QUICK_DEATHS: u32 = 3;

/// By how much the kernel's account of a process's time may be behind what it limits by.
const COARSENESS: Duration = Duration::from_millis(200);

impl Supervisor<'_> {
    pub(super) fn hear_output(&mut self, key: u32, which: usize) {
        let Some(process) = self.processes.get_mut(&key) else {
            return self.inherited.hear((key, which), &self.epoll);
        };
        let plan = &self.plans[process.group];
        let Some(place) = process.outputs.get_mut(which) else { return };
        let Some(output) = place.as_mut() else { return };
        let is_starting = matches!(process.role, Role::Starting | Role::Importing);
        let said = &mut process.said;
        let mut note = |entry: &Entry<'_>| {
            if is_starting && entry.level <= Level::Error as u8 {
                said.take(entry.text);
            }
            log::server_entry(plan.server, entry);
        };
        if !output.hear(&mut note) {
            let _ = self.epoll.remove(output.fd.as_fd());
            *place = None;
        }
    }

    /// A process has ended: tells how, and makes room for the next.
    pub(super) fn bury(&mut self, key: u32) {
        let ended = self.processes.get(&key).and_then(|process| process.process.reap_with_time());
        let Some((exit, time)) = ended else { return self.lay_out(key) };
        let mut running = (Vec::new(), 0);
        if let Some(process) = self.processes.get(&key) {
            let group = &self.plans[process.group].group;
            // Before the end is published: a request may then be sent to another process.
            running = group.region().running_in(process.slot, process.serial, NAMED_REQUESTS);
            if let Some(published) = group.region().process(process.slot) {
                // Those whose requests it ran wait for this to say why there is no answer.
                published.publish_end(process.serial, process.published_cause(exit));
                group.announce();
            }
        }
        for which in [0, 1] {
            self.hear_output(key, which);
        }
        self.hear_last_births(key);
        let Some(mut process) = self.processes.remove(&key) else { return };
        for (which, place) in process.outputs.iter_mut().enumerate() {
            if let Some(mut output) = place.take() {
                let server = self.plans[process.group].server;
                output.lines.finish(|entry| log::server_entry(server, entry));
                self.inherited.take((key, which), server, output, &self.epoll);
            }
        }
        let _ = self.epoll.remove(process.control.as_fd());
        if let Some(metrics) = &process.metrics {
            let _ = self.epoll.remove(metrics.as_fd());
        }
        let _ = self.epoll.remove(process.process.as_fd());
        let plan = &self.plans[process.group];
        if let Some(path) = plan.group.address(process.serial).path() {
            let _ = std::fs::remove_file(path);
        }
        let region = plan.group.region();
        let (running, count) = running;
        if let Some(published) = region.process(process.slot) {
            published.publish(ProcessState::Empty);
        }
        plan.group.announce();

        let (pid, name, kind) = (process.process.pid(), plan.group.label(), process.kind());
        let life = process::age(process.started.elapsed());
        let is_from_outside = matches!(exit, Exit::Signal(libc::SIGKILL, _)) && !process.is_killed;
        let limit = plan
            .cpu_limits()
            .filter(|(_, killed_at)| is_from_outside && time + COARSENESS >= *killed_at);
        let memory = if is_from_outside { self.memory_kills.explain() } else { None };
        let cause = match (limit, memory) {
            (Some((limit, _)), _) => format!(
                "{} (it used {} of the processor's time, and cpu-time-limit is {})",
                process::cause(exit),
                process::age(time),
                process::age(limit)
            ),
            (None, Some(memory)) => format!("{} ({memory})", process::cause(exit)),
            (None, None) => process::cause(exit),
        };
        match process.role {
            Role::Draining if exit == Exit::Status(0) => log::server(
                plan.server,
                Level::Info,
                &format!(
                    "{kind} {pid} of WSGI process group '{name}' has left after {life}: {}",
                    process.reason.unwrap_or(Reason::Supervisor).name()
                ),
            ),
            Role::Draining => log::server(
                plan.server,
                if process.is_killed { Level::Info } else { Level::Warning },
                &format!(
                    "WSGI0309: {kind} {pid} of WSGI process group '{name}' {} while it was leaving, after {life}; {}",
                    cause,
                    process::requests(&running, count)
                ),
            ),
            Role::Standby => {
                self.sets[process.group][process.set as usize].standby_until = None;
                log::server(
                    plan.server,
                    Level::Info,
                    &format!(
                        "daemon process {pid} of WSGI process group '{name}' {} while it stood by, after {life}",
                        cause
                    ),
                );
            }
            Role::Starting | Role::Importing => {
                let why = format!("{kind} {pid} {cause} after {life}");
                let (group, set) = (process.group, process.set as usize);
                self.start_failed(group, set, &why);
                self.repeat_first_failure(group, set, process.said);
            }
            Role::Serving | Role::Outgoing | Role::Held | Role::Template => {
                self.pause_after_quick_deaths(
                    process.group,
                    process.set,
                    process.started,
                    MAX_BACK_OFF,
                );
                log::server(
                    plan.server,
                    Level::Error,
                    &format!(
                        "WSGI0303: {kind} {pid} of WSGI process group '{name}' {} after {life}; {}; it is replaced",
                        cause,
                        process::requests(&running, count)
                    ),
                );
            }
        }
    }

    /// A process has ended whose exit cannot be had, as a debugger is attached to it: it is given no
    /// more requests, and buried when we are told that it is a child of ours again.
    fn lay_out(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if self.unreaped.insert(key) {
            // Its descriptor stays readable.
            let _ = self.epoll.remove(process.process.as_fd());
            process.role = Role::Draining;
            let group = &self.plans[process.group].group;
            if let Some(published) = group.region().process(process.slot) {
                published.publish(ProcessState::Draining);
            }
            group.announce();
        }
    }

    /// A process of the set has ended that was started then: after several that did not live long,
    /// the next one has to wait. How long, `most` at the most.
    pub(super) fn pause_after_quick_deaths(
        &mut self,
        group: usize,
        set: u32,
        started: Instant,
        most: Duration,
    ) -> Option<Duration> {
        let state = self.sets.get_mut(group)?.get_mut(set as usize)?;
        if started.elapsed() < QUICK_DEATH {
            state.quick_deaths = state.quick_deaths.saturating_add(1);
        } else {
            state.quick_deaths = 0;
        }
        let more = state.quick_deaths.checked_sub(QUICK_DEATHS + 1)?;
        let wait = back_off(more).min(most);
        state.not_before_after_death = Some(Instant::now() + wait);
        Some(wait)
    }
}
