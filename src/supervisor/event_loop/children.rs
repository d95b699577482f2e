// SPDX-License-Identifier: Apache-2.0
//! httpd's children, as the supervisor knows them: what they say over the lease, and their ends.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mod_wsgi_protocol::control::{LEASE_SIZE, Lease};

use super::token::Token;
use super::{MESSAGES_A_TURN, Supervisor};
use crate::os::process::{self, PidFd};
use crate::os::socket::receive_now;

impl Supervisor<'_> {
    pub(super) fn hear_lease(&mut self) {
        let mut message = [0; LEASE_SIZE + 1];
        for _ in 0..MESSAGES_A_TURN {
            match receive_now(self.lease, &mut message) {
                Ok(None) => break,
                Ok(Some(0)) | Err(_) => {
                    // httpd's parent has given up this configuration, or is gone, and so are all
                    // children that served under it.
                    let _ = self.epoll.remove(self.lease);
                    self.stop_all();
                    return;
                }
                Ok(Some(length)) => {
                    match Lease::decode(message.get(..length).unwrap_or_default()) {
                        Ok(Lease::WantSet { group, name, script }) => {
                            self.want_set(group, name, script);
                        }
                        // The claims tell.
                        Ok(Lease::Registered { .. } | Lease::Stopping { .. }) | Err(_) => {}
                    }
                }
            }
        }
        // Whoever found no room for a message did so while there was one that has been read by now.
        for block in 0..self.claims.blocks() {
            self.watch_child(block);
        }
        self.stop_with_children();
    }

    /// Stops when all children do: httpd stops, and its parent waits for requests that this one alone
    /// can end in time.
    fn stop_with_children(&mut self) {
        let is_stopping = |block: &u32| self.claims.is_stopping(*block);
        if self.children.keys().any(is_stopping) && self.children.keys().all(is_stopping) {
            self.stop_all();
        }
    }

    /// Watches the child that has the block, if there is one.
    pub(super) fn watch_child(&mut self, block: u32) {
        let owner = self.claims.owner(block);
        let Ok(pid) = libc::pid_t::try_from(owner) else { return };
        if pid == 0 {
            return;
        }
        match self.children.get(&block) {
            Some(known) if known.pid() == pid => return,
            // The block has a new owner, who has cleared what the old one left.
            Some(known) => {
                let _ = self.epoll.remove(known.as_fd());
                self.children.remove(&block);
            }
            None => {}
        }
        match PidFd::open(pid) {
            Ok(child) => {
                if self.epoll.add(child.as_fd(), Token::Child(block).encode()).is_ok() {
                    self.children.insert(block, child);
                }
            }
            Err(_) if !process::exists(owner) => self.clear_block(block, owner),
            // The next message has us look again.
            Err(_) => {}
        }
    }

    /// A child has ended: what it had in flight is nothing any more.
    pub(super) fn forget_child(&mut self, block: u32) {
        // An event for the child before may come together with the news of the next.
        let has_ended = |child: &PidFd| matches!(child.wait(Duration::ZERO), Ok(true));
        if !self.children.get(&block).is_some_and(has_ended) {
            return;
        }
        let Some(child) = self.children.remove(&block) else { return };
        let _ = self.epoll.remove(child.as_fd());
        self.stop_with_children();
        self.clear_block(block, u32::try_from(child.pid()).unwrap_or(0));
    }

    /// Frees the block of a child that has ended, unless somebody else has it by now.
    fn clear_block(&self, block: u32, pid: u32) {
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
}
