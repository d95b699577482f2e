// SPDX-License-Identifier: Apache-2.0
//! Events of requests, for those who have subscribed: nothing is built while nobody has. The data
//! dict of a request is made when it is first asked for.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use super::Constants;
use crate::interp::{Attached, Class, Exception, Kept, Object, PyResult, Raised, clear_exception};
use crate::os;
use crate::wsgi::{Call, current_call, current_call_in};

/// Data of one request.
struct RequestData {
    /// The request; the dict is of its interpreter.
    call: Arc<Call>,
    /// The dict.
    dict: Kept,
}

thread_local! {
    /// Data of the requests that this thread runs, one inside the other; the innermost is the last.
    static DATA: RefCell<Vec<RequestData>> = const { RefCell::new(Vec::new()) };
}

/// The data dict of the request of this thread.
pub(super) fn request_data<'py>(py: Attached<'py>) -> PyResult<Object<'py>> {
    let Some(call) = current_call_in(py) else {
        return Err(py.raise(Class::Runtime, "this thread runs no request"));
    };
    let known = DATA.with_borrow(|data| {
        let last = data.last().filter(|last| Arc::ptr_eq(&last.call, &call));
        last.map(|last| last.dict.get(py).share())
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let dict = py.dict()?;
    let kept = dict.share().keep(py);
    DATA.with_borrow_mut(|data| data.push(RequestData { call, dict: kept }));
    Ok(dict)
}

/// The request that this thread runs is over: its data are given up.
pub(crate) fn forget_request_data(py: Attached<'_>) {
    let data = DATA.with_borrow_mut(|data| {
        // Mostly there are none.
        data.last()?;
        let call = current_call_in(py)?;
        data.pop_if(|last| Arc::ptr_eq(&last.call, &call))
    });
    if let Some(data) = data {
        data.dict.release(py);
    }
}

/// `mod_wsgi.active_requests`, if somebody has looked at it.
fn active_requests<'py>(py: Attached<'py>) -> Option<Object<'py>> {
    let constants = py.interpreter().constants()?;
    let active = constants.module.get(py).entry(py, constants.names.active_requests.get(py));
    active.unwrap_or_else(|Raised| {
        clear_exception(py);
        None
    })
}

/// A request begins: it is to be seen in `mod_wsgi.active_requests`.
pub(crate) fn register_request<'py>(py: Attached<'py>, environ: &Object<'py>) {
    let Some(active) = active_requests(py) else { return };
    let register = || match environ.entry_named(py, c"mod_wsgi.request_id")? {
        Some(id) => active.set_entry(py, id.borrow(), &request_data(py)?),
        None => Ok(()),
    };
    quietly(py, register());
}

/// A request ends.
pub(crate) fn forget_request<'py>(py: Attached<'py>, id: Option<&Object<'py>>) {
    if let (Some(active), Some(id)) = (active_requests(py), id) {
        quietly(py, active.remove_entry(py, id.borrow()));
    }
}

fn subscribed(py: Attached<'_>) -> Option<&'static Constants> {
    let constants = py.interpreter().constants()?;
    (constants.event_callbacks.get(py).item_count() > 0).then_some(constants)
}

fn publish<'py>(
    py: Attached<'py>,
    constants: &Constants,
    name: &str,
    payload: &Object<'py>,
) -> PyResult<()> {
    let name = py.text(name)?;
    let callbacks = constants.event_callbacks.get(py);
    constants.support(py, c"publish", [callbacks, name.borrow(), payload.borrow()]).map(drop)
}

fn quietly(py: Attached<'_>, result: PyResult<()>) {
    if let Err(Raised) = result {
        clear_exception(py);
    }
}

/// As [`quietly`], but `RequestTimeout`, which is meant for the request and not for the subscriber
/// that runs when it comes, stays raised.
fn in_time(py: Attached<'_>, constants: &Constants, result: PyResult<()>) -> PyResult<()> {
    let Err(Raised) = result else { return Ok(()) };
    match Exception::take(py) {
        Some(exception) if exception.is_of(&constants.request_timeout.get(py)) => {
            Err(exception.restore())
        }
        _ => Ok(()),
    }
}

/// The application is about to be called; a subscriber may put another in its place.
///
/// # Errors
/// `RequestTimeout`.
pub(crate) fn request_started<'py>(
    py: Attached<'py>,
    environ: &Object<'py>,
    application: Object<'py>,
) -> PyResult<Object<'py>> {
    let Some(constants) = subscribed(py) else { return Ok(application) };
    let publish = || {
        let payload = py.dict()?;
        payload.set_entry_named(py, c"request_environ", environ)?;
        payload.set_entry_named(py, c"application_object", &application)?;
        payload.set_entry_named(py, c"request_data", &request_data(py)?)?;
        for (key, name) in [
            (c"thread_id", c"mod_wsgi.thread_id"),
            (c"request_id", c"mod_wsgi.request_id"),
            (c"callable_object", c"mod_wsgi.callable_object"),
            (c"request_start", c"mod_wsgi.request_start"),
            (c"queue_start", c"mod_wsgi.queue_start"),
            (c"daemon_start", c"mod_wsgi.daemon_start"),
            (c"application_start", c"mod_wsgi.application_start"),
        ] {
            if let Some(value) = environ.entry_named(py, name)? {
                payload.set_entry_named(py, key, &value)?;
            }
        }
        self::publish(py, constants, "request_started", &payload)?;
        payload.entry_named(py, c"application_object")
    };
    match publish() {
        Ok(replaced) => Ok(replaced.unwrap_or(application)),
        Err(raised) => in_time(py, constants, Err(raised)).map(|()| application),
    }
}

