// SPDX-License-Identifier: Apache-2.0
//! The exchange of a daemon process: frames on the connection from an httpd child.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mod_wsgi_protocol::frame::{BodyError, HEADER_SIZE, Header, Kind, LAST, MAX_DATA};
use mod_wsgi_protocol::wire::DecodeError;

use super::{Exchange, Frame, Gone, Progress, ReadError};
use crate::os::{Received, Socket};

/// A connection from an httpd child; carries one request after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket; its timeouts are `socket-timeout`.
    socket: Socket,
    /// Set when nothing more can be said on it.
    broken: AtomicBool,
}

/// Why no frame could be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The connection ended between two frames, as it should.
    End,
    /// The connection ended within a frame.
    Truncated,
    /// The rest of a frame did not come in time.
    TimedOut,
    /// The frame has no meaning.
    Malformed(DecodeError),
    /// The connection broke.
    Broken(io::Error),
    /// The child says why there is no more of the body.
    Refused(BodyError),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the connection is at its end"),
            Self::Truncated => f.write_str("the connection ended within a frame"),
            Self::TimedOut => f.write_str("the rest of a frame did not come in time"),
            Self::Malformed(error) => write!(f, "{error}"),
            Self::Broken(error) => write!(f, "{error}"),
            Self::Refused(_) => f.write_str("the body cannot be read"),
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Broken(error),
        }
    }
}

/// What is received at once; most requests fit.
const FIRST_RECEIVE: usize = 16 << 10;

/// A buffer that has grown beyond this for one request is given back after it.
const LARGEST_KEPT: usize = 256 << 10;

impl Connection {
    /// Over an accepted socket.
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, broken: AtomicBool::new(false) }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether nothing more can be said on it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Says that nothing more can be said on it.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Reads one frame into `buffer`. The child sends nothing before it is asked, so more than one
    /// frame is an error.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub(crate) fn receive_frame(&self, buffer: &mut FrameBuffer) -> Result<Header, FrameError> {
        buffer.reset();
        let header = loop {
            if let Some(header) = buffer.header() {
                break Header::decode(header).map_err(FrameError::Malformed)?;
            }
            let received = match self.socket.receive(buffer.room(FIRST_RECEIVE)) {
                // A child that gave a response up closes with the rest of it unread.
                Err(error)
                    if buffer.filled == 0 && error.kind() == io::ErrorKind::ConnectionReset =>
                {
                    return Err(FrameError::End);
                }
                received => received?,
            };
            match received {
                Received::Bytes(count) => buffer.filled += count,
                Received::End if buffer.filled == 0 => return Err(FrameError::End),
                Received::End => return Err(FrameError::Truncated),
            }
        };
        let whole = HEADER_SIZE + header.length;
        if buffer.filled > whole {
            return Err(FrameError::Malformed(DecodeError::Invalid("frame that nobody asked for")));
        }
        while buffer.filled < whole {
            // The buffer grows with what has come, not with what a header promises.
            let size = whole.min((buffer.filled * 2).max(FIRST_RECEIVE));
            match self.socket.receive(buffer.room(size))? {
                Received::Bytes(count) => buffer.filled += count,
                Received::End => return Err(FrameError::Truncated),
            }
        }
        Ok(header)
    }
}

/// A frame as it was read; the memory is used again for the next one.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    /// Initialised memory, of which the first `filled` bytes are the frame.
    bytes: Vec<u8>,
    /// Bytes read.
    filled: usize,
}

impl FrameBuffer {
    fn reset(&mut self) {
        if self.bytes.len() > LARGEST_KEPT {
            self.bytes = Vec::new();
        }
        self.filled = 0;
    }

    fn header(&self) -> Option<&[u8; HEADER_SIZE]> {
        self.bytes.get(..self.filled)?.first_chunk()
    }

    /// What is not filled yet of at least `size` bytes. Memory that is there already beyond `size`
    /// is not offered: a frame that follows would be mistaken for a part of this one.
    fn room(&mut self, size: usize) -> &mut [u8] {
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        self.bytes.get_mut(self.filled..size).unwrap_or_default()
    }

    /// The payload of the frame.
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_SIZE..self.filled).unwrap_or_default()
    }
}

/// The exchange of one request on a connection.
#[derive(Debug)]
pub(crate) struct SocketExchange {
    /// The connection, which the worker keeps.
    connection: Arc<Connection>,
    /// Whether the request is for a hook: only then the child answers `Lookup`.
    is_hook: bool,
}

impl SocketExchange {
    /// For the request that was read from `connection` last, and whether it is for a hook.
    pub(crate) fn new(connection: Arc<Connection>, is_hook: bool) -> Self {
        Self { connection, is_hook }
    }

