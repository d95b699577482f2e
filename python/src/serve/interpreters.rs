// SPDX-License-Identifier: Apache-2.0
//! The interpreters of a process by application group, and the seats that a thread has in them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Once;

use mod_wsgi_protocol::settings::Settings;
use parking_lot::Mutex;

use super::start::take_traceback;
use crate::api;
use crate::interp::{Gil, Interpreter, Seat};
use crate::log::{self, Level};
use crate::wsgi::Visit;

/// The interpreters of a process.
pub(crate) struct Interpreters {
    /// The main interpreter.
    main: &'static Interpreter,
    /// Whether application groups other than "" have sub-interpreters.
    separate: bool,
    /// Sub-interpreters by application group; None is one that could not be set up. Held while one
    /// is made, and waited for without the GIL.
    subs: Mutex<HashMap<Vec<u8>, Option<&'static Interpreter>>>,
}

/// Why an application group has no interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoInterpreter {
    /// It could not be made.
    Failed,
    /// There are as many as `application-groups=` allows.
    Exhausted,
}

/// The seats of one thread.
pub(crate) struct Visits {
    /// In the main interpreter; taken first, so that `PyGILState_Ensure` of extension modules
    /// finds that one.
    main: Visit,
    /// In sub-interpreters.
    subs: Vec<Visit>,
    /// Number of the thread in this process.
    thread_id: i64,
}

impl Visits {
    /// For the calling thread.
    pub(crate) fn new(interpreters: &Interpreters, thread_id: i64) -> Self {
        let main = Visit::new(Seat::take(interpreters.main), thread_id);
        Self { main, subs: Vec::new(), thread_id }
    }

    /// The seat in the interpreter of an application group.
    ///
    /// # Errors
    /// Why there is none, which is logged unless there are as many as there may be.
    pub(crate) fn of(
        &mut self,
        interpreters: &Interpreters,
        settings: &Settings,
        is_daemon: bool,
        application_group: &[u8],
    ) -> Result<&mut Visit, NoInterpreter> {
        if !interpreters.separate || application_group.is_empty() {
            return Ok(&mut self.main);
        }
        let is_it = |visit: &Visit| visit.seat().interpreter().name() == application_group;
        let place = match self.subs.iter().position(is_it) {
            Some(place) => place,
            None => {
                let seat =
                    interpreters.enter(self.main.seat(), settings, is_daemon, application_group)?;
                self.subs.push(Visit::new(seat, self.thread_id));
                self.subs.len() - 1
            }
        };
        self.subs.get_mut(place).ok_or(NoInterpreter::Failed)
    }

    /// Seats in every interpreter that there is, for the end of the process.
    pub(crate) fn everywhere(&mut self, interpreters: &Interpreters) -> Vec<&mut Visit> {
        self.subs(interpreters);
        self.subs.iter_mut().chain([&mut self.main]).collect()
    }

    /// Seats in every sub-interpreter that there is.
    pub(crate) fn subs(&mut self, interpreters: &Interpreters) -> &[Visit] {
        let known: Vec<_> = interpreters.subs.lock().values().copied().flatten().collect();
        for interpreter in known {
            let has = |visit: &Visit| std::ptr::eq(visit.seat().interpreter(), interpreter);
            if !self.subs.iter().any(has) {
                self.subs.push(Visit::new(Seat::take(interpreter), self.thread_id));
            }
        }
        &self.subs
    }

    /// Gives the seat in the main interpreter up. Those in sub-interpreters stay taken, because
    /// CPython 3.11 aborts when a thread enters an interpreter that every thread has left, and
    /// there is the end of the process to come in each of them.
    pub(crate) fn leave(self) {
        self.main.leave();
    }
}

impl Interpreters {
    /// With the main interpreter alone.
    pub(crate) fn new(main: &'static Interpreter, separate: bool) -> Self {
        Self { main, separate, subs: Mutex::default() }
    }

    /// Whether there is any but the main interpreter.
    pub(crate) fn has_subs(&self) -> bool {
        !self.subs.lock().is_empty()
    }

    /// The main interpreter, and those with a GIL of their own; only the main one while another is
    /// being made, which is not waited for.
    pub(super) fn with_own_gil(&self) -> Vec<&'static Interpreter> {
        let subs = self.subs.try_lock();
        let subs = subs.iter().flat_map(|subs| subs.values().copied().flatten());
        std::iter::once(self.main).chain(subs.filter(|sub| sub.owns_gil())).collect()
    }

    /// A seat in a sub-interpreter, which is made when it is not there yet.
    fn enter(
        &self,
        main: &Seat,
        settings: &Settings,
        is_daemon: bool,
        name: &[u8],
    ) -> Result<Seat, NoInterpreter> {
        let mut subs = self.subs.lock();
        match subs.get(name) {
            Some(Some(interpreter)) => return Ok(Seat::take(interpreter)),
            Some(None) => {
                Self::report(name, "could not be set up when it was first asked for");
                return Err(NoInterpreter::Failed);
            }
            None => {}
        }
        let most = usize::try_from(settings.application_groups).unwrap_or(usize::MAX);
        if most != 0 && subs.len() >= most {
            return Err(NoInterpreter::Exhausted);
        }
        let gil = Self::gil(settings, name);
        let made = Interpreter::new_sub(main, name, &gil, |py| {
            api::set_up(py, settings, is_daemon).map_err(|_| take_traceback(py))
        });
        let problem = match made {
            Some((seat, Ok(()))) => {
                subs.insert(name.to_vec(), Some(seat.interpreter()));
                if seat.interpreter().owns_gil() {
                    let name = String::from_utf8_lossy(name);
                    let text = format!("sub-interpreter '{name}' has a GIL of its own");
                    log::process(Level::Info, &text);
                }
                return Ok(seat);
            }
            Some((_, Err(traceback))) => traceback,
            None => "Python can not make one".to_owned(),
        };
        subs.insert(name.to_vec(), None);
        Self::report(name, &problem);
        Err(NoInterpreter::Failed)
    }

    fn gil(settings: &Settings, name: &[u8]) -> Gil {
        static TOO_OLD: Once = Once::new();
        if !api::wants_own_gil(settings, name) {
            return Gil::Shared;
        }
        Gil::own().unwrap_or_else(|| {
            TOO_OLD.call_once(|| {
                let text = "WSGI0198: WSGIPerInterpreterGIL has no effect: interpreters have a GIL \
                            of their own from Python 3.12 on";
                log::process(Level::Warning, text);
            });
            Gil::Shared
        })
    }

    fn report(name: &[u8], problem: &str) {
        let name = String::from_utf8_lossy(name);
        let text = format!("WSGI0035: sub-interpreter '{name}' can not be had: {problem}");
        log::process(Level::Critical, &text);
    }
}
