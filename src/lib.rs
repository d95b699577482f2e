// SPDX-License-Identifier: Apache-2.0
//! `mod_wsgi.so`: what httpd loads. Configuration, mapping of requests, environ, the client side of
//! daemon processes, their supervisor, and the httpd side of embedded mode. No Python in here: that
//! is `mod_wsgi_python.abi3.so`.
// Unit tests are linked without httpd: what only its hooks reach is not used there.
#![cfg_attr(test, allow(dead_code))]

pub(crate) mod access;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod embedded;
pub(crate) mod environ;
pub(crate) mod handler;
pub(crate) mod httpd;
pub(crate) mod library;
pub(crate) mod mapping;
#[cfg(not(test))]
pub mod module;
pub(crate) mod os;
pub(crate) mod reading;
pub(crate) mod relay;
pub(crate) mod runtime;
pub(crate) mod supervisor;
pub(crate) mod work;