    fn send_parts(&self, frame: &Frame<'_>, from: usize, wait: bool) -> io::Result<usize> {
        let header =
            Header { kind: frame.kind, flags: frame.flags, length: frame.length() }.encode();
        let [first, second] = frame.parts;
        let mut skip = from;
        let parts = [&header[..], first, second].map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            IoSlice::new(part.get(skipped..).unwrap_or_default())
        });
        self.connection.socket.send(&parts, None, wait)
    }

    fn gone(&self) -> Gone {
        self.connection.set_broken();
        Gone
    }

    fn receive_answer(&self, frame: &mut FrameBuffer) -> Result<Header, ReadError> {
        self.connection.receive_frame(frame).map_err(|error| match error {
            FrameError::TimedOut => ReadError::TimedOut,
            _ => ReadError::Broken,
        })
    }

    /// Reads the answer to a `Pull`, its payload behind the end of `buffer`, for which `most` bytes
    /// were asked.
    fn receive_body(&self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, FrameError> {
        let start = buffer.len();
        let mut bytes = [0; HEADER_SIZE];
        let mut filled = 0;
        let mut has_waited = false;
        while let Some(head) = bytes.get_mut(filled..).filter(|head| !head.is_empty()) {
            match self.connection.socket.receive_behind(head, buffer, most) {
                Ok(Received::Bytes(count)) => filled += count,
                Ok(Received::End) => return Err(FrameError::Truncated),
                // httpd waits for the client, perhaps as long as we do for httpd: it shall be able
                // to say that the client is too slow.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && filled == 0 && !has_waited =>
                {
                    has_waited = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let header = Header::decode(&bytes).map_err(FrameError::Malformed)?;
        let end = start + header.length;
        while let Some(lacking) = end.checked_sub(buffer.len()).filter(|lacking| *lacking > 0) {
            match self.connection.socket.receive_behind(&mut [], buffer, lacking)? {
                Received::Bytes(_) => {}
                Received::End => return Err(FrameError::Truncated),
            }
        }
        let malformed = |what| FrameError::Malformed(DecodeError::Invalid(what));
        if buffer.len() > end {
            return Err(malformed("frame that nobody asked for"));
        }
        match header.kind {
            Kind::Body => Ok(header.flags & LAST == 0),
            Kind::BodyError => {
                let reason = buffer.get(start).copied().unwrap_or(BodyError::Failed as u8);
                Err(FrameError::Refused(BodyError::from_u8(reason)))
            }
            _ => Err(malformed("answer to a pull")),
        }
    }
}

impl Exchange for SocketExchange {
    fn try_send(&mut self, frame: &Frame<'_>) -> Result<Progress, Gone> {
        if self.connection.is_broken() {
            return Err(Gone);
        }
        match self.send_parts(frame, 0, false) {
            Ok(count) if count == HEADER_SIZE + frame.length() => Ok(Progress::Whole),
            Ok(count) => Ok(Progress::Part(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Part(0)),
            Err(_) => Err(self.gone()),
        }
    }

    fn send(&mut self, frame: &Frame<'_>, from: usize) -> Result<(), Gone> {
        if self.connection.is_broken() {
            return Err(Gone);
        }
        let whole = HEADER_SIZE + frame.length();
        let mut sent = from;
        while sent < whole {
            match self.send_parts(frame, sent, true) {
                Ok(count) => sent += count,
                Err(_) => return Err(self.gone()),
            }
        }
        Ok(())
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        whole: bool,
    ) -> Result<(), Gone> {
        if self.connection.is_broken() {
            return Err(Gone);
        }
        let flags = if whole { LAST } else { 0 };
        let mut bytes = Header { kind: Kind::File, flags, length: 16 }.encode().to_vec();
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            // The descriptor goes with the first byte, once.
            let descriptor = (sent == 0).then_some(file);
            match self.connection.socket.send(&[IoSlice::new(rest)], descriptor, true) {
                Ok(count) => sent += count,
                Err(_) => return Err(self.gone()),
            }
        }
        Ok(())
    }

    fn read_body(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, ReadError> {
        if self.connection.is_broken() {
            return Err(ReadError::Broken);
        }
        let most = most.min(MAX_DATA);
        let wanted = u32::try_from(most).unwrap_or(0).to_le_bytes();
        let pull = Frame { kind: Kind::Pull, flags: 0, parts: [&wanted, &[]] };
        self.send(&pull, 0).map_err(|Gone| ReadError::Broken)?;
        let start = buffer.len();
        self.receive_body(buffer, most).map_err(|error| {
            buffer.truncate(start);
            match error {
                FrameError::Refused(reason) => return ReadError::Refused(reason),
                // After all others nobody knows what the next bytes mean.
                _ => self.connection.set_broken(),
            }
            match error {
                FrameError::TimedOut => ReadError::TimedOut,
                _ => ReadError::Broken,
            }
        })
    }

    fn look_up(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        if !self.is_hook || name.len() > Kind::Lookup.max_payload() {
            return Ok(None);
        }
        if self.connection.is_broken() {
            return Err(ReadError::Broken);
        }
        let frame = Frame { kind: Kind::Lookup, flags: 0, parts: [name, &[]] };
        self.send(&frame, 0).map_err(|Gone| ReadError::Broken)?;
        let mut frame = FrameBuffer::default();
        let result = match self.receive_answer(&mut frame) {
            Ok(header) if header.kind == Kind::Value => match frame.payload() {
                [1, value @ ..] => Ok(Some(value.to_vec())),
                _ => Ok(None),
            },
            Ok(_) => Err(ReadError::Broken),
            Err(error) => Err(error),
        };
        if result.is_err() {
            // Nobody knows what the next bytes mean.
            self.connection.set_broken();
        }
        result
    }
}
