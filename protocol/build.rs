// SPDX-License-Identifier: Apache-2.0
//! Derives the build id from the protocol's own sources: two artifacts built from different
//! definitions of frames, settings or shared memory must not talk to each other.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=src");
    let mut files: Vec<PathBuf> = fs::read_dir("src")
        .map(|entries| entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect())
        .unwrap_or_default();
    files.sort();
    // FNV-1a, 64 bit: an identity, not a secret.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in &files {
        for byte in fs::read(file).unwrap_or_default() {
            hash ^= u64::from(byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=MOD_WSGI_BUILD_ID={version}-{hash:016x}");
}
