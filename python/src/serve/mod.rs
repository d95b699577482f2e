// SPDX-License-Identifier: Apache-2.0
//! A daemon process: worker threads that all wait in one epoll set and run requests themselves, and
//! a main thread that accepts connections, listens to the supervisor and to signals, and never
//! needs the GIL for any of that; and a monitor, which has the timers, with attendants that do for
//! it what needs a GIL.
#![forbid(unsafe_code)]

mod attendant;
mod attendants;
mod control;
mod daemon;
mod gate;
mod interpreters;
mod limits;
mod monitor;
mod requests;
mod running;
mod service;
mod shared;
mod signals;
mod start;
mod template;
mod worker;

pub(crate) use daemon::run;
pub(crate) use interpreters::{Interpreters, Visits};
pub(crate) use start::{preload, take_traceback};
