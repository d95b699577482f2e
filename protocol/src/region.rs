// SPDX-License-Identifier: Apache-2.0
//! Shared memory of a process group: which processes it has and what state they are in (written by
//! the supervisor), how many requests each child has with each process, and the started marks
//! (written by daemon processes). All of it is counters and hints. Whoever reads does so with bounds
//! that were computed from the configuration, never from the memory itself.
//!
//! The memory is a slice of atomic words, so that nothing here needs `unsafe`; mapping it is the
//! business of the callers' `os` folders.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::cause::Cause;
use crate::control::MAX_SET_NAME;

const HEADER_WORDS: usize = 16;
const SET_WORDS: usize = 2 + MAX_SET_NAME / 4 + 6;
const PROCESS_WORDS: usize = 6;
const SLOT_WORDS: usize = 32;
const SCRIPT_WORDS: usize = 256;

/// Scripts that are remembered for each set.
const SCRIPTS: usize = 8;

/// Bits of a child's word for a process that hold its requests in flight; the others count those
/// that began.
const IN_FLIGHT_BITS: u32 = 16;

/// Mask of those bits.
const IN_FLIGHT: u32 = (1 << IN_FLIGHT_BITS) - 1;

/// Longest description of a request in a slot, in bytes.
pub const MAX_DESCRIPTION: usize = (SLOT_WORDS - 5) * 4;

/// How many of each there are; known to all from the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks for httpd children.
    pub children: u32,
    /// Started marks in the block of each child.
    pub slots: u32,
    /// Daemon processes of all sets, those that are leaving included.
    pub processes: u32,
    /// Sets (application groups).
    pub sets: u32,
}

impl Geometry {
    /// Four-byte words that a region of this geometry has.
    #[must_use]
    pub fn words(&self) -> usize {
        self.scripts_at() + self.sets as usize * SCRIPTS * SCRIPT_WORDS
    }

    /// Bytes that a region of this geometry has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words() * 4
    }

    fn sets_at(&self) -> usize {
        HEADER_WORDS
    }

    fn processes_at(&self) -> usize {
        self.sets_at() + self.sets as usize * SET_WORDS
    }

    fn owners_at(&self) -> usize {
        self.processes_at() + self.processes as usize * PROCESS_WORDS
    }

    fn requests_at(&self) -> usize {
        self.owners_at() + self.children as usize
    }

    fn slots_at(&self) -> usize {
        let end = self.requests_at() + self.processes as usize * self.children as usize;
        end.next_multiple_of(SLOT_WORDS)
    }

    fn scripts_at(&self) -> usize {
        self.slots_at() + self.children as usize * self.slots as usize * SLOT_WORDS
    }
}

/// State of a process, as the supervisor publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ProcessState {
    /// No process here.
    Empty = 0,
    /// Its interpreter is starting.
    Starting = 1,
    /// It takes requests.
    Ready = 2,
    /// It finishes what it has and takes no more.
    Draining = 3,
}

/// State of a set, as the supervisor publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum SetState {
    /// No set here.
    Empty = 0,
    /// Processes, but no application group yet: the first that asks gets it.
    Unadopted = 1,
    /// It belongs to an application group.
    Named = 2,
}

/// A region over mapped memory.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    /// The memory; [`Geometry::words`] long.
    words: &'a [AtomicU32],
    /// How it is divided.
    geometry: Geometry,
}

impl<'a> Region<'a> {
    /// The region of this geometry at the beginning of `words`; None when they are too few.
    #[must_use]
    pub fn new(words: &'a [AtomicU32], geometry: Geometry) -> Option<Self> {
        Some(Self { words: words.get(..geometry.words())?, geometry })
    }

