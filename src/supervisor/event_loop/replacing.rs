// SPDX-License-Identifier: Apache-2.0
//! Replacing processes: for a reason of their own (requests, age, memory, a signal) one of a set after
//! the other, each when its replacement is ready; for a changed script all at once, and with
//! `reload=keep` only if the new code loads.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::{Control, Reason};
use mod_wsgi_protocol::region::ProcessState;

use super::Supervisor;
use crate::config::daemon_process::Reload;
use crate::httpd::log::{self, Level};
use crate::os::process::resident_memory;
use crate::os::socket;
use crate::supervisor::process::{self, Role};

/// How long processes stand by after a script has changed.
const STANDBY: Duration = Duration::from_secs(60);

/// Processes of a set that may be leaving, beside as many as it has, while another is replaced.
const LEAVING: usize = 4;

/// How often it is looked at what processes have in memory.
const WEIGHING: Duration = Duration::from_secs(1);

/// How many processes of a set are in which role.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    /// Standby.
    pub(super) standby: usize,
    /// Starting.
    pub(super) starting: usize,
    /// Serving.
    pub(super) serving: usize,
    /// Held.
    pub(super) held: usize,
    /// Outgoing.
    pub(super) outgoing: usize,
    /// Draining.
    pub(super) draining: usize,
}

