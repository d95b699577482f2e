// SPDX-License-Identifier: Apache-2.0
//! The WSGI protocol (PEP 3333): environ, `start_response`, input, errors, file wrapper, and the
//! run of an application from the call to `close()`. Sees the outside only as an
//! [`crate::exchange::Exchange`].
#![forbid(unsafe_code)]

mod adapter;
mod arguments;
mod body;
mod call;
mod environ;
mod failure;
mod file;
mod head;
mod hook;
mod input;
mod output;
mod run;
mod slow;
mod ssl;
mod stream;

pub(crate) use adapter::Adapter;
pub(crate) use call::{Call, Inside, current_call, current_call_in, leave_if_forked};
pub(crate) use environ::Template;
pub(crate) use failure::{ScriptContext, is_logged, log_entry, log_exception, log_text};
pub(crate) use input::Input;
pub(crate) use run::{Job, Verdict, Visit, handle, refuse};
pub(crate) use ssl::Ssl;
pub(crate) use stream::{Restricted, Stream, text_wrapper};