    /// How the region is divided.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Counts every change of a set or process; children wait on it with a futex.
    #[must_use]
    pub fn epoch(&self) -> &'a AtomicU32 {
        &self.words[0]
    }

    /// Adds one to the epoch; the caller then wakes the waiters.
    pub fn advance_epoch(&self) {
        self.epoch().fetch_add(1, Ordering::Release);
    }

    /// The set with this index.
    #[must_use]
    pub fn set(&self, index: u32) -> Option<Set<'a>> {
        let at = self.geometry.sets_at() + index as usize * SET_WORDS;
        (index < self.geometry.sets).then(|| Set { words: &self.words[at..at + SET_WORDS] })
    }

    /// Index of the set of this name.
    #[must_use]
    pub fn find_set(&self, name: &[u8]) -> Option<u32> {
        (0..self.geometry.sets).find(|&index| {
            self.set(index).is_some_and(|set| set.state() == SetState::Named && set.is_named(name))
        })
    }

    /// The process with this index.
    #[must_use]
    pub fn process(&self, index: u32) -> Option<Process<'a>> {
        let at = self.geometry.processes_at() + index as usize * PROCESS_WORDS;
        (index < self.geometry.processes)
            .then(|| Process { words: &self.words[at..at + PROCESS_WORDS] })
    }

    /// Process id of the httpd child that owns this block; 0 is nobody.
    #[must_use]
    pub fn owner(&self, child: u32) -> Option<&'a AtomicU32> {
        (child < self.geometry.children)
            .then(|| &self.words[self.geometry.owners_at() + child as usize])
    }

    /// Whether some httpd child with this process id has a block.
    #[must_use]
    pub fn is_owner(&self, pid: u32) -> bool {
        let at = self.geometry.owners_at();
        pid != 0
            && self.words[at..at + self.geometry.children as usize]
                .iter()
                .any(|owner| owner.load(Ordering::Acquire) == pid)
    }

    /// A request of this child begins with this process. Unless it `is_idle`, it counts as activity.
    pub fn begin(&self, process: u32, child: u32, is_idle: bool) {
        if let Some(word) = self.requests(process, child) {
            let activity = if is_idle { 0 } else { 1 << IN_FLIGHT_BITS };
            word.fetch_add(1 + activity, Ordering::Relaxed);
        }
    }

    /// It has ended.
    pub fn end(&self, process: u32, child: u32) {
        if let Some(word) = self.requests(process, child) {
            // Not below 0: a supervisor that starts anew has zeroed it.
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (word & IN_FLIGHT != 0).then(|| word - 1)
            });
        }
    }

    fn requests(&self, process: u32, child: u32) -> Option<&'a AtomicU32> {
        self.requests_of(process)?.get(child as usize)
    }

    fn requests_of(&self, process: u32) -> Option<&'a [AtomicU32]> {
        let children = self.geometry.children as usize;
        let at = self.geometry.requests_at() + process as usize * children;
        (process < self.geometry.processes).then(|| &self.words[at..at + children])
    }

    /// Requests that all children have with this process.
    #[must_use]
    pub fn load(&self, process: u32) -> u32 {
        self.requests_of(process).map_or(u32::MAX, |words| {
            words.iter().fold(0, |sum: u32, word| {
                sum.saturating_add(word.load(Ordering::Relaxed) & IN_FLIGHT)
            })
        })
    }

    /// A number that is another one when a request came between, but for 65,536 of them.
    #[must_use]
    pub fn activity(&self, process: u32) -> u32 {
        self.requests_of(process).unwrap_or_default().iter().fold(0, |sum: u32, word| {
            sum.wrapping_add(word.load(Ordering::Relaxed) >> IN_FLIGHT_BITS)
        })
    }

    /// Zeroes what a dead child left: its counters and its slots.
    pub fn clear_child(&self, child: u32) {
        self.clear_child_counters(child);
        for slot in 0..self.geometry.slots {
            if let Some(slot) = self.slot(child * self.geometry.slots + slot) {
                slot.clear();
            }
        }
    }

    /// Zeroes the counters of a child. What it has in flight just now is forgotten: they are hints.
    pub fn clear_child_counters(&self, child: u32) {
        for process in 0..self.geometry.processes {
            if let Some(word) = self.requests(process, child) {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The slot with this index, counted over all children.
    #[must_use]
    pub fn slot(&self, index: u32) -> Option<Slot<'a>> {
        let count = self.geometry.children.checked_mul(self.geometry.slots)?;
        let at = self.geometry.slots_at() + index as usize * SLOT_WORDS;
        (index < count).then(|| Slot { words: &self.words[at..at + SLOT_WORDS] })
    }

    fn scripts(&self, set: u32) -> impl Iterator<Item = ScriptPlace<'a>> {
        let at = self.geometry.scripts_at() + set as usize * SCRIPTS * SCRIPT_WORDS;
        let places = if set < self.geometry.sets {
            &self.words[at..at + SCRIPTS * SCRIPT_WORDS]
        } else {
            &[]
        };
        places.chunks_exact(SCRIPT_WORDS).map(|words| ScriptPlace { words })
    }

    /// Daemon: remembers that requests of the set needed this script in this application group, for
    /// the processes that come after. A path that is too long, and one too many, are not.
    pub fn remember_script(&self, set: u32, script: &[u8], application_group: &[u8]) {
        let is_it = |(one, group): (Vec<u8>, Vec<u8>)| one == script && group == application_group;
        if self.scripts(set).any(|place| place.read().is_some_and(is_it)) {
            return;
        }
        let fits = script.len() + application_group.len() <= (SCRIPT_WORDS - 2) * 4;
        let place = self.scripts(set).find(|place| fits && place.claim());
        if let Some(place) = place {
            place.write(script, application_group);
        }
    }

    /// Scripts of the set, with their application groups, as processes of it remembered them.
    #[must_use]
    pub fn remembered_scripts(&self, set: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.scripts(set).filter_map(|place| place.read()).collect()
    }

    /// Daemon: forgets those scripts of the set that `is_to_go` names.
    pub fn forget_scripts(&self, set: u32, is_to_go: impl Fn(&[u8]) -> bool) {
        for place in self.scripts(set) {
            if place.read().is_some_and(|(script, _)| is_to_go(&script)) {
                place.clear();
            }
        }
    }

    /// Supervisor: the set begins anew, and no process of it runs.
    pub fn clear_scripts(&self, set: u32) {
        for place in self.scripts(set) {
            place.clear();
        }
    }

    /// Descriptions of the started requests that this process (index and serial) has, at most
    /// `limit` of them, and how many there are.
    #[must_use]
    pub fn running_in(&self, process: u32, serial: u32, limit: usize) -> (Vec<Vec<u8>>, usize) {
        let mut found = Vec::new();
        let mut count = 0;
        for index in 0..self.geometry.children * self.geometry.slots {
            if let Some(slot) = self.slot(index)
                && slot.is_running_in(process, serial)
            {
                count += 1;
                if found.len() < limit {
                    found.push(slot.description());
                }
            }
        }
        (found, count)
    }
}

