// SPDX-License-Identifier: Apache-2.0
//! Status and headers: payload of a `Head` frame. The first response data follow in the same
//! payload.

use crate::wire::{DecodeError, Reader, Write};

/// When a request was run: stands behind the payload of the frame that ends its response. It has no
/// meaning but for those who read logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// When the daemon process took it, µs since the epoch; 0 in embedded mode.
    pub daemon_start: i64,
    /// How long the application had it, its `close()` included, in µs; 0 when it was not called.
    pub application: u64,
}

impl Times {
    /// Bytes of it.
    pub const SIZE: usize = 16;

    /// The bytes.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let (start, application) = bytes.split_at_mut(8);
        start.copy_from_slice(&self.daemon_start.to_le_bytes());
        application.copy_from_slice(&self.application.to_le_bytes());
        bytes
    }

    /// What stands in front of it, and it.
    ///
    /// # Errors
    /// When the payload is too short for it.
    pub fn split(payload: &[u8]) -> Result<(&[u8], Self), DecodeError> {
        let front = payload.len().checked_sub(Self::SIZE).ok_or(DecodeError::Truncated)?;
        let mut reader = Reader::new(payload);
        let front = reader.take(front)?;
        Ok((front, Self { daemon_start: reader.i64()?, application: reader.u64()? }))
    }
}

/// Builds the payload of a `Head` frame.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    /// The payload being built.
    out: &'a mut Vec<u8>,
    /// Where the number of headers stands.
    count_at: usize,
    /// Headers so far.
    count: u16,
}

impl<'a> HeadWriter<'a> {
    /// Starts a head at the end of `out`. `status_line` is what the application gave to
    /// `start_response`, beginning with three digits, whose number is `status`.
    pub fn new(out: &'a mut Vec<u8>, status: u16, status_line: &[u8]) -> Self {
        out.put_u16(status);
        out.put_short_bytes(status_line);
        let count_at = out.len();
        out.put_u16(0);
        Self { out, count_at, count: 0 }
    }

    /// Appends a header. Names and values are already validated and hold no NUL, CR or LF. A value
    /// with more than 65,535 bytes of name is cut off there.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if self.count < u16::MAX {
            self.count += 1;
            self.out.put_short_bytes(name);
            self.out.put_long_bytes(value);
        }
    }

    /// Ends the head; data may now be appended to the vector.
    pub fn finish(self) {
        if let Some(place) = self.out.get_mut(self.count_at..self.count_at + 2) {
            place.copy_from_slice(&self.count.to_le_bytes());
        }
    }
}

/// A decoded head; borrows the frame.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// HTTP status.
    pub status: u16,
    /// Status with its reason, as the application gave it.
    pub status_line: &'a [u8],
    /// Headers that are still to be read.
    headers: Reader<'a>,
    /// How many of them.
    count: u16,
    /// First response data.
    pub data: &'a [u8],
}

impl<'a> Head<'a> {
    /// Decodes the payload of a `Head` frame. Names and values are checked again for what would
    /// break a header line: the daemon is not trusted.
    ///
    /// # Errors
    /// When the payload ends early, or a status, name or value is not possible in HTTP.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let status = reader.u16()?;
        if status > 999 {
            return Err(DecodeError::Invalid("status"));
        }
        let status_line = reader.short_bytes()?;
        if status_line.len() < 3 || has_line_end(status_line) {
            return Err(DecodeError::Invalid("status line"));
        }
        let count = reader.u16()?;
        let headers = reader.clone();
        for _ in 0..count {
            let (name, value) = decode_header(&mut reader)?;
            if name.is_empty() || has_line_end(name) {
                return Err(DecodeError::Invalid("header name"));
            }
            if has_line_end(value) {
                return Err(DecodeError::Invalid("header value"));
            }
        }
        Ok(Self { status, status_line, headers, count, data: reader.rest() })
    }

    /// Names and values, in the order of the application.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut reader = self.headers.clone();
        (0..self.count).map_while(move |_| decode_header(&mut reader).ok())
    }
}

fn decode_header<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    Ok((reader.short_bytes()?, reader.long_bytes()?))
}

fn has_line_end(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_survives_the_wire() {
        let mut out = Vec::new();
        let mut head = HeadWriter::new(&mut out, 200, b"200 OK");
        head.header(b"Content-Type", b"text/plain");
        head.header(b"Set-Cookie", b"a=1");
        head.finish();
        out.extend_from_slice(b"data");
        let head = Head::decode(&out).unwrap();
        assert_eq!((head.status, head.status_line, head.data), (200, &b"200 OK"[..], &b"data"[..]));
        assert_eq!(head.headers().count(), 2);
        for end in 0..out.len() - 4 {
            assert!(Head::decode(&out[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn times_stand_behind_what_they_belong_to() {
        let times = Times { daemon_start: -5, application: 7 };
        let payload = [&b"front"[..], &times.encode()].concat();
        assert_eq!(Times::split(&payload), Ok((&b"front"[..], times)));
        assert_eq!(Times::split(&payload[..15]), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_header_that_would_split_the_response_is_refused() {
        let mut out = Vec::new();
        let mut head = HeadWriter::new(&mut out, 200, b"200 OK");
        head.header(b"X-A", b"1\r\nX-B: 2");
        head.finish();
        assert_eq!(Head::decode(&out).unwrap_err(), DecodeError::Invalid("header value"));
    }
}
