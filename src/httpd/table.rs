// SPDX-License-Identifier: Apache-2.0
//! APR tables: names without regard to case, in order, names may repeat.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::{bytes, sys};

/// A table that lives for `'a`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    /// The table.
    table: NonNull<sys::apr_table_t>,
    /// It is httpd's.
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Table<'a> {
    /// The table at this address.
    ///
    /// # Safety
    /// It is null or a table that lives for `'a` and is not used by another thread meanwhile.
    pub(crate) unsafe fn from_ptr(table: *mut sys::apr_table_t) -> Option<Self> {
        NonNull::new(table).map(|table| Self { table, lifetime: PhantomData })
    }

    /// The first value of this name.
    pub(crate) fn get(self, name: &CStr) -> Option<&'a [u8]> {
        // SAFETY: the table is alive, the name a C string; the value lives as long as the table.
        unsafe { bytes(sys::apr_table_get(self.table.as_ptr(), name.as_ptr())) }
    }

    /// Removes all values of this name.
    pub(crate) fn unset(self, name: &CStr) {
        // SAFETY: the table is alive, the name a C string.
        unsafe { sys::apr_table_unset(self.table.as_ptr(), name.as_ptr()) }
    }

    /// Replaces what has this name. Both strings must live as long as the table (its pool).
    pub(crate) fn set(self, name: *const std::ffi::c_char, value: *const std::ffi::c_char) {
        // SAFETY: the callers pass strings of the table's own pool, or static ones.
        unsafe { sys::apr_table_setn(self.table.as_ptr(), name, value) }
    }

    /// Adds a value beside others of its name; both strings are copied.
    pub(crate) fn add(self, name: &CStr, value: &CStr) {
        // SAFETY: the table is alive, both are C strings.
        unsafe { sys::apr_table_add(self.table.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// Appends a value, with a comma, to what has its name; both strings are copied.
    pub(crate) fn merge(self, name: &CStr, value: &CStr) {
        // SAFETY: the table is alive, both are C strings.
        unsafe { sys::apr_table_merge(self.table.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// Replaces what has this name; both strings are copied into the pool first.
    pub(crate) fn replace(self, pool: super::pool::Pool<'_>, name: &CStr, value: &CStr) {
        self.set(pool.copy(name.to_bytes()), pool.copy(value.to_bytes()));
    }

    /// All entries, in order. A null value is skipped.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        // SAFETY: the table is alive; its array holds `nelts` entries whose keys and values are C
        // strings or null. The table is not changed while it is iterated: the iterator's users
        // hold no other handle that they write through.
        let entries = unsafe {
            let array = sys::apr_table_elts(self.table.as_ptr());
            match array.as_ref() {
                Some(array) if !array.elts.is_null() => std::slice::from_raw_parts(
                    array.elts.cast::<sys::apr_table_entry_t>(),
                    usize::try_from(array.nelts).unwrap_or(0),
                ),
                _ => &[],
            }
        };
        entries.iter().filter_map(|entry: &sys::apr_table_entry_t| {
            // SAFETY: as above.
            unsafe { Some((bytes(entry.key)?, bytes(entry.val)?)) }
        })
    }
}
