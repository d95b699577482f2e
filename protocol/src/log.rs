// SPDX-License-Identifier: Apache-2.0
//! A log entry: payload of a `Log` frame, and of what embedded mode logs. One byte of level and
//! flags, the place in the source if it is known, then text of one line or of several, each of
//! which becomes a record.

use crate::wire::{DecodeError, Reader, Write};

/// Longest line; httpd cuts records there too.
pub const MAX_LINE: usize = 8192;

const LEVEL: u8 = 0x0f;
const EACH_LINE: u8 = 0x10;
const HAS_ORIGIN: u8 = 0x20;

/// Where in an application's source a record was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Path of the source file.
    pub file: &'a [u8],
    /// Number of the line.
    pub line: u32,
}

/// What is to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Level, in syslog's numbers, as httpd has them.
    pub level: u8,
    /// Whether each line is told apart from the others (it names the script), as what applications
    /// print is; otherwise the first line stands for all.
    pub each_line: bool,
    /// Where it was made, if that is an application's `logging` call.
    pub origin: Option<Origin<'a>>,
    /// The text; not always UTF-8.
    pub text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// What stands before the text.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut flags = self.level & LEVEL;
        if self.each_line {
            flags |= EACH_LINE;
        }
        let Some(origin) = self.origin else { return vec![flags] };
        let mut out = vec![flags | HAS_ORIGIN];
        out.put_u32(origin.line);
        out.put_short_bytes(origin.file);
        out
    }

    /// The entry in `payload`.
    ///
    /// # Errors
    /// When the payload ends early.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let flags = reader.u8()?;
        let origin = if flags & HAS_ORIGIN == 0 {
            None
        } else {
            let line = reader.u32()?;
            Some(Origin { line, file: reader.short_bytes()? })
        };
        let (level, each_line) = (flags & LEVEL, flags & EACH_LINE != 0);
        Ok(Self { level, each_line, origin, text: reader.rest() })
    }
}

/// The lines of a text, without a line end at its end.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_wire() {
        let origin = Some(Origin { file: b"/srv/app.py", line: 70_000 });
        for entry in [
            Entry { level: 3, each_line: false, origin: None, text: b"one\ntwo" },
            Entry { level: 7, each_line: true, origin, text: b"\xff" },
            Entry { level: 4, each_line: true, origin: None, text: b"" },
        ] {
            let payload = [&entry.head(), entry.text].concat();
            assert_eq!(Entry::decode(&payload), Ok(entry));
        }
    }

    #[test]
    fn truncated_entries_are_errors() {
        let origin = Some(Origin { file: b"/srv/app.py", line: 1 });
        let head = Entry { level: 3, each_line: false, origin, text: b"" }.head();
        for end in 0..head.len() {
            assert!(Entry::decode(&head[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_line_end_ends_a_line() {
        let of = |text: &'static str| -> Vec<&[u8]> { lines(text.as_bytes()).collect() };
        assert_eq!(of("one"), [b"one"]);
        assert_eq!(of("one\n\n two\n"), [&b"one"[..], b"", b" two"]);
        assert_eq!(of("\n"), [b""]);
    }
}
