// SPDX-License-Identifier: Apache-2.0
//! WSGI scripts: a script is a module named after the digest of its path, in `sys.modules` of the
//! interpreter, loaded when a request or the configuration asks for it, and loaded again (or its
//! process replaced) when the file changed.
#![forbid(unsafe_code)]

mod load;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use mod_wsgi_protocol::hook::Hook;
use mod_wsgi_protocol::request::Head;
use parking_lot::Mutex;

use crate::interp::{Attached, Exception, Kept, Object, PyResult, Raised, clear_exception};
use crate::log::Level;
use crate::os;
use crate::wsgi::{ScriptContext, log_exception, log_text};

pub(crate) use load::{preload, run_service, when_loaded};
pub(crate) use watch::{modules_changed, start as watch_modules};

/// Modification time of the changed file that was seen last, and that of one whose code does not
/// load, so that the old one goes on (`reload=keep`). Microseconds, or [`NO_TIME`].
static SEEN: AtomicI64 = AtomicI64::new(NO_TIME);
/// See [`SEEN`].
static KEPT: AtomicI64 = AtomicI64::new(NO_TIME);

/// No time of a file.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// Modification time of the changed script that a request was not answered with.
pub(crate) fn seen_change() -> i64 {
    SEEN.load(Ordering::Acquire)
}

/// A script that was changed at this time does not load: what is loaded goes on.
pub(crate) fn keep(modified: i64) {
    KEPT.store(modified, Ordering::Release);
    watch::keep();
}

/// The scripts of one interpreter that were asked for.
#[derive(Default)]
pub(crate) struct Scripts {
    /// By path.
    known: Mutex<HashMap<Vec<u8>, Arc<Script>>>,
}

/// A script of one interpreter.
pub(crate) struct Script {
    /// Name of its module.
    name: Kept,
    /// Whether the module in `sys.modules` is whole; one that is being loaded is there as well.
    is_whole: AtomicBool,
    /// Held while it is loaded; waited for without the GIL. Others load other scripts meanwhile.
    loading: Mutex<()>,
}

/// What was found for a request.
pub(crate) enum Found<'py> {
    /// The callable object.
    Application(Object<'py>),
    /// The script changed and this process has the old one loaded.
    Stale,
    /// It can not be had; that is logged. The HTTP status for the client.
    Failed(u16),
    /// `RequestTimeout` came meanwhile; that is logged.
    OutOfTime,
}

/// Which of mod_wsgi's numbers a message has: one for requests, one for scripts that are loaded
/// without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A request needs the script.
    Request,
    /// The configuration says that it is to be loaded.
    Start,
    /// Requests before this process needed it. Where it cannot be loaded, the next one says so.
    Ahead,
    /// It is a service, and ends with SystemExit where it is told to.
    Service,
}

/// How far the process is with loading its first script.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FirstLoad {
    /// Nothing was asked for.
    NotYet,
    /// Since then one is being loaded, or could not be.
    Since(Instant),
    /// One is loaded.
    Done,
}

static FIRST_LOAD: Mutex<FirstLoad> = Mutex::new(FirstLoad::NotYet);

/// How far the process is with loading its first script.
pub(crate) fn first_load() -> FirstLoad {
    *FIRST_LOAD.lock()
}

fn first_load_begins() {
    let mut first = FIRST_LOAD.lock();
    if matches!(*first, FirstLoad::NotYet) {
        *first = FirstLoad::Since(Instant::now());
    }
}

fn first_load_succeeded() {
    *FIRST_LOAD.lock() = FirstLoad::Done;
}

impl Scripts {
    fn get(&self, py: Attached<'_>, path: &[u8]) -> PyResult<Arc<Script>> {
        if let Some(script) = self.known.lock().get(path) {
            return Ok(Arc::clone(script));
        }
        let Some(constants) = py.interpreter().constants() else { return Err(Raised) };
        let name = constants.module_name(py, path)?.keep(py);
        let script =
            Arc::new(Script { name, is_whole: AtomicBool::new(false), loading: Mutex::new(()) });
        let mut known = self.known.lock();
        Ok(Arc::clone(known.entry(path.to_vec()).or_insert(script)))
    }
}

/// The callable object for a request.
pub(crate) fn find<'py>(
    py: Attached<'py>,
    head: &Head<'_>,
    context: &ScriptContext<'_>,
) -> Found<'py> {
    try_find(py, head, context).unwrap_or_else(|Raised| match Exception::take(py) {
        Some(exception) if is_timeout(py, &exception) => {
            let text = format!(
                "request for WSGI script '{}' was ended by RequestTimeout before it began",
                context.script()
            );
            log_text(py, Level::Info, &text);
            Found::OutOfTime
        }
        Some(exception) => {
            log_exception(py, &exception, context);
            Found::Failed(500)
        }
        None => Found::Failed(500),
    })
}

/// Whether it is `RequestTimeout`.
fn is_timeout<'py>(py: Attached<'py>, exception: &Exception<'py>) -> bool {
    let constants = py.interpreter().constants();
    constants.is_some_and(|constants| exception.is_of(&constants.request_timeout.get(py)))
}

