// SPDX-License-Identifier: Apache-2.0
//! Embedded mode: this library inside an httpd child. A thread of the child's runs the interpreter's
//! main program, which ends here and stays; httpd's own threads bring requests.
//!
//! CPython is never finalised in a child: httpd's threads may be in the middle of anything, and
//! modules of httpd may have handed their own threads to Python. At the child's end `stop` runs what
//! Python runs at exit, in every interpreter, and the process then ends with exit().

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, Ordering};

use mod_wsgi_protocol::BUILD_ID;
use mod_wsgi_protocol::embedded::{Host, Python};
use mod_wsgi_protocol::frame::Kind;
use mod_wsgi_protocol::request::Request;
use mod_wsgi_protocol::response::Times;
use mod_wsgi_protocol::settings::Settings;
use once_cell::sync::OnceCell;

use crate::api;
use crate::exchange::{EmbeddedExchange, EmbeddedLog, Exchange, Frame, HostTable};
use crate::interp::{Outcome, Seat, guarded};
use crate::log::{self, Level};
use crate::scoreboard;
use crate::script::Occasion;
use crate::serve::{Interpreters, Visits, preload, take_traceback};
use crate::wsgi::{Inside, Job, handle, refuse};

/// What requests need; set once, before the table is handed over.
struct Embedded {
    /// httpd's functions.
    host: HostTable,
    /// What the configuration says.
    settings: Settings,
    /// Interpreters of this child.
    interpreters: Interpreters,
    /// Threads that have brought a request.
    threads: AtomicI64,
}

static EMBEDDED: OnceCell<Embedded> = OnceCell::new();

static TABLE: Python = Python { handle: handle_request, stop };

