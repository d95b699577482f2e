// SPDX-License-Identifier: Apache-2.0
//! One request from the frame to the end of its response: find the script, build the environ, call
//! the application, send what it gives, call `close()`, and say how it ended.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use mod_wsgi_protocol::frame::{Kind, Reject};
use mod_wsgi_protocol::hook::{Answer, Hook, Outcome};
use mod_wsgi_protocol::request::{self, Request};
use mod_wsgi_protocol::response::Times;
use mod_wsgi_protocol::settings::Settings;

use super::adapter::Adapter;
use super::body::Body;
use super::call::{Call, EndOnPanic, Inside, leave_if_forked};
use super::environ::{Extras, LastValues, is_head_request};
use super::failure::{ScriptContext, log_exception, log_text};
use super::file::FilePart;
use super::hook;
use super::input::Input;
use super::output::{Ending, Stop};
use super::slow::Stopwatch;
use super::stream::ErrorsPair;
use crate::api::{self, Constants};
use crate::exchange::{Exchange, Frame, Gone};
use crate::interp::{
    Attached, Class, Exception, Interruptible, Object, PyResult, Raised, Seat, clear_exception,
    guarded,
};
use crate::log::Level;
use crate::metrics::{self, Moments};
use crate::os;
use crate::script::{self, Found};
use crate::timing::timed;

/// A thread in an interpreter, with what it uses again from request to request.
pub(crate) struct Visit {
    /// Its thread state.
    seat: Seat,
    /// Number of the thread in this process.
    thread_id: i64,
    /// The state of the last request; used again when the application has kept nothing of it.
    call: Arc<Call>,
    /// `wsgi.errors` of the last request.
    errors: Option<ErrorsPair>,
    /// Values of the last environ.
    values: LastValues,
}

impl Visit {
    /// A visit with a seat that was just taken.
    pub(crate) fn new(seat: Seat, thread_id: i64) -> Self {
        Self { seat, thread_id, call: Arc::default(), errors: None, values: LastValues::default() }
    }

    /// The seat.
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Ends the visit.
    pub(crate) fn leave(self) {
        let Self { seat, errors, values, .. } = self;
        seat.attach(|py| {
            if let Some(errors) = errors {
                errors.release(py);
            }
            values.release(py);
        });
        seat.leave();
    }
}

/// A request to be run.
pub(crate) struct Job<'a> {
    /// The request.
    pub(crate) request: &'a Request<'a>,
    /// The settings of the process.
    pub(crate) settings: &'a Settings,
    /// When this process took the request, µs since the epoch; 0 in embedded mode.
    pub(crate) daemon_start: i64,
    /// Called immediately before the application, and those who have subscribed to its requests.
    pub(crate) mark_started: &'a dyn Fn(),
    /// Called when all blocks of a response are sent, before `close()`.
    pub(crate) mark_produced: &'a dyn Fn(),
    /// The thread, and the number of the request, where `RequestTimeout` may be raised in it.
    pub(crate) interruptible: Option<(&'a Interruptible, u64)>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was run, or failed; the other end knows.
    Served,
    /// It was not run, for this reason; the other end knows.
    Rejected(Reject),
}

