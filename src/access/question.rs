// SPDX-License-Identifier: Apache-2.0
//! Asking a hook: in this httpd child, or, with `process-group=`, in a daemon process.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::hook::{Answer, Hook};

use crate::config::nearest;
use crate::config::script::HookScript;
use crate::daemon;
use crate::embedded;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::mapping::ownership;
use crate::mapping::routing::{self, Effective, Route};
use crate::relay::Responder;
use crate::runtime::Runtime;
use crate::work::Work;

/// A question to a hook.
#[derive(Debug, Clone)]
pub(crate) struct Question<'r> {
    /// Which function is asked.
    pub(crate) hook: Hook,
    /// The script.
    pub(crate) script: &'r [u8],
    /// Process group; "" is this httpd child.
    pub(crate) process_group: Vec<u8>,
    /// Application group; "" is the main interpreter.
    pub(crate) application_group: Vec<u8>,
    /// Whether .htaccess chose script and group.
    is_from_htaccess: bool,
    /// Arguments behind the environ.
    pub(crate) arguments: Vec<&'r [u8]>,
    /// Whether a changed script is loaded anew.
    pub(crate) script_reloading: bool,
    /// WSGIPassApacheRequest.
    pub(crate) pass_request: bool,
    /// The route so far, for the environ of a dispatch script.
    pub(crate) route: Option<&'r Route<'r>>,
}

/// Numbers in the log that a hook has for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// There is no interpreter to ask.
    pub(super) interpreter: &'static str,
}

/// The hook gave no answer; the reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unasked;

impl<'r> Question<'r> {
    /// A question, with names expanded for the request.
    pub(super) fn new(
        request: &Request<'_>,
        hook: Hook,
        script: &'r HookScript,
        settings: &Effective<'_>,
        arguments: Vec<&'r [u8]>,
    ) -> Self {
        let group = script.process_group.as_deref();
        Self {
            hook,
            script: &script.script,
            process_group: routing::hook_group(request, group),
            application_group: routing::hook_group(request, script.application_group.as_deref()),
            is_from_htaccess: script.is_in_htaccess,
            arguments,
            script_reloading: settings.script_reloading(),
            pass_request: settings.pass_apache_request(),
            route: None,
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// There is nobody to ask, or whom was asked died.
    pub(super) fn ask(
        &self,
        request: &Request<'_>,
        settings: &Effective<'_>,
        numbers: Numbers,
    ) -> Result<Answer, Unasked> {
        let refuse = |text: String| {
            log::request(request, Level::Error, text.as_bytes());
            Err(Unasked)
        };
        let (Some(runtime), Some(mut responder)) =
            (Runtime::current(), Responder::for_hook(*request))
        else {
            return refuse(format!(
                "{}: The WSGI configuration is not running in this process",
                numbers.interpreter
            ));
        };
        let work = Work::Hook(self);
        if self.process_group.is_empty() {
            match &runtime.embedded {
                Some(plan) => embedded::handle(request, plan, work, &mut responder),
                None => {
                    return refuse(format!(
                        "{}: Python is not running in httpd for the script '{}': WSGIRestrictEmbedded is On, and no directive outside of .htaccess needs Python there: name the script in the configuration, with process-group= or without",
                        numbers.interpreter,
                        String::from_utf8_lossy(self.script)
                    ));
                }
            };
        } else {
            let name = String::from_utf8_lossy(&self.process_group);
            if !settings.allows_process_group(&self.process_group) {
                return refuse(format!(
                    "WSGI0149: Daemon process called '{name}' cannot be accessed by this WSGI script as it is not in list of allowed groups (WSGIRestrictProcess)"
                ));
            }
            if self.is_from_htaccess && !settings.names_process_group(&self.process_group) {
                return refuse(format!(
                    "WSGI0149: Daemon process called '{name}' cannot be accessed by a WSGI script that .htaccess names, unless it is in list of allowed groups: write WSGIRestrictProcess {name} for the directory, or the script into the configuration"
                ));
            }
            let Some(group) = runtime.group(&self.process_group) else {
                let hint = nearest(&name, runtime.group_names())
                    .map_or_else(String::new, |near| format!(", did you mean {near}?"));
                return refuse(format!(
                    "WSGI0151: No WSGI daemon process called '{name}' has been configured{hint}"
                ));
            };
            if !request.server().is_some_and(|server| group.is_visible_from(server)) {
                return refuse(format!(
                    "WSGI0152: Daemon process called '{name}' cannot be accessed by this WSGI script as it is defined in a virtual host of another ServerName: move its WSGIDaemonProcess out of that virtual host"
                ));
            }
            if let Err(text) = ownership::check_script(self.script, &group.options) {
                return refuse(text);
            }
            let Some(child) = runtime.child() else {
                return refuse("WSGI0311: This httpd child cannot reach daemon processes".into());
            };
            daemon::exchange::handle(request, group, child, work, &mut responder);
        }
        responder.take_answer().ok_or(Unasked)
    }
}
