// SPDX-License-Identifier: Apache-2.0
//! The guard that every entry point from C goes through: a panic becomes a log line with its place
//! and the failure value of the entry point, and never unwinds into C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::ffi;

use super::exception::Class;
use super::object::Object;
use super::token::{Attached, PyResult, Raised};
use crate::log;

/// Makes panics say where they happened, in the log.
pub(crate) fn install_panic_log() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let text = message(panic.payload());
        log::process(log::Level::Critical, &format!("internal error in mod_wsgi{place}: {text}"));
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic")
}

/// Runs `work`; `failure` is the result when it panics (which the hook has logged).
pub(crate) fn guarded<R>(failure: R, work: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(failure)
}

/// Runs `work` for a C function that returns a new reference, or null with an exception set.
pub(super) fn guarded_object<'py>(
    py: Attached<'py>,
    work: impl FnOnce() -> PyResult<Object<'py>>,
) -> *mut ffi::PyObject {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(Raised)) => std::ptr::null_mut(),
        Err(_) => {
            let Raised = py.raise(Class::Runtime, "internal error in mod_wsgi, see its log");
            std::ptr::null_mut()
        }
    }
}