/// Runs a request; says all that is to be said on `exchange`.
pub(crate) fn handle(visit: &mut Visit, job: &Job<'_>, exchange: Box<dyn Exchange>) -> Verdict {
    let request = job.request;
    let is_hook = request.head.hook != Hook::None;
    let body = if is_hook {
        Body::default()
    } else {
        Body::new(
            request.initial_body,
            request.head.body == request::Body::Pulled,
            request.head.content_length,
        )
    };
    if Arc::get_mut(&mut visit.call).is_none() {
        visit.call = Arc::default();
    }
    if let Some(call) = Arc::get_mut(&mut visit.call) {
        let is_head = !is_hook && is_head_request(request);
        call.begin(exchange, body, is_head, request.head.log_level);
    }
    let stopwatch = Stopwatch::start(job);
    let Visit { seat, thread_id, call, errors, values } = visit;
    let _end = EndOnPanic(call);
    let mut application_start = 0;
    let mut writing = None;
    let (outcome, exchange) = seat.attach(|py| {
        let _during = job.interruptible.map(|(thread, number)| thread.during(py, number));
        let inside = Inside::of(call, seat.interpreter());
        let outcome = guarded(None, || {
            let mut run = Run {
                py,
                job,
                call,
                thread_id: *thread_id,
                errors,
                values,
                application_start: &mut application_start,
                writing: &mut writing,
            };
            Some(run.run())
        });
        leave_if_forked();
        let outcome = outcome.unwrap_or_else(|| {
            // A panic, which is logged: the request failed.
            clear_exception(py);
            if let Some(errors) = errors.take() {
                errors.release(py);
            }
            Ok(match is_hook {
                true => Ending::Answer(Answer::plain(Outcome::Failed)),
                false => call.ending_of_failure(py, 500),
            })
        });
        api::forget_request_data(py);
        call.flush(py);
        let exchange = call.finish(py);
        drop(inside);
        (outcome, exchange)
    });
    let Some(mut exchange) = exchange else { return Verdict::Served };
    let (ending, verdict) = match outcome {
        Ok(ending) => (ending, Verdict::Served),
        Err(reason) => {
            let frame = Frame { kind: Kind::Reject, flags: 0, parts: [&[reason as u8], &[]] };
            // Gone is seen by the worker, which then closes the connection.
            let _ = exchange.send(&frame, 0);
            (Ending::Silent, Verdict::Rejected(reason))
        }
    };
    if verdict == Verdict::Served && !is_hook {
        stopwatch.stop(job, &mut *exchange);
    }
    let application = match application_start {
        0 => 0,
        // The clock may have been set meanwhile; 0 says that it was not called.
        start => u64::try_from(os::wall_clock_micros().saturating_sub(start)).unwrap_or(0).max(1),
    };
    let times = Times { daemon_start: job.daemon_start, application };
    match writing {
        None => drop(ending.send(&mut *exchange, times)),
        Some(mut writing) => {
            let _ = timed(&mut writing, || ending.send(&mut *exchange, times));
            metrics::sent(writing);
        }
    }
    verdict
}

/// Says that a request can not be run because its application group has no interpreter.
pub(crate) fn refuse(
    request: &Request<'_>,
    daemon_start: i64,
    exchange: &mut dyn Exchange,
) -> Result<(), Gone> {
    let hook = request.head.hook;
    let times = Times { daemon_start, application: 0 };
    if hook == Hook::None {
        return Ending::Error(500).send(exchange, times);
    }
    let text = format!(
        "{}: there is no interpreter for the script '{}': see WSGI0035 in the log",
        hook::number_without_interpreter(hook),
        String::from_utf8_lossy(request.head.script),
    );
    let parts = [&[Level::Error as u8][..], text.as_bytes()];
    exchange.send(&Frame { kind: Kind::Log, flags: 0, parts }, 0)?;
    Ending::Answer(Answer::plain(Outcome::Failed)).send(exchange, times)
}

/// A request while it is run.
pub(super) struct Run<'a, 'py> {
    /// Attached to the interpreter of the application group.
    pub(super) py: Attached<'py>,
    /// The request.
    pub(super) job: &'a Job<'a>,
    /// Its state.
    pub(super) call: &'a Arc<Call>,
    /// Number of the thread.
    thread_id: i64,
    /// `wsgi.errors` of the thread.
    pub(super) errors: &'a mut Option<ErrorsPair>,
    /// Values of the thread's last environ.
    values: &'a mut LastValues,
    /// When the application's environ was made, µs since the epoch; 0 before that.
    application_start: &'a mut i64,
    /// How long sending took until the application was done; None where that is not measured.
    writing: &'a mut Option<Duration>,
}

