// SPDX-License-Identifier: Apache-2.0
//! The supervisor's event loop: messages of daemon processes and httpd children, ends of processes,
//! their output, timers. All decisions about the life of processes are here and in the files beside.
#![forbid(unsafe_code)]

mod burial;
mod children;
mod demand;
mod life;
mod metrics;
mod replacing;
mod sets;
mod template;
mod token;

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::Instant;

use mod_wsgi_protocol::control::set_name;
use mod_wsgi_protocol::region::{ProcessState, SetState};

use self::sets::Set;
use self::template::Birth;
use self::token::Token;
use super::inheritance::Inheritance;
use super::memory::MemoryKills;
use super::plan::Plan;
use super::process::DaemonProcess;
use crate::daemon::claims::Claims;
use crate::os::epoll::Epoll;
use crate::os::process::{self, PidFd};
use crate::os::signal::SignalFd;

/// Messages of one sender that are read before the others have their turn.
const MESSAGES_A_TURN: usize = 16;

/// The supervisor.
pub(crate) struct Supervisor<'a> {
    /// How processes are started, by group.
    plans: &'a [Plan<'a>],
    /// Sets, by group and set.
    sets: Vec<Vec<Set>>,
    /// Daemon processes by key.
    processes: HashMap<u32, DaemonProcess>,
    /// Processes that templates were told to fork, in that order.
    births: Vec<Birth>,
    /// Whether there are templates: what they fork becomes our child, and so do strangers.
    adopts_orphans: bool,
    /// Processes that have ended, and whose exit a debugger has not let go of.
    unreaped: HashSet<u32>,
    /// Outputs of processes that have ended, which what they have started still has.
    inherited: Inheritance<'a>,
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
    /// Whether the kernel kills for want of memory.
    memory_kills: MemoryKills,
    /// When it is looked at again what processes have in memory; None before the first time.
    next_weighing: Option<Instant>,
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
        let signals = SignalFd::new(&[
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGUSR1,
            libc::SIGCHLD,
        ])?;
        let adopts_orphans = plans.iter().any(Plan::uses_template);
        if adopts_orphans {
            process::adopt_orphans()?;
        }
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
            births: Vec::new(),
            adopts_orphans,
            unreaped: HashSet::new(),
            inherited: Inheritance::default(),
            next_key: 1,
            children: HashMap::new(),
            epoll,
            signals,
            claims,
            lease,
            memory_kills: MemoryKills::new(),
            next_weighing: None,
            is_stopping: false,
        };
        for group in 0..plans.len() {
            supervisor.take_over(group);
        }
        Ok(supervisor)
    }

    /// Begins with a group: forgets the processes and sets of a supervisor that died.
    fn take_over(&mut self, group: usize) {
        let Some(plan) = self.plans.get(group) else { return };
        let region = plan.group.region();
        for index in 0..plan.group.geometry().processes {
            if let Some(process) = region.process(index) {
                process.publish(ProcessState::Empty);
            }
        }
        for index in 0..plan.group.geometry().sets {
            // Who needs one that was opened on demand asks again.
            if let Some(set) = region.set(index) {
                set.publish(SetState::Empty);
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
                self.open_set(group, index, name, true);
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

    /// Runs until nobody is left and all processes have ended.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            let next = self.maintain();
            if self.is_stopping && self.processes.is_empty() {
                self.inherited.leave_to_listener();
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
                    Some(Token::Metrics(key)) => self.hear_question(key),
                    None => {}
                }
            }
        }
    }

    fn hear_signal(&mut self) {
        while let Ok(Some(signal)) = self.signals.next() {
            if matches!(signal, libc::SIGTERM | libc::SIGINT) {
                self.stop_all();
            }
        }
        // One of our children is ours again.
        for key in std::mem::take(&mut self.unreaped) {
            self.bury(key);
        }
    }
}
