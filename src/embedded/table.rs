// SPDX-License-Identifier: Apache-2.0
//! The table of functions that Python's side calls, and the call into its own: the only place where
//! the two sides touch inside an httpd child.

use std::cell::Cell;
use std::ffi::c_void;
use std::os::fd::{BorrowedFd, RawFd};

use mod_wsgi_protocol::BUILD_ID;
use mod_wsgi_protocol::embedded::{BUILD_ID_SIZE, Host, Python};
use mod_wsgi_protocol::frame::{self, BodyError, Kind};
use mod_wsgi_protocol::log::Entry;
use mod_wsgi_protocol::request::{Body, NO_SLOT};
use mod_wsgi_protocol::scoreboard::{self, Question};
use parking_lot::Mutex;

use super::{Plan, interpreter};
use crate::httpd::body::{self, BodyReader};
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::scoreboard::Scoreboard;
use crate::os::signal::{self, Saved};
use crate::relay::{Problem, Responder, note_times};
use crate::runtime::Runtime;
use crate::work::{Delivery, Work};

/// One request, as the functions of the table find it again.
struct Exchange<'x, 'a> {
    /// The request.
    request: Request<'a>,
    /// Its body.
    body: BodyReader<'a>,
    /// Why the application was given no more of it.
    refused: Option<BodyError>,
    /// What becomes of its response.
    responder: &'x mut Responder<'a>,
}

/// Signal handlers of httpd, to be put back once Python has installed its own.
static SIGNALS: Mutex<Vec<Saved>> = Mutex::new(Vec::new());

/// Remembers httpd's signal handlers.
pub(crate) fn keep_signals<const N: usize>(saved: [Saved; N]) {
    *SIGNALS.lock() = saved.into();
}

/// The table, for settings that live as long as the process.
pub(crate) fn host(settings: &[u8]) -> Host {
    let mut build_id = [0; BUILD_ID_SIZE];
    for (place, byte) in build_id.iter_mut().zip(BUILD_ID.bytes()) {
        *place = byte;
    }
    Host {
        build_id,
        settings: settings.as_ptr(),
        settings_length: settings.len(),
        ready,
        wait_for_stop,
        read_body,
        send,
        send_file,
        log: write_log,
        lookup,
        request_record,
        scoreboard,
    }
}

thread_local! {
    /// Whether this thread is as Python wants it.
    static IS_PREPARED: Cell<bool> = const { Cell::new(false) };
}

/// Threads of httpd block all signals, and what Python starts from them would inherit that: a
/// subprocess that cannot be terminated. SIGTERM is let through, once for each thread; one that is
/// sent to the httpd child still goes to its main thread, which the kernel prefers (signal(7)) and
/// which never blocks it. The others stay blocked: httpd's children have no handlers for them.
fn prepare_thread() {
    if !IS_PREPARED.replace(true) {
        signal::unblock(libc::SIGTERM);
    }
}

/// Has Python work for a request inside this child. Returns what httpd's handler returns.
pub(crate) fn handle<'a>(
    request: &Request<'a>,
    plan: &Plan,
    work: Work<'_>,
    responder: &mut Responder<'a>,
) -> i32 {
    let Ok(python) = interpreter::obtain(plan) else {
        let reason = plan.interpreter.as_ref().err().map_or("", String::as_str);
        log::request(
            request,
            Level::Error,
            format!("WSGI0210: Python is not running in this httpd child, so that embedded mode is not available. {reason}").as_bytes(),
        );
        return 500;
    };
    prepare_thread();
    let length = request.headers().and_then(|headers| headers.get(c"Content-Length"));
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
    let is_chunked =
        request.headers().is_some_and(|headers| headers.get(c"Transfer-Encoding").is_some());
    let has_body = is_chunked || length.is_some_and(|length: i64| length > 0);
    let delivery = Delivery {
        slot: NO_SLOT,
        mark: 1,
        body: if work.takes_body() && has_body { Body::Pulled } else { Body::Whole },
        content_length: length.unwrap_or(-1),
        queue_start: 0,
        group: None,
    };
    let mut frame = Vec::with_capacity(4096);
    if !work.write(request, &delivery, &mut frame) {
        return 500;
    }
    let mut exchange =
        Exchange { request: *request, body: BodyReader::new(*request), refused: None, responder };
    // SAFETY: the table's function takes a pointer that it gives back to our functions only, on
    // this thread and before it returns, and `length` bytes of a frame.
    unsafe {
        (python.handle)((&raw mut exchange).cast(), frame.as_ptr(), frame.len());
    }
    if !exchange.responder.is_done() {
        exchange.responder.abandon_unless_waiting();
    }
    if let Some(times) = exchange.responder.times() {
        note_times(request, &times, None);
    }
    exchange.responder.finish(500)
}

/// # Safety
/// `request` is null or what [`handle`] gave to Python, during that call, on its thread.
unsafe fn exchange<'x>(request: *mut c_void) -> Option<&'x mut Exchange<'x, 'x>> {
    // SAFETY: the caller's promise; functions of the table are not called inside one another.
    unsafe { request.cast::<Exchange<'x, 'x>>().as_mut() }
}

/// # Safety
/// `data` is null, or has `length` bytes that stay as they are for `'x`.
unsafe fn slice<'x>(data: *const u8, length: usize) -> &'x [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, length) }
}

unsafe extern "C" fn ready(python: *const Python) {
    guard("embedded ready", (), || {
        for saved in SIGNALS.lock().drain(..) {
            saved.restore();
        }
        // SAFETY: null, or a table that lives as long as the library.
        interpreter::became(unsafe { python.as_ref() }.copied());
    });
}

