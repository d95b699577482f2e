// SPDX-License-Identifier: Apache-2.0
//! One Python interpreter of this process: the main one, or a sub-interpreter for an application
//! group. It is made once and lives as long as the process, as does this record of it, so that a
//! `&'static` to it can be in every object that we make.

use std::ffi::c_void;

use once_cell::sync::OnceCell;
use pyo3::ffi;

use super::gil::Gil;
use super::object::Object;
use super::thread::Seat;
use super::token::{Attached, PyResult};
use crate::api::Constants;
use crate::script::Scripts;

/// An interpreter.
pub(crate) struct Interpreter {
    /// CPython's record of it.
    raw: *mut ffi::PyInterpreterState,
    /// Application group; empty for the main interpreter.
    name: Vec<u8>,
    /// The main interpreter; None in its own record.
    main: Option<&'static Self>,
    /// Whether its GIL is no other interpreter's, or it is the main one.
    owns_gil: bool,
    /// Functions that are looked up by name.
    functions: Functions,
    /// Classes, names and values made once; set by `api` before the first request.
    constants: OnceCell<Constants>,
    /// WSGI scripts that were asked for.
    scripts: Scripts,
}

// SAFETY: `raw` is only passed to PyThreadState_New, which any thread may call; the rest is Sync.
unsafe impl Sync for Interpreter {}
// SAFETY: as above.
unsafe impl Send for Interpreter {}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter").field("name", &String::from_utf8_lossy(&self.name)).finish()
    }
}

impl Interpreter {
    /// Makes the record of the main interpreter, and a seat for the thread.
    ///
    /// # Safety
    /// The thread is attached to the main interpreter, which has no record yet.
    pub(super) unsafe fn record_main() -> (&'static Self, Seat) {
        // SAFETY: as promised by the caller.
        unsafe { Self::record_current(b"", None, true) }
    }

    /// Makes the record for the interpreter that the thread is attached to, and a seat for the
    /// thread.
    ///
    /// # Safety
    /// The thread is attached, and to an interpreter that has no record yet.
    unsafe fn record_current(
        name: &[u8],
        main: Option<&'static Self>,
        owns_gil: bool,
    ) -> (&'static Self, Seat) {
        // SAFETY: PyInterpreterState_Get and PyThreadState_Get want an attached thread, which the
        // caller promises; both give what the thread is attached with.
        let (raw, state) = unsafe { (ffi::PyInterpreterState_Get(), ffi::PyThreadState_Get()) };
        let interpreter: &'static Self = Box::leak(Box::new(Self {
            raw,
            name: name.to_vec(),
            main,
            owns_gil,
            functions: Functions::look_up(),
            constants: OnceCell::new(),
            scripts: Scripts::default(),
        }));
        // SAFETY: `state` is the one that the thread is attached with.
        (interpreter, unsafe { Seat::adopt(interpreter, state) })
    }

    /// Makes a sub-interpreter named `name` and returns with a seat for this thread in it;
    /// `main` is this thread's seat in the main interpreter. `set_up` is run in it first.
    ///
    /// # Errors
    /// When Python can not make one, or `set_up` fails.
    pub(crate) fn new_sub<E>(
        main: &Seat,
        name: &[u8],
        gil: &Gil,
        set_up: impl for<'py> FnOnce(Attached<'py>) -> Result<(), E>,
    ) -> Option<(Seat, Result<(), E>)> {
        struct Return(*mut ffi::PyThreadState);
        impl Drop for Return {
            fn drop(&mut self) {
                // SAFETY: PyEval_SaveThread wants an attached thread: it is, with the first state of
                // the new interpreter. PyEval_RestoreThread wants a state of this thread that is
                // attached nowhere: the one with which this thread was attached before, which making
                // the interpreter has detached. Together they are right whether or not the two
                // interpreters have one GIL.
                unsafe {
                    ffi::PyEval_SaveThread();
                    ffi::PyEval_RestoreThread(self.0);
                }
            }
        }
        let main_record = main.interpreter();
        main.attach(|py| {
            // SAFETY: PyThreadState_Get wants an attached thread. Making an interpreter wants the
            // GIL of the main one; it attaches the thread to the new one and gives its first thread
            // state, or null, and the thread is attached as before. The token of the new one lives
            // as long as `set_up` runs, before `_return` is dropped.
            unsafe {
                let before = ffi::PyThreadState_Get();
                if gil.new_interpreter().is_null() {
                    super::clear_exception(py);
                    return None;
                }
                let _return = Return(before);
                let (interpreter, seat) =
                    Self::record_current(name, Some(main_record), gil.is_own());
                let result = set_up(Attached::assume(interpreter));
                Some((seat, result))
            }
        })
    }

    pub(super) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.raw
    }

    /// Application group; empty for the main interpreter.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The main interpreter.
    pub(crate) fn main(&'static self) -> &'static Self {
        self.main.unwrap_or(self)
    }

    /// Whether its GIL is no other interpreter's, or it is the main one.
    pub(crate) fn owns_gil(&self) -> bool {
        self.owns_gil
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// Scripts that were asked for in it.
    pub(crate) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Sets what `api` made for it.
    pub(crate) fn set_constants(&self, constants: Constants) {
        if self.constants.set(constants).is_err() {
            unreachable!("constants of an interpreter are made once");
        }
    }

    /// Classes, names and values made once.
    pub(crate) fn constants(&'static self) -> Option<&'static Constants> {
        self.constants.get()
    }
}

/// Functions of CPython that are not in the stable ABI of 3.10 everywhere.
pub(super) struct Functions {
    /// `Py_REFCNT`: exported since 3.14; before, the count is the first word of an object, which
    /// the stable ABI of those versions has inlined into extensions.
    reference_count: Option<unsafe extern "C" fn(*mut ffi::PyObject) -> ffi::Py_ssize_t>,
}

impl Functions {
    fn look_up() -> Self {
        // SAFETY: dlsym wants a terminated name; a function of that name that is found has the
        // type that CPython's headers give it.
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"Py_REFCNT".as_ptr());
            Self {
                reference_count: (!found.is_null()).then(|| {
                    std::mem::transmute::<
                        *mut c_void,
                        unsafe extern "C" fn(*mut ffi::PyObject) -> ffi::Py_ssize_t,
                    >(found)
                }),
            }
        }
    }

    pub(super) fn reference_count(&self, object: *mut ffi::PyObject) -> ffi::Py_ssize_t {
        // SAFETY: callers pass live objects; without the function it is a Python older than 3.14.
        unsafe {
            match self.reference_count {
                Some(function) => function(object),
                None => object.cast::<ffi::Py_ssize_t>().read(),
            }
        }
    }
}

/// The module object of ours that Python code of `name` imports, registered in `sys.modules`.
pub(crate) fn register_module<'py>(
    py: Attached<'py>,
    name: &str,
) -> PyResult<(Object<'py>, Object<'py>)> {
    let name = py.text(name)?;
    let module = py.module(&name)?;
    py.sys(c"modules")?.set_entry(py, name.borrow(), &module)?;
    let dict = module.module_dict(py)?;
    Ok((module, dict))
}