/// Words of a set behind its name.
const FAILING: usize = 2 + MAX_SET_NAME / 4;
const OPENINGS: usize = FAILING + 1;
const ASKED: usize = FAILING + 2;
const FREED: usize = FAILING + 3;
const AWAITED: usize = FAILING + 4;
const RELEASES: usize = FAILING + 5;

/// One set in a region.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// State, name length, name; whether it fails, how often it was opened, whether it is asked for
    /// more processes, a count of threads that became free, whether that is waited for; how often
    /// processes were released.
    words: &'a [AtomicU32],
}

impl<'a> Set<'a> {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> SetState {
        match self.words[0].load(Ordering::Acquire) {
            1 => SetState::Unadopted,
            2 => SetState::Named,
            _ => SetState::Empty,
        }
    }

    /// Publishes a state without a name.
    pub fn publish(&self, state: SetState) {
        self.words[0].store(state as u32, Ordering::Release);
    }

    /// Publishes the name (at most [`MAX_SET_NAME`] bytes of it); the set is `Named` then.
    pub fn publish_name(&self, name: &[u8]) {
        let name = name.get(..MAX_SET_NAME).unwrap_or(name);
        store_bytes(&self.words[2..2 + MAX_SET_NAME / 4], name);
        self.words[1].store(u32::try_from(name.len()).unwrap_or(0), Ordering::Relaxed);
        self.publish(SetState::Named);
    }

    /// Whether it has this name.
    #[must_use]
    pub fn is_named(&self, name: &[u8]) -> bool {
        let length = self.words[1].load(Ordering::Relaxed) as usize;
        length == name.len()
            && name
                .chunks(4)
                .zip(&self.words[2..2 + MAX_SET_NAME / 4])
                .all(|(part, word)| word.load(Ordering::Relaxed) == word_of(part))
    }

    /// Whether its processes fail to start: nobody should wait long.
    #[must_use]
    pub fn failing(&self) -> bool {
        self.words[FAILING].load(Ordering::Relaxed) != 0
    }

    /// How often it was opened: another number means that it may belong to another application group.
    #[must_use]
    pub fn openings(&self) -> u32 {
        self.words[OPENINGS].load(Ordering::Acquire)
    }

    /// The supervisor opens it anew.
    pub fn publish_opening(&self) {
        self.words[OPENINGS].fetch_add(1, Ordering::AcqRel);
        self.forget_asked();
    }

    /// Child: asks for more processes; whether nobody did so before since the supervisor looked, which
    /// is then to be told.
    #[must_use]
    pub fn ask(&self) -> bool {
        self.words[ASKED].load(Ordering::Relaxed) == 0
            && self.words[ASKED].swap(1, Ordering::Relaxed) == 0
    }

