// SPDX-License-Identifier: Apache-2.0
//! `mod_wsgi_python.abi3.so`: what a Python interpreter loads to serve WSGI applications for httpd,
//! as a daemon process or inside an httpd child.
//!
//! `unsafe` is in `interp` (CPython), `os` (system calls), and where embedded mode meets httpd's
//! functions (`embedded`, `exchange::embedded`); nowhere else.

#![deny(unsafe_code)]

mod api;
#[allow(unsafe_code)]
mod embedded;
mod exchange;
#[allow(unsafe_code)]
mod interp;
mod log;
mod metrics;
#[allow(unsafe_code)]
mod os;
mod scoreboard;
mod script;
mod serve;
mod timing;
mod wsgi;
