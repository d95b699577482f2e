// SPDX-License-Identifier: Apache-2.0
//! The request body as it comes from httpd's side: what the child sent with the request is there
//! already, the rest is asked for when it is needed. Knows nothing of Python; fuzzed in fuzz/.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::frame::MAX_DATA;

use crate::exchange::{Exchange, ReadError};

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
    /// Bytes that are still to come, as far as they were announced.
    announced: u64,
    /// Why no more can be read; every further read fails with it.
    error: Option<ReadError>,
    /// Reads that asked the child, for events.
    reads: u64,
    /// Bytes that the application has read.
    length: u64,
}

/// Asked for at once when less is wanted, or a line is looked for. What is asked for is not waited
/// for: it is given as far as it is there.
const LEAST_PULL: usize = 64 << 10;

/// Most memory that is taken because of what a client announced, before any of it has come.
const MOST_RESERVED: u64 = 64 << 20;

impl Body {
    /// A body that begins with `initial`; `more` says that the rest is to be asked for. `announced` is
    /// its Content-Length, negative when there is none; it may come out longer or shorter.
    pub(crate) fn new(initial: &[u8], more: bool, announced: i64) -> Self {
        let announced = u64::try_from(announced).unwrap_or(0);
        let announced = announced.saturating_sub(initial.len() as u64);
        Self { pending: initial.to_vec(), more, announced, ..Self::default() }
    }

    /// What has come and is not read.
    pub(crate) fn unread(&self) -> &[u8] {
        self.pending.get(self.position..).unwrap_or_default()
    }

    /// Says that the first `count` bytes of [`Self::unread`] are read.
    pub(crate) fn advance(&mut self, count: usize) {
        let count = count.min(self.unread().len());
        self.position += count;
        self.length += count as u64;
    }

    /// Whether there may be more to ask for.
    pub(crate) fn has_more(&self) -> bool {
        self.more
    }

    /// Whether [`Self::provoke`] would ask the child.
    pub(crate) fn may_provoke(&self) -> bool {
        self.more && !self.asked
    }

    /// Reads that asked the child, and bytes that were read.
    pub(crate) fn statistics(&self) -> (u64, u64) {
        (self.reads, self.length)
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
        let before = self.pending.len();
        match exchange.read_body(&mut self.pending, most.min(MAX_DATA)) {
            Ok(more) => {
                self.more = more;
                let come = self.pending.len().saturating_sub(before) as u64;
                self.announced = self.announced.saturating_sub(come);
                Ok(())
            }
            Err(error) => {
                self.error = Some(error);
                Err(error)
            }
        }
    }

    /// Waits until `count` bytes are there, or the body is at its end; how many of them there are.
    pub(crate) fn fill(
        &mut self,
        exchange: &mut dyn Exchange,
        count: usize,
    ) -> Result<usize, ReadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.more && self.unread().len() < count {
            // Once for all of it: memory that nothing is written to costs nothing.
            let wanted = (count - self.unread().len()) as u64;
            let room = wanted.min(self.announced).min(MOST_RESERVED);
            self.pending.reserve(usize::try_from(room).unwrap_or(0));
        }
        while self.more && self.unread().len() < count {
            let wanted = count - self.unread().len();
            // No more than is to come, where that is known: room is made for what is asked for.
            let announced = usize::try_from(self.announced).unwrap_or(usize::MAX);
            let limit = if announced == 0 { MAX_DATA } else { announced };
            self.pull(exchange, wanted.max(LEAST_PULL).min(limit))?;
        }
        Ok(self.unread().len().min(count))
    }

    /// Waits for a line end within `limit` bytes, or the end of the body; bytes of the line.
    pub(crate) fn fill_line(
        &mut self,
        exchange: &mut dyn Exchange,
        limit: usize,
    ) -> Result<usize, ReadError> {
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
            self.pull(exchange, LEAST_PULL)?;
        }
    }

    /// Lets a client that waits for `100 Continue` know that the body is wanted; once.
    pub(crate) fn provoke(&mut self, exchange: &mut dyn Exchange) -> Result<(), ReadError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.more && !self.asked { self.pull(exchange, 0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use mod_wsgi_protocol::frame::BodyError;

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
    fn a_read_asks_only_when_it_lacks_something() {
        let mut exchange = Pieces::new(&[Ok(b"cd"), Ok(b"efgh")]);
        let mut body = Body::new(b"ab", true, -1);
        assert_eq!(body.fill(&mut exchange, 2), Ok(2));
        assert!(exchange.asked.is_empty());
        assert_eq!(take(&mut body, 2), b"ab");
        let count = body.fill(&mut exchange, 3).unwrap();
        assert_eq!(take(&mut body, count), b"cde");
        assert_eq!(exchange.asked, [LEAST_PULL, LEAST_PULL]);
        let count = body.fill(&mut exchange, 100).unwrap();
        assert_eq!(take(&mut body, count), b"fgh");
        assert_eq!(body.fill(&mut exchange, 1), Ok(0));
        assert_eq!(exchange.asked.len(), 2);
    }

    #[test]
    fn a_long_read_asks_for_as_much_as_was_announced() {
        let mut exchange = Pieces::new(&[Ok(b"cd"), Ok(b"efgh")]);
        let mut body = Body::new(b"ab", true, 8);
        assert_eq!(body.fill(&mut exchange, usize::MAX), Ok(8));
        assert_eq!(exchange.asked, [6, 4]);
        let mut exchange = Pieces::new(&[Ok(b"cd"), Ok(b"efgh")]);
        let mut body = Body::new(b"", true, i64::MAX);
        assert_eq!(body.fill(&mut exchange, usize::MAX), Ok(6));
        assert_eq!(exchange.asked, [MAX_DATA, MAX_DATA]);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        let mut exchange = Pieces::new(&[Ok(b"ne\ntw"), Ok(b"o")]);
        let mut body = Body::new(b"o", true, -1);
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
        let mut body = Body::new(b"", true, -1);
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
        let mut body = Body::new(b"", true, -1);
        assert_eq!(body.fill(&mut exchange, 2), Err(error));
        assert_eq!(body.fill(&mut exchange, 1), Err(error));
        assert_eq!(body.fill_line(&mut exchange, 1), Err(error));
        assert_eq!(exchange.asked.len(), 2);
    }

    #[test]
    fn the_first_empty_read_asks_once_for_nothing() {
        let mut exchange = Pieces::new(&[Ok(b""), Ok(b"a")]);
        let mut body = Body::new(b"", true, -1);
        assert_eq!(body.provoke(&mut exchange), Ok(()));
        assert_eq!(body.provoke(&mut exchange), Ok(()));
        assert_eq!(exchange.asked, [0]);
        assert_eq!(Body::new(b"", false, -1).provoke(&mut exchange), Ok(()));
        assert_eq!(exchange.asked, [0]);
    }
}
