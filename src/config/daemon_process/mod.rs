// SPDX-License-Identifier: Apache-2.0
//! WSGIDaemonProcess (spec-config 2): its options as said. How each is read is in table.rs; what they
//! do is elsewhere.
#![forbid(unsafe_code)]

mod table;

use std::ffi::CString;
use std::path::PathBuf;

use super::body_spool::BodySpool;
use super::environment::Variable;
use super::words::{Words, text};
use super::{Context, Text};

use table::set;

pub(crate) use table::OPTIONS;

/// How application groups of a process group are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Isolation {
    /// Each has its own processes, and always the main interpreter.
    #[default]
    Process,
    /// Each has a sub-interpreter in every process, as in mod_wsgi.
    Interpreter,
}

/// How many processes an application group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processes {
    /// That it keeps without a request.
    pub(crate) least: u32,
    /// That it has when many requests wait.
    pub(crate) most: u32,
}

/// Which requests are sent to another process when theirs dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Retry {
    /// Those that the application had not begun.
    #[default]
    Unstarted,
    /// Also those of idempotent methods.
    Idempotent,
}

/// What happens when the code that replaces a changed script does not load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reload {
    /// Requests are answered 500, as by the code.
    #[default]
    Strict,
    /// The old code goes on.
    Keep,
}

/// A user of the system, as an option names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Login name.
    pub(crate) name: CString,
    /// User id.
    pub(crate) uid: u32,
}

/// The options of one WSGIDaemonProcess, as said; None is "not said".
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// `user=`.
    pub(crate) user: Option<Account>,
    /// `group=`, as group id.
    pub(crate) group: Option<u32>,
    /// `supplementary-groups=`, as group ids.
    pub(crate) supplementary_groups: Option<Vec<u32>>,
    /// `chroot=`.
    pub(crate) chroot: Option<PathBuf>,
    /// `home=`.
    pub(crate) home: Option<Text>,
    /// `umask=`.
    pub(crate) umask: Option<u32>,
    /// `lang=`.
    pub(crate) lang: Option<Text>,
    /// `locale=`.
    pub(crate) locale: Option<Text>,
    /// `env=`, in the order of the configuration.
    pub(crate) variables: Vec<Variable>,
    /// `env-file=`.
    pub(crate) env_file: Option<Text>,
    /// `display-name=`.
    pub(crate) display_name: Option<Text>,
    /// `script-user=`.
    pub(crate) script_user: Option<Account>,
    /// `script-group=`, as group id.
    pub(crate) script_group: Option<u32>,
    /// `socket-user=`, as user id.
    pub(crate) socket_user: Option<u32>,
    /// `processes=`; that it was said at all makes `wsgi.multiprocess` true.
    pub(crate) processes: Option<Processes>,
    /// `threads=`.
    pub(crate) threads: u32,
    /// `python-home=`.
    pub(crate) python_home: Option<Text>,
    /// `python-path=`.
    pub(crate) python_path: Option<Text>,
    /// `python-eggs=`.
    pub(crate) python_eggs: Option<Text>,
    /// `switch-interval=`, seconds.
    pub(crate) switch_interval: Option<f64>,
    /// `stack-size=`, bytes.
    pub(crate) stack_size: Option<u64>,
    /// `server-metrics=`.
    pub(crate) server_metrics: bool,
    /// `maximum-requests=`; 0 is unlimited.
    pub(crate) maximum_requests: u64,
    /// `cpu-time-limit=`, seconds; 0 is unlimited.
    pub(crate) cpu_time_limit: u32,
    /// `cpu-priority=`, nice value.
    pub(crate) cpu_priority: i32,
    /// `memory-limit=`, bytes; 0 is unlimited.
    pub(crate) memory_limit: u64,
    /// `virtual-memory-limit=`, bytes; 0 is unlimited.
    pub(crate) virtual_memory_limit: u64,
    /// `process-limit=`; 0 is httpd's.
    pub(crate) process_limit: u64,
    /// `connect-timeout=`, seconds.
    pub(crate) connect_timeout: u32,
    /// `socket-timeout=`, seconds; 0 is httpd's `Timeout`.
    pub(crate) socket_timeout: u32,
    /// `queue-timeout=`, seconds; 0 is off, as with the timeouts below.
    pub(crate) queue_timeout: u32,
    /// `startup-timeout=`, seconds.
    pub(crate) startup_timeout: u32,
    /// `request-timeout=`, seconds.
    pub(crate) request_timeout: u32,
    /// `interrupt-timeout=`, seconds.
    pub(crate) interrupt_timeout: u32,
    /// `graceful-timeout=`, seconds.
    pub(crate) graceful_timeout: u32,
    /// `eviction-timeout=`, seconds.
    pub(crate) eviction_timeout: u32,
    /// `restart-interval=`, seconds.
    pub(crate) restart_interval: u32,
    /// `inactivity-timeout=`, seconds.
    pub(crate) inactivity_timeout: u32,
    /// `deadlock-timeout=`, seconds.
    pub(crate) deadlock_timeout: u32,
    /// `shutdown-timeout=`, seconds.
    pub(crate) shutdown_timeout: u32,
    /// `response-socket-timeout=`, seconds.
    pub(crate) response_socket_timeout: u32,
    /// `listen-backlog=`.
    pub(crate) listen_backlog: u32,
    /// `send-buffer-size=`, bytes; 0 is the system's.
    pub(crate) send_buffer_size: u32,
    /// `receive-buffer-size=`, bytes; 0 is the system's.
    pub(crate) receive_buffer_size: u32,
    /// `header-buffer-size=`, bytes; 0 is the default.
    pub(crate) header_buffer_size: u32,
    /// `response-buffer-size=`, bytes; 0 is the default.
    pub(crate) response_buffer_size: u32,
    /// `response-flush-delay=`, milliseconds.
    pub(crate) response_flush_delay: u32,
    /// `body-spool=`.
    pub(crate) body_spool: BodySpool,
    /// `reload=`.
    pub(crate) reload: Reload,
    /// `reload-on=modules`.
    pub(crate) reload_on_modules: bool,
    /// `maximum-rss=`, bytes; 0 is unlimited.
    pub(crate) maximum_rss: u64,
    /// `isolation=`.
    pub(crate) isolation: Isolation,
    /// `retry=`.
    pub(crate) retry: Retry,
    /// `application-groups=`: most application groups with processes of their own.
    pub(crate) application_groups: u32,
    /// `preload=`: processes are forked from one that has the application loaded.
    pub(crate) preload: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            supplementary_groups: None,
            chroot: None,
            home: None,
            umask: None,
            lang: None,
            locale: None,
            variables: Vec::new(),
            env_file: None,
            display_name: None,
            script_user: None,
            script_group: None,
            socket_user: None,
            processes: None,
            threads: 15,
            python_home: None,
            python_path: None,
            python_eggs: None,
            switch_interval: None,
            stack_size: None,
            server_metrics: false,
            maximum_requests: 0,
            cpu_time_limit: 0,
            cpu_priority: 0,
            memory_limit: 0,
            virtual_memory_limit: 0,
            process_limit: 0,
            connect_timeout: 15,
            socket_timeout: 0,
            queue_timeout: 0,
            startup_timeout: 0,
            request_timeout: 0,
            interrupt_timeout: 0,
            graceful_timeout: 15,
            eviction_timeout: 0,
            restart_interval: 0,
            inactivity_timeout: 0,
            deadlock_timeout: 300,
            shutdown_timeout: 5,
            response_socket_timeout: 0,
            listen_backlog: 100,
            send_buffer_size: 0,
            receive_buffer_size: 0,
            header_buffer_size: 0,
            response_buffer_size: 0,
            response_flush_delay: 5,
            body_spool: BodySpool::default(),
            reload: Reload::Strict,
            reload_on_modules: false,
            maximum_rss: 0,
            isolation: Isolation::Process,
            retry: Retry::Unstarted,
            application_groups: 16,
            preload: false,
        }
    }
}

