// SPDX-License-Identifier: Apache-2.0
//! The running configuration: made in httpd's parent when the configuration is final, inherited by
//! its children, given up when httpd stops or restarts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use crate::config::{Global, words};
use crate::daemon::claims::Claims;
use crate::daemon::group::Sockets;
use crate::daemon::{Child, Group};
use crate::embedded::{self, probe};
use crate::httpd::guard::guard;
use crate::httpd::log::{self, Level};
use crate::httpd::scoreboard::Scoreboard;
use crate::httpd::server::Server;
use crate::httpd::{mpm, other_child};
use crate::library::PythonLibrary;
use crate::os::process::PidFd;
use crate::os::{identity, process, random, socket};
use crate::supervisor::{Plan, parent, plan};

/// Requests that a child may have beside those of its MPM's threads: HTTP/2 has threads of its own.
const EXTRA_SLOTS: u32 = 32;

/// The running configuration.
pub(crate) struct Runtime {
    /// What the configuration says.
    pub(crate) global: Global,
    /// Process groups.
    pub(crate) groups: Vec<Group>,
    /// Embedded mode; None where it is restricted.
    pub(crate) embedded: Option<embedded::Plan>,
    /// The main server.
    main: Server<'static>,
    /// `mod_wsgi_python.abi3.so`.
    library: &'static PythonLibrary,
    /// Who has which block.
    claims: Claims,
    /// Ends of the lease: (supervisor's, children's). None without groups.
    lease: Mutex<Option<(OwnedFd, OwnedFd)>>,
    /// The supervisor, and when it was started.
    supervisor: Mutex<Option<(PidFd, Instant)>>,
    /// What this httpd child has; unset in the parent.
    child: OnceCell<Child>,
    /// Process that made this.
    owner: u32,
}

/// The running configuration of this process.
static CURRENT: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());

impl Runtime {
    /// The running configuration, if there is one.
    pub(crate) fn current() -> Option<&'static Self> {
        // SAFETY: null, or a runtime that its owner frees only when the parent clears the
        // configuration, which it does while it runs nothing of ours; children never free it.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    /// Makes the runtime of a final configuration and starts what belongs to it.
    ///
    /// # Errors
    /// What the system refused.
    pub(crate) fn start(global: Global, main: Server<'static>) -> std::io::Result<Owner> {
        let is_root = identity::effective_uid() == 0;
        let library = PythonLibrary::get();
        if library.is_replaced() {
            log::server(
                main,
                Level::Notice,
                "another mod_wsgi is installed than the one that is running: httpd must be stopped and started to use it",
            );
        }
        let sockets = sockets(&global, main, is_root);
        let children = mpm::hard_limit_children().saturating_mul(2);
        let slots = mpm::threads_per_child().saturating_mul(3) + EXTRA_SLOTS;
        let mut groups = Vec::new();
        for (index, group) in global.groups.iter().enumerate() {
            let preloads = global
                .preloads
                .iter()
                .filter(|preload| preload.process_group == group.process.name)
                .cloned()
                .collect();
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let mut group = group.clone();
            // ServerName may stand behind the directive.
            if let Some(server) = server_with(main, group.host.identity) {
                group.host.name = server.name().map(<[u8]>::to_vec);
            }
            groups.push(Group::new(index, group, preloads, sockets.clone(), children, slots)?);
        }
        let claims = Claims::new(children, groups.len())?;
        let lease = if groups.is_empty() { None } else { Some(socket::message_pair()?) };
        set_hash_seed(&global);
        let embedded = (global.allows_embedded() || global.needs_embedded).then(|| {
            let settings = embedded::settings(&global, main);
            let program = plan::interpreter(global.python_home.as_deref());
            embedded::Plan {
                interpreter: probe::ask(&program, is_root),
                library,
                is_eager: !settings.preload.is_empty(),
                settings: settings.encode(),
                arguments: global.python_arguments(),
            }
        });
        match embedded.as_ref().map(|plan| &plan.interpreter) {
            Some(Ok(python)) => log::server(
                main,
                Level::Info,
                &format!("embedded mode: Python {} in {}", python.version, python.prefix),
            ),
            Some(Err(reason)) if groups.is_empty() => log::server(main, Level::Warning, reason),
            Some(Err(reason)) => log::server(main, Level::Info, reason),
            None => {}
        }
        let runtime = Box::new(Self {
            global,
            groups,
            embedded,
            main,
            library,
            claims,
            lease: Mutex::new(lease),
            supervisor: Mutex::new(None),
            child: OnceCell::new(),
            owner: process::own_pid(),
        });
        if !runtime.waits_for_scoreboard() {
            runtime.start_supervisor()?;
        }
        CURRENT.store(Box::into_raw(runtime), Ordering::Release);
        Ok(Owner(()))
    }

