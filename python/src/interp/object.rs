// SPDX-License-Identifier: Apache-2.0
//! References to Python objects: owned ([`Object`]), borrowed ([`Borrowed`]), and kept beyond an
//! attachment ([`Kept`]). The first two live no longer than the token that they were made with,
//! so a reference is dropped only while attached.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::token::{Attached, PyResult, Raised};

/// An owned reference.
#[repr(transparent)]
pub(crate) struct Object<'py> {
    /// Never null; one reference count is ours.
    pointer: NonNull<ffi::PyObject>,
    /// Not `Send`, and no longer than the attachment.
    scope: PhantomData<(&'py (), *mut ())>,
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: Py_DECREF wants an attached thread and a count that is ours. An Object exists
        // only within 'py, during which the thread is attached, and owns one count.
        unsafe { ffi::Py_DECREF(self.pointer.as_ptr()) }
    }
}

impl<'py> Object<'py> {
    /// Takes over a new reference as the C API returns it; null is a set exception.
    ///
    /// # Safety
    /// `pointer` is null with an exception set, or a new reference that nobody else will release.
    pub(super) unsafe fn from_new(
        _py: Attached<'py>,
        pointer: *mut ffi::PyObject,
    ) -> PyResult<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, scope: PhantomData }).ok_or(Raised)
    }

    /// The pointer, for the duration of a call.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// The pointer with its count, for a callee that takes it over.
    pub(super) fn into_ptr(self) -> *mut ffi::PyObject {
        ManuallyDrop::new(self).pointer.as_ptr()
    }

    /// This reference, borrowed.
    pub(crate) fn borrow(&self) -> Borrowed<'_, 'py> {
        Borrowed { pointer: self.pointer, scope: PhantomData }
    }

    /// Another owned reference to the same object.
    pub(crate) fn share(&self) -> Object<'py> {
        // SAFETY: Py_INCREF wants an attached thread and a live object; `self` is both within 'py.
        unsafe { ffi::Py_INCREF(self.pointer.as_ptr()) };
        Object { pointer: self.pointer, scope: PhantomData }
    }

    /// Whether both are the same object.
    pub(crate) fn is_same(&self, other: &Object<'_>) -> bool {
        self.pointer == other.pointer
    }

    /// Whether it is `None`.
    pub(crate) fn is_none(&self) -> bool {
        // SAFETY: Py_None gives the address of an immortal object of the interpreter.
        self.pointer.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// Keeps the reference beyond this attachment; it is to be released with [`Kept::release`].
    pub(crate) fn keep(self, py: Attached<'py>) -> Kept {
        Kept { interpreter: py.interpreter(), pointer: ManuallyDrop::new(self).pointer }
    }

    /// Attribute `name`.
    pub(crate) fn attribute(&self, py: Attached<'py>, name: &CStr) -> PyResult<Object<'py>> {
        // SAFETY: PyObject_GetAttrString wants a live object and a terminated name, and returns a
        // new reference or null with an exception.
        unsafe { Self::from_new(py, ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr())) }
    }

    /// Attribute `name`, a `str` object (for names that are looked up for each request).
    pub(crate) fn attribute_named(
        &self,
        py: Attached<'py>,
        name: Borrowed<'_, 'py>,
    ) -> PyResult<Object<'py>> {
        // SAFETY: PyObject_GetAttr wants live objects and returns a new reference or null.
        unsafe { Self::from_new(py, ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// Attribute `name`, or nothing where there is none.
    pub(crate) fn optional_attribute(
        &self,
        py: Attached<'py>,
        name: Borrowed<'_, 'py>,
    ) -> PyResult<Option<Object<'py>>> {
        if let Ok(found) = self.attribute_named(py, name) {
            return Ok(Some(found));
        }
        // SAFETY: PyErr_ExceptionMatches wants a set exception, which Raised says;
        // PyExc_AttributeError is an immortal class.
        if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) } == 0 {
            return Err(Raised);
        }
        super::clear_exception(py);
        Ok(None)
    }

    /// Sets attribute `name`.
    pub(crate) fn set_attribute(
        &self,
        _py: Attached<'py>,
        name: &CStr,
        value: &Object<'py>,
    ) -> PyResult<()> {
        // SAFETY: PyObject_SetAttrString wants live objects and a terminated name; it takes its
        // own reference to the value.
        super::status(unsafe {
            ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr())
        })
    }

    /// Truth value.
    pub(crate) fn is_true(&self, _py: Attached<'py>) -> PyResult<bool> {
        // SAFETY: PyObject_IsTrue wants a live object; -1 is a set exception.
        match unsafe { ffi::PyObject_IsTrue(self.as_ptr()) } {
            -1 => Err(Raised),
            truth => Ok(truth != 0),
        }
    }

    /// Whether it is an instance of `class` or of a subclass.
    pub(crate) fn is_instance(&self, _py: Attached<'py>, class: &Object<'_>) -> PyResult<bool> {
        // SAFETY: PyObject_IsInstance wants live objects; -1 is a set exception.
        match unsafe { ffi::PyObject_IsInstance(self.as_ptr(), class.as_ptr()) } {
            -1 => Err(Raised),
            answer => Ok(answer != 0),
        }
    }

    /// Name of its class, for messages.
    pub(crate) fn class_name(&self, py: Attached<'py>) -> String {
        // SAFETY: every object has a type, which is itself an object; the new count is given to
        // `from_new`.
        let class = unsafe {
            let class = ffi::Py_TYPE(self.as_ptr()).cast::<ffi::PyObject>();
            ffi::Py_INCREF(class);
            Self::from_new(py, class)
        };
        let name = class
            .and_then(|class| class.attribute(py, c"__name__"))
            .and_then(|name| name.to_text(py));
        name.unwrap_or_else(|Raised| {
            super::clear_exception(py);
            "object".to_owned()
        })
    }

    /// How many references there are; more than the caller knows of means that somebody kept one.
    pub(crate) fn reference_count(&self, py: Attached<'py>) -> isize {
        py.interpreter().functions().reference_count(self.as_ptr())
    }

    pub(super) fn has_class_flag(&self, flag: std::ffi::c_ulong) -> bool {
        // SAFETY: every object has a type; PyType_GetFlags reads its flags.
        unsafe { ffi::PyType_GetFlags(ffi::Py_TYPE(self.as_ptr())) & flag != 0 }
    }
}

