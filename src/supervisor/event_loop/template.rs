// SPDX-License-Identifier: Apache-2.0
//! Templates (`preload=on`): one for each set, which has the application loaded and from which the
//! set's processes are forked. What it says of them is its user's word: it is looked at before a
//! process that it names is treated as one of ours.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::{Control, Reason};
use mod_wsgi_protocol::region::ProcessState;
use mod_wsgi_protocol::settings::Preload;

use super::Supervisor;
use crate::config::daemon_process::Reload;
use crate::config::words::text;
use crate::httpd::log::{self, Level};
use crate::os::process::{self as system, PidFd};
use crate::os::socket;
use crate::supervisor::launch::{self, Ends, Started};
use crate::supervisor::process::{self, DaemonProcess, Role};

/// Longest time in which a template forks a worker and says so.
const FORK_LIMIT: Duration = Duration::from_secs(10);

/// Processes that a template is asked for at a time: what is sent to it must fit into its socket.
const MAX_BIRTHS: usize = 16;

/// Slot of a process that has none, as it takes no requests.
const NO_SLOT: u32 = u32::MAX;

/// A worker that a template was told to fork.
#[derive(Debug)]
pub(super) struct Birth {
    /// Key of the template.
    template: u32,
    /// Its group, as an index of the plans.
    pub(super) group: usize,
    /// Its set in the group.
    pub(super) set: usize,
    /// Index in the group's shared memory that is kept for it.
    pub(super) slot: u32,
    /// Its serial.
    serial: u32,
    /// Our ends of what connects the two.
    ends: Ends,
    /// When the template was told.
    asked: Instant,
}

