// SPDX-License-Identifier: Apache-2.0
//! Outputs of processes that have ended, which what they have started still has: a job in the
//! background that a request has started, say. They are listened to for as long as somebody can write
//! there, who would die of SIGPIPE otherwise. When the supervisor leaves, a process that has nothing
//! else does it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::output::Output;
use crate::httpd::log::{self, Level};
use crate::httpd::server::Server;
use crate::os::epoll::Epoll;
use crate::os::process::{close_from, close_system_log, fork, set_name, silence};

/// Outputs that are listened to. Who leaves more behind loses the oldest.
const MOST: usize = 256;

/// Key of the process, and which of its outputs.
type Which = (u32, usize);

/// Outputs of processes that have ended.
#[derive(Debug, Default)]
pub(super) struct Inheritance<'a>(BTreeMap<Which, Inherited<'a>>);

/// One of them.
#[derive(Debug)]
struct Inherited<'a> {
    /// Where its lines are logged.
    server: Server<'a>,
    /// The read end.
    output: Output,
}

impl Inherited<'_> {
    /// Takes what has been written; false when nobody can write any more.
    fn hear(&mut self) -> bool {
        let server = self.server;
        self.output.hear(&mut |entry| log::server_entry(server, entry))
    }
}

impl<'a> Inheritance<'a> {
    /// Takes an output of a process that has ended; it stays in the epoll set.
    pub(super) fn take(&mut self, which: Which, server: Server<'a>, output: Output, epoll: &Epoll) {
        if self.0.len() >= MOST
            && let Some((_, oldest)) = self.0.pop_first()
        {
            let _ = epoll.remove(oldest.output.fd.as_fd());
        }
        self.0.insert(which, Inherited { server, output });
    }

    /// Something has been written, or nobody can any more.
    pub(super) fn hear(&mut self, which: Which, epoll: &Epoll) {
        let Some(inherited) = self.0.get_mut(&which) else { return };
        if !inherited.hear() {
            let _ = epoll.remove(inherited.output.fd.as_fd());
            self.0.remove(&which);
        }
    }

    /// The supervisor leaves: another process listens, if there is still something to be heard.
    pub(super) fn leave_to_listener(&mut self) {
        self.0.retain(|_, inherited| inherited.hear());
        let Some(server) = self.0.values().next().map(|inherited| inherited.server) else { return };
        // SAFETY: the supervisor has one thread.
        match unsafe { fork(|| self.listen().map_or(1, |()| 0)) } {
            Ok(pid) => log::server(
                server,
                Level::Info,
                &format!(
                    "process {pid} logs what is written by what applications have started and left running"
                ),
            ),
            Err(error) => log::server(
                server,
                Level::Warning,
                &format!(
                    "WSGI0356: what applications have started and left running cannot write any more, as there is no process to log it: {error}"
                ),
            ),
        }
    }

    /// The life of the listener. Signals are blocked in it as in the supervisor: what writes may still
    /// have to say that it was told to end.
    fn listen(&mut self) -> io::Result<()> {
        set_name(c"wsgi-listener");
        close_system_log();
        let outputs = self.0.values().map(|inherited| inherited.output.fd.as_raw_fd());
        let logs = self.0.values().filter_map(|inherited| inherited.server.log_descriptor());
        let kept: Vec<RawFd> = outputs.chain(logs).collect();
        // Whoever has started httpd may wait for the end of what is written to its standard output.
        (0..3).filter(|number| !kept.contains(number)).try_for_each(silence)?;
        close_from(3, &kept);
        let epoll = Epoll::new()?;
        let mut all: Vec<Which> = Vec::new();
        for (which, inherited) in &self.0 {
            epoll.add(inherited.output.fd.as_fd(), all.len() as u64)?;
            all.push(*which);
        }
        while !self.0.is_empty() {
            for token in epoll.wait(None)? {
                let which = usize::try_from(token).ok().and_then(|token| all.get(token));
                if let Some(which) = which {
                    self.hear(*which, &epoll);
                }
            }
        }
        Ok(())
    }
}
