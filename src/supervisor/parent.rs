// SPDX-License-Identifier: Apache-2.0
//! The httpd parent's side of the supervisor: forking it, forking it anew when it died, and waiting
//! for it when httpd stops.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::Plan;
use super::event_loop::Supervisor;
use super::launch;
use crate::daemon::claims::Claims;
use crate::httpd::c_string;
use crate::httpd::log::{self, Level};
use crate::httpd::mpm;
use crate::httpd::server::Server;
use crate::os::process::{
    PidFd, close_from, close_system_log, fork, new_session, raise_descriptor_limit, set_name,
};
use crate::os::{identity, pipe, read, signal, write};

/// Forks the supervisor.
///
/// # Errors
/// What the system refused.
pub(crate) fn start(
    plans: &[Plan<'_>],
    main: Server<'_>,
    claims: &Claims,
    lease: &OwnedFd,
) -> io::Result<PidFd> {
    // SAFETY: httpd's parent has one thread; modules that break this break httpd's own forks too.
    let pid = unsafe { fork(|| run(plans, main, claims, lease)) }?;
    PidFd::open(pid)
}

/// The life of the supervisor.
fn run(plans: &[Plan<'_>], main: Server<'_>, claims: &Claims, lease: &OwnedFd) -> i32 {
    signal::reset_all();
    signal::ignore(libc::SIGPIPE);
    // Signals of a terminal go to httpd's parent, which tells us by the lease.
    let _ = new_session();
    set_name(c"wsgi-supervisor");
    let mut keep = vec![lease.as_raw_fd()];
    keep.extend(launch::kept_descriptors(plans));
    let mut server = Some(main);
    while let Some(at) = server {
        keep.extend(at.log_descriptor());
        server = at.next();
    }
    // ErrorLog syslog: the C library would go on with a number that is somebody else's by then.
    close_system_log();
    close_from(3, &keep);
    raise_descriptor_limit();
    match Supervisor::new(plans, claims, lease.as_fd()).and_then(Supervisor::run) {
        Ok(()) => 0,
        Err(error) => {
            log::server(
                main,
                Level::Critical,
                &format!("WSGI0310: the supervisor of the WSGI daemon processes fails: {error}"),
            );
            1
        }
    }
}

/// Waits for a supervisor whose lease has ended, and makes it leave when that takes too long.
pub(crate) fn wait(supervisor: &PidFd, limit: Duration) {
    let deadline = Instant::now() + limit;
    while let Ok(false) = supervisor.wait(deadline.saturating_duration_since(Instant::now())) {
        if Instant::now() >= deadline {
            // Its processes follow: their control sockets end with it.
            let _ = supervisor.signal(libc::SIGKILL);
            let _ = supervisor.wait(Duration::from_secs(1));
            break;
        }
    }
    let _ = supervisor.reap();
}

/// Why httpd's children cannot reach sockets with this prefix; None when they can.
pub(crate) fn blocked_for_children(prefix: &std::path::Path) -> Option<String> {
    let folder = prefix.parent()?;
    let (read_end, write_end) = pipe().ok()?;
    let (uid, name) = mpm::child_user();
    let gid = mpm::child_group();
    // SAFETY: httpd's parent has one thread.
    let child = unsafe {
        fork(|| {
            let reason = match identity::set_gid(gid)
                .and_then(|()| identity::initialise_groups(&c_string(&name), gid))
                .and_then(|()| identity::set_uid(uid))
            {
                Ok(()) => launch::blocked_at(folder),
                Err(error) => Some(error.to_string()),
            };
            let _ = write(write_end.as_fd(), reason.unwrap_or_default().as_bytes());
            0
        })
    }
    .ok()?;
    drop(write_end);
    let mut answer = [0; 512];
    let count = read(read_end.as_fd(), &mut answer).unwrap_or(0);
    if let Ok(child) = PidFd::open(child) {
        let _ = child.wait(Duration::from_secs(5));
        let _ = child.reap();
    }
    let reason = String::from_utf8_lossy(answer.get(..count).unwrap_or_default()).into_owned();
    (!reason.is_empty()).then_some(reason)
}
