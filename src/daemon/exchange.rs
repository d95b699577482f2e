// SPDX-License-Identifier: Apache-2.0
//! One request in daemon mode, from the finished route to what the handler returns. A request that
//! has not started is sent to another process when its connection breaks; one that has started is
//! answered 502, or its response is made visibly incomplete.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::frame::{self, Kind, Reject};
use mod_wsgi_protocol::request::{Body, NO_SLOT};
use mod_wsgi_protocol::wire::Reader;

use super::body::RequestBody;
use super::choice::{self, Avoided, Chosen, Need};
use super::connection::{Connection, Failure, Patience, Receiver};
use super::retry::Retries;
use super::{Child, Group, failure};
use crate::httpd::body;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::os::wait_readable;
use crate::relay::{Problem, Responder, note_process, note_times};
use crate::work::{Delivery, Work};

thread_local! {
    /// Buffers of the thread: the frame of the request, and what is received.
    static BUFFERS: RefCell<(Vec<u8>, Receiver)> = RefCell::default();
}

/// Bytes of a request frame's buffer that are kept for the next request.
const KEPT: usize = 16 << 10;

/// How one attempt ended.
enum Attempt {
    /// The response was relayed, or httpd is to make this error; the connection may be kept.
    Done,
    /// The process did not take the request.
    Rejected(Reject),
    /// The connection broke, or what came on it was no protocol.
    Broken(Failure),
    /// The client is gone.
    ClientGone,
}

/// Has a process of the group work for the request. Returns what httpd's handler returns.
pub(crate) fn handle<'a>(
    request: &Request<'a>,
    group: &Group,
    child: &Child,
    work: Work<'_>,
    responder: &mut Responder<'a>,
) -> i32 {
    let task = Task { request, group, child, work };
    BUFFERS.with(|buffers| match buffers.try_borrow_mut() {
        Ok(mut buffers) => {
            let (frame, receiver) = &mut *buffers;
            let result = run(&task, responder, frame, receiver);
            // Descriptors that nobody asked for do not stay until the thread's next request.
            receiver.reset();
            result
        }
        // A request inside a request of the same thread (an internal redirect).
        Err(_) => run(&task, responder, &mut Vec::new(), &mut Receiver::default()),
    })
}

/// Who works for which request at what.
pub(super) struct Task<'x, 'a> {
    /// The request.
    pub(super) request: &'x Request<'a>,
    /// The process group.
    pub(super) group: &'x Group,
    /// This httpd child.
    pub(super) child: &'x Child,
    /// What is to be done.
    pub(super) work: Work<'x>,
}

/// A slot that goes back when the request is over.
struct Slot<'a> {
    /// Its group.
    group: &'a Group,
    /// Its child.
    child: &'a Child,
    /// Its index, or [`NO_SLOT`].
    index: u32,
    /// The process died while it ran the request.
    is_of_dead: bool,
}

impl<'a> Slot<'a> {
    fn take(group: &'a Group, child: &'a Child) -> Self {
        Self { group, child, index: child.take_slot().unwrap_or(NO_SLOT), is_of_dead: false }
    }

    fn describe(&self, chosen: &Chosen<'_>, request: &Request<'_>) {
        if let Some(slot) = self.group.region().slot(self.index) {
            let line = request.request_line().unwrap_or_default();
            // Query strings may hold what does not belong into a log.
            let end = line.iter().position(|byte| *byte == b'?').unwrap_or(line.len());
            slot.describe(chosen.process, chosen.serial, line.get(..end).unwrap_or_default());
        }
    }

    fn clear(&self) {
        if let Some(slot) = self.group.region().slot(self.index) {
            slot.clear();
        }
    }

    fn is_produced(&self, mark: u32) -> bool {
        self.group.region().slot(self.index).is_some_and(|slot| slot.is_produced(mark))
    }

    fn may_have_started(&self, mark: u32) -> bool {
        self.group.region().slot(self.index).is_none_or(|slot| slot.is_started(mark))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.index == NO_SLOT {
            return;
        }
        if self.is_of_dead {
            self.child.return_slot_of_dead(self.index);
        } else {
            self.clear();
            self.child.return_slot(self.index);
        }
    }
}

