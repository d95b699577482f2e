// SPDX-License-Identifier: Apache-2.0
//! A worker thread: waits for a connection that has something to say, reads the request, runs it,
//! and waits again.
#![forbid(unsafe_code)]

use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use mod_wsgi_protocol::control::Reason;
use mod_wsgi_protocol::frame::{Kind, Reject};
use mod_wsgi_protocol::hook::Hook;
use mod_wsgi_protocol::request::Request;
use mod_wsgi_protocol::response::Times;

use super::interpreters::{NoInterpreter, Visits};
use super::running::Running;
use super::shared::{Quota, Shared};
use crate::exchange::{Connection, Exchange, Frame, FrameBuffer, FrameError, SocketExchange};
use crate::interp::guarded;
use crate::log::Level;
use crate::os;
use crate::wsgi::{Job, Verdict, handle, refuse};

/// A worker.
struct Worker {
    /// What it shares with others.
    shared: Arc<Shared>,
    /// What it says of itself.
    running: Arc<Running>,
    /// Its seats.
    visits: Visits,
    /// The frame that it reads.
    buffer: FrameBuffer,
}

/// Starts worker `number` (1 …).
pub(super) fn start(
    shared: &Arc<Shared>,
    running: &Arc<Running>,
    number: i64,
) -> std::io::Result<JoinHandle<()>> {
    let (shared, running) = (Arc::clone(shared), Arc::clone(running));
    let stack_size = match usize::try_from(shared.settings.stack_size) {
        Ok(0) | Err(_) => os::thread_stack_size(),
        Ok(size) => size,
    };
    std::thread::Builder::new().name(format!("wsgi-{number}")).stack_size(stack_size).spawn(
        move || {
            running.thread.set_thread();
            let visits = Visits::new(&shared.interpreters, number);
            let mut worker = Worker { shared, running, visits, buffer: FrameBuffer::default() };
            worker.work();
            worker.visits.leave();
        },
    )
}

impl Worker {
    fn work(&mut self) {
        loop {
            let event = match self.shared.epoll.wait() {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(error) => {
                    self.shared.warn(&format!("a worker thread ends: epoll_wait: {error}"));
                    return;
                }
            };
            if event.descriptor == self.shared.stop_event() {
                return;
            }
            self.shared.begin();
            // A connection that is not there any more was closed by the main thread.
            let connection = self.shared.idle.lock().remove(&event.descriptor);
            if let Some(connection) = connection {
                let keep = guarded(false, || self.serve(&connection));
                self.running.end();
                if keep && !connection.is_broken() {
                    self.shared.put_back(connection);
                }
            }
            self.shared.end();
        }
    }

    /// Serves one request; whether the connection can be used again.
    fn serve(&mut self, connection: &Arc<Connection>) -> bool {
        match connection.receive_frame(&mut self.buffer) {
            Ok(header) if header.kind == Kind::Request => {}
            Ok(header) => {
                self.refuse(connection, &format!("unexpected frame {:?}", header.kind));
                return false;
            }
            Err(FrameError::End) => return false,
            Err(error) => {
                self.refuse(connection, &error.to_string());
                return false;
            }
        }
        let daemon_start = os::wall_clock_micros();
        let request = match Request::decode(self.buffer.payload()) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("WSGI0080: unusable request from an httpd child: {error}");
                self.shared.warn(&text);
                return false;
            }
        };
        let is_hook = request.head.hook != Hook::None;
        let began = self.shared.clock.now();
        self.running.begin(began, request.head.slot, request.head.mark);
        let mut exchange = Box::new(SocketExchange::new(Arc::clone(connection), is_hook));
        if self.shared.is_draining() {
            reject(&mut *exchange, Reject::Draining);
            return false;
        }
        let shared = &self.shared;
        let settings = &shared.settings;
        let waited = daemon_start.saturating_sub(request.head.request_start);
        if !is_hook && settings.queue_timeout != 0 && waited > micros(settings.queue_timeout) {
            let text = format!(
                "WSGI0084: Queue timeout expired for WSGI daemon process '{}': the request waited {} s for a thread (queue-timeout)",
                String::from_utf8_lossy(&settings.process_group),
                waited / 1_000_000
            );
            return fail(&mut *exchange, daemon_start, 504, &text);
        }
        // A hook is a part of a request, and not one more.
        let quota = if is_hook { Quota::Within } else { shared.count_request() };
        if matches!(quota, Quota::Beyond | Quota::Exhausted) && settings.run_once {
            reject(&mut *exchange, Reject::Draining);
            return true;
        }
        let group = request.head.application_group;
        let visit = match self.visits.of(&shared.interpreters, settings, true, group) {
            Ok(visit) => visit,
            Err(NoInterpreter::Exhausted) if !is_hook => {
                let text = format!(
                    "WSGI0300: No interpreter for application group '{}': WSGI daemon process '{}' has those of {} application groups already, raise application-groups= or name fewer groups",
                    String::from_utf8_lossy(group),
                    String::from_utf8_lossy(&settings.process_group),
                    settings.application_groups
                );
                shared.act_on_quota(quota);
                return fail(&mut *exchange, daemon_start, 503, &text);
            }
            Err(_) => {
                shared.act_on_quota(quota);
                return refuse(&request, daemon_start, &mut *exchange).is_ok();
            }
        };
        let mark_started = || {
            if let Some(slot) = shared.region.slot(request.head.slot) {
                slot.start(request.head.mark);
            }
        };
        let mark_produced = || {
            if let Some(slot) = shared.region.slot(request.head.slot) {
                slot.produce(request.head.mark);
            }
        };
        let counts = settings.inactivity_timeout != 0 && !request.head.ignore_activity;
        if counts {
            shared.note_activity(began);
        }
        let job = Job {
            request: &request,
            settings,
            daemon_start,
            mark_started: &mark_started,
            mark_produced: &mark_produced,
            interruptible: Some((&self.running.thread, began)),
        };
        let verdict = handle(visit, &job, exchange);
        if counts {
            shared.note_activity(shared.clock.now());
        }
        match verdict {
            Verdict::Rejected(Reject::ScriptChanged) => {
                shared.ask_for_replacement(Reason::ScriptChanged);
            }
            Verdict::Rejected(Reject::Draining) | Verdict::Served => {}
        }
        shared.act_on_quota(quota);
        true
    }

    fn refuse(&self, connection: &Connection, problem: &str) {
        let number: RawFd = connection.socket().number();
        self.shared.warn(&format!(
            "WSGI0080: connection {number} from an httpd child is closed: {problem}"
        ));
    }
}

fn micros(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000
}

/// Answers a request that is not run with an error document of httpd's, and a line for its log;
/// whether the connection can be used again.
fn fail(exchange: &mut dyn Exchange, daemon_start: i64, status: u16, text: &str) -> bool {
    let parts = [&[Level::Error as u8][..], text.as_bytes()];
    let line = Frame { kind: Kind::Log, flags: 0, parts };
    let status = status.to_le_bytes();
    let times = Times { daemon_start, application: 0 }.encode();
    let error = Frame { kind: Kind::Error, flags: 0, parts: [&status, &times] };
    exchange.send(&line, 0).and_then(|()| exchange.send(&error, 0)).is_ok()
}

fn reject(exchange: &mut dyn Exchange, reason: Reject) {
    let frame = Frame { kind: Kind::Reject, flags: 0, parts: [&[reason as u8], &[]] };
    // When nobody listens, nobody has to be told.
    let _ = exchange.send(&frame, 0);
}
