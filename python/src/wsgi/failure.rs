// SPDX-License-Identifier: Apache-2.0
//! What is logged when the application or a script fails: a line with the number that mod_wsgi has
//! for it, naming exception, script and context, then the traceback.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::log::Entry;

use super::call::current_call;
use crate::interp::{Attached, Class, Exception};
use crate::log::{self, Level};

/// Which script runs where, as log lines name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScriptContext<'a> {
    /// Path of the script.
    pub(crate) script: &'a [u8],
    /// Process group; empty in embedded mode.
    pub(crate) process_group: &'a [u8],
    /// Application group; empty for the main interpreter.
    pub(crate) application_group: &'a [u8],
    /// Whether application groups have sub-interpreters.
    pub(crate) interpreters: bool,
}

impl ScriptContext<'_> {
    /// The script's path as text.
    pub(crate) fn script(&self) -> String {
        String::from_utf8_lossy(self.script).into_owned()
    }
}

impl std::fmt::Display for ScriptContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = String::from_utf8_lossy(self.application_group);
        match (self.application_group.is_empty(), self.interpreters) {
            (true, _) => f.write_str("main interpreter")?,
            (false, true) => write!(f, "sub-interpreter '{name}'")?,
            (false, false) => write!(f, "application group '{name}'")?,
        }
        if self.process_group.is_empty() {
            f.write_str(" in embedded mode")
        } else {
            let group = String::from_utf8_lossy(self.process_group);
            write!(f, " of daemon process '{group}'")
        }
    }
}

/// Logs for the request of this thread, or, where there is none, for the process.
pub(crate) fn log_text(py: Attached<'_>, level: Level, text: &str) {
    log_entry(py, &log::entry(level, text.as_bytes()));
}

/// Logs for the request of this thread, or, where there is none, for the process.
pub(crate) fn log_entry(py: Attached<'_>, entry: &Entry<'_>) {
    if let Some(call) = current_call()
        && call.log(py, entry)
    {
        return;
    }
    py.detach(|| log::process_entry(entry));
}

/// Whether httpd logs this level for the request of this thread, or for the process.
pub(crate) fn is_logged(level: Level) -> bool {
    current_call().map_or_else(|| log::process_logs(level as u8), |call| call.logs(level as u8))
}

/// Logs an exception that nobody has caught.
pub(crate) fn log_exception(
    py: Attached<'_>,
    exception: &Exception<'_>,
    context: &ScriptContext<'_>,
) {
    let script = context.script();
    let text = if exception.is(Class::SystemExit) {
        // What was given to sys.exit(); the interpreter goes on.
        format!(
            "WSGI0175: SystemExit exception raised by WSGI script '{script}' ignored, in \
             {context}: the process goes on\n{}",
            exception.format(py)
        )
    } else {
        format!(
            "WSGI0174: Exception occurred processing WSGI script '{script}': {} exception raised in \
             {context}\n{}",
            exception.name(py),
            exception.format(py)
        )
    };
    log_text(py, Level::Error, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_named_as_operators_know_them() {
        let context = ScriptContext {
            script: b"/app.wsgi",
            process_group: b"django",
            application_group: b"",
            interpreters: false,
        };
        assert_eq!(context.to_string(), "main interpreter of daemon process 'django'");
        let context = ScriptContext { application_group: b"a|/b", interpreters: true, ..context };
        assert_eq!(context.to_string(), "sub-interpreter 'a|/b' of daemon process 'django'");
        let context = ScriptContext { process_group: b"", ..context };
        assert_eq!(context.to_string(), "sub-interpreter 'a|/b' in embedded mode");
    }
}
