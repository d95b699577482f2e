// SPDX-License-Identifier: Apache-2.0
//! `mod_wsgi_python.abi3.so`: what a Python interpreter loads to serve WSGI applications for httpd,
//! as a daemon process or inside an httpd child.
//!
//! `unsafe` is in `interp` (CPython), `os` (system calls), and where embedded mode meets httpd's
//! functions (`embedded`, `exchange::embedded`); nowhere else.

mod api;
mod embedded;
mod exchange;
mod interp;
mod log;
mod os;
mod script;
mod serve;
mod wsgi;
