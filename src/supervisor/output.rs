// SPDX-License-Identifier: Apache-2.0
//! What daemon processes write to their descriptors 1 and 2, as lines for the log. A line that
//! begins with \x01 and a digit has that level; every other one is an error, as with mod_wsgi.
#![forbid(unsafe_code)]

use crate::httpd::log::Level;

/// Longest line; httpd cuts records there too.
const MAX_LINE: usize = 8192;

/// Collects lines of one pipe.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// A line that has no end yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Takes what was read, and hands out each line that is complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(Level, &[u8])) {
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
    pub(crate) fn finish(&mut self, mut line: impl FnMut(Level, &[u8])) {
        emit(&std::mem::take(&mut self.partial), &mut line);
    }
}

fn emit(text: &[u8], line: &mut impl FnMut(Level, &[u8])) {
    let (level, text) = match text {
        [1, digit @ b'0'..=b'7', text @ ..] => (Level::from_u8(digit - b'0'), text),
        text => (Level::Error, text),
    };
    if !text.trim_ascii().is_empty() {
        line(level, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_have_levels() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut see = |level: Level, text: &[u8]| {
            seen.push((level, String::from_utf8_lossy(text).into_owned()));
        };
        lines.take(b"one\n\x016tw", &mut see);
        lines.take(b"o\n\n \nthree", &mut see);
        lines.finish(&mut see);
        lines.finish(&mut see);
        assert_eq!(
            seen,
            [
                (Level::Error, "one".to_owned()),
                (Level::Info, "two".to_owned()),
                (Level::Error, "three".to_owned())
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut lines = Lines::default();
        let mut lengths = Vec::new();
        lines.take(&vec![b'x'; 3 * MAX_LINE + 5], |_, text| lengths.push(text.len()));
        lines.finish(|_, text| lengths.push(text.len()));
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE, 5]);
    }
}