unsafe extern "C" fn wait_for_stop() {
    guard("embedded wait_for_stop", (), interpreter::wait_for_stop);
}

unsafe extern "C" fn read_body(request: *mut c_void, buffer: *mut u8, length: usize) -> isize {
    let failed = -(BodyError::Failed as isize);
    guard("embedded read_body", failed, || {
        // SAFETY: the contract of the table.
        let Some(exchange) = (unsafe { exchange(request) }) else { return failed };
        let result = if length == 0 {
            exchange.body.provoke_continue().map(|()| Vec::new())
        } else {
            let mut data = Vec::with_capacity(length.min(frame::MAX_DATA));
            exchange.body.read(length, &mut data).map(|_| data)
        };
        match result {
            Ok(data) => {
                let count = data.len().min(length);
                if count > 0 && !buffer.is_null() {
                    // SAFETY: Python's side gave `length` bytes of its own; `data` is ours.
                    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), buffer, count) };
                }
                isize::try_from(count).unwrap_or(failed)
            }
            Err(error) => {
                exchange.refused = Some(error);
                if exchange.body.is_answered() {
                    exchange.responder.httpd_has_answered();
                }
                -(error as isize)
            }
        }
    })
}

unsafe extern "C" fn send(
    request: *mut c_void,
    kind: u8,
    flags: u8,
    payload: *const u8,
    length: usize,
) -> i32 {
    guard("embedded send", -1, || {
        // SAFETY: the contract of the table.
        let (exchange, payload) = unsafe { (exchange(request), slice(payload, length)) };
        let Some(exchange) = exchange else { return -1 };
        let last = flags & frame::LAST != 0;
        let result = match Kind::from_u8(kind) {
            Some(Kind::Head) => exchange.responder.head(payload, last, !last),
            Some(Kind::Data) => exchange.responder.data(&[payload], true),
            Some(Kind::End) => exchange.responder.end(payload, flags & frame::INCOMPLETE != 0),
            Some(Kind::Error) => {
                // What the application made of it is not what went wrong.
                exchange.responder.error(payload, exchange.refused.map(body::status))
            }
            Some(Kind::Answer) => exchange.responder.answer(payload),
            _ => return -1,
        };
        match result {
            Ok(()) => 0,
            Err(Problem::Gone) => -1,
            Err(Problem::Protocol(error)) => {
                log::request(
                    &exchange.request,
                    Level::Error,
                    format!("WSGI0147: the response cannot be sent: {error}").as_bytes(),
                );
                -1
            }
        }
    })
}

unsafe extern "C" fn send_file(
    request: *mut c_void,
    descriptor: RawFd,
    offset: u64,
    length: u64,
    flags: u8,
) -> i32 {
    guard("embedded send_file", -1, || {
        // SAFETY: the contract of the table.
        let Some(exchange) = (unsafe { exchange(request) }) else { return -1 };
        if descriptor < 0 {
            return -1;
        }
        // SAFETY: the descriptor is the caller's and open during the call; a copy is made.
        let copy = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned();
        let whole = flags & frame::LAST != 0;
        let mut payload = Vec::with_capacity(16);
        payload.extend_from_slice(&offset.to_le_bytes());
        payload.extend_from_slice(&length.to_le_bytes());
        match copy.map(|copy| exchange.responder.file(&payload, copy, whole, true)) {
            Ok(Ok(())) => 0,
            _ => -1,
        }
    })
}

unsafe extern "C" fn write_log(request: *mut c_void, payload: *const u8, length: usize) {
    guard("embedded log", (), || {
        // SAFETY: the contract of the table.
        let (exchange, payload) = unsafe { (exchange(request), slice(payload, length)) };
        // Python's side is of this build, and encodes what is decoded here.
        let Ok(entry) = Entry::decode(payload) else { return };
        match (exchange, Runtime::current()) {
            (Some(exchange), _) => log::request_entry(&exchange.request, &entry),
            (None, Some(runtime)) => log::server_entry(runtime.main(), &entry),
            (None, None) => {}
        }
    });
}

unsafe extern "C" fn lookup(
    request: *mut c_void,
    name: *const u8,
    name_length: usize,
    value: *mut *const u8,
    value_length: *mut usize,
) -> i32 {
    guard("embedded lookup", 0, || {
        // SAFETY: the contract of the table.
        let (exchange, name) = unsafe { (exchange(request), slice(name, name_length)) };
        let Some(exchange) = exchange else { return 0 };
        let Some(found) = exchange.request.ssl_variable(name) else { return 0 };
        // SAFETY: Python's side gave two places of its own; the value is the request's.
        unsafe {
            *value = found.as_ptr();
            *value_length = found.len();
        }
        1
    })
}

unsafe extern "C" fn request_record(request: *mut c_void) -> *mut c_void {
    guard("embedded request_record", std::ptr::null_mut(), || {
        // SAFETY: the contract of the table.
        match unsafe { exchange(request) } {
            Some(exchange) => exchange.request.as_ptr().cast(),
            None => std::ptr::null_mut(),
        }
    })
}

unsafe extern "C" fn scoreboard(place: u32, buffer: *mut u8, length: usize) -> usize {
    guard("embedded scoreboard", 0, || {
        if !Runtime::current().is_some_and(|runtime| runtime.global.server_metrics) {
            return 0;
        }
        let question = Question { number: 0, place };
        let part = scoreboard::answer(question, Scoreboard::get().as_ref());
        if buffer.is_null() || part.len() > length {
            return 0;
        }
        // SAFETY: Python's side gave `length` bytes of its own; the part is ours.
        unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), buffer, part.len()) };
        part.len()
    })
}