/// One WSGIDaemonProcess.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DaemonProcess {
    /// Name of the process group.
    pub(crate) name: Text,
    /// Its options.
    pub(crate) options: Options,
}

/// Parses the arguments of a WSGIDaemonProcess.
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse(line: &[u8], context: &mut dyn Context) -> Result<DaemonProcess, String> {
    let mut words = Words::new(line);
    let Some(name) = words.next().filter(|name| !name.is_empty()) else {
        return Err(
            "name of daemon process not supplied: write WSGIDaemonProcess NAME [option=value ...]"
                .into(),
        );
    };
    let mut options = Options::default();
    while let Some(option) = words.option() {
        let (name, value) = option.map_err(|word| {
            format!("invalid option to WSGI daemon process definition: \"{word}\" is not of the form option=value (without blanks around the sign)")
        })?;
        let Some(entry) = OPTIONS.iter().find(|entry| entry.name == name) else {
            return Err(unknown(&name));
        };
        set(entry, &mut options, &value, context).map_err(|problem| {
            format!("invalid option {name}={} for WSGI daemon process: {problem}", text(&value))
        })?;
    }
    if options.script_user.is_some() && options.script_group.is_some() {
        return Err("only one of script-user and script-group can be given for a WSGI daemon process: remove one".into());
    }
    Ok(DaemonProcess { name: name.into(), options })
}
fn unknown(name: &str) -> String {
    let nearest = super::nearest(name, OPTIONS.iter().map(|entry| entry.name));
    match nearest {
        Some(nearest) => format!(
            "invalid option to WSGI daemon process definition: there is no option \"{name}\", did you mean \"{nearest}\"?"
        ),
        None => format!(
            "invalid option to WSGI daemon process definition: there is no option \"{name}\", remove it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixed;
    use super::table::MAX_PROCESSES;
    use super::*;

    fn parsed(line: &str) -> Result<DaemonProcess, String> {
        parse(line.as_bytes(), &mut Fixed::default())
    }

    #[test]
    fn the_long_list_of_a_real_guide_is_taken() {
        let process = parsed(
            "webware threads=20 python-home=/srv/venv display-name='%{GROUP}' lang='en_US.UTF-8' \
             locale='en_US.UTF-8' queue-timeout=45 socket-timeout=60 connect-timeout=15 \
             request-timeout=60 inactivity-timeout=0 startup-timeout=15 deadlock-timeout=60 \
             graceful-timeout=15 eviction-timeout=0 restart-interval=0 shutdown-timeout=5 \
             maximum-requests=0",
        )
        .unwrap();
        assert_eq!(&*process.name, b"webware");
        assert_eq!((process.options.threads, process.options.queue_timeout), (20, 45));
        assert_eq!(process.options.display_name.as_deref(), Some(&b"%{GROUP}"[..]));
    }

    #[test]
    fn every_option_is_described() {
        for option in OPTIONS {
            assert!(!option.default.is_empty() && !option.meaning.is_empty(), "{}", option.name);
        }
    }

    #[test]
    fn defaults() {
        let options = parsed("x").unwrap().options;
        assert_eq!(options, Options::default());
        assert_eq!((options.processes, options.threads, options.connect_timeout), (None, 15, 15));
    }

    #[test]
    fn errors_name_option_value_and_remedy() {
        for (line, needle) in [
            ("", "name of daemon process not supplied"),
            ("x thread=5", "did you mean \"threads\""),
            ("x Threads=5", "did you mean \"threads\""),
            ("x threads = 5", "without blanks"),
            ("x threads=", "a number is missing"),
            ("x threads=65534", "threads=65534"),
            ("x processes=0", "1 or more"),
            ("x processes=4-2", "MIN-MAX"),
            ("x processes=0-0", "MIN-MAX"),
            ("x processes=1-", "MIN-MAX"),
            ("x processes=1-10001", "MIN-MAX"),
            ("x processes=-4", "1 or more"),
            ("x umask=9", "octal"),
            ("x home=relative", "absolute path"),
            ("x user=root", "blocked from running as root"),
            ("x user=nobody-at-all", "nobody-at-all"),
            ("x send-buffer-size=511", "512 or more"),
            ("x server-metrics=yes", "On or Off"),
            ("x isolation=thread", "process or interpreter"),
            ("x retry=always", "unstarted or idempotent"),
            ("x body-spool=1T", "512K"),
            ("x reload=never", "strict or keep"),
            ("x reload-on=module", "script or modules"),
            ("x maximum-rss=300MB", "number of bytes"),
            ("x maximum-rss=-1", "number of bytes"),
            ("x script-user=www-data script-group=www-data", "only one of"),
            ("x script-user=nobody-at-all", "nobody-at-all"),
            ("x chroot=/srv", "started as root"),
            ("x env=NAME", "NAME=VALUE"),
            ("x env=1A=b", "no name of a variable"),
            ("x env-file=.env", "absolute path"),
            ("x stack-size=0", "1 or more"),
            ("x socket-timeout=-1", "0 or more"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }

    #[test]
    fn variables_may_be_repeated_and_quoted() {
        let options = parsed("x env=A=1 env='B=two words' env=\"C=\"").unwrap().options;
        let variable = |name: &str, value: &str| (name.into(), value.into());
        assert_eq!(
            options.variables,
            [variable("A", "1"), variable("B", "two words"), variable("C", "")]
        );
    }

    #[test]
    fn processes_are_a_number_or_a_range() {
        for (value, least, most) in [("3", 3, 3), ("1-4", 1, 4), ("0-1", 0, 1), ("5-5", 5, 5)] {
            let options = parsed(&format!("x processes={value}")).unwrap().options;
            assert_eq!(options.processes, Some(Processes { least, most }), "{value}");
        }
    }

    #[test]
    fn a_timeout_of_the_largest_int_is_taken() {
        assert_eq!(
            parsed("x socket-timeout=2147483647").unwrap().options.socket_timeout,
            2_147_483_647
        );
    }

    #[test]
    fn numbers_beyond_what_can_be_are_the_largest() {
        let mut context = Fixed::default();
        let line = b"x socket-timeout=4294967296 listen-backlog=99999999999999999999 \
                     send-buffer-size=4294967296 processes=65536 cpu-priority=-2147483649";
        let options = parse(line, &mut context).unwrap().options;
        assert_eq!((options.socket_timeout, options.listen_backlog), (u32::MAX, 2_147_483_647));
        assert_eq!(options.send_buffer_size, 2_147_483_647);
        let most = Processes { least: MAX_PROCESSES, most: MAX_PROCESSES };
        assert_eq!(options.processes, Some(most));
        assert_eq!(options.cpu_priority, i32::MIN);
        assert_eq!(context.warnings.len(), 4);
    }

    #[test]
    fn junk_behind_a_number_is_warned_of_and_ignored() {
        let mut context = Fixed::default();
        let process = parse(b"x threads=5x", &mut context).unwrap();
        assert_eq!(process.options.threads, 5);
        assert_eq!(context.warnings.len(), 1);
    }
}