    /// Supervisor: wants to be told again when more processes are needed.
    pub fn forget_asked(&self) {
        self.words[ASKED].store(0, Ordering::Relaxed);
    }

    /// Counts threads that became free while somebody waited for one; children wait on it with a
    /// futex.
    #[must_use]
    pub fn freed(&self) -> &'a AtomicU32 {
        &self.words[FREED]
    }

    /// Child: a request waits for a thread from now on.
    pub fn await_thread(&self) {
        // Another number each time: who has found nobody waiting does not forget those who came since.
        if self.words[AWAITED].fetch_add(1, Ordering::SeqCst) == u32::MAX {
            self.words[AWAITED].store(1, Ordering::SeqCst);
        }
    }

    /// Whether a request may wait for a thread: a number that changes when one begins to, 0 for none.
    #[must_use]
    pub fn awaited(&self) -> u32 {
        self.words[AWAITED].load(Ordering::SeqCst)
    }

    /// Nobody waits, unless somebody has begun to since `awaited` was read.
    pub fn forget_awaited(&self, awaited: u32) {
        let _ =
            self.words[AWAITED].compare_exchange(awaited, 0, Ordering::SeqCst, Ordering::Relaxed);
    }

    /// A thread may be free; those who wait are to be woken.
    pub fn free_thread(&self) {
        self.freed().fetch_add(1, Ordering::Release);
    }

    /// How often processes that had found their script changed were given requests again: who avoids
    /// one for that need not any more.
    #[must_use]
    pub fn releases(&self) -> u32 {
        self.words[RELEASES].load(Ordering::Acquire)
    }

    /// Adds one to [`Self::releases`].
    pub fn count_release(&self) {
        self.words[RELEASES].fetch_add(1, Ordering::Release);
    }

    /// Publishes [`Self::failing`].
    pub fn publish_failing(&self, failing: bool) {
        self.words[FAILING].store(u32::from(failing), Ordering::Relaxed);
    }
}

/// One process in a region.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// State, serial, set, process id; serial and cause of the last end here.
    words: &'a [AtomicU32],
}

impl Process<'_> {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        match self.words[0].load(Ordering::Acquire) {
            1 => ProcessState::Starting,
            2 => ProcessState::Ready,
            3 => ProcessState::Draining,
            _ => ProcessState::Empty,
        }
    }

    /// Publishes a state.
    pub fn publish(&self, state: ProcessState) {
        self.words[0].store(state as u32, Ordering::Release);
    }

    /// Publishes a process that is starting here.
    pub fn publish_start(&self, serial: u32, set: u32, pid: u32) {
        self.words[1].store(serial, Ordering::Relaxed);
        self.words[2].store(set, Ordering::Relaxed);
        self.words[3].store(pid, Ordering::Relaxed);
        self.publish(ProcessState::Starting);
    }

    /// Number that no other process of the group has or had; part of its socket's name.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.words[1].load(Ordering::Relaxed)
    }

    /// Index of its set.
    #[must_use]
    pub fn set(&self) -> u32 {
        self.words[2].load(Ordering::Relaxed)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.words[3].load(Ordering::Relaxed)
    }

    /// Publishes how the process with this serial ended. It stays when another process starts here,
    /// until that one has ended too.
    pub fn publish_end(&self, serial: u32, cause: Cause) {
        self.words[5].store(cause.encode(), Ordering::Relaxed);
        self.words[4].store(serial, Ordering::Release);
    }

    /// How the process with this serial ended; None when that is not known (yet, or any more).
    #[must_use]
    pub fn end_of(&self, serial: u32) -> Option<Cause> {
        let is_told = self.words[4].load(Ordering::Acquire) == serial;
        if is_told { Cause::decode(self.words[5].load(Ordering::Relaxed)) } else { None }
    }
}

/// One started mark, and what is told of the request when its process dies.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// Mark, process, serial, description length, mark of what is produced, description.
    words: &'a [AtomicU32],
}

