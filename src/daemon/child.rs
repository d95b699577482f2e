// SPDX-License-Identifier: Apache-2.0
//! What an httpd child has of its own for daemon mode: its block in each group's shared memory,
//! free slots in it, and the pooled connections.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mod_wsgi_protocol::control::Lease;
use parking_lot::Mutex;

use super::Group;
use super::claims::Claims;
use super::connection::Connection;
use crate::os::{process, socket};

/// Idle connections that are kept to one process.
const MAX_IDLE: usize = 64;

/// The daemon side of one httpd child.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its block, in every group; None when all blocks are taken, and then no daemon process knows it.
    block: Option<u32>,
    /// Slots of the block that no request has.
    free_slots: Mutex<VecDeque<u32>>,
    /// Source of marks; never 0.
    next_mark: AtomicU32,
    /// Idle connections, by group and process.
    idle: Vec<Vec<Mutex<Vec<Connection>>>>,
    /// To the supervisor; as long as any child has it open, the supervisor stays.
    lease: Mutex<Option<OwnedFd>>,
    /// It has told that it stops: processes leave, and none comes for requests that wait.
    stops: AtomicBool,
}

impl Child {
    /// Takes a block and tells the supervisor.
    pub(crate) fn new(groups: &[Group], claims: &Claims, lease: OwnedFd) -> Self {
        let pid = process::own_pid();
        let block = claims.take(pid);
        let mut slots = VecDeque::new();
        if let (Some(block), Some(first)) = (block, groups.first()) {
            for group in groups {
                group.region().clear_child(block);
                if let Some(owner) = group.region().owner(block) {
                    owner.store(pid, Ordering::Release);
                }
            }
            let count = first.geometry().slots;
            slots = (block * count..(block + 1) * count).rev().collect();
            let message = Lease::Registered { child: block, pid }.encode();
            // Where it finds no room, the supervisor still has to read, and then sees the claim.
            let _ = socket::send_message(lease.as_fd(), &message);
        }
        let idle = groups
            .iter()
            .map(|group| (0..group.geometry().processes).map(|_| Mutex::default()).collect())
            .collect();
        Self {
            block,
            free_slots: Mutex::new(slots),
            next_mark: AtomicU32::new(1),
            idle,
            lease: Mutex::new(Some(lease)),
            stops: AtomicBool::new(false),
        }
    }

    /// Its block.
    pub(crate) fn block(&self) -> Option<u32> {
        self.block
    }

    /// A slot for one request.
    pub(crate) fn take_slot(&self) -> Option<u32> {
        self.free_slots.lock().pop_back()
    }

    /// Gives a slot back.
    pub(crate) fn return_slot(&self, slot: u32) {
        self.free_slots.lock().push_back(slot);
    }

    /// Gives a slot back whose process died: it is used again last, so that the supervisor, which
    /// may hear of the death later than this child, finds in it what was running.
    pub(crate) fn return_slot_of_dead(&self, slot: u32) {
        self.free_slots.lock().push_front(slot);
    }

    /// A mark that no other request of this child had lately.
    pub(crate) fn mark(&self) -> u32 {
        match self.next_mark.fetch_add(1, Ordering::Relaxed) {
            0 => self.next_mark.fetch_add(1, Ordering::Relaxed).max(1),
            mark => mark,
        }
    }

    /// An idle connection to the process with this index and serial.
    pub(crate) fn take_connection(
        &self,
        group: u32,
        process: u32,
        serial: u32,
    ) -> Option<Connection> {
        let mut idle = self.idle.get(group as usize)?.get(process as usize)?.lock();
        while let Some(connection) = idle.pop() {
            if connection.serial() == serial {
                return Some(connection);
            }
        }
        None
    }

    /// Throws away the idle connections to a process: one of them was found to be at its end.
    pub(crate) fn drop_connections(&self, group: u32, process: u32) {
        let places = self.idle.get(group as usize);
        if let Some(idle) = places.and_then(|places| places.get(process as usize)) {
            idle.lock().clear();
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn return_connection(&self, group: u32, process: u32, connection: Connection) {
        let places = self.idle.get(group as usize);
        if let Some(idle) = places.and_then(|places| places.get(process as usize)) {
            let mut idle = idle.lock();
            idle.retain(|other| other.serial() == connection.serial());
            if idle.len() < MAX_IDLE {
                idle.push(connection);
            }
        }
    }

    /// Asks the supervisor for a set. Nothing is answered: the set appears. False when it could not be
    /// told, as it has not yet read what others said.
    pub(crate) fn want_set(&self, group: u32, name: &[u8], script: &[u8]) -> bool {
        let message =
            Lease::WantSet { group, name: name.to_vec(), script: script.to_vec() }.encode();
        let lease = self.lease.lock();
        lease.as_ref().is_some_and(|lease| socket::send_message(lease.as_fd(), &message).is_ok())
    }

    /// Tells the supervisor that this child stops without waiting for its requests.
    pub(crate) fn tell_stop(&self, claims: &Claims) {
        self.stops.store(true, Ordering::Release);
        let Some(child) = self.block else { return };
        claims.stop(child, process::own_pid());
        if let Some(lease) = self.lease.lock().as_ref() {
            let _ = socket::send_message(lease.as_fd(), &Lease::Stopping { child }.encode());
        }
    }

    /// Whether it has said so.
    pub(crate) fn stops(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }

    /// This process asks for nothing any more.
    pub(crate) fn give_up_lease(&self) {
        drop(self.lease.lock().take());
    }
}

#[cfg(test)]
mod tests {
    use mod_wsgi_protocol::control::LEASE_SIZE;

    use super::*;

    #[test]
    fn a_child_knows_what_the_supervisor_could_not_be_told() {
        let (supervisor, children) = socket::message_pair().unwrap();
        let child = Child::new(&[], &Claims::new(1, 0).unwrap(), children);
        let told = (0..100_000).take_while(|_| child.want_set(0, b"group", b"")).count();
        assert!((1..100_000).contains(&told));
        let mut message = [0; LEASE_SIZE + 1];
        let received = socket::receive_now(supervisor.as_fd(), &mut message).unwrap();
        assert_eq!(received, Some(LEASE_SIZE));
        assert!(child.want_set(0, b"group", b""));
    }
}
