// SPDX-License-Identifier: Apache-2.0
//! The two tables of C functions through which httpd's side and Python's side reach each other
//! inside one httpd child. Both sides pass frames, the same as on a daemon connection, so that
//! neither needs a second way of saying anything. Types only; pointers are used elsewhere.
//!
//! A table lives as long as the process. All functions may be called from any thread; those of
//! `Host` are called without the GIL. Calls for one request never overlap, but an application may
//! hand `write` or `wsgi.input` to a thread of its own, which then makes the call.

use std::ffi::c_void;

/// Bytes of a build id in a table, padded with zeros.
pub const BUILD_ID_SIZE: usize = 64;

/// What `mod_wsgi.so` hands to Python's side, by its address on the bootstrap's command line.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Host {
    /// [`crate::BUILD_ID`], padded; stands first in every build.
    pub build_id: [u8; BUILD_ID_SIZE],
    /// Encoded [`crate::settings::Settings`].
    pub settings: *const u8,
    /// Bytes of `settings`.
    pub settings_length: usize,
    /// Called once from the thread of the main interpreter when requests can be taken (`python` is
    /// the other table), or when that failed (`python` is null, and the reason is in the log).
    pub ready: unsafe extern "C" fn(python: *const Python),
    /// Blocks the thread of the main interpreter until the child ends.
    pub wait_for_stop: unsafe extern "C" fn(),
    /// Reads up to `length` body bytes. Returns how many (0: no more), or the negative number of a
    /// [`crate::frame::BodyError`]. `length` 0 only provokes `100 Continue` and returns 0.
    pub read_body:
        unsafe extern "C" fn(request: *mut c_void, buffer: *mut u8, length: usize) -> isize,
    /// Delivers a `Head`, `Data`, `End`, `Error` or `Answer` frame. Returns 0, or -1 when the client is gone.
    pub send: unsafe extern "C" fn(
        request: *mut c_void,
        kind: u8,
        flags: u8,
        payload: *const u8,
        length: usize,
    ) -> i32,
    /// Delivers a part of an open regular file; the descriptor stays the caller's. The flags are
    /// those of a `File` frame. Returns 0, or -1 when the client is gone.
    pub send_file: unsafe extern "C" fn(
        request: *mut c_void,
        descriptor: i32,
        offset: u64,
        length: u64,
        flags: u8,
    ) -> i32,
    /// Logs the payload of a `Log` frame; `request` may be null.
    pub log: unsafe extern "C" fn(request: *mut c_void, payload: *const u8, length: usize),
    /// A variable of mod_ssl, as a `Lookup` frame asks for it. Returns 1 and sets the two to a value
    /// that stays as long as the request, or returns 0.
    pub lookup: unsafe extern "C" fn(
        request: *mut c_void,
        name: *const u8,
        name_length: usize,
        value: *mut *const u8,
        value_length: *mut usize,
    ) -> i32,
    /// The `request_rec` of the request, for `apache.request_rec`; never null.
    pub request_record: unsafe extern "C" fn(request: *mut c_void) -> *mut c_void,
    /// Writes the part of httpd's scoreboard that begins at this place, with number 0, to a buffer of
    /// at least [`crate::scoreboard::MAX_PART`] bytes. Returns how many bytes it is; 0 when the
    /// configuration does not allow it.
    pub scoreboard: unsafe extern "C" fn(place: u32, buffer: *mut u8, length: usize) -> usize,
}

/// What Python's side hands back.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Python {
    /// Runs one request on the calling thread. `payload` is that of a `Request` frame. All that is
    /// to be said of the outcome has been said through [`Host::send`] when it returns.
    pub handle: unsafe extern "C" fn(request: *mut c_void, payload: *const u8, length: usize),
    /// Runs what Python runs at exit, in every interpreter, and returns; no request is running.
    pub stop: unsafe extern "C" fn(),
}
