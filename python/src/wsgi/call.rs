// SPDX-License-Identifier: Apache-2.0
//! The state of one running request, shared by what the application holds of it: `start_response`,
//! `write`, `wsgi.input`, `wsgi.errors`. It holds no Python objects. Its lock is never waited for
//! with the GIL held, so that a thread that waits for the client does not stop the others.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mod_wsgi_protocol::frame::Kind;
use mod_wsgi_protocol::log::{Entry, MAX_LINE, lines};
use parking_lot::{Mutex, MutexGuard};

use super::body::Body;
use super::head::Head;
use crate::exchange::{Exchange, Frame, Gone, Progress};
use crate::interp::{Attached, Class, Interpreter, PyResult, Raised};
use crate::log::{self, Level, LineBuffer};
use crate::metrics::Statistics;
use crate::os;
use crate::timing::{self, Waits, timed};

/// A running request.
#[derive(Default)]
pub(crate) struct Call {
    /// What changes while it runs.
    state: Mutex<State>,
    /// The thread that has the lock, as [`this_thread`] names it; 0 is none.
    holder: AtomicUsize,
    /// The least urgent level that httpd logs for it.
    log_level: u8,
    /// Waits of its thread for a GIL before it began.
    waits_before: Waits,
}

/// What changes while a request runs.
#[derive(Default)]
pub(super) struct State {
    /// The way to httpd; None when the request is over.
    pub(super) exchange: Option<Box<dyn Exchange>>,
    /// The body of the request.
    pub(super) body: Body,
    /// How long the application has waited for it, where that is measured.
    pub(super) reading: Duration,
    /// What the application gave to `start_response` last.
    pub(super) head: Option<Head>,
    /// How far the response is.
    pub(super) response: Response,
    /// What was printed and has no line end yet.
    lines: LineBuffer,
}

/// How far the response is.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// The head is sent.
    pub(super) committed: bool,
    /// `Content-Length`, where there is one; set when the head is sent.
    pub(super) length: Option<u64>,
    /// Bytes of the body that were sent.
    pub(super) sent: u64,
    /// Blocks that were output.
    pub(super) writes: u64,
    /// How long that took, where it is measured.
    pub(super) writing: Duration,
    /// The request is HEAD, as the application sees it.
    pub(super) is_head_request: bool,
    /// The other end does not take more.
    pub(super) gone: bool,
}

/// The lock of a call's state.
pub(super) struct Held<'a> {
    /// The lock itself.
    state: MutexGuard<'a, State>,
    /// Where it is written down who has it.
    holder: &'a AtomicUsize,
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Before the lock is given up, which is when the fields are dropped.
        self.holder.store(0, Ordering::Relaxed);
    }
}

/// A number that no other living thread has, and not 0.
fn this_thread() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

/// Payloads up to this size are copied into the socket without giving the GIL away, if they fit.
const SMALL: usize = 64 << 10;

/// Ends a child that the application forked and that has come back from the application: the
/// response, and all else that mod_wsgi does, is the business of its parent.
pub(crate) fn leave_if_forked() {
    if os::is_forked_child() {
        let text = "a process that the application forked returned into mod_wsgi, and was ended: \
                    it should have called os._exit()";
        log::process(Level::Warning, text);
        os::exit_now(255);
    }
}

/// Sends a frame, and adds what that takes to `spent`, where it is measured; gives the GIL away where
/// it may wait.
pub(super) fn transmit(
    py: Attached<'_>,
    exchange: &mut dyn Exchange,
    frame: &Frame<'_>,
    spent: &mut Duration,
) -> Result<(), Gone> {
    leave_if_forked();
    let from = if frame.length() <= SMALL {
        match timed(spent, || exchange.try_send(frame))? {
            Progress::Whole => return Ok(()),
            Progress::Part(from) => from,
        }
    } else {
        0
    };
    py.detach(|| timed(spent, || exchange.send(frame, from)))
}

