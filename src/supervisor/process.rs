// SPDX-License-Identifier: Apache-2.0
//! One daemon process, as the supervisor knows it, and how its end is told.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mod_wsgi_protocol::cause::{Cause, End};
use mod_wsgi_protocol::control::Reason;

use crate::os::process::{Exit, PidFd};

use super::output::Output;
use super::scaling::Idleness;

/// What the supervisor wants of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its interpreter is there, and loads nothing before it is told to.
    Standby,
    /// It is starting.
    Starting,
    /// It serves.
    Serving,
    /// Its code is old, and it gets no requests until it is known whether the new code loads.
    Held,
    /// It serves until its replacement is ready.
    Outgoing,
    /// It finishes what it has.
    Draining,
    /// A template that loads the application.
    Importing,
    /// A template from which processes are forked.
    Template,
}

/// The last lines that a process wrote before it was ready: the traceback, if it does not get so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Said(VecDeque<Vec<u8>>);

impl Said {
    /// Lines that are kept: a traceback is longer only by frames of its beginning.
    const LINES: usize = 40;

    /// Bytes of a line that are kept.
    const LENGTH: usize = 1000;

    /// Takes note of a line.
    pub(crate) fn take(&mut self, line: &[u8]) {
        if self.0.len() == Self::LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.get(..Self::LENGTH).unwrap_or(line).to_vec());
    }

    /// The lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Whether the same was said, but for numbers such as process ids and addresses.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let words = |said: &Self| -> Vec<u8> {
            said.0.iter().flatten().copied().filter(|byte| !byte.is_ascii_digit()).collect()
        };
        words(self) == words(other)
    }
}

/// A daemon process.
#[derive(Debug)]
pub(crate) struct DaemonProcess {
    /// Its group, as an index of the plans.
    pub(crate) group: usize,
    /// Its set in the group.
    pub(crate) set: u32,
    /// Its index in the group's shared memory.
    pub(crate) slot: u32,
    /// Its serial.
    pub(crate) serial: u32,
    /// The process itself.
    pub(crate) process: PidFd,
    /// Control socket.
    pub(crate) control: OwnedFd,
    /// For questions about httpd's scoreboard; None without `server-metrics=`, and of a template.
    pub(crate) metrics: Option<OwnedFd>,
    /// Standard output and standard error; None once closed.
    pub(crate) outputs: [Option<Output>; 2],
    /// The last lines that it wrote while it was starting.
    pub(crate) said: Said,
    /// When it was started.
    pub(crate) started: Instant,
    /// What is wanted of it.
    pub(crate) role: Role,
    /// Why it leaves, or is to be replaced.
    pub(crate) reason: Option<Reason>,
    /// How long it has had no request; kept only where it might go for that.
    pub(crate) idleness: Idleness,
    /// Why it is to be replaced when its turn comes.
    pub(crate) wish: Option<Reason>,
    /// It was told to go on with its old code, and gets requests when it has said that it does.
    pub(crate) is_keeping: bool,
    /// It has served twice as many requests as it should, and gets no more while another starts.
    pub(crate) is_exhausted: bool,
    /// When it is killed if it is still there.
    pub(crate) kill_at: Option<Instant>,
    /// That it is being killed has been logged.
    pub(crate) is_killed: bool,
    /// It takes no requests: others are forked from it.
    pub(crate) is_template: bool,
    /// A template that was started before its set had an application group.
    pub(crate) is_blank: bool,
    /// Key of the template that it was forked from.
    pub(crate) template: Option<u32>,
}

impl DaemonProcess {
    /// What it is, for the log.
    pub(crate) fn kind(&self) -> &'static str {
        if self.is_template { "template" } else { "daemon process" }
    }

    /// How it ended and why, as httpd's children are told.
    pub(crate) fn published_cause(&self, exit: Exit) -> Cause {
        let end = match exit {
            // Both are bytes, as the system has them.
            Exit::Status(code) => End::Exit(code as u8),
            Exit::Signal(number, _) => End::Signal(number as u8),
        };
        Cause { end, is_overdue: self.is_killed, reason: self.reason }
    }
}

/// How a process ended, in words.
pub(crate) fn cause(exit: Exit) -> String {
    exit.to_string()
}

/// A duration for a log line.
pub(crate) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..600 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}

/// Requests for a log line; text of clients is escaped.
pub(crate) fn requests(running: &[Vec<u8>], count: usize) -> String {
    if count == 0 {
        return "no request was running".to_owned();
    }
    let shown: Vec<String> = running.iter().map(|text| text.escape_ascii().to_string()).collect();
    let more = count.saturating_sub(shown.len());
    let noun = if count == 1 { "request was" } else { "requests were" };
    let list = shown.join(", ");
    if more > 0 {
        format!("{count} {noun} running: {list} and {more} more")
    } else {
        format!("{count} {noun} running: {list}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        assert_eq!(cause(Exit::Signal(9, false)), "was killed by signal 9 (SIGKILL)");
        assert_eq!(cause(Exit::Signal(11, true)), "was killed by signal 11 (SIGSEGV), core dumped");
        assert_eq!(cause(Exit::Status(3)), "ended with exit code 3");
        assert_eq!(age(Duration::from_millis(1530)), "1.5 s");
        assert_eq!(age(Duration::from_secs(700)), "11 min");
    }

    #[test]
    fn requests_are_listed_and_escaped() {
        assert_eq!(requests(&[], 0), "no request was running");
        assert_eq!(requests(&[b"GET /a\n".to_vec()], 1), "1 request was running: GET /a\\n");
        assert_eq!(
            requests(&[b"GET /a".to_vec(), b"GET /b".to_vec()], 5),
            "5 requests were running: GET /a, GET /b and 3 more"
        );
    }

    #[test]
    fn the_last_lines_are_kept_and_compared_without_numbers() {
        let said = |lines: &[&str]| {
            let mut said = Said::default();
            lines.iter().for_each(|line| said.take(line.as_bytes()));
            said
        };
        assert!(said(&["pid 12: no", "x"]).is_like(&said(&["pid 345: no", "x"])));
        assert!(!said(&["no"]).is_like(&said(&["yes"])));
        let many: Vec<String> = (0..50).map(|number| format!("line {number}")).collect();
        let many = said(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(many.lines().count(), Said::LINES);
        assert_eq!(many.lines().last(), Some(&b"line 49"[..]));
    }
}
