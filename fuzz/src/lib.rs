// SPDX-License-Identifier: Apache-2.0
//! What is fuzzed: all that decodes bytes of a stranger, and the pure parts of the Python side that
//! work on what an application or a client decides. Each target is a function of bytes that panics
//! when something is wrong; `fuzz_targets/` gives them to libFuzzer, `tests/bounded.rs` runs them for
//! a bounded time without it. The parts of the Python side are included as files: its library needs
//! an interpreter to be linked.
#![forbid(unsafe_code)]

pub mod body;
pub mod frames;
pub mod head;
pub mod mutation;

/// What the included files know of the way to httpd.
mod exchange {
    use mod_wsgi_protocol::frame::BodyError;

    /// As in python/src/exchange, as far as the body needs it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum ReadError {
        /// The child says why.
        Refused(BodyError),
    }

    /// As in python/src/exchange, as far as the body needs it.
    pub(crate) trait Exchange {
        /// Appends at most `most` bytes of the request body; false when it is at its end.
        fn read_body(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, ReadError>;
    }
}

// Files of the Python side.
#[allow(dead_code)]
#[path = "../../python/src/wsgi/body.rs"]
mod python_body;
#[allow(dead_code)]
#[path = "../../python/src/wsgi/head.rs"]
mod python_head;
