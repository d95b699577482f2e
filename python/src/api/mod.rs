// SPDX-License-Identifier: Apache-2.0
//! What an interpreter is given before the first request: the modules `mod_wsgi` and `apache`,
//! streams, `sys.path`, and the classes and names that every request uses. What needs no speed is
//! Python source beside this file.
#![forbid(unsafe_code)]

mod events;
mod functions;
mod settings;

use std::sync::atomic::{AtomicBool, Ordering};

use mod_wsgi_protocol::settings::Settings;
use parking_lot::Mutex;

use crate::interp::{
    Attached, Borrowed, Exception, Kept, NativeClass, Object, PyResult, Raised, clear_exception,
    register_module,
};
use crate::log::{self, Level};
use crate::wsgi::{Adapter, Input, Restricted, Ssl, Stream, Template, text_wrapper};

pub(crate) use events::{
    begin_request, forget_request, forget_request_data, process_signal, process_stopping,
    register_request, request_exception, request_finished, request_started, response_started,
};
pub(crate) use functions::Api;
pub(crate) use settings::wants_own_gil;

/// What is made once in an interpreter.
pub(crate) struct Constants {
    /// Classes with a Rust value.
    pub(crate) classes: Classes,
    /// Names that are looked up for each request.
    pub(crate) names: Names,
    /// `io.TextIOWrapper`.
    pub(crate) text_io_wrapper: Kept,
    /// `sys.modules`.
    pub(crate) modules: Kept,
    /// `mod_wsgi.FileWrapper`.
    pub(crate) file_wrapper: Kept,
    /// `mod_wsgi.ClientDisconnected`.
    pub(crate) client_disconnected: Kept,
    /// `mod_wsgi.RequestTimeout`.
    pub(crate) request_timeout: Kept,
    /// What environs have in common.
    pub(crate) template: Template,
    /// Namespace of the module `mod_wsgi`.
    pub(crate) module: Kept,
    /// `mod_wsgi.event_callbacks`.
    pub(crate) event_callbacks: Kept,
    /// Functions of our Python source, by name.
    support: Kept,
    /// Whether the application group is known, and what is said for it alone holds.
    is_group_known: AtomicBool,
    /// Held by the thread whose request decides which group that is.
    adopting: Mutex<()>,
}

/// Classes with a Rust value.
pub(crate) struct Classes {
    /// `mod_wsgi.Adapter`.
    pub(crate) adapter: NativeClass<Adapter>,
    /// `mod_wsgi.Input`.
    pub(crate) input: NativeClass<Input>,
    /// `mod_wsgi.Log`.
    pub(crate) stream: NativeClass<Stream>,
    /// `mod_wsgi.Restricted`.
    pub(crate) restricted: NativeClass<Restricted>,
    /// `mod_wsgi.Ssl`.
    pub(crate) ssl: NativeClass<Ssl>,
    /// Functions of the module.
    pub(crate) api: NativeClass<Api>,
}

/// Names that are looked up for each request.
pub(crate) struct Names {
    pub(crate) start_response: Kept,
    pub(crate) write: Kept,
    pub(crate) close: Kept,
    pub(crate) mtime: Kept,
    pub(crate) reload_required: Kept,
    pub(crate) active_requests: Kept,
    pub(crate) request_id: Kept,
    pub(crate) utf8: Kept,
    pub(crate) replace: Kept,
}

impl Names {
    fn new(py: Attached<'_>) -> PyResult<Self> {
        let name = |name| py.interned(name).map(|name| name.keep(py));
        Ok(Self {
            start_response: name(c"start_response")?,
            write: name(c"write")?,
            close: name(c"close")?,
            mtime: name(c"__mtime__")?,
            reload_required: name(c"reload_required")?,
            active_requests: name(c"active_requests")?,
            request_id: name(c"mod_wsgi.request_id")?,
            utf8: name(c"utf-8")?,
            replace: name(c"replace")?,
        })
    }
}

const MODULE_SOURCE: &std::ffi::CStr = match std::ffi::CStr::from_bytes_with_nul(
    concat!(include_str!("mod_wsgi.py"), "\0").as_bytes(),
) {
    Ok(source) => source,
    Err(_) => c"",
};

const SUPPORT_SOURCE: &std::ffi::CStr =
    match std::ffi::CStr::from_bytes_with_nul(concat!(include_str!("support.py"), "\0").as_bytes())
    {
        Ok(source) => source,
        Err(_) => c"",
    };

const METRICS_SOURCE: &std::ffi::CStr =
    match std::ffi::CStr::from_bytes_with_nul(concat!(include_str!("metrics.py"), "\0").as_bytes())
    {
        Ok(source) => source,
        Err(_) => c"",
    };

