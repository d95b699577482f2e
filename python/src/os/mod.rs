// SPDX-License-Identifier: Apache-2.0
//! System calls behind safe types, with one place where errno is read. No Python, no protocol.

use std::io;

mod descriptor;
mod dump;
mod epoll;
mod fork;
mod memory;
mod process;
mod signal;
mod socket;

pub(crate) use descriptor::{inherit, open_again, write_all};
pub(crate) use dump::Dump;
pub(crate) use epoll::Epoll;
pub(crate) use fork::{Side, flush_standard_io, fork_worker, thread_count};
pub(crate) use memory::SharedMemory;
pub(crate) use process::{
    cpu_micros, exit_now, file_modification, is_forked_child, is_forked_worker, most_memory,
    outlive_parent, process_name, set_locale, set_process_name, set_title, thread_cpu_micros,
    thread_cpu_parts, thread_stack_size, wall_clock_micros, watch_forks,
};
pub(crate) use signal::{Nudge, Published, Signal, SignalPipe, is_told_to_stop, terminate_myself};
pub(crate) use socket::{Listener, Received, Socket, poll_readable};

/// errno of a process that has as many descriptors as it may.
pub(crate) const NO_DESCRIPTOR: u32 = libc::EMFILE.unsigned_abs();

/// The result of a call that returns -1 and sets errno.
fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
