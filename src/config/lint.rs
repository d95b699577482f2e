// SPDX-License-Identifier: Apache-2.0
//! What is likely to be a mistake in a configuration that is accepted: told by `configtest` and at
//! the start, never a reason not to start. Only `configtest` asks the file system: files belong to
//! users, and a start must not wait for what they, or a server of files, make of them.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::words::text;
use super::{Global, Group, Host, Reference, ServerConfig, nearest};
use crate::os::read_regular_file;

/// A server as it is when all is read.
pub(crate) struct ServerFacts<'a> {
    /// Which one.
    pub(crate) host: Host,
    /// Its record, not merged with the main server's.
    pub(crate) config: &'a ServerConfig,
    /// Whether request bodies may be of any length (LimitRequestBody 0).
    pub(crate) has_unlimited_bodies: bool,
}

/// All that is worth a line in the log of a server that starts.
pub(crate) fn check(global: &Global, servers: &[ServerFacts<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    references(global, servers, &mut lines);
    for server in servers {
        traps(server, &mut lines);
    }
    let mut told = BTreeSet::new();
    lines.retain(|line| told.insert(line.clone()));
    lines
}

/// ServerName as it is in the end; directives know only what stood before them.
fn server_name<'a>(host: &'a Host, servers: &'a [ServerFacts<'_>]) -> Option<&'a [u8]> {
    let found = servers.iter().find(|server| server.host.identity == host.identity);
    found.map_or(host.name.as_deref(), |server| server.host.name.as_deref())
}

