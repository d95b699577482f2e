// SPDX-License-Identifier: Apache-2.0
//! Which process gets a request: of the ready ones of its set, the one with the least in flight.
//! When none is ready, the request waits for the supervisor to announce one. When all threads are
//! busy, it waits a moment for one of them, or for another process, before it is bound to the queue
//! of a process that may be busy for long.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::cause::Cause;
use mod_wsgi_protocol::control::set_name;
use mod_wsgi_protocol::region::{ProcessState, Set, SetState};

use super::{Child, Group};
use crate::os::memory::{futex_wait, futex_wake_one};
use crate::os::process;

/// A process that was chosen; counted as one request in flight as long as this lives.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    /// Its group.
    group: &'a Group,
    /// Its set.
    set: Set<'a>,
    /// The child that counts.
    block: Option<u32>,
    /// Its index in the group.
    pub(crate) process: u32,
    /// Its serial.
    pub(crate) serial: u32,
    /// Its process id.
    pub(crate) pid: u32,
    /// When it was chosen.
    pub(crate) since: Instant,
}

impl<'a> Chosen<'a> {
    fn new(
        group: &'a Group,
        child: &Child,
        set: Set<'a>,
        process: u32,
        serial: u32,
        need: Need<'_>,
    ) -> Self {
        let block = child.block();
        if let Some(block) = block {
            group.region().begin(process, block, need.ignores_activity);
        }
        let pid = group.region().process(process).map_or(0, |process| process.pid());
        Self { group, set, block, process, serial, pid, since: Instant::now() }
    }

    /// Takes the choice back: the process has no thread, and none has become free.
    fn take_back(mut self) {
        if let Some(block) = self.block.take() {
            self.group.region().end(self.process, block);
        }
    }

    /// Whether the process has ended. The supervisor says so, but one that began anew knows nothing of
    /// the processes of the one before, which finish what they have.
    pub(crate) fn is_gone(&self) -> bool {
        let is_published = self.group.region().process(self.process).is_some_and(|process| {
            process.serial() == self.serial && process.state() != ProcessState::Empty
        });
        !is_published && !process::exists(self.pid)
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
        let Some(block) = self.block else { return };
        self.group.region().end(self.process, block);
        hand_on(self.set);
    }
}

/// A thread is free: the one takes it that has waited longest.
fn hand_on(set: Set<'_>) {
    let awaited = set.awaited();
    if awaited == 0 {
        return;
    }
    set.free_thread();
    if !futex_wake_one(set.freed()) {
        set.forget_awaited(awaited);
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
    /// httpd stops, and its daemon processes with it.
    Stopping,
}

/// What a request needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'n> {
    /// Processes of this application group.
    pub(crate) application_group: &'n [u8],
    /// That are to have this script loaded, where they are forked from a template.
    pub(crate) script: &'n [u8],
    /// They count as idle all the same.
    pub(crate) ignores_activity: bool,
}

/// Longest wait for a thread before a request joins the queue of a process, where another process may
/// become free earlier. While further processes are on their way it waits as long as for a full queue:
/// who has joined one stays there, though it may be the queue of a process that is busy for long.
const MOMENT: Duration = Duration::from_secs(1);

/// Longest sleep before a request that waits for a thread looks by itself, and is the last to be woken
/// then. Whoever ends a request wakes it; this bounds what is lost when the one that was woken dies.
const LOOK: Duration = Duration::from_millis(250);

/// Processes that did not take the request.
#[derive(Debug, Default)]
pub(crate) struct Avoided {
    /// Their serials.
    serials: Vec<u32>,
    /// How often the set had released processes when the request looked first.
    releases: Option<u32>,
}

impl Avoided {
    /// Adds one.
    pub(crate) fn push(&mut self, serial: u32) {
        self.serials.push(serial);
    }

    /// Forgets those that may take the request now, as the code that was to replace theirs does not
    /// load.
    fn refresh(&mut self, set: Set<'_>) {
        let releases = set.releases();
        if self.releases.replace(releases).is_some_and(|before| before != releases) {
            self.serials.clear();
        }
    }
}

