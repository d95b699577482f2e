// SPDX-License-Identifier: Apache-2.0
//! Raising an exception in another thread, but only while that thread runs a certain request: what
//! comes too late must not hit the next one. The thread says under its GIL what it runs, and who
//! raises looks under the same GIL.

use std::ffi::c_long;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::object::Object;
use super::token::Attached;

/// A thread that runs requests, one after the other.
#[derive(Debug)]
pub(crate) struct Interruptible {
    /// The thread as Python names it (`threading.get_ident()`); 0 until it is known.
    thread: AtomicU64,
    /// Number of the request that runs, never used twice; 0 is none. Written attached.
    request: AtomicU64,
    /// Where it runs; written before `request`.
    interpreter: AtomicPtr<Interpreter>,
    /// Something was raised in the request that runs. Read and written attached.
    raised: AtomicBool,
}

/// While it lives, the thread runs a request.
pub(crate) struct During<'a, 'py> {
    /// The thread.
    thread: &'a Interruptible,
    /// Attached until the request is over.
    _py: Attached<'py>,
}

impl Interruptible {
    /// A thread that is not known yet.
    pub(crate) fn new() -> Self {
        Self {
            thread: AtomicU64::new(0),
            request: AtomicU64::new(0),
            interpreter: AtomicPtr::new(null_mut()),
            raised: AtomicBool::new(false),
        }
    }

    /// Says that it is the calling thread.
    pub(crate) fn set_thread(&self) {
        // SAFETY: PyThread_get_thread_ident reads the number of the calling thread, attached or not.
        let number = unsafe { ffi::PyThread_get_thread_ident() };
        self.thread.store(number, Ordering::Relaxed);
    }

    /// The thread as Python names it; 0 until it is known.
    pub(crate) fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// The interpreter in which the thread ran its last request.
    pub(crate) fn interpreter(&self) -> Option<&'static Interpreter> {
        // SAFETY: null, or the address of a `&'static Interpreter`: `during` writes nothing else.
        unsafe { self.interpreter.load(Ordering::Acquire).cast_const().as_ref() }
    }

    /// The thread, which is the calling one, runs the request with this number until the result is
    /// dropped.
    pub(crate) fn during<'a, 'py>(&'a self, py: Attached<'py>, request: u64) -> During<'a, 'py> {
        let interpreter = std::ptr::from_ref(py.interpreter()).cast_mut();
        self.interpreter.store(interpreter, Ordering::Release);
        self.request.store(request, Ordering::Release);
        During { thread: self, _py: py }
    }

    /// Raises an exception of `class` in the thread if it runs the request with this number in the
    /// interpreter of `py`. The thread sees it when it next runs Python code; what it does in C is
    /// not interrupted.
    pub(crate) fn raise<'py>(&self, py: Attached<'py>, request: u64, class: &Object<'py>) -> bool {
        if self.request.load(Ordering::Acquire) != request
            || !std::ptr::eq(self.interpreter.load(Ordering::Acquire), py.interpreter())
        {
            return false;
        }
        self.raised.store(true, Ordering::Relaxed);
        self.set_exception(class.as_ptr())
    }

    /// Sets the exception that waits for the thread, or takes it away (null).
    fn set_exception(&self, class: *mut ffi::PyObject) -> bool {
        let thread = self.thread().cast_signed();
        // SAFETY: PyThreadState_SetAsyncExc wants an attached thread, which both callers have
        // (`raise` has a token, `During` keeps one), and a class or null, of which it takes its
        // own reference; a number that is no thread of the interpreter changes nothing. The number
        // goes as the unsigned long that it is.
        unsafe { ffi::PyThreadState_SetAsyncExc(thread as c_long, class) == 1 }
    }
}

impl Drop for During<'_, '_> {
    fn drop(&mut self) {
        self.thread.request.store(0, Ordering::Release);
        if self.thread.raised.swap(false, Ordering::Relaxed) {
            // What was raised and has not arrived belongs to a request that is over.
            self.thread.set_exception(null_mut());
        }
    }
}
