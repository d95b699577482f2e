// SPDX-License-Identifier: Apache-2.0
//! What the supervisor needs to start processes of a group, made from the configuration in the
//! parent: identity, interpreter, environment, settings.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mod_wsgi_protocol::settings::{self, Settings};

use crate::config::daemon_process::Reload;
use crate::config::{Global, Text};
use crate::daemon::Group;
use crate::httpd::server::Server;
use crate::httpd::{c_string, log, mpm};
use crate::library::PythonLibrary;
use crate::os::identity;

/// Where the interpreter is when nothing names one.
const DEFAULT_INTERPRETERS: [&str; 2] = ["/usr/bin/python3", "/usr/local/bin/python3"];

/// How a group's processes are started.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The group.
    pub(crate) group: &'a Group,
    /// Where its lines are logged.
    pub(crate) server: Server<'a>,
    /// Identity that processes get; None keeps the supervisor's, when httpd was not started as root.
    pub(crate) identity: Option<Identity>,
    /// The interpreter.
    pub(crate) interpreter: PathBuf,
    /// `mod_wsgi_python.abi3.so`.
    pub(crate) library: &'static PythonLibrary,
    /// Working directory; None keeps httpd's.
    pub(crate) directory: Option<Directory>,
    /// Options of Python's command line.
    pub(crate) arguments: Vec<Vec<u8>>,
    /// Environment, but for what `env-file=` and `env=` say, which a process reads itself.
    pub(crate) environment: Vec<CString>,
    /// Whether neither `lang=` nor `locale=` says which characters text is made of: it is UTF-8.
    pub(crate) is_utf8: bool,
    /// Settings, but for what differs between processes.
    pub(crate) settings: Settings,
}

/// Whom a process runs as.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Login name, for its group memberships.
    pub(crate) name: CString,
    /// User id; never 0.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary groups, in place of the memberships.
    pub(crate) groups: Option<Vec<u32>>,
}

/// A working directory, and why it is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    /// Where.
    pub(crate) path: PathBuf,
    /// Whether `home=` says so.
    pub(crate) is_configured: bool,
}

/// The interpreter in a Python home: an environment, an installation, or the program itself.
pub(crate) fn interpreter(home: Option<&[u8]>) -> PathBuf {
    interpreter_below(Path::new("/"), home)
}

/// As [`interpreter`], for a process with another root directory: the path is one in there.
pub(crate) fn interpreter_below(root: &Path, home: Option<&[u8]>) -> PathBuf {
    // An absolute link in there leads elsewhere than for this process.
    let is_there = |path: &Path| {
        let path = root.join(path.strip_prefix("/").unwrap_or(path));
        path.symlink_metadata().is_ok()
    };
    let Some(home) = home.filter(|home| !home.is_empty()) else {
        let default = DEFAULT_INTERPRETERS.iter().find(|path| is_there(Path::new(path)));
        return default.unwrap_or(&DEFAULT_INTERPRETERS[0]).into();
    };
    // "prefix:exec_prefix" is allowed as in PYTHONHOME.
    let home = home.split(|byte| *byte == b':').next().unwrap_or(home);
    let home = Path::new(OsStr::from_bytes(home));
    if root.join(home.strip_prefix("/").unwrap_or(home)).is_file() {
        return home.to_owned();
    }
    let candidates = ["bin/python", "bin/python3"].map(|name| home.join(name));
    candidates.iter().find(|path| is_there(path)).unwrap_or(&candidates[0]).clone()
}

impl Plan<'_> {
    /// Whether processes are forked from a template. A script that is run and not asked has none.
    pub(crate) fn uses_template(&self) -> bool {
        self.group.options.preload && self.group.options.threads > 0
    }

    /// User id that processes run as.
    pub(crate) fn user(&self) -> u32 {
        self.identity.as_ref().map_or_else(identity::effective_uid, |identity| identity.uid)
    }
}

impl<'a> Plan<'a> {
    /// The processor's time at which a process is told to leave, and that at which the kernel kills
    /// it; None without `cpu-time-limit=`.
    pub(crate) fn cpu_limits(&self) -> Option<(Duration, Duration)> {
        let options = &self.group.options;
        let limit = Duration::from_secs(options.cpu_time_limit.into());
        let more = Duration::from_secs(1) + Duration::from_secs(options.shutdown_timeout.into());
        (!limit.is_zero()).then(|| (limit, limit + more))
    }