impl Constants {
    /// The name of the module of the script at `path`.
    pub(crate) fn module_name<'py>(&self, py: Attached<'py>, path: &[u8]) -> PyResult<Object<'py>> {
        self.support(py, c"module_name", [py.bytes(path)?.borrow()])
    }

    /// Says which application group this process serves, where the first request is what decides.
    pub(crate) fn adopt_group(&self, py: Attached<'_>, group: &[u8]) {
        if !self.is_group_known.load(Ordering::Acquire) {
            self.adopt_first_group(py, group);
        }
    }

    #[cold]
    fn adopt_first_group(&self, py: Attached<'_>, group: &[u8]) {
        // Others wait, without the GIL, for what holds for the group.
        let _adopting = loop {
            if let Some(adopting) = self.adopting.try_lock() {
                break adopting;
            }
            py.detach(|| drop(self.adopting.lock()));
        };
        if self.is_group_known.load(Ordering::Acquire) {
            return;
        }
        let adopted = py.latin1(group).and_then(|group| {
            self.module.get(py).set_entry_named(py, c"application_group", &group)?;
            self.support(py, c"adopt_group", [group.borrow()])
        });
        if adopted.is_err()
            && let Some(exception) = Exception::take(py)
        {
            let group = String::from_utf8_lossy(group);
            let traceback = exception.format(py);
            let text = format!(
                "WSGI0188: options for application group '{group}' can not be set\n{traceback}"
            );
            log::process(Level::Error, &text);
        }
        self.is_group_known.store(true, Ordering::Release);
    }

    /// Calls a function of our Python source.
    pub(crate) fn support<'py, const N: usize>(
        &self,
        py: Attached<'py>,
        name: &std::ffi::CStr,
        arguments: [Borrowed<'_, 'py>; N],
    ) -> PyResult<Object<'py>> {
        let function = self.support.get(py).entry_named(py, name)?;
        match function {
            Some(function) => function.call(py, arguments),
            None => Err(py.raise(crate::interp::Class::Runtime, "support function is missing")),
        }
    }
}

/// Makes an interpreter ready for requests; `is_daemon` says which mode this is.
pub(crate) fn set_up(py: Attached<'_>, settings: &Settings, is_daemon: bool) -> PyResult<()> {
    log::set_process_level(settings.log_level);
    let classes = Classes {
        adapter: NativeClass::new(py)?,
        input: NativeClass::new(py)?,
        stream: NativeClass::new(py)?,
        restricted: NativeClass::new(py)?,
        ssl: NativeClass::new(py)?,
        api: NativeClass::new(py)?,
    };
    let functions = classes.api.instance(py, Api)?;
    let application_group = application_group(py, settings)?;
    let support = py.dict()?;
    support.set_entry_named(py, c"__name__", &py.text("mod_wsgi_support")?)?;
    support.set_entry_named(py, c"functions", &functions)?;
    support.set_entry_named(py, c"settings", &settings::to_dict(py, settings, is_daemon)?)?;
    support.set_entry_named(py, c"application_group", &application_group)?;
    let interpreter = py.interpreter();
    let is_main = std::ptr::eq(interpreter, interpreter.main());
    support.set_entry_named(py, c"is_main", &py.boolean(is_main)?)?;
    support.set_entry_named(py, c"owns_gil", &py.boolean(interpreter.owns_gil())?)?;
    py.run_source(SUPPORT_SOURCE, c"<mod_wsgi>", &support)?;
    py.run_source(METRICS_SOURCE, c"<mod_wsgi>", &support)?;
    let inherited = call(py, &support, c"path_of_installed_package", [])?;
    let (_, module) = register_module(py, "mod_wsgi")?;
    if !inherited.is_none() {
        module.set_entry_named(py, c"__path__", &inherited)?;
    }
    module.set_entry_named(py, c"_support", &support)?;
    py.run_source(MODULE_SOURCE, c"<mod_wsgi>", &module)?;
    let (_, apache) = register_module(py, "apache")?;
    call(py, &support, c"fill_apache", [apache.borrow()])?;

    let taken = |name| match module.entry_named(py, name) {
        Ok(Some(object)) => Ok(object),
        Ok(None) => Err(py.raise(crate::interp::Class::Runtime, "part of mod_wsgi is missing")),
        Err(raised) => Err(raised),
    };
    let file_wrapper = taken(c"FileWrapper")?;
    let template = Template::new(py, settings, &file_wrapper)?;
    let constants = Constants {
        classes,
        names: Names::new(py)?,
        text_io_wrapper: py.import(c"io")?.attribute(py, c"TextIOWrapper")?.keep(py),
        modules: py.sys(c"modules")?.keep(py),
        file_wrapper: file_wrapper.keep(py),
        client_disconnected: taken(c"ClientDisconnected")?.keep(py),
        request_timeout: taken(c"RequestTimeout")?.keep(py),
        template,
        event_callbacks: taken(c"event_callbacks")?.keep(py),
        module: module.keep(py),
        support: support.share().keep(py),
        is_group_known: AtomicBool::new(
            settings.interpreters || settings.application_group.is_some(),
        ),
        adopting: Mutex::new(()),
    };
    support.set_entry_named(py, c"streams", &replace_streams(py, &constants)?)?;
    let group = if constants.is_group_known.load(Ordering::Relaxed) {
        application_group
    } else {
        py.none()
    };
    py.interpreter().set_constants(constants);
    call(py, &support, c"set_up_interpreter", [group.borrow()]).map(drop)
}

