// SPDX-License-Identifier: Apache-2.0
//! `wsgi.input`: the request body as a stream. What the child sent with the request is there
//! already; the rest is asked for when the application reads.
#![forbid(unsafe_code)]

use std::sync::Arc;

use mod_wsgi_protocol::frame::{BodyError, MAX_DATA};

use super::call::{Call, request_is_over};
use crate::exchange::{Exchange, ReadError};
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, ITERATE_ITSELF, Method, MethodDefinition,
    NativeClassDefinition, Object, PyResult, Raised, SlotDefinition, This, method, next_item,
};

/// The body of a request, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Bytes that have come; those before `position` are read.
    pending: Vec<u8>,
    /// Where the application reads next.
    position: usize,
    /// Whether there may be more to ask for.
    more: bool,
    /// Whether the child was asked at least once.
    asked: bool,
    /// Why no more can be read; every further read fails with it.
    error: Option<ReadError>,
    /// Reads that asked the child, for events.
    pub(super) reads: u64,
    /// Bytes that the application has read.
    pub(super) length: u64,
}

/// Asked for at once when a line is looked for.
const LINE_PULL: usize = 64 << 10;

impl Body {
    /// A body that begins with `initial`; `more` says that the rest is to be asked for.
    pub(crate) fn new(initial: &[u8], more: bool) -> Self {
        Self { pending: initial.to_vec(), more, ..Self::default() }
    }

    fn unread(&self) -> &[u8] {
        self.pending.get(self.position..).unwrap_or_default()
    }

    fn pull(&mut self, exchange: &mut dyn Exchange, most: usize) -> Result<(), ReadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        // What is read is not kept.
        self.pending.drain(..self.position.min(self.pending.len()));
        self.position = 0;
        self.asked = true;
        self.reads += 1;
        match exchange.read_body(&mut self.pending, most.min(MAX_DATA)) {
            Ok(more) => {
                self.more = more;
                Ok(())
            }
            Err(error) => {
                self.error = Some(error);
                Err(error)
            }
        }
    }

    /// Waits until `count` bytes are there, or the body is at its end.
    fn fill(&mut self, exchange: &mut dyn Exchange, count: usize) -> Result<usize, ReadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        while self.more && self.unread().len() < count {
            self.pull(exchange, count - self.unread().len())?;
        }
        Ok(self.unread().len().min(count))
    }

    /// Waits for a line end within `limit` bytes, or the end of the body; bytes of the line.
    fn fill_line(&mut self, exchange: &mut dyn Exchange, limit: usize) -> Result<usize, ReadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut searched = 0;
        loop {
            let unread = self.unread();
            let fresh = unread.get(searched..unread.len().min(limit)).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                return Ok(searched + at + 1);
            }
            searched = unread.len().min(limit);
            if !self.more || searched == limit {
                return Ok(searched);
            }
            self.pull(exchange, LINE_PULL)?;
        }
    }

    fn provoke(&mut self, exchange: &mut dyn Exchange) -> Result<(), ReadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.more && !self.asked { self.pull(exchange, 0) } else { Ok(()) }
    }
}

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
            return Err(request_is_over(py));
        };
        let body = &mut state.body;
        let found =
            if ready(body) { find(body, exchange) } else { py.detach(|| find(body, exchange)) };
        match found {
            Ok(count) => {
                let unread = body.unread();
                let bytes = py.bytes(unread.get(..count).unwrap_or(unread))?;
                body.position += count;
                body.length += count as u64;
                Ok(bytes)
            }
            Err(error) => Err(raise(py, error)),
        }
    }

    fn read<'py>(&self, py: Attached<'py>, size: Option<usize>) -> PyResult<Object<'py>> {
        if size == Some(0) {
            return self.take(
                py,
                |body| !body.more || body.asked,
                |body, exchange| body.provoke(exchange).map(|()| 0),
            );
        }
        let count = size.unwrap_or(usize::MAX);
        self.take(
            py,
            |body| !body.more || body.unread().len() >= count,
            |body, exchange| body.fill(exchange, count),
        )
    }

    fn line<'py>(&self, py: Attached<'py>, size: Option<usize>) -> PyResult<Object<'py>> {
        let limit = size.unwrap_or(usize::MAX);
        self.take(
            py,
            |body| !body.more || body.unread().contains(&b'\n'),
            |body, exchange| body.fill_line(exchange, limit),
        )
    }
}

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

/// The optional size of `read`, `readline` and `readlines`; a negative one is no limit.
fn size_argument<'py>(
    py: Attached<'py>,
    arguments: &[Borrowed<'_, 'py>],
) -> PyResult<Option<usize>> {
    match arguments {
        [] => Ok(None),
        [size] if size.is_none() => Ok(None),
        [size] => Ok(usize::try_from(size.to_integer(py)?).ok()),
        _ => Err(py.raise(Class::Type, "at most one argument is taken: the size")),
    }
}

