// SPDX-License-Identifier: Apache-2.0
//! The guard that every entry point from C goes through: a panic is logged with its place and
//! becomes the failure value of the entry point. It never crosses into C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::log;

/// Runs an entry point. `name` is for the log, `failure` what C is told after a panic.
pub(crate) fn guard<T>(name: &str, failure: T, entry: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or_else(|payload| {
        log::process(log::Level::Critical, &format!("{name} failed: {}", reason(&*payload)));
        failure
    })
}

/// What a panic said.
pub(crate) fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a message".to_owned())
}

/// Makes panics write one line with their place to the log instead of stderr's default text.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        log::process(
            log::Level::Critical,
            &format!("internal error{place}: {}", reason(info.payload())),
        );
    }));
}
