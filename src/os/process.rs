// SPDX-License-Identifier: Apache-2.0
//! Processes: fork, waiting by descriptor, exec, signals to a process.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use once_cell::sync::OnceCell;

use super::{check, owned, wait_readable};

/// A process that this one started, or knows of; names it without the danger that its id is reused.
#[derive(Debug)]
pub(crate) struct PidFd {
    /// Its id.
    pid: libc::pid_t,
    /// Readable when it has ended.
    fd: OwnedFd,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this exit status.
    Status(i32),
    /// Killed by this signal; whether it dumped core.
    Signal(i32, bool),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with exit code {status}"),
            Self::Signal(number, dumped) => {
                let core = if *dumped { ", core dumped" } else { "" };
                write!(f, "was killed by signal {number} ({}){core}", super::signal::name(*number))
            }
        }
    }
}

impl PidFd {
    /// The process with this id.
    pub(crate) fn open(pid: libc::pid_t) -> io::Result<Self> {
        // SAFETY: pidfd_open takes integers.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = owned(libc::c_int::try_from(result).unwrap_or(-1))?;
        Ok(Self { pid, fd })
    }

    /// Its id.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// Sends it a signal. A process that has ended is not an error.
    pub(crate) fn signal(&self, signal: libc::c_int) -> io::Result<()> {
        // SAFETY: pidfd_send_signal takes integers, and null for "as kill does".
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match check(libc::c_int::try_from(result).unwrap_or(-1)) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes the exit of a child that has ended; None when it has not, or is not our child.
    pub(crate) fn reap(&self) -> Option<Exit> {
        self.reap_with_time().map(|(exit, _)| exit)
    }

    /// As [`Self::reap`], and how much of the processor's time it and its children had.
    pub(crate) fn reap_with_time(&self) -> Option<(Exit, Duration)> {
        let mut status = 0;
        // SAFETY: an all-zero rusage is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: wait4 writes one integer and one structure.
        let pid = unsafe { libc::wait4(self.pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if pid != self.pid {
            return None;
        }
        let time = |time: libc::timeval| {
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            Duration::from_secs(seconds)
                + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
        };
        let exit = if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status), libc::WCOREDUMP(status))
        } else {
            Exit::Status(libc::WEXITSTATUS(status))
        };
        Some((exit, time(usage.ru_utime) + time(usage.ru_stime)))
    }

    /// Waits for its end. Returns false when the time is over first.
    pub(crate) fn wait(&self, timeout: Duration) -> io::Result<bool> {
        wait_readable(self.fd.as_fd(), Some(timeout))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Forks, and runs `child` in the new process, which ends with the status that it returns.
/// Returns the new process's id.
///
/// # Safety
/// The calling process has one thread only: `child` may then do what it likes, as no lock can be
/// held by a thread that is gone.
pub(crate) unsafe fn fork(child: impl FnOnce() -> i32) -> io::Result<libc::pid_t> {
    // SAFETY: the caller's promise.
    match check(unsafe { libc::fork() })? {
        0 => {
            let status =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(70);
            // SAFETY: _exit ends the process without running what httpd registered for exit.
            unsafe { libc::_exit(status) }
        }
        pid => Ok(pid),
    }
}

/// Replaces this process by the program. Returns only when that fails.
pub(crate) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: execve takes a C string and two null-terminated arrays of C strings, all of which
    // live across the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Whether this process may use the file so (`R_OK`, `X_OK`), as its effective user.
pub(crate) fn is_accessible(path: &CStr, mode: libc::c_int) -> io::Result<()> {
    // SAFETY: faccessat takes a C string and integers.
    check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) })
        .map(drop)
}

/// Puts each descriptor at its number and closes every other one from 3 on. What is at 0, 1 and 2
/// stays unless it is listed.
pub(crate) fn arrange_descriptors(wanted: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<()> {
    // First out of the way, so that no dup2 overwrites a descriptor that is still to be placed.
    let floor = wanted.iter().map(|(_, number)| number + 1).max().unwrap_or(3).max(64);
    let mut moved = Vec::new();
    for (fd, number) in wanted {
        // SAFETY: F_DUPFD_CLOEXEC takes integers.
        let copy = owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) })?;
        moved.push((copy, *number));
    }
    for (fd, number) in &moved {
        // SAFETY: dup2 takes integers; what it closes is nobody's, as only `moved` and descriptors
        // that are about to be closed below are left. The copy is not closed on exec.
        check(unsafe { libc::dup2(fd.as_raw_fd(), *number) })?;
    }
    drop(moved);
    let numbers: Vec<RawFd> = wanted.iter().map(|(_, number)| *number).collect();
    close_from(3, &numbers);
    Ok(())
}

