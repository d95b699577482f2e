// SPDX-License-Identifier: Apache-2.0
//! A template (`preload=on`): it loads the scripts of its set once and takes no requests; told to,
//! it forks workers, which share its memory until they write to it. It has no thread of ours but
//! the main one, so that a fork is as safe as one of the application's own single thread.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use mod_wsgi_protocol::control::{CONTROL_SIZE, Control, Reason, WORKER_DESCRIPTORS};
use mod_wsgi_protocol::region::Region;
use mod_wsgi_protocol::settings::Settings;

use super::gate;
use super::interpreters::{Interpreters, Visits};
use super::start::{self, Inheritance, LARGEST_SETTINGS, StartError};
use crate::interp::Seat;
use crate::log::{self, Level};
use crate::os::{self, Received, Side, Signal, SignalPipe, Socket};
use crate::script::{self, Occasion};

/// What `ps` shows behind the display name.
const TITLE: &[u8] = b" template";

/// What the kernel calls the process.
const NAME: &[u8] = b"wsgi-template";

/// A template.
struct Template<'a> {
    /// The main thread's seat in the main interpreter.
    seat: &'a Seat,
    /// Signals, also for workers.
    signals: &'a SignalPipe,
    /// The main interpreter, and no other: CPython does not fork them.
    interpreters: &'a Interpreters,
    /// To and from the supervisor.
    control: Socket,
    /// Shared memory of the process group.
    region: Region<'static>,
    /// What the configuration says.
    settings: Settings,
    /// What the process was called before.
    name: Vec<u8>,
    /// Scripts that were loaded, and their modification times before.
    loaded: Vec<(Vec<u8>, i64)>,
    /// Modification time of a changed script that does not load, so that what is loaded goes on
    /// (`reload=keep`).
    kept: Option<i64>,
}

/// What the supervisor said.
enum Told {
    /// Nothing that means anything to a template.
    Nothing,
    /// Leave.
    Leave,
    /// Its scripts do not load, and there is nobody else (`reload=keep`).
    Serve,
    /// A script that was changed at this time does not load: what is loaded goes on.
    Keep(i64),
    /// These are the settings from now on: load what they name.
    Load(Box<Settings>),
    /// Fork a worker with these descriptors.
    Fork([OwnedFd; WORKER_DESCRIPTORS], Option<OwnedFd>),
}

/// Loads what there is to load, and forks workers until the process is to leave. Returns in each
/// worker, with what it is to serve with, and in the end with nothing.
pub(super) fn run(
    seat: &Seat,
    signals: &SignalPipe,
    interpreters: &Interpreters,
    inheritance: Inheritance,
) -> Result<Option<Inheritance>, StartError> {
    let Inheritance { control, region, settings, .. } = inheritance;
    let name = os::process_name();
    let mut template = Template {
        seat,
        signals,
        interpreters,
        control,
        region,
        settings,
        name,
        loaded: Vec::new(),
        kept: None,
    };
    template.show();
    template.load();
    loop {
        let control = Some(template.control.descriptor());
        let ready = os::poll_readable([control, Some(signals.descriptor())], None);
        let told = match ready {
            Ok([told, came]) => {
                if came && template.act_on_signals() {
                    return Ok(None);
                }
                if told { template.hear() } else { Told::Nothing }
            }
            // The signal has left a byte for the next turn.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Told::Nothing,
            Err(_) => Told::Leave,
        };
        match told {
            Told::Nothing => {}
            Told::Leave => return Ok(None),
            Told::Serve => template.tell(Control::Ready, Reason::Supervisor),
            Told::Keep(modified) => {
                script::keep(modified);
                template.kept = Some(modified);
            }
            Told::Load(settings) => {
                template.settings = *settings;
                template.load();
            }
            Told::Fork(descriptors, metrics) => {
                if let Some(worker) = template.fork(descriptors, metrics)? {
                    return Ok(Some(worker));
                }
            }
        }
    }
}