struct Read;
impl Method<Input> for Read {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.read(py, size_argument(py, arguments)?)
    }
}

struct ReadLine;
impl Method<Input> for ReadLine {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.line(py, size_argument(py, arguments)?)
    }
}

struct ReadLines;
impl Method<Input> for ReadLines {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let hint = size_argument(py, arguments)?.filter(|hint| *hint > 0);
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
            return Err(py.raise(Class::Type, "close() takes no arguments"));
        }
        if this.call.lock_if_free(py)?.exchange.is_none() {
            return Err(request_is_over(py));
        }
        Ok(py.none())
    }
}

struct Next;
impl Method<Input> for Next {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Input>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
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
    const SLOTS: &'static [SlotDefinition] = &[ITERATE_ITSELF, next_item::<Self, Next>()];
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;
    use crate::exchange::{Frame, Gone, Progress};

    /// Gives one piece of a body for each pull.
    struct Pieces {
        pieces: Vec<Result<&'static [u8], ReadError>>,
        asked: Vec<usize>,
    }

    impl Pieces {
        fn new(pieces: &[Result<&'static [u8], ReadError>]) -> Self {
            Self { pieces: pieces.iter().rev().copied().collect(), asked: Vec::new() }
        }
    }

    impl Exchange for Pieces {
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
            unreachable!()
        }

        fn read_body(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, ReadError> {
            self.asked.push(most);
            match self.pieces.pop() {
                Some(Ok(piece)) => {
                    buffer.extend_from_slice(piece);
                    Ok(!self.pieces.is_empty())
                }
                Some(Err(error)) => Err(error),
                None => Ok(false),
            }
        }
    }

    fn take(body: &mut Body, count: usize) -> Vec<u8> {
        let bytes = body.unread()[..count].to_vec();
        body.position += count;
        bytes
    }

    #[test]
    fn a_read_asks_only_for_what_it_lacks() {
        let mut exchange = Pieces::new(&[Ok(b"cd"), Ok(b"efgh")]);
        let mut body = Body::new(b"ab", true);
        assert_eq!(body.fill(&mut exchange, 2), Ok(2));
        assert!(exchange.asked.is_empty());
        assert_eq!(take(&mut body, 2), b"ab");
        let count = body.fill(&mut exchange, 3).unwrap();
        assert_eq!(take(&mut body, count), b"cde");
        assert_eq!(exchange.asked, [3, 1]);
        let count = body.fill(&mut exchange, 100).unwrap();
        assert_eq!(take(&mut body, count), b"fgh");
        assert_eq!(body.fill(&mut exchange, 1), Ok(0));
        assert_eq!(exchange.asked, [3, 1]);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut exchange = Pieces::new(&[Ok(b"ne\ntw"), Ok(b"o")]);
        let mut body = Body::new(b"o", true);
        let count = body.fill_line(&mut exchange, usize::MAX).unwrap();
        assert_eq!(take(&mut body, count), b"one\n");
        let count = body.fill_line(&mut exchange, 1).unwrap();
        assert_eq!(take(&mut body, count), b"t");
        let count = body.fill_line(&mut exchange, usize::MAX).unwrap();
        assert_eq!(take(&mut body, count), b"wo");
        assert_eq!(body.fill_line(&mut exchange, usize::MAX), Ok(0));
    }

    #[test]
    fn what_is_read_is_not_kept() {
        let mut exchange = Pieces::new(&[Ok(b"a\nb\nc"), Ok(b"\nd\ne"), Ok(b"\nf")]);
        let mut body = Body::new(b"", true);
        let mut lines = Vec::new();
        loop {
            let count = body.fill_line(&mut exchange, usize::MAX).unwrap();
            if count == 0 {
                break;
            }
            assert!(body.pending.len() <= 5);
            lines.push(take(&mut body, count));
        }
        assert_eq!(lines.concat(), b"a\nb\nc\nd\ne\nf");
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn an_error_stays() {
        let error = ReadError::Refused(BodyError::Aborted);
        let mut exchange = Pieces::new(&[Ok(b"a"), Err(error)]);
        let mut body = Body::new(b"", true);
        assert_eq!(body.fill(&mut exchange, 2), Err(error));
        assert_eq!(body.fill(&mut exchange, 1), Err(error));
        assert_eq!(body.fill_line(&mut exchange, 1), Err(error));
        assert_eq!(exchange.asked, [2, 1]);
    }

    #[test]
    fn the_first_empty_read_asks_once_for_nothing() {
        let mut exchange = Pieces::new(&[Ok(b""), Ok(b"a")]);
        let mut body = Body::new(b"", true);
        assert_eq!(body.provoke(&mut exchange), Ok(()));
        assert_eq!(body.provoke(&mut exchange), Ok(()));
        assert_eq!(exchange.asked, [0]);
        assert_eq!(Body::new(b"", false).provoke(&mut exchange), Ok(()));
        assert_eq!(exchange.asked, [0]);
    }
}
