// SPDX-License-Identifier: Apache-2.0
//! Starting one daemon process: what the supervisor prepares, and what the forked child does until
//! it is the interpreter. Privileges are dropped before anything of the user's is touched.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mod_wsgi_protocol::bootstrap;
use mod_wsgi_protocol::control::inherited;

use super::environment;
use super::plan::{Identity, Plan};
use crate::httpd::c_string;
use crate::os::process::{
    PidFd, Resource, arrange_descriptors, change_root, end_now, end_with_parent, execute, fork,
    has_locale, is_accessible, own_pid, restore_descriptor_limit, set_limit, set_priority,
};
use crate::os::socket::{self, Address};
use crate::os::{identity, pipe, set_nonblocking, signal};

/// Exit status of a child that could not become the interpreter, after one line that says why.
pub(crate) const EXIT_NOT_STARTED: i32 = 71;

/// A process that was started, and the supervisor's ends of what connects the two.
#[derive(Debug)]
pub(crate) struct Started {
    /// The process.
    pub(crate) process: PidFd,
    /// The ends.
    pub(crate) ends: Ends,
}

/// The supervisor's ends of what connects it with a process.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Control socket.
    pub(crate) control: OwnedFd,
    /// For questions about httpd's scoreboard; None without `server-metrics=`, and of a template.
    pub(crate) metrics: Option<OwnedFd>,
    /// Read end of its standard output.
    pub(crate) stdout: OwnedFd,
    /// Read end of its standard error.
    pub(crate) stderr: OwnedFd,
}

/// The ends of a process that is to be.
#[derive(Debug)]
pub(crate) struct Theirs {
    /// Control socket; its first message holds the settings.
    pub(crate) control: OwnedFd,
    /// Where it listens, if it does.
    pub(crate) listener: Option<OwnedFd>,
    /// For questions about httpd's scoreboard; None without `server-metrics=`, and of a template.
    pub(crate) metrics: Option<OwnedFd>,
    /// Standard output.
    pub(crate) stdout: OwnedFd,
    /// Standard error.
    pub(crate) stderr: OwnedFd,
}

/// Makes what connects the supervisor with a process of the group that listens at `address`, or
/// nowhere. `settings` are its encoded settings.
///
/// # Errors
/// What the system refused.
pub(crate) fn connect(
    plan: &Plan<'_>,
    address: Option<&Address>,
    settings: &[u8],
) -> io::Result<(Ends, Theirs)> {
    let backlog = i32::try_from(plan.group.options.listen_backlog).unwrap_or(i32::MAX);
    let listener = address.map(|address| listen(plan, address, backlog)).transpose()?;
    let (control, child_control) = socket::message_pair()?;
    socket::send_large_message(control.as_fd(), settings)?;
    // A template, which has no address, does not ask.
    let asks = plan.settings.server_metrics && address.is_some();
    let pair = if asks { Some(socket::message_pair()?) } else { None };
    let (metrics, child_metrics) = pair.unzip();
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    set_nonblocking(stdout.as_fd(), true)?;
    set_nonblocking(stderr.as_fd(), true)?;
    let theirs = Theirs {
        control: child_control,
        listener,
        metrics: child_metrics,
        stdout: child_stdout,
        stderr: child_stderr,
    };
    Ok((Ends { control, metrics, stdout, stderr }, theirs))
}

/// Starts a process of the group that listens at `address`, or nowhere. `settings` are its encoded
/// settings.
///
/// # Errors
/// What the system refused.
pub(crate) fn launch(
    plan: &Plan<'_>,
    address: Option<&Address>,
    settings: &[u8],
) -> io::Result<Started> {
    let (ends, theirs) = connect(plan, address, settings)?;
    let null = std::fs::File::open("/dev/null")?;
    let supervisor = own_pid();
    // SAFETY: the supervisor has one thread.
    let pid = unsafe {
        fork(|| {
            let mut descriptors = vec![
                (null.as_fd(), 0),
                (theirs.stdout.as_fd(), 1),
                (theirs.stderr.as_fd(), 2),
                (theirs.control.as_fd(), inherited::CONTROL),
                (plan.group.memory().fd().as_fd(), inherited::REGION),
            ];
            let listener = theirs.listener.as_ref();
            descriptors.extend(listener.map(|listener| (listener.as_fd(), inherited::LISTENER)));
            let metrics = theirs.metrics.as_ref();
            descriptors.extend(metrics.map(|metrics| (metrics.as_fd(), inherited::METRICS)));
            descriptors.extend(plan.library.descriptor().map(|file| (file, inherited::LIBRARY)));
            become_interpreter(plan, supervisor, &descriptors)
        })
    }?;
    match PidFd::open(pid) {
        Ok(process) => Ok(Started { process, ends }),
        Err(error) => {
            end_now(pid);
            Err(error)
        }
    }
}