fn run<'a>(
    task: &Task<'_, 'a>,
    responder: &mut Responder<'a>,
    frame: &mut Vec<u8>,
    receiver: &mut Receiver,
) -> i32 {
    let Task { request, group, child, work } = *task;
    let options = &group.options;
    let socket_timeout = match options.socket_timeout {
        0 => request.server().map_or(60, |server| server.timeout()),
        seconds => seconds,
    };
    let timeout = Duration::from_secs(socket_timeout.into());

    let mut body = RequestBody::new(request);
    // What a hook is asked with stands where a body would.
    if work.takes_body()
        && let Err(error) = body.collect(options.body_spool)
    {
        return body.failed(&error);
    }
    // A process that is starting is waited for as one that is slow; one that cannot be connected,
    // as `connect-timeout` says.
    let wait = socket_timeout.max(options.connect_timeout);
    let pace = Pace {
        delay: Duration::from_millis(options.response_flush_delay.into()),
        most: match options.response_buffer_size {
            0 => 8 << 20,
            size => usize::try_from(size).unwrap_or(usize::MAX),
        },
    };
    let wait = Duration::from_secs(wait.into());
    let mut deadline = Instant::now() + wait;
    let mut slot = Slot::take(group, child);
    let mark = child.mark();

    frame.clear();
    frame.shrink_to(KEPT);
    let delivery = Delivery {
        slot: slot.index,
        mark,
        body: if !work.takes_body() || body.is_whole_in_first_part() {
            Body::Whole
        } else {
            Body::Pulled
        },
        content_length: body.announced().unwrap_or(-1),
        queue_start: now(),
        group: Some(group),
    };
    if !work.write(request, &delivery, frame) {
        return 500;
    }
    frame.extend_from_slice(body.first_part());

    let need = Need {
        application_group: work.application_group(),
        script: group.path_inside(work.script()).unwrap_or_default(),
        ignores_activity: work.ignores_activity(),
    };
    // As many attempts as mod_wsgi has for a changed script.
    let attempts = 2 * group.most_processes() + 1;
    let mut avoided = Avoided::default();
    let mut retries = Retries::default();
    for attempt in 0..=attempts {
        let chosen = match choice::choose(group, child, need, &mut avoided, deadline) {
            Ok(chosen) => chosen,
            Err(reason) => return failure::unavailable(task, reason),
        };
        let idle = child.take_connection(group.index, chosen.process, chosen.serial);
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => match connect(group, &chosen) {
                Ok(connection) => connection,
                Err(Failure::Closed) => {
                    avoided.push(chosen.serial);
                    continue;
                }
                Err(failure) => return failure::not_connected(task, &failure),
            },
        };
        slot.describe(&chosen, request);
        if work.takes_body() {
            note_process(request, &group.name, chosen.pid);
        }
        receiver.reset();
        body.rewind();
        let mut exchange = Exchange {
            request,
            connection: &connection,
            receiver,
            responder,
            body: &mut body,
            is_hook: !work.takes_body(),
            timeout,
            pace,
            unflushed: None,
            chosen: &chosen,
        };
        match exchange.run(frame) {
            Attempt::Done => {
                if !receiver.has_leftovers() {
                    child.return_connection(group.index, chosen.process, connection);
                }
                if let Some(times) = responder.times() {
                    note_times(request, &times, Some(delivery.queue_start));
                }
                return responder.finish(500);
            }
            Attempt::ClientGone => {
                responder.abandon();
                return responder.finish(0);
            }
            Attempt::Rejected(reason) => {
                log::request(
                    request,
                    Level::Info,
                    format!(
                        "WSGI daemon process '{}' {}, reconnect attempt {}",
                        group.label(),
                        match reason {
                            Reject::Draining => "is leaving",
                            Reject::ScriptChanged => "restarts because the script changed",
                        },
                        attempt + 1
                    )
                    .as_bytes(),
                );
                avoided.push(chosen.serial);
            }
            // The process did not wait for a client as long as httpd did.
            Attempt::Broken(Failure::Closed)
                if responder.is_waiting() && body.refused().is_some() =>
            {
                return body.failed_midway();
            }
            Attempt::Broken(failure) => {
                let unstarted =
                    responder.is_waiting() && !slot.may_have_started(mark) && body.rewind();
                if unstarted && matches!(failure, Failure::Closed) {
                    if was_idle {
                        // Perhaps the connection was at its end and not the process.
                        child.drop_connections(group.index, chosen.process);
                    } else {
                        avoided.push(chosen.serial);
                    }
                    continue;
                }
                let has_closed = matches!(failure, Failure::Closed);
                if has_closed
                    && responder.is_waiting()
                    && retries.allow(task, &chosen, !body.rewind())
                {
                    // What ran is told already, and the mark is to mean the next process.
                    slot.clear();
                    avoided.push(chosen.serial);
                    deadline = Instant::now() + wait;
                    continue;
                }
                slot.is_of_dead = has_closed;
                let is_over = has_closed || matches!(failure, Failure::TimedOut);
                // The mark is the process's word; that its response has begun is known here.
                if is_over && !responder.is_waiting() && slot.is_produced(mark) {
                    return failure::broken_in_close(task, &chosen, responder, has_closed);
                }
                return failure::broken(task, &chosen, responder, &failure);
            }
        }
    }
    failure::not_taken(task, attempts)
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
}