/// Chooses a process that is not `avoided`, after asking for a set, and waiting for one, where there is
/// none.
///
/// # Errors
/// Why none was chosen.
pub(crate) fn choose<'a>(
    group: &'a Group,
    child: &Child,
    need: Need<'_>,
    avoided: &mut Avoided,
    deadline: Instant,
) -> Result<Chosen<'a>, Unavailable> {
    let region = group.region();
    let mut wait = Wait::default();
    loop {
        let epoch = region.epoch().load(Ordering::Acquire);
        let place = find_set(group, child, need, deadline)?;
        let freed = place.set.freed().load(Ordering::Acquire);
        let is_awaited = place.set.awaited() != 0;
        avoided.refresh(place.set);
        let seen = look(group, place.index, &avoided.serials);
        if let Some((index, serial)) = seen.best {
            // Who waits already is before who comes now.
            let is_in_turn = !is_awaited || wait.has_waited() || !wait.is_worth_while(group, &seen);
            let has_thread = is_in_turn && seen.has_thread(group);
            let since = Since { freed, is_awaited };
            if !has_thread && wait.for_thread(group, child, &place, &seen, since, need)? {
                continue;
            }
            let chosen = Chosen::new(group, child, place.set, index, serial, need);
            // An application could write there for ever.
            if place.set.openings() != place.openings && Instant::now() < deadline {
                continue;
            }
            let threads = group.options.threads.max(1);
            // Others may have chosen it at the same moment, above all when all had waited for it.
            if has_thread
                && (wait.has_waited() || seen.least + 1 >= threads)
                && wait.is_worth_while(group, &seen)
                && !wait.is_over(group, &seen)
                && region.load(index) > threads
            {
                chosen.take_back();
                wait.begin();
                continue;
            }
            if wait.has_waited() && has_thread && seen.in_flight + 1 < seen.threads(group) {
                // Several became free at a time.
                hand_on(place.set);
            }
            return Ok(chosen);
        }
        if child.stops() {
            return Err(Unavailable::Stopping);
        }
        if place.set.failing() {
            return Err(Unavailable::Failing);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Unavailable::TimedOut);
        }
        if group.is_elastic() && seen.starting == 0 && (place.set.ask() || wait.has_asked) {
            ask_for_more(group, child, place.set, need);
        }
        wait.has_asked = true;
        futex_wait(region.epoch(), epoch, (deadline - now).min(Duration::from_secs(1)));
    }
}

/// The set of an application group.
struct Place<'a> {
    /// The set.
    set: Set<'a>,
    /// Its index.
    index: u32,
    /// How often it had been opened when it was found.
    openings: u32,
}

/// The set of an application group; asks for one if there is none, and waits for it.
fn find_set<'a>(
    group: &'a Group,
    child: &Child,
    need: Need<'_>,
    deadline: Instant,
) -> Result<Place<'a>, Unavailable> {
    let region = group.region();
    let find = |name: &[u8]| {
        (0..group.geometry().sets).find_map(|index| {
            let set = region.set(index)?;
            // Before the name is looked at: another number later means that this was another's.
            let openings = set.openings();
            let is_it =
                group.shares_processes() || set.state() == SetState::Named && set.is_named(name);
            is_it.then_some(Place { set, index, openings })
        })
    };
    // The short name needs no copy.
    if let Some(place) = find(need.application_group) {
        return Ok(place);
    }
    let name = set_name(need.application_group);
    loop {
        let epoch = region.epoch().load(Ordering::Acquire);
        if let Some(place) = find(&name) {
            return Ok(place);
        }
        let has_room = (0..group.geometry().sets)
            .any(|set| region.set(set).is_some_and(|set| set.state() != SetState::Named));
        if !has_room {
            return Err(Unavailable::Exhausted);
        }
        if child.stops() {
            return Err(Unavailable::Stopping);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Unavailable::TimedOut);
        }
        // Where it cannot be told now, it is in a second.
        let _ = child.want_set(group.index, &name, need.script);
        futex_wait(region.epoch(), epoch, (deadline - now).min(Duration::from_secs(1)));
    }
}

/// Tells the supervisor that the set needs more processes; the next request that needs them does
/// where this one cannot.
fn ask_for_more(group: &Group, child: &Child, set: Set<'_>, need: Need<'_>) {
    if !child.want_set(group.index, &set_name(need.application_group), need.script) {
        set.forget_asked();
    }
}

