// SPDX-License-Identifier: Apache-2.0
//! Events of requests, for those who have subscribed: nothing is built while nobody has. The data
//! dict of a request is made when it is first asked for.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use super::Constants;
use crate::interp::{Attached, Class, Exception, Kept, Object, PyResult, Raised, clear_exception};
use crate::metrics::Statistics;
use crate::os;
use crate::timing;
use crate::wsgi::{Call, current_call, current_call_in};

/// Data of one request.
struct RequestData {
    /// The request; the dict is of its interpreter.
    call: Arc<Call>,
    /// The dict.
    dict: Kept,
    /// httpd's id of the request, where subscribers are told of it.
    id: Option<Kept>,
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
    DATA.with_borrow_mut(|data| data.push(RequestData { call, dict: kept, id: None }));
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
        if let Some(id) = data.id {
            id.release(py);
        }
    }
}

/// Remembers the id of a request whose data there are.
fn remember_id<'py>(py: Attached<'py>, id: &Object<'py>) {
    let replaced = DATA.with_borrow_mut(|data| {
        let last = data.last_mut()?;
        last.id.replace(id.share().keep(py))
    });
    if let Some(replaced) = replaced {
        replaced.release(py);
    }
}

/// Adds the data of the request of this thread, and its id, as far as it is known.
fn add_request<'py>(py: Attached<'py>, payload: &Object<'py>) -> PyResult<()> {
    payload.set_entry_named(py, c"request_data", &request_data(py)?)?;
    let id = DATA.with_borrow(|data| {
        let id = data.last()?.id.as_ref()?;
        Some(id.get(py).share())
    });
    id.map_or(Ok(()), |id| payload.set_entry_named(py, c"request_id", &id))
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
    if constants.event_callbacks.get(py).item_count() == 0 {
        return None;
    }
    timing::want();
    Some(constants)
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

/// What is known of a request when it begins, where somebody has subscribed to events.
pub(crate) struct Begun {
    /// CPU time of the thread, in user's and in system's mode, µs.
    cpu: [u64; 2],
}

/// A request begins.
pub(crate) fn begin_request(py: Attached<'_>) -> Option<Begun> {
    subscribed(py).map(|_| Begun { cpu: os::thread_cpu_parts() })
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
        add_server_pid(py, &payload, environ)?;
        if let Some(id) = payload.entry_named(py, c"request_id")? {
            remember_id(py, &id);
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
        add_request(py, &payload)?;
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
        add_request(py, &payload)?;
        self::publish(py, constants, "request_exception", &payload)
    };
    quietly(py, publish());
}

/// The request is at its end; its application was called at `start`, µs since the epoch.
pub(crate) fn request_finished<'py>(
    py: Attached<'py>,
    environ: &Object<'py>,
    begun: Option<Begun>,
    start: i64,
) {
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
        add_server_pid(py, &payload, environ)?;
        let finish = os::wall_clock_micros();
        let application = u64::try_from(finish.saturating_sub(start)).unwrap_or(0);
        payload.set_entry_named(py, c"application_finish", &py.float(finish as f64 / 1e6)?)?;
        add_time(py, &payload, c"application_time", application as f64)?;
        if let Some(begun) = begun {
            add_cpu_time(py, &payload, begun.cpu, application)?;
        }
        if let Some(call) = current_call() {
            add_statistics(py, &payload, &call.statistics(py))?;
        }
        self::publish(py, constants, "request_finished", &payload)
    };
    quietly(py, publish());
}

fn add_time<'py>(
    py: Attached<'py>,
    payload: &Object<'py>,
    key: &std::ffi::CStr,
    micros: f64,
) -> PyResult<()> {
    payload.set_entry_named(py, key, &py.float(micros / 1e6)?)
}

/// Which httpd child has the request; the environ has it as text.
fn add_server_pid<'py>(
    py: Attached<'py>,
    payload: &Object<'py>,
    environ: &Object<'py>,
) -> PyResult<()> {
    let Some(text) = environ.entry_named(py, c"mod_wsgi.server_pid")? else { return Ok(()) };
    // The application may have put something else there.
    match text.to_text(py).map(|text| text.parse()) {
        Ok(Ok(pid)) => payload.set_entry_named(py, c"server_pid", &py.integer(pid)?),
        Ok(Err(_)) => Ok(()),
        Err(Raised) => {
            clear_exception(py);
            Ok(())
        }
    }
}

/// CPU time of the thread since the request began; together no more than `most` µs: the kernel
/// counts it by its own clock.
fn add_cpu_time<'py>(
    py: Attached<'py>,
    payload: &Object<'py>,
    before: [u64; 2],
    most: u64,
) -> PyResult<()> {
    let ([user, system], [user_before, system_before]) = (os::thread_cpu_parts(), before);
    let user = user.saturating_sub(user_before) as f64;
    let system = system.saturating_sub(system_before) as f64;
    let scale = (most as f64 / (user + system).max(1.0)).min(1.0);
    let (user, system) = (user * scale, system * scale);
    add_time(py, payload, c"cpu_user_time", user)?;
    add_time(py, payload, c"cpu_system_time", system)?;
    add_time(py, payload, c"cpu_time", user + system)
}

fn add_statistics<'py>(
    py: Attached<'py>,
    payload: &Object<'py>,
    statistics: &Statistics,
) -> PyResult<()> {
    for (key, number) in [
        (c"status", statistics.status),
        (c"output_length", statistics.output),
        (c"output_writes", statistics.writes),
        (c"input_reads", statistics.reads),
        (c"input_length", statistics.input),
        (c"gil_wait_count", statistics.gil.count),
    ] {
        let number = py.integer(i64::try_from(number).unwrap_or(i64::MAX))?;
        payload.set_entry_named(py, key, &number)?;
    }
    for (key, time) in [
        (c"output_time", statistics.writing),
        (c"input_time", statistics.reading),
        (c"gil_wait_time", statistics.gil.time),
    ] {
        payload.set_entry_named(py, key, &py.float(time.as_secs_f64())?)?;
    }
    Ok(())
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
