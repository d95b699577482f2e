// SPDX-License-Identifier: Apache-2.0
//! Python's life in one httpd child: a thread of its own, in which the interpreter believes to have
//! been started from a command line, and which waits there until the child ends.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;

use mod_wsgi_protocol::bootstrap;
use mod_wsgi_protocol::embedded::Python;
use parking_lot::{Condvar, Mutex};

use super::Plan;
use super::table;
use crate::httpd::c_string;
use crate::httpd::log::{self, Level};
use crate::os::library;

/// How far Python is in this child.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nobody needed it yet.
    Unused,
    /// Its thread is starting.
    Starting,
    /// It takes requests.
    Ready(Python),
    /// It could not be started; the reason is in the log.
    Failed,
    /// The child is ending.
    Stopped,
}

/// State of Python in this child. An httpd child is forked with `Unused` here.
static STATE: Mutex<State> = Mutex::new(State::Unused);

/// Signalled at every change of the state.
static CHANGED: Condvar = Condvar::new();

/// Stack of the thread of the main interpreter, as a process's first thread has.
const STACK: usize = 8 << 20;

/// Python's table; starts Python when nobody did, and waits until it is ready.
///
/// # Errors
/// It cannot be had; the reason is in the log, once.
pub(crate) fn obtain(plan: &Plan) -> Result<Python, ()> {
    let mut state = STATE.lock();
    loop {
        match *state {
            State::Ready(python) => return Ok(python),
            State::Failed | State::Stopped => return Err(()),
            State::Starting => CHANGED.wait(&mut state),
            State::Unused => {
                *state = State::Starting;
                if let Err(reason) = start(plan) {
                    *state = State::Failed;
                    CHANGED.notify_all();
                    drop(state);
                    log::process(
                        Level::Critical,
                        &format!(
                            "WSGI0001: Python cannot be started in this httpd child: {reason}"
                        ),
                    );
                    return Err(());
                }
            }
        }
    }
}

/// Called from the thread of the main interpreter: requests can be taken, or never will be.
pub(crate) fn became(python: Option<Python>) {
    let mut state = STATE.lock();
    if matches!(*state, State::Starting) {
        *state = python.map_or(State::Failed, State::Ready);
    }
    CHANGED.notify_all();
}

/// Blocks the thread of the main interpreter until the child ends.
pub(crate) fn wait_for_stop() {
    let mut state = STATE.lock();
    while !matches!(*state, State::Stopped) {
        CHANGED.wait(&mut state);
    }
}

/// The child ends: runs what Python runs at exit.
pub(crate) fn stop() {
    let python = {
        let mut state = STATE.lock();
        match std::mem::replace(&mut *state, State::Stopped) {
            State::Ready(python) => Some(python),
            _ => None,
        }
    };
    if let Some(python) = python {
        // SAFETY: the table is that of the library, which stays loaded; httpd destroys the child's
        // pool when its threads handle no request any more.
        unsafe { (python.stop)() };
    }
    CHANGED.notify_all();
}

type Main = unsafe extern "C" fn(i32, *mut *mut c_char) -> i32;

fn start(plan: &Plan) -> Result<(), String> {
    let interpreter = plan.interpreter.as_ref().map_err(Clone::clone)?;
    let path = c_string(interpreter.library.as_os_str().as_bytes());
    let libpython = library::load_globally(&path)?;
    let address = libpython.symbol(c"Py_BytesMain")?;
    // SAFETY: Py_BytesMain has had this signature since CPython 3.8 (Include/pylifecycle.h).
    let main = unsafe { std::mem::transmute::<*mut std::ffi::c_void, Main>(address) };
    let host = Box::leak(Box::new(table::host(&plan.settings)));
    let mut arguments: Vec<CString> = vec![c_string(interpreter.program.as_os_str().as_bytes())];
    arguments.extend(plan.arguments.iter().map(|argument| c_string(argument)));
    arguments.extend([
        c"-c".into(),
        c_string(bootstrap::SOURCE.as_bytes()),
        c_string(plan.library.loadable(None).as_os_str().as_bytes()),
        c"embedded".into(),
        c_string((std::ptr::from_ref(host) as usize).to_string().as_bytes()),
    ]);
    std::thread::Builder::new()
        .name("wsgi-python".into())
        .stack_size(STACK)
        .spawn(move || run(main, arguments))
        .map(drop)
        .map_err(|error| format!("no thread can be started: {error}"))
}

fn run(main: Main, arguments: Vec<CString>) {
    // Python installs handlers for these; the signals are httpd's.
    let saved = [libc::SIGINT, libc::SIGPIPE, libc::SIGXFSZ].map(crate::os::signal::Saved::new);
    table::keep_signals(saved);
    // For what scripts that are loaded at start run; as in `table::handle`.
    crate::os::signal::unblock(libc::SIGTERM);
    let mut pointers: Vec<*mut c_char> =
        arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    let count = i32::try_from(arguments.len()).unwrap_or(0);
    // SAFETY: argc C strings and a null, which live until it returns, and it keeps copies only.
    // Python is started once per process: the state is `Starting` once.
    let status = unsafe { main(count, pointers.as_mut_ptr()) };
    let mut state = STATE.lock();
    if matches!(*state, State::Starting) {
        *state = State::Failed;
        CHANGED.notify_all();
        drop(state);
        log::process(
            Level::Critical,
            &format!("WSGI0001: Python ended with status {status} before it took requests"),
        );
    }
}
