// SPDX-License-Identifier: Apache-2.0
//! What the main thread waits for, as one list of things that happened.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mod_wsgi_protocol::control::{CONTROL_SIZE, Control};

use super::shared::Shared;
use crate::os::{Listener, Received, Signal, SignalPipe, poll_readable};

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// The supervisor says: finish what runs within this many seconds (0: no limit), then leave.
    Drain(u32),
    /// The supervisor says: leave within this many seconds (0: no limit).
    Stop(u32),
    /// The supervisor says: a script that was changed at this time does not load, go on with what is
    /// loaded.
    Keep(i64),
    /// The supervisor is gone.
    Orphaned,
    /// A signal for mod_wsgi.
    Signal(Signal),
    /// Connections wait to be accepted.
    Connections,
    /// A worker has become idle, or the monitor has an order.
    Woken,
}

/// Where the main thread waits.
pub(super) struct Waiting<'a> {
    /// The supervisor's end is in here.
    pub(super) shared: &'a Shared,
    /// Signals.
    pub(super) signals: &'a SignalPipe,
    /// From workers and the monitor.
    pub(super) woken: &'a UnixStream,
}

impl Waiting<'_> {
    /// Waits until something happens, at most `limit`; `listener` is None when no connections are
    /// taken.
    pub(super) fn next(
        &self,
        listener: Option<&Listener>,
        limit: Option<Duration>,
    ) -> Vec<Happening> {
        let readable = poll_readable(
            [
                Some(self.shared.control.descriptor()),
                Some(self.signals.descriptor()),
                Some(self.woken.as_fd()),
                listener.map(Listener::descriptor),
            ],
            limit,
        );
        let mut happened = Vec::new();
        match readable {
            // The signal has left a byte for the next turn.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nothing can be waited for any more; being told nothing is as bad as being alone.
            Err(_) => happened.push(Happening::Orphaned),
            Ok([control, signals, woken, connections]) => {
                if signals {
                    while let Some(signal) = self.signals.next() {
                        happened.push(Happening::Signal(signal));
                    }
                }
                if control {
                    happened.extend(read_control(self.shared));
                }
                if woken {
                    let mut bytes = [0; 64];
                    // What is in there does not matter.
                    let _ = (&*self.woken).read(&mut bytes);
                    happened.push(Happening::Woken);
                }
                if connections {
                    happened.push(Happening::Connections);
                }
            }
        }
        happened
    }
}

/// What the supervisor says; its socket is readable.
pub(super) fn read_control(shared: &Shared) -> Option<Happening> {
    let mut message = [0; CONTROL_SIZE + 1];
    match shared.control.receive(&mut message) {
        Ok(Received::Bytes(count)) => {
            let message = message.get(..count).unwrap_or_default();
            match Control::decode(message) {
                Ok((Control::Drain, seconds)) => Some(Happening::Drain(seconds)),
                Ok((Control::Stop, seconds)) => Some(Happening::Stop(seconds)),
                Ok((Control::Keep, _)) => Some(Happening::Keep(Control::detail(message))),
                // The others are ours to say, for a template, or were waited for before this.
                Ok(_) => None,
                Err(error) => {
                    shared.warn(&format!("message of the supervisor: {error}"));
                    None
                }
            }
        }
        Ok(Received::End) | Err(_) => Some(Happening::Orphaned),
    }
}