/// Puts /dev/null in the place of a descriptor, which nobody owns.
pub(crate) fn silence(number: RawFd) -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: dup2 takes integers; what it closes is nobody's.
    check(unsafe { libc::dup2(null.as_raw_fd(), number) }).map(drop)
}

/// Closes all descriptors from `first` on except those to keep. What owned them must be forgotten.
pub(crate) fn close_from(first: RawFd, keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= first).collect();
    keep.sort_unstable();
    let mut from = first as libc::c_uint;
    for fd in keep {
        let fd = fd as libc::c_uint;
        if fd > from {
            close_range(from, fd - 1);
        }
        from = fd + 1;
    }
    close_range(from, libc::c_uint::MAX);
}

fn close_range(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: close_range takes integers. The callers run in a process that was just forked and
    // give up what it inherited.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // Kernels before 5.9.
    // SAFETY: sysconf takes an integer.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) }.clamp(0, 65_536) as libc::c_uint;
    for fd in first..=last.min(limit) {
        // SAFETY: as for close_range; a number that is not open is no harm.
        unsafe { libc::close(fd as libc::c_int) };
    }
}

/// Makes this process the leader of a session of its own, away from the terminal's signals.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: setsid has no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Bytes that a process has in memory; None when it is gone.
pub(crate) fn resident_memory(pid: libc::pid_t) -> Option<u64> {
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    number_in_status::<u64>(&status, b"VmRSS:").and_then(|kibibytes| kibibytes.checked_mul(1 << 10))
}

/// This process's id.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// Whether a process with this id exists.
pub(crate) fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: kill with signal 0 sends nothing.
    check(unsafe { libc::kill(pid, 0) })
        .map_or_else(|error| error.raw_os_error() == Some(libc::EPERM), |_| true)
}

/// Sets or removes a variable of this process's environment. For a process with one thread.
pub(crate) fn set_variable(name: &CStr, value: Option<&std::ffi::OsStr>) {
    let name = std::ffi::OsStr::from_bytes(name.to_bytes());
    // SAFETY: no other thread reads the environment meanwhile: the caller is the httpd parent, which
    // has one thread while it reads its configuration.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// Names this thread or process for `ps -o comm`, 15 bytes at most.
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: PR_SET_NAME reads a C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Closes the C library's connection to the system log; its next use opens a new one.
pub(crate) fn close_system_log() {
    // SAFETY: closelog has no arguments and may be called at any time.
    unsafe { libc::closelog() };
}

/// What the kernel can limit for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// RLIMIT_CPU, seconds.
    Cpu,
    /// RLIMIT_DATA, bytes.
    Data,
    /// RLIMIT_AS, bytes.
    AddressSpace,
    /// RLIMIT_NPROC: processes and threads of the user.
    Processes,
}

/// Limits this process, and what it executes.
pub(crate) fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    let resource = match resource {
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Processes => libc::RLIMIT_NPROC,
    };
    // SAFETY: setrlimit reads one structure.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}

/// Sets the nice value of this process.
pub(crate) fn set_priority(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority takes integers; 0 is the calling process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Makes a directory the root directory of this process, and its working directory.
pub(crate) fn change_root(directory: &CStr) -> io::Result<()> {
    // SAFETY: chroot takes a C string.
    check(unsafe { libc::chroot(directory.as_ptr()) })?;
    // SAFETY: chdir takes a C string.
    check(unsafe { libc::chdir(c"/".as_ptr()) }).map(drop)
}

/// Whether the system has the locale. For a process with one thread.
pub(crate) fn has_locale(name: &CStr) -> bool {
    // SAFETY: newlocale takes a C string, and null for "from nothing"; the locale that it makes is
    // freed once.
    unsafe {
        let locale = libc::newlocale(libc::LC_ALL_MASK, name.as_ptr(), std::ptr::null_mut());
        if locale.is_null() {
            return false;
        }
        libc::freelocale(locale);
    }
    true
}

/// Limits on open descriptors: (soft, hard).
pub(crate) fn descriptor_limit() -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one structure.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (result == 0).then_some((limit.rlim_cur, limit.rlim_max))
}

