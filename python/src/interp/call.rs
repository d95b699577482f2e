// SPDX-License-Identifier: Apache-2.0
//! Calls, iteration, imports, and running Python source.

use std::ffi::CStr;

use pyo3::ffi;

use super::object::{Borrowed, Object};
use super::token::{Attached, PyResult, Raised};

const NULL: *mut ffi::PyObject = std::ptr::null_mut();

impl<'py> Object<'py> {
    /// `self(*arguments)`.
    pub(crate) fn call<const N: usize>(
        &self,
        py: Attached<'py>,
        arguments: [Borrowed<'_, 'py>; N],
    ) -> PyResult<Object<'py>> {
        let at = |index: usize| arguments.get(index).map_or(NULL, |argument| argument.as_ptr());
        // SAFETY: PyObject_CallFunctionObjArgs wants live objects, ended by a null, and returns a
        // new reference or null.
        unsafe {
            match N {
                0 => Self::from_new(py, ffi::PyObject_CallNoArgs(self.as_ptr())),
                1..=4 => Self::from_new(
                    py,
                    ffi::PyObject_CallFunctionObjArgs(
                        self.as_ptr(),
                        at(0),
                        at(1),
                        at(2),
                        at(3),
                        NULL,
                    ),
                ),
                _ => self.call_with(py, &py.tuple(arguments)?, None),
            }
        }
    }

    /// `self(*arguments, **keywords)`.
    pub(crate) fn call_with(
        &self,
        py: Attached<'py>,
        arguments: &Object<'py>,
        keywords: Option<&Object<'py>>,
    ) -> PyResult<Object<'py>> {
        let keywords = keywords.map_or(NULL, Object::as_ptr);
        // SAFETY: PyObject_Call wants a tuple and a dict or null, raises for anything else, and
        // returns a new reference or null.
        unsafe {
            Self::from_new(py, ffi::PyObject_Call(self.as_ptr(), arguments.as_ptr(), keywords))
        }
    }

    /// `self.name(*arguments)`.
    pub(crate) fn call_method<const N: usize>(
        &self,
        py: Attached<'py>,
        name: &CStr,
        arguments: [Borrowed<'_, 'py>; N],
    ) -> PyResult<Object<'py>> {
        self.attribute(py, name)?.call(py, arguments)
    }

    /// `iter(self)`.
    pub(crate) fn iterate(&self, py: Attached<'py>) -> PyResult<Object<'py>> {
        // SAFETY: PyObject_GetIter returns a new reference or raises TypeError.
        unsafe { Self::from_new(py, ffi::PyObject_GetIter(self.as_ptr())) }
    }

    /// The next item of an iterator; nothing at its end.
    pub(crate) fn next(&self, py: Attached<'py>) -> PyResult<Option<Object<'py>>> {
        // SAFETY: PyIter_Next wants an iterator, which `iterate` returned. Null without an
        // exception is the end.
        unsafe {
            match Self::from_new(py, ffi::PyIter_Next(self.as_ptr())) {
                Ok(item) => Ok(Some(item)),
                Err(Raised) if ffi::PyErr_Occurred().is_null() => Ok(None),
                Err(Raised) => Err(Raised),
            }
        }
    }
}

impl<'py> Attached<'py> {
    /// `import name`.
    pub(crate) fn import(self, name: &CStr) -> PyResult<Object<'py>> {
        // SAFETY: PyImport_ImportModule returns a new reference or null.
        unsafe { Object::from_new(self, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// `sys.name`.
    pub(crate) fn sys(self, name: &CStr) -> PyResult<Object<'py>> {
        self.import(c"sys")?.attribute(self, name)
    }

    /// A new module that is registered nowhere.
    pub(crate) fn module(self, name: &Object<'py>) -> PyResult<Object<'py>> {
        // SAFETY: PyModule_NewObject wants a str and returns a new reference or null.
        unsafe { Object::from_new(self, ffi::PyModule_NewObject(name.as_ptr())) }
    }

    /// Compiles and runs source of ours in the namespace `globals`; `name` stands in tracebacks.
    pub(crate) fn run_source(
        self,
        source: &CStr,
        name: &CStr,
        globals: &Object<'py>,
    ) -> PyResult<()> {
        let builtins = self.import(c"builtins")?;
        if globals.entry_named(self, c"__builtins__")?.is_none() {
            globals.set_entry_named(self, c"__builtins__", &builtins)?;
        }
        // SAFETY: Py_CompileString wants terminated text and returns a new code object or null.
        let code = unsafe {
            Object::from_new(
                self,
                ffi::Py_CompileString(source.as_ptr(), name.as_ptr(), ffi::Py_file_input),
            )?
        };
        self.run_code(&code, globals)
    }

    /// Runs a code object in the namespace `globals`.
    pub(crate) fn run_code(self, code: &Object<'py>, globals: &Object<'py>) -> PyResult<()> {
        // SAFETY: PyEval_EvalCode wants a code object and a dict, and returns a new reference or
        // null. Both callers have made the code with `compile`.
        unsafe {
            Object::from_new(
                self,
                ffi::PyEval_EvalCode(code.as_ptr(), globals.as_ptr(), globals.as_ptr()),
            )
            .map(drop)
        }
    }
}

impl<'py> Object<'py> {
    /// Namespace of a module.
    pub(crate) fn module_dict(&self, py: Attached<'py>) -> PyResult<Object<'py>> {
        // SAFETY: PyModule_GetDict raises for what is no module, and lends its dict, which the
        // module keeps; `share` takes a count.
        unsafe {
            Borrowed::from_ptr(py, ffi::PyModule_GetDict(self.as_ptr()))
                .map(|dict| dict.share())
                .ok_or(Raised)
        }
    }
}
