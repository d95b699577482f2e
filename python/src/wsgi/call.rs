// SPDX-License-Identifier: Apache-2.0
//! The state of one running request, shared by what the application holds of it: `start_response`,
//! `write`, `wsgi.input`, `wsgi.errors`. It holds no Python objects. Its lock is never waited for
//! with the GIL held, so that a thread that waits for the client does not stop the others.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use mod_wsgi_protocol::frame::Kind;
use parking_lot::{Mutex, MutexGuard};

use super::head::Head;
use super::input::Body;
use crate::exchange::{Exchange, Frame, Gone, Progress};
use crate::interp::{Attached, Class, PyResult, Raised};
use crate::log::{self, Level, LineBuffer};
use crate::os;

/// A running request.
#[derive(Default)]
pub(crate) struct Call {
    /// What changes while it runs.
    state: Mutex<State>,
}

/// What changes while a request runs.
#[derive(Default)]
pub(super) struct State {
    /// The way to httpd; None when the request is over.
    pub(super) exchange: Option<Box<dyn Exchange>>,
    /// The body of the request.
    pub(super) body: Body,
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
    /// The request is HEAD, as the application sees it.
    pub(super) is_head_request: bool,
    /// The other end does not take more.
    pub(super) gone: bool,
}

/// Payloads up to this size are copied into the socket without giving the GIL away, if they fit.
const SMALL: usize = 64 << 10;

/// Ends a child that the application forked and that has come back from the application: the
/// response is the business of its parent.
pub(super) fn leave_if_forked() {
    if os::is_forked_child() {
        let text = "a process that the application forked returned into mod_wsgi, and was ended: \
                    it should have called os._exit()";
        log::process(Level::Warning, text);
        os::exit_now(255);
    }
}

/// Sends a frame; gives the GIL away where that may wait.
pub(super) fn transmit(
    py: Attached<'_>,
    exchange: &mut dyn Exchange,
    frame: &Frame<'_>,
) -> Result<(), Gone> {
    leave_if_forked();
    let from = if frame.length() <= SMALL {
        match exchange.try_send(frame)? {
            Progress::Whole => return Ok(()),
            Progress::Part(from) => from,
        }
    } else {
        0
    };
    py.detach(|| exchange.send(frame, from))
}

impl Call {
    /// A request that begins.
    pub(crate) fn begin(&mut self, exchange: Box<dyn Exchange>, body: Body, is_head: bool) {
        let state = self.state.get_mut();
        state.exchange = Some(exchange);
        state.body = body;
        state.head = None;
        state.response = Response { is_head_request: is_head, ..Response::default() };
    }

    /// The state; the GIL is given away while another thread has it.
    pub(super) fn lock(&self, py: Attached<'_>) -> MutexGuard<'_, State> {
        loop {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            py.detach(|| drop(self.state.lock()));
        }
    }

    /// Ends the request: from now on the application's objects raise. The way to httpd goes back
    /// to the caller.
    pub(super) fn finish(&self, py: Attached<'_>) -> Option<Box<dyn Exchange>> {
        self.lock(py).exchange.take()
    }

    /// Whether the head is sent.
    pub(super) fn is_committed(&self, py: Attached<'_>) -> bool {
        self.lock(py).response.committed
    }

    /// httpd's record of the request, while it runs inside an httpd child.
    pub(super) fn request_record(&self, py: Attached<'_>) -> Option<NonNull<c_void>> {
        self.lock(py).exchange.as_ref()?.request_record()
    }

    /// Status, bytes and blocks of output, reads and bytes of input.
    pub(crate) fn statistics(&self, py: Attached<'_>) -> (u64, u64, u64, u64, u64) {
        let state = self.lock(py);
        let status = state.head.as_ref().map_or(500, |head| u64::from(head.status));
        let (response, body) = (&state.response, &state.body);
        (status, response.sent, response.writes, body.reads, body.length)
    }

    /// Logs text of one or more lines for this request. False when the request is over.
    pub(crate) fn log(&self, py: Attached<'_>, level: Level, text: &str) -> bool {
        let mut state = self.lock(py);
        let Some(exchange) = state.exchange.as_deref_mut() else { return false };
        for part in text.as_bytes().chunks(SMALL) {
            let frame = Frame { kind: Kind::Log, flags: 0, parts: [&[level as u8], part] };
            if transmit(py, exchange, &frame).is_err() {
                state.response.gone = true;
                return false;
            }
        }
        true
    }

    /// Takes what the application prints; whole lines are logged.
    pub(super) fn print(&self, py: Attached<'_>, text: &[u8]) -> PyResult<()> {
        let lines = {
            let mut state = self.lock(py);
            if state.exchange.is_none() {
                return Err(request_is_over(py));
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
        let rest = self.lock(py).lines.flush();
        if let Some(rest) = rest {
            self.log_anyway(py, &rest);
        }
    }

    /// What was printed is not lost because the client is.
    fn log_anyway(&self, py: Attached<'_>, text: &str) {
        if !self.log(py, Level::Error, text) {
            py.detach(|| log::process(Level::Error, text));
        }
    }
}

/// What the application's objects raise after the request.
pub(super) fn request_is_over(py: Attached<'_>) -> Raised {
    py.raise(Class::Runtime, "the request that this object belongs to is over")
}

thread_local! {
    /// The request that this thread runs.
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

/// The request that this thread runs.
pub(crate) fn current_call() -> Option<Arc<Call>> {
    if os::is_forked_child() {
        // The request is the parent's; what its child prints must not get between its frames.
        return None;
    }
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Says which request this thread runs; the result is the one that it ran before, inside which
/// this one is.
pub(crate) fn set_current_call(call: Option<Arc<Call>>) -> Option<Arc<Call>> {
    CURRENT.try_with(|current| current.replace(call)).ok().flatten()
}