fn references(global: &Global, servers: &[ServerFacts<'_>], lines: &mut Vec<String>) {
    for reference in &global.references {
        let Reference { name, host, place } = reference;
        let shown = text(name);
        match global.group(name) {
            None => {
                let names = global.groups.iter().map(|group| text(&group.process.name));
                let remedy = nearest(&shown, names).map_or_else(
                    || format!("write WSGIDaemonProcess {shown}"),
                    |near| format!("did you mean '{near}'?"),
                );
                lines.push(format!(
                    "WSGI0318: there is no process group '{shown}', requests that go to it are answered 500: {remedy}{place}"
                ));
            }
            Some(group) if !can_reach(group, host, servers) => {
                let owner = server_name(&group.host, servers).map_or_else(String::new, text);
                lines.push(format!(
                    "WSGI0319: process group '{shown}' is defined in the virtual host {owner}, and a virtual host of another ServerName cannot use it: move its WSGIDaemonProcess out of the virtual host{place}"
                ));
            }
            Some(_) => {}
        }
    }
}

fn can_reach(group: &Group, host: &Host, servers: &[ServerFacts<'_>]) -> bool {
    // What stands in the main server holds for requests of every virtual host.
    !group.host.is_virtual
        || !host.is_virtual
        || group.host.identity == host.identity
        || server_name(&group.host, servers) == server_name(host, servers)
}

/// What is worth a line while the configuration is written, and none at each start: groups that
/// nothing goes to, and what the file system says of homes, paths and scripts.
pub(crate) fn check_before_start(
    global: &Global,
    interpreter: &dyn Fn(&[u8]) -> PathBuf,
) -> Vec<String> {
    let mut lines = homes(global, interpreter);
    paths(global, interpreter, &mut lines);
    scripts(global, &mut lines);
    if global.is_dynamic {
        return lines;
    }
    for group in &global.groups {
        let name = &group.process.name;
        if !global.references.iter().any(|reference| reference.name == *name) {
            lines.push(format!(
                "WSGI0320: nothing goes to process group '{}': write WSGIProcessGroup {0}, or process-group={0} at a WSGIScriptAlias{}",
                text(name),
                group.place
            ));
        }
    }
    lines
}

fn homes(global: &Global, interpreter: &dyn Fn(&[u8]) -> PathBuf) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(home) = &global.python_home {
        home_of("WSGIPythonHome", home, "", interpreter, &mut lines);
    }
    for group in &global.groups {
        let said = format!("python-home of process group '{}'", text(&group.process.name));
        if let Some(home) = &group.process.options.python_home {
            home_of(&said, home, &group.place, interpreter, &mut lines);
        }
    }
    lines
}

fn paths(global: &Global, interpreter: &dyn Fn(&[u8]) -> PathBuf, lines: &mut Vec<String>) {
    let default = global.python_home.as_deref().unwrap_or_default();
    let embedded = global.options.python_path.as_deref();
    path_of("WSGIPythonPath", &interpreter(default), embedded, "", lines);
    for group in &global.groups {
        let options = &group.process.options;
        let said = format!("python-path of process group '{}'", text(&group.process.name));
        let program = interpreter(options.python_home.as_deref().unwrap_or(default));
        path_of(&said, &program, options.python_path.as_deref(), &group.place, lines);
    }
}

fn home_of(
    said: &str,
    home: &[u8],
    place: &str,
    interpreter: &dyn Fn(&[u8]) -> PathBuf,
    lines: &mut Vec<String>,
) {
    if home.is_empty() {
        return;
    }
    let shown = text(home);
    let path = Path::new(OsStr::from_bytes(home));
    let is_of_packages = |name: &&str| path.file_name() == Some(OsStr::new(name));
    if ["site-packages", "dist-packages"].iter().any(is_of_packages) {
        let root = path
            .ancestors()
            .nth(3)
            .map_or_else(String::new, |root| format!(", which here is {}", root.display()));
        lines.push(format!(
            "WSGI0321: {said} is {shown}, a folder of packages: write the folder of the environment{root}, or give packages by python-path (WSGIPythonPath){place}"
        ));
        return;
    }
    let program = interpreter(home);
    if !program.exists() {
        lines.push(format!(
            "WSGI0322: {said} is {shown}, and there is no interpreter {}: write the folder of a virtual environment or an installation{place}",
            program.display()
        ));
    }
}

/// `lib/pythonX.Y` on a path belongs to Python X.Y.
fn path_of(said: &str, program: &Path, path: Option<&[u8]>, place: &str, lines: &mut Vec<String>) {
    let mut version = None;
    for entry in path.unwrap_or_default().split(|byte| *byte == b':') {
        let entry = text(entry);
        let named = entry.split('/').find_map(|part| part.strip_prefix("python"));
        let Some(named) = named.filter(|named| named.contains('.')) else { continue };
        let Some(version) = version.get_or_insert_with(|| version_of(program)) else { return };
        if named != version {
            lines.push(format!(
                "WSGI0323: {said} has {entry}, of Python {named}, and the interpreter is Python {version}: packages of another version are likely to fail{place}"
            ));
        }
    }
}

/// X.Y of an interpreter: from the pyvenv.cfg of its environment, or the name that it is a link to.
fn version_of(program: &Path) -> Option<String> {
    let environment = program.ancestors().nth(2).and_then(environment_version);
    environment.or_else(|| {
        let program = program.canonicalize().ok()?;
        let version = program.file_name()?.to_str()?.strip_prefix("python")?;
        version.contains('.').then(|| version.to_owned())
    })
}

/// More than any pyvenv.cfg has.
const MAX_SETTINGS: u64 = 64 << 10;

/// X.Y of a virtual environment, from its pyvenv.cfg.
fn environment_version(home: &Path) -> Option<String> {
    let settings = read_regular_file(&home.join("pyvenv.cfg"), MAX_SETTINGS).ok()?;
    let settings = String::from_utf8(settings).ok()?;
    let version = settings.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        ["version", "version_info"].contains(&name.trim()).then(|| value.trim().to_owned())
    })?;
    let mut numbers = version.split('.');
    Some(format!("{}.{}", numbers.next()?, numbers.next()?))
}

fn scripts(global: &Global, lines: &mut Vec<String>) {
    for (script, place) in &global.scripts {
        // A script may be followed by the beginning of PATH_INFO, if only by a slash.
        let path = Path::new(OsStr::from_bytes(script));
        let path: PathBuf = path.components().collect();
        let is_missing = |error: &std::io::Error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        };
        // What cannot be looked at may be there.
        let is_script = |found: std::io::Result<std::fs::Metadata>, is_whole: bool| match found {
            Ok(found) => Some(is_whole || found.is_file()),
            Err(error) if is_missing(&error) => None,
            Err(_) => Some(true),
        };
        let found = path
            .ancestors()
            .enumerate()
            .find_map(|(cut, path)| is_script(path.metadata(), cut == 0));
        if found != Some(true) {
            lines.push(format!("WSGI0316: the WSGI script {} does not exist{place}", text(script)));
        }
    }
}

