// SPDX-License-Identifier: Apache-2.0
//! The request: payload of a `Request` frame, and what embedded mode hands over. A fixed part,
//! four strings, the environ entries, then the first body bytes.

use crate::hook::Hook;
use crate::key;
use crate::wire::{DecodeError, Reader, Write};

/// No started mark: the child had no slot left, or the request is embedded.
pub const NO_SLOT: u32 = u32::MAX;

/// How the body reaches the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Body {
    /// All of it (often nothing) is in the request; never `Pull`.
    Whole = 0,
    /// What the request carries is its beginning; the rest is had by `Pull`.
    Pulled = 1,
}

/// The fixed part of a request, and its four strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Index of the started mark in the group's shared memory, or [`NO_SLOT`].
    pub slot: u32,
    /// What to write into the slot when the application starts; never 0.
    pub mark: u32,
    /// How the body arrives.
    pub body: Body,
    /// `WSGIScriptReloading`.
    pub script_reloading: bool,
    /// `WSGIEnableSendfile`.
    pub enable_sendfile: bool,
    /// `WSGIIgnoreActivity`.
    pub ignore_activity: bool,
    /// `WSGIPassApacheRequest`; embedded mode only.
    pub pass_request: bool,
    /// What is asked for.
    pub hook: Hook,
    /// The least urgent level that httpd logs for this request (syslog numbers, and above 7 trace).
    pub log_level: u8,
    /// When httpd began with the request, µs since the epoch.
    pub request_start: i64,
    /// When the child turned to the daemon, µs since the epoch; 0 in embedded mode.
    pub queue_start: i64,
    /// `CONTENT_LENGTH` of the request, or -1 when it is not known.
    pub content_length: i64,
    /// Modification time of the script as httpd saw it, µs since the epoch; -1 when httpd did not look.
    pub script_mtime: i64,
    /// The WSGI script file.
    pub script: &'a [u8],
    /// Application group, resolved; empty is the main interpreter.
    pub application_group: &'a [u8],
    /// Name of the callable in the script.
    pub callable: &'a [u8],
    /// The file that the URL is mapped to, where that is not the script (`WSGIHandlerScript`).
    pub resource: &'a [u8],
}

impl Head<'_> {
    /// Appends the head, and room for the number of environ entries; use [`Entries`] next.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.slot);
        out.put_u32(self.mark);
        out.put_u8(self.body as u8);
        out.put_u8(
            u8::from(self.script_reloading)
                | u8::from(self.enable_sendfile) << 1
                | u8::from(self.ignore_activity) << 2
                | u8::from(self.pass_request) << 3,
        );
        out.put_u8(self.hook as u8);
        out.put_u8(self.log_level);
        out.put_i64(self.request_start);
        out.put_i64(self.queue_start);
        out.put_i64(self.content_length);
        out.put_i64(self.script_mtime);
        out.put_short_bytes(self.script);
        out.put_short_bytes(self.application_group);
        out.put_short_bytes(self.callable);
        out.put_short_bytes(self.resource);
    }
}

/// Writes environ entries behind a head.
#[derive(Debug)]
pub struct Entries<'a> {
    /// The request being built.
    out: &'a mut Vec<u8>,
    /// Where the number of entries stands.
    count_at: usize,
    /// Entries so far.
    count: u16,
    /// Whether everything found room.
    is_whole: bool,
}

impl<'a> Entries<'a> {
    /// Starts the list of entries at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let count_at = out.len();
        out.put_u16(0);
        Self { out, count_at, count: 0, is_whole: true }
    }

    fn counted(&mut self) -> bool {
        if self.count == u16::MAX {
            self.is_whole = false;
            return false;
        }
        self.count += 1;
        true
    }

    /// An entry whose name has a number, see [`key::number`].
    pub fn numbered(&mut self, number: u8, value: &[u8]) {
        debug_assert_ne!(number, 0);
        if self.counted() {
            self.out.put_u8(number);
            self.out.put_long_bytes(value);
        }
    }

    /// An entry with its name as text.
    pub fn named(&mut self, name: &[u8], value: &[u8]) {
        self.is_whole &= u16::try_from(name.len()).is_ok();
        if self.counted() {
            self.out.put_u8(0);
            self.out.put_short_bytes(name);
            self.out.put_long_bytes(value);
        }
    }

    /// Ends the list; body bytes may now be appended to the vector.
    /// False when not everything found room: more entries than fit, or a name that is too long.
    #[must_use]
    pub fn finish(self) -> bool {
        if let Some(place) = self.out.get_mut(self.count_at..self.count_at + 2) {
            place.copy_from_slice(&self.count.to_le_bytes());
        }
        self.is_whole
    }
}

/// The name of an environ entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// One of [`key::KEYS`], by number (1 …).
    Numbered(u8),
    /// Any other.
    Text(&'a [u8]),
}

