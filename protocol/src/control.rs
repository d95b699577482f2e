// SPDX-License-Identifier: Apache-2.0
//! Messages of fixed size: between the supervisor and a daemon process (control socket), and from
//! an httpd child to the supervisor (lease socket). Both are SOCK_SEQPACKET, so a message arrives
//! whole or not at all, and the end of the peer is an empty read.

use crate::wire::{DecodeError, Reader, Write};

/// Descriptors that a daemon process inherits, besides 0, 1 and 2.
pub mod inherited {
    /// Control socket; its first message holds the settings.
    pub const CONTROL: i32 = 3;
    /// Listening socket; a template has none.
    pub const LISTENER: i32 = 4;
    /// Shared memory of the process group.
    pub const REGION: i32 = 5;
    /// The Python side's library; the bootstrap loads it as /proc/self/fd/6 and closes this.
    pub const LIBRARY: i32 = 6;
    /// For questions about httpd's scoreboard ([`crate::scoreboard`]), where the settings allow them.
    pub const METRICS: i32 = 7;
}

/// Bytes of a control message.
pub const CONTROL_SIZE: usize = 16;

/// What a control message says; `value` is written beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Control {
    /// Daemon: it takes requests from now on.
    Ready = 1,
    /// Daemon: it should be replaced; value: [`Reason`].
    Replace = 2,
    /// Daemon: it is leaving by itself; value: [`Reason`].
    Leaving = 3,
    /// Template: it has forked the worker that was asked for first; value: its process id.
    Forked = 8,
    /// Template: that worker could not be forked; value: errno.
    ForkFailed = 9,
    /// Daemon, with `reload=keep`: its scripts do not load; it waits for [`Self::Serve`] or
    /// [`Self::Stop`].
    NotLoaded = 4,
    /// Supervisor: take no new connections, finish what runs, leave; value: seconds for it.
    Drain = 16,
    /// Supervisor: leave now; value: seconds until the process will be killed.
    Stop = 17,
    /// Supervisor, to a template: fork a worker. The descriptors of [`WORKER_DESCRIPTORS`] come along.
    Fork = 24,
    /// Supervisor, to a process that stands by: load the scripts, and become ready.
    Begin = 18,
    /// Supervisor, after [`Self::NotLoaded`]: take requests nevertheless, there is nobody else.
    Serve = 19,
    /// Supervisor, with `reload=keep`: the changed code does not load, go on with what is loaded;
    /// detail: as [`Self::Replace`] said.
    Keep = 20,
}

/// Descriptors of a [`Control::Fork`]: the worker's end of its control socket, whose first message
/// holds its settings, its listening socket, its standard output and its standard error. Where the
/// settings allow questions about httpd's scoreboard, the socket for them follows.
pub const WORKER_DESCRIPTORS: usize = 4;

/// Why a daemon process is replaced or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// A signal told it to.
    ShutdownSignal = 1,
    /// SIGUSR1.
    GracefulSignal = 2,
    /// `maximum-requests` are served.
    MaximumRequests = 3,
    /// The WSGI script file changed.
    ScriptChanged = 4,
    /// The supervisor said so or is gone.
    Supervisor = 5,
    /// SIGUSR1, where `eviction-timeout` is said.
    EvictionSignal = 6,
    /// `restart-interval` is over.
    RestartInterval = 7,
    /// No request came for `inactivity-timeout`.
    InactivityTimeout = 8,
    /// A request ran longer than `request-timeout` allows.
    RequestTimeout = 9,
    /// The script was not loaded within `startup-timeout`.
    StartupTimeout = 10,
    /// The GIL was not to be had for `deadlock-timeout`.
    DeadlockTimeout = 11,
    /// SIGXCPU: `cpu-time-limit` is used up.
    CpuTimeLimit = 12,
    /// A service script is at its end.
    ServiceEnded = 13,
    /// It has more than `maximum-rss` in memory.
    MaximumRss = 14,
    /// With `reload=keep`: its scripts do not load.
    NotLoaded = 15,
}

