// SPDX-License-Identifier: Apache-2.0
//! The supervisor: one process per configuration of httpd, forked from its parent, that starts the
//! daemon processes, sees them end, and starts others. It has one thread and one event loop, holds
//! no listening socket of httpd's, and parses nothing but messages of fixed size.

mod environment;
pub(crate) mod event_loop;
mod inheritance;
pub(crate) mod launch;
mod memory;
pub(crate) mod output;
pub(crate) mod parent;
pub(crate) mod plan;
pub(crate) mod process;
mod scaling;

pub(crate) use plan::Plan;
