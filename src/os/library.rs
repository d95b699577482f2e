// SPDX-License-Identifier: Apache-2.0
//! Shared libraries: which one this code is in, and loading others.

use std::ffi::{CStr, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// File that this code was loaded from.
pub(crate) fn own_path() -> Option<PathBuf> {
    let address: *const c_void = (own_path as fn() -> Option<PathBuf>) as *const c_void;
    // SAFETY: an all-zero Dl_info is valid; dladdr writes it, and its strings live as long as the
    // library is loaded, which is for ever (-z nodelete).
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(address, &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let name = CStr::from_ptr(info.dli_fname);
        std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
    }
}

/// Loads a library for good, its symbols visible to libraries that are loaded later.
///
/// # Errors
/// The loader's reason.
pub(crate) fn load_globally(path: &CStr) -> Result<Library, String> {
    // SAFETY: loads a library whose constructors are as trusted as the interpreter that named it.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() { Err(last_error()) } else { Ok(Library { handle }) }
}

/// A loaded library; it is never unloaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Library {
    /// The loader's handle.
    handle: *mut c_void,
}

impl Library {
    /// Address of a symbol.
    ///
    /// # Errors
    /// The loader's reason.
    pub(crate) fn symbol(self, name: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the handle is that of a loaded library, the name a C string.
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if address.is_null() { Err(last_error()) } else { Ok(address) }
    }
}

fn last_error() -> String {
    // SAFETY: dlerror returns null or a C string that is valid until this thread's next call.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            "no reason is known".to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}
