// SPDX-License-Identifier: Apache-2.0
//! Forking a worker off a template. It is forked twice, and the process in between leaves: so the
//! worker is nobody's child here, and the supervisor, which takes in orphans, becomes its parent.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::checked;
use super::process::{exit_now, forget_fork};
use super::signal::{SignalEnds, SignalPipe};

/// Where one is after a fork.
#[derive(Debug)]
pub(crate) enum Side {
    /// In the process that forked.
    Template(Birth),
    /// In the new one.
    Worker,
}

/// A worker that is on its way.
#[derive(Debug)]
pub(crate) struct Birth {
    /// The process in between.
    between: libc::pid_t,
    /// From it: the worker's process id, or a negative errno, as four bytes.
    told: std::io::PipeReader,
}

impl Birth {
    /// Waits until the worker is an orphan. The result is its process id.
    ///
    /// # Errors
    /// When there is no worker.
    pub(crate) fn wait(mut self) -> io::Result<u32> {
        let mut number = [0; 4];
        let told = self.told.read_exact(&mut number);
        // SAFETY: waitpid wants no place for the status. A SIGCHLD that the application ignores or
        // waits for itself makes it fail, and then the process in between is gone as well.
        while unsafe { libc::waitpid(self.between, std::ptr::null_mut(), 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        told?;
        match i32::from_ne_bytes(number) {
            error @ ..0 => Err(io::Error::from_raw_os_error(-error)),
            worker => Ok(u32::try_from(worker).unwrap_or(0)),
        }
    }
}

/// Signals of the calling thread, all blocked until this is dropped.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset writes the first set, pthread_sigmask reads it and writes the other
        // one; it can not fail with these arguments.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that pthread_sigmask has written.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}

/// Forks a worker, whose standard output and error are `outputs` and whose signals go to it alone.
/// Signals are held back until that is so.
///
/// Locks that other threads hold are held for ever in the worker, as after every fork; our own
/// threads do not exist yet where this is called.
///
/// # Errors
/// When the system refuses a descriptor or a process.
pub(crate) fn fork_worker(signals: &SignalPipe, outputs: [BorrowedFd<'_>; 2]) -> io::Result<Side> {
    let fresh = SignalEnds::new()?;
    let (told, tell) = io::pipe()?;
    let blocked = Blocked::new();
    // SAFETY: the process in between calls nothing but fork, write and _exit. The worker goes on
    // with a copy of everything; that it is alone is the callers' business, see above.
    let between = checked(unsafe { libc::fork() } as isize)?;
    if between != 0 {
        drop(blocked);
        let between = libc::pid_t::try_from(between).unwrap_or(0);
        return Ok(Side::Template(Birth { between, told }));
    }
    // SAFETY: as above.
    let worker = unsafe { libc::fork() };
    if worker != 0 {
        // SAFETY: errno is this thread's. write reads four bytes of the number.
        unsafe {
            let number = if worker < 0 { -*libc::__errno_location() } else { worker };
            libc::write(tell.as_raw_fd(), (&raw const number).cast(), size_of_val(&number));
        }
        exit_now(0);
    }
    forget_fork();
    let placed = signals.take_over(&fresh).and_then(|()| {
        for (output, number) in outputs.into_iter().zip([1, 2]) {
            // SAFETY: dup2 closes the template's standard output and error in this process, which
            // are nobody's but by their numbers.
            checked(unsafe { libc::dup2(output.as_raw_fd(), number) } as isize)?;
        }
        Ok(())
    });
    if placed.is_err() {
        // Nobody is told but by this: an error would be one of the template, which has none.
        exit_now(1);
    }
    drop(blocked);
    Ok(Side::Worker)
}

/// Writes what the C library has buffered: forked processes would write it again, and one that ends
/// without exit() would lose it.
pub(crate) fn flush_standard_io() {
    // SAFETY: a null stream means all output streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Threads of this process; 0 where that can not be known, as behind another root directory.
pub(crate) fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
