// SPDX-License-Identifier: Apache-2.0
//! Strings, bytes and numbers: from Rust to Python and back.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use pyo3::ffi;

use super::object::Object;
use super::token::{Attached, PyResult, Raised};

const STRICT: &CStr = c"strict";

/// A length as CPython counts. Lengths of what lies in memory are never beyond `isize::MAX`.
pub(super) fn size_of_length(length: usize) -> ffi::Py_ssize_t {
    ffi::Py_ssize_t::try_from(length).unwrap_or(ffi::Py_ssize_t::MAX)
}

/// A size that CPython says; -1, its sign of an error, is nothing.
pub(super) fn length_of_size(size: ffi::Py_ssize_t) -> usize {
    usize::try_from(size).unwrap_or(0)
}

fn length(bytes: &[u8]) -> ffi::Py_ssize_t {
    size_of_length(bytes.len())
}

impl<'py> Attached<'py> {
    /// `None`.
    pub(crate) fn none(self) -> Object<'py> {
        // SAFETY: Py_None is immortal or counted; the new count is given to the Object.
        unsafe {
            let none = ffi::Py_None();
            ffi::Py_INCREF(none);
            Object::from_new(self, none).unwrap_or_else(|Raised| unreachable!())
        }
    }

    /// `True` or `False`.
    pub(crate) fn boolean(self, value: bool) -> PyResult<Object<'py>> {
        // SAFETY: PyBool_FromLong returns a new reference.
        unsafe { Object::from_new(self, ffi::PyBool_FromLong(value.into())) }
    }

    /// An `int`.
    pub(crate) fn integer(self, value: i64) -> PyResult<Object<'py>> {
        // SAFETY: PyLong_FromLongLong returns a new reference or null.
        unsafe { Object::from_new(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// A `float`.
    pub(crate) fn float(self, value: f64) -> PyResult<Object<'py>> {
        // SAFETY: PyFloat_FromDouble returns a new reference or null.
        unsafe { Object::from_new(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// A `bytes` object with a copy of `bytes`.
    pub(crate) fn bytes(self, bytes: &[u8]) -> PyResult<Object<'py>> {
        // SAFETY: PyBytes_FromStringAndSize copies that many bytes from the address.
        unsafe {
            Object::from_new(
                self,
                ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), length(bytes)),
            )
        }
    }

    /// A `str` of UTF-8 text.
    pub(crate) fn text(self, text: &str) -> PyResult<Object<'py>> {
        // SAFETY: PyUnicode_FromStringAndSize decodes that many bytes from the address.
        unsafe {
            Object::from_new(
                self,
                ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), length(text.as_bytes())),
            )
        }
    }

    /// A `str` whose code points are the bytes (PEP 3333's native strings).
    pub(crate) fn latin1(self, bytes: &[u8]) -> PyResult<Object<'py>> {
        // SAFETY: PyUnicode_DecodeLatin1 decodes that many bytes from the address.
        unsafe {
            Object::from_new(
                self,
                ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), length(bytes), STRICT.as_ptr()),
            )
        }
    }

    /// A `str` of a file name: filesystem encoding, surrogates for what it can not decode.
    pub(crate) fn file_name(self, bytes: &[u8]) -> PyResult<Object<'py>> {
        // SAFETY: PyUnicode_DecodeFSDefaultAndSize decodes that many bytes from the address.
        unsafe {
            Object::from_new(
                self,
                ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), length(bytes)),
            )
        }
    }

    /// A `PyCapsule` without name around an address, for extension modules that know what is there.
    pub(crate) fn capsule(self, address: NonNull<c_void>) -> PyResult<Object<'py>> {
        // SAFETY: PyCapsule_New wants an address that is not null, and takes no name and no
        // destructor; it does not look at what is there.
        unsafe {
            Object::from_new(self, ffi::PyCapsule_New(address.as_ptr(), std::ptr::null(), None))
        }
    }

    /// A `str` that is the same object for the same text.
    pub(crate) fn interned(self, text: &CStr) -> PyResult<Object<'py>> {
        // SAFETY: PyUnicode_InternFromString wants terminated UTF-8 and returns a new reference.
        unsafe { Object::from_new(self, ffi::PyUnicode_InternFromString(text.as_ptr())) }
    }
}

/// The class of a value, as far as WSGI cares: exact or a subclass.
impl<'py> Object<'py> {
    /// Which of `True` and `False` it is, if it is one of them: 1 and 0 are not.
    pub(crate) fn as_boolean(&self) -> Option<bool> {
        // SAFETY: Py_True and Py_False give the addresses of objects that live as long as Python.
        let (yes, no) = unsafe { (ffi::Py_True(), ffi::Py_False()) };
        let this = self.as_ptr();
        if this == yes { Some(true) } else { (this == no).then_some(false) }
    }

