// SPDX-License-Identifier: Apache-2.0
//! The client side of daemon mode, in httpd children: which process gets a request, the pooled
//! connections to it, and the relay of one request. Processes are started elsewhere
//! (`supervisor`); both sides share a [`Group`].
#![forbid(unsafe_code)]

mod body;
pub(crate) mod child;
pub(crate) mod choice;
pub(crate) mod claims;
pub(crate) mod connection;
pub(crate) mod exchange;
mod failure;
pub(crate) mod group;
mod retry;

pub(crate) use child::Child;
pub(crate) use group::Group;
