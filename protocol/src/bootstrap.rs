// SPDX-License-Identifier: Apache-2.0
//! The few lines of Python with which an interpreter, started as on a command line, turns into a
//! process of ours: `<python> -c SOURCE <library> daemon`, or, inside an httpd child,
//! `<python> -c SOURCE <library> embedded <address of the host table>`.
//!
//! They run on whatever interpreter the operator named, so they are valid in every Python since 2.6
//! until they have looked at the version.

/// Oldest Python that is served.
pub const MINIMUM_PYTHON: (u32, u32) = (3, 10);

/// Source given to `-c`. `-c` puts the working directory first on `sys.path`: it is taken away
/// before anything is imported. An interpreter that is too old says so in one line on stderr. The
/// library is an inherited descriptor; where there is no /proc to load that by (`chroot=`), it is
/// copied into the folder of temporary files.
pub const SOURCE: &str = "\
import sys
if sys.path and sys.path[0] == '':
    del sys.path[0]
if sys.version_info < (3, 10):
    sys.stderr.write('Python %d.%d at %s is too old, mod_wsgi needs 3.10 or newer: '
        'name a newer interpreter with python-home or WSGIPythonHome\\n'
        % (sys.version_info[0], sys.version_info[1], sys.executable))
    sys.exit(78)
import importlib.machinery, importlib.util
arguments = sys.argv[1:]
sys.argv[:] = ['mod_wsgi']
descriptor, copy = None, None
if arguments[1] == 'daemon' and arguments[0].startswith('/proc/self/fd/'):
    import os
    descriptor = int(arguments[0][14:])
    if not os.path.exists(arguments[0]):
        import tempfile
        file, copy = tempfile.mkstemp('.so', 'mod_wsgi_python')
        size = os.fstat(descriptor).st_size
        while size > 0:
            size -= os.write(file, os.pread(descriptor, size, os.fstat(file).st_size))
        os.close(file)
        arguments[0] = copy
loader = importlib.machinery.ExtensionFileLoader('mod_wsgi_python', arguments[0])
spec = importlib.util.spec_from_file_location('mod_wsgi_python', arguments[0], loader=loader)
library = importlib.util.module_from_spec(spec)
loader.exec_module(library)
if copy:
    os.unlink(copy)
if descriptor:
    os.close(descriptor)
del loader, spec, descriptor, copy
library.run(*arguments[1:])
";
