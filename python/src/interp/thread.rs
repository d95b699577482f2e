// SPDX-License-Identifier: Apache-2.0
//! Thread states: one for each pair of native thread and interpreter, which lives as long as the
//! thread, so that thread-locals of Python survive from one request to the next.
//! `PyGILState_*` knows only the main interpreter and is not used.

use std::cell::Cell;

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::token::Attached;
use crate::timing::take_gil;

/// The place of this thread in an interpreter.
pub(crate) struct Seat {
    /// The interpreter.
    interpreter: &'static Interpreter,
    /// The thread state; used by this thread alone.
    state: *mut ffi::PyThreadState,
    /// Whether `attach` is running: a second one would wait for the GIL that it holds itself.
    attached: Cell<bool>,
}

impl Seat {
    /// Takes a seat for the calling thread, which is attached nowhere.
    pub(crate) fn take(interpreter: &'static Interpreter) -> Self {
        // SAFETY: PyThreadState_New wants a live interpreter (ours live as long as the process)
        // and no GIL; it is called on the thread that will use the state, as 3.12 wants it.
        let state = unsafe { ffi::PyThreadState_New(interpreter.raw()) };
        assert!(!state.is_null(), "no memory for a thread state");
        Self { interpreter, state, attached: Cell::new(false) }
    }

    /// A seat over the thread state with which this thread is attached now; from then on it is
    /// attached and detached by the seat alone.
    ///
    /// # Safety
    /// The thread is attached to `interpreter` with `state`.
    pub(super) unsafe fn adopt(
        interpreter: &'static Interpreter,
        state: *mut ffi::PyThreadState,
    ) -> Self {
        Self { interpreter, state, attached: Cell::new(false) }
    }

    /// The interpreter.
    pub(crate) fn interpreter(&self) -> &'static Interpreter {
        self.interpreter
    }

    /// Runs `work` attached; the GIL is taken once and given back once.
    pub(crate) fn attach<R>(&self, work: impl for<'py> FnOnce(Attached<'py>) -> R) -> R {
        struct Detach<'a>(&'a Cell<bool>);
        impl Drop for Detach<'_> {
            fn drop(&mut self) {
                // SAFETY: PyEval_SaveThread wants the thread to be attached, which it has been
                // since `attach` restored its state; work inside detaches and attaches in pairs.
                unsafe { ffi::PyEval_SaveThread() };
                self.0.set(false);
            }
        }
        assert!(!self.attached.replace(true), "thread is attached already");
        // SAFETY: PyEval_RestoreThread wants a state of this thread that is not attached: `state`
        // is this thread's own (a Seat is not Send), and `attached` was false.
        take_gil(|| unsafe { ffi::PyEval_RestoreThread(self.state) });
        let _detach = Detach(&self.attached);
        // SAFETY: attached by the line above, until `_detach` is dropped at the end of this block.
        work(unsafe { Attached::assume(self.interpreter) })
    }

    /// Runs `work` detached, on a thread that is attached with this seat's state.
    ///
    /// # Safety
    /// The thread is attached with this seat's state, and `work` uses no token or reference that
    /// was made before.
    pub(super) unsafe fn step_out<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        struct Reattach(*mut ffi::PyThreadState);
        impl Drop for Reattach {
            fn drop(&mut self) {
                // SAFETY: the state is the one that was attached before, on this thread, and
                // `work`, which could have attached it, is over.
                unsafe { ffi::PyEval_RestoreThread(self.0) }
            }
        }
        // SAFETY: attached, as the caller promises.
        let _reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
        work(self)
    }

    /// Gives up the seat: what Python keeps for this thread is released.
    pub(crate) fn leave(self) {
        self.attach(|_| {
            // SAFETY: PyThreadState_Clear wants the state and the GIL of its interpreter.
            unsafe { ffi::PyThreadState_Clear(self.state) };
        });
        // SAFETY: PyThreadState_Delete wants a cleared state that is attached nowhere.
        unsafe { ffi::PyThreadState_Delete(self.state) };
    }
}