/// The application calls `start_response`.
///
/// # Errors
/// `RequestTimeout`.
pub(crate) fn response_started<'py>(
    py: Attached<'py>,
    status: &Object<'py>,
    headers: &Object<'py>,
    exc_info: Option<&Object<'py>>,
) -> PyResult<()> {
    let Some(constants) = subscribed(py) else { return Ok(()) };
    let publish = || {
        let payload = py.dict()?;
        payload.set_entry_named(py, c"response_status", status)?;
        payload.set_entry_named(py, c"response_headers", headers)?;
        let none = py.none();
        payload.set_entry_named(py, c"exception_info", exc_info.unwrap_or(&none))?;
        payload.set_entry_named(py, c"request_data", &request_data(py)?)?;
        self::publish(py, constants, "response_started", &payload)
    };
    in_time(py, constants, publish())
}

/// The application failed.
pub(crate) fn request_exception<'py>(py: Attached<'py>, exception: &Exception<'py>) {
    let Some(constants) = subscribed(py) else { return };
    let publish = || {
        let none = py.none();
        let traceback = exception.traceback.as_ref().unwrap_or(&none);
        let triple =
            py.tuple([exception.class.borrow(), exception.value.borrow(), traceback.borrow()])?;
        let payload = py.dict()?;
        payload.set_entry_named(py, c"exception_info", &triple)?;
        payload.set_entry_named(py, c"request_data", &request_data(py)?)?;
        self::publish(py, constants, "request_exception", &payload)
    };
    quietly(py, publish());
}

/// The request is at its end.
pub(crate) fn request_finished<'py>(py: Attached<'py>, environ: &Object<'py>) {
    let Some(constants) = subscribed(py) else { return };
    let publish = || {
        let payload = py.dict()?;
        payload.set_entry_named(py, c"request_data", &request_data(py)?)?;
        for (key, name) in [
            (c"thread_id", c"mod_wsgi.thread_id"),
            (c"request_id", c"mod_wsgi.request_id"),
            (c"request_start", c"mod_wsgi.request_start"),
            (c"queue_start", c"mod_wsgi.queue_start"),
            (c"daemon_start", c"mod_wsgi.daemon_start"),
        ] {
            if let Some(value) = environ.entry_named(py, name)? {
                payload.set_entry_named(py, key, &value)?;
            }
        }
        let finish = py.float(os::wall_clock_micros() as f64 / 1e6)?;
        payload.set_entry_named(py, c"application_finish", &finish)?;
        if let Some(call) = current_call() {
            let (status, sent, writes, reads, read) = call.statistics(py);
            let numbers = [
                (c"status", status),
                (c"output_length", sent),
                (c"output_writes", writes),
                (c"input_reads", reads),
                (c"input_length", read),
            ];
            for (key, number) in numbers {
                let number = py.integer(i64::try_from(number).unwrap_or(i64::MAX))?;
                payload.set_entry_named(py, key, &number)?;
            }
        }
        self::publish(py, constants, "request_finished", &payload)
    };
    quietly(py, publish());
}

/// Tells those who have subscribed to events, then those who have subscribed to `also`.
fn publish_to_both<'py>(
    py: Attached<'py>,
    name: &str,
    also: &std::ffi::CStr,
    fill: impl FnOnce(&Object<'py>) -> PyResult<()>,
) {
    let Some(constants) = py.interpreter().constants() else { return };
    let publish = || {
        let payload = py.dict()?;
        fill(&payload)?;
        let name = py.text(name)?;
        for list in [c"event_callbacks", also] {
            if let Some(callbacks) = constants.module.get(py).entry_named(py, list)? {
                constants.support(
                    py,
                    c"publish",
                    [callbacks.borrow(), name.borrow(), payload.borrow()],
                )?;
            }
        }
        Ok(())
    };
    quietly(py, publish());
}

/// The process ends.
pub(crate) fn process_stopping(py: Attached<'_>, reason: &str) {
    publish_to_both(py, "process_stopping", c"shutdown_callbacks", |payload| {
        payload.set_entry_named(py, c"shutdown_reason", &py.text(reason)?)
    });
}

/// A signal came that means nothing to mod_wsgi.
pub(crate) fn process_signal(py: Attached<'_>, signal: os::Published) {
    publish_to_both(py, "process_signal", c"signal_callbacks", |payload| {
        payload.set_entry_named(py, c"signame", &py.text(signal.name())?)?;
        payload.set_entry_named(py, c"signum", &py.integer(i64::from(signal.number()))?)
    });
}