impl Template<'_> {
    fn show(&self) {
        if let Some(name) = &self.settings.display_name {
            os::set_title(&[name, TITLE].concat());
        }
        os::set_process_name(NAME);
    }

    /// Loads the scripts of the settings into the main interpreter, and says that it is ready.
    fn load(&mut self) {
        let settings = &mut self.settings;
        if settings.interpreters {
            // The others are loaded by each worker, in sub-interpreters of its own.
            settings.preload.retain(|preload| preload.application_group.is_empty());
        }
        let mut remembered = gate::remembered(&self.region, settings);
        remembered.retain(|script| !settings.interpreters || script.application_group.is_empty());
        let modified = |path: &[u8]| os::file_modification(path).unwrap_or(0);
        self.loaded = settings
            .preload
            .iter()
            .chain(&remembered)
            .map(|preload| (preload.script.clone(), modified(&preload.script)))
            .collect();
        if settings.watches_modules {
            script::watch_modules();
        }
        start::adopt_group(self.seat, settings);
        let keeps = settings.keeps_old_code;
        let mut is_loaded = true;
        if !self.loaded.is_empty() {
            let mut visits = Visits::new(self.interpreters, 0);
            let occasion = if keeps { Occasion::Start } else { Occasion::Ahead };
            for (scripts, occasion) in
                [(&settings.preload, Occasion::Start), (&remembered, occasion)]
            {
                is_loaded &=
                    start::preload(&mut visits, self.interpreters, settings, scripts, occasion);
            }
            visits.leave();
        }
        self.prepare();
        if is_loaded || !keeps {
            self.tell(Control::Ready, Reason::Supervisor);
        } else {
            self.tell(Control::NotLoaded, Reason::NotLoaded);
        }
    }

    /// What forked processes will share is put aside; tells what they will not have.
    fn prepare(&self) {
        let threads = self.seat.attach(|py| {
            let constants = py.interpreter().constants()?;
            let prepared = constants.support(py, c"prepare_fork", []);
            prepared.and_then(|names| names.to_text(py)).map_or_else(
                |_| {
                    log::process(Level::Warning, &start::take_traceback(py));
                    None
                },
                Some,
            )
        });
        os::flush_standard_io();
        let names = threads.filter(|names| !names.is_empty());
        // Python does not know those of extension modules.
        let known = names.as_ref().map_or(0, |names| names.split(", ").count());
        let count = os::thread_count().saturating_sub(1).max(known);
        if count > 0 {
            let names = names.map_or_else(String::new, |names| format!(" ({names})"));
            let group = String::from_utf8_lossy(&self.settings.process_group);
            let text = format!(
                "WSGI0370: process group '{group}': threads were started while the application was loaded, \
                 {count} of them{names}: with preload=on they are in the template alone and not in the \
                 processes that are forked from it, start them with the first request or in \
                 os.register_at_fork(after_in_child=...)"
            );
            log::process(Level::Warning, &text);
        }
    }

    /// The modification time of a script that is not what was loaded, or something in its place when
    /// a module is not.
    fn change(&self) -> Option<i64> {
        let modified = |path: &[u8]| os::file_modification(path).unwrap_or(0);
        let changed = self
            .loaded
            .iter()
            .map(|(path, before)| (modified(path), *before))
            .find(|(now, before)| now != before && Some(*now) != self.kept);
        changed
            .map(|(now, _)| now)
            .or_else(|| self.seat.attach(script::modules_changed).then_some(script::NO_TIME))
    }

    fn tell(&self, control: Control, reason: Reason) {
        self.send(&control.encode(reason as u32));
    }

    fn send(&self, message: &[u8]) {
        // A supervisor that is gone shows itself in the next turn.
        let _ = self.control.send(&[IoSlice::new(message)], None, false);
    }

    fn hear(&self) -> Told {
        let mut message = vec![0; LARGEST_SETTINGS];
        let (count, mut descriptors) =
            match self.control.receive_with::<{ WORKER_DESCRIPTORS + 1 }>(&mut message) {
                Ok((Received::Bytes(count), descriptors)) => (count, descriptors),
                Ok((Received::End, _)) | Err(_) => return Told::Leave,
            };
        let message = message.get(..count).unwrap_or_default();
        if count != CONTROL_SIZE {
            return match start::decode_settings(message) {
                Ok(settings) => Told::Load(Box::new(settings)),
                Err(error) => {
                    log::process(Level::Critical, &error.to_string());
                    Told::Leave
                }
            };
        }
        match Control::decode(message) {
            Ok((Control::Drain | Control::Stop, _)) => Told::Leave,
            Ok((Control::Serve, _)) => Told::Serve,
            Ok((Control::Keep, _)) => Told::Keep(Control::detail(message)),
            Ok((Control::Fork, _)) => {
                let wanted = WORKER_DESCRIPTORS + usize::from(self.settings.server_metrics);
                let is_complete = descriptors.len() == wanted;
                let metrics = is_complete.then(|| descriptors.drain(WORKER_DESCRIPTORS..).next());
                match descriptors.try_into() {
                    Ok(descriptors) if is_complete => Told::Fork(descriptors, metrics.flatten()),
                    _ => {
                        // The kernel drops what this process has no room for.
                        self.send(&Control::ForkFailed.encode(os::NO_DESCRIPTOR));
                        Told::Nothing
                    }
                }
            }
            Ok(_) | Err(_) => Told::Nothing,
        }
    }

    /// Whether one of the signals that came says that the process is to leave.
    fn act_on_signals(&self) -> bool {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::Stop => {
                    self.tell(Control::Leaving, Reason::ShutdownSignal);
                    return true;
                }
                Signal::Graceful => self.tell(Control::Replace, Reason::GracefulSignal),
                Signal::CpuTime => self.tell(Control::Replace, Reason::CpuTimeLimit),
                Signal::Python => start::run_signal_handlers(self.seat),
                // Those are for processes that serve.
                Signal::Published(_) => {}
            }
        }
        false
    }

    /// Forks a worker; the result is what it serves with, in the worker.
    fn fork(
        &self,
        descriptors: [OwnedFd; WORKER_DESCRIPTORS],
        metrics: Option<OwnedFd>,
    ) -> Result<Option<Inheritance>, StartError> {
        if let Some(change) = self.change() {
            // Of no use to anybody: the first request would replace it.
            self.send(&Control::Replace.encode_with(Reason::ScriptChanged as u32, change));
            return Ok(None);
        }
        let [control, listener, output, error] = descriptors;
        let outputs = [output.as_fd(), error.as_fd()];
        match self.seat.attach(|py| py.fork_worker(self.signals, outputs)) {
            Ok(Side::Worker) => {
                self.become_worker(Socket::new(control), listener, metrics).map(Some)
            }
            Ok(Side::Template(birth)) => {
                match birth.wait() {
                    Ok(worker) => self.send(&Control::Forked.encode(worker)),
                    Err(error) => self.fork_failed(&error),
                }
                Ok(None)
            }
            Err(error) => {
                self.fork_failed(&error);
                Ok(None)
            }
        }
    }

    fn fork_failed(&self, error: &io::Error) {
        let number = error.raw_os_error().and_then(|number| u32::try_from(number).ok());
        self.send(&Control::ForkFailed.encode(number.unwrap_or(0)));
    }

    fn become_worker(
        &self,
        control: Socket,
        listener: OwnedFd,
        metrics: Option<OwnedFd>,
    ) -> Result<Inheritance, StartError> {
        os::set_process_name(&self.name);
        let mut settings = start::receive_settings(&control)?;
        // What the template could not load is loaded again by a request.
        let has_subs = settings.interpreters;
        settings.preload.retain(|preload| has_subs && !preload.application_group.is_empty());
        if let Some(name) = &settings.display_name {
            os::set_title(name);
        }
        self.seat.attach(|py| {
            let Some(constants) = py.interpreter().constants() else { return };
            if constants.support(py, c"after_fork", []).is_err() {
                log::process(Level::Warning, &start::take_traceback(py));
            }
        });
        start::adopt_group(self.seat, &settings);
        let listener = Some(start::listener(listener)?);
        let metrics = metrics.map(Socket::new);
        Ok(Inheritance { control, listener, region: self.region, metrics, settings })
    }
}