/// Sets the limits on open descriptors.
pub(crate) fn set_descriptor_limit((soft, hard): (u64, u64)) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: setrlimit reads one structure. A refusal leaves the limit as it is.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}

/// The limits that this process had before it raised them.
static ORIGINAL_LIMIT: OnceCell<(u64, u64)> = OnceCell::new();

/// Allows this process as many descriptors as it may have.
pub(crate) fn raise_descriptor_limit() {
    if let Some((soft, hard)) = descriptor_limit() {
        let _ = ORIGINAL_LIMIT.set((soft, hard));
        set_descriptor_limit((hard, hard));
    }
}

/// Undoes [`raise_descriptor_limit`], for a program that is about to be executed: a high limit is
/// no kindness to those that use select().
pub(crate) fn restore_descriptor_limit() {
    if let Some(limit) = ORIGINAL_LIMIT.get() {
        set_descriptor_limit(*limit);
    }
}

/// Makes processes that descend from this one its children when their parents end.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Real user id of a child of this process; None of any other process.
pub(crate) fn user_of_child(pid: libc::pid_t) -> Option<u32> {
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    user_in_status(&status, pid, own_pid())
}

/// The first number behind a name of /proc/PID/status, as proc(5) has it: the kernel escapes line ends
/// in the name of the process, which is any bytes.
fn number_in_status<N: std::str::FromStr>(status: &[u8], name: &[u8]) -> Option<N> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    std::str::from_utf8(words.next()?).ok()?.parse().ok()
}

fn user_in_status(status: &[u8], pid: libc::pid_t, parent: u32) -> Option<u32> {
    let field = |name: &[u8]| number_in_status::<u32>(status, name);
    // The entry of a thread would be that of its process.
    let is_it = field(b"Tgid:") == u32::try_from(pid).ok() && field(b"PPid:") == Some(parent);
    field(b"Uid:").filter(|_| is_it)
}

/// A child that has ended and was not waited for, if there is one.
pub(crate) fn ended_child() -> Option<libc::pid_t> {
    // SAFETY: all zero is a valid siginfo_t, which waitid leaves so when no child has ended, and
    // fills otherwise with what si_pid reads.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        check(libc::waitid(libc::P_ALL, 0, &raw mut info, options)).ok()?;
        Some(info.si_pid()).filter(|pid| *pid > 0)
    }
}

/// Takes the exit of a child that has ended, whatever it is.
pub(crate) fn reap(child: libc::pid_t) {
    // SAFETY: waitpid takes integers and null.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) };
}

/// Has this process killed when its parent ends, unless the program that it becomes says otherwise.
/// For a process that will not change its user any more, which would undo it.
///
/// # Errors
/// The parent has ended already.
pub(crate) fn end_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })?;
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Kills a child that cannot be watched, and takes its exit.
pub(crate) fn end_now(child: libc::pid_t) {
    // SAFETY: kill and waitpid take integers and null; a child that was not waited for keeps its id.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_child_has_a_user() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(user_of_child(pid), Some(crate::os::identity::effective_uid()));
        assert_eq!(user_of_child(i32::try_from(own_pid()).unwrap()), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(user_of_child(pid), None);
    }

    #[test]
    fn a_status_is_read_behind_the_name() {
        let status = b"Name:\tPPid:\\nUid:\nTgid:\t7\nPPid:\t3\nUid:\t33\t0\t0\t0\n";
        assert_eq!(user_in_status(status, 7, 3), Some(33));
        assert_eq!(user_in_status(status, 8, 3), None);
        assert_eq!(user_in_status(status, 7, 4), None);
        assert_eq!(user_in_status(b"Tgid:\t7\nPPid:\t3\nUid:\tx\n", 7, 3), None);
        // A name that was cut in the middle of a character.
        let status = b"Name:\t(wsgi:abcdefgh\xc3\nVmRSS:\t   12345 kB\n";
        assert_eq!(number_in_status::<u64>(status, b"VmRSS:"), Some(12345));
    }
}
