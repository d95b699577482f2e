// SPDX-License-Identifier: Apache-2.0
//! What an interpreter is given before the first request: the modules `mod_wsgi` and `apache`,
//! streams, `sys.path`, and the classes and names that every request uses. What needs no speed is
//! Python source beside this file.
#![forbid(unsafe_code)]

mod events;
mod functions;

use std::sync::atomic::{AtomicBool, Ordering};

use mod_wsgi_protocol::settings::Settings;

use crate::interp::{
    Attached, Borrowed, Exception, Kept, NativeClass, Object, PyResult, clear_exception,
    register_module,
};
use crate::log::{self, Level};
use crate::wsgi::{Adapter, Input, Restricted, Stream, Template, text_wrapper};

pub(crate) use events::{
    forget_request, process_signal, process_stopping, register_request, request_exception,
    request_finished, request_started, response_started,
};
pub(crate) use functions::Api;

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
    /// Whether `mod_wsgi.application_group` is final.
    is_group_known: AtomicBool,
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

impl Constants {
    /// The name of the module of the script at `path`.
    pub(crate) fn module_name<'py>(&self, py: Attached<'py>, path: &[u8]) -> PyResult<Object<'py>> {
        self.support(py, c"module_name", [py.bytes(path)?.borrow()])
    }

    /// Says which application group this process serves, where the first request is what decides.
    pub(crate) fn adopt_group(&self, py: Attached<'_>, group: &[u8]) {
        if self.is_group_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let module = self.module.get(py);
        let adopted = py
            .latin1(group)
            .and_then(|group| module.set_entry_named(py, c"application_group", &group));
        if adopted.is_err() {
            clear_exception(py);
        }
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
    let classes = Classes {
        adapter: NativeClass::new(py)?,
        input: NativeClass::new(py)?,
        stream: NativeClass::new(py)?,
        restricted: NativeClass::new(py)?,
        api: NativeClass::new(py)?,
    };
    let functions = classes.api.instance(py, Api)?;
    let application_group = application_group(py, settings)?;
    let support = py.dict()?;
    support.set_entry_named(py, c"__name__", &py.text("mod_wsgi_support")?)?;
    support.set_entry_named(py, c"functions", &functions)?;
    support.set_entry_named(py, c"settings", &settings_dict(py, settings, is_daemon)?)?;
    support.set_entry_named(py, c"application_group", &application_group)?;
    py.run_source(SUPPORT_SOURCE, c"<mod_wsgi>", &support)?;
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
        request_timeout: taken(c"RequestTimeout")?.keep(py),
        template,
        event_callbacks: taken(c"event_callbacks")?.keep(py),
        module: module.keep(py),
        support: support.share().keep(py),
        is_group_known: AtomicBool::new(
            settings.interpreters || settings.application_group.is_some(),
        ),
    };
    replace_streams(py, settings, &constants)?;
    py.interpreter().set_constants(constants);
    call(py, &support, c"set_up_interpreter", []).map(drop)
}

/// Runs what the interpreter runs at exit, without ending it.
pub(crate) fn run_exit_functions(py: Attached<'_>) {
    let Some(constants) = py.interpreter().constants() else { return };
    if constants.support(py, c"run_exit_functions", []).is_err()
        && let Some(exception) = Exception::take(py)
    {
        let text = format!("exit functions of Python failed\n{}", exception.format(py));
        log::process(Level::Error, &text);
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

fn replace_streams(py: Attached<'_>, settings: &Settings, constants: &Constants) -> PyResult<()> {
    let sys = py.import(c"sys")?;
    let stream = |name| {
        let raw = constants.classes.stream.instance(py, Stream::of_process(name))?;
        text_wrapper(py, constants, raw.borrow())
    };
    let restricted = |name| constants.classes.restricted.instance(py, Restricted { name });
    sys.set_attribute(py, c"stderr", &stream("<stderr>")?)?;
    if settings.restrict_stdout {
        sys.set_attribute(py, c"stdout", &restricted("sys.stdout")?)?;
    } else {
        sys.set_attribute(py, c"stdout", &stream("<stdout>")?)?;
    }
    if settings.restrict_stdin {
        sys.set_attribute(py, c"stdin", &restricted("sys.stdin")?)?;
    }
    Ok(())
}

/// What our Python source needs to know of the settings.
fn settings_dict<'py>(
    py: Attached<'py>,
    settings: &Settings,
    is_daemon: bool,
) -> PyResult<Object<'py>> {
    let dict = py.dict()?;
    let optional = |value: Option<&[u8]>| value.map_or_else(|| Ok(py.none()), |v| py.file_name(v));
    let set = |name, value: &Object<'py>| dict.set_entry_named(py, name, value);
    set(c"is_daemon", &py.boolean(is_daemon)?)?;
    set(c"process_group", &py.latin1(&settings.process_group)?)?;
    set(c"threads", &py.integer(i64::from(settings.threads))?)?;
    set(c"processes", &py.integer(i64::from(settings.processes))?)?;
    set(c"home", &optional(settings.home.as_deref())?)?;
    set(c"python_path", &optional(settings.python_path.as_deref())?)?;
    set(c"restrict_stdout", &py.boolean(settings.restrict_stdout)?)?;
    set(c"restrict_signal", &py.boolean(settings.restrict_signal)?)?;
    set(c"case_sensitivity", &py.boolean(settings.case_sensitivity)?)?;
    set(c"apache_description", &py.latin1(&settings.apache_description)?)?;
    let (major, minor, patch) = settings.apache_version;
    let numbers = [major, minor, patch].map(|number| py.integer(i64::from(number)));
    let [Ok(major), Ok(minor), Ok(patch)] = numbers else {
        return Err(crate::interp::Raised);
    };
    let version = py.tuple([major.borrow(), minor.borrow(), patch.borrow()])?;
    set(c"apache_version", &version)?;
    let (major, minor, patch) = mod_wsgi_protocol::COMPATIBLE_VERSION;
    let numbers = [major, minor, patch].map(|number| py.integer(i64::from(number)));
    let [Ok(major), Ok(minor), Ok(patch)] = numbers else {
        return Err(crate::interp::Raised);
    };
    let version = py.tuple([major.borrow(), minor.borrow(), patch.borrow()])?;
    set(c"version", &version)?;
    Ok(dict)
}
