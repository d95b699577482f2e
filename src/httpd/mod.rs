// SPDX-License-Identifier: Apache-2.0
//! The safe face of httpd and APR: pools, servers, requests, bodies, responses, the log. Pointers
//! of C come in here once, are tested for null, and live in types with a lifetime from then on.
//! No decision of ours is taken here.

pub(crate) mod body;
pub(crate) mod command;
pub(crate) mod guard;
pub(crate) mod log;
pub(crate) mod mpm;
pub(crate) mod other_child;
pub(crate) mod pool;
pub(crate) mod regex;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod scoreboard;
pub(crate) mod server;
pub(crate) mod sys;
pub(crate) mod table;

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The module's record, as httpd knows it; set when httpd asks for the hooks.
static MODULE: AtomicPtr<sys::module> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers the module's record.
pub(crate) fn set_module(module: *mut sys::module) {
    MODULE.store(module, Ordering::Relaxed);
}

/// The module's record; null only before httpd has loaded it.
fn module() -> *mut sys::module {
    MODULE.load(Ordering::Relaxed)
}

/// The number by which httpd knows the module's log levels.
fn module_index() -> i32 {
    // SAFETY: the record is a static of this library, which is never unmapped, and httpd writes the
    // index before it asks for the hooks, while nothing else runs.
    unsafe { module().as_ref() }.map_or(-1, |module| module.module_index)
}

/// The bytes of a C string, none for null.
///
/// # Safety
/// `text` is null, or ends with NUL and stays as it is for `'a`.
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A C string of bytes that should hold no NUL; it ends at the first that they do hold.
pub(crate) fn c_string(bytes: &[u8]) -> std::ffi::CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::ffi::CString::new(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}
