// SPDX-License-Identifier: Apache-2.0
//! Asking an interpreter, once, in the httpd parent and as httpd's unprivileged user: its version and
//! where its shared library is. It answers on a descriptor of its own: `sitecustomize` and `.pth`
//! files may print, and start processes that keep standard output open.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::httpd::{c_string, mpm};
use crate::os::process::{Exit, PidFd, arrange_descriptors, execute, fork};
use crate::os::{identity, pipe, read, signal, temporary, wait_readable};

/// Longest that an interpreter may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Exit status of a child that could not become the interpreter.
const NOT_RUN: i32 = 71;

/// Most bytes of an answer.
const LONGEST: usize = 16 << 10;

/// Lines of an answer.
const LINES: usize = 3;

/// Writes version, prefix and the path of the shared library to descriptor 3, a line each; the last
/// line is empty when the interpreter has none. What else runs at the end is not waited for.
const SOURCE: &str = "\
import os, sys, sysconfig
def library():
    if os.path.exists('/proc/self/maps'):
        for line in open('/proc/self/maps'):
            path = line.split(None, 5)[-1].strip()
            if os.path.basename(path).startswith('libpython%d.%d' % sys.version_info[:2]):
                return path
    variable = sysconfig.get_config_var
    names = [variable('INSTSONAME'), variable('LDLIBRARY')]
    folders = [variable('LIBDIR'), variable('LIBPL'),
        os.path.join(variable('LIBDIR') or '', variable('MULTIARCH') or ''),
        os.path.join(getattr(sys, 'base_prefix', sys.prefix), 'lib')]
    for folder in folders:
        for name in names:
            if folder and name and '.so' in name:
                path = os.path.join(folder, name)
                if os.path.exists(path):
                    return path
    return ''
answer = ['%d.%d.%d' % sys.version_info[:3], sys.prefix, library(), '']
os.write(3, getattr(os, 'fsencode', str)('\\n'.join(answer)))
os._exit(0)
";

/// An interpreter that can be embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// The program, as configured: it becomes `argv[0]`, from which Python finds its environment.
    pub(crate) program: PathBuf,
    /// Version, as text.
    pub(crate) version: String,
    /// `sys.prefix`.
    pub(crate) prefix: String,
    /// Shared library.
    pub(crate) library: PathBuf,
}

/// Asks the interpreter.
///
/// # Errors
/// Why it cannot be embedded, with the remedy.
pub(crate) fn ask(program: &Path, is_root: bool) -> Result<Interpreter, String> {
    let shown = program.display();
    let remedy = "WSGIPythonHome must name an environment with bin/python in it";
    let said = run(program, is_root).map_err(|error| {
        format!("WSGI0100: Python at {shown} cannot be asked: {error}: {remedy}")
    })?;
    let answer = String::from_utf8_lossy(&said.answer).into_owned();
    let mut lines = answer.lines();
    let (Some(version), Some(prefix), Some(library)) = (lines.next(), lines.next(), lines.next())
    else {
        return Err(match said.end {
            None | Some(Exit::Status(NOT_RUN)) => {
                format!("WSGI0100: no Python to run at {shown}: {remedy}")
            }
            Some(end) => {
                format!("WSGI0100: Python at {shown} {end} while it started: {}", said.complaint)
            }
        });
    };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < mod_wsgi_protocol::bootstrap::MINIMUM_PYTHON {
        return Err(format!(
            "WSGI0099: Python {version} at {shown} is too old, mod_wsgi needs 3.10 or newer"
        ));
    }
    if library.is_empty() {
        return Err(format!(
            "WSGI0036: Python {version} at {shown} has no shared library (libpython) and cannot run inside httpd: use a daemon process (WSGIDaemonProcess and WSGIProcessGroup), or install its libpython"
        ));
    }
    Ok(Interpreter {
        program: program.to_owned(),
        version: version.to_owned(),
        prefix: prefix.to_owned(),
        library: library.into(),
    })
}

/// What an interpreter said and did.
struct Said {
    /// What it wrote to descriptor 3.
    answer: Vec<u8>,
    /// How it ended; None when it had to be killed.
    end: Option<Exit>,
    /// The last line that it wrote to standard error.
    complaint: String,
}

fn run(program: &Path, is_root: bool) -> io::Result<Said> {
    let (output, child_output) = pipe()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // Not a pipe: nobody has to read it meanwhile.
    let errors = temporary::unnamed_file().ok();
    let (uid, name) = mpm::child_user();
    let gid = mpm::child_group();
    // SAFETY: httpd's parent has one thread.
    let pid = unsafe {
        fork(|| {
            signal::reset_all();
            let path = c_string(program.as_os_str().as_bytes());
            let drop_privileges = || -> io::Result<()> {
                arrange_descriptors(&[
                    (null.as_fd(), 0),
                    (null.as_fd(), 1),
                    (errors.as_ref().unwrap_or(&null).as_fd(), 2),
                    (child_output.as_fd(), 3),
                ])?;
                if is_root {
                    identity::set_gid(gid)?;
                    identity::initialise_groups(&c_string(&name), gid)?;
                    identity::set_uid(uid)?;
                }
                std::env::set_current_dir("/")
            };
            if drop_privileges().is_ok() {
                let arguments: Vec<CString> =
                    vec![path.clone(), c"-c".into(), c_string(SOURCE.as_bytes())];
                let environment: Vec<CString> = std::env::vars_os()
                    .map(|(name, value)| {
                        c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())
                    })
                    .collect();
                let _ = execute(&path, &arguments, &environment);
            }
            NOT_RUN
        })
    }?;
    drop(child_output);
    let process = PidFd::open(pid)?;
    let answer = read_answer(output.as_fd());
    let end = end_of(&process, answer.is_ok());
    Ok(Said { answer: answer?, end, complaint: errors.as_ref().map(last_line).unwrap_or_default() })
}

/// Reads until the answer is there: a process that the interpreter forked may keep the other end open.
fn read_answer(output: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + LIMIT;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.iter().filter(|byte| **byte == b'\n').count() < LINES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() > LONGEST || !wait_readable(output, Some(left))? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
        }
        match read(output, &mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok(answer)
}

/// How it ended, with a moment for that where it `may_end`; None when it had to be killed.
fn end_of(process: &PidFd, may_end: bool) -> Option<Exit> {
    let moment = Duration::from_secs(5);
    if may_end && process.wait(moment).unwrap_or(false) {
        return process.reap();
    }
    let _ = process.signal(libc::SIGKILL);
    let _ = process.wait(moment);
    let _ = process.reap();
    None
}

/// The last line of a file that says something; of one that is longer than [`LONGEST`], of its end.
fn last_line(file: &File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut text = vec![0; LONGEST];
    let count = file.read_at(&mut text, length.saturating_sub(LONGEST as u64)).unwrap_or(0);
    text.truncate(count);
    let text = String::from_utf8_lossy(&text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something() {
        let file = temporary::unnamed_file().unwrap();
        assert_eq!(last_line(&file), "it said nothing");
        file.write_all_at(b"Traceback\nValueError: no\n\n", 0).unwrap();
        assert_eq!(last_line(&file), "ValueError: no");
        file.write_all_at(&[b'x'; 2 * LONGEST], 0).unwrap();
        file.write_all_at(b"\nlast", 2 * LONGEST as u64).unwrap();
        assert_eq!(last_line(&file), "last");
    }
}
