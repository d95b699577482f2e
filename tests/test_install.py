# SPDX-License-Identifier: Apache-2.0
"""`make install` and `make uninstall`: what lands where, that a2enmod takes it, what is taken away.

Everything happens below a scratch folder, or in a mount namespace in which the system's own
folders are covered, so that nothing of the machine's Apache changes.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import httpd_build
from harness.under_test import REPOSITORY

pytestmark = pytest.mark.ours_only("mod_wsgi from PyPI is installed by pip")

MODULE_FILES = ("mod_wsgi.so", "mod_wsgi_python.abi3.so")
CONFIGURATION_FILES = ("wsgi.conf", "wsgi.load")
A2ENMOD = shutil.which("a2enmod", path="/usr/sbin:/sbin")
needs_debian = pytest.mark.skipif(
    A2ENMOD is None, reason="needs Debian's a2enmod (package apache2)"
)


def outside_make():
    """The environment without what a make that runs these tests has put there."""
    ours = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "DESTDIR")
    return {name: value for name, value in os.environ.items() if name not in ours}


def make(*words, **environment):
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=REPOSITORY,
        env=outside_make() | environment,
        capture_output=True,
        text=True,
    )


def succeed(*words, **environment):
    finished = make(*words, **environment)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def debian_apache(tmp_path):
    """A scratch copy of Debian's Apache configuration, and an apxs that installs next to it."""
    confdir = tmp_path / "apache2"
    shutil.copytree("/etc/apache2", confdir, symlinks=True)
    with (confdir / "envvars").open("a") as envvars:
        for name in ("RUN", "LOCK", "LOG"):
            envvars.write(f"export APACHE_{name}_DIR={tmp_path}/{name.lower()}\n")
            (tmp_path / name.lower()).mkdir()
        envvars.write(f"export APACHE_PID_FILE={tmp_path}/run/apache2.pid\n")
    apxs = tmp_path / "apxs"
    apxs.write_text(
        "#!/bin/sh\n"
        'case "$1 $2" in\n'
        f'    "-q LIBEXECDIR") echo "{tmp_path}/modules" ;;\n'
        f'    "-q SYSCONFDIR") echo "{confdir}" ;;\n'
        f'    *) exec "{shutil.which(httpd_build.APXS)}" "$@" ;;\n'
        "esac\n"
    )
    apxs.chmod(0o755)
    return confdir, apxs