fn listen(plan: &Plan<'_>, address: &Address, backlog: i32) -> io::Result<OwnedFd> {
    if let Some(path) = address.path() {
        // Serials are never used twice: a file of this name was left by somebody who was killed.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = socket::listen(address, backlog)?;
    if let (Some(path), Some(owner)) = (address.path(), plan.group.socket_owner()) {
        identity::change_owner(&c_string(path.as_os_str().as_bytes()), owner)?;
    }
    Ok(listener)
}

/// Runs in the forked child; returns only when it failed.
fn become_interpreter(
    plan: &Plan<'_>,
    supervisor: u32,
    descriptors: &[(BorrowedFd<'_>, i32)],
) -> i32 {
    signal::reset_all();
    restore_descriptor_limit();
    let result: Result<(), String> = prepare(plan, descriptors).and_then(|environment| {
        check_interpreter(plan)?;
        let program = c_string(plan.interpreter.as_os_str().as_bytes());
        let mut arguments: Vec<CString> = vec![program.clone()];
        if plan.is_utf8 && !environment::has(&environment, "PYTHONUTF8") {
            arguments.extend([c"-X".into(), c"utf8".into()]);
        }
        arguments.extend(plan.arguments.iter().map(|argument| c_string(argument)));
        arguments.extend([
            c"-c".into(),
            c_string(bootstrap::SOURCE.as_bytes()),
            c_string(plan.library.loadable(Some(inherited::LIBRARY)).as_os_str().as_bytes()),
            c"daemon".into(),
        ]);
        // Who loads for long, or for ever, does not see the end of its control socket.
        end_with_parent(supervisor)
            .map_err(|error| format!("WSGI0305: the supervisor cannot be watched: {error}"))?;
        let error = execute(&program, &arguments, &environment);
        Err(format!(
            "WSGI0305: cannot run {}: {error}: check python-home or WSGIPythonHome",
            plan.interpreter.display()
        ))
    });
    if let Err(text) = result {
        // Standard error is a pipe to the supervisor by now, unless that failed already.
        let (id, text) = text.split_once(": ").unwrap_or(("WSGI0305", &text));
        eprintln!("\x012{id}: WSGI process group '{}': {text}", plan.group.label());
    }
    EXIT_NOT_STARTED
}

/// Makes the process what the group says; returns its environment. Order as in mod_wsgi
/// (spec-runtime 2.2), but for the memberships of the user, which are looked up where the system's
/// databases are, before the root directory is another one.
fn prepare(plan: &Plan<'_>, descriptors: &[(BorrowedFd<'_>, i32)]) -> Result<Vec<CString>, String> {
    let options = &plan.group.options;
    arrange_descriptors(descriptors)
        .map_err(|error| format!("WSGI0029: cannot arrange descriptors: {error}"))?;
    let mut environment = environment::Source::new(options.env_file.as_deref());
    environment.read_if_trusted()?;
    if options.cpu_priority != 0
        && let Err(error) = set_priority(options.cpu_priority)
    {
        warn(
            plan,
            "WSGI0075",
            &format!("cannot set cpu-priority={}: {error}", options.cpu_priority),
        );
    }
    if let Some(identity) = &plan.identity {
        set_groups(identity)?;
    }
    if let Some(root) = &options.chroot {
        change_root(&c_string(root.as_os_str().as_bytes())).map_err(|error| {
            format!("WSGI0003: cannot change root directory to {}: {error}", root.display())
        })?;
    }
    if let Some(identity) = &plan.identity {
        identity::set_uid(identity.uid)
            .map_err(|error| format!("WSGI0007: cannot set user id {}: {error}", identity.uid))?;
    }
    if let Some(directory) = &plan.directory {
        std::env::set_current_dir(&directory.path).map_err(|error| {
            let (id, remedy) = if directory.is_configured {
                ("0009", "check home=")
            } else {
                ("0010", "give the group home=")
            };
            format!(
                "WSGI{id}: cannot change to working directory {}: {}: {remedy}",
                directory.path.display(),
                blocked_at(&directory.path).unwrap_or_else(|| error.to_string())
            )
        })?;
    }
    if let Some(mask) = options.umask {
        identity::set_umask(mask);
    }
    if let Some(lang) = options.lang.as_ref().filter(|_| options.locale.is_none())
        && !has_locale(&c_string(lang))
    {
        let lang = String::from_utf8_lossy(lang);
        warn(
            plan,
            "WSGI0079",
            &format!("the system has no locale '{lang}' (see locale -a): lang="),
        );
    }
    let variables = environment.read()?;
    set_limits(plan);
    Ok(environment::with(&plan.environment, variables, &options.variables))
}

fn set_groups(identity: &Identity) -> Result<(), String> {
    identity::set_gid(identity.gid)
        .map_err(|error| format!("WSGI0004: cannot set group id {}: {error}", identity.gid))?;
    match &identity.groups {
        Some(groups) => {
            let mut all = vec![identity.gid];
            all.extend(groups);
            identity::set_groups(&all)
                .map_err(|error| format!("WSGI0005: cannot set supplementary groups: {error}"))
        }
        None => identity::initialise_groups(&identity.name, identity.gid).map_err(|error| {
            format!("WSGI0006: cannot set the groups of user {:?}: {error}", identity.name)
        }),
    }
}

/// Last, as what comes before the interpreter must not be what they hit.
fn set_limits(plan: &Plan<'_>) {
    let options = &plan.group.options;
    let (cpu, killed_at) =
        plan.cpu_limits().map_or((0, 0), |(limit, kill)| (limit.as_secs(), kill.as_secs()));
    for (id, option, resource, soft, hard) in [
        ("WSGI0076", "cpu-time-limit", Resource::Cpu, cpu, killed_at),
        ("WSGI0077", "memory-limit", Resource::Data, options.memory_limit, options.memory_limit),
        (
            "WSGI0078",
            "virtual-memory-limit",
            Resource::AddressSpace,
            options.virtual_memory_limit,
            options.virtual_memory_limit,
        ),
        (
            "WSGI0329",
            "process-limit",
            Resource::Processes,
            options.process_limit,
            options.process_limit,
        ),
    ] {
        if soft == 0 {
            continue;
        }
        if let Err(error) = set_limit(resource, soft, hard) {
            warn(plan, id, &format!("cannot set {option}={soft}: {error}"));
        }
    }
}

/// Logs a warning; standard error is the supervisor's pipe.
fn warn(plan: &Plan<'_>, id: &str, text: &str) {
    eprintln!("\x014{id}: WSGI process group '{}': {text}", plan.group.label());
}

/// Says in one line why the interpreter cannot be run, when it is clear beforehand.
fn check_interpreter(plan: &Plan<'_>) -> Result<(), String> {
    let path = &plan.interpreter;
    if path.components().any(|part| part.as_os_str() == "site-packages") {
        return Err(format!(
            "WSGI0100: no Python at {}: a site-packages directory is not a Python home, name the environment that it belongs to, or use python-path",
            path.display()
        ));
    }
    match is_accessible(&c_string(path.as_os_str().as_bytes()), libc::X_OK) {
        Ok(()) if path.is_dir() => Err(format!("WSGI0101: {} is a directory", path.display())),
        Ok(()) => check_library(plan),
        Err(error) => Err(format!(
            "WSGI0100: no Python to run at {}: {}: python-home or WSGIPythonHome must name an environment with bin/python in it",
            path.display(),
            blocked_at(path).unwrap_or_else(|| error.to_string())
        )),
    }
}

fn check_library(plan: &Plan<'_>) -> Result<(), String> {
    if plan.group.options.chroot.is_some() {
        // Where there is no /proc, the bootstrap copies it from its descriptor.
        return Ok(());
    }
    let loadable = plan.library.loadable(Some(inherited::LIBRARY));
    is_accessible(&c_string(loadable.as_os_str().as_bytes()), libc::R_OK).map_err(|error| {
        let path = plan.library.path();
        format!(
            "WSGI0306: {} cannot be read by the user of the group: {}: make install puts it beside mod_wsgi.so, readable by all",
            path.display(),
            blocked_at(path).unwrap_or_else(|| error.to_string())
        )
    })
}

/// The first directory on the way to a path that this process may not enter, or what is missing.
pub(crate) fn blocked_at(path: &Path) -> Option<String> {
    let mut ancestors: Vec<&Path> =
        path.ancestors().filter(|path| path.as_os_str() != "").collect();
    ancestors.reverse();
    for part in ancestors {
        let name = c_string(part.as_os_str().as_bytes());
        if is_accessible(&name, libc::F_OK).is_err() {
            return Some(format!("{} does not exist", part.display()));
        }
        if part.is_dir() && is_accessible(&name, libc::X_OK).is_err() {
            return Some(format!(
                "directory {} may not be entered by user id {}",
                part.display(),
                identity::effective_uid()
            ));
        }
    }
    None
}

/// Numbers of descriptors that the supervisor must keep for launching.
pub(crate) fn kept_descriptors(plans: &[Plan<'_>]) -> Vec<i32> {
    let memory = plans.iter().map(|plan| plan.group.memory().fd().as_raw_fd());
    let library = plans.iter().filter_map(|plan| plan.library.descriptor());
    memory.chain(library.map(|file| file.as_raw_fd())).collect()
}
