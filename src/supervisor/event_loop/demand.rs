// SPDX-License-Identifier: Apache-2.0
//! How many processes a set has, after how many requests it has: more when requests wait for a
//! thread, fewer when processes are idle, none when nobody asks for its application group any more.
//! Looked at only while something waits, or while something is there that might go.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::Reason;
use mod_wsgi_protocol::region::SetState;

use super::Supervisor;
use super::sets::Set;
use crate::config::words::text;
use crate::httpd::log::{self, Level};
use crate::supervisor::process::{self, Role};
use crate::supervisor::scaling::{Load, STEP, idle_look};

impl Supervisor<'_> {
    /// A request needs a process of the set, or waits for a thread of one.
    pub(super) fn demand(&mut self, group: usize, set: usize) {
        let Some(plan) = self.plans.get(group) else { return };
        let Some(state) = self.sets.get_mut(group).and_then(|sets| sets.get_mut(set)) else {
            return;
        };
        let now = Instant::now();
        state.asked_at = Some(now);
        if state.wanted == 0 {
            state.wanted = 1;
        }
        if plan.group.is_elastic() {
            state.pressed_look.get_or_insert(now + STEP);
        }
    }

    /// Looks at what is to be looked at now. Returns when to look again.
    pub(super) fn scale(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for group in 0..self.plans.len() {
            let idle_limit = self.plans[group].group.idle_limit();
            for set in 0..self.sets[group].len() {
                if !self.sets[group][set].is_used {
                    continue;
                }
                let pressed = self.relieve(group, set, now);
                let idle = idle_limit.and_then(|limit| self.thin(group, set, limit, now));
                for at in [pressed, idle].into_iter().flatten() {
                    next = Some(next.map_or(at, |known| known.min(at)));
                }
            }
        }
        next
    }

    /// Gives the set more processes when requests have waited for a while.
    fn relieve(&mut self, group: usize, set: usize, now: Instant) -> Option<Instant> {
        let at = self.sets[group][set].pressed_look?;
        if at > now {
            return Some(at);
        }
        let load = self.load_of(group, set);
        let plan = &self.plans[group];
        let most = plan.group.most_processes();
        let state = &mut self.sets[group][set];
        if let Some(published) = plan.group.region().set(set as u32) {
            published.forget_asked();
        }
        let growth = load.growth(state.wanted, most);
        if growth > 0 {
            state.wanted += growth;
            log::server(
                plan.server,
                Level::Info,
                &format!(
                    "WSGI process group '{}': requests wait for a thread of set {}, which gets {growth} more processes, {} of at most {most}",
                    plan.group.label(),
                    set + 1,
                    state.wanted
                ),
            );
        }
        let goes_on = state.wanted < most && (load.is_pressed() || load.changing > 0 || growth > 0);
        state.pressed_look = goes_on.then_some(now + STEP);
        state.pressed_look
    }

    fn load_of(&self, group: usize, set: usize) -> Load {
        let group_of = &self.plans[group].group;
        let region = group_of.region();
        let mut load = Load {
            threads: group_of.options.threads,
            is_awaited: region.set(set as u32).is_some_and(|set| set.awaited() != 0),
            ..Load::default()
        };
        for process in self.processes.values() {
            if process.group != group || process.set as usize != set {
                continue;
            }
            match process.role {
                Role::Serving => {
                    load.ready += 1;
                    load.in_flight += u64::from(region.load(process.slot));
                }
                Role::Starting | Role::Held | Role::Outgoing | Role::Importing => {
                    load.changing += 1;
                }
                Role::Standby | Role::Draining | Role::Template => {}
            }
        }
        load.changing += u32::from(self.is_birth_awaited(group, set));
        load
    }

    fn is_birth_awaited(&self, group: usize, set: usize) -> bool {
        self.births.iter().any(|birth| birth.group == group && birth.set == set)
    }

    /// Lets idle processes go that need not be there. Returns when to look again, if any is left.
    fn thin(&mut self, group: usize, set: usize, limit: Duration, now: Instant) -> Option<Instant> {
        let plan = &self.plans[group];
        let state = &self.sets[group][set];
        let (is_permanent, is_elastic) = (state.is_permanent, plan.group.is_elastic());
        let floor = plan.group.least_processes();
        if is_permanent && (!is_elastic || state.wanted <= floor) {
            return None;
        }
        if let Some(at) = state.idle_look.filter(|at| *at > now) {
            return Some(at);
        }
        let asked_lately = state.asked_at.is_some_and(|at| now - at < limit);
        let again = now + idle_look(limit);
        self.sets[group][set].idle_look = Some(again);
        let region = plan.group.region();
        let (mut serving, mut is_changing) = (0, false);
        let mut idle: Vec<(u32, u32)> = Vec::new();
        for (key, process) in &mut self.processes {
            if process.group != group || process.set as usize != set {
                continue;
            }
            match process.role {
                Role::Serving => {
                    serving += 1;
                    let (load, activity) =
                        (region.load(process.slot), region.activity(process.slot));
                    process.idleness.look(load, activity, now);
                    if process.idleness.lasted(now) >= limit {
                        idle.push((process.slot, *key));
                    }
                }
                Role::Starting | Role::Held | Role::Outgoing | Role::Importing => {
                    is_changing = true;
                }
                Role::Standby | Role::Draining | Role::Template => {}
            }
        }
        if is_changing || self.is_birth_awaited(group, set) {
            return Some(again);
        }
        if !is_permanent && idle.len() == serving && !asked_lately {
            self.close_set(group, set, limit);
            return None;
        }
        // One at a time; requests go to the first of equals, so that the last is the one to spare.
        if is_elastic
            && serving > floor as usize
            && let Some((_, key)) = idle.into_iter().max()
        {
            self.sets[group][set].wanted = u32::try_from(serving - 1).unwrap_or(floor).max(floor);
            self.retire(key, limit);
        }
        Some(again)
    }

    /// An idle process goes, and no other takes its place.
    fn retire(&mut self, key: u32, limit: Duration) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.reason = Some(Reason::InactivityTimeout);
        let plan = &self.plans[process.group];
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "daemon process {} of WSGI process group '{}' is not needed any more: it had no request for {}",
                process.process.pid(),
                plan.group.label(),
                process::age(limit)
            ),
        );
        self.drain(key);
    }

    /// A set that was opened for an application group gives its place back. A request that comes at
    /// the same moment finds no set of its name, or is rejected by a process that is leaving, and asks
    /// for a set anew.
    fn close_set(&mut self, group: usize, set: usize, limit: Duration) {
        let plan = &self.plans[group];
        let keys: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, process)| {
                process.group == group
                    && process.set as usize == set
                    && process.role == Role::Serving
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.retire(key, limit);
        }
        let state = std::mem::take(&mut self.sets[group][set]);
        if let Some(published) = plan.group.region().set(set as u32) {
            published.publish(SetState::Empty);
        }
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "WSGI process group '{}': application group '{}' leaves process set {}: it had no request for {}",
                plan.group.label(),
                text(&state.name.unwrap_or_default()).escape_debug(),
                set + 1,
                process::age(limit)
            ),
        );
        plan.group.announce();
    }

    /// A process leaves by itself, as it was idle for `inactivity-timeout`: perhaps none is to take its
    /// place.
    pub(super) fn left_idle(&mut self, group: usize, set: usize) {
        let now = Instant::now();
        let plan = &self.plans[group];
        let Some(limit) = plan.group.idle_limit() else { return };
        let load = self.load_of(group, set);
        let present = load.ready + load.changing;
        let floor = plan.group.least_processes();
        let is_idle = load.changing == 0
            && self.processes.values().all(|process| {
                process.group != group
                    || process.set as usize != set
                    || process.role != Role::Serving
                    || process.idleness.lasted(now) >= limit / 2
                        && plan.group.region().load(process.slot) == 0
            });
        let state: &mut Set = &mut self.sets[group][set];
        if plan.group.is_elastic() && state.wanted > floor {
            state.wanted = present.max(floor);
        } else if state.is_used && !state.is_permanent && is_idle {
            self.close_set(group, set, limit);
        }
    }
}
