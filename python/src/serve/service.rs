// SPDX-License-Identifier: Apache-2.0
//! A process without worker threads (`threads=0`): it takes no requests, and its main thread runs the
//! scripts that WSGIImportScript names, like a program of their own. It is over when they are.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use mod_wsgi_protocol::control::{Control, Reason};
use parking_lot::Mutex;

use super::control::{Happening, read_control};
use super::daemon::{limit, time_to_end};
use super::interpreters::Interpreters;
use super::monitor::Monitor;
use super::shared::Shared;
use super::start::{self, Inheritance, StartError};
use crate::interp::{Outcome, Seat};
use crate::os::{self, Nudge};
use crate::scoreboard;

/// Runs the scripts on the main thread; `seat` is its seat.
pub(super) fn run(seat: &Seat, inheritance: Inheritance) -> Result<Outcome, StartError> {
    let system = |what| move |error| StartError::System(what, error);
    let Inheritance { control, listener, region, metrics, settings } = inheritance;
    metrics.into_iter().for_each(scoreboard::ask_supervisor);
    // Nobody would take what comes.
    drop(listener);
    start::set_up(seat, &settings, None)?;
    let interpreters = Interpreters::new(seat.interpreter(), false);
    let (shared, _) = Shared::new(settings, region, control, interpreters)
        .map_err(system("threads can not be woken"))?;
    let shared = Arc::new(shared);
    let monitor = Monitor::start(&shared).map_err(system("WSGI0068: no thread for timers"))?;
    let is_over = Arc::new(Mutex::new(false));
    let its = (Arc::clone(&shared), monitor.clone(), Nudge::of_this_thread(), Arc::clone(&is_over));
    std::thread::Builder::new()
        .name("wsgi-control".to_owned())
        .spawn(move || listen(&its.0, &its.1, its.2.as_ref(), &its.3))
        .map_err(system("no thread for the supervisor"))?;
    shared.set_ready();
    start::run_services(seat, &shared.settings);
    if os::is_forked_child() {
        // A process that the script has forked ends as one of any program does; its parent goes on.
        return Ok(Outcome::Finish);
    }
    // Who finalises is not told to end: Python has taken its handlers away by then.
    *is_over.lock() = true;
    shared.tell(Control::Leaving, Reason::ServiceEnded);
    monitor.limit(limit(time_to_end(&shared.settings)), "the end of Python's exit functions");
    shared.attendants.stop();
    Ok(Outcome::Finish)
}

/// Pause between two nudges.
const NUDGE_PAUSE: Duration = Duration::from_millis(200);

/// Does what the supervisor says: the script is told as any program is, and it is seen to that its
/// main thread notices. That thread ends with the process.
fn listen(shared: &Shared, monitor: &Monitor, nudge: Option<&Nudge>, is_over: &Mutex<bool>) {
    let mut pause = None;
    loop {
        match os::poll_readable([Some(shared.control.descriptor())], pause) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok([false]) => {
                if let Some(nudge) = nudge {
                    nudge.give();
                }
                continue;
            }
            Ok([true]) | Err(_) => {}
        }
        let Some(happening) = read_control(shared) else { continue };
        let seconds = match happening {
            Happening::Orphaned => time_to_end(&shared.settings),
            _ => shared.settings.shutdown_timeout,
        };
        monitor.limit(limit(seconds), "the end of its service script");
        let is_over = is_over.lock();
        if *is_over {
            return;
        }
        os::terminate_myself();
        drop(is_over);
        pause = Some(NUDGE_PAUSE);
        if happening == Happening::Orphaned {
            // The socket stays readable.
            while let Some(nudge) = nudge {
                std::thread::sleep(NUDGE_PAUSE);
                nudge.give();
            }
            return;
        }
    }
}
