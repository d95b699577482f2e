// SPDX-License-Identifier: Apache-2.0
//! What the WSGI code knows of the outside: an exchange takes frames of a response and log lines,
//! and gives the request body. A daemon process has one over a socket, embedded mode one over
//! httpd's functions.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod embedded;
mod socket;

use std::ffi::c_void;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use mod_wsgi_protocol::frame::{BodyError, Kind};

pub(crate) use embedded::{EmbeddedExchange, EmbeddedLog, HostTable};
pub(crate) use socket::{Connection, FrameBuffer, FrameError, SocketExchange};

/// A frame to be sent; its payload is both parts, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// What it says.
    pub(crate) kind: Kind,
    /// Flags of the kind.
    pub(crate) flags: u8,
    /// The payload.
    pub(crate) parts: [&'a [u8]; 2],
}

impl Frame<'_> {
    /// Bytes of payload.
    pub(crate) fn length(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

/// The other end does not take what is sent any more: the client went away, or httpd's child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// How far a frame went without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is sent.
    Whole,
    /// This many bytes of it, header included, are sent.
    Part(usize),
}

/// Why the request body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The child says why.
    Refused(BodyError),
    /// The child did not answer within `socket-timeout`.
    TimedOut,
    /// The connection to the child is broken.
    Broken,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(BodyError::Aborted) => "the client closed the connection",
            Self::Refused(BodyError::TimedOut) => "the client sent nothing for too long",
            Self::Refused(BodyError::TooLarge) => {
                "the request body is longer than LimitRequestBody"
            }
            Self::Refused(BodyError::Failed) => "the request body is malformed",
            Self::Refused(BodyError::Lost) => {
                "what httpd had kept of the request body can not be read again"
            }
            Self::TimedOut => "nothing came from httpd within the socket timeout",
            Self::Broken => "the connection to httpd broke",
        })
    }
}

/// One request's way to httpd. Nothing here needs Python, and what may wait is called without
/// the GIL.
pub(crate) trait Exchange: Send {
    /// Sends as much of a frame as goes without waiting. After `Part`, the same frame must be
    /// given to [`Self::send`].
    fn try_send(&mut self, frame: &Frame<'_>) -> Result<Progress, Gone>;

    /// Sends a frame from byte `from` on; waits where needed.
    fn send(&mut self, frame: &Frame<'_>, from: usize) -> Result<(), Gone>;

    /// Sends a part of an open regular file; `whole` when it is all that there is to be sent.
    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        whole: bool,
    ) -> Result<(), Gone>;

    /// Appends at most `most` bytes of the request body to `buffer`; waits for them. False when
    /// the body is at its end. `most` 0 only lets the client know that it is wanted.
    fn read_body(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, ReadError>;

    /// The value of a variable of mod_ssl, if it has one; an empty name has one if the connection
    /// is encrypted.
    fn look_up(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;

    /// httpd's record of the request; only inside an httpd child.
    fn request_record(&self) -> Option<NonNull<c_void>> {
        None
    }
}