impl Slot<'_> {
    /// Daemon: the application is about to be called for the request with this mark.
    pub fn start(&self, mark: u32) {
        self.words[0].store(mark, Ordering::Release);
    }

    /// Daemon: the request with this mark, if it is the one of the slot still, was given up before
    /// the application was called. It counts as started.
    pub fn give_up(&self, mark: u32) {
        // Where the slot has another request meanwhile, that has started, or has another mark.
        let _ = self.words[0].compare_exchange(0, mark, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Child: whether the request with this mark has started.
    #[must_use]
    pub fn is_started(&self, mark: u32) -> bool {
        self.words[0].load(Ordering::Acquire) == mark
    }

    /// Daemon: all of the response to the request with this mark is sent, but for its end.
    pub fn produce(&self, mark: u32) {
        self.words[4].store(mark, Ordering::Release);
    }

    /// Child: whether all of the response to the request with this mark was sent.
    #[must_use]
    pub fn is_produced(&self, mark: u32) -> bool {
        self.words[4].load(Ordering::Acquire) == mark
    }

    /// Child: says which process the request goes to, and what it is.
    pub fn describe(&self, process: u32, serial: u32, description: &[u8]) {
        let description = description.get(..MAX_DESCRIPTION).unwrap_or(description);
        self.words[1].store(process, Ordering::Relaxed);
        self.words[2].store(serial, Ordering::Relaxed);
        store_bytes(&self.words[5..], description);
        self.words[3].store(u32::try_from(description.len()).unwrap_or(0), Ordering::Release);
    }

    /// Child: the request is over.
    pub fn clear(&self) {
        self.words[3].store(0, Ordering::Relaxed);
        self.words[4].store(0, Ordering::Relaxed);
        self.words[0].store(0, Ordering::Release);
    }

    fn is_running_in(&self, process: u32, serial: u32) -> bool {
        self.words[0].load(Ordering::Acquire) != 0
            && self.words[3].load(Ordering::Acquire) != 0
            && self.words[1].load(Ordering::Relaxed) == process
            && self.words[2].load(Ordering::Relaxed) == serial
    }

    /// What [`Self::describe`] said; bytes of a stranger, to be escaped before they are shown.
    #[must_use]
    pub fn description(&self) -> Vec<u8> {
        let length = (self.words[3].load(Ordering::Acquire) as usize).min(MAX_DESCRIPTION);
        load_bytes(&self.words[5..], length)
    }
}

/// A script that is remembered.
#[derive(Debug, Clone, Copy)]
struct ScriptPlace<'a> {
    /// Taken, lengths of the path (low half) and the group (high half), path and group.
    words: &'a [AtomicU32],
}

impl ScriptPlace<'_> {
    fn claim(&self) -> bool {
        self.words[0].compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn write(&self, script: &[u8], group: &[u8]) {
        let lengths = u32::try_from(script.len() | group.len() << 16).unwrap_or(0);
        store_bytes(&self.words[2..], &[script, group].concat());
        self.words[1].store(lengths, Ordering::Release);
    }

    fn read(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let lengths = self.words[1].load(Ordering::Acquire);
        let (script, group) = ((lengths & 0xffff) as usize, (lengths >> 16) as usize);
        if lengths == 0 || script + group > (SCRIPT_WORDS - 2) * 4 {
            return None;
        }
        let mut bytes = load_bytes(&self.words[2..], script + group);
        let group = bytes.split_off(script);
        Some((bytes, group))
    }

    fn clear(&self) {
        self.words[1].store(0, Ordering::Relaxed);
        self.words[0].store(0, Ordering::Release);
    }
}

