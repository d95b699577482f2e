// SPDX-License-Identifier: Apache-2.0
//! Embedded mode: Python inside an httpd child. Which interpreter that is, is asked in the parent;
//! it is loaded in a child when the first request (or a script to load at start) needs it.

pub(crate) mod interpreter;
pub(crate) mod probe;
pub(crate) mod table;

use mod_wsgi_protocol::settings::{Preload, Settings};

use crate::config::{Global, Text};
use crate::httpd::server::Server;
use crate::httpd::{log, mpm};
use crate::library::PythonLibrary;

pub(crate) use table::handle;

/// What embedded mode needs, made in the parent.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The interpreter, or why there is none.
    pub(crate) interpreter: Result<probe::Interpreter, String>,
    /// `mod_wsgi_python.abi3.so`.
    pub(crate) library: &'static PythonLibrary,
    /// Encoded settings.
    pub(crate) settings: Vec<u8>,
    /// Options of Python's command line.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// Whether scripts are to be loaded when a child starts.
    pub(crate) is_eager: bool,
}

/// Settings of the embedded interpreter.
pub(crate) fn settings(global: &Global, main: Server<'_>) -> Settings {
    let preload: Vec<Preload> = global
        .preloads
        .iter()
        .filter(|preload| preload.process_group.is_empty())
        // An alias asks for nothing where no request can come from it.
        .filter(|preload| preload.is_import || global.allows_embedded())
        .map(|preload| Preload {
            script: preload.script.to_vec(),
            application_group: preload.application_group.to_vec(),
        })
        .collect();
    let bytes = |text: &Text| text.to_vec();
    let threads = if mpm::is_threaded() { mpm::threads_per_child() } else { 1 };
    Settings {
        build_id: mod_wsgi_protocol::BUILD_ID.into(),
        interpreters: true,
        threads,
        processes: mpm::maximum_children(),
        multithread: threads != 1,
        multiprocess: mpm::maximum_children() != 1,
        python_path: global.options.python_path.as_ref().map(bytes),
        python_eggs: global.python_eggs.as_ref().map(bytes),
        switch_interval: global.options.switch_interval,
        own_gil: global.options.own_gil == Some(true),
        skip_finalisation: global.destroy_interpreter == Some(false),
        hide_hash_seed: global.hash_seed.is_some(),
        is_template: false,
        layers: global.layers(b""),
        restrict_stdin: global.options.restrict_stdin == Some(true),
        restrict_stdout: global.options.restrict_stdout == Some(true),
        restrict_signal: global.options.restrict_signal != Some(false),
        slow_requests: global.slow_requests,
        server_metrics: global.server_metrics,
        case_sensitivity: global.case_sensitivity != Some(false),
        log_level: log::server_level(main),
        apache_version: mpm::compiled_version(),
        apache_description: mpm::description(),
        apache_build_date: mpm::build_date(),
        apache_mpm: mpm::name(),
        apache_processes: mpm::maximum_children(),
        apache_threads: mpm::threads_per_child(),
        preload,
        ..Settings::default()
    }
}