impl Call {
    /// A request that begins.
    pub(crate) fn begin(
        &mut self,
        exchange: Box<dyn Exchange>,
        body: Body,
        is_head: bool,
        log_level: u8,
    ) {
        self.log_level = log_level;
        self.waits_before = timing::gil_waits();
        let state = self.state.get_mut();
        state.exchange = Some(exchange);
        state.body = body;
        state.reading = Duration::ZERO;
        state.head = None;
        state.response = Response { is_head_request: is_head, ..Response::default() };
        state.lines = LineBuffer::default();
    }

    /// The state, for the thread that runs the request, between two uses of it; the GIL is given
    /// away while another thread has it.
    pub(super) fn lock(&self, py: Attached<'_>) -> Held<'_> {
        loop {
            if let Some(state) = self.try_lock() {
                return state;
            }
            py.detach(|| drop(self.state.lock()));
        }
    }

    /// The state, for what may be called at any time. An exception is raised when this very thread
    /// is using it further out: what the request sends may have led to another request on the same
    /// thread, in embedded mode.
    pub(super) fn lock_if_free(&self, py: Attached<'_>) -> PyResult<Held<'_>> {
        if self.is_held_here() {
            return Err(py.raise(Class::Runtime, "this thread is using the request already"));
        }
        Ok(self.lock(py))
    }

    /// Raises when the request is over; `action` is what was done.
    pub(super) fn check_running(&self, py: Attached<'_>, action: &str) -> PyResult<()> {
        match self.lock_if_free(py)?.exchange {
            Some(_) => Ok(()),
            None => Err(request_is_over(py, action)),
        }
    }

    fn try_lock(&self) -> Option<Held<'_>> {
        let state = self.state.try_lock()?;
        self.holder.store(this_thread(), Ordering::Relaxed);
        Some(Held { state, holder: &self.holder })
    }

    /// Whether it is this thread that has the lock. Only a thread itself writes its number.
    fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == this_thread()
    }

    /// Ends the request: from now on the application's objects raise. The way to httpd goes back
    /// to the caller.
    pub(super) fn finish(&self, py: Attached<'_>) -> Option<Box<dyn Exchange>> {
        let mut state = self.lock(py);
        state.body = Body::default();
        state.head = None;
        state.exchange.take()
    }

    /// Whether the head is sent.
    pub(super) fn is_committed(&self, py: Attached<'_>) -> bool {
        self.lock(py).response.committed
    }

    /// httpd's record of the request, while it runs inside an httpd child.
    pub(super) fn request_record(&self, py: Attached<'_>) -> Option<NonNull<c_void>> {
        self.lock(py).exchange.as_ref()?.request_record()
    }

    /// What it has moved, and how long it has waited; for the thread that runs it.
    pub(crate) fn statistics(&self, py: Attached<'_>) -> Statistics {
        let state = self.lock(py);
        let response = &state.response;
        let (reads, input) = state.body.statistics();
        Statistics {
            status: state.head.as_ref().map_or(500, |head| u64::from(head.status)),
            output: response.sent,
            writes: response.writes,
            writing: response.writing,
            input,
            reads,
            reading: state.reading,
            gil: timing::gil_waits().since(self.waits_before),
        }
    }

    /// Whether httpd logs this level for the request.
    pub(crate) fn logs(&self, level: u8) -> bool {
        level <= self.log_level
    }

    /// Logs for this request. False when the request is over, or this thread is using it further
    /// out.
    pub(crate) fn log(&self, py: Attached<'_>, entry: &Entry<'_>) -> bool {
        if self.is_held_here() {
            return false;
        }
        let mut state = self.lock(py);
        let Some(exchange) = state.exchange.as_deref_mut() else { return false };
        if !self.logs(entry.level) {
            return true;
        }
        let head = entry.head();
        let mut send = |text: &[u8]| {
            let frame = Frame { kind: Kind::Log, flags: 0, parts: [&head, text] };
            let mut spent = Duration::ZERO;
            transmit(py, exchange, &frame, &mut spent).is_ok()
        };
        let is_sent =
            if entry.text.len() <= SMALL { send(entry.text) } else { in_parts(entry.text, send) };
        state.response.gone |= !is_sent;
        is_sent
    }

