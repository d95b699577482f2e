// SPDX-License-Identifier: Apache-2.0
//! Signals: as readable bytes for a process with one thread, and back to their defaults before a
//! program is executed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{check, check_size, owned};

/// Signals of this process, read from a descriptor instead of handled.
#[derive(Debug)]
pub(crate) struct SignalFd {
    /// Readable when a signal has come.
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks these signals in the calling thread (the only one) and makes them readable.
    pub(crate) fn new(signals: &[libc::c_int]) -> io::Result<Self> {
        let set = set_of(signals);
        // SAFETY: sigprocmask reads one set; null for the old one is allowed.
        check(unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
        })?;
        // SAFETY: signalfd reads one set and returns a new descriptor.
        let fd = owned(unsafe {
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        })?;
        Ok(Self { fd })
    }

    /// The next signal, if one has come.
    pub(crate) fn next(&self) -> io::Result<Option<libc::c_int>> {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        // SAFETY: read writes at most one structure into the place for one.
        let result = check_size(unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                info.as_mut_ptr().cast(),
                size_of::<libc::signalfd_siginfo>(),
            )
        });
        match result {
            // SAFETY: zeroed, and then written by the kernel; every bit pattern is valid.
            Ok(_) => Ok(libc::c_int::try_from(unsafe { info.assume_init() }.ssi_signo).ok()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that sigaddset then changes; both write it only.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Gives every signal its default action and blocks none, as a program expects to be started.
pub(crate) fn reset_all() {
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL needs no handler; the two reserved numbers fail harmlessly.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    unblock_all();
}

/// Blocks no signal in this thread.
pub(crate) fn unblock_all() {
    let none = set_of(&[]);
    // SAFETY: sigprocmask reads one set; null for the old one is allowed.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
}

/// Lets this thread have a signal again.
pub(crate) fn unblock(signal: libc::c_int) {
    let set = set_of(&[signal]);
    // SAFETY: pthread_sigmask reads one set; null for the old one is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Ignores a signal.
pub(crate) fn ignore(signal: libc::c_int) {
    // SAFETY: SIG_IGN needs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// The name of a signal, for log lines.
pub(crate) fn name(signal: libc::c_int) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => "unnamed signal",
    }
}

/// What a signal does, remembered to be put back.
pub(crate) struct Saved {
    /// The signal.
    signal: libc::c_int,
    /// Its action; None when it could not be had.
    action: Option<libc::sigaction>,
}

impl Saved {
    /// What this signal does now.
    pub(crate) fn new(signal: libc::c_int) -> Self {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a null new action only reads the old one into the place given.
        let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
        // SAFETY: zeroed, and then written by the kernel's wrapper.
        Self { signal, action: (result == 0).then(|| unsafe { action.assume_init() }) }
    }

    /// Puts it back.
    pub(crate) fn restore(&self) {
        if let Some(action) = &self.action {
            // SAFETY: an action that was in force for this signal before.
            unsafe { libc::sigaction(self.signal, action, std::ptr::null_mut()) };
        }
    }
}