fn connect(group: &Group, chosen: &Chosen<'_>) -> Result<Connection, Failure> {
    let deadline = Instant::now() + Duration::from_secs(group.options.connect_timeout.into());
    Connection::open(group, chosen.serial, deadline).map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => Failure::Closed,
        std::io::ErrorKind::WouldBlock => Failure::TimedOut,
        _ => Failure::System(error),
    })
}

/// One attempt on one connection.
struct Exchange<'x, 'a> {
    /// The request.
    request: &'x Request<'a>,
    /// To the process.
    connection: &'x Connection,
    /// What comes from it.
    receiver: &'x mut Receiver,
    /// What becomes of it.
    responder: &'x mut Responder<'a>,
    /// The request body.
    body: &'x mut RequestBody<'a>,
    /// A hook is asked, and no application run.
    is_hook: bool,
    /// For each read and write.
    timeout: Duration,
    /// When what was passed on is flushed.
    pace: Pace,
    /// What was passed on since the last flush.
    unflushed: Option<Unflushed>,
    /// The process.
    chosen: &'x Chosen<'x>,
}

/// When a response that is not at its end is flushed to the client.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// When nothing has followed for this long (`response-flush-delay`).
    delay: Duration,
    /// When there is this much of it, in bytes (`response-buffer-size`).
    most: usize,
}

/// What httpd's filters may still hold back.
#[derive(Debug, Clone, Copy)]
struct Unflushed {
    /// When the first of it was passed on.
    since: Instant,
    /// Bytes.
    size: usize,
}

