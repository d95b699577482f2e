// SPDX-License-Identifier: Apache-2.0
//! The frame: eight bytes of header, then a payload. Everything on a daemon connection is frames,
//! one request at a time:
//!
//! ```text
//! child  → daemon   Request  (Body | BodyError)* (Value)*   Body in answer to Pull, Value to Lookup
//! daemon → child    (Pull | Log)* ( Reject | Error | Head (Data | File | Pull | Log)* End )
//!                   (Lookup | Log)* ( Reject | Answer )     when the request asks for a hook
//! ```
//!
//! `Head` with [`LAST`] set is an `End` of a complete response at the same time. What ends a response
//! (such a `Head`, `End`, `Error`) has [`crate::response::Times`] behind its payload.

use crate::wire::DecodeError;

/// Bytes of a frame header: payload length (u32), kind (u8), flags (u8), reserved (u16, zero).
pub const HEADER_SIZE: usize = 8;

/// Longest payload of a `Request` or `Head` frame.
pub const MAX_HEAD: usize = 16 << 20;

/// Longest payload of every other frame.
pub const MAX_DATA: usize = 256 << 10;

/// Most body bytes that the child puts into the `Request` frame itself.
pub const MAX_INITIAL_BODY: usize = 64 << 10;

/// Flag of `Body` (no more body), of `Head` (the response is complete), and of `File` (the response is
/// complete with it, but the exchange goes on until `End`).
pub const LAST: u8 = 1;

/// Flag of `End`: the response is incomplete and must be made visibly so.
pub const INCOMPLETE: u8 = 2;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Child: a request, see [`crate::request`]; the first body bytes may follow the head.
    Request = 1,
    /// Child: body bytes, in answer to `Pull`; [`LAST`] when the body ends with them.
    Body = 2,
    /// Child: the body cannot be read further; payload: [`BodyError`] (u8), then a text.
    BodyError = 3,
    /// Child: answer to `Lookup`; payload: u8, 1 if there is a value, then the value.
    Value = 4,
    /// Daemon: the application reads; payload: u32, most bytes wanted (0: only provoke
    /// `100 Continue`; answered with an empty `Body`).
    Pull = 16,
    /// Daemon: status and headers, see [`crate::response`]; the first data follow the head.
    Head = 17,
    /// Daemon: response data.
    Data = 18,
    /// Daemon: part of a file, its descriptor goes with the header as SCM_RIGHTS; payload:
    /// u64 offset, u64 length. The client may have the whole file before the application's `close()`
    /// has been called.
    File = 19,
    /// Daemon: a log entry of this request, see [`crate::log::Entry`].
    Log = 20,
    /// Daemon: the response is at its end; [`INCOMPLETE`] when it is not whole.
    End = 21,
    /// Daemon: this process does not take the request, which has not started; payload:
    /// [`Reject`] (u8). The child sends it to another process.
    Reject = 22,
    /// Daemon: the application failed before any header; payload: u16 HTTP status, for which httpd
    /// makes the error document.
    Error = 23,
    /// Daemon: a hook asks for a variable of mod_ssl; payload: its name. An empty name asks whether
    /// the connection is encrypted: there is a value, of no bytes, if it is.
    Lookup = 24,
    /// Daemon: what the hook said, see [`crate::hook::Answer`]; ends the exchange.
    Answer = 25,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Body,
            3 => Self::BodyError,
            4 => Self::Value,
            16 => Self::Pull,
            17 => Self::Head,
            18 => Self::Data,
            19 => Self::File,
            20 => Self::Log,
            21 => Self::End,
            22 => Self::Reject,
            23 => Self::Error,
            24 => Self::Lookup,
            25 => Self::Answer,
            _ => return None,
        })
    }

    /// Longest payload that this kind may have.
    #[must_use]
    pub fn max_payload(self) -> usize {
        match self {
            Self::Request | Self::Head => MAX_HEAD,
            Self::Body | Self::Data | Self::Log | Self::Value | Self::Answer => MAX_DATA,
            Self::BodyError | Self::Lookup => 512,
            Self::Pull | Self::File | Self::End | Self::Reject | Self::Error => 32,
        }
    }
}

/// Why a process does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// It is leaving.
    Draining = 1,
    /// The script file is not the one that it has loaded; its set is being replaced.
    ScriptChanged = 2,
}

impl Reject {
    /// The reason with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Draining),
            2 => Some(Self::ScriptChanged),
            _ => None,
        }
    }
}

/// Why a request body cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyError {
    /// The client went away.
    Aborted = 1,
    /// The client sent nothing for longer than httpd's `Timeout`.
    TimedOut = 2,
    /// The body is longer than `LimitRequestBody`.
    TooLarge = 3,
    /// Malformed chunks, a failing input filter.
    Failed = 4,
    /// What httpd had kept of it in a temporary file cannot be read again.
    Lost = 5,
}

impl BodyError {
    /// The reason with this number; an unknown number is [`Self::Failed`].
    #[must_use]
    pub fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Aborted,
            2 => Self::TimedOut,
            3 => Self::TooLarge,
            5 => Self::Lost,
            _ => Self::Failed,
        }
    }
}

/// A decoded frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame says.
    pub kind: Kind,
    /// [`LAST`], [`INCOMPLETE`].
    pub flags: u8,
    /// Bytes of payload that follow; within the limit of the kind.
    pub length: usize,
}

impl Header {
    /// The header as sent; `length` must be within the kind's limit.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_SIZE] {
        let length = u32::try_from(self.length).unwrap_or(u32::MAX).to_le_bytes();
        [length[0], length[1], length[2], length[3], self.kind as u8, self.flags, 0, 0]
    }

    /// The header in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] for an unknown kind or non-zero reserved bytes,
    /// [`DecodeError::TooLarge`] for a length beyond the limit of the kind.
    pub fn decode(bytes: &[u8; HEADER_SIZE]) -> Result<Self, DecodeError> {
        let [l0, l1, l2, l3, kind, flags, r0, r1] = *bytes;
        if (r0, r1) != (0, 0) {
            return Err(DecodeError::Invalid("frame header"));
        }
        let kind = Kind::from_u8(kind).ok_or(DecodeError::Invalid("frame kind"))?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > kind.max_payload() {
            return Err(DecodeError::TooLarge("frame"));
        }
        Ok(Self { kind, flags, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_the_wire() {
        let header = Header { kind: Kind::Data, flags: LAST, length: 70_000 };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn a_length_beyond_the_limit_of_its_kind_is_refused() {
        let header = Header { kind: Kind::Pull, flags: 0, length: 33 };
        assert_eq!(Header::decode(&header.encode()), Err(DecodeError::TooLarge("frame")));
    }

    #[test]
    fn text_sent_by_a_stranger_is_refused() {
        assert!(Header::decode(b"GET / HT").is_err());
        assert!(Header::decode(&[0xff; 8]).is_err());
        assert!(Header::decode(&[0; 8]).is_err());
    }
}
