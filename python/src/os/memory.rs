// SPDX-License-Identifier: Apache-2.0
//! The shared memory of the process group, as a slice of atomic words.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU32;

use super::checked;

/// A mapping that lasts as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedMemory {
    /// All of it.
    words: &'static [AtomicU32],
}

impl SharedMemory {
    /// Maps the memory behind `descriptor`, whole.
    ///
    /// # Errors
    /// When its size can not be had or it can not be mapped.
    pub(crate) fn map(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: fstat fills the structure. mmap with a null address gives a fresh mapping of
        // `size` bytes, page-aligned, that is never unmapped; others may write it at any time,
        // which is why it is seen as atomics only. The size is of a memfd, sealed or not: a
        // supervisor that shrinks it ends this process with SIGBUS, and it is trusted not to.
        unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            checked(libc::fstat(descriptor.as_raw_fd(), &raw mut status) as isize)?;
            let size = usize::try_from(status.st_size).unwrap_or(0);
            if size < 4 {
                return Ok(Self { words: &[] });
            }
            let address = libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor.as_raw_fd(),
                0,
            );
            if address == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { words: std::slice::from_raw_parts(address.cast::<AtomicU32>(), size / 4) })
        }
    }

    /// The words.
    pub(crate) fn words(self) -> &'static [AtomicU32] {
        self.words
    }
}