impl<'py> Run<'_, 'py> {
    pub(super) fn context(&self) -> ScriptContext<'_> {
        let settings = self.job.settings;
        let head = &self.job.request.head;
        ScriptContext {
            script: head.script,
            process_group: &settings.process_group,
            application_group: head.application_group,
            interpreters: settings.interpreters,
        }
    }

    fn run(&mut self) -> Result<Ending, Reject> {
        let py = self.py;
        let head = &self.job.request.head;
        let Some(constants) = py.interpreter().constants() else {
            let number = hook::number_without_interpreter(head.hook);
            log_text(py, Level::Error, &format!("{number}: the interpreter is not set up"));
            return Ok(match head.hook {
                Hook::None => Ending::Error(500),
                _ => Ending::Answer(Answer::plain(Outcome::Failed)),
            });
        };
        constants.adopt_group(py, head.application_group);
        if head.hook != Hook::None {
            return Ok(Ending::Answer(self.ask(constants)));
        }
        let application = match script::find(py, head, &self.context()) {
            Found::Application(application) => application,
            Found::Stale => return Err(Reject::ScriptChanged),
            Found::Failed(status) => return Ok(Ending::Error(status)),
            Found::OutOfTime => return Ok(self.call.ending_of_timeout(py)),
        };
        Ok(self.call_application(constants, application))
    }

    fn call_application(&mut self, constants: &Constants, application: Object<'py>) -> Ending {
        let py = self.py;
        let (environ, start_response) = match self.arguments(constants) {
            Ok(arguments) => arguments,
            Err(Raised) => return self.failure(constants),
        };
        let request_id = environ.entry(py, constants.names.request_id.get(py)).ok().flatten();
        api::register_request(py, &environ);
        // Who has subscribed is a part of the application.
        (self.job.mark_started)();
        let begun = api::begin_request(py);
        let application = api::request_started(py, &environ, application);
        let measured = metrics::begin(self.thread_id);
        let result = application.and_then(|application| {
            application.call(py, [environ.borrow(), start_response.borrow()])
        });
        // The application's references are what keeps it from here on.
        drop(start_response);
        let ending = match result {
            Ok(result) => self.respond(constants, &result),
            Err(Raised) => self.failure(constants),
        };
        leave_if_forked();
        api::request_finished(py, &environ, begun, *self.application_start);
        let head = &self.job.request.head;
        let moments = Moments {
            request: head.request_start,
            queue: head.queue_start,
            daemon: self.job.daemon_start,
        };
        *self.writing = metrics::end(measured, &moments, || self.call.statistics(py));
        api::forget_request(py, request_id.as_ref());
        drop(environ);
        if let Some(errors) = &self.errors {
            self.call.flush(py);
            errors.end_request(py, constants);
        }
        ending
    }

    fn arguments(&mut self, constants: &Constants) -> PyResult<(Object<'py>, Object<'py>)> {
        let py = self.py;
        let input = constants.classes.input.instance(py, Input::new(Arc::clone(self.call)))?;
        let errors = ErrorsPair::for_request(py, constants, self.errors, self.call)?;
        let adapter =
            constants.classes.adapter.instance(py, Adapter::new(Arc::clone(self.call)))?;
        let thread_id = py.integer(self.thread_id)?;
        *self.application_start = os::wall_clock_micros();
        let extras = Extras {
            input: input.borrow(),
            errors: errors.borrow(),
            thread_id: thread_id.borrow(),
            daemon_start: self.job.daemon_start,
            application_start: *self.application_start,
        };
        let environ = constants.template.environ(py, self.job.request, &extras, self.values)?;
        self.add_request_record(&environ)?;
        let start_response = adapter.attribute_named(py, constants.names.start_response.get(py))?;
        Ok((environ, start_response))
    }

    /// `apache.request_rec`, where the configuration asks for it and there is one.
    pub(super) fn add_request_record(&self, environ: &Object<'py>) -> PyResult<()> {
        if !self.job.request.head.pass_request {
            return Ok(());
        }
        let py = self.py;
        match self.call.request_record(py) {
            Some(record) => {
                environ.set_entry_named(py, c"apache.request_rec", &py.capsule(record)?)
            }
            None => Ok(()),
        }
    }

    /// Sends what the application returned, and closes it.
    fn respond(&self, constants: &Constants, result: &Object<'py>) -> Ending {
        let py = self.py;
        if result.is_plain_sequence() {
            // Nothing of a list or tuple has to be closed.
            return self.outcome(constants, self.send_sequence(result));
        }
        let sent = self.send_iterable(constants, result);
        let has_ended = sent.is_ok();
        let ending = self.outcome(constants, sent);
        if matches!(ending, Ending::End(0)) {
            // The process may end in close(), and the response is whole without it.
            (self.job.mark_produced)();
        }
        self.close(constants, result);
        match ending {
            // What close() wrote counts, and not what it raised.
            Ending::End(_) if has_ended => self.call.ending(py),
            Ending::Error(status) => self.call.ending_of_failure(py, status),
            other => other,
        }
    }

    fn outcome(&self, constants: &Constants, sent: Result<Ending, Stop>) -> Ending {
        match sent {
            Ok(ending) => ending,
            Err(Stop::Gone) => Ending::Silent,
            Err(Stop::Raised) => self.failure(constants),
        }
    }

    fn send_sequence(&self, result: &Object<'py>) -> Result<Ending, Stop> {
        let py = self.py;
        let mut items = Vec::with_capacity(result.item_count());
        while let Some(item) = result.item(py, items.len()) {
            items.push(item);
        }
        let mut blocks = Vec::with_capacity(items.len());
        for item in &items {
            match item.as_bytes() {
                Some(bytes) => blocks.push(bytes),
                None if blocks.iter().all(|block: &&[u8]| block.is_empty()) => {
                    return Err(not_bytes(py, item).into());
                }
                None => {
                    // What stands before it is sent, as it would be from a generator.
                    for block in blocks.iter().filter(|block| !block.is_empty()) {
                        self.call.output(py, block)?;
                    }
                    return Err(not_bytes(py, item).into());
                }
            }
        }
        self.call.output_whole(py, &blocks)
    }

    fn send_iterable(&self, constants: &Constants, result: &Object<'py>) -> Result<Ending, Stop> {
        let py = self.py;
        if result.is_instance(py, &constants.file_wrapper.get(py))?
            && let Some(part) = FilePart::of(py, result)?
            && let Some(ending) = self.call.output_file(py, &part)?
        {
            return Ok(ending);
        }
        let iterator = result.iterate(py)?;
        while let Some(item) = iterator.next(py)? {
            match item.as_bytes() {
                Some([]) => {}
                Some(block) => self.call.output(py, block)?,
                None => return Err(not_bytes(py, &item).into()),
            }
        }
        if self.call.is_committed(py) {
            return Ok(self.call.ending(py));
        }
        // close() may still write, so the head goes now.
        self.call.output_nothing(py)
    }

    fn close(&self, constants: &Constants, result: &Object<'py>) {
        let py = self.py;
        let close = match result.optional_attribute(py, constants.names.close.get(py)) {
            Ok(None) => return,
            Ok(Some(close)) => close,
            Err(Raised) => {
                let text = format!(
                    "WSGI0194: the close attribute of the response of '{}' can not be had",
                    self.context().script()
                );
                log_text(py, Level::Error, &text);
                self.log_raised();
                return;
            }
        };
        if close.call(py, []).is_err()
            && let Some(exception) = Exception::take(py)
        {
            self.log_failure(constants, &exception);
        }
    }

    pub(super) fn log_raised(&self) -> Option<Exception<'py>> {
        let exception = Exception::take(self.py)?;
        log_exception(self.py, &exception, &self.context());
        Some(exception)
    }

    /// Logs the exception that is set; the response ends as far as it came.
    fn failure(&self, constants: &Constants) -> Ending {
        let py = self.py;
        let Some(exception) = Exception::take(py) else {
            return self.call.ending_of_failure(py, 500);
        };
        api::request_exception(py, &exception);
        if self.log_failure(constants, &exception) {
            return self.call.ending_of_timeout(py);
        }
        self.call.ending_of_failure(py, 500)
    }

    /// Logs what the application raised, and returns whether that was RequestTimeout. What is not its
    /// fault gets no traceback.
    fn log_failure(&self, constants: &Constants, exception: &Exception<'py>) -> bool {
        let py = self.py;
        if exception.is_of(&constants.request_timeout.get(py)) {
            let text = format!(
                "request for WSGI script '{}' was ended by RequestTimeout",
                self.context().script()
            );
            log_text(py, Level::Info, &text);
            return true;
        }
        if exception.is_of(&constants.client_disconnected.get(py)) {
            let text = format!(
                "mod_wsgi request data read error: the client closed the connection before WSGI \
                 script '{}' had read the request body",
                self.context().script()
            );
            log_text(py, Level::Info, &text);
            return false;
        }
        log_exception(py, exception, &self.context());
        false
    }
}

fn not_bytes<'py>(py: Attached<'py>, item: &Object<'py>) -> Raised {
    let class = item.class_name(py);
    py.raise(Class::Type, &format!("response iterable must yield bytes, not {class}"))
}
