// SPDX-License-Identifier: Apache-2.0
//! Threads that do for the monitor what needs a GIL, so that the monitor itself never waits for one:
//! an attendant of an interpreter says that its GIL can be had, where a thread is, and raises
//! `RequestTimeout`. What it can not do yet, it does when it has the GIL.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::running::{Clock, Running};
use crate::api;
use crate::interp::{Attached, Interpreter, Seat, clear_exception, guarded};
use crate::log::{self, Level};

/// What an attendant is asked to do.
pub(super) enum Errand {
    /// To have the GIL, and nothing else.
    Probe,
    /// To log where the thread is.
    Stack {
        /// The worker.
        of: Arc<Running>,
        /// Number of the request that it must be running still.
        request: u64,
        /// What stands before it.
        headline: String,
    },
    /// To raise `RequestTimeout`.
    Interrupt {
        /// The worker.
        of: Arc<Running>,
        /// Number of the request.
        request: u64,
    },
}

/// What is to be done, and what was done.
#[derive(Default)]
struct Inbox {
    /// In order.
    errands: Vec<Errand>,
    /// When the first of what is not done yet was asked for; 0 when all is done.
    asked: u64,
    /// The thread ends when all is done.
    closed: bool,
}

/// The attendant of an interpreter.
pub(super) struct Attendant {
    /// Its interpreter.
    interpreter: &'static Interpreter,
    /// From the monitor to the thread.
    inbox: Arc<(Mutex<Inbox>, Condvar)>,
    /// The thread.
    thread: JoinHandle<()>,
}

impl Attendant {
    /// Starts one; `prepare` is what it does first, when it has the GIL.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(super) fn start(
        interpreter: &'static Interpreter,
        clock: Clock,
        prepare: impl FnOnce(Attached<'_>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let inbox: Arc<(Mutex<Inbox>, Condvar)> = Arc::default();
        inbox.0.lock().asked = clock.now();
        let its = Arc::clone(&inbox);
        let thread = std::thread::Builder::new()
            .name("wsgi-attendant".to_owned())
            .spawn(move || attend(interpreter, clock, &its, prepare))?;
        Ok(Self { interpreter, inbox, thread })
    }

    /// Its interpreter.
    pub(super) fn interpreter(&self) -> &'static Interpreter {
        self.interpreter
    }

    /// Asks it to do something.
    pub(super) fn ask(&self, now: u64, errand: Errand) {
        let (inbox, changed) = &*self.inbox;
        let mut inbox = inbox.lock();
        inbox.errands.push(errand);
        if inbox.asked == 0 {
            inbox.asked = now;
        }
        changed.notify_one();
    }

    /// Since when it waits for the GIL; 0 when it does not.
    pub(super) fn waits_since(&self) -> u64 {
        self.inbox.0.lock().asked
    }

    /// Ends the thread once it has done what it was asked; waits for that.
    pub(super) fn stop(self) {
        self.inbox.0.lock().closed = true;
        self.inbox.1.notify_one();
        // One that has panicked is over as well.
        let _ = self.thread.join();
    }
}

fn attend(
    interpreter: &'static Interpreter,
    clock: Clock,
    inbox: &(Mutex<Inbox>, Condvar),
    prepare: impl FnOnce(Attached<'_>),
) {
    // The seat in the main interpreter is the first, as for workers. One in a sub-interpreter stays
    // taken, as CPython 3.11 can not enter an interpreter that every thread has left.
    let main = Seat::take(interpreter.main());
    let is_main = std::ptr::eq(interpreter, interpreter.main());
    let seat = (!is_main).then(|| Seat::take(interpreter));
    let mut prepare = Some(prepare);
    loop {
        let errands = {
            let (lock, changed) = inbox;
            let mut inbox = lock.lock();
            while inbox.errands.is_empty() && !inbox.closed && inbox.asked == 0 {
                changed.wait(&mut inbox);
            }
            if inbox.closed && inbox.errands.is_empty() {
                break;
            }
            std::mem::take(&mut inbox.errands)
        };
        let mut lines = Vec::new();
        seat.as_ref().unwrap_or(&main).attach(|py| {
            {
                // The GIL is there: that is what is waited for. What came meanwhile is done in the
                // next turn.
                let mut inbox = inbox.0.lock();
                inbox.asked = if inbox.errands.is_empty() { 0 } else { clock.now() };
            }
            guarded((), || {
                if let Some(prepare) = prepare.take() {
                    prepare(py);
                }
                for errand in errands {
                    lines.extend(run(py, errand));
                    clear_exception(py);
                }
            });
        });
        // Descriptor 2 may be slow.
        for text in lines {
            log::process(Level::Warning, &text);
        }
    }
    main.leave();
}

/// Does it; the result is for the log.
fn run(py: Attached<'_>, errand: Errand) -> Option<String> {
    match errand {
        Errand::Probe => None,
        Errand::Stack { of, request, headline } => {
            let stack = if of.runs(request) {
                api::stack_of(py, of.thread.thread())
            } else {
                "  (it has ended meanwhile)".to_owned()
            };
            Some(format!("{headline}\n{stack}"))
        }
        Errand::Interrupt { of, request } => {
            let constants = py.interpreter().constants()?;
            let class = constants.request_timeout.get(py).share();
            of.thread.raise(py, request, &class);
            None
        }
    }
}
