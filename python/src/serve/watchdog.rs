// SPDX-License-Identifier: Apache-2.0
//! Ends the process when it does not end by itself in time: application threads that never finish,
//! exit functions that hang, a GIL that nobody gives back.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::log::{self, Level};
use crate::os;

/// When the process must be gone.
#[derive(Debug, Clone)]
pub(super) struct Watchdog(Arc<(Mutex<Limit>, Condvar)>);

#[derive(Debug, Clone)]
struct Limit {
    /// None is without limit.
    deadline: Option<Instant>,
    /// What is being waited for, for the log.
    what: &'static str,
}

impl Watchdog {
    /// A watchdog without limit.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let limit = Limit { deadline: None, what: "" };
        let watchdog = Self(Arc::new((Mutex::new(limit), Condvar::new())));
        let its = watchdog.clone();
        std::thread::Builder::new().name("wsgi-watchdog".to_owned()).spawn(move || its.watch())?;
        Ok(watchdog)
    }

    /// Sets the limit.
    pub(super) fn limit(&self, deadline: Option<Instant>, what: &'static str) {
        let (limit, changed) = &*self.0;
        *limit.lock() = Limit { deadline, what };
        changed.notify_all();
    }

    fn watch(&self) {
        let (limit, changed) = &*self.0;
        let mut limit = limit.lock();
        loop {
            match limit.deadline {
                None => changed.wait(&mut limit),
                Some(deadline) if Instant::now() >= deadline => {
                    let text = format!("process ends without {}: its time is up", limit.what);
                    log::process(Level::Info, &text);
                    os::exit_now(1);
                }
                Some(deadline) => {
                    changed.wait_until(&mut limit, deadline);
                }
            }
        }
    }
}