/// The module of the script of a hook, which is loaded again in place when it changed, also in a
/// daemon process. Nothing when it can not be had, which is logged.
pub(crate) fn module_of_hook<'py>(
    py: Attached<'py>,
    head: &Head<'_>,
    context: &ScriptContext<'_>,
) -> Option<Object<'py>> {
    match module(py, head, context, true) {
        Ok(Module::Whole(module)) => Some(module),
        Ok(Module::Stale | Module::Failed) => None,
        Err(Raised) => {
            if let Some(exception) = Exception::take(py) {
                log_exception(py, &exception, context);
            }
            None
        }
    }
}

/// The module of a script, as far as it can be had.
enum Module<'py> {
    /// It is loaded, and is that of the file.
    Whole(Object<'py>),
    /// It changed, and is not to be loaded again in place.
    Stale,
    /// It could not be loaded, which is logged.
    Failed,
}

/// The module of the script that `head` names, loaded where needed.
fn module<'py>(
    py: Attached<'py>,
    head: &Head<'_>,
    context: &ScriptContext<'_>,
    in_place: bool,
) -> PyResult<Module<'py>> {
    let script = py.interpreter().scripts().get(py, head.script)?;
    let stale = script.loaded(py)?;
    if let Some(module) = &stale {
        if !head.script_reloading || !is_changed(py, module, head, context)? {
            return Ok(stale.map_or(Module::Failed, Module::Whole));
        }
        if !in_place {
            return Ok(Module::Stale);
        }
    }
    // The script is not asked a second time whether it changed: what another thread has loaded
    // meanwhile is new enough.
    let is_current =
        |module: &Object<'py>| stale.as_ref().is_none_or(|stale| !stale.is_same(module));
    let loaded = load::load(py, &script, head.script, context, Occasion::Request, is_current)?;
    Ok(loaded.map_or(Module::Failed, Module::Whole))
}

fn try_find<'py>(
    py: Attached<'py>,
    head: &Head<'_>,
    context: &ScriptContext<'_>,
) -> PyResult<Found<'py>> {
    let in_place = context.process_group.is_empty();
    let module = match module(py, head, context, in_place)? {
        Module::Whole(module) => module,
        Module::Stale => return Ok(Found::Stale),
        Module::Failed => return Ok(Found::Failed(500)),
    };
    let callable = py.latin1(head.callable)?;
    if let Some(application) = module.module_dict(py)?.entry(py, callable.borrow())? {
        return Ok(Found::Application(application));
    }
    let text = format!(
        "WSGI0089: Target WSGI script '{}' does not contain WSGI application '{}' ({context})",
        context.script(),
        String::from_utf8_lossy(head.callable),
    );
    log_text(py, Level::Error, &text);
    // As mod_wsgi has it: httpd's own 404 where it looks at the outcome itself.
    Ok(Found::Failed(if context.process_group.is_empty() { 404 } else { 500 }))
}

impl Script {
    /// The module, if it is loaded.
    fn loaded<'py>(&self, py: Attached<'py>) -> PyResult<Option<Object<'py>>> {
        if !self.is_whole.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.registered(py)
    }

    /// What `sys.modules` has under its name.
    fn registered<'py>(&self, py: Attached<'py>) -> PyResult<Option<Object<'py>>> {
        let Some(constants) = py.interpreter().constants() else { return Ok(None) };
        constants.modules.get(py).entry(py, self.name.get(py))
    }
}

/// Whether the file is not the one that was loaded, or the script itself says so.
fn is_changed<'py>(
    py: Attached<'py>,
    module: &Object<'py>,
    head: &Head<'_>,
    context: &ScriptContext<'_>,
) -> PyResult<bool> {
    let Some(constants) = py.interpreter().constants() else { return Ok(false) };
    let Ok(names) = module.module_dict(py) else {
        clear_exception(py);
        return Ok(true);
    };
    let loaded = names.entry(py, constants.names.mtime.get(py))?;
    let Some(loaded) = loaded.and_then(|loaded| loaded.as_plain_integer(py)) else {
        return Ok(true);
    };
    let current = if head.script_mtime >= 0 {
        head.script_mtime
    } else {
        py.detach(|| os::file_modification(head.script).unwrap_or(0))
    };
    // httpd may have looked before this process loaded what is there now.
    let is_newer = || {
        head.script_mtime >= 0
            && loaded == py.detach(|| os::file_modification(head.script).unwrap_or(0))
    };
    if loaded != current && !is_newer() && current != KEPT.load(Ordering::Acquire) {
        SEEN.store(current, Ordering::Release);
        return Ok(true);
    }
    if watch::is_changed(py) {
        SEEN.store(NO_TIME, Ordering::Release);
        return Ok(true);
    }
    if head.hook != Hook::None {
        return Ok(false);
    }
    let Some(hook) = names.entry(py, constants.names.reload_required.get(py))? else {
        return Ok(false);
    };
    let resource = if head.resource.is_empty() { head.script } else { head.resource };
    let asked = py.file_name(resource).and_then(|path| hook.call(py, [path.borrow()]));
    match asked.and_then(|answer| answer.is_true(py)) {
        Ok(answer) => Ok(answer),
        Err(Raised) => {
            // A hook that fails does not make the script a changed one.
            match Exception::take(py) {
                Some(exception) if is_timeout(py, &exception) => return Err(exception.restore()),
                Some(exception) => log_exception(py, &exception, context),
                None => {}
            }
            Ok(false)
        }
    }
}
