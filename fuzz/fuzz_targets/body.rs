// SPDX-License-Identifier: Apache-2.0
//! libFuzzer's entry point for the target `body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mod_wsgi_fuzz::body::run(data));