    /// Whether the supervisor cannot be forked yet: it answers what processes ask of httpd's
    /// scoreboard, which it inherits, and which at the first start is made when the configuration
    /// is read and its hooks have run.
    fn waits_for_scoreboard(&self) -> bool {
        self.groups.iter().any(|group| group.options.server_metrics) && Scoreboard::get().is_none()
    }

    /// httpd has its scoreboard: starts the supervisor, if it has waited for that.
    ///
    /// # Errors
    /// What the system refused.
    pub(crate) fn scoreboard_is_made(&self) -> std::io::Result<()> {
        let is_started = self.supervisor.lock().is_some();
        if is_started { Ok(()) } else { self.start_supervisor() }
    }

    fn start_supervisor(&self) -> std::io::Result<()> {
        let lease = self.lease.lock();
        let Some((supervisor_end, _)) = lease.as_ref() else { return Ok(()) };
        let is_root = identity::effective_uid() == 0;
        let mut plans = Vec::new();
        for group in &self.groups {
            let server = self.server_of(group);
            match Plan::new(group, server, &self.global, self.library, is_root) {
                Ok(plan) => plans.push(plan),
                Err(reason) => log::server(server, Level::Alert, &reason),
            }
        }
        if plans.len() != self.groups.len() {
            // Indices of plans and groups must agree; a configuration like this is refused.
            return Err(std::io::Error::other("a WSGI daemon process group cannot be started"));
        }
        let supervisor = parent::start(&plans, self.main, &self.claims, supervisor_end)?;
        other_child::watch(supervisor.pid(), self.main, supervisor_ended);
        *self.supervisor.lock() = Some((supervisor, Instant::now()));
        Ok(())
    }

    /// The main server.
    pub(crate) fn main(&self) -> Server<'static> {
        self.main
    }

    fn server_of(&self, group: &Group) -> Server<'static> {
        server_with(self.main, group.host.identity).unwrap_or(self.main)
    }

    /// Takes this httpd child's place in the shared memory.
    pub(crate) fn enter_child(&self) {
        let mut lease = self.lease.lock();
        if let Some((_, children_end)) = lease.as_ref() {
            let unreachable = |reason: &str| {
                let text =
                    format!("WSGI0311: this httpd child cannot reach daemon processes: {reason}");
                log::process(Level::Critical, &text);
            };
            match children_end.as_fd().try_clone_to_owned() {
                Ok(end) => {
                    let child = Child::new(&self.groups, &self.claims, end);
                    if child.block().is_none() {
                        unreachable("no place is left in the shared memory");
                    }
                    let _ = self.child.set(child);
                }
                Err(error) => unreachable(&error.to_string()),
            }
        }
        if self.owner != process::own_pid() {
            // The supervisor's end is the parent's to keep, and a child could read what others say.
            // Not with `httpd -X`, where one process is both.
            drop(lease.take());
        }
        drop(lease);
        if let Some(plan) = self.embedded.as_ref().filter(|plan| plan.is_eager) {
            // Failure is in the log already, and told again by each request that needs it.
            let _ = embedded::interpreter::obtain(plan);
        }
    }

    /// What this httpd child has for daemon mode.
    pub(crate) fn child(&self) -> Option<&Child> {
        self.child.get()
    }

    /// Tells the supervisor that this httpd child stops without waiting for its requests.
    pub(crate) fn tell_stop(&self) {
        if let Some(child) = self.child() {
            child.tell_stop(&self.claims);
        }
    }

    /// The process group of this name.
    pub(crate) fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.iter().find(|group| &*group.name == name)
    }

    /// Names of all process groups, for messages.
    pub(crate) fn group_names(&self) -> impl Iterator<Item = String> {
        self.groups.iter().map(|group| words::text(&group.name))
    }

    fn stop(&self) {
        if self.owner != process::own_pid() {
            return;
        }
        // The supervisor sees the end of the lease when the last of this generation's children
        // gives it up too.
        // `httpd -X`: this process is a child, too.
        if let Some(child) = self.child.get() {
            child.give_up_lease();
        }
        drop(self.lease.lock().take());
        let Some((supervisor, _)) = self.supervisor.lock().take() else { return };
        if mpm::phase() == mpm::Phase::Exiting {
            other_child::forget(supervisor.pid());
            let longest =
                self.groups.iter().map(|group| group.options.shutdown_timeout).max().unwrap_or(0);
            parent::wait(&supervisor, Duration::from_secs(u64::from(longest.max(1)) + 2));
        }
    }
}