/// A reference that belongs to somebody who outlives `'a`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Borrowed<'a, 'py> {
    /// Never null; somebody else holds the count for `'a`.
    pointer: NonNull<ffi::PyObject>,
    /// As long as the owner.
    scope: PhantomData<&'a Object<'py>>,
}

impl<'py> Borrowed<'_, 'py> {
    /// # Safety
    /// `pointer` is null, or a live object whose owner keeps it for the lifetime of the result.
    pub(super) unsafe fn from_ptr(_py: Attached<'py>, pointer: *mut ffi::PyObject) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, scope: PhantomData })
    }
}

impl<'py> Deref for Borrowed<'_, 'py> {
    type Target = Object<'py>;

    fn deref(&self) -> &Object<'py> {
        // SAFETY: both are transparent over the same pointer, and the result lives no longer than
        // this borrow; an Object behind a shared reference is not dropped.
        unsafe { &*std::ptr::from_ref(self).cast::<Object<'py>>() }
    }
}

/// A reference that lives beyond an attachment. Dropping it leaks the count: that can happen
/// without the GIL; [`Kept::release`] does not leak.
pub(crate) struct Kept {
    /// The interpreter that the object belongs to.
    interpreter: &'static Interpreter,
    /// Never null; one count is ours.
    pointer: NonNull<ffi::PyObject>,
}

// SAFETY: a Kept is only an address until it is given a token of its interpreter.
unsafe impl Send for Kept {}
// SAFETY: as above; `get` does not change it.
unsafe impl Sync for Kept {}

impl Kept {
    /// The object. Panics when `py` is a token of another interpreter, whose memory the object
    /// must not meet.
    pub(crate) fn get<'a, 'py>(&'a self, py: Attached<'py>) -> Borrowed<'a, 'py> {
        assert!(std::ptr::eq(self.interpreter, py.interpreter()), "object of another interpreter");
        Borrowed { pointer: self.pointer, scope: PhantomData }
    }

    /// Turns it back into an owned reference; dropping that releases it.
    pub(crate) fn release(self, py: Attached<'_>) {
        let object = self.get(py).as_ptr();
        // SAFETY: Py_DECREF wants an attached thread (the token, checked by `get` to be one of the
        // object's interpreter) and a count that is ours, which `self` had and now gives up.
        unsafe { ffi::Py_DECREF(object) }
    }
}