    /// Takes what the application prints; whole lines are logged.
    pub(super) fn print(&self, py: Attached<'_>, text: &[u8]) -> PyResult<()> {
        let lines = if self.is_held_here() {
            // The log of the process takes it.
            Some(text.to_vec())
        } else {
            let mut state = self.lock(py);
            if state.exchange.is_none() {
                return Err(request_is_over(py, "write() called on wsgi.errors"));
            }
            state.lines.add(text)
        };
        if let Some(lines) = lines {
            self.log_anyway(py, &lines);
        }
        Ok(())
    }

    /// Logs what was printed and has no line end.
    pub(super) fn flush(&self, py: Attached<'_>) {
        if self.is_held_here() {
            return;
        }
        let rest = self.lock(py).lines.flush();
        if let Some(rest) = rest {
            self.log_anyway(py, &rest);
        }
    }

    /// What was printed is not lost because the client is.
    fn log_anyway(&self, py: Attached<'_>, text: &[u8]) {
        let entry = log::printed(text);
        if !self.log(py, &entry) {
            py.detach(|| log::process_entry(&entry));
        }
    }
}

/// Hands out a long text in parts of whole lines, of which httpd takes the beginning, until `send`
/// does not take one.
fn in_parts(text: &[u8], mut send: impl FnMut(&[u8]) -> bool) -> bool {
    let mut part: Vec<u8> = Vec::with_capacity(SMALL);
    let mut is_first = true;
    for line in lines(text) {
        let line = line.get(..MAX_LINE).unwrap_or(line);
        if !is_first && part.len() + line.len() >= SMALL {
            if !send(&part) {
                return false;
            }
            part.clear();
            is_first = true;
        }
        if !is_first {
            part.push(b'\n');
        }
        is_first = false;
        part.extend_from_slice(line);
    }
    send(&part)
}

/// What the application's objects raise after the request; `action` is what was done with them.
pub(super) fn request_is_over(py: Attached<'_>, action: &str) -> Raised {
    py.raise(Class::Runtime, &format!("{action} after request completed"))
}

/// A request, on the thread that runs it.
struct Running {
    /// The request.
    call: Arc<Call>,
    /// Where its application is: code of another interpreter may run on the thread meanwhile.
    interpreter: &'static Interpreter,
}

thread_local! {
    /// The request that this thread runs.
    static CURRENT: RefCell<Option<Running>> = const { RefCell::new(None) };
}

fn with_current<R>(look: impl FnOnce(&Running) -> Option<R>) -> Option<R> {
    if os::is_forked_child() {
        // The request is the parent's; what its child prints must not get between its frames.
        return None;
    }
    CURRENT.try_with(|current| current.borrow().as_ref().and_then(look)).ok().flatten()
}

/// The request that this thread runs.
pub(crate) fn current_call() -> Option<Arc<Call>> {
    with_current(|running| Some(Arc::clone(&running.call)))
}

/// The request that this thread runs in the interpreter of `py`.
pub(crate) fn current_call_in(py: Attached<'_>) -> Option<Arc<Call>> {
    with_current(|running| {
        let is_there = std::ptr::eq(running.interpreter, py.interpreter());
        is_there.then(|| Arc::clone(&running.call))
    })
}

/// While it lives, the thread runs another request, or none; then it runs again the one that it ran
/// before, inside which this one is.
pub(crate) struct Inside {
    /// The one before.
    outer: Option<Running>,
}

