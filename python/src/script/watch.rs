// SPDX-License-Identifier: Apache-2.0
//! Files of imported modules (`reload-on=modules`): looked at when a request comes, as often as that
//! costs no more than a tenth of the time.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use once_cell::sync::Lazy;
use parking_lot::Mutex;

use crate::interp::{Attached, Exception};
use crate::log::{self, Level};

/// Whether modules are watched in this process.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// How often changed code was given up, so that what is loaded goes on.
static KEPT: AtomicI64 = AtomicI64::new(0);

/// Not looked at again before this.
static NEXT: Lazy<Mutex<Instant>> = Lazy::new(|| Mutex::new(Instant::now()));

/// A look takes one part of the time in so many.
const SHARE: u32 = 10;

/// Watches modules from now on.
pub(crate) fn start() {
    IS_ON.store(true, Ordering::Release);
}

/// The changes that were seen are not loaded: only further ones count.
pub(super) fn keep() {
    KEPT.fetch_add(1, Ordering::AcqRel);
}

/// Takes note of the modules that a script has imported.
pub(super) fn note(py: Attached<'_>) {
    if IS_ON.load(Ordering::Acquire) {
        look(py);
    }
}

/// Whether the file of a module is another one than when it was first seen, where that counts.
pub(crate) fn modules_changed(py: Attached<'_>) -> bool {
    IS_ON.load(Ordering::Acquire) && look(py)
}

/// As [`modules_changed`], for a request, and not at each of them.
pub(super) fn is_changed(py: Attached<'_>) -> bool {
    if !IS_ON.load(Ordering::Acquire) {
        return false;
    }
    let now = Instant::now();
    if NEXT.try_lock().is_none_or(|next| now < *next) {
        return false;
    }
    let changed = look(py);
    let end = Instant::now();
    *NEXT.lock() = end + (end - now) * (SHARE - 1);
    changed
}

fn look(py: Attached<'_>) -> bool {
    let Some(constants) = py.interpreter().constants() else { return false };
    let answer = py
        .integer(KEPT.load(Ordering::Acquire))
        .and_then(|kept| constants.support(py, c"modules_changed", [kept.borrow()]))
        .and_then(|answer| answer.is_true(py));
    answer.unwrap_or_else(|_| {
        if let Some(exception) = Exception::take(py) {
            log::process(Level::Warning, &exception.format(py));
        }
        false
    })
}
