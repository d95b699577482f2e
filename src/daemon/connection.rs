// SPDX-License-Identifier: Apache-2.0
//! One connection to a daemon process: frames out, frames in. The buffer is the thread's, not the
//! connection's: an idle connection has nothing buffered, or it is thrown away.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mod_wsgi_protocol::frame::{HEADER_SIZE, Header, Kind, MAX_DATA};
use mod_wsgi_protocol::wire::DecodeError;

use super::Group;
use crate::os::socket;
use crate::os::wait_readable;

/// Bytes that are read at once, at first: enough for most responses, and small beside a thread.
const BUFFER: usize = 16 << 10;

/// Bytes that are read at once of a process that sends more than that: four blocks of 64 KiB, which
/// many applications make of a file, with their headers.
const LARGEST: usize = 4 * ((64 << 10) + HEADER_SIZE);

/// Blocks that are passed on together.
pub(crate) const TOGETHER: usize = 16;

/// Largest buffer that a thread keeps between requests.
const KEPT: usize = 32 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket, non-blocking.
    fd: OwnedFd,
    /// Serial of the process at the other end.
    serial: u32,
}

/// Why nothing (more) is received.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The process closed the connection or is gone.
    Closed,
    /// Nothing came for too long.
    TimedOut,
    /// The system's reason.
    System(io::Error),
    /// What came is not the protocol.
    Protocol(DecodeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed the connection"),
            Self::TimedOut => f.write_str("it sent nothing in time"),
            Self::System(error) => write!(f, "{error}"),
            Self::Protocol(error) => write!(f, "it sent nonsense: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::System(error),
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error)
    }
}

impl Connection {
    /// Connects to the process of the group with this serial, if its listener was made by httpd.
    pub(crate) fn open(group: &Group, serial: u32, deadline: Instant) -> io::Result<Self> {
        let options = &group.options;
        let fd = socket::connect(&group.address(serial), deadline)?;
        // A refusal costs speed at the most; the process, which sets the same, says so.
        let send = match options.send_buffer_size {
            // A frame of a request body goes at once, where the system allows as much.
            0 => MAX_DATA as u32,
            size => size,
        };
        let _ = socket::set_buffers(fd.as_fd(), send, options.receive_buffer_size);
        let uid = socket::peer_uid(fd.as_fd())?;
        if uid != group.listener_uid() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("its socket belongs to a process of user id {uid}, and not to httpd"),
            ));
        }
        Ok(Self { fd, serial })
    }

    /// Serial of the process at the other end.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// To wait on.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends one frame.
    pub(crate) fn send(
        &self,
        kind: Kind,
        flags: u8,
        payload: &[u8],
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        let header = Header { kind, flags, length: payload.len() }.encode();
        Ok(socket::send_all(self.fd.as_fd(), &header, payload, timeout)?)
    }
}

/// How long to wait for a process, and how to find out that it is gone. A process that forked may
/// be gone while its connections are still open.
pub(crate) struct Patience<'a> {
    /// For each wait.
    pub(crate) timeout: Duration,
    /// Whether the process has ended.
    pub(crate) is_gone: &'a dyn Fn() -> bool,
}

/// How often a waiting child looks whether the process is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Receives frames of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Received bytes, from `start` to `end`.
    buffer: Vec<u8>,
    /// First byte that is not used yet.
    start: usize,
    /// Behind the last byte received.
    end: usize,
    /// The last receive filled the buffer, so that there is more.
    is_crowded: bool,
    /// Descriptors received and not used yet.
    descriptors: VecDeque<OwnedFd>,
}

/// Where the payloads of frames stand that follow one another in the buffer.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// Begin and end of each; empty behind the last one.
    places: [(usize, usize); TOGETHER],
    /// Bytes of all of them.
    pub(crate) size: usize,
}

impl Receiver {
    /// Forgets what an earlier exchange left, and gives memory back that few exchanges need.
    pub(crate) fn reset(&mut self) {
        self.start = 0;
        self.end = 0;
        self.is_crowded = false;
        self.descriptors.clear();
        if self.buffer.len() > KEPT {
            self.buffer = Vec::new();
        }
    }