    /// Whether it is a `str`.
    pub(crate) fn is_text(&self) -> bool {
        self.has_class_flag(ffi::Py_TPFLAGS_UNICODE_SUBCLASS)
    }

    /// Whether it is `bytes`.
    pub(crate) fn is_bytes(&self) -> bool {
        self.has_class_flag(ffi::Py_TPFLAGS_BYTES_SUBCLASS)
    }

    /// The bytes of a `bytes` object; nothing of any other.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        if !self.is_bytes() {
            return None;
        }
        // SAFETY: PyBytes_AsString and PyBytes_Size want a bytes object, which was tested. Bytes
        // do not change or move while `self` lives.
        unsafe {
            let start = ffi::PyBytes_AsString(self.as_ptr()).cast::<u8>();
            let size = length_of_size(ffi::PyBytes_Size(self.as_ptr()));
            (!start.is_null()).then(|| std::slice::from_raw_parts(start, size))
        }
    }

    /// The UTF-8 text of a `str`, which keeps it for as long as it lives.
    pub(crate) fn as_utf8(&self, _py: Attached<'py>) -> PyResult<&str> {
        let mut size = 0;
        // SAFETY: PyUnicode_AsUTF8AndSize raises for what is no str or has surrogates; otherwise
        // the text is valid UTF-8, belongs to the str and stays for as long as it lives.
        unsafe {
            let start = ffi::PyUnicode_AsUTF8AndSize(self.as_ptr(), &raw mut size);
            if start.is_null() {
                return Err(Raised);
            }
            let bytes = std::slice::from_raw_parts(start.cast::<u8>(), length_of_size(size));
            Ok(std::str::from_utf8_unchecked(bytes))
        }
    }

    /// `str(self)`, with replacements for surrogates.
    pub(crate) fn to_text(&self, py: Attached<'py>) -> PyResult<String> {
        // SAFETY: PyObject_Str and PyUnicode_AsEncodedString want live objects and terminated
        // names, and return new references or null.
        let encoded = unsafe {
            let text = Self::from_new(py, ffi::PyObject_Str(self.as_ptr()))?;
            Self::from_new(
                py,
                ffi::PyUnicode_AsEncodedString(
                    text.as_ptr(),
                    c"utf-8".as_ptr(),
                    c"backslashreplace".as_ptr(),
                ),
            )?
        };
        Ok(String::from_utf8_lossy(encoded.as_bytes().unwrap_or_default()).into_owned())
    }

    /// Appends the text as latin-1 to `out`.
    ///
    /// # Errors
    /// TypeError for what is no `str`, UnicodeEncodeError for what is not latin-1.
    pub(crate) fn append_latin1(&self, py: Attached<'py>, out: &mut Vec<u8>) -> PyResult<()> {
        if let Ok(text) = self.as_utf8(py) {
            if text.is_ascii() {
                out.extend_from_slice(text.as_bytes());
                return Ok(());
            }
        } else {
            super::clear_exception(py);
        }
        // SAFETY: PyUnicode_AsLatin1String returns a new bytes object, or raises.
        let encoded = unsafe { Self::from_new(py, ffi::PyUnicode_AsLatin1String(self.as_ptr())) }?;
        out.extend_from_slice(encoded.as_bytes().unwrap_or_default());
        Ok(())
    }

    /// The value of an `int` (or of what has `__index__`).
    pub(crate) fn to_integer(&self, py: Attached<'py>) -> PyResult<i64> {
        // SAFETY: PyNumber_Index returns a new int or raises; PyLong_AsSsize_t then gives its
        // value, or -1 with an exception.
        unsafe {
            let index = Self::from_new(py, ffi::PyNumber_Index(self.as_ptr()))?;
            let value = ffi::PyLong_AsSsize_t(index.as_ptr());
            if value == -1 && !ffi::PyErr_Occurred().is_null() {
                return Err(Raised);
            }
            Ok(i64::try_from(value).unwrap_or(i64::MAX))
        }
    }

    /// The value of an `int`; nothing of anything else, or beyond 64 bits.
    pub(crate) fn as_plain_integer(&self, py: Attached<'py>) -> Option<i64> {
        if !self.has_class_flag(ffi::Py_TPFLAGS_LONG_SUBCLASS) {
            return None;
        }
        let value = self.to_integer(py);
        if value.is_err() {
            super::clear_exception(py);
        }
        value.ok()
    }

    /// A new `bytes` object of anything with the buffer interface.
    pub(crate) fn to_bytes_object(&self, py: Attached<'py>) -> PyResult<Object<'py>> {
        // SAFETY: PyBytes_FromObject returns a new reference, or raises TypeError.
        unsafe { Self::from_new(py, ffi::PyBytes_FromObject(self.as_ptr())) }
    }
}
