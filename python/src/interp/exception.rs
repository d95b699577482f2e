// SPDX-License-Identifier: Apache-2.0
//! Python exceptions: raising them, and taking one that was raised.

use std::ffi::CString;
use std::ptr::null_mut;

use pyo3::ffi;

use super::object::Object;
use super::token::{Attached, PyResult, Raised};

/// A built-in class of exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// `Exception`: what is not meant to end a program.
    Exception,
    /// `OSError`.
    Os,
    /// `RuntimeError`.
    Runtime,
    /// `SystemExit`.
    SystemExit,
    /// `TimeoutError`.
    Timeout,
    /// `TypeError`.
    Type,
    /// `ValueError`.
    Value,
}

impl Class {
    fn as_ptr(self) -> *mut ffi::PyObject {
        // SAFETY: the addresses of the built-in classes are set before any code of ours runs, and
        // never change.
        unsafe {
            match self {
                Self::Exception => ffi::PyExc_Exception,
                Self::Os => ffi::PyExc_OSError,
                Self::Runtime => ffi::PyExc_RuntimeError,
                Self::SystemExit => ffi::PyExc_SystemExit,
                Self::Timeout => ffi::PyExc_TimeoutError,
                Self::Type => ffi::PyExc_TypeError,
                Self::Value => ffi::PyExc_ValueError,
            }
        }
    }
}

/// Forgets the exception that is set, if any.
pub(crate) fn clear_exception(_py: Attached<'_>) {
    // SAFETY: PyErr_Clear wants an attached thread, which the token proves.
    unsafe { ffi::PyErr_Clear() }
}

/// Result of a C function that returns -1 with an exception set.
pub(super) fn status(code: std::ffi::c_int) -> PyResult<()> {
    if code == -1 { Err(Raised) } else { Ok(()) }
}

impl<'py> Attached<'py> {
    /// Sets an exception; the result is for `return Err(..)`.
    pub(crate) fn raise(self, class: Class, message: &str) -> Raised {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: PyErr_SetString wants a class and terminated UTF-8.
        unsafe { ffi::PyErr_SetString(class.as_ptr(), message.as_ptr()) }
        Raised
    }

    /// As [`Self::raise`], for a class of ours.
    pub(crate) fn raise_of(self, class: &Object<'py>, message: &str) -> Raised {
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: PyErr_SetString wants an object, and raises SystemError when it is no class of
        // exceptions, and terminated UTF-8.
        unsafe { ffi::PyErr_SetString(class.as_ptr(), message.as_ptr()) }
        Raised
    }
}

/// An exception that was raised and taken.
pub(crate) struct Exception<'py> {
    /// Its class.
    pub(crate) class: Object<'py>,
    /// The instance.
    pub(crate) value: Object<'py>,
    /// Where it was raised; None when nothing is known.
    pub(crate) traceback: Option<Object<'py>>,
}

impl<'py> Exception<'py> {
    /// Takes the exception that is set.
    pub(crate) fn take(py: Attached<'py>) -> Option<Self> {
        let (mut class, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
        // SAFETY: PyErr_Fetch gives three new references, each of which may be null;
        // PyErr_NormalizeException replaces them by a class and its instance. The functions of
        // 3.12 that are meant to succeed them are not in the stable ABI of 3.10.
        unsafe {
            ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
            if class.is_null() {
                return None;
            }
            ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
            let class = Object::from_new(py, class).ok()?;
            let traceback = Object::from_new(py, traceback).ok();
            let value = Object::from_new(py, value).ok()?;
            if let Some(traceback) = &traceback {
                ffi::PyException_SetTraceback(value.as_ptr(), traceback.as_ptr());
            }
            Some(Self { class, value, traceback })
        }
    }

    /// Sets it again.
    pub(crate) fn restore(self) -> Raised {
        // SAFETY: PyErr_Restore takes over three references, of which the traceback may be null.
        unsafe {
            ffi::PyErr_Restore(
                self.class.into_ptr(),
                self.value.into_ptr(),
                self.traceback.map_or(null_mut(), Object::into_ptr),
            );
        }
        Raised
    }

    /// Sets an exception from what an application passes as `exc_info`.
    pub(crate) fn raise_triple(
        py: Attached<'py>,
        class: Object<'py>,
        value: Object<'py>,
        traceback: Object<'py>,
    ) -> Raised {
        // SAFETY: PyExceptionClass_Check is the pair of tests below: a class, derived from
        // BaseException. PyErr_Restore then takes over the references; a traceback that is no
        // traceback raises TypeError instead, but older versions store it, so it is tested.
        unsafe {
            if !class.has_class_flag(ffi::Py_TPFLAGS_TYPE_SUBCLASS)
                || !class.has_class_flag_of(ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS)
            {
                return py.raise(Class::Type, "exc_info must begin with a class of exceptions");
            }
            let is_traceback = ffi::Py_TYPE(traceback.as_ptr()) == &raw mut ffi::PyTraceBack_Type;
            let traceback = if is_traceback { traceback.into_ptr() } else { null_mut() };
            let value = if value.is_none() { null_mut() } else { value.into_ptr() };
            ffi::PyErr_Restore(class.into_ptr(), value, traceback);
        }
        Raised
    }

    /// Whether it is an instance of `class`.
    pub(crate) fn is(&self, class: Class) -> bool {
        // SAFETY: PyErr_GivenExceptionMatches wants live classes.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.as_ptr(), class.as_ptr()) != 0 }
    }

    /// Whether it is an instance of the class `class`.
    pub(crate) fn is_of(&self, class: &Object<'py>) -> bool {
        // SAFETY: as above.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.as_ptr(), class.as_ptr()) != 0 }
    }

    /// Name of its class.
    pub(crate) fn name(&self, py: Attached<'py>) -> String {
        self.value.class_name(py)
    }

    /// The traceback as Python prints it: lines, without a line end at the end.
    pub(crate) fn format(&self, py: Attached<'py>) -> String {
        self.try_format(py).unwrap_or_else(|Raised| {
            clear_exception(py);
            format!("{} (which can not be printed)", self.name(py))
        })
    }

    fn try_format(&self, py: Attached<'py>) -> PyResult<String> {
        let none = py.none();
        let traceback = self.traceback.as_ref().unwrap_or(&none);
        let lines = py.import(c"traceback")?.call_method(
            py,
            c"format_exception",
            [self.class.borrow(), self.value.borrow(), traceback.borrow()],
        )?;
        let text = py.text("")?.call_method(py, c"join", [lines.borrow()])?.to_text(py)?;
        Ok(text.trim_end().to_owned())
    }
}

impl Object<'_> {
    /// Flags of the class that `self` is (not of its metaclass).
    ///
    /// # Safety
    /// `self` is a class.
    unsafe fn has_class_flag_of(&self, flag: std::ffi::c_ulong) -> bool {
        // SAFETY: PyType_GetFlags wants a class, which the caller has tested.
        unsafe { ffi::PyType_GetFlags(self.as_ptr().cast()) & flag != 0 }
    }
}
