// SPDX-License-Identifier: Apache-2.0
//! The sets of processes of a group: opening one, giving it to an application group, and the pauses
//! of one whose processes do not start or do not live.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use mod_wsgi_protocol::region::SetState;

use super::Supervisor;
use crate::config::words::text;
use crate::httpd::log::{self, Level};
use crate::supervisor::process::{self, Said};

/// Longest wait before a set whose processes do not start is tried again.
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// First wait of that kind; it doubles.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);

/// A set of a group, as the supervisor keeps it beside the published one.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    /// Processes are wanted here.
    pub(super) is_used: bool,
    /// It is there from the start, and stays.
    pub(super) is_permanent: bool,
    /// How many processes it is to have.
    pub(super) wanted: u32,
    /// When a request asked for a process last.
    pub(super) asked_at: Option<Instant>,
    /// When to see whether requests still wait for a thread; None when none is known to.
    pub(super) pressed_look: Option<Instant>,
    /// When to see which processes are idle.
    pub(super) idle_look: Option<Instant>,
    /// Its application group; None until it is adopted.
    pub(super) name: Option<Vec<u8>>,
    /// The script of the request that asked for it, as its processes know it; for `preload=on`.
    pub(super) script: Option<Vec<u8>>,
    /// Starts that failed, one after the other.
    pub(super) failures: u32,
    /// What the first of them said.
    pub(super) first_failure: Option<Said>,
    /// Processes that ended soon after they were ready, one after the other.
    pub(super) quick_deaths: u32,
    /// No start before this, as starts failed.
    pub(super) not_before: Option<Instant>,
    /// No start before this, as processes ended soon after they were ready.
    pub(super) not_before_after_death: Option<Instant>,
    /// The script changed lately: processes stand by until then, for when it changes again.
    pub(super) standby_until: Option<Instant>,
    /// What the process said that found the script changed, while processes are held for that.
    pub(super) changed: i64,
}

impl Supervisor<'_> {
    /// Opens a set. One that `is_permanent` is of the configuration, another one of a request.
    pub(super) fn open_set(
        &mut self,
        group: usize,
        index: u32,
        name: Option<Vec<u8>>,
        is_permanent: bool,
    ) {
        // Those of another application group.
        self.dismiss_template_of(group, index as usize);
        self.dismiss_standbys(group, index as usize);
        let Some(plan) = self.plans.get(group) else { return };
        plan.group.region().clear_scripts(index);
        if let Some(published) = plan.group.region().set(index) {
            published.publish_opening();
            match &name {
                Some(name) => published.publish_name(name),
                None => published.publish(SetState::Unadopted),
            }
            published.publish_failing(false);
        }
        if let Some(set) = self.sets.get_mut(group).and_then(|sets| sets.get_mut(index as usize)) {
            let least = plan.group.least_processes();
            let wanted = if is_permanent { least } else { least.max(1) };
            let asked_at = (!is_permanent).then(Instant::now);
            *set = Set { is_used: true, is_permanent, wanted, asked_at, name, ..Set::default() };
        }
    }

    pub(super) fn want_set(&mut self, group: u32, name: Vec<u8>, script: Vec<u8>) {
        let group = group as usize;
        let Some(plan) = self.plans.get(group) else { return };
        if self.is_stopping {
            return;
        }
        let Some(sets) = self.sets.get(group) else { return };
        let known = if plan.group.shares_processes() {
            Some(0)
        } else {
            sets.iter().position(|set| set.name.as_ref() == Some(&name))
        };
        if let Some(set) = known {
            self.demand(group, set);
            return;
        }
        let adopted = sets.iter().position(|set| set.is_used && set.name.is_none());
        let Some(index) = adopted.or_else(|| sets.iter().position(|set| !set.is_used)) else {
            plan.group.announce();
            return;
        };
        if adopted.is_some() {
            if let Some(set) = self.sets[group].get_mut(index) {
                set.name = Some(name.clone());
            }
            if let Some(published) = plan.group.region().set(index as u32) {
                published.publish_name(&name);
            }
            self.demand(group, index);
        } else {
            self.open_set(group, index as u32, Some(name.clone()), false);
        }
        if let Some(set) = self.sets[group].get_mut(index).filter(|_| !script.is_empty()) {
            set.script = Some(script);
        }
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "WSGI process group '{}': application group '{}' {} process set {}",
                plan.group.label(),
                text(&name).escape_debug(),
                if adopted.is_some() { "takes" } else { "starts" },
                index + 1
            ),
        );
        plan.group.announce();
    }

    /// A process of the set has started as it should.
    pub(super) fn start_succeeded(&mut self, group: usize, set: usize) {
        let Some(state) = self.sets[group].get_mut(set) else { return };
        state.failures = 0;
        state.first_failure = None;
        state.not_before = None;
        if let Some(published) = self.plans[group].group.region().set(set as u32) {
            published.publish_failing(false);
        }
    }

    /// Repeats what the first process of a row said that did not start, where this one said something
    /// else: the first is what is to be put right.
    pub(super) fn repeat_first_failure(&mut self, group: usize, set: usize, said: Said) {
        let plan = &self.plans[group];
        let state = &mut self.sets[group][set];
        match &state.first_failure {
            None if said.lines().next().is_none() => {}
            None => state.first_failure = Some(said),
            Some(first) if first.is_like(&said) => {}
            Some(first) => {
                let line = |text: &str| log::server(plan.server, Level::Error, text);
                line(&format!(
                    "WSGI0353: WSGI process group '{}': the first process that did not start had said:",
                    plan.group.label()
                ));
                first.lines().for_each(|said| line(&text(said)));
            }
        }
    }

    /// A process of the set could not be started, or ended before it was ready.
    pub(super) fn start_failed(&mut self, group: usize, set: usize, why: &str) {
        if self.release_held(group, set, why) {
            return;
        }
        self.show_outgoing(group, set);
        let census = self.census(group, set);
        let serving = u32::try_from(census.serving + census.outgoing).unwrap_or(u32::MAX);
        let serves = serving > 0;
        let plan = &self.plans[group];
        let state = &mut self.sets[group][set];
        let now = Instant::now();
        if serves && plan.group.is_elastic() {
            // Those that serve are enough until requests wait again.
            let least = plan.group.least_processes().max(serving);
            state.wanted = state.wanted.saturating_sub(1).max(least);
        }
        // Several processes that fail together are one failure.
        if state.not_before.is_none_or(|at| at <= now) {
            state.not_before = Some(now + back_off(state.failures));
            state.failures = state.failures.saturating_add(1);
        }
        let wait = state.not_before.map_or(Duration::ZERO, |at| at - now);
        if let Some(published) = plan.group.region().set(set as u32) {
            published.publish_failing(!serves);
        }
        plan.group.announce();
        log::server(
            plan.server,
            Level::Error,
            &format!(
                "WSGI0308: WSGI process group '{}': a daemon process did not start: {why}; next attempt in {}",
                plan.group.label(),
                process::age(wait)
            ),
        );
    }
}

/// How long to wait after so many failures.
pub(super) fn back_off(failures: u32) -> Duration {
    FIRST_BACK_OFF.saturating_mul(1 << failures.min(6)).min(MAX_BACK_OFF)
}