fn traps(server: &ServerFacts<'_>, lines: &mut Vec<String>) {
    let config = server.config;
    if config.scoped.pass_authorization == Some(true) {
        for alias in config.aliases.iter().filter(|alias| alias.pass_authorization == Some(false)) {
            lines.push(format!(
                "WSGI0324: WSGIPassAuthorization is On, but pass-authorization=Off of WSGIScriptAlias {} comes before it: the application there gets no Authorization header",
                text(&alias.location)
            ));
        }
    }
    if config.scoped.chunked_request == Some(true) && server.has_unlimited_bodies {
        lines.push(
            "WSGI0325: WSGIChunkedRequest is On and LimitRequestBody is 0: a client can send a body without end, write LimitRequestBody"
                .into(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixed;
    use super::super::{alias, daemon_process};
    use super::*;
    use std::sync::Arc;

    fn host(identity: usize, name: &str) -> Host {
        Host { identity, is_virtual: identity != 0, name: Some(name.into()) }
    }

    fn global(groups: &[(&str, Host)], references: &[(&str, Host)]) -> Global {
        let mut global = Global::default();
        for (line, host) in groups {
            let process = daemon_process::parse(line.as_bytes(), &mut Fixed::default()).unwrap();
            global.add_group(process, host.clone(), " (conf:1)".into()).unwrap();
        }
        for (name, host) in references {
            global.refer_to_group(name.as_bytes(), host.clone(), " (conf:2)".into());
        }
        global
    }

    fn interpreter(home: &[u8]) -> PathBuf {
        Path::new(OsStr::from_bytes(home)).join("bin/python")
    }

    fn told(global: &Global, servers: &[ServerFacts<'_>]) -> Vec<String> {
        check(global, servers)
    }

    fn assert_told(global: &Global, needles: &[&str]) {
        let lines = [told(global, &[]), check_before_start(global, &interpreter)].concat();
        assert_eq!(lines.len(), needles.len(), "{lines:?}");
        for (line, needle) in lines.iter().zip(needles) {
            assert!(line.contains(needle), "{line}");
        }
    }

    #[test]
    fn groups_that_are_used_and_visible_need_no_line() {
        assert_told(&global(&[("a", host(0, "m"))], &[("a", host(1, "x"))]), &[]);
        assert_told(&global(&[("a", host(1, "x"))], &[("a", host(2, "x"))]), &[]);
        assert_told(&global(&[("a", host(1, "x"))], &[("a", host(0, "m"))]), &[]);
        assert_told(&global(&[("a", host(0, "m"))], &[("%{ENV:G}", host(0, "m"))]), &[]);
    }

    #[test]
    fn misspelt_invisible_and_unused_groups() {
        let misspelt = global(&[("django", host(0, "m"))], &[("djagno", host(0, "m"))]);
        assert_told(&misspelt, &["did you mean 'django'? (conf:2)", "nothing goes to"]);
        let invisible = global(&[("a", host(1, "x"))], &[("a", host(2, "y"))]);
        assert_told(&invisible, &["virtual host x"]);
        assert_told(&global(&[("a", host(0, "m"))], &[]), &["nothing goes to process group 'a'"]);
    }

    #[test]
    fn homes_and_paths() {
        let folder = std::env::temp_dir().join(format!("mod_wsgi-lint-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::write(folder.join("bin/python"), "").unwrap();
        std::fs::write(folder.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").unwrap();
        let home = folder.display();
        let packages = format!("{home}/lib/python3.8/site-packages");
        for (options, needles) in [
            (format!("python-home={home}"), &[][..]),
            (format!("python-home={home} python-path=/a:{packages}"), &["of Python 3.8"][..]),
            (format!("python-home={packages}"), &["a folder of packages"]),
            (format!("python-home={home}/none"), &["there is no interpreter"]),
        ] {
            let line = format!("a {options}");
            assert_told(&global(&[(&line, host(0, "m"))], &[("a", host(0, "m"))]), needles);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn scripts_may_be_followed_by_a_path() {
        let file = std::env::temp_dir().join(format!("mod_wsgi-lint-{}.wsgi", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let scripts = |path: String| Global {
            scripts: vec![(path.as_bytes().into(), " (conf:3)".into())],
            ..Global::default()
        };
        assert_told(&scripts(file.display().to_string()), &[]);
        assert_told(&scripts(format!("{}/more/path", file.display())), &[]);
        assert_told(&scripts(format!("{}/", file.display())), &[]);
        assert_told(&scripts(format!("{}.no", file.display())), &["does not exist (conf:3)"]);
        assert_told(&scripts("/no/such/folder".into()), &["does not exist"]);
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn traps_of_a_server() {
        let mut config = ServerConfig::default();
        config.scoped.pass_authorization = Some(true);
        config.scoped.chunked_request = Some(true);
        let line = b"/a /x pass-authorization=Off";
        config.aliases = Arc::new(vec![alias::parse(line, None).unwrap()]);
        let facts = ServerFacts { host: host(0, "m"), config: &config, has_unlimited_bodies: true };
        let lines = told(&Global::default(), &[facts]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("WSGIScriptAlias /a") && lines[1].contains("LimitRequestBody"));
    }
}
