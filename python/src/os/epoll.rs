// SPDX-License-Identifier: Apache-2.0
//! One epoll set. Connections are registered for one event at a time, so that the thread that gets
//! the event has the connection to itself until it arms it again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

/// What `wait` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The descriptor that is readable, or at its end.
    pub(crate) descriptor: RawFd,
}

/// An epoll set.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 returns a new descriptor that is ours, or -1.
        unsafe {
            let descriptor = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            checked(descriptor as isize)?;
            Ok(Self(OwnedFd::from_raw_fd(descriptor)))
        }
    }

    fn control(&self, operation: i32, descriptor: RawFd, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: u32::try_from(events).unwrap_or(0),
            u64: u64::try_from(descriptor).unwrap_or(u64::MAX),
        };
        // SAFETY: epoll_ctl reads the event and returns -1 for descriptors it can not use.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, descriptor, &raw mut event) };
        checked(result as isize).map(drop)
    }

    /// Adds a descriptor for one event.
    ///
    /// # Errors
    /// When there is no memory, or a limit is reached.
    pub(crate) fn add_once(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.control(
            libc::EPOLL_CTL_ADD,
            descriptor.as_raw_fd(),
            libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT,
        )
    }

    /// Arms a descriptor, which is in the set, for one more event.
    ///
    /// # Errors
    /// When it is not in the set.
    pub(crate) fn arm(&self, descriptor: RawFd) -> io::Result<()> {
        self.control(
            libc::EPOLL_CTL_MOD,
            descriptor,
            libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT,
        )
    }

    /// Adds a descriptor that wakes every waiter for as long as it is readable.
    ///
    /// # Errors
    /// See [`Self::add_once`].
    pub(crate) fn add_level(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor.as_raw_fd(), libc::EPOLLIN)
    }

    /// Waits for the next event; nothing when a signal interrupted it.
    ///
    /// # Errors
    /// When the set is unusable.
    pub(crate) fn wait(&self) -> io::Result<Option<Event>> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: epoll_wait writes at most one event to the address.
        let result = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, -1) };
        match checked(result as isize) {
            Ok(0) => Ok(None),
            Ok(_) => {
                let descriptor = event.u64;
                Ok(RawFd::try_from(descriptor).ok().map(|descriptor| Event { descriptor }))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }
}
