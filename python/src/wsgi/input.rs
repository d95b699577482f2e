// SPDX-License-Identifier: Apache-2.0
//! `wsgi.input`: the object through which an application reads the request body. How its calls become
//! reads of the body is in `body`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use mod_wsgi_protocol::frame::BodyError;

use super::arguments::size_argument;
use super::body::Body;
use super::call::{Call, request_is_over};
use crate::exchange::{Exchange, ReadError};
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Method, MethodDefinition, NativeClassDefinition,
    Object, PyResult, Raised, SlotDefinition, This, iterator, method, next_item,
};
use crate::os;
use crate::timing::timed;

/// The object in the environ.
pub(crate) struct Input {
    /// The request.
    call: Arc<Call>,
}

impl Input {
    /// The input of a request.
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self { call }
    }

    /// Lets `find` wait for bytes, without the GIL where it may have to, and takes as many as it
    /// says.
    fn take<'py>(
        &self,
        py: Attached<'py>,
        ready: impl FnOnce(&Body) -> bool,
        find: impl FnOnce(&mut Body, &mut dyn Exchange) -> Result<usize, ReadError> + Send,
    ) -> PyResult<Object<'py>> {
        let mut state = self.call.lock_if_free(py)?;
        let state = &mut *state;
        let Some(exchange) = state.exchange.as_deref_mut() else {
            return Err(request_is_over(py, "wsgi.input used"));
        };
        let (body, spent) = (&mut state.body, &mut state.reading);
        let found = if ready(body) {
            find(body, exchange)
        } else if os::is_forked_child() {
            // Its question, and what httpd says to it, would get between the frames of its parent.
            return Err(py.raise(
                Class::Os,
                "mod_wsgi request data read error: a forked process reads only what its parent \
                 had received",
            ));
        } else {
            py.detach(|| timed(spent, || find(body, exchange)))
        };
        match found {
            Ok(count) => {
                let unread = body.unread();
                let bytes = py.bytes(unread.get(..count).unwrap_or(unread))?;
                body.advance(count);
                Ok(bytes)
            }
            Err(error) => Err(raise(py, error)),
        }
    }

    fn read<'py>(&self, py: Attached<'py>, size: Option<usize>) -> PyResult<Object<'py>> {
        if size == Some(0) {
            return self.take(
                py,
                |body| !body.may_provoke(),
                |body, exchange| body.provoke(exchange).map(|()| 0),
            );
        }
        let count = size.unwrap_or(usize::MAX);
        self.take(
            py,
            |body| !body.has_more() || body.unread().len() >= count,
            |body, exchange| body.fill(exchange, count),
        )
    }

    fn line<'py>(&self, py: Attached<'py>, size: Option<usize>) -> PyResult<Object<'py>> {
        let limit = size.unwrap_or(usize::MAX);
        self.take(
            py,
            |body| !body.has_more() || body.unread().contains(&b'\n'),
            |body, exchange| body.fill_line(exchange, limit),
        )
    }
}

/// What is done with it by `iter()` and `next()`.
const ITERATION: &str = "iteration of wsgi.input attempted";

/// What reading raises; all of these are OSError.
fn raise(py: Attached<'_>, error: ReadError) -> Raised {
    let text = format!("mod_wsgi request data read error: {error}");
    match (error, py.interpreter().constants()) {
        (ReadError::Refused(BodyError::Aborted), Some(constants)) => {
            py.raise_of(&constants.client_disconnected.get(py), &text)
        }
        (ReadError::Refused(BodyError::TimedOut) | ReadError::TimedOut, _) => {
            py.raise(Class::Timeout, &text)
        }
        _ => py.raise(Class::Os, &text),
    }
}

struct Read;
impl Method<Input> for Read {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.call.check_running(py, "read() called on wsgi.input")?;
        this.read(py, size_argument(py, "read", arguments)?)
    }
}

struct ReadLine;
impl Method<Input> for ReadLine {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.call.check_running(py, "readline() called on wsgi.input")?;
        this.line(py, size_argument(py, "readline", arguments)?)
    }
}

struct ReadLines;
impl Method<Input> for ReadLines {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.call.check_running(py, "readlines() called on wsgi.input")?;
        let hint = size_argument(py, "readlines", arguments)?.filter(|hint| *hint > 0);
        let lines = py.list()?;
        let mut total = 0;
        loop {
            let line = this.line(py, None)?;
            let length = line.as_bytes().map_or(0, <[u8]>::len);
            if length == 0 {
                return Ok(lines);
            }
            lines.append(py, &line)?;
            total += length;
            if hint.is_some_and(|hint| total >= hint) {
                return Ok(lines);
            }
        }
    }
}

struct Close;
impl Method<Input> for Close {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        if !arguments.is_empty() {
            let message = format!("Input.close() takes no arguments ({} given)", arguments.len());
            return Err(py.raise(Class::Type, &message));
        }
        this.call.check_running(py, "close() called on wsgi.input")?;
        Ok(py.none())
    }
}

struct Iterate;
impl Method<Input> for Iterate {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.call.check_running(py, ITERATION)?;
        Ok(this.object.share())
    }
}

struct Next;
impl Method<Input> for Next {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.call.check_running(py, ITERATION)?;
        let line = this.line(py, None)?;
        match line.as_bytes() {
            None | Some([]) => Ok(py.none()),
            Some(_) => Ok(line),
        }
    }
}

impl NativeClassDefinition for Input {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Input";
    const METHODS: &'static [MethodDefinition] = &[
        method::<Self, Read>(c"read"),
        method::<Self, ReadLine>(c"readline"),
        method::<Self, ReadLines>(c"readlines"),
        method::<Self, Close>(c"close"),
        END_OF_METHODS,
    ];
    const SLOTS: &'static [SlotDefinition] =
        &[iterator::<Self, Iterate>(), next_item::<Self, Next>()];
}
