// SPDX-License-Identifier: Apache-2.0
//! What the httpd side (`mod_wsgi.so`) and the Python side (`mod_wsgi_python.abi3.so`) say to each
//! other: frames on a daemon connection, the settings of a process, messages to and from the
//! supervisor, shared memory, and the two function tables of embedded mode.
//!
//! Pure: no httpd, no Python, no system calls, and no `unsafe` beyond none at all. Everything that
//! is decoded here may come from a stranger: decoders return errors, never panic, and never
//! allocate by a length that they have not seen the bytes for.
#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod cause;
pub mod control;
pub mod embedded;
pub mod frame;
pub mod hook;
pub mod key;
pub mod log;
pub mod region;
pub mod request;
pub mod response;
pub mod scoreboard;
pub mod settings;
pub mod wire;

/// Identity of this protocol definition; the two artifacts compare it when they meet.
pub const BUILD_ID: &str = env!("MOD_WSGI_BUILD_ID");

/// Version of the module as `mod_wsgi.version` reports it to applications: the mod_wsgi release
/// whose behaviour is reproduced, because applications test for it.
pub const COMPATIBLE_VERSION: (u32, u32, u32) = (6, 1, 1);
