// SPDX-License-Identifier: Apache-2.0
//! A file in memory into which a signal handler (faulthandler's) writes, and the signals that make
//! it do so on the calling thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

/// Where stacks are dumped to.
#[derive(Debug)]
pub(crate) struct Dump(File);

/// More than this of a dump is of no use in a log.
const LARGEST_DUMP: u64 = 256 << 10;

impl Dump {
    /// An empty one.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: memfd_create reads a terminated name and returns a new descriptor that is ours.
        unsafe {
            let descriptor = libc::memfd_create(c"stacks".as_ptr(), libc::MFD_CLOEXEC);
            checked(descriptor as isize)?;
            Ok(Self(File::from(OwnedFd::from_raw_fd(descriptor))))
        }
    }

    /// Where the handler is to write.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// The signal for the interpreter with this number: the last of the real-time signals, which
    /// applications hardly use. Nothing when there is none left.
    pub(crate) fn signal(number: usize) -> Option<i32> {
        let number = i32::try_from(number).ok()?;
        let signal = libc::SIGRTMAX() - number;
        (number < 8 && signal > libc::SIGRTMIN()).then_some(signal)
    }

    /// Has the handler of `signal` write, on this thread, and returns what it wrote.
    ///
    /// # Errors
    /// When the file can not be read.
    pub(crate) fn take(&mut self, signal: i32) -> io::Result<String> {
        let before = self.0.seek(SeekFrom::End(0))?;
        // SAFETY: sigaction only writes the structure, for which all zero is valid. pthread_kill
        // sends a signal to a live thread, the calling one, which runs the handler before the call
        // returns, as it does not block the signal; there is a handler, so it does not end the
        // process.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            checked(libc::sigaction(signal, std::ptr::null(), &raw mut action) as isize)?;
            if matches!(action.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
                return Ok(String::new());
            }
            libc::pthread_kill(libc::pthread_self(), signal);
        }
        self.0.seek(SeekFrom::Start(before))?;
        let mut bytes = Vec::new();
        (&self.0).take(LARGEST_DUMP).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