fn load_bytes(words: &[AtomicU32], length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = words
        .iter()
        .take(length.div_ceil(4))
        .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

fn word_of(part: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    for (byte, value) in bytes.iter_mut().zip(part) {
        *byte = *value;
    }
    u32::from_le_bytes(bytes)
}

fn store_bytes(words: &[AtomicU32], bytes: &[u8]) {
    for (part, word) in bytes.chunks(4).zip(words) {
        word.store(word_of(part), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::End;

    const GEOMETRY: Geometry = Geometry { children: 3, slots: 2, processes: 4, sets: 2 };

    fn memory() -> Vec<AtomicU32> {
        (0..GEOMETRY.words()).map(|_| AtomicU32::new(0)).collect()
    }

    #[test]
    fn a_region_needs_all_its_words() {
        let memory = memory();
        assert!(Region::new(&memory, GEOMETRY).is_some());
        assert!(Region::new(&memory[1..], GEOMETRY).is_none());
    }

    #[test]
    fn indices_beyond_the_geometry_have_nothing() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        assert!(region.set(2).is_none() && region.process(4).is_none());
        assert!(region.owner(3).is_none() && region.slot(6).is_none());
        assert!(region.requests(0, 3).is_none() && region.requests(4, 0).is_none());
        assert!(region.slot(u32::MAX).is_none());
    }

    #[test]
    fn sets_are_found_by_their_whole_name() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        region.set(1).unwrap().publish_name(b"example.org|/app");
        assert_eq!(region.find_set(b"example.org|/app"), Some(1));
        assert_eq!(region.find_set(b"example.org|/ap"), None);
        assert_eq!(region.find_set(b""), None);
        region.set(0).unwrap().publish_name(b"");
        assert_eq!(region.find_set(b""), Some(0));
    }

    #[test]
    fn load_is_the_sum_over_children_and_a_dead_child_leaves_nothing() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        for child in [0, 0, 2, 2, 2] {
            region.begin(1, child, false);
        }
        assert_eq!((region.load(1), region.load(0), region.load(9)), (5, 0, u32::MAX));
        region.clear_child(2);
        assert_eq!(region.load(1), 2);
        for _ in 0..3 {
            region.end(1, 0);
        }
        assert_eq!(region.load(1), 0);
    }

    #[test]
    fn a_request_that_came_and_went_is_activity() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        let before = region.activity(1);
        region.begin(1, 0, true);
        assert_eq!((region.load(1), region.activity(1)), (1, before));
        region.end(1, 0);
        region.begin(1, 0, false);
        region.end(1, 0);
        assert_eq!(region.load(1), 0);
        assert_ne!(region.activity(1), before);
    }

    #[test]
    fn a_set_is_asked_for_once_until_the_supervisor_has_looked() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        let set = region.set(0).unwrap();
        assert_eq!((set.ask(), set.ask()), (true, false));
        set.forget_asked();
        assert!(set.ask());
        let before = set.openings();
        set.publish_opening();
        assert!(set.openings() != before && set.ask());
    }

    #[test]
    fn scripts_of_a_set_are_remembered_once() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        region.remember_script(1, b"/a.wsgi", b"example.org|/app");
        region.remember_script(1, b"/a.wsgi", b"example.org|/app");
        region.remember_script(1, b"/b", b"");
        region.remember_script(1, &[b'x'; 2000], b"");
        region.remember_script(2, b"/b", b"");
        let known = |path: &[u8], group: &[u8]| (path.to_vec(), group.to_vec());
        assert_eq!(
            region.remembered_scripts(1),
            [known(b"/a.wsgi", b"example.org|/app"), known(b"/b", b"")]
        );
        assert_eq!(region.remembered_scripts(0), []);
        region.forget_scripts(1, |script| script == b"/b");
        assert_eq!(region.remembered_scripts(1).len(), 1);
        for number in 0..20 {
            region.remember_script(1, format!("/{number}").as_bytes(), b"");
        }
        assert_eq!(region.remembered_scripts(1).len(), SCRIPTS);
        // Whatever an application writes there is read within bounds.
        for word in &memory {
            word.store(u32::MAX, Ordering::Relaxed);
        }
        assert_eq!(region.remembered_scripts(1), []);
    }

    #[test]
    fn a_process_knows_which_started_requests_it_has() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        let slot = region.slot(3).unwrap();
        slot.describe(2, 7, b"GET /report");
        assert_eq!(region.running_in(2, 7, 4), (vec![], 0));
        slot.start(41);
        assert!(slot.is_started(41) && !slot.is_started(40));
        slot.give_up(42);
        assert!(slot.is_started(41));
        assert!(!slot.is_produced(41));
        slot.produce(41);
        assert!(slot.is_produced(41));
        assert_eq!(region.running_in(2, 7, 4), (vec![b"GET /report".to_vec()], 1));
        assert_eq!(region.running_in(2, 8, 4).1, 0);
        slot.clear();
        assert_eq!(region.running_in(2, 7, 4).1, 0);
        slot.give_up(42);
        assert!(slot.is_started(42));
    }

    #[test]
    fn an_end_is_known_until_the_next_one_in_its_place() {
        let memory = memory();
        let region = Region::new(&memory, GEOMETRY).unwrap();
        let process = region.process(1).unwrap();
        assert_eq!(process.end_of(3), None);
        let cause = Cause { end: End::Signal(11), is_overdue: false, reason: None };
        process.publish_end(3, cause);
        process.publish_start(4, 0, 77);
        assert_eq!((process.end_of(3), process.end_of(4)), (Some(cause), None));
        process.publish_end(4, Cause { end: End::Exit(1), ..cause });
        assert_eq!(process.end_of(3), None);
    }
}
