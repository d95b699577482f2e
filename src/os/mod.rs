// SPDX-License-Identifier: Apache-2.0
//! System calls behind safe types. Every call's result goes through [`check`], so that an error is
//! an `io::Error` and never a forgotten -1. Nothing here knows of httpd or of our processes' roles.

pub(crate) mod epoll;
pub(crate) mod identity;
pub(crate) mod library;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod temporary;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The errno gate: -1 becomes the error that errno holds.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// As [`check`], for calls that count bytes.
pub(crate) fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Takes a descriptor that a system call just returned.
pub(crate) fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let descriptor = check(result)?;
    // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. All callers pass the
    // result of a call that opened it, and check() has excluded -1.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Milliseconds for poll and epoll: rounded up, so that a deadline is not polled for in a spin.
pub(crate) fn milliseconds(duration: Option<Duration>) -> libc::c_int {
    duration.map_or(-1, |duration| {
        libc::c_int::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
    })
}

/// Waits until the descriptor is readable (or at its end, or in error). Returns false when the
/// time is over first.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    wait(fd, libc::POLLIN, timeout)
}

/// Waits until the descriptor is writable. Returns false when the time is over first.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    wait(fd, libc::POLLOUT, timeout)
}

fn wait(fd: BorrowedFd<'_>, events: i16, timeout: Option<Duration>) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    loop {
        // SAFETY: poll reads and writes `nfds` structures; `poll` is one.
        match check(unsafe { libc::poll(&raw mut poll, 1, milliseconds(timeout)) }) {
            Ok(count) => return Ok(count > 0),
            // A signal: the time starts anew, which is at most as many times as signals come.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the descriptor non-blocking, or blocking.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    // SAFETY: F_GETFL and F_SETFL take and return integers only.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    let flags = if nonblocking { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// A pipe, both ends closed on exec: (read end, write end).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: pipe2 writes two descriptors into the array of two.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((owned(ends[0])?, owned(ends[1])?))
}

/// The content of a regular file, at most `most` bytes. Never waits for what is behind a name that
/// is a pipe or a device.
pub(crate) fn read_regular_file(path: &std::path::Path, most: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok(content)
}

/// Reads once. 0 is the end.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: read writes at most `len` bytes into the buffer of that length.
    check_size(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// Writes once.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: write reads at most `len` bytes from the buffer of that length.
    check_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
}
