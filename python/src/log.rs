// SPDX-License-Identifier: Apache-2.0
//! Log lines. Lines of a request go through its exchange, so that httpd writes them with client and
//! virtual host; all others go to descriptor 2, which the supervisor reads, or, inside an httpd
//! child, to httpd's log function.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

use mod_wsgi_protocol::log::{Entry, MAX_LINE, Origin, lines};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

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

/// An entry of which the first line stands for all.
pub(crate) fn entry(level: Level, text: &[u8]) -> Entry<'_> {
    Entry { level: level as u8, each_line: false, origin: None, text }
}

/// What an application has printed.
pub(crate) fn printed(text: &[u8]) -> Entry<'_> {
    Entry { each_line: true, ..entry(Level::Error, text) }
}

/// Where entries go that belong to no request.
pub(crate) trait ProcessLog: Send + Sync {
    /// Logs text of one or more lines.
    fn log(&self, entry: &Entry<'_>);
}

/// Set in embedded mode, before the first line.
static PROCESS_LOG: OnceCell<Box<dyn ProcessLog>> = OnceCell::new();

/// Gives lines that belong to no request another place than descriptor 2.
pub(crate) fn set_process_log(log: Box<dyn ProcessLog>) {
    // The first one stays; there is only one caller.
    let _ = PROCESS_LOG.set(log);
}

/// The least urgent level that httpd logs for this process; all of them until that is known.
static PROCESS_LEVEL: AtomicU8 = AtomicU8::new(u8::MAX);

/// Says which levels httpd logs for this process.
pub(crate) fn set_process_level(level: u8) {
    PROCESS_LEVEL.store(level, Ordering::Relaxed);
}

/// Whether httpd logs what belongs to no request, at this level.
pub(crate) fn process_logs(level: u8) -> bool {
    level <= PROCESS_LEVEL.load(Ordering::Relaxed)
}

/// Logs text of one or more lines that belongs to no request.
pub(crate) fn process(level: Level, text: &str) {
    process_entry(&entry(level, text.as_bytes()));
}

/// Held while lines are written to descriptor 2: the kernel keeps only short ones together. The
/// second is for workers, forked while another thread may have had the first, which they then
/// have as held for ever.
static WRITING: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

/// Logs an entry that belongs to no request.
pub(crate) fn process_entry(entry: &Entry<'_>) {
    if !process_logs(entry.level) {
        return;
    }
    if let Some(log) = PROCESS_LOG.get() {
        log.log(entry);
        return;
    }
    let mut lines = lines(entry.text).filter(|line| entry.each_line || !line.is_empty()).peekable();
    let [first, second] = &WRITING;
    let lock = if os::is_forked_worker() { second } else { first };
    // For a child that an application forks there is none.
    let _writing = (!os::is_forked_child()).then(|| lock.lock());
    let mut marked = Vec::new();
    while let Some(line) = lines.next() {
        mark(entry, line, &mut marked);
        if marked.len() >= MAX_LINE || lines.peek().is_none() {
            os::write_all(2, &marked);
            marked.clear();
        }
    }
}

/// Appends a line as the supervisor wants it: `\x01`, the level's digit, the place in the source if
/// there is one (`\x01`, file, `\x01`, line, `\x01`), the text.
fn mark(entry: &Entry<'_>, line: &[u8], marked: &mut Vec<u8>) {
    let start = marked.len();
    marked.extend_from_slice(&[1, b'0' + entry.level.min(7)]);
    if let Some(Origin { file, line }) = entry.origin
        && !file.iter().any(|byte| matches!(byte, 1 | b'\n'))
    {
        marked.push(1);
        marked.extend_from_slice(file);
        marked.push(1);
        marked.extend_from_slice(line.to_string().as_bytes());
        marked.push(1);
    }
    marked.extend_from_slice(line);
    marked.truncate(start + MAX_LINE);
    marked.push(b'\n');
}

/// Collects text into lines: what has no line end yet waits for it.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    /// The line that is not at its end yet.
    rest: Vec<u8>,
    /// Whether the beginning of a line was logged because somebody flushed.
    is_flushed: bool,
}

impl LineBuffer {
    /// Adds text; the result is the lines that are whole now, with line ends between them.
    pub(crate) fn add(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        // `print()` flushes a text with line ends in it, and then writes the end of its last line,
        // which is no line of its own.
        let text = match std::mem::take(&mut self.is_flushed) {
            true => text.strip_prefix(b"\n").unwrap_or(text),
            false => text,
        };
        let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else {
            self.keep(text);
            return None;
        };
        let (lines, rest) = text.split_at(end);
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(lines);
        self.keep(rest.get(1..).unwrap_or_default());
        Some(whole)
    }

    /// What is more than a record takes is not kept, or a line without end would grow for ever.
    fn keep(&mut self, text: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.rest.len());
        self.rest.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// The line that is not at its end, if any: it is logged as it is.
    pub(crate) fn flush(&mut self) -> Option<Vec<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        self.is_flushed = true;
        Some(std::mem::take(&mut self.rest))
    }

    /// Whether it is as a new one.
    pub(crate) fn is_unused(&self) -> bool {
        self.rest.is_empty() && !self.is_flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_its_end() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.add(b"one"), None);
        assert_eq!(buffer.add(b" two\nthr").as_deref(), Some(&b"one two"[..]));
        assert_eq!(buffer.add(b"ee\n\nfour\n").as_deref(), Some(&b"three\n\nfour"[..]));
        assert_eq!(buffer.flush(), None);
        assert_eq!(buffer.add(b"five"), None);
        assert!(!buffer.is_unused());
        assert_eq!(buffer.flush().as_deref(), Some(&b"five"[..]));
        assert_eq!(buffer.add(b"\n"), None);
        assert!(buffer.is_unused());
        assert_eq!(buffer.add(b"\n").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn the_end_of_a_flushed_line_is_no_line() {
        let mut buffer = LineBuffer::default();
        buffer.add(b"one");
        buffer.flush();
        assert_eq!(buffer.add(b"\ntwo\n").as_deref(), Some(&b"two"[..]));
        buffer.add(b"three");
        buffer.flush();
        assert_eq!(buffer.add(b"four\n").as_deref(), Some(&b"four"[..]));
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut buffer = LineBuffer::default();
        for _ in 0..3 {
            assert_eq!(buffer.add(&[b'x'; MAX_LINE - 1]), None);
        }
        assert_eq!(buffer.flush().map(|line| line.len()), Some(MAX_LINE));
    }

    fn marked(entry: &Entry<'_>, line: &[u8]) -> Vec<u8> {
        let mut marked = Vec::new();
        mark(entry, line, &mut marked);
        marked
    }

    #[test]
    fn lines_carry_their_level_and_place() {
        let mut entry = entry(Level::Warning, b"");
        assert_eq!(marked(&entry, b"text"), b"\x014text\n");
        entry.origin = Some(Origin { file: b"/a.py", line: 12 });
        assert_eq!(marked(&entry, b"text"), b"\x014\x01/a.py\x0112\x01text\n");
        entry.origin = Some(Origin { file: b"a\nb", line: 12 });
        assert_eq!(marked(&entry, b"text"), b"\x014text\n");
        assert_eq!(marked(&entry, &[b'x'; 2 * MAX_LINE]).len(), MAX_LINE + 1);
    }
}
