// SPDX-License-Identifier: Apache-2.0
//! Descriptors as such: inherited ones, their flags, plain writes.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::checked;

/// Takes over a descriptor that this process inherited under a fixed number.
///
/// # Errors
/// When there is no such descriptor.
pub(crate) fn inherit(number: RawFd) -> io::Result<OwnedFd> {
    set_close_on_exec(number)?;
    // SAFETY: the descriptor is open, as the call above has found, and the protocol says that the
    // inherited numbers belong to us; each is taken over once, when the process starts.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Keeps a descriptor out of programs that the application starts.
///
/// # Errors
/// When there is no such descriptor.
pub(crate) fn set_close_on_exec(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: fcntl with F_SETFD takes a number and returns -1 for one that is not open.
    checked(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } as isize).map(drop)
}

/// A second descriptor of the same open file.
///
/// # Errors
/// When `descriptor` is not open, or there is no descriptor left.
fn dup(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC returns a new descriptor that is ours, or -1.
    unsafe {
        let new = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 10);
        checked(new as isize)?;
        Ok(OwnedFd::from_raw_fd(new))
    }
}

/// A regular file that is open already, opened once more if that can be, and its size. Nothing for what
/// is no regular file.
///
/// The new one has a position of its own: whoever reads it does not move the position of the
/// other, as it would be with a duplicate. It is one where files of `/proc` cannot be opened, or this
/// file cannot be any more.
pub(crate) fn open_again(descriptor: RawFd) -> Option<(OwnedFd, u64)> {
    // Before it is opened, since opening a pipe waits.
    file_size_if_regular(descriptor)?;
    let file = match File::open(format!("/proc/self/fd/{descriptor}")) {
        Ok(file) => OwnedFd::from(file),
        Err(_) => dup(descriptor).ok()?,
    };
    let size = file_size_if_regular(file.as_raw_fd())?;
    Some((file, size))
}

/// Writes all bytes; an error ends it silently, because there is nobody to tell.
pub(crate) fn write_all(descriptor: RawFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: write reads that many bytes from the address.
        let written =
            checked(unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) });
        match written {
            Ok(0) => return,
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
                // SAFETY: poll wants one entry, which is there.
                if unsafe { libc::poll(&raw mut poll, 1, -1) } < 0 && !interrupted() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn interrupted() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
}

/// Size of the file behind a descriptor; nothing when it is not a regular file.
fn file_size_if_regular(descriptor: RawFd) -> Option<u64> {
    // SAFETY: fstat takes a number and returns -1 for one that is not open; it fills the structure, which is only read when it says so; all zero is a valid
    // value of it.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        if libc::fstat(descriptor, &raw mut status) != 0 {
            return None;
        }
        if status.st_mode & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        u64::try_from(status.st_size).ok()
    }
}
