// SPDX-License-Identifier: Apache-2.0
//! Forking a process with an interpreter in it, as `os.fork()` does it: functions of
//! `os.register_at_fork` run, the import lock is held, and CPython forgets the other threads.

use std::io;
use std::os::fd::BorrowedFd;

use super::token::Attached;
use crate::os::{self, Side, SignalPipe};

// In the stable ABI since 3.7; pyo3 does not have them.
unsafe extern "C" {
    fn PyOS_BeforeFork();
    fn PyOS_AfterFork_Parent();
    fn PyOS_AfterFork_Child();
}

impl Attached<'_> {
    /// Forks a worker, which goes on with the calling thread alone; see [`os::fork_worker`].
    ///
    /// # Errors
    /// When the system refuses a descriptor or a process.
    pub(crate) fn fork_worker(
        self,
        signals: &SignalPipe,
        outputs: [BorrowedFd<'_>; 2],
    ) -> io::Result<Side> {
        // SAFETY: all three want an attached thread, which `self` proves; they come in this order
        // around a fork, one of the two latter in each process. The thread state of this thread is
        // the one that CPython keeps in the child. The process in between runs no Python.
        unsafe {
            PyOS_BeforeFork();
            let side = os::fork_worker(signals, outputs);
            match side {
                Ok(Side::Worker) => PyOS_AfterFork_Child(),
                Ok(Side::Template(_)) | Err(_) => PyOS_AfterFork_Parent(),
            }
            side
        }
    }
}
