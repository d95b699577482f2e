// SPDX-License-Identifier: Apache-2.0
//! The attendants of a process: one for each interpreter for which there was something to do, and the
//! look at whether one of them waits for its GIL for too long.
#![forbid(unsafe_code)]

use parking_lot::Mutex;

use super::attendant::{Attendant, Errand};
use super::shared::Shared;
use crate::api;
use crate::interp::{Interpreter, clear_exception};
use crate::os::Dump;

/// The attendants of a process.
pub(super) struct Attendants {
    /// None once the process is at its end.
    list: Mutex<Option<Vec<Attendant>>>,
    /// Where stacks are dumped to without a GIL; None when there is no such place, or no
    /// `deadlock-timeout`: the signals for that are the application's then.
    dump: Mutex<Option<Dump>>,
}

/// A GIL that is not to be had.
pub(super) struct Wedged {
    /// Whose it is, for the log.
    pub(super) interpreter: String,
    /// Since when it is waited for.
    pub(super) since: u64,
    /// What its threads are doing, for the log.
    pub(super) stacks: String,
}

/// Longest and shortest pause between two looks at a GIL.
const PROBE_PAUSES: (u64, u64) = (500_000, 30_000_000);

impl Attendants {
    /// None yet; `probes` says that the GILs are looked at.
    pub(super) fn new(probes: bool) -> Self {
        let dump = if probes { Dump::new().ok() } else { None };
        Self { list: Mutex::new(Some(Vec::new())), dump: Mutex::new(dump) }
    }

    /// Asks the attendant of an interpreter, who is started where there is none.
    pub(super) fn ask(
        &self,
        shared: &Shared,
        interpreter: &'static Interpreter,
        now: u64,
        errand: Errand,
    ) {
        let mut list = self.list.lock();
        let Some(list) = list.as_mut() else { return };
        if let Some(attendant) = self.of(list, shared, interpreter) {
            attendant.ask(now, errand);
        }
    }

    fn of<'l>(
        &self,
        list: &'l mut Vec<Attendant>,
        shared: &Shared,
        interpreter: &'static Interpreter,
    ) -> Option<&'l Attendant> {
        let is_it = |attendant: &Attendant| std::ptr::eq(attendant.interpreter(), interpreter);
        let place = match list.iter().position(is_it) {
            Some(place) => place,
            None => {
                let descriptor = self.dump.lock().as_ref().map(Dump::descriptor);
                let dump = Dump::signal(list.len()).zip(descriptor);
                let started = Attendant::start(interpreter, shared.clock, move |py| {
                    if let Some((signal, descriptor)) = dump {
                        api::dump_on_signal(py, signal, descriptor);
                    }
                    clear_exception(py);
                });
                match started {
                    Ok(attendant) => list.push(attendant),
                    Err(error) => {
                        shared.warn(&format!("WSGI0068: no thread for timers: {error}"));
                        return None;
                    }
                }
                list.len() - 1
            }
        };
        list.get(place)
    }

    /// Looks whether every GIL can be had; the first that could not be for `limit`, and when to look
    /// again.
    pub(super) fn probe(&self, shared: &Shared, now: u64, limit: u64) -> (Option<Wedged>, u64) {
        let (shortest, longest) = PROBE_PAUSES;
        let pause = (limit / 10).clamp(shortest, longest);
        let mut guard = self.list.lock();
        let Some(list) = guard.as_mut() else { return (None, u64::MAX) };
        let mut next = now.saturating_add(pause);
        for interpreter in shared.interpreters.with_own_gil() {
            let Some(attendant) = self.of(list, shared, interpreter) else { continue };
            match attendant.waits_since() {
                0 => attendant.ask(now, Errand::Probe),
                since if now.saturating_sub(since) >= limit => {
                    let number = list
                        .iter()
                        .position(|other| std::ptr::eq(other.interpreter(), interpreter));
                    let stacks = number.map(|number| self.stacks(number)).unwrap_or_default();
                    let interpreter = match interpreter.name() {
                        [] => "the main interpreter".to_owned(),
                        name => format!("interpreter '{}'", String::from_utf8_lossy(name)),
                    };
                    return (Some(Wedged { interpreter, since, stacks }), u64::MAX);
                }
                since => next = next.min(since.saturating_add(limit)),
            }
        }
        (None, next)
    }

    /// What the threads of the interpreter of an attendant are doing, without its GIL.
    fn stacks(&self, number: usize) -> String {
        let stacks = Dump::signal(number)
            .and_then(|signal| self.dump.lock().as_mut()?.take(signal).ok())
            .unwrap_or_default();
        match stacks.trim_end() {
            "" => "  (where its threads are is not known)".to_owned(),
            stacks => stacks.to_owned(),
        }
    }

    /// Ends the attendants; waits for those that still have something to do.
    pub(super) fn stop(&self) {
        let list = self.list.lock().take();
        for attendant in list.into_iter().flatten() {
            attendant.stop();
        }
    }
}