impl Reason {
    /// The reason with this number.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::ShutdownSignal,
            2 => Self::GracefulSignal,
            3 => Self::MaximumRequests,
            4 => Self::ScriptChanged,
            5 => Self::Supervisor,
            6 => Self::EvictionSignal,
            7 => Self::RestartInterval,
            8 => Self::InactivityTimeout,
            9 => Self::RequestTimeout,
            10 => Self::StartupTimeout,
            11 => Self::DeadlockTimeout,
            12 => Self::CpuTimeLimit,
            13 => Self::ServiceEnded,
            14 => Self::MaximumRss,
            15 => Self::NotLoaded,
            _ => return None,
        })
    }

    /// The reason as `shutdown_reason` events and log lines name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ShutdownSignal | Self::Supervisor => "shutdown_signal",
            Self::GracefulSignal => "graceful_signal",
            Self::MaximumRequests => "maximum_requests",
            Self::ScriptChanged => "script_reload",
            Self::EvictionSignal => "eviction_signal",
            Self::RestartInterval => "restart_interval",
            Self::InactivityTimeout => "inactivity_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::StartupTimeout => "startup_timeout",
            Self::DeadlockTimeout => "deadlock_timeout",
            Self::CpuTimeLimit => "cpu_time_limit",
            Self::ServiceEnded => "service_ended",
            Self::MaximumRss => "maximum_rss",
            Self::NotLoaded => "not_loaded",
        }
    }
}

impl Control {
    /// The message as sent.
    #[must_use]
    pub fn encode(self, value: u32) -> [u8; CONTROL_SIZE] {
        let mut message = [0; CONTROL_SIZE];
        let (kind, rest) = message.split_at_mut(4);
        kind.copy_from_slice(&(self as u32).to_le_bytes());
        rest[..4].copy_from_slice(&value.to_le_bytes());
        message
    }

    /// The message as sent, with a detail: with [`Self::Replace`] and [`Reason::ScriptChanged`], the
    /// modification time of the changed file; with [`Reason::MaximumRequests`], not 0 when the process
    /// has served twice that number.
    #[must_use]
    pub fn encode_with(self, value: u32, detail: i64) -> [u8; CONTROL_SIZE] {
        let mut message = self.encode(value);
        message[8..].copy_from_slice(&detail.to_le_bytes());
        message
    }

    /// The detail of a message; 0 where nothing was said.
    #[must_use]
    pub fn detail(bytes: &[u8]) -> i64 {
        bytes
            .get(8..CONTROL_SIZE)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, i64::from_le_bytes)
    }

    /// The message in `bytes`, with its value.
    ///
    /// # Errors
    /// When the size is not [`CONTROL_SIZE`] or the kind is unknown.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), DecodeError> {
        if bytes.len() != CONTROL_SIZE {
            return Err(DecodeError::Truncated);
        }
        let mut reader = Reader::new(bytes);
        let kind = match reader.u32()? {
            1 => Self::Ready,
            2 => Self::Replace,
            3 => Self::Leaving,
            4 => Self::NotLoaded,
            8 => Self::Forked,
            9 => Self::ForkFailed,
            16 => Self::Drain,
            17 => Self::Stop,
            18 => Self::Begin,
            19 => Self::Serve,
            20 => Self::Keep,
            24 => Self::Fork,
            _ => return Err(DecodeError::Invalid("control message")),
        };
        Ok((kind, reader.u32()?))
    }
}

/// Longest name of a set. A longer application group is shortened by [`set_name`].
pub const MAX_SET_NAME: usize = 240;

/// Longest path of a script in a lease message.
pub const MAX_SCRIPT: usize = 1024;

/// Bytes of a lease message.
pub const LEASE_SIZE: usize = 16 + MAX_SET_NAME + MAX_SCRIPT;

/// What an httpd child says to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// The child took this block of the shared memory of all groups.
    Registered {
        /// Index of the block.
        child: u32,
        /// Its process id.
        pid: u32,
    },
    /// The child is stopping and does not wait for its requests: httpd stops or restarts.
    Stopping {
        /// Index of the block.
        child: u32,
    },
    /// A request needs a set for this application group.
    WantSet {
        /// Index of the process group, in the order of the configuration.
        group: u32,
        /// The name, as [`set_name`] makes it.
        name: Vec<u8>,
        /// The request's script; empty where it is longer than [`MAX_SCRIPT`].
        script: Vec<u8>,
    },
}

