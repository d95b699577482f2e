// SPDX-License-Identifier: Apache-2.0
//! What daemon processes write to their descriptors 1 and 2, as lines for the log. A line that
//! begins with \x01 and a digit has that level, and may name its place in the source (file and
//! line, each ended by \x01, after another \x01); every other one is an error, as with mod_wsgi.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};

use mod_wsgi_protocol::log::{Entry, MAX_LINE, Origin};

use crate::httpd::log::Level;
use crate::os::read;

/// One of the output pipes of a process.
#[derive(Debug)]
pub(crate) struct Output {
    /// Read end, non-blocking.
    pub(crate) fd: OwnedFd,
    /// Lines of it.
    pub(crate) lines: Lines,
}

impl Output {
    /// Takes what has been written; false when that was the last of it.
    pub(crate) fn hear(&mut self, note: &mut impl FnMut(&Entry<'_>)) -> bool {
        let mut buffer = [0; 8192];
        // A bounded number of reads: no process keeps the others from being heard.
        for _ in 0..16 {
            match read(self.fd.as_fd(), &mut buffer) {
                Ok(0) => {
                    self.lines.finish(note);
                    return false;
                }
                Ok(count) => self.lines.take(buffer.get(..count).unwrap_or_default(), &mut *note),
                Err(_) => break,
            }
        }
        true
    }
}

/// Collects lines of one pipe.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// A line that has no end yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Takes what was read, and hands out each line that is complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&Entry<'_>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(bytes.get(..end).unwrap_or_default());
            bytes = bytes.get(end + 1..).unwrap_or_default();
            emit(&std::mem::take(&mut self.partial), &mut line);
        }
        self.partial.extend_from_slice(bytes);
        while self.partial.len() > MAX_LINE {
            let rest = self.partial.split_off(MAX_LINE);
            emit(&std::mem::replace(&mut self.partial, rest), &mut line);
        }
    }

    /// Hands out what has no end and will not get one.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&Entry<'_>)) {
        emit(&std::mem::take(&mut self.partial), &mut line);
    }
}

fn emit(line: &[u8], log: &mut impl FnMut(&Entry<'_>)) {
    let (level, is_printed, line) = match line {
        [1, digit @ b'0'..=b'7', rest @ ..] => (digit - b'0', true, rest),
        line => (Level::Error as u8, false, line),
    };
    let (origin, text) =
        split_origin(line).map_or((None, line), |(place, text)| (Some(place), text));
    // Python's side marks empty lines that are meant to be there.
    if is_printed || !text.trim_ascii().is_empty() {
        log(&Entry { level, each_line: true, origin, text });
    }
}

fn split_origin(line: &[u8]) -> Option<(Origin<'_>, &[u8])> {
    let mut parts = line.strip_prefix(b"\x01")?.splitn(3, |byte| *byte == 1);
    let (file, number, text) = (parts.next()?, parts.next()?, parts.next()?);
    let line = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((Origin { file, line }, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_have_levels() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut see = |entry: &Entry<'_>| {
            let place = entry.origin.map(|origin| (origin.file.to_vec(), origin.line));
            seen.push((entry.level, place, String::from_utf8_lossy(entry.text).into_owned()));
        };
        lines.take(b"one\n\x016tw", &mut see);
        lines.take(b"o\n\n \n\x014\x01/a.py\x0112\x01at\n\x01?\nthree", &mut see);
        lines.finish(&mut see);
        lines.finish(&mut see);
        assert_eq!(
            seen,
            [
                (3, None, "one".to_owned()),
                (6, None, "two".to_owned()),
                (4, Some((b"/a.py".to_vec(), 12)), "at".to_owned()),
                (3, None, "\x01?".to_owned()),
                (3, None, "three".to_owned()),
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        let mut lengths = Vec::new();
        lines.take(&vec![b'x'; 3 * MAX_LINE + 5], |entry| lengths.push(entry.text.len()));
        lines.finish(|entry| lengths.push(entry.text.len()));
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE, 5]);
    }
}