    /// The plan of a group. `is_root` tells whether privileges can be dropped.
    ///
    /// # Errors
    /// Why no process of the group can be started, for the log.
    pub(crate) fn new(
        group: &'a Group,
        server: Server<'a>,
        global: &Global,
        library: &'static PythonLibrary,
        is_root: bool,
    ) -> Result<Self, String> {
        let options = &group.options;
        let (httpd_uid, httpd_user) = mpm::child_user();
        let (uid, name) = match &options.user {
            Some(account) => (account.uid, account.name.clone()),
            None => (httpd_uid, c_string(&httpd_user)),
        };
        let identity = is_root.then(|| Identity {
            name,
            uid,
            gid: options.group.unwrap_or_else(mpm::child_group),
            groups: options.supplementary_groups.clone(),
        });
        if identity.as_ref().is_some_and(|identity| identity.uid == 0) {
            return Err(format!(
                "WSGI0304: WSGI process group '{}' would run as root and is not started: give it user=, or httpd a User",
                group.label()
            ));
        }
        let uid = identity.as_ref().map_or_else(identity::effective_uid, |identity| identity.uid);
        let account = identity::user_by_id(uid);
        let directory = match (&options.home, &account) {
            (Some(home), _) => Some(Directory {
                path: PathBuf::from(OsStr::from_bytes(home)),
                is_configured: true,
            }),
            // A home of the user's need not be in a root directory of the group's own.
            (None, _) if options.chroot.is_some() => None,
            (None, Some(account)) if is_root && uid != httpd_uid => {
                Some(Directory { path: account.home.clone(), is_configured: false })
            }
            _ => None,
        };
        let home = options.python_home.as_ref().or(global.python_home.as_ref());
        Ok(Self {
            group,
            server,
            identity,
            interpreter: interpreter_below(
                options.chroot.as_deref().unwrap_or(Path::new("/")),
                home.map(|home| &**home),
            ),
            library,
            directory,
            arguments: global.python_arguments(),
            environment: environment(
                options.lang.as_ref(),
                options.locale.as_ref(),
                account.as_ref(),
                global,
            ),
            is_utf8: options.lang.is_none() && options.locale.is_none(),
            settings: settings(group, server, global, if is_root { httpd_uid } else { uid }),
        })
    }
}

fn settings(group: &Group, server: Server<'_>, global: &Global, peer_uid: u32) -> Settings {
    let options = &group.options;
    let bytes = |text: &Text| text.to_vec();
    Settings {
        build_id: mod_wsgi_protocol::BUILD_ID.into(),
        process_group: bytes(&group.name),
        application_group: None,
        interpreters: group.shares_processes(),
        application_groups: options.application_groups,
        geometry: group.geometry(),
        threads: options.threads,
        processes: group.most_processes(),
        multithread: options.threads != 1,
        multiprocess: options.processes.is_some(),
        run_once: options.threads == 1 && options.maximum_requests == 1,
        home: options.home.as_ref().map(bytes),
        python_path: options.python_path.as_ref().map(bytes),
        display_name: options.display_name.as_ref().map(|name| match &**name {
            b"%{GROUP}" => [b"(wsgi:", &*group.name, b")"].concat(),
            name => name.to_vec(),
        }),
        locale: options.locale.as_ref().map(bytes),
        python_eggs: options.python_eggs.as_ref().map(bytes),
        switch_interval: options
            .switch_interval
            .map(|seconds| (seconds * 1e9) as u64)
            .or(global.options.switch_interval),
        own_gil: global.options.own_gil == Some(true),
        skip_finalisation: global.destroy_interpreter == Some(false),
        hide_hash_seed: global.hash_seed.is_some(),
        is_template: false,
        stands_by: false,
        keeps_old_code: options.reload == Reload::Keep,
        watches_modules: options.reload_on_modules,
        layers: global.layers(&group.name),
        restrict_stdin: global.options.restrict_stdin == Some(true),
        restrict_stdout: global.options.restrict_stdout == Some(true),
        restrict_signal: global.options.restrict_signal != Some(false),
        case_sensitivity: global.case_sensitivity != Some(false),
        maximum_requests: options.maximum_requests,
        socket_timeout: match options.socket_timeout {
            0 => server.timeout(),
            seconds => seconds,
        },
        queue_timeout: options.queue_timeout,
        send_buffer_size: options.send_buffer_size,
        receive_buffer_size: options.receive_buffer_size,
        startup_timeout: options.startup_timeout,
        request_timeout: options.request_timeout,
        interrupt_timeout: options.interrupt_timeout,
        inactivity_timeout: options.inactivity_timeout,
        deadlock_timeout: options.deadlock_timeout,
        restart_interval: options.restart_interval,
        eviction_timeout: options.eviction_timeout,
        slow_requests: global.slow_requests,
        server_metrics: options.server_metrics,
        stack_size: options.stack_size.unwrap_or(0),
        graceful_timeout: options.graceful_timeout,
        shutdown_timeout: options.shutdown_timeout,
        log_level: log::server_level(server),
        peer_uid,
        process_slot: 0,
        set: 0,
        apache_version: mpm::compiled_version(),
        apache_description: mpm::description(),
        apache_build_date: mpm::build_date(),
        apache_mpm: mpm::name(),
        apache_processes: mpm::maximum_children(),
        apache_threads: mpm::threads_per_child(),
        preload: group
            .preloads
            .iter()
            .map(|preload| settings::Preload {
                script: group.path_inside(&preload.script).unwrap_or(&preload.script).to_vec(),
                application_group: preload.application_group.to_vec(),
            })
            .collect(),
    }
}

