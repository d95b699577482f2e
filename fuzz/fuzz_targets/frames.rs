// SPDX-License-Identifier: Apache-2.0
//! libFuzzer's entry point for the target `frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mod_wsgi_fuzz::frames::run(data));