impl Supervisor<'_> {
    /// Has processes of a set forked, `missing` of them; for that there is a template, which is
    /// started first where there is none.
    pub(super) fn fork_missing(
        &mut self,
        group: usize,
        set: usize,
        missing: usize,
    ) -> io::Result<()> {
        let Some((key, role)) = self.template_of(group, set) else {
            return self.start_template(group, set);
        };
        let is_adopted = self.sets[group][set].name.is_some();
        if role != Role::Template || !is_adopted {
            // It is not yet known what is to be loaded, or it is being loaded.
            return Ok(());
        }
        if self.processes.get(&key).is_some_and(|template| template.is_blank) {
            return self.load(key);
        }
        let asked = self.births.iter().filter(|birth| birth.template == key).count();
        let more = missing.min(MAX_BIRTHS.saturating_sub(asked));
        (0..more).try_for_each(|_| self.ask_for_worker(key))
    }

    /// The template of a set, and how far it is.
    fn template_of(&self, group: usize, set: usize) -> Option<(u32, Role)> {
        self.processes.iter().find_map(|(key, process)| {
            let is_it = process.group == group
                && process.set as usize == set
                && matches!(process.role, Role::Importing | Role::Template);
            is_it.then_some((*key, process.role))
        })
    }

    fn start_template(&mut self, group: usize, set: usize) -> io::Result<()> {
        let plan = &self.plans[group];
        let mut settings = self.settings_of(group, set, NO_SLOT);
        settings.is_template = true;
        let is_blank = settings.application_group.is_none();
        if !is_blank && settings.preload.is_empty() {
            self.tell_nothing_to_load(group, set);
        }
        let started = launch::launch(plan, None, &settings.encode())?;
        let key = self.enter(group, set, NO_SLOT, 0, started)?;
        if let Some(template) = self.processes.get_mut(&key) {
            template.role = Role::Importing;
            template.is_template = true;
            template.is_blank = is_blank;
            let pid = template.process.pid();
            self.tell(group, &format!("template {pid} of WSGI process group '{{}}' is starting"));
        }
        Ok(())
    }

    /// Tells a template that was started before its set had an application group what to load.
    fn load(&mut self, key: u32) -> io::Result<()> {
        let Some(template) = self.processes.get(&key) else { return Ok(()) };
        let (group, set) = (template.group, template.set as usize);
        let mut settings = self.settings_of(group, set, NO_SLOT);
        settings.is_template = true;
        if settings.preload.is_empty() {
            self.tell_nothing_to_load(group, set);
        }
        let Some(template) = self.processes.get_mut(&key) else { return Ok(()) };
        socket::send_large_message(template.control.as_fd(), &settings.encode())?;
        template.is_blank = false;
        template.role = Role::Importing;
        template.started = Instant::now();
        Ok(())
    }

    fn tell_nothing_to_load(&self, group: usize, set: usize) {
        let name = self.sets[group][set].name.as_deref().unwrap_or_default();
        let text = format!(
            "WSGI process group '{{}}': preload=on has nothing to load for application group '{}', its processes load the script with their first request: name both groups behind WSGIScriptAlias",
            text(name).escape_debug()
        );
        self.tell(group, &text);
    }

    /// Logs a line of a group; `{}` in it is the group's name.
    fn tell(&self, group: usize, line: &str) {
        let plan = &self.plans[group];
        log::server(plan.server, Level::Info, &line.replacen("{}", &plan.group.label(), 1));
    }

    fn ask_for_worker(&mut self, key: u32) -> io::Result<()> {
        let Some(template) = self.processes.get(&key) else { return Ok(()) };
        let (group, set) = (template.group, template.set as usize);
        let plan = &self.plans[group];
        let slot = self.free_slot(group)?;
        let serial = self.claims.next_serial(group);
        let address = plan.group.address(serial);
        let settings = self.settings_of(group, set, slot);
        let (ends, theirs) = launch::connect(plan, Some(&address), &settings.encode())
            .inspect_err(|_| self.unpublish(group, slot, serial))?;
        let Some(listener) = &theirs.listener else { return Ok(()) };
        let mut descriptors = [&theirs.control, listener, &theirs.stdout, &theirs.stderr]
            .map(OwnedFd::as_fd)
            .to_vec();
        descriptors.extend(theirs.metrics.as_ref().map(OwnedFd::as_fd));
        let message = Control::Fork.encode(0);
        self.publish_start(group, set, slot, serial, 0);
        let sent = socket::send_with_descriptors(template.control.as_fd(), &message, &descriptors);
        if let Err(error) = sent {
            self.unpublish(group, slot, serial);
            return Err(error);
        }
        let asked = Instant::now();
        self.births.push(Birth { template: key, group, set, slot, serial, ends, asked });
        Ok(())
    }

    /// A process that was to be forked is not.
    fn abandon(&self, birth: &Birth) {
        self.unpublish(birth.group, birth.slot, birth.serial);
    }

    /// A process that was published is not there.
    pub(super) fn unpublish(&self, group: usize, slot: u32, serial: u32) {
        let group = &self.plans[group].group;
        if let Some(path) = group.address(serial).path() {
            let _ = std::fs::remove_file(path);
        }
        if let Some(published) = group.region().process(slot) {
            published.publish(ProcessState::Empty);
        }
    }

    /// A template has loaded what there is to load.
    pub(super) fn template_is_ready(&mut self, key: u32) {
        let Some(template) = self.processes.get_mut(&key) else { return };
        template.role = Role::Template;
        let (group, set) = (template.group, template.set as usize);
        let (pid, life) = (template.process.pid(), process::age(template.started.elapsed()));
        self.tell(
            group,
            &format!("template {pid} of WSGI process group '{{}}' is ready after {life}"),
        );
        self.start_succeeded(group, set);
        let held = self.keys_in(group, set, &[Role::Held]);
        for old in held {
            // Those that serve go when there is one that has the new code.
            if let Some(reason) = self.reason_of_template(old) {
                self.dismiss_template(old, reason);
            }
        }
    }

    /// Why a template was retired; None of a process that serves.
    fn reason_of_template(&self, key: u32) -> Option<Reason> {
        let template = self.processes.get(&key).filter(|process| process.is_template)?;
        Some(template.reason.unwrap_or(Reason::Supervisor))
    }

    /// A template has forked the worker that it was told to fork first.
    pub(super) fn worker_was_forked(&mut self, key: u32, pid: u32) {
        let Some(birth) = self.take_birth(key) else { return };
        let (group, set) = (birth.group, birth.set);
        let Some(template) = self.processes.get(&key) else { return };
        let template = template.process.pid();
        let Some(process) = self.examine(group, pid) else {
            self.abandon(&birth);
            let why = format!(
                "template {template} has named process {pid}, which is no new child of the supervisor with the group's user"
            );
            self.kill_template(key, &format!("WSGI0371: {why}: it is killed"));
            self.start_failed(group, set, &why);
            return;
        };
        let pid = process.pid();
        let started = Started { process, ends: birth.ends };
        match self.enter(group, set, birth.slot, birth.serial, started) {
            Ok(worker) => {
                if let Some(process) = self.processes.get_mut(&worker) {
                    process.template = Some(key);
                }
                self.tell(
                    group,
                    &format!(
                        "daemon process {pid} of WSGI process group '{{}}' was forked from template {template}"
                    ),
                );
                if self.is_stopping {
                    self.stop_now(worker);
                }
            }
            Err(error) => {
                self.unpublish(group, birth.slot, birth.serial);
                self.start_failed(group, set, &error.to_string());
            }
        }
    }

    /// A process that was named by a template, if it is what it should be: a child of ours that we
    /// do not know, of the group's user. While it is not waited for, its id names no other process.
    fn examine(&self, group: usize, pid: u32) -> Option<PidFd> {
        let pid = libc::pid_t::try_from(pid).ok()?;
        let is_known = self.processes.values().any(|process| process.process.pid() == pid);
        let user = system::user_of_child(pid)?;
        if is_known || user != self.plans[group].user() {
            return None;
        }
        PidFd::open(pid).ok()
    }

    /// A template could not fork.
    pub(super) fn fork_failed(&mut self, key: u32, number: u32) {
        let Some(birth) = self.take_birth(key) else { return };
        self.abandon(&birth);
        let error = io::Error::from_raw_os_error(i32::try_from(number).unwrap_or(0));
        self.start_failed(birth.group, birth.set, &format!("its template cannot fork: {error}"));
    }

    fn take_birth(&mut self, key: u32) -> Option<Birth> {
        let at = self.births.iter().position(|birth| birth.template == key)?;
        Some(self.births.remove(at))
    }

    /// What a template was told to fork will not be.
    pub(super) fn forget_births(&mut self, key: u32) {
        // A worker that there is after all finds its control socket closed, and leaves.
        while let Some(birth) = self.take_birth(key) {
            self.abandon(&birth);
        }
    }

    /// Hears what a template that has ended has said of processes that it has forked.
    pub(super) fn hear_last_births(&mut self, key: u32) {
        let waiting = |supervisor: &Self| {
            supervisor.births.iter().filter(|birth| birth.template == key).count()
        };
        loop {
            let before = waiting(self);
            if before == 0 {
                return;
            }
            self.hear_process(key);
            if waiting(self) == before {
                return self.forget_births(key);
            }
        }
    }

    /// A template asks to be replaced.
    pub(super) fn template_asks(&mut self, key: u32, reason: Option<Reason>, detail: i64) {
        let Some(template) = self.processes.get(&key) else { return };
        if template.role != Role::Template {
            return;
        }
        if reason == Some(Reason::ScriptChanged) {
            self.sets[template.group][template.set as usize].changed = detail;
        }
        self.retire_template(key, reason.unwrap_or(Reason::Supervisor));
    }

    /// A process that was forked from this template is to be replaced. When that is for other code,
    /// what comes is forked from a new template.
    pub(super) fn renew_template(&mut self, key: u32, reason: Reason) {
        let is_current =
            self.processes.get(&key).is_some_and(|template| template.role == Role::Template);
        let is_for_code = matches!(
            reason,
            Reason::ScriptChanged | Reason::GracefulSignal | Reason::EvictionSignal
        );
        if is_current && is_for_code {
            self.retire_template(key, reason);
        }
    }

    /// A template forks no more; with `reload=keep` it may have to again, when another does not load.
    fn retire_template(&mut self, key: u32, reason: Reason) {
        let Some(template) = self.processes.get_mut(&key) else { return };
        if self.plans[template.group].group.options.reload == Reload::Keep {
            template.role = Role::Held;
            template.reason = Some(reason);
            self.forget_births(key);
        } else {
            self.dismiss_template(key, reason);
        }
    }

    /// A template leaves: it does not fork any more.
    pub(super) fn dismiss_template(&mut self, key: u32, reason: Reason) {
        self.forget_births(key);
        let Some(template) = self.processes.get_mut(&key) else { return };
        template.reason = Some(reason);
        self.stop_now(key);
    }

    /// Dismisses the template of a set in which nothing is wanted.
    pub(super) fn dismiss_template_of(&mut self, group: usize, set: usize) {
        if let Some((key, _)) = self.template_of(group, set) {
            self.dismiss_template(key, Reason::InactivityTimeout);
        }
    }

    fn kill_template(&mut self, key: u32, line: &str) {
        self.forget_births(key);
        let Some(template) = self.processes.get_mut(&key) else { return };
        template.role = Role::Draining;
        template.is_killed = true;
        let _ = template.process.signal(libc::SIGKILL);
        let plan = &self.plans[template.group];
        let line = format!("{line} (WSGI process group '{}')", plan.group.label());
        log::server(plan.server, Level::Error, &line);
    }

    /// When a template must have answered, or must have loaded the application.
    pub(super) fn next_answer(&self) -> Option<Instant> {
        let loads = self.processes.values().filter_map(|process| self.end_of_load(process));
        // Births are in the order in which they were asked for.
        loads.chain(self.births.first().map(|birth| birth.asked + FORK_LIMIT)).min()
    }

    /// When `startup-timeout` of a template is over that loads the application.
    fn end_of_load(&self, process: &DaemonProcess) -> Option<Instant> {
        let seconds = self.plans[process.group].group.options.startup_timeout;
        let is_limited = process.role == Role::Importing && seconds > 0;
        is_limited.then(|| process.started + Duration::from_secs(u64::from(seconds)))
    }

    /// Kills templates that have not answered, or not loaded the application, in time.
    pub(super) fn kill_silent_templates(&mut self, now: Instant) {
        while let Some(birth) = self.births.first()
            && birth.asked + FORK_LIMIT <= now
        {
            let (key, group, set) = (birth.template, birth.group, birth.set);
            let pid = self.processes.get(&key).map_or(0, |template| template.process.pid());
            let why =
                format!("template {pid} has forked no process within {} s", FORK_LIMIT.as_secs());
            self.kill_template(key, &format!("WSGI0372: {why} and is killed"));
            self.start_failed(group, set, &why);
        }
        let overdue: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, process)| self.end_of_load(process).is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in overdue {
            let Some(template) = self.processes.get(&key) else { continue };
            let (group, set, pid) = (template.group, template.set as usize, template.process.pid());
            let seconds = self.plans[group].group.options.startup_timeout;
            let why = format!(
                "template {pid} has not loaded the application within {seconds} s (startup-timeout)"
            );
            self.kill_template(key, &format!("WSGI0341: {why} and is killed"));
            self.start_failed(group, set, &why);
        }
    }

    /// Takes the exits of processes that became our children because their parents ended. As long
    /// as a template may still name one of them, none is taken: its id could be used again.
    pub(super) fn reap_strangers(&mut self) {
        while self.births.is_empty() {
            let Some(pid) = system::ended_child() else { return };
            let known = self
                .processes
                .iter()
                .find_map(|(key, process)| (process.process.pid() == pid).then_some(*key));
            match known {
                Some(key) => {
                    self.bury(key);
                    if self.processes.contains_key(&key) {
                        return;
                    }
                }
                None => system::reap(pid),
            }
        }
    }

    /// Scripts that a set's template loads, and its processes where the template has not: those of
    /// the configuration, or the one that the first request was for.
    pub(super) fn preloads_of(&self, group: usize, set: usize, known: &[Preload]) -> Vec<Preload> {
        let state = &self.sets[group][set];
        match (&state.name, &state.script) {
            (Some(name), Some(script)) if known.is_empty() => {
                vec![Preload { script: script.clone(), application_group: name.clone() }]
            }
            _ => known.to_vec(),
        }
    }
}
