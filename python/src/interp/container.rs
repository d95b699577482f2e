// SPDX-License-Identifier: Apache-2.0
//! Dicts, lists and tuples.

use std::ffi::CStr;

use pyo3::ffi;

use super::object::{Borrowed, Object};
use super::token::{Attached, PyResult, Raised};
use super::value::{length_of_size, size_of_length};

/// Whether `class`, the address of a class that every interpreter has, is the object's own class.
fn is_exactly(object: &Object<'_>, class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: every object has a type.
    unsafe { ffi::Py_TYPE(object.as_ptr()) == class }
}

impl<'py> Attached<'py> {
    /// An empty `dict`.
    pub(crate) fn dict(self) -> PyResult<Object<'py>> {
        // SAFETY: PyDict_New returns a new reference or null.
        unsafe { Object::from_new(self, ffi::PyDict_New()) }
    }

    /// An empty `list`.
    pub(crate) fn list(self) -> PyResult<Object<'py>> {
        // SAFETY: PyList_New returns a new reference or null.
        unsafe { Object::from_new(self, ffi::PyList_New(0)) }
    }

    /// A tuple of `items`.
    pub(crate) fn tuple<const N: usize>(
        self,
        items: [Borrowed<'_, 'py>; N],
    ) -> PyResult<Object<'py>> {
        // SAFETY: PyTuple_New returns a new tuple or null; PyTuple_SetItem takes over a count,
        // which `share` makes, and each place is set once.
        unsafe {
            let tuple = Object::from_new(self, ffi::PyTuple_New(size_of_length(N)))?;
            for (place, item) in items.into_iter().enumerate() {
                super::status(ffi::PyTuple_SetItem(
                    tuple.as_ptr(),
                    size_of_length(place),
                    item.share().into_ptr(),
                ))?;
            }
            Ok(tuple)
        }
    }
}

impl<'py> Object<'py> {
    /// Whether it is a `list`, or of a subclass.
    pub(crate) fn is_list(&self) -> bool {
        self.has_class_flag(ffi::Py_TPFLAGS_LIST_SUBCLASS)
    }

    /// Whether it is a `tuple`, or of a subclass.
    pub(crate) fn is_tuple(&self) -> bool {
        self.has_class_flag(ffi::Py_TPFLAGS_TUPLE_SUBCLASS)
    }

    /// Whether it is a `list` or `tuple` and of no subclass: it has no `close`, and its items can
    /// be taken at once.
    pub(crate) fn is_plain_sequence(&self) -> bool {
        is_exactly(self, &raw mut ffi::PyList_Type) || is_exactly(self, &raw mut ffi::PyTuple_Type)
    }

    /// Items of a list or tuple; of anything else none.
    pub(crate) fn item_count(&self) -> usize {
        // SAFETY: PyList_Size and PyTuple_Size want an object of their class, which is tested.
        unsafe {
            if self.is_list() {
                length_of_size(ffi::PyList_Size(self.as_ptr()))
            } else if self.is_tuple() {
                length_of_size(ffi::PyTuple_Size(self.as_ptr()))
            } else {
                0
            }
        }
    }

    /// Item at `index` of a list or tuple.
    pub(crate) fn item(&self, py: Attached<'py>, index: usize) -> Option<Object<'py>> {
        if index >= self.item_count() {
            return None;
        }
        // SAFETY: PyList_GetItem and PyTuple_GetItem lend the item at an index that was tested;
        // `share` takes a count before anything else can run.
        unsafe {
            let item = if self.is_list() {
                ffi::PyList_GetItem(self.as_ptr(), size_of_length(index))
            } else {
                ffi::PyTuple_GetItem(self.as_ptr(), size_of_length(index))
            };
            Borrowed::from_ptr(py, item).map(|item| item.share())
        }
    }

    /// Appends to a list.
    pub(crate) fn append(&self, _py: Attached<'py>, item: &Object<'py>) -> PyResult<()> {
        // SAFETY: PyList_Append raises for what is no list, and takes its own count.
        super::status(unsafe { ffi::PyList_Append(self.as_ptr(), item.as_ptr()) })
    }

    /// A shallow copy of a dict.
    pub(crate) fn copy_dict(&self, py: Attached<'py>) -> PyResult<Object<'py>> {
        // SAFETY: PyDict_Copy raises for what is no dict, and returns a new reference.
        unsafe { Self::from_new(py, ffi::PyDict_Copy(self.as_ptr())) }
    }

    /// Sets an entry of a dict.
    pub(crate) fn set_entry(
        &self,
        _py: Attached<'py>,
        key: Borrowed<'_, 'py>,
        value: &Object<'py>,
    ) -> PyResult<()> {
        // SAFETY: PyDict_SetItem raises for what is no dict, and takes its own counts.
        super::status(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// Sets an entry of a dict by a name.
    pub(crate) fn set_entry_named(
        &self,
        _py: Attached<'py>,
        key: &CStr,
        value: &Object<'py>,
    ) -> PyResult<()> {
        // SAFETY: PyDict_SetItemString raises for what is no dict, and takes its own counts.
        super::status(unsafe {
            ffi::PyDict_SetItemString(self.as_ptr(), key.as_ptr(), value.as_ptr())
        })
    }

    /// The entry of a dict for `key`.
    pub(crate) fn entry(
        &self,
        py: Attached<'py>,
        key: Borrowed<'_, 'py>,
    ) -> PyResult<Option<Object<'py>>> {
        // SAFETY: PyDict_GetItemWithError lends the value, or gives null with or without an
        // exception; `share` takes a count before anything else can run.
        unsafe {
            let found = ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr());
            match Borrowed::from_ptr(py, found) {
                Some(value) => Ok(Some(value.share())),
                None if ffi::PyErr_Occurred().is_null() => Ok(None),
                None => Err(Raised),
            }
        }
    }

    /// The entry of a dict by a name.
    pub(crate) fn entry_named(
        &self,
        py: Attached<'py>,
        key: &CStr,
    ) -> PyResult<Option<Object<'py>>> {
        let key = py.interned(key)?;
        self.entry(py, key.borrow())
    }

    /// Removes the entry of a dict, if it is there.
    pub(crate) fn remove_entry(&self, py: Attached<'py>, key: Borrowed<'_, 'py>) -> PyResult<()> {
        if self.entry(py, key)?.is_some() {
            // SAFETY: PyDict_DelItem wants a dict, which `entry` has tested, and raises KeyError.
            super::status(unsafe { ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()) })?;
        }
        Ok(())
    }
}