/// The server of this identity.
fn server_with(main: Server<'static>, identity: usize) -> Option<Server<'static>> {
    std::iter::successors(Some(main), Server::next).find(|server| server.identity() == identity)
}

/// What PYTHONHASHSEED was before WSGIPythonHashSeed: None when it is as it was.
static HASH_SEED_BEFORE: Mutex<Option<Option<std::ffi::OsString>>> = Mutex::new(None);

/// Python reads its seed from the environment when it starts in a child, where other threads run:
/// the variable is set here, in the parent, which has one.
fn set_hash_seed(global: &Global) {
    const NAME: &std::ffi::CStr = c"PYTHONHASHSEED";
    let mut before = HASH_SEED_BEFORE.lock();
    if let Some(seed) = global.hash_seed_variable() {
        before.get_or_insert_with(|| std::env::var_os("PYTHONHASHSEED"));
        process::set_variable(NAME, Some(seed.as_ref()));
    } else if let Some(value) = before.take() {
        process::set_variable(NAME, value.as_deref());
    }
}

/// The supervisor of this generation has ended while httpd is running.
fn supervisor_ended(pid: i32) {
    guard("supervisor's end", (), || {
        let Some(runtime) = Runtime::current() else { return };
        let lived = {
            let mut supervisor = runtime.supervisor.lock();
            match supervisor.as_ref() {
                Some((known, started)) if known.pid() == pid => {
                    let lived = started.elapsed();
                    *supervisor = None;
                    lived
                }
                _ => return,
            }
        };
        if mpm::is_stopping() {
            // All children told it to leave, and it was quicker than they are.
            return;
        }
        log::server(
            runtime.main,
            Level::Error,
            &format!(
                "WSGI0312: the supervisor of the WSGI daemon processes (pid {pid}) ended unexpectedly, another one is started"
            ),
        );
        if lived < Duration::from_millis(500) {
            // httpd's parent looks for ended processes once a second: one attempt a second is
            // no fork bomb, but a pause for its log.
            std::thread::sleep(Duration::from_millis(500));
        }
        if let Err(error) = runtime.start_supervisor() {
            log::server(
                runtime.main,
                Level::Alert,
                &format!("WSGI0313: no supervisor can be started: {error}"),
            );
        }
    });
}

/// Owns the runtime of the parent; gives it up when the configuration's pool is cleared.
pub(crate) struct Owner(());

impl Drop for Owner {
    fn drop(&mut self) {
        let runtime = CURRENT.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if runtime.is_null() {
            return;
        }
        // SAFETY: the pointer is that of `start`, taken out of the only place that keeps it. A
        // child that inherited it has its own copy of the memory.
        let runtime = unsafe { Box::from_raw(runtime) };
        runtime.stop();
    }
}

/// Where sockets go: to the prefix, if httpd's children can enter its directory.
fn sockets(global: &Global, main: Server<'_>, is_root: bool) -> Sockets {
    let (uid, _) = mpm::child_user();
    let prefix = match &global.socket_prefix {
        Some(prefix) => PathBuf::from(words::text(prefix)),
        None => main.runtime_path("wsgi"),
    };
    let mut sockets = Sockets {
        prefix,
        parent: process::own_pid(),
        generation: mpm::generation(),
        is_abstract: false,
        owner: is_root.then_some(uid),
        listener: identity::effective_uid(),
    };
    let reason = if sockets.prefix.as_os_str().len() > 60 {
        Some("its path is too long for a socket".to_owned())
    } else if is_root && uid != 0 {
        parent::blocked_for_children(&sockets.prefix)
    } else {
        None
    };
    if let Some(reason) = reason {
        let shown = sockets.prefix.display().to_string();
        sockets.is_abstract = true;
        // Names there need no permission: nobody must be able to tell them beforehand.
        sockets.prefix = format!("mod_wsgi.{}", random::hexadecimal()).into();
        if !global.groups.is_empty() {
            log::server(
                main,
                Level::Info,
                &format!(
                    "sockets of daemon processes are in the abstract name space: WSGISocketPrefix {shown} cannot be used: {reason}"
                ),
            );
        }
    }
    sockets
}