impl Inside {
    /// Says that this thread runs `call`.
    pub(super) fn of(call: &Arc<Call>, interpreter: &'static Interpreter) -> Self {
        Self { outer: replace_current(Some(Running { call: Arc::clone(call), interpreter })) }
    }

    /// Says that what this thread does next is no part of its request.
    pub(crate) fn of_none() -> Self {
        Self { outer: replace_current(None) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The one that is replaced is dropped here, where it is not borrowed.
        drop(replace_current(self.outer.take()));
    }
}

fn replace_current(running: Option<Running>) -> Option<Running> {
    CURRENT.try_with(|current| current.replace(running)).ok().flatten()
}

/// Ends a request whose thread panics: nothing that is left of it may use the way to httpd, which
/// is at its end when the panic has reached its guard.
pub(super) struct EndOnPanic<'a>(pub(super) &'a Call);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(self.0.state.lock().exchange.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::exchange::ReadError;

    /// Takes everything.
    struct Sink;

    impl Exchange for Sink {
        fn try_send(&mut self, _frame: &Frame<'_>) -> Result<Progress, Gone> {
            Ok(Progress::Whole)
        }

        fn send(&mut self, _frame: &Frame<'_>, _from: usize) -> Result<(), Gone> {
            Ok(())
        }

        fn send_file(&mut self, _: BorrowedFd<'_>, _: u64, _: u64, _: bool) -> Result<(), Gone> {
            Ok(())
        }

        fn look_up(&mut self, _name: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
            Ok(None)
        }

        fn read_body(&mut self, _buffer: &mut Vec<u8>, _most: usize) -> Result<bool, ReadError> {
            Ok(false)
        }
    }

    #[test]
    fn a_thread_knows_what_it_holds() {
        let call = Call::default();
        let held = call.try_lock().unwrap();
        assert!(call.is_held_here());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!call.is_held_here() && call.try_lock().is_none()));
        });
        drop(held);
        assert!(!call.is_held_here());
        assert!(call.try_lock().is_some());
    }

    #[test]
    fn a_request_begins_with_a_line_of_its_own() {
        let mut call = Call::default();
        let lines = &mut call.state.get_mut().lines;
        lines.add(b"the end of a request");
        lines.flush();
        call.begin(Box::new(Sink), Body::default(), false, 0);
        assert_eq!(call.state.get_mut().lines.add(b"\n").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn long_texts_go_in_whole_lines() {
        let mut parts = Vec::new();
        let text = [&b"a"[..], &vec![b'x'; 3 * MAX_LINE], &vec![b'y'; SMALL - 4], b"", b"end\n"];
        let text = text.join(&b'\n');
        assert!(in_parts(&text, |part| {
            parts.push(part.to_vec());
            true
        }));
        let whole = parts.join(&b'\n');
        let lengths: Vec<_> = lines(&whole).map(<[u8]>::len).collect();
        assert_eq!(lengths, [1, MAX_LINE, MAX_LINE, 0, 3]);
        let many = b"0123456789abcde\n".repeat(3 * SMALL / 16);
        parts.clear();
        assert!(in_parts(&many, |part| {
            parts.push(part.to_vec());
            true
        }));
        assert!(parts.len() >= 3 && parts.iter().all(|part| part.len() <= SMALL));
        assert_eq!([parts.join(&b'\n'), b"\n".to_vec()].concat(), many);
        assert!(!in_parts(&many, |_| false));
    }

    #[test]
    fn a_panic_ends_the_request() {
        let mut call = Call::default();
        call.begin(Box::new(Sink), Body::default(), false, 7);
        let end = EndOnPanic(&call);
        drop(end);
        assert!(call.state.lock().exchange.is_some());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _end = EndOnPanic(&call);
            let _held = call.try_lock();
            panic!("as a test");
        }));
        assert!(panicked.is_err());
        assert!(!call.is_held_here());
        assert!(call.state.lock().exchange.is_none());
    }
}
