// SPDX-License-Identifier: Apache-2.0
//! Hooks: functions of a script that httpd asks before it serves a request (spec-config 1.5 and 7).
//! A hook travels as a request whose head names it; its arguments are in the initial body, and one
//! `Answer` frame comes back in place of a response.

use crate::wire::{DecodeError, Reader, Write};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hook {
    /// No hook: the application.
    None = 0,
    /// `allow_access(environ, host)`. One argument: the host.
    Access = 1,
    /// `check_password(environ, user, password)`. Two arguments.
    Password = 2,
    /// `get_realm_hash(environ, user, realm)`. Two arguments.
    RealmHash = 3,
    /// `groups_for_user(environ, user)`. One argument.
    Groups = 4,
    /// `process_group(environ)`, `application_group(environ)` and `callable_object(environ)`, each if
    /// it is there. No argument.
    Dispatch = 5,
}

impl Hook {
    /// The hook with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Access,
            2 => Self::Password,
            3 => Self::RealmHash,
            4 => Self::Groups,
            5 => Self::Dispatch,
            _ => return None,
        })
    }
}

/// Appends the arguments of a hook.
pub fn encode_arguments(arguments: &[&[u8]], out: &mut Vec<u8>) {
    out.put_u16(u16::try_from(arguments.len()).unwrap_or(0));
    for argument in arguments {
        out.put_long_bytes(argument);
    }
}

/// The arguments of a hook.
///
/// # Errors
/// The bytes are not what [`encode_arguments`] makes.
pub fn decode_arguments(bytes: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
    let mut reader = Reader::new(bytes);
    (0..reader.u16()?).map(|_| reader.long_bytes()).collect()
}

/// What a hook said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Access allowed, password right, hash or groups found, route decided.
    Yes = 0,
    /// Access or password denied.
    No = 1,
    /// `None`: no opinion, user unknown. For [`Hook::Dispatch`]: the script could not be loaded.
    Unknown = 2,
    /// It failed; Python's side has logged why.
    Failed = 3,
}

/// The answer of a hook: payload of an `Answer` frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it said.
    pub outcome: Outcome,
    /// [`Hook::Password`]: the name that replaces the user's, if any. [`Hook::RealmHash`]: the hash.
    /// [`Hook::Groups`]: the groups. [`Hook::Dispatch`]: process group, application group and
    /// callable, None where the script has no opinion.
    pub values: Vec<Option<Vec<u8>>>,
}

impl Answer {
    /// An answer without values.
    #[must_use]
    pub fn plain(outcome: Outcome) -> Self {
        Self { outcome, values: Vec::new() }
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.put_u8(self.outcome as u8);
        out.put_u16(u16::try_from(self.values.len()).unwrap_or(u16::MAX));
        for value in self.values.iter().take(usize::from(u16::MAX)) {
            out.put_u8(u8::from(value.is_some()));
            if let Some(value) = value {
                out.put_long_bytes(value);
            }
        }
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is not what [`Self::encode`] makes.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let outcome = match reader.u8()? {
            0 => Outcome::Yes,
            1 => Outcome::No,
            2 => Outcome::Unknown,
            3 => Outcome::Failed,
            _ => return Err(DecodeError::Invalid("outcome of a hook")),
        };
        let values = (0..reader.u16()?)
            .map(|_| match reader.u8()? {
                0 => Ok(None),
                1 => Ok(Some(reader.long_bytes()?.to_vec())),
                _ => Err(DecodeError::Invalid("value of a hook")),
            })
            .collect::<Result<_, _>>()?;
        if reader.rest().is_empty() {
            Ok(Self { outcome, values })
        } else {
            Err(DecodeError::Invalid("end of an answer"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_enum() {
        for number in 0..=5 {
            assert_eq!(Hook::from_u8(number).map(|hook| hook as u8), Some(number));
        }
        assert_eq!(Hook::from_u8(6), None);
    }

    #[test]
    fn arguments_survive_the_wire() {
        let mut out = Vec::new();
        encode_arguments(&[b"user", b""], &mut out);
        assert_eq!(decode_arguments(&out), Ok(vec![&b"user"[..], b""]));
        for end in 0..out.len() {
            assert!(decode_arguments(&out[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn answers_survive_the_wire() {
        let answer = Answer { outcome: Outcome::Yes, values: vec![Some(b"staff".to_vec()), None] };
        let bytes = answer.encode();
        assert_eq!(Answer::decode(&bytes), Ok(answer));
        for end in 0..bytes.len() {
            assert!(Answer::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Answer::decode(&[&bytes[..], b"x"].concat()).is_err());
        assert!(Answer::decode(&[9, 0, 0]).is_err());
        let plain = Answer::plain(Outcome::Failed);
        assert_eq!(Answer::decode(&plain.encode()), Ok(plain));
    }
}
