// SPDX-License-Identifier: Apache-2.0
//! How a daemon process ended, as the supervisor tells httpd's children in the group's shared
//! memory. A hint for log lines: it stands where an application can write, so that whatever number
//! is read has a meaning or none, and nothing is decided by it.

use crate::control::Reason;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exit(u8),
    /// By this signal.
    Signal(u8),
}

/// How a process ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// How.
    pub end: End,
    /// The supervisor killed it, as it was to leave and did not.
    pub is_overdue: bool,
    /// Why it was to leave, if it was.
    pub reason: Option<Reason>,
}

const EXIT: u32 = 1 << 8;
const SIGNAL: u32 = 2 << 8;
const OVERDUE: u32 = 1 << 10;

impl Cause {
    /// The cause as published; never 0.
    #[must_use]
    pub fn encode(self) -> u32 {
        let end = match self.end {
            End::Exit(code) => EXIT | u32::from(code),
            End::Signal(number) => SIGNAL | u32::from(number),
        };
        let overdue = if self.is_overdue { OVERDUE } else { 0 };
        let reason = self.reason.map_or(0, |reason| (reason as u32 & 0xff) << 16);
        end | overdue | reason
    }

    /// The cause in a word of shared memory; None when it holds none.
    #[must_use]
    pub fn decode(word: u32) -> Option<Self> {
        let value = (word & 0xff) as u8;
        let end = match word & (3 << 8) {
            EXIT => End::Exit(value),
            SIGNAL => End::Signal(value),
            _ => return None,
        };
        let reason = Reason::from_u32(word >> 16 & 0xff);
        Some(Self { end, is_overdue: word & OVERDUE != 0, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_survive_the_memory() {
        for cause in [
            Cause { end: End::Exit(0), is_overdue: false, reason: None },
            Cause { end: End::Exit(255), is_overdue: false, reason: Some(Reason::ScriptChanged) },
            Cause { end: End::Signal(9), is_overdue: true, reason: Some(Reason::MaximumRequests) },
        ] {
            assert_eq!(Cause::decode(cause.encode()), Some(cause));
        }
    }

    #[test]
    fn every_word_means_something_or_nothing() {
        assert_eq!(Cause::decode(0), None);
        assert_eq!(Cause::decode(3 << 8), None);
        let scribbled = Cause::decode(0xffff_fdff).unwrap();
        assert_eq!((scribbled.end, scribbled.reason), (End::Exit(255), None));
    }
}
