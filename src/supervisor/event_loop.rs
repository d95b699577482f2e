// SPDX-License-Identifier: Apache-2.0
//! The supervisor's event loop: messages of daemon processes and httpd children, ends of processes,
//! their output, timers. All decisions about the life of processes are here.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::control::{CONTROL_SIZE, Control, LEASE_SIZE, Lease, Reason, set_name};
use mod_wsgi_protocol::region::{ProcessState, SetState};

use super::launch::{self, Started};
use super::output::Lines;
use super::plan::Plan;
use super::process::{self, DaemonProcess, Output, Role};
use crate::config::words::text;
use crate::daemon::claims::Claims;
use crate::httpd::log::{self, Level};
use crate::os::epoll::Epoll;
use crate::os::process::{Exit, PidFd, end_now};
use crate::os::read;
use crate::os::signal::SignalFd;
use crate::os::socket::{self, receive_now};

/// Longest wait before a set whose processes do not start is tried again.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// First wait of that kind; it doubles.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);

/// Requests that are named when a process dies.
const NAMED_REQUESTS: usize = 5;

/// Messages of one sender that are read before the others have their turn.
const MESSAGES_A_TURN: usize = 16;

/// A process that ends sooner than this after its start has not served.
const QUICK_DEATH: Duration = Duration::from_secs(1);

/// Quick deaths, one after the other, that are answered by a new process without a pause.
const QUICK_DEATHS: u32 = 3;

/// What a token of the epoll set stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Lease,
    Signals,
    Exit(u32),
    Control(u32),
    Output(u32, usize),
    Child(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::Lease => (0, 0),
            Self::Signals => (1, 0),
            Self::Exit(key) => (2, key),
            Self::Control(key) => (3, key),
            Self::Output(key, 0) => (4, key),
            Self::Output(key, _) => (5, key),
            Self::Child(block) => (6, block),
        };
        u64::from(number) << 8 | kind
    }

    fn decode(token: u64) -> Option<Self> {
        let number = u32::try_from(token >> 8).ok()?;
        Some(match token & 0xff {
            0 => Self::Lease,
            1 => Self::Signals,
            2 => Self::Exit(number),
            3 => Self::Control(number),
            4 => Self::Output(number, 0),
            5 => Self::Output(number, 1),
            6 => Self::Child(number),
            _ => return None,
        })
    }
}

/// A set of a group, as the supervisor keeps it beside the published one.
#[derive(Debug, Clone, Default)]
struct Set {
    /// Processes are wanted here.
    is_used: bool,
    /// Its application group; None until it is adopted.
    name: Option<Vec<u8>>,
    /// Starts that failed, one after the other.
    failures: u32,
    /// Processes that ended soon after they were ready, one after the other.
    quick_deaths: u32,
    /// No start before this, as starts failed.
    not_before: Option<Instant>,
    /// No start before this, as processes ended soon after they were ready.
    not_before_after_death: Option<Instant>,
}

/// The supervisor.
pub(crate) struct Supervisor<'a> {
    /// How processes are started, by group.
    plans: &'a [Plan<'a>],
    /// Sets, by group and set.
    sets: Vec<Vec<Set>>,
    /// Daemon processes by key.
    processes: HashMap<u32, DaemonProcess>,
    /// Key that the next process gets.
    next_key: u32,
    /// httpd children by block.
    children: HashMap<u32, PidFd>,
    /// What is waited for.
    epoll: Epoll,
    /// Signals.
    signals: SignalFd,
    /// Who has which block, and serials: decided where no daemon process can write.
    claims: &'a Claims,
    /// Read end of the lease.
    lease: BorrowedFd<'a>,
    /// Nobody is left, or a signal came: processes are stopped, and then this one ends.
    is_stopping: bool,
}

