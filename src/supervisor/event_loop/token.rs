// SPDX-License-Identifier: Apache-2.0
//! What the supervisor waits for, as a number of its epoll set.
#![forbid(unsafe_code)]

/// What a token of the epoll set stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Lease,
    Signals,
    Exit(u32),
    Control(u32),
    Output(u32, usize),
    Child(u32),
    Metrics(u32),
}

impl Token {
    pub(super) fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::Lease => (0, 0),
            Self::Signals => (1, 0),
            Self::Exit(key) => (2, key),
            Self::Control(key) => (3, key),
            Self::Output(key, 0) => (4, key),
            Self::Output(key, _) => (5, key),
            Self::Child(block) => (6, block),
            Self::Metrics(key) => (7, key),
        };
        u64::from(number) << 8 | kind
    }

    pub(super) fn decode(token: u64) -> Option<Self> {
        let number = u32::try_from(token >> 8).ok()?;
        Some(match token & 0xff {
            0 => Self::Lease,
            1 => Self::Signals,
            2 => Self::Exit(number),
            3 => Self::Control(number),
            4 => Self::Output(number, 0),
            5 => Self::Output(number, 1),
            6 => Self::Child(number),
            7 => Self::Metrics(number),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Lease,
            Token::Signals,
            Token::Exit(7),
            Token::Control(u32::MAX),
            Token::Output(3, 0),
            Token::Output(3, 1),
            Token::Child(12),
            Token::Metrics(13),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(9), None);
    }
}