def debian_tool(confdir, *command):
    environment = os.environ | {
        "APACHE_CONFDIR": str(confdir),
        "APACHE_STATE_DIRECTORY": str(confdir.parent / "state"),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_destdir_gets_exactly_the_files_and_loses_them(tmp_path):
    root = tmp_path / "root"
    modules = root / str(httpd_build.module_directory()).lstrip("/")
    succeed("install", f"DESTDIR={root}")

    expected = [modules / name for name in MODULE_FILES]
    if Path("/etc/debian_version").exists():
        available = root / "etc/apache2/mods-available"
        expected += [available / name for name in CONFIGURATION_FILES]
        load = (available / "wsgi.load").read_text()
        assert load == f"LoadModule wsgi_module {httpd_build.module_directory()}/mod_wsgi.so\n"
    assert files_below(root) == sorted(expected)
    assert {oct(path.stat().st_mode & 0o777) for path in expected} == {"0o644"}

    succeed("uninstall", f"DESTDIR={root}")
    assert files_below(root) == []


def test_other_files_stay(tmp_path):
    modules = tmp_path / str(httpd_build.module_directory()).lstrip("/")
    modules.mkdir(parents=True)
    neighbour = modules / "mod_wsgi_other.so"
    neighbour.write_text("not ours")
    succeed("install", f"DESTDIR={tmp_path}")
    succeed("uninstall", f"DESTDIR={tmp_path}")
    assert files_below(tmp_path) == [neighbour]


@needs_debian
def test_a_configuration_that_was_edited_is_kept(debian_apache):
    confdir, apxs = debian_apache
    edited = confdir / "mods-available/wsgi.conf"
    succeed("install", APXS=str(apxs))
    edited.write_text("WSGIRestrictEmbedded On\n")
    assert "kept" in succeed("install", APXS=str(apxs))
    assert edited.read_text() == "WSGIRestrictEmbedded On\n"
    assert "kept" in succeed("uninstall", APXS=str(apxs))
    assert edited.read_text() == "WSGIRestrictEmbedded On\n"
    assert not (confdir / "mods-available/wsgi.load").exists()


@needs_debian
def test_a2enmod_enables_it_and_configtest_accepts_it(debian_apache):
    confdir, apxs = debian_apache
    succeed("install", APXS=str(apxs))

    enabled = debian_tool(confdir, "a2enmod", "wsgi")
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    assert (confdir / "mods-enabled/wsgi.load").is_symlink()
    assert (confdir / "mods-enabled/wsgi.conf").is_symlink()

    tested = debian_tool(confdir, "apache2ctl", "configtest")
    assert tested.returncode == 0 and "Syntax OK" in tested.stderr, tested.stdout + tested.stderr
    loaded = debian_tool(confdir, "apache2ctl", "-M")
    assert " wsgi_module (shared)" in loaded.stdout.splitlines()


@needs_debian
def test_uninstall_refuses_while_enabled(debian_apache):
    confdir, apxs = debian_apache
    succeed("install", APXS=str(apxs))
    assert debian_tool(confdir, "a2enmod", "wsgi").returncode == 0

    refused = make("uninstall", APXS=str(apxs))
    assert refused.returncode != 0
    assert "a2dismod wsgi" in refused.stderr
    assert all((confdir.parent / "modules" / name).exists() for name in MODULE_FILES)
    assert debian_tool(confdir, "apache2ctl", "configtest").returncode == 0

    assert debian_tool(confdir, "a2dismod", "wsgi").returncode == 0
    succeed("uninstall", APXS=str(apxs))
    assert files_below(confdir.parent / "modules") == []
    assert not [path for path in files_below(confdir) if path.name in CONFIGURATION_FILES]


def test_nothing_built_is_said(tmp_path):
    refused = make("install", f"DESTDIR={tmp_path}/root", MOD_WSGI_MODULES=str(tmp_path))
    assert refused.returncode != 0
    assert "run make first" in refused.stderr
    assert not (tmp_path / "root").exists()


COVERED = ("/etc/apache2", "/usr/lib/apache2/modules", "/var/lib/apache2", "/run")

IN_NAMESPACE = """
set -eu
mount -t tmpfs tmpfs "$SCRATCH"
for folder in {covered}; do
    mkdir -p "$SCRATCH$folder/upper" "$SCRATCH$folder/work"
    mount -t overlay overlay "$folder" \
        -o "lowerdir=$folder,upperdir=$SCRATCH$folder/upper,workdir=$SCRATCH$folder/work"
done
echo "covered"
export PATH="/usr/sbin:/sbin:$PATH"
make --no-print-directory install
a2enmod wsgi
apache2ctl configtest
apache2ctl -M | grep wsgi_module
if make --no-print-directory uninstall; then exit 3; fi
a2dismod wsgi
make --no-print-directory uninstall
for path in {left}; do
    if [ -e "$path" ]; then exit 4; fi
done
apache2ctl configtest
echo "finished"
"""


@needs_debian
@pytest.mark.root_only("covers the system's folders in a mount namespace")
def test_the_real_folders_in_a_namespace(tmp_path):
    if httpd_build.module_directory() != Path("/usr/lib/apache2/modules"):
        pytest.skip("needs Debian's own httpd")
    left = [f"/usr/lib/apache2/modules/{name}" for name in MODULE_FILES]
    left += [f"/etc/apache2/mods-available/{name}" for name in CONFIGURATION_FILES]
    if any(Path(path).exists() for path in left):
        pytest.skip("mod_wsgi is installed on this machine")
    script = IN_NAMESPACE.format(covered=" ".join(COVERED), left=" ".join(left))
    finished = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=REPOSITORY,
        env=outside_make() | {"SCRATCH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    if "covered\n" not in finished.stdout:
        pytest.skip(f"no overlay mounts here: {finished.stderr.strip()}")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.endswith("finished\n")
    assert not any(Path(path).exists() for path in left)