impl Supervisor<'_> {
    /// Counts the processes of a set.
    pub(super) fn census(&self, group: usize, set: usize) -> Census {
        let mut census = Census::default();
        for process in self.processes.values() {
            if process.group == group && process.set as usize == set {
                // A template whose code is old has no requests.
                *match process.role {
                    Role::Importing | Role::Template => continue,
                    Role::Held if process.is_template => continue,
                    Role::Standby => &mut census.standby,
                    Role::Starting => &mut census.starting,
                    Role::Serving => &mut census.serving,
                    Role::Held => &mut census.held,
                    Role::Outgoing => &mut census.outgoing,
                    Role::Draining => &mut census.draining,
                } += 1;
            }
        }
        census
    }

    /// Keys of the processes of a set in one of these roles, the oldest first.
    pub(super) fn keys_in(&self, group: usize, set: usize, roles: &[Role]) -> Vec<u32> {
        let mut found: Vec<(Instant, u32)> = self
            .processes
            .iter()
            .filter(|(_, process)| {
                process.group == group
                    && process.set as usize == set
                    && roles.contains(&process.role)
            })
            .map(|(key, process)| (process.started, *key))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// A process asks to be replaced.
    pub(super) fn replace(&mut self, key: u32, reason: Option<Reason>, detail: i64) {
        if self.processes.get(&key).is_some_and(|process| process.is_template) {
            self.template_asks(key, reason, detail);
        } else if reason == Some(Reason::ScriptChanged) {
            self.script_changed(key, detail);
        } else if let Some(process) = self.processes.get_mut(&key) {
            process.is_exhausted |= reason == Some(Reason::MaximumRequests) && detail != 0;
            let wish = reason.unwrap_or(Reason::GracefulSignal);
            process.wish.get_or_insert(wish);
        }
    }

    /// Lets the next process of a set that is to be replaced have its turn: never two at once, and
    /// none while another is missing. Who waits goes on serving.
    pub(super) fn advance_replacement(&mut self, group: usize, set: usize) {
        let census = self.census(group, set);
        let wanted = self.sets[group][set].wanted as usize;
        if census.outgoing + census.starting + census.held > 0 || census.draining > wanted + LEAVING
        {
            return;
        }
        let turn = self
            .keys_in(group, set, &[Role::Serving])
            .into_iter()
            .find(|key| self.processes.get(key).is_some_and(|process| process.wish.is_some()));
        let Some(process) = turn.and_then(|key| self.processes.get_mut(&key)) else { return };
        process.role = Role::Outgoing;
        process.reason = process.wish;
        let (reason, template) = (process.wish.unwrap_or(Reason::GracefulSignal), process.template);
        let plan = &self.plans[group];
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "daemon process {} of WSGI process group '{}' is to be replaced: {}",
                process.process.pid(),
                plan.group.label(),
                reason.name()
            ),
        );
        if let Some(template) = template {
            self.renew_template(template, reason);
        }
    }

    /// Gives no more requests to one that has served far more than it should, as another is starting.
    pub(super) fn hide_exhausted(&mut self, group: usize, set: usize) {
        let plan = &self.plans[group];
        let census = self.census(group, set);
        // Where starts fail, it is better than nobody.
        if census.outgoing == 0 || census.starting == 0 || self.sets[group][set].failures > 0 {
            return;
        }
        for key in self.keys_in(group, set, &[Role::Outgoing]) {
            if let Some(process) = self.processes.get(&key)
                && process.is_exhausted
                && let Some(published) = plan.group.region().process(process.slot)
                && published.state() == ProcessState::Ready
            {
                published.publish(ProcessState::Draining);
            }
        }
    }

    /// A replacement failed to start: whoever waits for it takes all requests again.
    pub(super) fn show_outgoing(&mut self, group: usize, set: usize) {
        let plan = &self.plans[group];
        for key in self.keys_in(group, set, &[Role::Outgoing]) {
            if let Some(process) = self.processes.get(&key)
                && let Some(published) = plan.group.region().process(process.slot)
            {
                published.publish(ProcessState::Ready);
            }
        }
    }

    /// A process has found its script changed. The code is old in every process of the set that is
    /// not younger than its word: none of them gets another request.
    fn script_changed(&mut self, key: u32, detail: i64) {
        let Some(process) = self.processes.get(&key) else { return };
        if !matches!(process.role, Role::Serving | Role::Outgoing) {
            return;
        }
        let (group, set, started) = (process.group, process.set as usize, process.started);
        let pid = process.process.pid();
        if let Some(template) = process.template {
            self.renew_template(template, Reason::ScriptChanged);
        }
        let plan = &self.plans[group];
        let keeps = plan.group.options.reload == Reload::Keep;
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "daemon process {pid} of WSGI process group '{}' is to be replaced: {}",
                plan.group.label(),
                Reason::ScriptChanged.name()
            ),
        );
        if let Some(state) = self.sets[group].get_mut(set) {
            state.standby_until = Some(Instant::now() + STANDBY);
            state.changed = detail;
            // What failed or died was the old code.
            state.not_before = None;
            state.not_before_after_death = None;
        }
        for old in self.keys_in(group, set, &[Role::Serving, Role::Outgoing]) {
            let Some(process) = self.processes.get_mut(&old) else { continue };
            if old != key && process.started > started {
                continue;
            }
            process.reason = Some(Reason::ScriptChanged);
            if keeps {
                process.role = Role::Held;
                if let Some(published) = plan.group.region().process(process.slot) {
                    published.publish(ProcessState::Draining);
                }
            } else {
                self.drain(old);
            }
        }
        plan.group.announce();
    }

    /// The scripts of a process do not load, and the old code could go on (`reload=keep`).
    pub(super) fn not_loaded(&mut self, key: u32) {
        let Some(process) = self.processes.get(&key) else { return };
        let (group, set, pid) = (process.group, process.set as usize, process.process.pid());
        if !matches!(process.role, Role::Starting | Role::Importing) {
            return;
        }
        let old = self.keys_in(group, set, &[Role::Held, Role::Serving, Role::Outgoing]);
        if old.is_empty() {
            let message = Control::Serve.encode(0);
            let _ = socket::send_message(process.control.as_fd(), &message);
            return;
        }
        self.dismiss(key, Reason::NotLoaded);
        if !self.release_held(group, set, &format!("its scripts do not load (process {pid})")) {
            let why = format!("the scripts do not load in process {pid}");
            self.start_failed(group, set, &why);
        }
    }

    /// The new code cannot serve: those that were held go on with the old one. False when there are
    /// none.
    pub(super) fn release_held(&mut self, group: usize, set: usize, why: &str) -> bool {
        let held = self.keys_in(group, set, &[Role::Held]);
        if held.is_empty() {
            return false;
        }
        let plan = &self.plans[group];
        let message = Control::Keep.encode_with(0, self.sets[group][set].changed);
        for key in held {
            let Some(process) = self.processes.get_mut(&key) else { continue };
            process.role = if process.is_template { Role::Template } else { Role::Serving };
            process.reason = None;
            process.is_keeping = true;
            if socket::send_message(process.control.as_fd(), &message).is_err() {
                // It would never take a request again.
                let _ = process.process.signal(libc::SIGTERM);
            }
        }
        log::server(
            plan.server,
            Level::Error,
            &format!(
                "WSGI0354: WSGI process group '{}': the changed code is not used, the old code goes on until the next change: {why}",
                plan.group.label()
            ),
        );
        true
    }

    /// A process goes on with its old code, and rejects no request for the change any more.
    pub(super) fn keeps_on(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.is_keeping = false;
        let group = &self.plans[process.group].group;
        if let Some(published) = group.region().process(process.slot) {
            published.publish(ProcessState::Ready);
        }
        if let Some(published) = group.region().set(process.set) {
            published.count_release();
        }
        group.announce();
    }

    /// Stops a process that has not served.
    pub(super) fn dismiss(&mut self, key: u32, reason: Reason) {
        if let Some(process) = self.processes.get_mut(&key) {
            process.reason = Some(reason);
            self.stop_now(key);
        }
    }

    /// Finds processes with more in memory than `maximum-rss`. Returns when to look again.
    pub(super) fn weigh(&mut self, now: Instant) -> Option<Instant> {
        if self.plans.iter().all(|plan| plan.group.options.maximum_rss == 0) {
            return None;
        }
        if let Some(at) = self.next_weighing.filter(|at| *at > now) {
            return Some(at);
        }
        for process in self.processes.values_mut() {
            let plan = &self.plans[process.group];
            let limit = plan.group.options.maximum_rss;
            if limit == 0 || process.role != Role::Serving || process.wish.is_some() {
                continue;
            }
            let Some(bytes) = resident_memory(process.process.pid()).filter(|it| *it > limit)
            else {
                continue;
            };
            process.wish = Some(Reason::MaximumRss);
            log::server(
                plan.server,
                Level::Info,
                &format!(
                    "daemon process {} of WSGI process group '{}' has {} MiB in memory after {} (maximum-rss)",
                    process.process.pid(),
                    plan.group.label(),
                    bytes >> 20,
                    process::age(process.started.elapsed())
                ),
            );
        }
        self.next_weighing = Some(now + WEIGHING);
        self.next_weighing
    }
}
