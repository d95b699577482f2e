// SPDX-License-Identifier: Apache-2.0
//! `script-user=` and `script-group=` of a process group: who must own a file, and its directory,
//! that the group's processes run (spec-config 4.6).
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::daemon_process::Options;
use crate::httpd::request::Request;
use crate::os::identity;

/// Others may write.
const WORLD_WRITABLE: u32 = 0o002;

/// The group may write.
const GROUP_WRITABLE: u32 = 0o020;

/// Owner and mode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileOwner {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What is checked of a file and of its directory, with mod_wsgi's numbers.
struct Rule {
    /// "Owner" or "Group".
    noun: &'static str,
    /// The option that asks for it.
    option: &'static str,
    /// The id that is compared.
    id: fn(&FileOwner) -> u32,
    /// Whether an id has a name.
    exists: fn(u32) -> bool,
    /// For the file.
    file: Numbers,
    /// For its directory.
    directory: Numbers,
}

/// Numbers of what is wrong with one of the two.
struct Numbers {
    /// Nothing is known of it.
    missing: &'static str,
    /// Its id has no name.
    nameless: &'static str,
    /// Its id is another one.
    other: &'static str,
    /// Bits that must not be set, in the order in which they are looked at.
    writable: &'static [(u32, &'static str, &'static str)],
}

const GROUP: Rule = Rule {
    noun: "Group",
    option: "script-group",
    id: |file| file.gid,
    exists: identity::has_group,
    file: Numbers {
        missing: "WSGI0153",
        nameless: "WSGI0154",
        other: "WSGI0155",
        writable: &[(WORLD_WRITABLE, "World", "WSGI0157")],
    },
    directory: Numbers {
        missing: "WSGI0158",
        nameless: "WSGI0159",
        other: "WSGI0160",
        writable: &[(WORLD_WRITABLE, "World", "WSGI0161")],
    },
};

const USER: Rule = Rule {
    noun: "Owner",
    option: "script-user",
    id: |file| file.uid,
    exists: identity::has_user,
    file: Numbers {
        missing: "WSGI0162",
        nameless: "WSGI0163",
        other: "WSGI0164",
        writable: &[(GROUP_WRITABLE, "Group", "WSGI0166"), (WORLD_WRITABLE, "World", "WSGI0168")],
    },
    directory: Numbers {
        missing: "WSGI0169",
        nameless: "WSGI0170",
        other: "WSGI0171",
        writable: &[(WORLD_WRITABLE, "World", "WSGI0172"), (GROUP_WRITABLE, "Group", "WSGI0173")],
    },
};

impl From<std::fs::Metadata> for FileOwner {
    fn from(found: std::fs::Metadata) -> Self {
        Self { uid: found.uid(), gid: found.gid(), mode: found.mode() }
    }
}

/// Checks the file that the URL is mapped to.
///
/// # Errors
/// What is wrong, for the log; the client gets 403.
pub(crate) fn check(request: &Request<'_>, options: &Options) -> Result<(), String> {
    let path = Path::new(OsStr::from_bytes(request.filename().unwrap_or_default()));
    check_file(path, options, || request.file_owner())
}

/// Checks the script of a hook.
///
/// # Errors
/// What is wrong, for the log.
pub(crate) fn check_script(script: &[u8], options: &Options) -> Result<(), String> {
    let path = Path::new(OsStr::from_bytes(script));
    check_file(path, options, || path.metadata().ok().map(FileOwner::from))
}

fn check_file(
    path: &Path,
    options: &Options,
    owner: impl FnOnce() -> Option<FileOwner>,
) -> Result<(), String> {
    let wanted = options.script_group.map(|gid| (&GROUP, gid));
    let wanted = wanted.or_else(|| options.script_user.as_ref().map(|user| (&USER, user.uid)));
    let Some((rule, id)) = wanted else { return Ok(()) };
    let parent = path.parent().unwrap_or(path).metadata().ok().map(FileOwner::from);
    rule.check(id, path, owner(), parent)
}

impl Rule {
    fn check(
        &self,
        wanted: u32,
        path: &Path,
        file: Option<FileOwner>,
        directory: Option<FileOwner>,
    ) -> Result<(), String> {
        let shown = path.display();
        self.check_one(wanted, &self.file, file, &format!("WSGI script '{shown}'"))?;
        let what = format!("the directory of WSGI script '{shown}'");
        self.check_one(wanted, &self.directory, directory, &what)
    }

    fn check_one(
        &self,
        wanted: u32,
        numbers: &Numbers,
        found: Option<FileOwner>,
        what: &str,
    ) -> Result<(), String> {
        let Self { noun, option, id, exists, .. } = self;
        let Some(found) = found else {
            return Err(format!(
                "{}: {noun} information not available for {what}",
                numbers.missing
            ));
        };
        let known = id(&found);
        if !exists(known) {
            return Err(format!("{}: {noun} of {what} has no name: {known}", numbers.nameless));
        }
        if known != wanted {
            return Err(format!(
                "{}: {noun} of {what} does not match the required one ({option})",
                numbers.other
            ));
        }
        match numbers.writable.iter().find(|(bits, _, _)| found.mode & bits != 0) {
            Some((_, whose, number)) => {
                Err(format!("{number}: {whose} writable permissions on {what} ({option})"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_written_by_others_is_refused() {
        let root = |mode| Some(FileOwner { uid: 0, gid: 0, mode });
        let path = Path::new("/etc/passwd");
        let parent = || root(0o755);
        assert_eq!(USER.check(0, path, root(0o644), parent()), Ok(()));
        assert_eq!(GROUP.check(0, path, root(0o664), parent()), Ok(()));
        for (result, number) in [
            (USER.check(0, path, None, parent()), "WSGI0162"),
            (USER.check(1, path, root(0o644), parent()), "WSGI0164"),
            (USER.check(0, path, root(0o664), parent()), "WSGI0166"),
            (USER.check(0, path, root(0o646), parent()), "WSGI0168"),
            (USER.check(0, path, root(0o644), None), "WSGI0169"),
            (GROUP.check(0, path, None, parent()), "WSGI0153"),
            (GROUP.check(1, path, root(0o644), parent()), "WSGI0155"),
            (GROUP.check(0, path, root(0o646), parent()), "WSGI0157"),
            (GROUP.check(0, path, root(0o644), None), "WSGI0158"),
        ] {
            let error = result.unwrap_err();
            assert!(error.starts_with(number), "{error}");
        }
    }
}