impl<'a> Supervisor<'a> {
    /// A supervisor with nothing started yet.
    pub(crate) fn new(
        plans: &'a [Plan<'a>],
        claims: &'a Claims,
        lease: BorrowedFd<'a>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let signals = SignalFd::new(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1])?;
        epoll.add(lease, Token::Lease.encode())?;
        epoll.add(signals.as_fd(), Token::Signals.encode())?;
        let sets = plans
            .iter()
            .map(|plan| vec![Set::default(); plan.group.geometry().sets as usize])
            .collect();
        let mut supervisor = Self {
            plans,
            sets,
            processes: HashMap::new(),
            next_key: 1,
            children: HashMap::new(),
            epoll,
            signals,
            claims,
            lease,
            is_stopping: false,
        };
        for group in 0..plans.len() {
            supervisor.take_over(group);
        }
        Ok(supervisor)
    }

    /// Begins with a group: forgets the processes of a supervisor that died, and keeps its sets.
    fn take_over(&mut self, group: usize) {
        let Some(plan) = self.plans.get(group) else { return };
        let region = plan.group.region();
        for index in 0..plan.group.geometry().processes {
            if let Some(process) = region.process(index) {
                process.publish(ProcessState::Empty);
            }
        }
        plan.group.remove_stale_sockets();
        let mut names: Vec<Option<Vec<u8>>> = Vec::new();
        if plan.group.shares_processes() {
            names.push(Some(Vec::new()));
        }
        for preload in &plan.group.preloads {
            let name = Some(set_name(&preload.application_group));
            if !plan.group.shares_processes() && !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.push(None);
        }
        for (index, name) in names.into_iter().enumerate() {
            let Ok(index) = u32::try_from(index) else { break };
            if index < plan.group.geometry().sets {
                self.open_set(group, index, name);
            }
        }
        for index in 0..plan.group.geometry().children {
            // The region's copy may have been overwritten by what ran in the group.
            region.clear_child_counters(index);
            if let Some(owner) = region.owner(index) {
                owner.store(self.claims.owner(index), Ordering::Release);
            }
            self.watch_child(index);
        }
        plan.group.announce();
    }

    fn open_set(&mut self, group: usize, index: u32, name: Option<Vec<u8>>) {
        let Some(plan) = self.plans.get(group) else { return };
        if let Some(published) = plan.group.region().set(index) {
            match &name {
                Some(name) => published.publish_name(name),
                None => published.publish(SetState::Unadopted),
            }
            published.publish_failing(false);
        }
        if let Some(set) = self.sets.get_mut(group).and_then(|sets| sets.get_mut(index as usize)) {
            *set = Set { is_used: true, name, ..Set::default() };
        }
    }

    /// Runs until nobody is left and all processes have ended.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            let next = self.maintain();
            if self.is_stopping && self.processes.is_empty() {
                return Ok(());
            }
            for token in self.epoll.wait(next)? {
                match Token::decode(token) {
                    Some(Token::Lease) => self.hear_lease(),
                    Some(Token::Signals) => self.hear_signal(),
                    Some(Token::Control(key)) => self.hear_process(key),
                    Some(Token::Output(key, which)) => self.hear_output(key, which),
                    Some(Token::Exit(key)) => self.bury(key),
                    Some(Token::Child(block)) => self.forget_child(block),
                    None => {}
                }
            }
        }
    }

    /// Starts what is missing, kills what is overdue. Returns how long nothing else needs doing.
    fn maintain(&mut self) -> Option<Duration> {
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
                        "WSGI0307: daemon process {} of WSGI process group '{}' did not leave in time and is killed",
                        process.process.pid(),
                        plan.group.label()
                    ),
                );
            }
        }
        if !self.is_stopping {
            for group in 0..self.plans.len() {
                for set in 0..self.sets[group].len() {
                    let wanted = self.plans[group].group.processes() as usize;
                    if !self.sets[group][set].is_used {
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
                    if present >= wanted {
                        continue;
                    }
                    let state = &self.sets[group][set];
                    match state.not_before.max(state.not_before_after_death) {
                        Some(at) if at > now => earliest(at),
                        _ => {
                            for _ in present..wanted {
                                if let Err(error) = self.start(group, set) {
                                    self.start_failed(group, set, &error.to_string());
                                    if let Some(at) = self.sets[group][set].not_before {
                                        earliest(at);
                                    }
                                    break;
                                }
                            }
                        }
                    }
                }
            }
        }
        next.map(|at| at.saturating_duration_since(now))
    }

    fn start(&mut self, group: usize, set: usize) -> io::Result<()> {
        let plan = &self.plans[group];
        let region = plan.group.region();
        let is_taken = |slot: u32| {
            self.processes.values().any(|process| process.group == group && process.slot == slot)
        };
        let slot = (0..plan.group.geometry().processes)
            .find(|slot| !is_taken(*slot))
            .ok_or_else(|| io::Error::other("no place is left in the shared memory"))?;
        let serial = self.claims.next_serial(group);
        let mut settings = plan.settings.clone();
        let name = self.sets[group][set].name.clone();
        settings.process_slot = slot;
        if !plan.group.shares_processes() {
            settings.preload.retain(|preload| {
                name.as_deref() == Some(set_name(&preload.application_group).as_slice())
            });
        }
        settings.application_group = name;
        let Started { process, control, stdout, stderr } =
            launch::launch(plan, &plan.group.address(serial), &settings.encode())?;
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
        log::server(
            plan.server,
            Level::Info,
            &format!(
                "daemon process {} of WSGI process group '{}' is starting, with {} threads",
                process.pid(),
                plan.group.label(),
                plan.group.options.threads
            ),
        );
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
                kill_at: None,
                is_killed: false,
            },
        );
        Ok(())
    }

    /// A process of the set could not be started, or ended before it was ready.
    fn start_failed(&mut self, group: usize, set: usize, why: &str) {
        let serves = self.processes.values().any(|process| {
            process.group == group
                && process.set as usize == set
                && matches!(process.role, Role::Serving | Role::Outgoing)
        });
        let plan = &self.plans[group];
        let state = &mut self.sets[group][set];
        let now = Instant::now();
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

    fn hear_lease(&mut self) {
        let mut message = [0; LEASE_SIZE + 1];
        for _ in 0..MESSAGES_A_TURN {
            match receive_now(self.lease, &mut message) {
                Ok(None) => return,
                Ok(Some(0)) | Err(_) => {
                    // httpd's parent has given up this configuration, or is gone, and so are all
                    // children that served under it.
                    let _ = self.epoll.remove(self.lease);
                    self.stop_all();
                    return;
                }
                Ok(Some(length)) => {
                    match Lease::decode(message.get(..length).unwrap_or_default()) {
                        Ok(Lease::Registered { child, .. }) => self.watch_child(child),
                        Ok(Lease::WantSet { group, name }) => self.want_set(group, name),
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// Watches the child that has the block, if there is one.
    fn watch_child(&mut self, block: u32) {
        let pid = self.claims.owner(block);
        let Ok(pid) = libc::pid_t::try_from(pid) else { return };
        match self.children.get(&block) {
            _ if pid == 0 => return,
            // Found in the claims at start, and now it says so itself.
            Some(known) if known.pid() == pid => return,
            // The block has a new owner, who has cleared what the old one left.
            Some(known) => {
                let _ = self.epoll.remove(known.as_fd());
                self.children.remove(&block);
            }
            None => {}
        }
        // A child that has ended already is found by the one who needs its block.
        if let Ok(child) = PidFd::open(pid)
            && self.epoll.add(child.as_fd(), Token::Child(block).encode()).is_ok()
        {
            self.children.insert(block, child);
        }
    }

    /// A child has ended: what it had in flight is nothing any more.
    fn forget_child(&mut self, block: u32) {
        // An event for the child before may come together with the news of the next.
        let has_ended = |child: &PidFd| matches!(child.wait(Duration::ZERO), Ok(true));
        if !self.children.get(&block).is_some_and(has_ended) {
            return;
        }
        let Some(child) = self.children.remove(&block) else { return };
        let _ = self.epoll.remove(child.as_fd());
        let pid = u32::try_from(child.pid()).unwrap_or(0);
        if self.claims.owner(block) != pid {
            return;
        }
        for plan in self.plans {
            let region = plan.group.region();
            region.clear_child(block);
            if let Some(owner) = region.owner(block) {
                owner.store(0, Ordering::Release);
            }
        }
        self.claims.release(block, pid);
    }

    fn want_set(&mut self, group: u32, name: Vec<u8>) {
        let group = group as usize;
        let Some(plan) = self.plans.get(group) else { return };
        if self.is_stopping || plan.group.shares_processes() {
            return;
        }
        let Some(sets) = self.sets.get(group) else { return };
        if sets.iter().any(|set| set.name.as_ref() == Some(&name)) {
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
        } else {
            self.open_set(group, index as u32, Some(name.clone()));
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

    fn hear_signal(&mut self) {
        while let Ok(Some(signal)) = self.signals.next() {
            if matches!(signal, libc::SIGTERM | libc::SIGINT) {
                self.stop_all();
            }
        }
    }

    fn hear_process(&mut self, key: u32) {
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
                        Ok((Control::Drain | Control::Stop, _)) | Err(_) => {}
                    }
                }
            }
        }
    }

    fn became_ready(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.role != Role::Starting {
            return;
        }
        process.role = Role::Serving;
        let (group, set) = (process.group, process.set);
        let plan = &self.plans[group];
        if let Some(state) = self.sets[group].get_mut(set as usize) {
            state.failures = 0;
            state.not_before = None;
        }
        let region = plan.group.region();
        if let Some(published) = region.process(process.slot) {
            published.publish(ProcessState::Ready);
        }
        if let Some(published) = region.set(set) {
            published.publish_failing(false);
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
        // One that waited for this one may go now.
        let outgoing = self.processes.iter().find(|(_, other)| {
            other.group == group && other.set == set && other.role == Role::Outgoing
        });
        if let Some(outgoing) = outgoing.map(|(key, _)| *key) {
            self.drain(outgoing);
        }
        plan.group.announce();
    }

    fn replace(&mut self, key: u32, reason: Option<Reason>) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let (group, set, started) = (process.group, process.set, process.started);
        match process.role {
            Role::Serving => {}
            Role::Outgoing if reason == Some(Reason::ScriptChanged) => {}
            Role::Starting | Role::Outgoing | Role::Draining => return,
        }
        process.reason = reason.map(Reason::name);
        process.role = Role::Outgoing;
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
    fn leaves(&mut self, key: u32, reason: Option<Reason>) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        process.reason = reason.map(Reason::name);
        process.role = Role::Draining;
        let plan = &self.plans[process.group];
        let timeout = plan.group.options.shutdown_timeout;
        process.kill_at = Some(Instant::now() + Duration::from_secs(u64::from(timeout.max(1)) + 1));
        if let Some(published) = plan.group.region().process(process.slot) {
            published.publish(ProcessState::Draining);
        }
        plan.group.announce();
    }

    /// Gives it no more requests and tells it to leave when it has none.
    fn drain(&mut self, key: u32) {
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

    fn stop_all(&mut self) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        for process in self.processes.values_mut() {
            let plan = &self.plans[process.group];
            if let Some(published) = plan.group.region().process(process.slot) {
                published.publish(ProcessState::Draining);
            }
            process.role = Role::Draining;
            process.reason.get_or_insert("shutdown_signal");
            let timeout = plan.group.options.shutdown_timeout;
            let message = Control::Stop.encode(timeout);
            if socket::send_message(process.control.as_fd(), &message).is_err() {
                let _ = process.process.signal(libc::SIGTERM);
            }
            let limit = Duration::from_secs(u64::from(timeout.max(1))) + Duration::from_millis(500);
            process.kill_at = Some(Instant::now() + limit);
        }
        for plan in self.plans {
            plan.group.announce();
        }
    }

    fn hear_output(&mut self, key: u32, which: usize) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let plan = &self.plans[process.group];
        let Some(place) = process.outputs.get_mut(which) else { return };
        let Some(output) = place.as_mut() else { return };
        let mut buffer = [0; 8192];
        // A bounded number of reads: no process keeps the others from being heard.
        for _ in 0..16 {
            match read(output.fd.as_fd(), &mut buffer) {
                Ok(0) => {
                    output.lines.finish(|level, line| write_line(plan, level, line));
                    let _ = self.epoll.remove(output.fd.as_fd());
                    *place = None;
                    return;
                }
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    output.lines.take(bytes, |level, line| write_line(plan, level, line));
                }
                Err(_) => return,
            }
        }
    }

    /// A process has ended: tells how, and makes room for the next.
    fn bury(&mut self, key: u32) {
        let Some(exit) = self.processes.get(&key).and_then(|process| process.process.reap()) else {
            return;
        };
        for which in [0, 1] {
            self.hear_output(key, which);
        }
        let Some(mut process) = self.processes.remove(&key) else { return };
        for output in process.outputs.iter_mut().flatten() {
            let plan = &self.plans[process.group];
            output.lines.finish(|level, line| write_line(plan, level, line));
            let _ = self.epoll.remove(output.fd.as_fd());
        }
        let _ = self.epoll.remove(process.control.as_fd());
        let _ = self.epoll.remove(process.process.as_fd());
        let plan = &self.plans[process.group];
        if let Some(path) = plan.group.address(process.serial).path() {
            let _ = std::fs::remove_file(path);
        }
        let region = plan.group.region();
        let (running, count) = region.running_in(process.slot, process.serial, NAMED_REQUESTS);
        if let Some(published) = region.process(process.slot) {
            published.publish(ProcessState::Empty);
        }
        plan.group.announce();

        let (pid, name) = (process.process.pid(), plan.group.label());
        let life = process::age(process.started.elapsed());
        match process.role {
            Role::Draining if exit == Exit::Status(0) => log::server(
                plan.server,
                Level::Info,
                &format!(
                    "daemon process {pid} of WSGI process group '{name}' has left after {life}: {}",
                    process.reason.unwrap_or("shutdown_signal")
                ),
            ),
            Role::Draining => log::server(
                plan.server,
                if process.is_killed { Level::Info } else { Level::Warning },
                &format!(
                    "WSGI0309: daemon process {pid} of WSGI process group '{name}' {} while it was leaving, after {life}; {}",
                    process::cause(exit),
                    process::requests(&running, count)
                ),
            ),
            Role::Starting => {
                let why = format!("process {pid} {} after {life}", process::cause(exit));
                self.start_failed(process.group, process.set as usize, &why);
            }
            Role::Serving | Role::Outgoing => {
                let state = &mut self.sets[process.group][process.set as usize];
                if process.started.elapsed() < QUICK_DEATH {
                    state.quick_deaths = state.quick_deaths.saturating_add(1);
                } else {
                    state.quick_deaths = 0;
                }
                if state.quick_deaths > QUICK_DEATHS {
                    let wait = back_off(state.quick_deaths - QUICK_DEATHS - 1);
                    state.not_before_after_death = Some(Instant::now() + wait);
                }
                log::server(
                    plan.server,
                    Level::Error,
                    &format!(
                        "WSGI0303: daemon process {pid} of WSGI process group '{name}' {} after {life}; {}; it is replaced",
                        process::cause(exit),
                        process::requests(&running, count)
                    ),
                );
            }
        }
    }
}

/// How long to wait after so many failures.
fn back_off(failures: u32) -> Duration {
    FIRST_BACK_OFF.saturating_mul(1 << failures.min(6)).min(MAX_BACK_OFF)
}

fn write_line(plan: &Plan<'_>, level: Level, line: &[u8]) {
    log::server(plan.server, level, &text(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Lease,
            Token::Signals,
            Token::Exit(7),
            Token::Control(u32::MAX),
            Token::Output(3, 0),
            Token::Output(3, 1),
            Token::Child(12),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(9), None);
    }
}
