// SPDX-License-Identifier: Apache-2.0
//! The attachment token: a value that exists only while the calling thread is attached to an
//! interpreter (holds its GIL). Everything that touches Python takes one, so that "attached" is
//! checked by the compiler. `detach` gives the GIL away for the length of a closure that can not
//! capture the token or a reference to an object.

use std::marker::PhantomData;

use pyo3::ffi;

use super::interpreter::Interpreter;
use crate::timing::take_gil;

/// Proof that this thread is attached to `interpreter`.
#[derive(Clone, Copy)]
pub(crate) struct Attached<'py> {
    /// The interpreter whose GIL is held.
    interpreter: &'static Interpreter,
    /// Neither `Send` nor `Sync`, and no longer than the attachment.
    scope: PhantomData<(&'py (), *mut ())>,
}

/// A Python exception is set in the thread state of this thread: it is to be returned to Python,
/// taken with [`super::Exception::take`], or cleared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raised;

/// What may fail with a Python exception.
pub(crate) type PyResult<T> = Result<T, Raised>;

impl<'py> Attached<'py> {
    /// # Safety
    /// The calling thread is attached to `interpreter`, and stays so for `'py` except inside
    /// [`Self::detach`].
    pub(super) unsafe fn assume(interpreter: &'static Interpreter) -> Self {
        Self { interpreter, scope: PhantomData }
    }

    /// The interpreter that the thread is attached to.
    pub(crate) fn interpreter(self) -> &'static Interpreter {
        self.interpreter
    }

    /// Runs `work` without the GIL. `Send` keeps the token and object references out of it.
    pub(crate) fn detach<R: Send>(self, work: impl FnOnce() -> R + Send) -> R {
        struct Reattach(*mut ffi::PyThreadState);
        impl Drop for Reattach {
            fn drop(&mut self) {
                // SAFETY: PyEval_RestoreThread wants a thread state of this thread that is not
                // attached. It is the one that PyEval_SaveThread returned below, on this thread.
                take_gil(|| unsafe { ffi::PyEval_RestoreThread(self.0) });
            }
        }
        // SAFETY: PyEval_SaveThread wants the calling thread to be attached, which `self` proves.
        let reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
        let result = work();
        drop(reattach);
        result
    }

    /// Runs handlers of Python signals that have arrived; only the main thread does anything.
    pub(crate) fn check_signals(self) -> PyResult<()> {
        // SAFETY: PyErr_CheckSignals wants an attached thread, which `self` proves.
        super::status(unsafe { ffi::PyErr_CheckSignals() })
    }
}
