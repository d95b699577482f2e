// SPDX-License-Identifier: Apache-2.0
//! `mod_wsgi.so`: what httpd loads. Configuration, mapping of requests, environ, the client side of
//! daemon processes, their supervisor, and the httpd side of embedded mode. No Python in here: that
//! is `mod_wsgi_python.abi3.so`.
#![cfg_attr(test, allow(dead_code))]

pub(crate) mod config;
#[allow(dead_code)]
pub(crate) mod httpd;
#[allow(dead_code)]
pub(crate) mod os;