/// Runs what the interpreter runs at exit, without ending it; where nothing of Python is to be
/// finalised, that is only what was printed.
pub(crate) fn run_exit_functions(py: Attached<'_>, settings: &Settings) {
    let Some(constants) = py.interpreter().constants() else { return };
    let function =
        if settings.skip_finalisation { c"flush_streams" } else { c"run_exit_functions" };
    if constants.support(py, function, []).is_err()
        && let Some(exception) = Exception::take(py)
    {
        let text = format!("exit functions of Python failed\n{}", exception.format(py));
        log::process(Level::Error, &text);
    }
}

/// Waits for the threads that a service script has left, as Python does at exit.
pub(crate) fn wait_for_threads(py: Attached<'_>) {
    let Some(constants) = py.interpreter().constants() else { return };
    // A signal ends the wait.
    if constants.support(py, c"wait_for_threads", []).is_err() {
        clear_exception(py);
    }
}

/// Where the thread with this number, as Python counts, is in the interpreter of `py`, as text.
pub(crate) fn stack_of(py: Attached<'_>, thread: u64) -> String {
    let unknown = "  (not to be had)".to_owned();
    let Some(constants) = py.interpreter().constants() else { return unknown };
    let stack = i64::try_from(thread)
        .map_err(|_| Raised)
        .and_then(|thread| py.integer(thread))
        .and_then(|thread| constants.support(py, c"stack_of", [thread.borrow()]))
        .and_then(|text| text.to_text(py));
    stack.unwrap_or_else(|Raised| {
        clear_exception(py);
        unknown
    })
}

/// Has the stacks of all threads of the interpreter written to the descriptor when the signal comes.
/// Where that can not be, nothing is written.
pub(crate) fn dump_on_signal(py: Attached<'_>, signal: i32, descriptor: i32) {
    let Some(constants) = py.interpreter().constants() else { return };
    let registered = py.integer(signal.into()).and_then(|signal| {
        let descriptor = py.integer(descriptor.into())?;
        constants.support(py, c"dump_on_signal", [signal.borrow(), descriptor.borrow()])
    });
    if registered.is_err() {
        clear_exception(py);
    }
}

fn call<'py, const N: usize>(
    py: Attached<'py>,
    namespace: &Object<'py>,
    name: &std::ffi::CStr,
    arguments: [Borrowed<'_, 'py>; N],
) -> PyResult<Object<'py>> {
    match namespace.entry_named(py, name)? {
        Some(function) => function.call(py, arguments),
        None => Err(py.raise(crate::interp::Class::Runtime, "support function is missing")),
    }
}

/// The application group of this interpreter, as far as it is known before a request.
fn application_group<'py>(py: Attached<'py>, settings: &Settings) -> PyResult<Object<'py>> {
    let name = py.interpreter().name();
    let known = settings.application_group.as_deref().unwrap_or_default();
    py.latin1(if settings.interpreters { name } else { known })
}

/// Puts log streams in the place of `sys.stdout` and `sys.stderr`. The result has, for each stream
/// that can be restricted, the one that is used freely and the one that refuses.
fn replace_streams<'py>(py: Attached<'py>, constants: &Constants) -> PyResult<Object<'py>> {
    let sys = py.import(c"sys")?;
    let stream = |name| {
        let raw = constants.classes.stream.instance(py, Stream::of_process(name))?;
        text_wrapper(py, constants, raw.borrow())
    };
    sys.set_attribute(py, c"stderr", &stream("<stderr>")?)?;
    sys.set_attribute(py, c"stdout", &stream("<stdout>")?)?;
    let streams = py.dict()?;
    for (name, full_name) in [(c"stdin", "sys.stdin"), (c"stdout", "sys.stdout")] {
        let free = sys.attribute(py, name)?;
        let refusing = Restricted { name: full_name };
        let refusing = constants.classes.restricted.instance(py, refusing)?;
        let pair = py.tuple([free.borrow(), refusing.borrow()])?;
        streams.set_entry_named(py, name, &pair)?;
    }
    Ok(streams)
}