/// A decoded request; borrows the frame.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Fixed part and strings.
    pub head: Head<'a>,
    /// Environ entries that are still to be read.
    entries: Reader<'a>,
    /// How many of them.
    count: u16,
    /// First body bytes.
    pub initial_body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Decodes the payload of a `Request` frame, all of it, so that what [`Self::entries`] yields
    /// later is known to be sound.
    ///
    /// # Errors
    /// When the payload ends early, or a field has no meaning.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let slot = reader.u32()?;
        let mark = reader.u32()?;
        if mark == 0 {
            return Err(DecodeError::Invalid("request mark"));
        }
        let body = match reader.u8()? {
            0 => Body::Whole,
            1 => Body::Pulled,
            _ => return Err(DecodeError::Invalid("body mode")),
        };
        let flags = reader.u8()?;
        if flags > 15 {
            return Err(DecodeError::Invalid("request flags"));
        }
        let hook = Hook::from_u8(reader.u8()?).ok_or(DecodeError::Invalid("hook"))?;
        let head = Head {
            slot,
            mark,
            body,
            hook,
            log_level: reader.u8()?,
            script_reloading: flags & 1 != 0,
            enable_sendfile: flags & 2 != 0,
            ignore_activity: flags & 4 != 0,
            pass_request: flags & 8 != 0,
            request_start: reader.i64()?,
            queue_start: reader.i64()?,
            content_length: reader.i64()?,
            script_mtime: reader.i64()?,
            script: reader.short_bytes()?,
            application_group: reader.short_bytes()?,
            callable: reader.short_bytes()?,
            resource: reader.short_bytes()?,
        };
        let count = reader.u16()?;
        let entries = reader.clone();
        for _ in 0..count {
            decode_entry(&mut reader)?;
        }
        Ok(Self { head, entries, count, initial_body: reader.rest() })
    }

    /// The environ entries, in the order in which they were written.
    pub fn entries(&self) -> impl Iterator<Item = (Name<'a>, &'a [u8])> + use<'a> {
        let mut reader = self.entries.clone();
        (0..self.count).map_while(move |_| decode_entry(&mut reader).ok())
    }
}

fn decode_entry<'a>(reader: &mut Reader<'a>) -> Result<(Name<'a>, &'a [u8]), DecodeError> {
    let name = match reader.u8()? {
        0 => Name::Text(reader.short_bytes()?),
        number if key::name(number).is_some() => Name::Numbered(number),
        _ => return Err(DecodeError::Invalid("environ key")),
    };
    Ok((name, reader.long_bytes()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        Head {
            slot: 3,
            mark: 9,
            body: Body::Pulled,
            script_reloading: true,
            enable_sendfile: false,
            ignore_activity: true,
            pass_request: false,
            hook: Hook::Groups,
            log_level: 6,
            request_start: 1,
            queue_start: 2,
            content_length: -1,
            script_mtime: 4,
            script: b"/srv/app.wsgi",
            application_group: b"",
            callable: b"application",
            resource: b"/srv/page.html",
        }
        .encode(&mut out);
        let mut entries = Entries::new(&mut out);
        entries.numbered(key::number("REQUEST_METHOD"), b"POST");
        entries.named(b"HTTP_X_OTHER", b"1");
        assert!(entries.finish());
        out.extend_from_slice(b"body");
        out
    }

    #[test]
    fn request_survives_the_wire() {
        let payload = sample();
        let request = Request::decode(&payload).unwrap();
        assert_eq!(request.head.script, b"/srv/app.wsgi");
        assert_eq!(request.head.mark, 9);
        assert!(request.head.script_reloading && request.head.ignore_activity);
        assert!(!request.head.enable_sendfile && !request.head.pass_request);
        assert_eq!((request.head.hook, request.head.log_level), (Hook::Groups, 6));
        assert_eq!(request.head.resource, b"/srv/page.html");
        let entries: Vec<_> = request.entries().collect();
        assert_eq!(
            entries,
            [
                (Name::Numbered(key::number("REQUEST_METHOD")), &b"POST"[..]),
                (Name::Text(b"HTTP_X_OTHER"), &b"1"[..]),
            ]
        );
        assert_eq!(request.initial_body, b"body");
    }

    #[test]
    fn what_finds_no_room_is_told() {
        let mut out = Vec::new();
        let mut entries = Entries::new(&mut out);
        entries.named(&vec![b'a'; 70_000], b"");
        assert!(!entries.finish());
        let mut entries = Entries::new(&mut out);
        for _ in 0..=u16::MAX {
            entries.named(b"A", b"");
        }
        assert!(!entries.finish());
    }

    #[test]
    fn every_truncation_is_an_error_and_not_a_panic() {
        let payload = sample();
        let whole = payload.len() - b"body".len();
        for end in 0..whole {
            assert!(Request::decode(&payload[..end]).is_err(), "{end}");
        }
    }
}