impl Lease {
    /// The message as sent.
    #[must_use]
    pub fn encode(&self) -> [u8; LEASE_SIZE] {
        let mut out = Vec::with_capacity(LEASE_SIZE);
        match self {
            Self::Registered { child, pid } => {
                out.put_u32(1);
                out.put_u32(*child);
                out.put_u32(*pid);
            }
            Self::Stopping { child } => {
                out.put_u32(3);
                out.put_u32(*child);
            }
            Self::WantSet { group, name, script } => {
                out.put_u32(2);
                out.put_u32(*group);
                let name = name.get(..MAX_SET_NAME).unwrap_or(name);
                out.put_u32(u32::try_from(name.len()).unwrap_or(0));
                out.extend_from_slice(name);
                let script = if script.len() > MAX_SCRIPT { &[][..] } else { script };
                out.put_u32(u32::try_from(script.len()).unwrap_or(0));
                out.extend_from_slice(script);
            }
        }
        out.resize(LEASE_SIZE, 0);
        let mut message = [0; LEASE_SIZE];
        message.copy_from_slice(&out);
        message
    }

    /// The message in `bytes`.
    ///
    /// # Errors
    /// When the size is not [`LEASE_SIZE`], the kind unknown or the name too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() != LEASE_SIZE {
            return Err(DecodeError::Truncated);
        }
        let mut reader = Reader::new(bytes);
        match reader.u32()? {
            1 => Ok(Self::Registered { child: reader.u32()?, pid: reader.u32()? }),
            2 => {
                let group = reader.u32()?;
                let length = reader.u32()? as usize;
                if length > MAX_SET_NAME {
                    return Err(DecodeError::TooLarge("set name"));
                }
                let name = reader.take(length)?.to_vec();
                let length = reader.u32()? as usize;
                if length > MAX_SCRIPT {
                    return Err(DecodeError::TooLarge("script"));
                }
                Ok(Self::WantSet { group, name, script: reader.take(length)?.to_vec() })
            }
            3 => Ok(Self::Stopping { child: reader.u32()? }),
            _ => Err(DecodeError::Invalid("lease message")),
        }
    }
}

/// The name under which the set of an application group is kept: the group's own name, or, where
/// that is longer than [`MAX_SET_NAME`], its beginning and a 128-bit digest of the whole.
#[must_use]
pub fn set_name(application_group: &[u8]) -> Vec<u8> {
    if application_group.len() <= MAX_SET_NAME {
        return application_group.to_vec();
    }
    // Two FNV-1a runs from different offsets: equal names must be equal, and an accident between
    // two of at most a few dozen names is out of reach.
    let digest = |offset: u64| {
        application_group.iter().fold(offset, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let mut name = application_group[..MAX_SET_NAME - 34].to_vec();
    name.extend_from_slice(
        format!("~{:016x}{:016x}", digest(0xcbf2_9ce4_8422_2325), digest(0x6c62_272e_07bb_0142))
            .as_bytes(),
    );
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_survive_the_wire() {
        let message = Control::Replace.encode(Reason::MaximumRequests as u32);
        assert_eq!(Control::decode(&message), Ok((Control::Replace, 3)));
        assert_eq!(Control::detail(&message), 0);
        assert!(Control::decode(&message[..15]).is_err());
        let message = Control::Keep.encode_with(0, -7);
        assert_eq!(
            (Control::decode(&message), Control::detail(&message)),
            (Ok((Control::Keep, 0)), -7)
        );
        assert!(Control::decode(&[9; CONTROL_SIZE]).is_err());
    }

    #[test]
    fn reasons_have_the_numbers_that_they_are_sent_as() {
        let reasons: Vec<Reason> = (0..64).filter_map(Reason::from_u32).collect();
        assert_eq!(reasons.last(), Some(&Reason::NotLoaded));
        for (reason, number) in reasons.iter().zip(1..) {
            assert_eq!(*reason as u32, number);
        }
    }

    #[test]
    fn lease_messages_survive_the_wire() {
        for message in [
            Lease::Registered { child: 2, pid: 77 },
            Lease::Stopping { child: 2 },
            Lease::WantSet {
                group: 1,
                name: b"example.org|/app".to_vec(),
                script: b"/srv/app.wsgi".to_vec(),
            },
            Lease::WantSet { group: 1, name: Vec::new(), script: Vec::new() },
            Lease::WantSet {
                group: 1,
                name: vec![b'n'; MAX_SET_NAME],
                script: vec![b's'; MAX_SCRIPT],
            },
        ] {
            assert_eq!(Lease::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn long_application_groups_keep_different_names() {
        let (one, two) = (vec![b'a'; 300], vec![b'a'; 301]);
        assert!(set_name(&one).len() <= MAX_SET_NAME);
        assert_ne!(set_name(&one), set_name(&two));
    }
}
