// SPDX-License-Identifier: Apache-2.0
//! httpd's scoreboard, as mod_status shows it: what its children are doing. It is memory that
//! httpd's parent shares with all processes that were forked from it, and is kept for as long as the
//! parent lives, also across restarts (server/scoreboard.c). What is read while a child writes may
//! be half of each.

use mod_wsgi_protocol::scoreboard::{Process, Source, Summary, Worker};

use super::{bytes, sys};

/// What a worker does, by the number of its status.
const STATUSES: &[u8; 11] = b".S_RWKLDCGI";

/// The scoreboard of this httpd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scoreboard {
    /// Its limits, which do not change while httpd runs, and what else holds for all of it.
    summary: Summary,
}

impl Scoreboard {
    /// The scoreboard, if this process has one: httpd makes it after the configuration is read for
    /// the first time.
    pub(crate) fn get() -> Option<Self> {
        let mut copy = sys::mod_wsgi_shim_scoreboard {
            server_limit: 0,
            thread_limit: 0,
            generation: 0,
            restart_time: 0,
        };
        // SAFETY: writes the structure when there is a scoreboard, and returns 0 when there is none.
        let is_there = unsafe { sys::mod_wsgi_shim_scoreboard(&raw mut copy) } != 0;
        is_there.then(|| Self {
            summary: Summary {
                server_limit: unsigned(copy.server_limit),
                thread_limit: unsigned(copy.thread_limit),
                generation: copy.generation,
                restart_time: copy.restart_time,
            },
        })
    }

    /// The number as httpd takes it, if it is below the limit.
    fn index(number: u32, limit: u32) -> Option<i32> {
        i32::try_from(number).ok().filter(|_| number < limit)
    }
}

impl Source for Scoreboard {
    fn summary(&self) -> Summary {
        self.summary
    }

    fn process(&self, process: u32) -> Process {
        let Some(process) = Self::index(process, self.summary.server_limit) else {
            return Process::default();
        };
        let mut copy = sys::mod_wsgi_shim_process { pid: 0, generation: 0, quiescing: 0 };
        // SAFETY: wants a number within the limits, which was looked at, and writes the structure.
        unsafe { sys::mod_wsgi_shim_scoreboard_process(process, &raw mut copy) };
        Process {
            pid: unsigned(copy.pid),
            generation: copy.generation,
            is_quiescing: copy.quiescing != 0,
        }
    }

    fn worker(&self, process: u32, worker: u32) -> Worker {
        let process = Self::index(process, self.summary.server_limit);
        let worker = Self::index(worker, self.summary.thread_limit);
        let (Some(process), Some(worker)) = (process, worker) else { return Worker::default() };
        // SAFETY: all zero is a valid structure of numbers and bytes.
        let mut copy: sys::mod_wsgi_shim_worker = unsafe { std::mem::zeroed() };
        // SAFETY: wants numbers within the limits, which were looked at, and writes the structure.
        unsafe { sys::mod_wsgi_shim_scoreboard_worker(process, worker, &raw mut copy) };
        // SAFETY: each text was written with its NUL, and is read before the structure goes.
        let text = |text: &[std::ffi::c_char]| unsafe {
            bytes(text.as_ptr()).unwrap_or_default().to_vec()
        };
        Worker {
            thread: copy.thread,
            generation: copy.generation,
            status: STATUSES.get(usize::from(copy.status)).copied().unwrap_or(b'?'),
            access_count: copy.access_count,
            bytes_served: u64::try_from(copy.bytes_served).unwrap_or(0),
            start_time: copy.start_time,
            stop_time: copy.stop_time,
            last_used: copy.last_used,
            client: text(&copy.client),
            request: text(&copy.request),
            vhost: text(&copy.vhost),
        }
    }
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
