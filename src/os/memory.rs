// SPDX-License-Identifier: Apache-2.0
//! Shared memory: an anonymous file, mapped as atomic words, and waiting on one of them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::{check, owned};

/// Shared memory that lives as long as this value; processes forked meanwhile share it, others map
/// the descriptor.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    /// The anonymous file, to be inherited by daemon processes.
    fd: OwnedFd,
    /// Where it is mapped.
    address: *mut AtomicU32,
    /// How many words.
    words: usize,
}

// SAFETY: the memory is only reached as `&[AtomicU32]`, which may be shared between threads; the
// address does not change until drop, which needs the value.
unsafe impl Send for SharedMemory {}
// SAFETY: as for Send.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Zeroed memory of so many words. It can neither grow nor shrink, so that nobody who maps it
    /// can be made to die of SIGBUS.
    pub(crate) fn new(words: usize) -> io::Result<Self> {
        let bytes = words * size_of::<AtomicU32>();
        // SAFETY: memfd_create takes a C string and flags.
        let fd = owned(unsafe {
            libc::memfd_create(c"mod_wsgi".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
        })?;
        let length = libc::off_t::try_from(bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: ftruncate takes integers.
        check(unsafe { libc::ftruncate(fd.as_raw_fd(), length) })?;
        let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
        // SAFETY: F_ADD_SEALS takes an integer.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) })?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { fd, address: address.cast(), words })
    }

    /// The memory.
    pub(crate) fn words(&self) -> &[AtomicU32] {
        // SAFETY: the mapping is page-aligned, `words` long, zeroed by the kernel (a valid
        // AtomicU32), sealed against shrinking, and unmapped only in drop. Other processes change
        // it, which atomics allow.
        unsafe { std::slice::from_raw_parts(self.address, self.words) }
    }

    /// The descriptor for a process that is to map it.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: address and length are those of our own mapping, and borrows of it have ended.
        unsafe { libc::munmap(self.address.cast(), self.words * size_of::<AtomicU32>()) };
    }
}

/// Sleeps until the word is woken, unless it is not `expected` any more. May return early.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: FUTEX_WAIT reads the word and the time, both of which live across the call. Not
    // FUTEX_PRIVATE: the word is shared between processes. All results mean "look again".
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            std::ptr::from_ref(word),
            libc::FUTEX_WAIT,
            expected,
            &raw const timeout,
        );
    }
}

/// Wakes everybody who sleeps on the word.
pub(crate) fn futex_wake(word: &AtomicU32) {
    wake(word, libc::c_int::MAX);
}

/// Wakes the one who has slept longest on the word; false when nobody does.
pub(crate) fn futex_wake_one(word: &AtomicU32) -> bool {
    wake(word, 1) > 0
}

/// Returns how many were woken.
fn wake(word: &AtomicU32, most: libc::c_int) -> libc::c_long {
    // SAFETY: FUTEX_WAKE uses the address as a key only.
    unsafe { libc::syscall(libc::SYS_futex, std::ptr::from_ref(word), libc::FUTEX_WAKE, most) }
}