impl Exchange<'_, '_> {
    fn run(&mut self, request: &[u8]) -> Attempt {
        if let Err(failure) = self.connection.send(Kind::Request, 0, request, Some(self.timeout)) {
            // A process that rejects may do so before it has read everything.
            if !matches!(failure, Failure::Closed) {
                return Attempt::Broken(failure);
            }
        }
        let chosen = self.chosen;
        let is_gone = || chosen.is_gone();
        let patience = Patience { timeout: self.timeout, is_gone: &is_gone };
        loop {
            if let Some(unflushed) = self.unflushed
                && let Err(attempt) = self.flush_unless_more_comes(unflushed)
            {
                return attempt;
            }
            let header = match self.receiver.receive(self.connection, &patience) {
                Ok(header) => header,
                Err(failure) => return Attempt::Broken(failure),
            };
            let last = header.flags & frame::LAST != 0;
            let result = match header.kind {
                Kind::Head => {
                    let flush = !last && self.is_due(header.length);
                    self.responder.head(self.receiver.payload(&header), last, flush)
                }
                Kind::Data => {
                    let blocks = self.receiver.take_blocks(&header);
                    let flush = self.is_due(blocks.size);
                    self.responder.data(&self.receiver.blocks(&blocks), flush)
                }
                Kind::File => match self.receiver.descriptor() {
                    Some(descriptor) => {
                        self.is_due(0);
                        let payload = self.receiver.payload(&header);
                        self.responder.file(payload, descriptor, last, false)
                    }
                    None => Err(protocol("descriptor of a file")),
                },
                Kind::Log => self.responder.log(self.receiver.payload(&header)),
                Kind::End => {
                    let incomplete = header.flags & frame::INCOMPLETE != 0;
                    self.responder.end(self.receiver.payload(&header), incomplete)
                }
                Kind::Error => {
                    // What the application made of it is not what went wrong.
                    let instead = self.body.refused().map(body::status);
                    let payload = self.receiver.payload(&header);
                    if instead.is_none() && payload.starts_with(&503_u16.to_le_bytes()) {
                        // The process has as many interpreters as it may have.
                        failure::ask_back_later(self.request);
                    }
                    self.responder.error(payload, instead)
                }
                Kind::Answer => self.responder.answer(self.receiver.payload(&header)),
                Kind::Lookup if self.is_hook => match self.answer_lookup(&header) {
                    Ok(()) => Ok(()),
                    Err(failure) => return Attempt::Broken(failure),
                },
                Kind::Pull if !self.is_hook => {
                    // The client may wait for what it was told before it says more.
                    if self.unflushed.take().is_some() && self.responder.flush().is_err() {
                        return Attempt::ClientGone;
                    }
                    let wanted = Reader::new(self.receiver.payload(&header)).u32();
                    match wanted {
                        Ok(wanted) => {
                            match self.body.answer_pull(self.connection, wanted, self.timeout) {
                                Ok(()) => {
                                    if self.body.is_answered() {
                                        self.responder.httpd_has_answered();
                                    }
                                    Ok(())
                                }
                                Err(failure) => return Attempt::Broken(failure),
                            }
                        }
                        Err(error) => Err(Problem::Protocol(error)),
                    }
                }
                Kind::Reject => {
                    let reason = self.receiver.payload(&header).first().copied();
                    match reason.and_then(Reject::from_u8) {
                        Some(reason) if self.responder.is_waiting() && self.body.rewind() => {
                            return Attempt::Rejected(reason);
                        }
                        _ => Err(protocol("rejection")),
                    }
                }
                Kind::Request
                | Kind::Body
                | Kind::BodyError
                | Kind::Value
                | Kind::Pull
                | Kind::Lookup => Err(protocol("frame kind")),
            };
            match result {
                Ok(()) if self.responder.is_done() => return Attempt::Done,
                Ok(()) => {}
                Err(Problem::Gone) => return Attempt::ClientGone,
                Err(Problem::Protocol(error)) => {
                    return Attempt::Broken(Failure::Protocol(error));
                }
            }
        }
    }

    /// Notes that this much is passed on. Whether it is to be flushed at once.
    fn is_due(&mut self, size: usize) -> bool {
        let unflushed =
            self.unflushed.get_or_insert_with(|| Unflushed { since: Instant::now(), size: 0 });
        unflushed.size = unflushed.size.saturating_add(size);
        let is_due = unflushed.size >= self.pace.most;
        if is_due {
            self.unflushed = None;
        }
        is_due
    }

    /// Flushes what was passed on when nothing follows in time: what follows can go with it. The
    /// time is that of the first of it, so that a trickle is not held back.
    fn flush_unless_more_comes(&mut self, unflushed: Unflushed) -> Result<(), Attempt> {
        if self.receiver.has_more() {
            return Ok(());
        }
        let rest = self.pace.delay.saturating_sub(unflushed.since.elapsed());
        match wait_readable(self.connection.descriptor(), Some(rest)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.unflushed = None;
                self.responder.flush().map_err(|_| Attempt::ClientGone)
            }
            Err(error) => Err(Attempt::Broken(error.into())),
        }
    }

    fn answer_lookup(&mut self, header: &frame::Header) -> Result<(), Failure> {
        let name = self.receiver.payload(header);
        let mut payload = vec![0];
        // `HTTP:` and `ENV:` would have mod_ssl look up headers that hooks do not get, and httpd's
        // environment.
        let is_plain = !name.contains(&b':');
        let value = if is_plain { self.request.ssl_variable(name) } else { None };
        if let Some(value) = value {
            payload[0] = 1;
            payload.extend_from_slice(value.get(..frame::MAX_DATA - 1).unwrap_or(value));
        }
        self.connection.send(Kind::Value, 0, &payload, Some(self.timeout))
    }
}

fn protocol(what: &'static str) -> Problem {
    Problem::Protocol(mod_wsgi_protocol::wire::DecodeError::Invalid(what))
}
