// SPDX-License-Identifier: Apache-2.0
//! Which process gets a request: of the ready ones of its set, the one with the least in flight.
//! When none is ready, the request waits for the supervisor to announce one.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::cause::Cause;
use mod_wsgi_protocol::control::set_name;
use mod_wsgi_protocol::region::{ProcessState, SetState};

use super::{Child, Group};
use crate::os::memory::futex_wait;

/// A process that was chosen; counted as one request in flight as long as this lives.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    /// Its group.
    group: &'a Group,
    /// The child that counts.
    block: Option<u32>,
    /// Its index in the group.
    pub(crate) process: u32,
    /// Its serial.
    pub(crate) serial: u32,
    /// Its process id.
    pub(crate) pid: u32,
}

impl<'a> Chosen<'a> {
    fn new(group: &'a Group, child: &Child, process: u32, serial: u32) -> Self {
        let block = child.block();
        let counter = block.and_then(|block| group.region().in_flight(process, block));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let pid = group.region().process(process).map_or(0, |process| process.pid());
        Self { group, block, process, serial, pid }
    }

    /// Whether the process has ended, as the supervisor says.
    pub(crate) fn is_gone(&self) -> bool {
        self.group.region().process(self.process).is_none_or(|process| {
            process.serial() != self.serial || process.state() == ProcessState::Empty
        })
    }

    /// How the process ended: its connections close a moment before the supervisor can tell, for
    /// which this waits so long. None when the supervisor does not tell.
    pub(crate) fn cause_of_end(&self, patience: Duration) -> Option<Cause> {
        let region = self.group.region();
        let deadline = Instant::now() + patience;
        loop {
            let epoch = region.epoch().load(Ordering::Acquire);
            let cause = region.process(self.process)?.end_of(self.serial);
            let now = Instant::now();
            if cause.is_some() || now >= deadline {
                return cause;
            }
            futex_wait(region.epoch(), epoch, deadline - now);
        }
    }
}

impl Drop for Chosen<'_> {
    fn drop(&mut self) {
        let region = self.group.region();
        if let Some(counter) = self.block.and_then(|block| region.in_flight(self.process, block)) {
            // Not below 0: a supervisor that starts anew has zeroed it.
            let _ = counter
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1));
        }
    }
}

/// Why no process was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// The group has as many application groups as it may have.
    Exhausted,
    /// The set's processes fail to start.
    Failing,
    /// None became ready in time.
    TimedOut,
    /// All threads are busy, and as many requests wait for them as `listen-backlog` allows, for as
    /// long as `connect-timeout` says.
    Full,
}

/// The set of an application group; asks for one if there is none, which is to have `script`
/// loaded, and waits for it.
///
/// # Errors
/// Why there is none.
pub(crate) fn find_set(
    group: &Group,
    child: &Child,
    application_group: &[u8],
    script: &[u8],
    deadline: Instant,
) -> Result<u32, Unavailable> {
    if group.shares_processes() {
        return Ok(0);
    }
    let region = group.region();
    // The short name needs no copy.
    if let Some(set) = region.find_set(application_group) {
        return Ok(set);
    }
    let name = set_name(application_group);
    loop {
        let epoch = region.epoch().load(Ordering::Acquire);
        if let Some(set) = region.find_set(&name) {
            return Ok(set);
        }
        let has_room = (0..group.geometry().sets)
            .any(|set| region.set(set).is_some_and(|set| set.state() != SetState::Named));
        if !has_room {
            return Err(Unavailable::Exhausted);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Unavailable::TimedOut);
        }
        child.want_set(group.index, &name, script);
        futex_wait(region.epoch(), epoch, (deadline - now).min(Duration::from_secs(1)));
    }
}

/// Chooses a process of the set. `avoid` are serials that were found to be gone.
///
/// # Errors
/// Why none was chosen.
pub(crate) fn choose<'a>(
    group: &'a Group,
    child: &Child,
    set: u32,
    avoid: &[u32],
    deadline: Instant,
) -> Result<Chosen<'a>, Unavailable> {
    let region = group.region();
    let threads = u64::from(group.options.threads.max(1));
    // The kernel's queue holds one more than it is told.
    let backlog = u64::from(group.options.listen_backlog) + 1;
    let mut full: Option<Full> = None;
    loop {
        let epoch = region.epoch().load(Ordering::Acquire);
        let mut best: Option<(u32, u32, u32)> = None;
        let (mut ready, mut in_flight) = (0_u64, 0_u64);
        for index in 0..group.geometry().processes {
            let Some(process) = region.process(index) else { continue };
            if process.state() != ProcessState::Ready || process.set() != set {
                continue;
            }
            let serial = process.serial();
            if avoid.contains(&serial) {
                continue;
            }
            let load = region.load(index);
            ready += 1;
            in_flight += u64::from(load);
            if best.is_none_or(|(least, _, _)| load < least) {
                best = Some((load, index, serial));
            }
        }
        if let Some((_, index, serial)) = best {
            if in_flight < ready * threads + backlog {
                return Ok(Chosen::new(group, child, index, serial));
            }
            full.get_or_insert_with(|| Full::since(Instant::now(), group)).wait()?;
            continue;
        }
        if region.set(set).is_some_and(|set| set.failing()) {
            return Err(Unavailable::Failing);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Unavailable::TimedOut);
        }
        futex_wait(region.epoch(), epoch, (deadline - now).min(Duration::from_secs(1)));
    }
}

/// A wait for room in the queue: the queue itself is in the daemon processes, which take every
/// connection at once, and what `listen-backlog` bounds is how many wait there for a thread.
struct Full {
    /// When the request gives up.
    deadline: Instant,
    /// How long the next step is.
    pause: Duration,
}

impl Full {
    fn since(now: Instant, group: &Group) -> Self {
        let patience = Duration::from_secs(group.options.connect_timeout.into());
        Self { deadline: now + patience, pause: Duration::from_millis(1) }
    }

    /// One step, each twice as long as the one before, up to 128 ms, as for a kernel's full queue.
    fn wait(&mut self) -> Result<(), Unavailable> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Unavailable::Full);
        }
        std::thread::sleep(self.pause.min(self.deadline - now));
        self.pause = (self.pause * 2).min(Duration::from_millis(128));
        Ok(())
    }
}
