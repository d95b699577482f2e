// SPDX-License-Identifier: Apache-2.0
//! The start of a daemon process: what it inherited, what its settings say, and the set-up of its
//! main interpreter.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mod_wsgi_protocol::BUILD_ID;
use mod_wsgi_protocol::control::inherited;
use mod_wsgi_protocol::region::Region;
use mod_wsgi_protocol::settings::{Preload, Settings};
use mod_wsgi_protocol::wire::DecodeError;

use super::interpreters::{Interpreters, Visits};
use crate::api;
use crate::interp::{Attached, Exception, Seat, clear_exception};
use crate::log::{self, Level};
use crate::os::{self, Listener, Received, SharedMemory, Socket};
use crate::script::{self, Occasion};
use crate::wsgi::{ScriptContext, leave_if_forked};

/// Why a daemon process can not start.
#[derive(Debug)]
pub(super) enum StartError {
    /// An inherited descriptor is not there or is not what it should be.
    Inherited(&'static str, io::Error),
    /// The supervisor is gone.
    NoSupervisor,
    /// The two libraries are of different builds.
    Stranger(String),
    /// The settings have no meaning.
    Settings(DecodeError),
    /// The shared memory is smaller than the settings say.
    RegionTooSmall,
    /// Python code of the set-up failed; with traceback.
    SetUp(String),
    /// The system refused something.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inherited(what, error) => {
                write!(f, "the {what} that mod_wsgi passes to a daemon process is missing: {error}")
            }
            Self::NoSupervisor => f.write_str("the supervisor of this daemon process is gone"),
            Self::Stranger(theirs) => write!(
                f,
                "mod_wsgi.so (build {theirs}) and mod_wsgi_python.abi3.so (build {BUILD_ID}) do not \
                 belong together: install both from one build"
            ),
            Self::Settings(error) => write!(f, "settings of a daemon process: {error}"),
            Self::RegionTooSmall => {
                f.write_str("the shared memory of the process group is too small")
            }
            Self::SetUp(traceback) => {
                write!(f, "WSGI0035: the main interpreter can not be set up\n{traceback}")
            }
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// What a daemon process inherited, or a worker was given by its template.
#[derive(Debug)]
pub(super) struct Inheritance {
    /// To and from the supervisor.
    pub(super) control: Socket,
    /// For connections of httpd children; a template has none.
    pub(super) listener: Option<Listener>,
    /// Shared memory of the process group.
    pub(super) region: Region<'static>,
    /// For questions about httpd's scoreboard, where the configuration allows them.
    pub(super) metrics: Option<Socket>,
    /// What the configuration says.
    pub(super) settings: Settings,
}

/// Settings fit into one message; the kernel's own limit for one is below this.
pub(super) const LARGEST_SETTINGS: usize = 1 << 20;

/// Takes over the inherited descriptors and reads the settings.
pub(super) fn inherit() -> Result<Inheritance, StartError> {
    let take = |name, number| os::inherit(number).map_err(|e| StartError::Inherited(name, e));
    let control = Socket::new(take("control socket", inherited::CONTROL)?);
    let memory = take("shared memory", inherited::REGION)?;
    let mut settings = receive_settings(&control)?;
    if settings.threads == 0 {
        // A service script has the signals to itself.
        settings.restrict_signal = false;
        settings.layers.iter_mut().for_each(|layer| layer.restrict_signal = None);
    }
    let words = SharedMemory::map(memory.as_fd())
        .map_err(|error| StartError::Inherited("shared memory", error))?
        .words();
    let region = Region::new(words, settings.geometry).ok_or(StartError::RegionTooSmall)?;
    let listener = if settings.is_template {
        None
    } else {
        Some(listener(take("listening socket", inherited::LISTENER)?)?)
    };
    let metrics = if settings.server_metrics && !settings.is_template {
        Some(Socket::new(take("socket for httpd's scoreboard", inherited::METRICS)?))
    } else {
        None
    };
    Ok(Inheritance { control, listener, region, metrics, settings })
}

/// A listening socket, made non-blocking.
pub(super) fn listener(descriptor: OwnedFd) -> Result<Listener, StartError> {
    Listener::new(descriptor).map_err(|error| StartError::Inherited("listening socket", error))
}

/// Reads the settings, which are the first message.
pub(super) fn receive_settings(control: &Socket) -> Result<Settings, StartError> {
    let mut message = vec![0; LARGEST_SETTINGS];
    match control.receive(&mut message) {
        Ok(Received::Bytes(count)) => decode_settings(message.get(..count).unwrap_or_default()),
        Ok(Received::End) => Err(StartError::NoSupervisor),
        Err(error) => Err(StartError::Inherited("control socket", error)),
    }
}

/// The settings in a message of a supervisor that belongs to this library.
pub(super) fn decode_settings(message: &[u8]) -> Result<Settings, StartError> {
    let theirs = Settings::decode_build_id(message).map_err(StartError::Settings)?;
    if theirs != BUILD_ID.as_bytes() {
        return Err(StartError::Stranger(String::from_utf8_lossy(theirs).into_owned()));
    }
    Settings::decode(message).map_err(StartError::Settings)
}

/// Makes the main interpreter ready, and says so.
/// Signals that Python handles are written to `wake`, if there is one.
pub(super) fn set_up(
    seat: &Seat,
    settings: &Settings,
    wake: Option<i32>,
) -> Result<(), StartError> {
    let group = String::from_utf8_lossy(&settings.process_group).into_owned();
    if let Some(locale) = &settings.locale
        && !os::set_locale(locale)
    {
        let locale = String::from_utf8_lossy(locale);
        let text = format!(
            "WSGI0079: process group '{group}': the system has no locale '{locale}' (see locale -a)"
        );
        log::process(Level::Warning, &text);
    }
    if let Some(title) = &settings.display_name {
        os::set_title(title);
    }
    seat.attach(|py| {
        api::set_up(py, settings, true).map_err(|_| StartError::SetUp(take_traceback(py)))?;
        describe(py, &group, wake);
        Ok(())
    })
}

/// The application group is known: what is said for it alone holds from now on.
pub(super) fn adopt_group(seat: &Seat, settings: &Settings) {
    let Some(group) = settings.application_group.as_deref().filter(|_| !settings.interpreters)
    else {
        return;
    };
    seat.attach(|py| {
        if let Some(constants) = py.interpreter().constants() {
            constants.adopt_group(py, group);
        }
    });
}

/// Runs what the application has registered for signals.
pub(super) fn run_signal_handlers(seat: &Seat) {
    seat.attach(|py| {
        if py.check_signals().is_err() {
            let text = take_traceback(py);
            log::process(Level::Error, &format!("a Python signal handler failed\n{text}"));
        }
    });
    leave_if_forked();
}

/// Loads these scripts, each in the interpreter of its group; whether all of them could be.
pub(crate) fn preload(
    visits: &mut Visits,
    interpreters: &Interpreters,
    settings: &Settings,
    scripts: &[Preload],
    occasion: Occasion,
) -> bool {
    let is_daemon = !settings.process_group.is_empty();
    let mut all = true;
    for preload in scripts {
        let group = &preload.application_group;
        let Ok(visit) = visits.of(interpreters, settings, is_daemon, group) else {
            all = false;
            continue;
        };
        let context = context(preload, settings);
        all &= visit.seat().attach(|py| script::preload(py, &context, occasion));
        leave_if_forked();
    }
    all
}

/// Names and times of the files in the folders of `sys.path` that say what else is on it.
pub(super) fn path_files(seat: &Seat) -> String {
    seat.attach(|py| {
        let constants = py.interpreter().constants()?;
        let files = constants.support(py, c"path_files", []).and_then(|files| files.to_text(py));
        files.map_err(|_| clear_exception(py)).ok()
    })
    .unwrap_or_default()
}

fn context<'a>(preload: &'a Preload, settings: &'a Settings) -> ScriptContext<'a> {
    ScriptContext {
        script: &preload.script,
        process_group: &settings.process_group,
        application_group: &preload.application_group,
        interpreters: settings.interpreters,
    }
}

/// Runs service scripts one after the other, and waits for the threads that they have left. `seat` is
/// that of the main thread, whose signals CPython handles while it is attached with this one only.
pub(super) fn run_services(seat: &Seat, settings: &Settings) {
    for preload in &settings.preload {
        seat.attach(|py| script::run_service(py, &context(preload, settings)));
    }
    seat.attach(api::wait_for_threads);
}

/// The traceback of the exception that is set.
pub(crate) fn take_traceback(py: Attached<'_>) -> String {
    Exception::take(py).map_or_else(String::new, |exception| exception.format(py))
}

fn describe(py: Attached<'_>, group: &str, wake: Option<i32>) {
    let Some(constants) = py.interpreter().constants() else { return };
    let described = constants.support(py, c"describe", []).and_then(|text| text.to_text(py));
    match described {
        Ok(text) => log::process(Level::Info, &format!("process group '{group}': {text}")),
        Err(_) => clear_exception(py),
    }
    let set_up = constants.support(py, c"enable_faulthandler", []).and_then(|_| match wake {
        Some(wake) => {
            constants.support(py, c"wake_on_signals", [py.integer(wake.into())?.borrow()])
        }
        None => constants.support(py, c"handle_signals_of_service", []),
    });
    if set_up.is_err() {
        log::process(Level::Warning, &take_traceback(py));
    }
}
