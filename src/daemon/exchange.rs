// SPDX-License-Identifier: Apache-2.0
//! One request in daemon mode, from the finished route to what the handler returns. A request that
//! has not started is sent to another process when its connection breaks; one that has started is
//! answered 502, or its response is made visibly incomplete.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::frame::{self, BodyError, Kind, Reject};
use mod_wsgi_protocol::request::{Body, NO_SLOT};
use mod_wsgi_protocol::wire::Reader;

use super::choice::{self, Chosen};
use super::connection::{Connection, Failure, Patience, Receiver};
use super::retry::Retries;
use super::{Child, Group, failure};
use crate::httpd::body::BodyReader;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::os::wait_readable;
use crate::relay::{Problem, Responder};
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
            run(&task, responder, frame, receiver)
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

    let mut body = BodyReader::new(*request);
    let announced = announced_length(request);
    let collected = if work.takes_body() {
        collect(request, &mut body, announced)
    } else {
        // What a hook is asked with stands where a body would.
        Ok(Some(Vec::new()))
    };
    let mode = match collected {
        Ok(mode) => mode,
        Err(error) => return body_failed(request, error),
    };
    let mut slot = Slot::take(group, child);
    let mark = child.mark();

    frame.clear();
    frame.shrink_to(KEPT);
    let delivery = Delivery {
        slot: slot.index,
        mark,
        body: if mode.is_some() { Body::Whole } else { Body::Pulled },
        content_length: announced.unwrap_or(-1),
        queue_start: now(),
        group: Some(group),
    };
    if !work.write(request, &delivery, frame) {
        return 500;
    }
    if let Some(initial) = mode {
        frame.extend_from_slice(&initial);
    }

    let script = group.path_inside(work.script()).unwrap_or_default();
    let set = match choice::find_set(group, child, work.application_group(), script, deadline) {
        Ok(set) => set,
        Err(reason) => return failure::unavailable(task, reason),
    };
    // As many attempts as mod_wsgi has for a changed script.
    let attempts = 2 * group.processes() + 1;
    let mut avoid = Vec::new();
    let mut retries = Retries::default();
    for attempt in 0..=attempts {
        let chosen = match choice::choose(group, child, set, &avoid, deadline) {
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
                    avoid.push(chosen.serial);
                    continue;
                }
                Err(failure) => return failure::not_connected(task, &failure),
            },
        };
        slot.describe(&chosen, request);
        receiver.reset();
        let mut exchange = Exchange {
            request,
            connection: &connection,
            receiver,
            responder,
            body: &mut body,
            is_hook: !work.takes_body(),
            client_stalled: false,
            has_given_body: false,
            timeout,
            pace,
            unflushed: None,
            chosen: &chosen,
        };
        let attempted = exchange.run(frame);
        let has_given_body = exchange.has_given_body;
        match attempted {
            Attempt::Done => {
                if !receiver.has_leftovers() {
                    child.return_connection(group.index, chosen.process, connection);
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
                avoid.push(chosen.serial);
            }
            Attempt::Broken(failure) => {
                let unstarted = responder.is_waiting() && !slot.may_have_started(mark);
                if unstarted && matches!(failure, Failure::Closed) {
                    if was_idle {
                        // Perhaps the connection was at its end and not the process.
                        child.drop_connections(group.index, chosen.process);
                    } else {
                        avoid.push(chosen.serial);
                    }
                    continue;
                }
                let has_closed = matches!(failure, Failure::Closed);
                if has_closed
                    && responder.is_waiting()
                    && retries.allow(task, &chosen, has_given_body)
                {
                    // What ran is told already, and the mark is to mean the next process.
                    slot.clear();
                    avoid.push(chosen.serial);
                    deadline = Instant::now() + wait;
                    continue;
                }
                slot.is_of_dead = has_closed;
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

/// Content-Length, or None when there is no body or its length is not known.
fn announced_length(request: &Request<'_>) -> Option<i64> {
    let value = request.headers()?.get(c"Content-Length")?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Reads a small body of known length before a thread of a process is taken for it. Returns it, or
/// None when the body is to be pulled.
fn collect(
    request: &Request<'_>,
    body: &mut BodyReader<'_>,
    announced: Option<i64>,
) -> Result<Option<Vec<u8>>, BodyError> {
    let is_chunked =
        request.headers().is_some_and(|headers| headers.get(c"Transfer-Encoding").is_some());
    match announced {
        None if !is_chunked => Ok(Some(Vec::new())),
        Some(0) if !is_chunked => Ok(Some(Vec::new())),
        Some(length)
            if !is_chunked
                && !request.expects_continue()
                && usize::try_from(length)
                    .is_ok_and(|length| length <= frame::MAX_INITIAL_BODY) =>
        {
            let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            // An input filter may make more of it than was announced.
            while !body.read(frame::MAX_INITIAL_BODY, &mut data)? {
                if data.len() > frame::MAX_DATA {
                    return Err(BodyError::TooLarge);
                }
            }
            Ok(Some(data))
        }
        _ => Ok(None),
    }
}

fn body_failed(request: &Request<'_>, error: BodyError) -> i32 {
    let (level, status, text) = match error {
        BodyError::Aborted => (Level::Info, 400, "the client closed the connection"),
        BodyError::TimedOut => (Level::Error, 408, "the client sent nothing in time"),
        BodyError::TooLarge => (Level::Error, 413, "it is longer than LimitRequestBody"),
        BodyError::Failed => (Level::Error, 400, "it is malformed"),
    };
    log::request(
        request,
        level,
        format!("WSGI0126: The request body cannot be read: {text}").as_bytes(),
    );
    status
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
    body: &'x mut BodyReader<'a>,
    /// A hook is asked, and no application run.
    is_hook: bool,
    /// The client sent nothing of the body in time.
    client_stalled: bool,
    /// The process got parts of the body that are not in the request's frame.
    has_given_body: bool,
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
                    let flush = !blocks.is_last && self.is_due(blocks.size);
                    self.responder.data(&self.receiver.blocks(&blocks), blocks.is_last, flush)
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
                Kind::End => self.responder.end(header.flags & frame::INCOMPLETE != 0),
                // What the application made of it is not what went wrong.
                Kind::Error if self.client_stalled => self.responder.error(&408_u16.to_le_bytes()),
                Kind::Error => self.responder.error(self.receiver.payload(&header)),
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
                        Ok(wanted) => match self.answer_pull(wanted) {
                            Ok(()) => Ok(()),
                            Err(failure) => return Attempt::Broken(failure),
                        },
                        Err(error) => Err(Problem::Protocol(error)),
                    }
                }
                Kind::Reject => {
                    let reason = self.receiver.payload(&header).first().copied();
                    match reason.and_then(Reject::from_u8) {
                        Some(reason) if self.responder.is_waiting() => {
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

    fn answer_pull(&mut self, wanted: u32) -> Result<(), Failure> {
        let limit = (wanted as usize).min(frame::MAX_DATA);
        let mut data = Vec::with_capacity(limit);
        let result = if limit == 0 {
            self.body.provoke_continue().map(|()| self.body.is_at_end())
        } else {
            self.has_given_body = true;
            self.body.read(limit, &mut data)
        };
        match result {
            Ok(at_end) => {
                let flags = if at_end { frame::LAST } else { 0 };
                self.connection.send(Kind::Body, flags, &data, Some(self.timeout))
            }
            Err(error) => {
                self.client_stalled = error == BodyError::TimedOut;
                self.connection.send(Kind::BodyError, 0, &[error as u8], Some(self.timeout))
            }
        }
    }
}

fn protocol(what: &'static str) -> Problem {
    Problem::Protocol(mod_wsgi_protocol::wire::DecodeError::Invalid(what))
}
