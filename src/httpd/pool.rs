// SPDX-License-Identifier: Apache-2.0
//! APR pools: Rust values that C keeps a pointer to are owned by a pool's cleanup.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::guard::guard;
use super::sys;

/// A pool that lives for `'a`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool<'a> {
    /// The pool.
    pool: NonNull<sys::apr_pool_t>,
    /// It is httpd's.
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Pool<'a> {
    /// The pool at this address.
    ///
    /// # Safety
    /// It is null or a pool that lives for `'a`, and no other thread uses it meanwhile.
    pub(crate) unsafe fn from_ptr(pool: *mut sys::apr_pool_t) -> Option<Self> {
        NonNull::new(pool).map(|pool| Self { pool, lifetime: PhantomData })
    }

    /// The pool for a call of C.
    pub(crate) fn as_ptr(self) -> *mut sys::apr_pool_t {
        self.pool.as_ptr()
    }

    /// Moves a value to the heap, to be dropped when the pool is cleared. The pointer is for C to
    /// keep; it stays valid as long as the pool.
    pub(crate) fn own<T>(self, value: T) -> *mut T {
        let value = Box::into_raw(Box::new(value));
        // SAFETY: the pool is alive; drop_value::<T> fits the pointer, and runs once.
        unsafe {
            sys::apr_pool_cleanup_register(
                self.as_ptr(),
                value.cast(),
                Some(drop_value::<T>),
                Some(sys::apr_pool_cleanup_null),
            );
        }
        value
    }

    /// The value of this type that the pool keeps under the key; made when it is not there.
    pub(crate) fn state<T: Default>(self, key: &'static CStr) -> *mut T {
        let mut found: *mut c_void = std::ptr::null_mut();
        // SAFETY: writes one pointer; the key is a C string.
        unsafe { sys::apr_pool_userdata_get(&raw mut found, key.as_ptr(), self.as_ptr()) };
        if !found.is_null() {
            return found.cast();
        }
        let value = self.own(T::default());
        // SAFETY: the key is static, as userdata_set without a copy of it requires (setn is not
        // used); a null cleanup is allowed, the value has its own.
        unsafe { sys::apr_pool_userdata_set(value.cast(), key.as_ptr(), None, self.as_ptr()) };
        value
    }

    /// Copies bytes into the pool as a C string.
    pub(crate) fn copy(self, bytes: &[u8]) -> *mut c_char {
        // SAFETY: reads `len` bytes, and returns memory of the pool.
        unsafe { sys::apr_pstrmemdup(self.as_ptr(), bytes.as_ptr().cast(), bytes.len()) }
    }
}

unsafe extern "C" fn drop_value<T>(value: *mut c_void) -> sys::apr_status_t {
    guard("cleanup", (), || {
        // SAFETY: the pointer is that of `own::<T>`, given out by Box::into_raw, and APR runs a
        // cleanup once.
        drop(unsafe { Box::from_raw(value.cast::<T>()) });
    });
    sys::APR_SUCCESS
}