/// What the processes of a set are doing.
#[derive(Debug, Default)]
struct Seen {
    /// Index and serial of the ready process with the least in flight.
    best: Option<(u32, u32)>,
    /// Requests that it has.
    least: u32,
    /// How many are ready.
    ready: u32,
    /// How many are starting.
    starting: u32,
    /// Requests that those have which are ready.
    in_flight: u64,
}

fn look(group: &Group, set: u32, avoid: &[u32]) -> Seen {
    let region = group.region();
    let mut seen = Seen::default();
    for index in 0..group.geometry().processes {
        let Some(process) = region.process(index) else { continue };
        let state = process.state();
        if !matches!(state, ProcessState::Ready | ProcessState::Starting) || process.set() != set {
            continue;
        }
        let serial = process.serial();
        if state == ProcessState::Starting {
            seen.starting += 1;
        } else if !avoid.contains(&serial) {
            let load = region.load(index);
            seen.ready += 1;
            seen.in_flight += u64::from(load);
            if seen.best.is_none() || load < seen.least {
                seen.least = load;
                seen.best = Some((index, serial));
            }
        }
    }
    seen
}

impl Seen {
    fn threads(&self, group: &Group) -> u64 {
        u64::from(self.ready) * u64::from(group.options.threads.max(1))
    }

    /// Whether a process has a thread. All together may look busy while several requests try the same.
    fn has_thread(&self, group: &Group) -> bool {
        self.least < group.options.threads.max(1)
    }
}

/// What was so before a request has looked for a thread.
#[derive(Debug, Clone, Copy)]
struct Since {
    /// The word that is advanced when a thread becomes free that is waited for.
    freed: u32,
    /// Whether one was waited for.
    is_awaited: bool,
}

/// A request's wait for a thread.
#[derive(Debug, Default)]
struct Wait {
    /// Since when.
    since: Option<Instant>,
    /// The request has waited for a process and asked for one.
    has_asked: bool,
}

impl Wait {
    /// Whether the request has waited for a process or a thread.
    fn has_waited(&self) -> bool {
        self.since.is_some() || self.has_asked
    }

    fn begin(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
    }

    /// Whether it has waited long enough to join the queue of a process that is not free.
    fn is_over(&self, group: &Group, seen: &Seen) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= Self::patience(group, seen))
    }

    fn patience(group: &Group, seen: &Seen) -> Duration {
        let longest = Duration::from_secs(group.options.connect_timeout.into());
        if seen.starting > 0 || Self::may_grow(group, seen) { longest } else { MOMENT.min(longest) }
    }

    /// Whether another process may be free earlier than one whose threads are busy. Where there is one
    /// queue only, whoever is in it is taken without delay.
    fn is_worth_while(&self, group: &Group, seen: &Seen) -> bool {
        seen.ready + seen.starting > 1 || Self::may_grow(group, seen)
    }

    fn may_grow(group: &Group, seen: &Seen) -> bool {
        group.is_elastic() && seen.ready + seen.starting < group.most_processes()
    }

    /// All threads are busy: waits until that may have changed. False when the request is to join the
    /// queue of a process now.
    fn for_thread(
        &mut self,
        group: &Group,
        child: &Child,
        place: &Place<'_>,
        seen: &Seen,
        before: Since,
        need: Need<'_>,
    ) -> Result<bool, Unavailable> {
        if Self::may_grow(group, seen) && place.set.ask() {
            ask_for_more(group, child, place.set, need);
        }
        // The queues are in the daemon processes, which take every connection at once; what is
        // bounded is how many wait there. The kernel's queue holds one more than it is told.
        let room = u64::from(group.options.listen_backlog) + 1;
        let is_full = seen.in_flight >= seen.threads(group) + room;
        let limit = if is_full {
            Duration::from_secs(group.options.connect_timeout.into())
        } else if self.is_worth_while(group, seen) {
            Self::patience(group, seen)
        } else {
            return Ok(false);
        };
        let waited = self.begin().elapsed();
        if waited >= limit {
            return if is_full { Err(Unavailable::Full) } else { Ok(false) };
        }
        place.set.await_thread();
        // Otherwise a thread may have become free before anybody knew that it is waited for.
        if before.is_awaited {
            futex_wait(place.set.freed(), before.freed, (limit - waited).min(LOOK));
        }
        Ok(true)
    }
}
