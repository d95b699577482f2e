// SPDX-License-Identifier: Apache-2.0
//! Tells applications of signals that mean nothing to mod_wsgi. Their callbacks take the time that
//! they take, so this is a thread of its own, started by the first signal.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::interpreters::Visits;
use super::shared::Shared;
use crate::api;
use crate::interp::{clear_exception, guarded};
use crate::os::Published;
use crate::wsgi::leave_if_forked;

/// Tells applications of signals, one after the other.
#[derive(Default)]
pub(super) struct Announcer(Option<(Sender<Published>, JoinHandle<()>)>);

impl Announcer {
    /// Tells of a signal; does not wait for that.
    pub(super) fn announce(&mut self, shared: &Arc<Shared>, signal: Published) {
        if self.0.is_none() {
            let (sender, receiver) = channel();
            let its = Arc::clone(shared);
            let thread = std::thread::Builder::new()
                .name("wsgi-signals".to_owned())
                .stack_size(crate::os::thread_stack_size())
                .spawn(move || run(&its, &receiver));
            match thread {
                Ok(thread) => self.0 = Some((sender, thread)),
                Err(error) => shared.warn(&format!("WSGI0207: no thread for signals: {error}")),
            }
        }
        if let Some((sender, _)) = &self.0 {
            // A thread that has panicked tells nobody any more.
            let _ = sender.send(signal);
        }
    }

    /// Ends the thread, when it has told of all signals.
    pub(super) fn stop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            // One that has panicked is over as well.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, signals: &Receiver<Published>) {
    let mut visits = Visits::new(&shared.interpreters, 0);
    for signal in signals {
        guarded((), || {
            for visit in visits.everywhere(&shared.interpreters) {
                visit.seat().attach(|py| {
                    api::process_signal(py, signal);
                    clear_exception(py);
                });
                leave_if_forked();
            }
        });
    }
    visits.leave();
}
