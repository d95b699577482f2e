// SPDX-License-Identifier: Apache-2.0
//! Random numbers of the kernel.

/// 128 random bits, as 32 digits.
pub(crate) fn hexadecimal() -> String {
    let mut bytes = [0_u8; 16];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: getrandom writes at most `len` bytes into the slice of that length.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            // Only a signal can interrupt so short a read once the kernel is up.
            Err(_) => continue,
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