thread_local! {
    /// Seats of this thread that no request has; the first are made with its first request.
    static VISITS: RefCell<Vec<Visits>> = const { RefCell::new(Vec::new()) };

    /// Requests that this thread runs, one inside the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Serves inside an httpd child; `address` is that of the host table, in decimal.
pub(crate) fn run(seat: &Seat, address: &str) -> Outcome {
    let Some(host) = host_at(address) else {
        log::process(Level::Error, "embedded mode was started without a host table");
        return Outcome::Exit(1);
    };
    let ready = set_up(seat, host);
    let python: *const Python = if ready { &raw const TABLE } else { std::ptr::null() };
    // SAFETY: `ready` takes a table that lives as long as the process, or null; `wait_for_stop`
    // takes nothing. Both are called without the GIL.
    unsafe {
        (host.table().ready)(python);
        if ready {
            (host.table().wait_for_stop)();
        }
    }
    // Returning would finalise the interpreter under httpd's feet.
    loop {
        std::thread::park();
    }
}

fn host_at(address: &str) -> Option<HostTable> {
    let address: usize = address.parse().ok()?;
    let host = std::ptr::with_exposed_provenance::<Host>(address);
    // SAFETY: the only one who starts `embedded` is mod_wsgi.so, which gives the address of a table
    // that lives as long as the process. The build id stands first in every build's table; nothing
    // else of it is used before it was compared.
    unsafe {
        let host = host.as_ref()?;
        let theirs = host.build_id.split(|byte| *byte == 0).next().unwrap_or_default();
        if theirs != BUILD_ID.as_bytes() {
            log::process(
                Level::Critical,
                &format!(
                    "mod_wsgi.so (build {}) and mod_wsgi_python.abi3.so (build {BUILD_ID}) do not \
                     belong together: install both from one build",
                    String::from_utf8_lossy(theirs)
                ),
            );
            return None;
        }
        Some(HostTable::new(host))
    }
}

fn set_up(seat: &Seat, host: HostTable) -> bool {
    log::set_process_log(Box::new(EmbeddedLog(host)));
    // SAFETY: the table says where the encoded settings are, and how long.
    let encoded = unsafe {
        let table = host.table();
        std::slice::from_raw_parts(table.settings, table.settings_length)
    };
    let settings = match Settings::decode(encoded) {
        Ok(settings) => settings,
        Err(error) => {
            log::process(Level::Critical, &format!("settings of embedded mode: {error}"));
            return false;
        }
    };
    let result =
        seat.attach(|py| api::set_up(py, &settings, false).map_err(|_| take_traceback(py)));
    if let Err(traceback) = result {
        let text = format!("WSGI0035: the main interpreter can not be set up\n{traceback}");
        log::process(Level::Critical, &text);
        return false;
    }
    if settings.server_metrics {
        scoreboard::ask_host(host);
    }
    let interpreters = Interpreters::new(seat.interpreter(), settings.interpreters);
    let embedded = Embedded { host, settings, interpreters, threads: AtomicI64::new(0) };
    let embedded = EMBEDDED.get_or_init(|| embedded);
    with_visits(embedded, |visits| {
        let settings = &embedded.settings;
        preload(visits, &embedded.interpreters, settings, &settings.preload, Occasion::Start);
    });
    true
}

/// The seats of this thread, made when it has none. A request inside a request of the same thread
/// (a subrequest of a filter, an internal redirect) gets seats of its own, as the outer ones are
/// taken; they are kept for the next time, the outermost on top.
fn with_visits<R>(embedded: &Embedded, work: impl FnOnce(&mut Visits) -> R) -> R {
    /// Puts all back, also after a panic.
    struct Taken {
        visits: Option<Visits>,
        depth: u32,
    }
    impl Drop for Taken {
        fn drop(&mut self) {
            DEPTH.set(self.depth);
            VISITS.with_borrow_mut(|kept| kept.extend(self.visits.take()));
        }
    }
    let depth = DEPTH.get();
    let mut taken = Taken { visits: VISITS.with_borrow_mut(Vec::pop), depth };
    DEPTH.set(depth + 1);
    work(taken.visits.get_or_insert_with(|| {
        let number = embedded.threads.fetch_add(1, Ordering::Relaxed) + 1;
        Visits::new(&embedded.interpreters, number)
    }))
}

/// [`Python::handle`].
///
/// # Safety
/// `request` is a request of httpd's that lasts during the call; `payload` has `length` bytes.
unsafe extern "C" fn handle_request(request: *mut c_void, payload: *const u8, length: usize) {
    let Some(embedded) = EMBEDDED.get() else { return };
    // SAFETY: as promised by the caller.
    let (mut exchange, payload) = unsafe {
        (EmbeddedExchange::new(embedded.host, request), std::slice::from_raw_parts(payload, length))
    };
    // An interpreter that is made here must not log for the request around this one, whose output
    // may be what has led here.
    let _inside = Inside::of_none();
    let served = guarded(false, || {
        let request = match Request::decode(payload) {
            Ok(request) => request,
            Err(error) => {
                log::process(Level::Error, &format!("WSGI0080: unusable request: {error}"));
                return false;
            }
        };
        with_visits(embedded, |visits| {
            let settings = &embedded.settings;
            let group = request.head.application_group;
            let Ok(visit) = visits.of(&embedded.interpreters, settings, false, group) else {
                // A client that is gone needs no answer.
                let _ = refuse(&request, 0, &mut exchange);
                return true;
            };
            let job = Job {
                request: &request,
                settings,
                daemon_start: 0,
                mark_started: &|| {},
                mark_produced: &|| {},
                interruptible: None,
            };
            // SAFETY: as above; the exchange is dropped when `handle` returns.
            let exchange = unsafe { EmbeddedExchange::new(embedded.host, exchange.request()) };
            handle(visit, &job, Box::new(exchange));
            true
        })
    });
    if !served {
        let status = 500_u16.to_le_bytes();
        let times = Times { daemon_start: 0, application: 0 }.encode();
        let error = Frame { kind: Kind::Error, flags: 0, parts: [&status, &times] };
        // A client that is gone needs no answer.
        let _ = exchange.send(&error, 0);
    }
}

/// [`Python::stop`].
///
/// # Safety
/// Called once, when no other thread runs a request.
unsafe extern "C" fn stop() {
    let Some(embedded) = EMBEDDED.get() else { return };
    if DEPTH.get() != 0 {
        // The prefork MPM ends a child in its signal handler: this thread may have the GIL.
        return;
    }
    guarded((), || {
        with_visits(embedded, |visits| {
            for visit in visits.everywhere(&embedded.interpreters) {
                visit.seat().attach(|py| {
                    api::process_stopping(py, "");
                    api::run_exit_functions(py, &embedded.settings);
                });
            }
        });
    });
}