/// httpd's environment, with the group's locale and the user's home.
fn environment(
    lang: Option<&Text>,
    locale: Option<&Text>,
    account: Option<&identity::User>,
    global: &Global,
) -> Vec<CString> {
    let mut variables: Vec<(Vec<u8>, Vec<u8>)> =
        std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
    let mut set = |name: &str, value: &[u8], always: bool| match variables
        .iter_mut()
        .find(|(known, _)| known == name.as_bytes())
    {
        Some((_, old)) => *old = value.to_vec(),
        None if always => variables.push((name.into(), value.to_vec())),
        None => {}
    };
    if let Some(lang) = lang {
        set("LANG", lang, true);
    }
    if let Some(locale) = locale {
        set("LC_ALL", locale, true);
    }
    if let Some(seed) = global.hash_seed_variable() {
        set("PYTHONHASHSEED", seed.as_bytes(), true);
    }
    if let Some(account) = account {
        set("HOME", account.home.as_os_str().as_bytes(), true);
        for name in ["USER", "USERNAME", "LOGNAME"] {
            set(name, account.name.to_bytes(), false);
        }
    }
    if global.optimize.is_some() {
        // The option of the command line is what counts, also when it is 0.
        variables.retain(|(name, _)| name != b"PYTHONOPTIMIZE");
    }
    variables
        .into_iter()
        .map(|(name, value)| c_string(&[name.as_slice(), b"=", &value].concat()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_found_in_a_home_or_is_the_home() {
        let home = std::env::temp_dir().join(format!("mod_wsgi-plan-{}", std::process::id()));
        std::fs::create_dir_all(home.join("bin")).unwrap();
        std::fs::write(home.join("bin/python3"), "").unwrap();
        let bytes = home.as_os_str().as_bytes();
        assert_eq!(interpreter(Some(bytes)), home.join("bin/python3"));
        let program = home.join("bin/python3");
        assert_eq!(interpreter(Some(program.as_os_str().as_bytes())), program);
        assert_eq!(interpreter(Some(&[bytes, b":/other"].concat())), home.join("bin/python3"));
        std::fs::remove_dir_all(&home).unwrap();
        assert_eq!(interpreter(Some(bytes)), home.join("bin/python"));
    }

    #[test]
    fn the_environment_has_home_always_and_user_only_if_it_had_one() {
        let account = identity::User {
            name: c"someone".into(),
            uid: 1000,
            gid: 1000,
            home: "/home/someone".into(),
        };
        let lang: Text = (*b"C.UTF-8").into();
        let environment = environment(Some(&lang), None, Some(&account), &Global::default());
        assert!(environment.contains(&c"HOME=/home/someone".into()));
        assert!(environment.contains(&c"LANG=C.UTF-8".into()));
        let had_user = std::env::var_os("USER").is_some();
        assert_eq!(environment.contains(&c"USER=someone".into()), had_user);
    }
}
