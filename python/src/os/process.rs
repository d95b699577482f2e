// SPDX-License-Identifier: Apache-2.0
//! The process itself: title, locale, clock, exit, and what a file's modification time is.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch.
pub(crate) fn wall_clock_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

fn micros(time: libc::timeval) -> u64 {
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000 + part(time.tv_usec)
}

fn usage(whose: libc::c_int) -> Option<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: getrusage takes a constant and the address of a record, which it fills when it
    // returns 0.
    unsafe { (libc::getrusage(whose, usage.as_mut_ptr()) == 0).then(|| usage.assume_init()) }
}

/// CPU time of this process, in user's and in system's mode, µs.
pub(crate) fn cpu_micros() -> [u64; 2] {
    cpu_of(libc::RUSAGE_SELF)
}

/// CPU time of the calling thread, in user's and in system's mode, µs.
pub(crate) fn thread_cpu_parts() -> [u64; 2] {
    cpu_of(libc::RUSAGE_THREAD)
}

fn cpu_of(whose: libc::c_int) -> [u64; 2] {
    usage(whose).map_or([0; 2], |usage| [micros(usage.ru_utime), micros(usage.ru_stime)])
}

/// The most memory that this process has had resident, bytes.
pub(crate) fn most_memory() -> u64 {
    usage(libc::RUSAGE_SELF).map_or(0, |usage| u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024)
}

/// CPU time of the calling thread, µs.
pub(crate) fn thread_cpu_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime takes a constant and writes to the record, or leaves it as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec) * 1_000_000 + part(time.tv_nsec) / 1000
}

/// Modification time of a file, µs since the epoch.
///
/// # Errors
/// When the file can not be looked at.
pub(crate) fn file_modification(path: &[u8]) -> io::Result<i64> {
    let metadata = std::fs::metadata(Path::new(std::ffi::OsStr::from_bytes(path)))?;
    Ok(metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000))
}

/// `setlocale(LC_ALL, name)`; false when the system does not have it.
pub(crate) fn set_locale(name: &[u8]) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: setlocale wants a terminated name. No other thread of this process runs yet.
    unsafe { !libc::setlocale(libc::LC_ALL, name.as_ptr()).is_null() }
}

/// What the kernel calls the main thread, which is this one: `comm`.
pub(crate) fn process_name() -> Vec<u8> {
    let mut name = [0_u8; 16];
    // SAFETY: prctl with PR_GET_NAME writes a terminated text of at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.into_iter().take_while(|byte| *byte != 0).collect()
}

/// Names the calling thread, as `ps -L` and `top` show it (15 bytes of it); the main thread's name
/// is that of the process.
pub(crate) fn set_process_name(name: &[u8]) {
    let name: Vec<u8> = name.iter().copied().filter(|byte| *byte != 0).take(15).collect();
    if let Ok(name) = CString::new(name) {
        // SAFETY: prctl with PR_SET_NAME reads a terminated text of at most 16 bytes.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// The end of its parent does not kill this process any more. For the main thread, which is what it
/// was said for.
pub(crate) fn outlive_parent() {
    // SAFETY: prctl with PR_SET_PDEATHSIG takes integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) };
}

/// Stack that a thread of the system gets by default: Rust's own default is 2 MiB, and deep
/// recursion in Python needs what other programs get.
pub(crate) fn thread_stack_size() -> usize {
    const USUAL: usize = 8 << 20;
    // SAFETY: getrlimit fills the structure.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) != 0
            || limit.rlim_cur == libc::RLIM_INFINITY
        {
            return USUAL;
        }
        usize::try_from(limit.rlim_cur).unwrap_or(USUAL).clamp(1 << 18, 1 << 30)
    }
}

/// Makes `title` what `ps` shows: the memory of the arguments is overwritten, and blanks fill the
/// rest. False when that memory can not be found.
pub(crate) fn set_title(title: &[u8]) -> bool {
    let Ok(status) = std::fs::read("/proc/self/stat") else { return false };
    // The fields are counted from behind the name, which is in brackets and may hold anything.
    let Some(end) = status.iter().rposition(|byte| *byte == b')') else { return false };
    let text = String::from_utf8_lossy(status.get(end + 1..).unwrap_or_default()).into_owned();
    let fields: Vec<&str> = text.split_whitespace().collect();
    // proc(5): field 3 is the first behind the name; arg_start and arg_end are 48 and 49.
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    let (Some(start), Some(stop)) = (field(48), field(49)) else { return false };
    let Some(size) = stop.checked_sub(start).filter(|size| start != 0 && *size > 1) else {
        return false;
    };
    // SAFETY: the kernel says that the argument strings of this process lie at [start, stop) on
    // its own stack, which is writable and stays for as long as the process; CPython has copied
    // them. The last byte stays zero, which tells ps that the arguments are whole.
    unsafe {
        let area = std::slice::from_raw_parts_mut(start as *mut u8, size - 1);
        for (place, byte) in area.iter_mut().zip(title.iter().chain(std::iter::repeat(&b' '))) {
            *place = *byte;
        }
    }
    set_process_name(title);
    true
}

static IS_FORKED: AtomicBool = AtomicBool::new(false);
static IS_WORKER: AtomicBool = AtomicBool::new(false);

extern "C" fn note_fork() {
    IS_FORKED.store(true, Ordering::Relaxed);
}

/// Makes children that the application forks know that they are such.
pub(crate) fn watch_forks() {
    // SAFETY: pthread_atfork takes functions without arguments; the one for the child only stores
    // to an atomic. Without memory for it, forked children are not told apart.
    unsafe { libc::pthread_atfork(None, None, Some(note_fork)) };
}

/// This process was forked by us to be what its parent is.
pub(super) fn forget_fork() {
    IS_WORKER.store(true, Ordering::Relaxed);
    IS_FORKED.store(false, Ordering::Relaxed);
}

/// Whether this process was forked by us to be what its parent is: what threads of the parent held
/// in that moment is never given up here.
pub(crate) fn is_forked_worker() -> bool {
    IS_WORKER.load(Ordering::Relaxed)
}

/// Whether this process is a child that the application forked, and not what `watch_forks` was
/// called in.
pub(crate) fn is_forked_child() -> bool {
    IS_FORKED.load(Ordering::Relaxed)
}

/// Ends the process without running anything of it.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit does not return.
    unsafe { libc::_exit(status) }
}
