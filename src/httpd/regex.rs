// SPDX-License-Identifier: Apache-2.0
//! httpd's regular expressions (PCRE, as its own directives have them).

use std::ops::Range;
use std::ptr::NonNull;

use super::pool::Pool;
use super::{c_string, sys};
use crate::config::alias::{GROUPS, Pattern};

/// A compiled expression. It belongs to a pool, which its users must not outlive.
#[derive(Debug)]
pub(crate) struct Regex {
    /// httpd's.
    regex: NonNull<sys::ap_regex_t>,
}

// SAFETY: an ap_regex_t is not changed after it was compiled, and ap_regexec may be called from any
// thread, as httpd's own AliasMatch does.
unsafe impl Send for Regex {}
// SAFETY: as above.
unsafe impl Sync for Regex {}

impl Regex {
    /// Compiles an expression; None when it is none.
    ///
    /// # Safety
    /// The expression is not used after the pool was cleared.
    pub(crate) unsafe fn compile(pool: Pool<'_>, pattern: &[u8]) -> Option<Self> {
        let pattern = c_string(pattern);
        // SAFETY: the pool is alive, the pattern a C string that is only read.
        let regex =
            unsafe { sys::ap_pregcomp(pool.as_ptr(), pattern.as_ptr(), sys::AP_REG_EXTENDED as _) };
        NonNull::new(regex).map(|regex| Self { regex })
    }
}

impl Pattern for Regex {
    fn find(&self, text: &[u8]) -> Option<[Option<Range<usize>>; GROUPS]> {
        let text = c_string(text);
        let mut groups = [sys::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
        // SAFETY: the expression is alive (the contract of `compile`), the text a C string, and
        // there is room for as many groups as are said.
        let status = unsafe {
            sys::ap_regexec(
                self.regex.as_ptr(),
                text.as_ptr(),
                GROUPS as sys::apr_size_t,
                groups.as_mut_ptr(),
                0,
            )
        };
        (status == 0).then(|| {
            groups.map(|group| {
                let (start, end) =
                    (usize::try_from(group.rm_so).ok()?, usize::try_from(group.rm_eo).ok()?);
                (start <= end).then_some(start..end)
            })
        })
    }
}
