// SPDX-License-Identifier: Apache-2.0
//! Log lines. Lines of a request go through its exchange, so that httpd writes them with client and
//! virtual host; all others go to descriptor 2, which the supervisor reads, or, inside an httpd
//! child, to httpd's log function.
#![forbid(unsafe_code)]

use once_cell::sync::OnceCell;

use crate::os;

/// Levels that are used, with syslog's numbers, as httpd has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Level {
    /// Python can not be used.
    Critical = 2,
    /// A request or a script failed; and everything that applications print.
    Error = 3,
    /// Something is not as it was meant.
    Warning = 4,
    /// What an operator may want to know.
    Info = 6,
    /// What a developer may want to know.
    Debug = 7,
}

impl Level {
    /// The level with this syslog number; an unknown number is an error.
    pub(crate) fn from_number(number: i64) -> Self {
        match number {
            i64::MIN..=2 => Self::Critical,
            4 => Self::Warning,
            5 | 6 => Self::Info,
            7.. => Self::Debug,
            _ => Self::Error,
        }
    }
}

/// Where lines go that belong to no request.
pub(crate) trait ProcessLog: Send + Sync {
    /// Logs text of one or more lines.
    fn log(&self, level: Level, text: &str);
}

/// Set in embedded mode, before the first line.
static PROCESS_LOG: OnceCell<Box<dyn ProcessLog>> = OnceCell::new();

/// Gives lines that belong to no request another place than descriptor 2.
pub(crate) fn set_process_log(log: Box<dyn ProcessLog>) {
    // The first one stays; there is only one caller.
    let _ = PROCESS_LOG.set(log);
}

/// Logs text of one or more lines that belongs to no request.
pub(crate) fn process(level: Level, text: &str) {
    if let Some(log) = PROCESS_LOG.get() {
        log.log(level, text);
        return;
    }
    for line in text.lines().filter(|line| !line.is_empty()) {
        os::write_all(2, &mark(level, line));
    }
}

/// A line as the supervisor wants it: `\x01`, the level's digit, the text.
fn mark(level: Level, line: &str) -> Vec<u8> {
    let mut marked = Vec::with_capacity(line.len() + 3);
    marked.extend_from_slice(&[1, b'0' + level as u8]);
    marked.extend_from_slice(line.as_bytes());
    marked.push(b'\n');
    marked
}

/// Collects text into lines: what has no line end yet waits for it.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    /// The line that is not at its end yet.
    rest: Vec<u8>,
}

/// A line that does not end is logged in parts of this size.
const LONGEST_LINE: usize = 8000;

impl LineBuffer {
    /// Adds text; the result is the lines that are whole now, with line ends between them.
    pub(crate) fn add(&mut self, text: &[u8]) -> Option<String> {
        let end = text.iter().rposition(|byte| *byte == b'\n');
        let (lines, rest) = match end {
            Some(end) => {
                let (lines, rest) = text.split_at(end);
                (Some(lines), rest.get(1..).unwrap_or_default())
            }
            None => (None, text),
        };
        let whole = lines.map(|lines| {
            let mut whole = std::mem::take(&mut self.rest);
            whole.extend_from_slice(lines);
            whole
        });
        self.rest.extend_from_slice(rest);
        let whole = match whole {
            None if self.rest.len() > LONGEST_LINE => std::mem::take(&mut self.rest),
            None => return None,
            Some(whole) => whole,
        };
        Some(String::from_utf8_lossy(&whole).into_owned())
    }

    /// The line that is not at its end, if any: it will not be continued.
    pub(crate) fn flush(&mut self) -> Option<String> {
        if self.rest.is_empty() {
            return None;
        }
        Some(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_its_end() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.add(b"one"), None);
        assert_eq!(buffer.add(b" two\nthr").as_deref(), Some("one two"));
        assert_eq!(buffer.add(b"ee\n\nfour\n").as_deref(), Some("three\n\nfour"));
        assert_eq!(buffer.flush(), None);
        assert_eq!(buffer.add(b"five"), None);
        assert_eq!(buffer.flush().as_deref(), Some("five"));
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.add(&[b'x'; LONGEST_LINE]), None);
        assert_eq!(buffer.add(b"y").map(|line| line.len()), Some(LONGEST_LINE + 1));
        assert_eq!(buffer.flush(), None);
    }

    #[test]
    fn lines_carry_their_level() {
        assert_eq!(mark(Level::Warning, "text"), b"\x014text\n");
    }
}
