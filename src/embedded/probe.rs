// SPDX-License-Identifier: Apache-2.0
//! Asking an interpreter, once, in the httpd parent and as httpd's unprivileged user: its version and
//! where its shared library is.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::httpd::{c_string, mpm};
use crate::os::process::{PidFd, arrange_descriptors, execute, fork};
use crate::os::{identity, pipe, read, signal, wait_readable};

/// Longest that an interpreter may take to answer.
const LIMIT: Duration = Duration::from_secs(20);

/// Prints version, prefix and the path of the shared library, a line each; the last line is empty
/// when the interpreter has none.
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
print('%d.%d.%d' % sys.version_info[:3])
print(sys.prefix)
print(library())
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
    let answer = run(program, is_root).map_err(|error| {
        format!("WSGI0100: Python at {shown} cannot be asked: {error}: {remedy}")
    })?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let mut lines = answer.lines();
    let (Some(version), Some(prefix), Some(library)) = (lines.next(), lines.next(), lines.next())
    else {
        return Err(format!("WSGI0100: no Python to run at {shown}: {remedy}"));
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

fn run(program: &Path, is_root: bool) -> io::Result<Vec<u8>> {
    let (output, child_output) = pipe()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
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
                    (child_output.as_fd(), 1),
                    (null.as_fd(), 2),
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
            71
        })
    }?;
    drop(child_output);
    let process = PidFd::open(pid)?;
    let deadline = Instant::now() + LIMIT;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() > 16 << 10 || !wait_readable(output.as_fd(), Some(left))?
        {
            let _ = process.signal(libc::SIGKILL);
            let _ = process.wait(Duration::from_secs(5));
            let _ = process.reap();
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"));
        }
        match read(output.as_fd(), &mut buffer)? {
            0 => break,
            count => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
    let _ = process.wait(Duration::from_secs(5));
    let _ = process.reap();
    Ok(answer)
}
