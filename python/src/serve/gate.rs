// SPDX-License-Identifier: Apache-2.0
//! What a process does between the set-up of its interpreter and its first request: it stands by
//! until it is told to begin, loads the scripts that are known, and asks whether it is wanted where
//! they do not load and the old code could go on.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::control::{CONTROL_SIZE, Control, Reason, set_name};
use mod_wsgi_protocol::region::Region;
use mod_wsgi_protocol::settings::{Preload, Settings};

use super::interpreters::Visits;
use super::shared::Shared;
use super::start;
use crate::interp::Seat;
use crate::os::{self, Received, Signal, SignalPipe};
use crate::script::{self, Occasion};

/// Prepares the process for requests; whether it shall take any.
pub(super) fn pass(shared: &Shared, signals: &SignalPipe, seat: &Seat) -> bool {
    if shared.settings.stands_by {
        let before = start::path_files(seat);
        if !is_told(shared, signals, seat, Control::Begin) {
            return false;
        }
        if start::path_files(seat) != before {
            // Packages were installed meanwhile, and this process would not see all of it.
            shared.tell(Control::Leaving, Reason::ScriptChanged);
            return false;
        }
    }
    if shared.settings.watches_modules {
        script::watch_modules();
    }
    let keeps = shared.settings.keeps_old_code;
    let occasion = if keeps { Occasion::Start } else { Occasion::Ahead };
    let remembered = remembered(&shared.region, &shared.settings);
    let loaded = load(shared, &shared.settings.preload, Occasion::Start)
        & load(shared, &remembered, occasion);
    if loaded || !keeps {
        return true;
    }
    shared.tell(Control::NotLoaded, Reason::NotLoaded);
    is_told(shared, signals, seat, Control::Serve)
}

fn load(shared: &Shared, scripts: &[Preload], occasion: Occasion) -> bool {
    if scripts.is_empty() {
        return true;
    }
    let mut visits = Visits::new(&shared.interpreters, 0);
    let settings = &shared.settings;
    let loaded = start::preload(&mut visits, &shared.interpreters, settings, scripts, occasion);
    visits.leave();
    loaded
}

/// The scripts that processes before this one needed, besides those that the configuration names.
pub(super) fn remembered(region: &Region<'_>, settings: &Settings) -> Vec<Preload> {
    region.forget_scripts(settings.set, |script| os::file_modification(script).is_err());
    let scripts = region.remembered_scripts(settings.set).into_iter();
    let scripts = scripts.map(|(script, application_group)| Preload { script, application_group });
    // A process that the set had for another application group may have been late.
    let is_ours = |script: &Preload| {
        let name = Some(set_name(&script.application_group));
        settings.interpreters
            || settings.application_group.is_none()
            || settings.application_group == name
    };
    scripts.filter(|script| is_ours(script) && !settings.preload.contains(script)).collect()
}

/// Waits for a word of the supervisor; whether it is this one. Anything else, a signal that says that
/// it is to leave among it, is the end of a process that does not serve yet.
fn is_told(shared: &Shared, signals: &SignalPipe, seat: &Seat, word: Control) -> bool {
    loop {
        let waits = [Some(shared.control.descriptor()), Some(signals.descriptor())];
        match os::poll_readable(waits, None) {
            Ok([_, true]) => {
                while let Some(signal) = signals.next() {
                    match signal {
                        Signal::Stop | Signal::Graceful | Signal::CpuTime => return false,
                        // Scripts that did not load may have registered handlers.
                        Signal::Python => start::run_signal_handlers(seat),
                        // Those are for processes that serve.
                        Signal::Published(_) => {}
                    }
                }
                continue;
            }
            Ok([true, false]) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok([false, false]) => continue,
            Err(_) => return false,
        }
        let mut message = [0; CONTROL_SIZE + 1];
        return match shared.control.receive(&mut message) {
            Ok(Received::Bytes(count)) => {
                let message = message.get(..count).unwrap_or_default();
                Control::decode(message).is_ok_and(|(said, _)| said == word)
            }
            Ok(Received::End) | Err(_) => false,
        };
    }
}

/// Remembers each script that a request needs, for the processes that come after this one.
pub(super) fn remember_scripts(shared: &std::sync::Arc<Shared>) {
    let shared = std::sync::Arc::clone(shared);
    script::when_loaded(Box::new(move |path, application_group| {
        shared.region.remember_script(shared.settings.set, path, application_group);
    }));
}