    /// Whether bytes are left over, which is against the protocol at the end of an exchange.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.start != self.end || !self.descriptors.is_empty()
    }

    /// Waits for the next frame and returns its header; [`Self::payload`] is valid until the next
    /// call.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn receive(
        &mut self,
        connection: &Connection,
        patience: &Patience<'_>,
    ) -> Result<Header, Failure> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        self.need(connection, HEADER_SIZE, patience)?;
        let mut header = [0; HEADER_SIZE];
        if let Some(bytes) = self.buffer.get(self.start..self.start + HEADER_SIZE) {
            header.copy_from_slice(bytes);
        }
        let header = Header::decode(&header)?;
        self.start += HEADER_SIZE;
        self.need(connection, header.length, patience)?;
        self.start += header.length;
        Ok(header)
    }

    /// Payload of the frame that was received last.
    pub(crate) fn payload(&self, header: &Header) -> &[u8] {
        self.buffer.get(self.start - header.length..self.start).unwrap_or_default()
    }

    /// The descriptor that came with a `File` frame.
    pub(crate) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// The payload of a `Data` frame that was received last, and those of whole ones behind it, over
    /// which it steps.
    pub(crate) fn take_blocks(&mut self, first: &Header) -> Blocks {
        let mut places = [(0, 0); TOGETHER];
        let mut size = first.length;
        let mut free = places.iter_mut();
        if let Some(place) = free.next() {
            *place = (self.start - first.length, self.start);
        }
        for place in free {
            let Some(header) = self.data_behind() else { break };
            size += header.length;
            self.start += HEADER_SIZE + header.length;
            *place = (self.start - header.length, self.start);
        }
        Blocks { places, size }
    }

    /// The header of the next frame, if it is one of data and wholly there.
    fn data_behind(&self) -> Option<Header> {
        let rest = self.buffer.get(self.start..self.end)?;
        let header = Header::decode(rest.first_chunk()?).ok()?;
        let is_there = header.kind == Kind::Data && rest.len() >= HEADER_SIZE + header.length;
        is_there.then_some(header)
    }

    /// The payloads; valid until the next frame is received.
    pub(crate) fn blocks(&self, blocks: &Blocks) -> [&[u8]; TOGETHER] {
        blocks.places.map(|(start, end)| self.buffer.get(start..end).unwrap_or_default())
    }

    /// Whether the next frame, or its beginning, is there already.
    pub(crate) fn has_more(&self) -> bool {
        self.start != self.end
    }

    /// Makes `count` bytes from `start` on available.
    fn need(
        &mut self,
        connection: &Connection,
        count: usize,
        patience: &Patience<'_>,
    ) -> Result<(), Failure> {
        let mut waited = Duration::ZERO;
        while self.end - self.start < count {
            if self.start != 0 && self.start + count > self.buffer.len() {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.fill(connection)? {
                waited = Duration::ZERO;
                continue;
            }
            let step = LOOK.min(patience.timeout.saturating_sub(waited));
            if wait_readable(connection.fd.as_fd(), Some(step))? {
                continue;
            }
            waited += step;
            if (patience.is_gone)() {
                // What it sent before its end is still there.
                if !self.fill(connection)? {
                    return Err(Failure::Closed);
                }
            } else if waited >= patience.timeout {
                return Err(Failure::TimedOut);
            }
        }
        Ok(())
    }

    /// Receives what is there; false when nothing is. The buffer grows as bytes come, not by what a
    /// header announces.
    fn fill(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let size = self.buffer.len();
        if size - self.end < HEADER_SIZE {
            self.buffer.resize((size * 2).max(BUFFER), 0);
        } else if self.is_crowded && size < LARGEST {
            self.buffer.resize((size * 2).min(LARGEST), 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let mut descriptors = Vec::new();
        let most = room.len();
        match socket::receive_with_descriptors(connection.fd.as_fd(), room, &mut descriptors)? {
            None => Ok(false),
            Some(0) => Err(Failure::Closed),
            Some(count) => {
                self.end += count;
                self.is_crowded = count == most;
                self.descriptors.extend(descriptors);
                if self.descriptors.len() > 64 {
                    return Err(Failure::Protocol(DecodeError::TooLarge("descriptors")));
                }
                Ok(true)
            }
        }
    }
}
