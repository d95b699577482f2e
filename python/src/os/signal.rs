// SPDX-License-Identifier: Apache-2.0
//! Signals as bytes in a pipe: the handlers write, the main loop reads. No signal is blocked by
//! mask, which programs that the application starts would inherit.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::checked;

/// A signal that the main loop acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGUSR1.
    Graceful,
    /// SIGXCPU: the process has used up the processor time that it may.
    CpuTime,
    /// SIGHUP or SIGUSR2, which mean nothing to mod_wsgi but may to the application.
    Published(Published),
    /// One that Python code handles: the main thread has to run its handlers.
    Python,
}

/// A signal that is only told to applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// SIGHUP.
    Hangup,
    /// SIGUSR2.
    User2,
}

impl Published {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::User2 => "SIGUSR2",
        }
    }

    /// Its number.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Hangup => libc::SIGHUP,
            Self::User2 => libc::SIGUSR2,
        }
    }
}

/// Bytes in the pipe. Python writes the numbers of its signals, which are below these.
const STOP: u8 = 0xf0;
/// See [`STOP`].
const GRACEFUL: u8 = 0xf1;
/// See [`STOP`].
const HANGUP: u8 = 0xf2;
/// See [`STOP`].
const USER2: u8 = 0xf3;
/// See [`STOP`].
const CPU_TIME: u8 = 0xf4;

/// Write end of the pipe, -1 before there is one.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// The process whose pipe it is: a child that the application forked has the handlers too.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// SIGTERM or SIGINT has come: known at once, while the pipe waits to be read.
static IS_TOLD_TO_STOP: AtomicBool = AtomicBool::new(false);

/// Whether SIGTERM or SIGINT has come.
pub(crate) fn is_told_to_stop() -> bool {
    IS_TOLD_TO_STOP.load(Ordering::Relaxed)
}

/// Sends this process SIGTERM.
pub(crate) fn terminate_myself() {
    // SAFETY: kill only sends a signal.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

/// Ends waits of a thread. A signal that comes when a thread is about to wait, or to another thread,
/// is known to Python and ends no wait.
#[derive(Debug)]
pub(crate) struct Nudge(libc::pthread_t);

extern "C" fn do_nothing(_signal: libc::c_int) {}

impl Nudge {
    /// For the calling thread, which must live as long as this. It takes SIGURG, which is ignored
    /// otherwise; nothing when the application has a use for that.
    pub(crate) fn of_this_thread() -> Option<Self> {
        // SAFETY: sigaction writes one structure and reads the other one, for which all zero is
        // valid; the handler does nothing, which is async-signal-safe. pthread_self can not fail.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGURG, std::ptr::null(), &raw mut before);
            if before.sa_sigaction != libc::SIG_DFL {
                return None;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            // Without SA_RESTART, or a wait would go on.
            action.sa_sigaction = do_nothing as *const () as usize;
            libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
            Some(Self(libc::pthread_self()))
        }
    }

    /// Ends what the thread waits for now with EINTR.
    pub(crate) fn give(&self) {
        // SAFETY: pthread_kill wants a thread that has not ended: `of_this_thread` asks for that.
        unsafe { libc::pthread_kill(self.0, libc::SIGURG) };
    }
}

/// The read end of the pipe.
#[derive(Debug)]
pub(crate) struct SignalPipe(OwnedFd);

/// Both ends of a pipe for signals: the read end, and what handlers write to.
pub(super) struct SignalEnds(OwnedFd, OwnedFd);

impl SignalEnds {
    /// A new pipe.
    pub(super) fn new() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: pipe2 writes two descriptors that are ours.
        unsafe {
            checked(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) as isize)?;
            Ok(Self(OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
        }
    }
}

extern "C" fn handle(signal: libc::c_int) {
    // SAFETY: getpid, write, signal and raise are async-signal-safe, as are atomics. errno is put back, because
    // the code that was interrupted may be about to read it.
    unsafe {
        if libc::getpid() == OWNER.load(Ordering::Relaxed) {
            let errno = libc::__errno_location();
            let before = *errno;
            let byte = match signal {
                libc::SIGUSR1 => GRACEFUL,
                libc::SIGXCPU => CPU_TIME,
                libc::SIGHUP => HANGUP,
                libc::SIGUSR2 => USER2,
                _ => {
                    IS_TOLD_TO_STOP.store(true, Ordering::Relaxed);
                    STOP
                }
            };
            libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
            *errno = before;
        } else {
            // A forked child of the application: the signal is meant for it, and what it would
            // have done without us is to die.
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

impl SignalPipe {
    /// Makes the pipe and installs handlers.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn install() -> io::Result<Self> {
        let SignalEnds(read, write) = SignalEnds::new()?;
        // The write end is open as long as the process: handlers may come at any time.
        PIPE.store(write.into_raw_fd(), Ordering::Relaxed);
        // SAFETY: sigaction reads a structure for which all zero is valid and whose handler is
        // async-signal-safe, see `handle`.
        unsafe {
            OWNER.store(libc::getpid(), Ordering::Relaxed);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            for signal in [
                libc::SIGTERM,
                libc::SIGINT,
                libc::SIGUSR1,
                libc::SIGXCPU,
                libc::SIGHUP,
                libc::SIGUSR2,
            ] {
                checked(libc::sigaction(signal, &raw const action, std::ptr::null_mut()) as isize)?;
            }
        }
        Ok(Self(read))
    }

    /// Puts another pipe in the place of this one, under the same numbers, which Python may know
    /// as well; for a forked process, which is the owner from now on.
    pub(super) fn take_over(&self, pipe: &SignalEnds) -> io::Result<()> {
        // SAFETY: dup3 closes what has the second number and opens it anew: the read end, which is
        // ours and stays so, and the write end, which only handlers use. getpid can not fail.
        unsafe {
            let (read, write) = (pipe.0.as_raw_fd(), pipe.1.as_raw_fd());
            checked(libc::dup3(read, self.0.as_raw_fd(), libc::O_CLOEXEC) as isize)?;
            checked(libc::dup3(write, self.writing_end(), libc::O_CLOEXEC) as isize)?;
            IS_TOLD_TO_STOP.store(false, Ordering::Relaxed);
            OWNER.store(libc::getpid(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Number of the end that handlers write to.
    pub(crate) fn writing_end(&self) -> i32 {
        PIPE.load(Ordering::Relaxed)
    }

    /// To wait on.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }

    /// The next signal that has arrived.
    pub(crate) fn next(&self) -> Option<Signal> {
        let mut byte = 0_u8;
        // SAFETY: read writes at most one byte to the address.
        let count = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut byte).cast(), 1) };
        match (count, byte) {
            (1, STOP) => Some(Signal::Stop),
            (1, GRACEFUL) => Some(Signal::Graceful),
            (1, CPU_TIME) => Some(Signal::CpuTime),
            (1, HANGUP) => Some(Signal::Published(Published::Hangup)),
            (1, USER2) => Some(Signal::Published(Published::User2)),
            (1, _) => Some(Signal::Python),
            _ => None,
        }
    }
}
