// SPDX-License-Identifier: Apache-2.0
//! Making sub-interpreters: with the GIL of the main interpreter, or, from Python 3.12 on, with one
//! of their own (PEP 684). What 3.12 has for that is not in the stable ABI: the function is looked
//! up, and its types, which have been the same since 3.12 (Include/cpython/pylifecycle.h and
//! Include/cpython/initconfig.h), are declared here.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

use pyo3::ffi;

/// `PyInterpreterConfig`, and zeros for what later versions may add to its end.
#[repr(C)]
struct Config {
    use_main_obmalloc: c_int,
    allow_fork: c_int,
    allow_exec: c_int,
    allow_threads: c_int,
    allow_daemon_threads: c_int,
    check_multi_interp_extensions: c_int,
    gil: c_int,
    later: [c_int; 16],
}

/// `PyInterpreterConfig_OWN_GIL`.
const OWN_GIL: c_int = 2;

/// Memory must be the interpreter's own, and so must be the state of extension modules: CPython asks
/// for both. An application may do what it may do in an interpreter with a shared GIL, but for
/// `os.fork()`, which raises: CPython ends the child of any sub-interpreter. `subprocess` works.
static CONFIG: Config = Config {
    use_main_obmalloc: 0,
    allow_fork: 0,
    allow_exec: 1,
    allow_threads: 1,
    allow_daemon_threads: 1,
    check_multi_interp_extensions: 1,
    gil: OWN_GIL,
    later: [0; 16],
};

/// `PyStatus`.
#[repr(C)]
struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

type NewInterpreterFromConfig =
    unsafe extern "C" fn(*mut *mut ffi::PyThreadState, *const Config) -> Status;

/// Which GIL a new sub-interpreter has.
pub(crate) enum Gil {
    /// That of the main interpreter.
    Shared,
    /// Its own.
    Own(OwnGil),
}

/// What makes interpreters with a GIL of their own.
pub(crate) struct OwnGil(NewInterpreterFromConfig);

impl Gil {
    /// A GIL for each; nothing before Python 3.12.
    pub(crate) fn own() -> Option<Self> {
        // SAFETY: dlsym wants a terminated name; a function of that name that is found has the type
        // that CPython's headers give it.
        unsafe {
            let name: &CStr = c"Py_NewInterpreterFromConfig";
            let found = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
            (!found.is_null()).then(|| {
                Self::Own(OwnGil(std::mem::transmute::<*mut c_void, NewInterpreterFromConfig>(
                    found,
                )))
            })
        }
    }

    /// Whether it is not that of the main interpreter.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Makes an interpreter and attaches the thread to it; its first thread state, or null, and the
    /// thread is attached as before.
    ///
    /// # Safety
    /// The thread is attached to the main interpreter.
    pub(super) unsafe fn new_interpreter(&self) -> *mut ffi::PyThreadState {
        match self {
            // SAFETY: Py_NewInterpreter wants an attached thread, as promised by the caller.
            Self::Shared => unsafe { ffi::Py_NewInterpreter() },
            Self::Own(OwnGil(function)) => {
                let mut state = null_mut();
                // SAFETY: as above; the configuration is read during the call, and the state set to
                // null or the new one. What the status says beyond that is not used.
                unsafe { function(&raw mut state, &raw const CONFIG) };
                state
            }
        }
    }
}
