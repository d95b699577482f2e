// SPDX-License-Identifier: Apache-2.0
//! What the interpreter that loads this library calls: `PyInit_mod_wsgi_python`, and the function
//! `run` of the module, with which `protocol::bootstrap` turns the interpreter into a process of ours.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use std::ptr::null_mut;

use pyo3::ffi;

use super::guard::{guarded, install_panic_log};
use super::interpreter::Interpreter;
use super::object::Borrowed;
use super::token::Attached;

/// Static tables that CPython wants to be writable.
#[repr(transparent)]
struct Table<T>(UnsafeCell<T>);

// SAFETY: CPython changes the tables under the GIL only; we do not read them.
unsafe impl<T> Sync for Table<T> {}

static METHODS: Table<[ffi::PyMethodDef; 2]> = Table(UnsafeCell::new([
    ffi::PyMethodDef {
        ml_name: c"run".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: run },
        ml_flags: ffi::METH_VARARGS,
        ml_doc: std::ptr::null(),
    },
    ffi::PyMethodDef::zeroed(),
]));

static MODULE: Table<ffi::PyModuleDef> = Table(UnsafeCell::new(ffi::PyModuleDef {
    m_base: ffi::PyModuleDef_HEAD_INIT,
    m_name: c"mod_wsgi_python".as_ptr(),
    m_doc: std::ptr::null(),
    m_size: 0,
    m_methods: METHODS.0.get().cast(),
    m_slots: null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// Makes the module (multi-phase initialisation, PEP 489).
///
/// # Safety
/// Called by the import machinery, attached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit_mod_wsgi_python() -> *mut ffi::PyObject {
    guarded(null_mut(), || {
        // SAFETY: Py_GetVersion gives a constant text. The layout of objects differs in
        // free-threaded builds before 3.15's abi3t: handing them our module definition would crash.
        // PyErr_SetString needs no layout.
        unsafe {
            let version = CStr::from_ptr(ffi::Py_GetVersion());
            if version.to_string_lossy().contains("free-threading") {
                ffi::PyErr_SetString(
                    ffi::PyExc_ImportError,
                    c"mod_wsgi does not run on free-threaded builds of Python yet: \
                      name an interpreter with the GIL with python-home or WSGIPythonHome"
                        .as_ptr(),
                );
                return null_mut();
            }
            ffi::PyModuleDef_Init(MODULE.0.get())
        }
    })
}

/// How `run` ends.
pub(crate) enum Outcome {
    /// The interpreter finalises as at the end of a script.
    Finish,
    /// The interpreter finalises, and the process exits with this status.
    Exit(i32),
}

/// `run(what, *arguments)`.
unsafe extern "C" fn run(
    _module: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let outcome = guarded(Outcome::Exit(1), || {
        install_panic_log();
        crate::os::watch_forks();
        // SAFETY: Python calls a method attached; the bootstrap calls `run` once in a process, so
        // the interpreter has no record. `arguments` is a live tuple. The token and the references
        // made of it end with the inner block, before `step_out`.
        unsafe {
            let (main, seat) = Interpreter::record_main();
            let words: Vec<String> = {
                let py = Attached::assume(main);
                let arguments = Borrowed::from_ptr(py, arguments);
                arguments.map_or_else(Vec::new, |arguments| {
                    (0..arguments.item_count())
                        .filter_map(|index| arguments.item(py, index)?.to_text(py).ok())
                        .collect()
                })
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            seat.step_out(|seat| match words.as_slice() {
                ["daemon"] => crate::serve::run(seat),
                ["embedded", address] => crate::embedded::run(seat, address),
                _ => {
                    crate::log::process(crate::log::Level::Error, "not started by mod_wsgi");
                    Outcome::Exit(1)
                }
            })
        }
    });
    // SAFETY: attached again; PyErr_SetObject takes its own reference to the number.
    unsafe {
        match outcome {
            Outcome::Finish => {
                ffi::Py_INCREF(ffi::Py_None());
                ffi::Py_None()
            }
            Outcome::Exit(status) => {
                let status = ffi::PyLong_FromLong(c_int::from(status).into());
                ffi::PyErr_SetObject(ffi::PyExc_SystemExit, status);
                ffi::Py_XDECREF(status);
                null_mut()
            }
        }
    }
}
