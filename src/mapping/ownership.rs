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

/// Checks the file that the URL is mapped to.
///
/// # Errors
/// What is wrong, for the log; the client gets 403.
pub(crate) fn check(request: &Request<'_>, options: &Options) -> Result<(), String> {
    if options.script_group.is_none() && options.script_user.is_none() {
        return Ok(());
    }
    let path = Path::new(OsStr::from_bytes(request.filename().unwrap_or_default()));
    let file = request.file_owner();
    let parent = || path.parent().unwrap_or(path).metadata().ok();
    if let Some(gid) = options.script_group {
        check_group(gid, path, file, parent())?;
    }
    if let Some(user) = &options.script_user {
        check_user(user.uid, path, file, parent())?;
    }
    Ok(())
}

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

fn check_group(
    wanted: u32,
    path: &Path,
    file: Option<FileOwner>,
    parent: Option<std::fs::Metadata>,
) -> Result<(), String> {
    let shown = path.display();
    let Some(file) = file else {
        return Err(format!("WSGI0153: Group information not available for WSGI script '{shown}'"));
    };
    if !identity::has_group(file.gid) {
        return Err(format!(
            "WSGI0154: Unable to determine group of WSGI script '{shown}': there is no group with the id {}",
            file.gid
        ));
    }
    if file.gid != wanted {
        return Err(format!(
            "WSGI0155: Group of WSGI script '{shown}' does not match the required group (script-group)"
        ));
    }
    if file.mode & WORLD_WRITABLE != 0 {
        return Err(format!("WSGI0157: World writable permissions on WSGI script '{shown}'"));
    }
    let Some(parent) = parent else {
        return Err(format!("WSGI0158: Unable to stat the directory of WSGI script '{shown}'"));
    };
    if !identity::has_group(parent.gid()) {
        return Err(format!(
            "WSGI0159: Unable to determine group of the directory of WSGI script '{shown}': there is no group with the id {}",
            parent.gid()
        ));
    }
    if parent.gid() != wanted {
        return Err(format!(
            "WSGI0160: Group of the directory of WSGI script '{shown}' does not match the required group (script-group)"
        ));
    }
    if parent.mode() & WORLD_WRITABLE != 0 {
        return Err(format!(
            "WSGI0161: World writable permissions on the directory of WSGI script '{shown}'"
        ));
    }
    Ok(())
}

fn check_user(
    wanted: u32,
    path: &Path,
    file: Option<FileOwner>,
    parent: Option<std::fs::Metadata>,
) -> Result<(), String> {
    let shown = path.display();
    let Some(file) = file else {
        return Err(format!("WSGI0162: Owner information not available for WSGI script '{shown}'"));
    };
    if !identity::has_user(file.uid) {
        return Err(format!(
            "WSGI0163: Unable to determine owner of WSGI script '{shown}': there is no user with the id {}",
            file.uid
        ));
    }
    if file.uid != wanted {
        return Err(format!(
            "WSGI0164: Owner of WSGI script '{shown}' does not match the required user (script-user)"
        ));
    }
    if file.mode & GROUP_WRITABLE != 0 {
        return Err(format!("WSGI0166: Group writable permissions on WSGI script '{shown}'"));
    }
    if file.mode & WORLD_WRITABLE != 0 {
        return Err(format!("WSGI0168: World writable permissions on WSGI script '{shown}'"));
    }
    let Some(parent) = parent else {
        return Err(format!("WSGI0169: Unable to stat the directory of WSGI script '{shown}'"));
    };
    if !identity::has_user(parent.uid()) {
        return Err(format!(
            "WSGI0170: Unable to determine owner of the directory of WSGI script '{shown}': there is no user with the id {}",
            parent.uid()
        ));
    }
    if parent.uid() != wanted {
        return Err(format!(
            "WSGI0171: Owner of the directory of WSGI script '{shown}' does not match the required user (script-user)"
        ));
    }
    if parent.mode() & WORLD_WRITABLE != 0 {
        return Err(format!(
            "WSGI0172: World writable permissions on the directory of WSGI script '{shown}'"
        ));
    }
    if parent.mode() & GROUP_WRITABLE != 0 {
        return Err(format!(
            "WSGI0173: Group writable permissions on the directory of WSGI script '{shown}'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_written_by_others_is_refused() {
        let root = |mode| Some(FileOwner { uid: 0, gid: 0, mode });
        let path = Path::new("/etc/passwd");
        let parent = || Path::new("/etc").metadata().ok();
        assert_eq!(check_user(0, path, root(0o644), parent()), Ok(()));
        assert_eq!(check_group(0, path, root(0o664), parent()), Ok(()));
        for (result, number) in [
            (check_user(0, path, None, parent()), "WSGI0162"),
            (check_user(1, path, root(0o644), parent()), "WSGI0164"),
            (check_user(0, path, root(0o664), parent()), "WSGI0166"),
            (check_user(0, path, root(0o646), parent()), "WSGI0168"),
            (check_user(0, path, root(0o644), None), "WSGI0169"),
            (check_group(0, path, None, parent()), "WSGI0153"),
            (check_group(1, path, root(0o644), parent()), "WSGI0155"),
            (check_group(0, path, root(0o646), parent()), "WSGI0157"),
            (check_group(0, path, root(0o644), None), "WSGI0158"),
        ] {
            let error = result.unwrap_err();
            assert!(error.starts_with(number), "{error}");
        }
    }
}
