// SPDX-License-Identifier: Apache-2.0
//! httpd's children, as the supervisor knows them: what they say over the lease, and their ends.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mod_wsgi_protocol::control::{LEASE_SIZE, Lease};

use super::token::Token;
use super::{MESSAGES_A_TURN, Supervisor};
use crate::os::process::PidFd;
use crate::os::socket::receive_now;

impl Supervisor<'_> {
    pub(super) fn hear_lease(&mut self) {
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
                        Ok(Lease::Stopping { child }) => {
                            if self.children.contains_key(&child) {
                                self.stopping.insert(child);
                            }
                            self.stop_with_children();
                        }
                        Ok(Lease::WantSet { group, name, script }) => {
                            self.want_set(group, name, script);
                        }
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// Stops when all children do: httpd stops, and its parent waits for requests that this one alone
    /// can end in time.
    fn stop_with_children(&mut self) {
        if !self.stopping.is_empty()
            && self.children.keys().all(|block| self.stopping.contains(block))
        {
            self.stop_all();
        }
    }

    /// Watches the child that has the block, if there is one.
    pub(super) fn watch_child(&mut self, block: u32) {
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
                self.stopping.remove(&block);
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
    pub(super) fn forget_child(&mut self, block: u32) {
        // An event for the child before may come together with the news of the next.
        let has_ended = |child: &PidFd| matches!(child.wait(Duration::ZERO), Ok(true));
        if !self.children.get(&block).is_some_and(has_ended) {
            return;
        }
        let Some(child) = self.children.remove(&block) else { return };
        let _ = self.epoll.remove(child.as_fd());
        self.stopping.remove(&block);
        self.stop_with_children();
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
}
