// SPDX-License-Identifier: Apache-2.0
//! The options of WSGIDaemonProcess, one table entry each: name, default, meaning, and how its text
//! becomes a value. Values are checked here.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::{Account, Isolation, Options, Processes, Reload, Retry};
use crate::config::body_spool::BodySpool;
use crate::config::directive::new_relic;
use crate::config::environment::{self, Variable};
use crate::config::words::{self, text};
use crate::config::{Context, Text};

/// How an option's text becomes a value.
#[derive(Clone, Copy)]
enum Setter {
    /// Any text.
    Text(fn(&mut Options, Text)),
    /// An absolute path.
    AbsolutePath(fn(&mut Options, Text)),
    /// A whole number from the first to the second.
    Integer(i64, i64, fn(&mut Options, i64)),
    /// As `Integer`, but more than the second is an error, and not read as it.
    Range(i64, i64, fn(&mut Options, i64)),
    /// 0, or a whole number from the given one on.
    ZeroOrFrom(i64, fn(&mut Options, u32)),
    /// An octal number.
    Octal(fn(&mut Options, u32)),
    /// A number above 0.
    Float(fn(&mut Options, f64)),
    /// `On` or `Off`.
    Boolean(fn(&mut Options, bool)),
    /// A user name or `#uid`.
    User(fn(&mut Options, Account) -> Result<(), String>),
    /// A group name or `#gid`.
    Group(fn(&mut Options, u32)),
    /// Group names or `#gid`, with commas.
    Groups(fn(&mut Options, Vec<u32>)),
    /// Of mod_wsgi 4; nothing hears it.
    Legacy,
    /// An absolute path, for which root is needed.
    RootPath(fn(&mut Options, Text)),
    /// `NAME=VALUE`.
    Variable(fn(&mut Options, Variable)),
    /// `process` or `interpreter`.
    Isolation(fn(&mut Options, Isolation)),
    /// A whole number, or two with a hyphen.
    Processes(fn(&mut Options, Processes)),
    /// `unstarted` or `idempotent`.
    Retry(fn(&mut Options, Retry)),
    /// A size, and perhaps `,disk`.
    BodySpool(fn(&mut Options, BodySpool)),
    /// The first word, or the second.
    Either([&'static str; 2], fn(&mut Options, bool)),
    /// Bytes, with k, M or G for more.
    Size(fn(&mut Options, u64)),
}

/// One option of WSGIDaemonProcess.
// Default and meaning are for the reference of options.
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) struct DaemonOption {
    /// Its name, case-sensitive.
    pub(crate) name: &'static str,
    /// Its default, in words.
    pub(crate) default: &'static str,
    /// One line of meaning.
    pub(crate) meaning: &'static str,
    /// What its value does.
    setter: Setter,
}

const MAX_SECONDS: i64 = u32::MAX as i64;

macro_rules! seconds {
    ($field:ident) => {
        Setter::Integer(0, MAX_SECONDS, |options, value| {
            options.$field = u32::try_from(value).unwrap_or(u32::MAX);
        })
    };
}

macro_rules! stored {
    ($kind:ident, $field:ident) => {
        Setter::$kind(|options, value| options.$field = Some(value))
    };
}

macro_rules! buffer {
    ($least:literal, $field:ident) => {
        Setter::ZeroOrFrom($least, |options, value| options.$field = value)
    };
}

/// All options, in the order of the reference.
pub(crate) const OPTIONS: &[DaemonOption] = &[
    DaemonOption {
        name: "user",
        default: "httpd's User",
        meaning: "User that the processes run as; honoured when httpd was started as root",
        setter: Setter::User(|options, account| {
            if account.uid == 0 {
                return Err(
                    "daemon processes are blocked from running as root: name another user".into()
                );
            }
            options.user = Some(account);
            Ok(())
        }),
    },
    DaemonOption {
        name: "group",
        default: "httpd's Group",
        meaning: "Group that the processes run as",
        setter: stored!(Group, group),
    },
    DaemonOption {
        name: "supplementary-groups",
        default: "the user's own",
        meaning: "Supplementary groups in place of the user's memberships, with commas",
        setter: stored!(Groups, supplementary_groups),
    },
    DaemonOption {
        name: "chroot",
        default: "none",
        meaning: "Directory that becomes the root directory of the processes; Python must be in it, and the scripts below it",
        setter: Setter::RootPath(|options, value| {
            options.chroot = Some(PathBuf::from(text(&value)));
        }),
    },
    DaemonOption {
        name: "home",
        default: "the user's home, if it is not httpd's user",
        meaning: "Working directory, also first on sys.path",
        setter: stored!(AbsolutePath, home),
    },
    DaemonOption {
        name: "umask",
        default: "inherited",
        meaning: "File mode mask, octal",
        setter: stored!(Octal, umask),
    },
    DaemonOption {
        name: "lang",
        default: "none",
        meaning: "LANG of the processes",
        setter: stored!(Text, lang),
    },
    DaemonOption {
        name: "locale",
        default: "none",
        meaning: "LC_ALL of the processes",
        setter: stored!(Text, locale),
    },
    DaemonOption {
        name: "env",
        default: "none",
        meaning: "NAME=VALUE for the environment of the processes (os.environ); may be repeated",
        setter: Setter::Variable(|options, variable| options.variables.push(variable)),
    },
    DaemonOption {
        name: "env-file",
        default: "none",
        meaning: "File with lines NAME=VALUE for the environment of the processes, read at each start of one; env comes before it",
        setter: stored!(AbsolutePath, env_file),
    },
    DaemonOption {
        name: "display-name",
        default: "none",
        meaning: "Name in the process list; %{GROUP} is (wsgi:NAME)",
        setter: stored!(Text, display_name),
    },
    DaemonOption {
        name: "script-user",
        default: "none",
        meaning: "User that must own the script and its directory",
        setter: Setter::User(|options, account| {
            options.script_user = Some(account);
            Ok(())
        }),
    },
    DaemonOption {
        name: "script-group",
        default: "none",
        meaning: "Group that must own the script and its directory",
        setter: stored!(Group, script_group),
    },
    DaemonOption {
        name: "socket-user",
        default: "httpd's User",
        meaning: "Owner of the sockets",
        setter: Setter::User(|options, account| {
            options.socket_user = Some(account.uid);
            Ok(())
        }),
    },
    DaemonOption {
        name: "processes",
        default: "1",
        meaning: "Processes of each application group, or MIN-MAX: from MIN (also 0) to MAX, more when requests wait for a thread, fewer when one was idle for inactivity-timeout (300 s if that is off); when it is written, wsgi.multiprocess is true",
        setter: Setter::Processes(|options, value| options.processes = Some(value)),
    },
    DaemonOption {
        name: "threads",
        default: "15",
        meaning: "Threads of each process that run requests; 0 counts as 1 so far",
        setter: Setter::Range(0, 65_533, |options, value| {
            options.threads = u32::try_from(value).unwrap_or(15)
        }),
    },
    DaemonOption {
        name: "python-home",
        default: "WSGIPythonHome",
        meaning: "Virtual environment or installation whose interpreter the processes are",
        setter: stored!(Text, python_home),
    },
    DaemonOption {
        name: "python-path",
        default: "none",
        meaning: "Directories put in front of sys.path, with colons",
        setter: stored!(Text, python_path),
    },
    DaemonOption {
        name: "python-eggs",
        default: "none",
        meaning: "PYTHON_EGG_CACHE of the processes",
        setter: stored!(Text, python_eggs),
    },
    DaemonOption {
        name: "switch-interval",
        default: "Python's",
        meaning: "sys.setswitchinterval, in seconds",
        setter: stored!(Float, switch_interval),
    },
    DaemonOption {
        name: "stack-size",
        default: "the system's",
        meaning: "Bytes of stack of each thread that runs requests",
        setter: Setter::Integer(1, i64::MAX, |options, value| {
            options.stack_size = u64::try_from(value).ok()
        }),
    },
    DaemonOption {
        name: "server-metrics",
        default: "Off",
        meaning: "Whether mod_wsgi.server_metrics() tells what httpd's scoreboard has: of all virtual hosts, with ExtendedStatus also addresses and request lines",
        setter: Setter::Boolean(|options, value| options.server_metrics = value),
    },
    DaemonOption {
        name: "maximum-requests",
        default: "0 (unlimited)",
        meaning: "Requests after which a process is replaced",
        setter: Setter::Integer(0, i64::MAX, |options, value| {
            options.maximum_requests = u64::try_from(value).unwrap_or(0);
        }),
    },
    DaemonOption {
        name: "cpu-time-limit",
        default: "0 (unlimited)",
        meaning: "Seconds of CPU after which a process is replaced, as with SIGXCPU; it is killed shutdown-timeout and one second of CPU later",
        setter: seconds!(cpu_time_limit),
    },
    DaemonOption {
        name: "cpu-priority",
        default: "0",
        meaning: "Nice value of the processes",
        setter: Setter::Integer(i64::MIN, i32::MAX as i64, |options, value| {
            options.cpu_priority = i32::try_from(value).unwrap_or(i32::MIN);
        }),
    },
    DaemonOption {
        name: "memory-limit",
        default: "0 (unlimited)",
        meaning: "RLIMIT_DATA of the processes, in bytes",
        setter: Setter::Integer(0, i64::MAX, |options, value| {
            options.memory_limit = u64::try_from(value).unwrap_or(0);
        }),
    },
    DaemonOption {
        name: "virtual-memory-limit",
        default: "0 (unlimited)",
        meaning: "RLIMIT_AS of the processes, in bytes",
        setter: Setter::Integer(0, i64::MAX, |options, value| {
            options.virtual_memory_limit = u64::try_from(value).unwrap_or(0);
        }),
    },
    DaemonOption {
        name: "process-limit",
        default: "0 (httpd's)",
        meaning: "RLIMIT_NPROC of the processes: how many processes and threads their user may have in all before they can start no more",
        setter: Setter::Integer(0, i64::MAX, |options, value| {
            options.process_limit = u64::try_from(value).unwrap_or(0);
        }),
    },
    DaemonOption {
        name: "connect-timeout",
        default: "15",
        meaning: "Seconds that a request waits for a process that takes it, also when listen-backlog is reached",
        setter: seconds!(connect_timeout),
    },
    DaemonOption {
        name: "socket-timeout",
        default: "0 (httpd's Timeout)",
        meaning: "Seconds for one read or write between httpd and a process",
        setter: seconds!(socket_timeout),
    },
    DaemonOption {
        name: "queue-timeout",
        default: "0 (off)",
        meaning: "Seconds after which a waiting request is answered 504 instead of run",
        setter: seconds!(queue_timeout),
    },
    DaemonOption {
        name: "startup-timeout",
        default: "0 (off)",
        meaning: "Seconds for the script to load, when processes start or for the first request",
        setter: seconds!(startup_timeout),
    },
    DaemonOption {
        name: "request-timeout",
        default: "0 (off)",
        meaning: "Seconds for one request, times 1 + ln(threads)",
        setter: seconds!(request_timeout),
    },
    DaemonOption {
        name: "interrupt-timeout",
        default: "0 (off)",
        meaning: "Seconds between raising mod_wsgi.RequestTimeout in a request that is out of time and replacing its process; 0 raises nothing",
        setter: seconds!(interrupt_timeout),
    },
    DaemonOption {
        name: "graceful-timeout",
        default: "15",
        meaning: "Seconds that running requests have when a process is replaced",
        setter: seconds!(graceful_timeout),
    },
    DaemonOption {
        name: "eviction-timeout",
        default: "0 (graceful-timeout)",
        meaning: "As graceful-timeout, for SIGUSR1",
        setter: seconds!(eviction_timeout),
    },
    DaemonOption {
        name: "restart-interval",
        default: "0 (off)",
        meaning: "Age in seconds at which a process is replaced",
        setter: seconds!(restart_interval),
    },
    DaemonOption {
        name: "inactivity-timeout",
        default: "0 (off)",
        meaning: "Seconds without a request after which a process that has served leaves",
        setter: seconds!(inactivity_timeout),
    },
    DaemonOption {
        name: "deadlock-timeout",
        default: "300",
        meaning: "Seconds without the interpreter's lock after which a process is replaced; 0 never",
        setter: seconds!(deadlock_timeout),
    },
    DaemonOption {
        name: "shutdown-timeout",
        default: "5",
        meaning: "Seconds for a process to leave once it was told to; 0 as long as its requests take, unless httpd restarts or stops",
        setter: seconds!(shutdown_timeout),
    },
    DaemonOption {
        name: "response-socket-timeout",
        default: "0 (socket-timeout)",
        meaning: "Seconds for one write to a client that does not read; 0 in both: httpd's Timeout",
        setter: seconds!(response_socket_timeout),
    },
    DaemonOption {
        name: "listen-backlog",
        default: "100",
        meaning: "Requests of an application group that may wait when all threads are busy; beyond, 503 after connect-timeout",
        setter: Setter::Integer(0, i32::MAX as i64, |options, value| {
            options.listen_backlog = u32::try_from(value).unwrap_or(100);
        }),
    },
    DaemonOption {
        name: "send-buffer-size",
        default: "0 (208 KiB)",
        meaning: "SO_SNDBUF of the sockets, in bytes",
        setter: buffer!(512, send_buffer_size),
    },
    DaemonOption {
        name: "receive-buffer-size",
        default: "0 (the system's)",
        meaning: "SO_RCVBUF of the sockets, in bytes",
        setter: buffer!(512, receive_buffer_size),
    },
    DaemonOption {
        name: "header-buffer-size",
        default: "0 (unlimited)",
        meaning: "Longest response header line, in bytes; a longer one is answered 500",
        setter: buffer!(8192, header_buffer_size),
    },
    DaemonOption {
        name: "response-buffer-size",
        default: "0 (8 MiB)",
        meaning: "Bytes passed on to httpd's output filters without a flush",
        setter: buffer!(65_536, response_buffer_size),
    },
    DaemonOption {
        name: "response-flush-delay",
        default: "5",
        meaning: "Milliseconds that a block may wait for the next one before it is flushed to the client; 0: not at all",
        setter: seconds!(response_flush_delay),
    },
    DaemonOption {
        name: "body-spool",
        default: "1M",
        meaning: "Size up to which a request body of known length is read before a thread is taken for the request, so that slow senders hold none; K, M and G may stand behind the number, 0 is off. With `,disk` behind it, longer and chunked bodies are read first, too: what is beyond the size goes into a temporary file, which LimitRequestBody bounds. A body whose sender expects `100 Continue` is never read first. Memory of an httpd child: at most its threads times the size",
        setter: Setter::BodySpool(|options, value| options.body_spool = value),
    },
    DaemonOption {
        name: "reload",
        default: "strict",
        meaning: "When changed code does not load: strict answers 500, keep goes on with the old code",
        setter: Setter::Either(["strict", "keep"], |options, is_second| {
            options.reload = if is_second { Reload::Keep } else { Reload::Strict };
        }),
    },
    DaemonOption {
        name: "reload-on",
        default: "script",
        meaning: "Whose change replaces the processes: the script's, or that of every imported module's file (modules), for development",
        setter: Setter::Either(["script", "modules"], |options, is_second| {
            options.reload_on_modules = is_second;
        }),
    },
    DaemonOption {
        name: "maximum-rss",
        default: "0 (unlimited)",
        meaning: "Bytes in memory (k, M, G) beyond which a process is replaced",
        setter: Setter::Size(|options, value| options.maximum_rss = value),
    },
    DaemonOption {
        name: "isolation",
        default: "process",
        meaning: "Whether application groups get processes or sub-interpreters of their own",
        setter: Setter::Isolation(|options, value| options.isolation = value),
    },
    DaemonOption {
        name: "application-groups",
        default: "16",
        meaning: "Most application groups with processes of their own, or with sub-interpreters; beyond, 503",
        setter: Setter::Range(1, 1000, |options, value| {
            options.application_groups = u32::try_from(value).unwrap_or(16);
        }),
    },
    DaemonOption {
        name: "preload",
        default: "Off",
        meaning: "On: a template process of each set loads the application once, and the others are forked from it; not for threads=0, and with isolation=interpreter only for %{GLOBAL}",
        setter: Setter::Boolean(|options, value| options.preload = value),
    },
    DaemonOption {
        name: "retry",
        default: "unstarted",
        meaning: "Which requests go to another process when theirs dies: unstarted, which the application had not begun; idempotent, also GET, HEAD, OPTIONS, PUT and DELETE without response yet, twice at most",
        setter: Setter::Retry(|options, value| options.retry = value),
    },
    DaemonOption {
        name: "newrelic-config-file",
        default: "none",
        meaning: "Of mod_wsgi 4; no effect",
        setter: Setter::Legacy,
    },
    DaemonOption {
        name: "newrelic-environment",
        default: "none",
        meaning: "Of mod_wsgi 4; no effect",
        setter: Setter::Legacy,
    },
];

/// Reads the value of an option.
///
/// # Errors
/// What is wrong with it.
pub(super) fn set(
    entry: &DaemonOption,
    options: &mut Options,
    value: &[u8],
    context: &mut dyn Context,
) -> Result<(), String> {
    let integer = |least: i64, most: i64, context: &mut dyn Context| {
        if value.is_empty() {
            return Err("a number is missing".to_owned());
        }
        let number = words::lenient_integer(value);
        let taken = number.value.min(most);
        let remedy =
            if taken == number.value { "write the number alone" } else { "it is the most" };
        if number.ignored || taken != number.value {
            context.warn(format!(
                "WSGIDaemonProcess {}={} is read as {taken}: {remedy}",
                entry.name,
                text(value),
            ));
        }
        if taken < least { Err(format!("it must be {least} or more")) } else { Ok(taken) }
    };
    match entry.setter {
        Setter::Text(store) => store(options, value.into()),
        Setter::RootPath(_) if !context.is_root() => {
            return Err("httpd must be started as root for it".into());
        }
        Setter::AbsolutePath(_) | Setter::RootPath(_) if !value.starts_with(b"/") => {
            return Err("it must be an absolute path".into());
        }
        Setter::AbsolutePath(store) | Setter::RootPath(store) => store(options, value.into()),
        Setter::Legacy => context.notice(new_relic(entry.name)),
        Setter::Integer(least, most, store) => store(options, integer(least, most, context)?),
        Setter::Range(least, most, store) => match integer(least, i64::MAX, context) {
            Ok(number) if number <= most => store(options, number),
            Err(problem) if value.is_empty() => return Err(problem),
            _ => return Err(format!("it must be from {least} to {most}")),
        },
        Setter::ZeroOrFrom(least, store) => match integer(0, i64::from(i32::MAX), context)? {
            number if number == 0 || number >= least => {
                store(options, u32::try_from(number).unwrap_or(0))
            }
            _ => return Err(format!("it must be 0 for the default, or {least} or more")),
        },
        Setter::Octal(store) => match words::octal(value) {
            Some(number) => store(options, number),
            None => return Err("it must be an octal number such as 0027".into()),
        },
        Setter::Float(store) => match words::positive_float(value) {
            Some(number) => store(options, number),
            None => return Err("it must be a number above 0".into()),
        },
        Setter::Boolean(store) => match words::boolean(value) {
            Some(value) => store(options, value),
            None => return Err("it must be On or Off".into()),
        },
        Setter::User(store) => store(options, context.user(value)?)?,
        Setter::Group(store) => store(options, context.group(value)?),
        Setter::Groups(store) => {
            let groups = value
                .split(|byte| *byte == b',')
                .filter(|name| !name.is_empty())
                .map(|name| context.group(name))
                .collect::<Result<_, _>>()?;
            store(options, groups);
        }
        Setter::Variable(store) => store(options, environment::variable(value)?),
        Setter::Isolation(store) => match value {
            b"process" => store(options, Isolation::Process),
            b"interpreter" => store(options, Isolation::Interpreter),
            _ => return Err("it must be process or interpreter".into()),
        },
        Setter::Processes(store) => match range(value)? {
            Some(processes) => store(options, processes),
            None => {
                let number = integer(1, i64::from(MAX_PROCESSES), context)?;
                let number = u32::try_from(number).unwrap_or(1);
                store(options, Processes { least: number, most: number });
            }
        },
        Setter::Retry(store) => match value {
            b"unstarted" => store(options, Retry::Unstarted),
            b"idempotent" => store(options, Retry::Idempotent),
            _ => return Err("it must be unstarted or idempotent".into()),
        },
        Setter::BodySpool(store) => store(options, BodySpool::parse(value)?),
        Setter::Either([first, second], store) => match value {
            value if value == first.as_bytes() => store(options, false),
            value if value == second.as_bytes() => store(options, true),
            _ => return Err(format!("it must be {first} or {second}")),
        },
        Setter::Size(store) => match words::size(value) {
            Some(size) => store(options, size),
            None => return Err("it must be a number of bytes such as 300M".into()),
        },
    }
    Ok(())
}

/// Most processes of an application group.
pub(super) const MAX_PROCESSES: u32 = 10_000;

/// `MIN-MAX`; None when it is no such thing, but perhaps a number.
fn range(value: &[u8]) -> Result<Option<Processes>, String> {
    let text = text(value);
    let Some((least, most)) = text.split_once('-').filter(|(least, _)| !least.is_empty()) else {
        return Ok(None);
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    };
    match (number(least), number(most)) {
        (Some(least), Some(most)) if least <= most && (1..=MAX_PROCESSES).contains(&most) => {
            Ok(Some(Processes { least, most }))
        }
        _ => Err(format!(
            "it must be a number, or MIN-MAX with MIN from 0 and MAX from 1 to {MAX_PROCESSES}, as in processes=1-8"
        )),
    }
}
