// SPDX-License-Identifier: Apache-2.0
//! Users, groups, and dropping privileges.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::check;

/// An entry of the user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Login name.
    pub(crate) name: CString,
    /// User id.
    pub(crate) uid: u32,
    /// Primary group id.
    pub(crate) gid: u32,
    /// Home directory.
    pub(crate) home: PathBuf,
}

/// The effective user id of this process.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// The user with this id. Not for use while other threads may look up users: it uses the C
/// library's static buffer (the callers are single-threaded: configuration, supervisor).
pub(crate) fn user_by_id(uid: u32) -> Option<User> {
    // SAFETY: getpwuid takes an integer, and returns null or an entry that is valid until the next
    // call; it is copied at once.
    unsafe { copy(libc::getpwuid(uid)) }
}

/// The user with this name; see [`user_by_id`].
pub(crate) fn user_by_name(name: &CStr) -> Option<User> {
    // SAFETY: getpwnam takes a C string; otherwise as in user_by_id.
    unsafe { copy(libc::getpwnam(name.as_ptr())) }
}

/// # Safety
/// `entry` is null or a valid entry whose strings end with NUL.
unsafe fn copy(entry: *const libc::passwd) -> Option<User> {
    // SAFETY: the caller's promise.
    let entry = unsafe { entry.as_ref() }?;
    // SAFETY: the caller's promise; both strings are copied.
    let (name, home) =
        unsafe { (CStr::from_ptr(entry.pw_name).to_owned(), CStr::from_ptr(entry.pw_dir)) };
    Some(User {
        name,
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: OsString::from_vec(home.to_bytes().to_vec()).into(),
    })
}

/// The group id of this name; see [`user_by_id`].
pub(crate) fn group_by_name(name: &CStr) -> Option<u32> {
    // SAFETY: getgrnam takes a C string and returns null or an entry valid until the next call.
    unsafe { libc::getgrnam(name.as_ptr()).as_ref() }.map(|entry| entry.gr_gid)
}

/// Room for an entry of a database; entries beyond it count as missing only if they do not fit.
const ENTRY: usize = 64 << 10;

/// Whether there is a user with this id. For any thread.
pub(crate) fn has_user(uid: u32) -> bool {
    let mut buffer = vec![0; ENTRY];
    let mut entry = std::mem::MaybeUninit::uninit();
    let mut found = std::ptr::null_mut();
    // SAFETY: getpwuid_r writes one entry, up to `ENTRY` bytes of strings, and one pointer.
    let status = unsafe {
        libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr(), ENTRY, &raw mut found)
    };
    !found.is_null() || status == libc::ERANGE
}

/// Whether there is a group with this id. For any thread.
pub(crate) fn has_group(gid: u32) -> bool {
    let mut buffer = vec![0; ENTRY];
    let mut entry = std::mem::MaybeUninit::uninit();
    let mut found = std::ptr::null_mut();
    // SAFETY: getgrgid_r writes one entry, up to `ENTRY` bytes of strings, and one pointer.
    let status = unsafe {
        libc::getgrgid_r(gid, entry.as_mut_ptr(), buffer.as_mut_ptr(), ENTRY, &raw mut found)
    };
    !found.is_null() || status == libc::ERANGE
}

/// Sets the supplementary groups to those of the user's memberships and `gid`.
pub(crate) fn initialise_groups(name: &CStr, gid: u32) -> io::Result<()> {
    // SAFETY: initgroups takes a C string and an integer.
    check(unsafe { libc::initgroups(name.as_ptr(), gid) }).map(drop)
}

/// Sets the supplementary groups.
pub(crate) fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: setgroups reads `size` ids from the slice of that length.
    check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }).map(drop)
}

/// Sets real, effective and saved group id.
pub(crate) fn set_gid(gid: u32) -> io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::setresgid(gid, gid, gid) }).map(drop)
}

/// Sets real, effective and saved user id, and makes sure that there is no way back to root.
pub(crate) fn set_uid(uid: u32) -> io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    // SAFETY: takes an integer only.
    if uid != 0 && unsafe { libc::setuid(0) } == 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "root could be regained"));
    }
    Ok(())
}

/// Changes the owner of a path.
pub(crate) fn change_owner(path: &CStr, uid: u32) -> io::Result<()> {
    // Not through a symbolic link: whoever may write to the directory could have put one there.
    // SAFETY: takes a C string and integers; gid -1 leaves the group.
    check(unsafe {
        libc::fchownat(
            libc::AT_FDCWD,
            path.as_ptr(),
            uid,
            libc::gid_t::MAX,
            libc::AT_SYMLINK_NOFOLLOW,
        )
    })
    .map(drop)
}

/// Sets the file mode mask and returns the old one.
pub(crate) fn set_umask(mask: u32) -> u32 {
    // SAFETY: umask takes an integer and cannot fail.
    unsafe { libc::umask(mask) }
}
