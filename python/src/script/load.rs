// SPDX-License-Identifier: Apache-2.0
//! Loading a script: read, compile and run it as a module of its own.
#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::{Occasion, Script, watch};
use crate::interp::{
    Attached, Class, Exception, Interpreter, Object, PyResult, Raised, clear_exception,
};
use crate::log::Level;
use crate::os;
use crate::wsgi::{ScriptContext, log_exception, log_text};

/// Is told of each script that was loaded: its path and application group.
type WhenLoaded = Box<dyn Fn(&[u8], &[u8]) + Send + Sync>;

/// See [`when_loaded`].
static WHEN_LOADED: OnceLock<WhenLoaded> = OnceLock::new();

/// Has `loaded` called after each script that was loaded from now on.
pub(crate) fn when_loaded(loaded: WhenLoaded) {
    // The process has one purpose, and says this once.
    let _ = WHEN_LOADED.set(loaded);
}

/// Where a load failed.
enum Step {
    Read,
    Run,
}

/// Loads a script, unless another thread has done so meanwhile and `is_current` accepts that.
/// Nothing when it failed, which is logged.
///
/// # Errors
/// `RequestTimeout`, which is meant for the request that needs the script.
pub(super) fn load<'py>(
    py: Attached<'py>,
    script: &Script,
    path: &[u8],
    context: &ScriptContext<'_>,
    occasion: Occasion,
    is_current: impl Fn(&Object<'py>) -> bool,
) -> PyResult<Option<Object<'py>>> {
    let _loading = loop {
        if let Some(loading) = script.loading.try_lock() {
            break loading;
        }
        py.detach(|| drop(script.loading.lock()));
    };
    let before = script.loaded(py).ok().flatten();
    match &before {
        Some(module) if is_current(module) => return Ok(before),
        _ => {}
    }
    let verb = if before.is_some() { "Reloading" } else { "Loading" };
    let text = format!("{verb} Python script file '{}' in {context}", context.script());
    log_text(py, Level::Info, &text);
    script.is_whole.store(false, Ordering::Release);
    super::first_load_begins();
    match run(py, script, path) {
        Ok(module) => {
            script.is_whole.store(true, Ordering::Release);
            if let Some(loaded) = WHEN_LOADED.get() {
                loaded(path, context.application_group);
            }
            watch::note(py);
            super::first_load_succeeded();
            Ok(Some(module))
        }
        Err((_, Raised)) if occasion == Occasion::Ahead => {
            clear_exception(py);
            Ok(None)
        }
        Err((step, Raised)) => report(py, &step, context, occasion).map(|()| None),
    }
}

fn run<'py>(
    py: Attached<'py>,
    script: &Script,
    path: &[u8],
) -> Result<Object<'py>, (Step, Raised)> {
    // Looked at before it is read: a change in between makes the next request load it again.
    let modified = py.detach(|| os::file_modification(path).unwrap_or(0));
    let code = compile(py, path).map_err(|raised| (Step::Read, raised))?;
    execute(py, script, path, &code, modified).map_err(|raised| (Step::Run, raised))
}

fn compile<'py>(py: Attached<'py>, path: &[u8]) -> PyResult<Object<'py>> {
    let path = py.file_name(path)?;
    let mode = py.text("rb")?;
    let file = py.import(c"io")?.call_method(py, c"open", [path.borrow(), mode.borrow()])?;
    let source = file.call_method(py, c"read", []);
    let closed = file.call_method(py, c"close", []);
    let source = source?;
    closed?;
    // compile(source, filename, mode, flags, dont_inherit)
    let (mode, zero, yes) = (py.text("exec")?, py.integer(0)?, py.boolean(true)?);
    let arguments =
        py.tuple([source.borrow(), path.borrow(), mode.borrow(), zero.borrow(), yes.borrow()])?;
    py.import(c"builtins")?.attribute(py, c"compile")?.call_with(py, &arguments, None)
}

fn execute<'py>(
    py: Attached<'py>,
    script: &Script,
    path: &[u8],
    code: &Object<'py>,
    modified: i64,
) -> PyResult<Object<'py>> {
    let Some(constants) = py.interpreter().constants() else { return Err(Raised) };
    let modules = constants.modules.get(py);
    let name = script.name.get(py);
    let module = py.module(&name)?;
    let names = module.module_dict(py)?;
    let path = py.file_name(path)?;
    constants.support(py, c"locate_module", [names.borrow(), path.borrow()])?;
    names.set_entry_named(py, c"__builtins__", &py.import(c"builtins")?)?;
    modules.set_entry(py, name, &module)?;
    let result = py.run_code(code, &names).and_then(|()| {
        // The script may have put another module in its place.
        let module = script.registered(py)?.unwrap_or(module);
        let Ok(names) = module.module_dict(py) else {
            let class = module.class_name(py);
            let message = format!("the script has put an object of class {class} in the place of its module in sys.modules: only a module can be there");
            return Err(py.raise(Class::Type, &message));
        };
        names.set_entry(py, constants.names.mtime.get(py), &py.integer(modified)?)?;
        Ok(module)
    });
    result.map_err(|Raised| {
        let exception = Exception::take(py);
        if modules.remove_entry(py, name).is_err() {
            clear_exception(py);
        }
        exception.map_or(Raised, Exception::restore)
    })
}

fn report(
    py: Attached<'_>,
    step: &Step,
    context: &ScriptContext<'_>,
    occasion: Occasion,
) -> PyResult<()> {
    let Some(exception) = Exception::take(py) else { return Ok(()) };
    if occasion == Occasion::Service && exception.is(Class::SystemExit) {
        return Ok(());
    }
    let (what, for_request, at_start) = match step {
        Step::Read => ("Could not read/compile source file", "0105", "0106"),
        Step::Run if exception.is(Class::SystemExit) => {
            ("SystemExit exception raised when loading WSGI script", "0107", "0108")
        }
        Step::Run => ("Failed to exec Python script file", "0109", "0110"),
    };
    let number = if occasion == Occasion::Request { for_request } else { at_start };
    let script = context.script();
    let text = format!(
        "WSGI{number}: {what} '{script}'. Target WSGI script '{script}' cannot be loaded as Python \
         module in {context}"
    );
    log_text(py, Level::Error, &text);
    if super::is_timeout(py, &exception) {
        // Where it was is told already.
        return Err(exception.restore());
    }
    log_exception(py, &exception, context);
    Ok(())
}

/// Runs a script that is a service, to its end.
pub(crate) fn run_service(py: Attached<'_>, context: &ScriptContext<'_>) {
    preload(py, context, Occasion::Service);
}

/// Loads a script before a request asks for it; whether that succeeded.
pub(crate) fn preload(py: Attached<'_>, context: &ScriptContext<'_>, occasion: Occasion) -> bool {
    let interpreter: &'static Interpreter = py.interpreter();
    let loaded = interpreter
        .scripts()
        .get(py, context.script)
        .and_then(|script| load(py, &script, context.script, context, occasion, |_| true));
    match loaded {
        Ok(loaded) => loaded.is_some(),
        Err(Raised) => {
            if let Some(exception) = Exception::take(py) {
                log_exception(py, &exception, context);
            }
            false
        }
    }
}
