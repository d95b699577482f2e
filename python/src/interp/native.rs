// SPDX-License-Identifier: Apache-2.0
//! Classes whose instances carry a Rust value: made with `PyType_FromSpec` for each interpreter,
//! so that nothing of a class is shared between interpreters. Instances know their interpreter and
//! hold no references to Python objects, so the garbage collector need not know them.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::null_mut;

use pyo3::ffi;

use super::guard::{guarded, guarded_object};
use super::interpreter::Interpreter;
use super::object::{Borrowed, Kept, Object};
use super::token::{Attached, PyResult, Raised};
use super::value::length_of_size;

/// A class with a Rust value in its instances.
pub(crate) trait Class: Sync + Sized + 'static {
    /// Module and name.
    const NAME: &'static CStr;
    /// Methods.
    const METHODS: &'static [MethodDefinition];
    /// Attributes that are computed.
    const PROPERTIES: &'static [PropertyDefinition] = &[];
    /// What stands in the class for protocols beyond methods.
    const SLOTS: &'static [SlotDefinition] = &[];
}

/// The instance that a method is called on; derefs to its Rust value.
pub(crate) struct This<'a, 'py, T> {
    /// The object.
    pub(crate) object: Borrowed<'a, 'py>,
    /// Its value.
    value: &'a T,
}

impl<T> std::ops::Deref for This<'_, '_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

/// A method of the class `T`.
pub(crate) trait Method<T: Class> {
    /// Calls it on `this` with positional arguments.
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, T>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>>;
}

/// An entry of [`Class::METHODS`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct MethodDefinition(ffi::PyMethodDef);

// SAFETY: it holds the addresses of a function and of a constant text.
unsafe impl Sync for MethodDefinition {}

/// Defines the method `name` of `T`.
pub(crate) const fn method<T: Class, M: Method<T>>(name: &'static CStr) -> MethodDefinition {
    MethodDefinition(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: call_method::<T, M> },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: std::ptr::null(),
    })
}

/// Ends every [`Class::METHODS`].
pub(crate) const END_OF_METHODS: MethodDefinition = MethodDefinition(ffi::PyMethodDef::zeroed());

/// An attribute of the class `T` that is computed.
pub(crate) trait Property<T: Class> {
    /// Its value.
    fn get<'py>(py: Attached<'py>, this: &T) -> PyResult<Object<'py>>;
}

/// An entry of [`Class::PROPERTIES`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PropertyDefinition(ffi::PyGetSetDef);

// SAFETY: it holds the addresses of a function and of a constant text.
unsafe impl Sync for PropertyDefinition {}

/// Defines the read-only attribute `name` of `T`.
pub(crate) const fn property<T: Class, P: Property<T>>(name: &'static CStr) -> PropertyDefinition {
    PropertyDefinition(ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get_property::<T, P>),
        set: None,
        doc: std::ptr::null(),
        closure: null_mut(),
    })
}

/// Ends every [`Class::PROPERTIES`] that has any.
pub(crate) const END_OF_PROPERTIES: PropertyDefinition = PropertyDefinition(ffi::PyGetSetDef {
    name: std::ptr::null(),
    get: None,
    set: None,
    doc: std::ptr::null(),
    closure: null_mut(),
});

/// An entry of [`Class::SLOTS`].
#[derive(Clone, Copy)]
pub(crate) struct SlotDefinition {
    /// Number of the slot.
    slot: c_int,
    /// The function.
    function: *const c_void,
}

// SAFETY: it holds the address of a function.
unsafe impl Sync for SlotDefinition {}

/// `iter(x)` is the method `M`.
pub(crate) const fn iterator<T: Class, M: Method<T>>() -> SlotDefinition {
    SlotDefinition { slot: ffi::Py_tp_iter, function: iterator_of::<T, M> as *const c_void }
}

/// `next(x)` is the method `M`; its None is the end.
pub(crate) const fn next_item<T: Class, M: Method<T>>() -> SlotDefinition {
    SlotDefinition { slot: ffi::Py_tp_iternext, function: next_of::<T, M> as *const c_void }
}

/// Every attribute access goes to the method `M`, with the name.
pub(crate) const fn every_attribute<T: Class, M: Method<T>>() -> SlotDefinition {
    SlotDefinition { slot: ffi::Py_tp_getattro, function: attribute_of::<T, M> as *const c_void }
}

/// An instance as it lies in memory.
#[repr(C)]
struct Instance<T> {
    /// What every object begins with.
    head: ffi::PyObject,
    /// The interpreter that made it.
    interpreter: &'static Interpreter,
    /// The Rust value; dropped by `dealloc`.
    value: ManuallyDrop<T>,
}

/// A class made in one interpreter.
pub(crate) struct NativeClass<T> {
    /// The class object.
    class: Kept,
    /// What its instances carry.
    value: PhantomData<fn() -> T>,
}

impl<T: Class> NativeClass<T> {
    /// Makes the class.
    pub(crate) fn new(py: Attached<'_>) -> PyResult<Self> {
        let slot = |slot: c_int, function: *const c_void| ffi::PyType_Slot {
            slot,
            pfunc: function.cast_mut(),
        };
        let mut slots = vec![
            slot(ffi::Py_tp_dealloc, dealloc::<T> as *const c_void),
            slot(ffi::Py_tp_methods, T::METHODS.as_ptr().cast()),
        ];
        if !T::PROPERTIES.is_empty() {
            slots.push(slot(ffi::Py_tp_getset, T::PROPERTIES.as_ptr().cast()));
        }
        slots.extend(T::SLOTS.iter().map(|entry| slot(entry.slot, entry.function)));
        slots.push(slot(0, std::ptr::null()));
        // Bit 7: Py_TPFLAGS_DISALLOW_INSTANTIATION, since 3.10: without it `type(x)()` would make
        // an instance whose value nobody has set.
        let flags = ffi::Py_TPFLAGS_DEFAULT | 1 << 7;
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: c_int::try_from(size_of::<Instance<T>>()).unwrap_or(c_int::MAX),
            itemsize: 0,
            flags: c_uint::try_from(flags).unwrap_or(0),
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: PyType_FromSpec copies the spec and the slots; the method and property tables
        // that it keeps pointers to are constants. The functions have the types of their slots.
        let class = unsafe { Object::from_new(py, ffi::PyType_FromSpec(&raw mut spec)) }?.keep(py);
        Ok(Self { class, value: PhantomData })
    }

    /// A new instance with `value`.
    pub(crate) fn instance<'py>(&self, py: Attached<'py>, value: T) -> PyResult<Object<'py>> {
        let class = self.class.get(py);
        // SAFETY: PyType_GenericAlloc gives zeroed memory of the class's basicsize, which is that
        // of Instance<T>, with the head set. The rest is written before anybody sees it.
        unsafe {
            let object = Object::from_new(py, ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0))?;
            let instance = object.as_ptr().cast::<Instance<T>>();
            (&raw mut (*instance).interpreter).write(py.interpreter());
            (&raw mut (*instance).value).write(ManuallyDrop::new(value));
            Ok(object)
        }
    }

    /// The value of an instance; nothing of any other object.
    pub(crate) fn value<'a>(&self, py: Attached<'_>, object: &'a Object<'_>) -> Option<&'a T> {
        let class = self.class.get(py).as_ptr();
        // SAFETY: an object of this very class is an Instance<T> (it can not be subclassed) and
        // its value lives as long as it.
        unsafe {
            (ffi::Py_TYPE(object.as_ptr()).cast() == class)
                .then(|| &*(*object.as_ptr().cast::<Instance<T>>()).value)
        }
    }
}

/// The parts of the instance that a C function was called on.
///
/// # Safety
/// `this` is an instance of a class made for `T`, and the thread is attached to its interpreter
/// for `'py`.
unsafe fn parts<'a, 'py, T: Class>(this: *mut ffi::PyObject) -> (Attached<'py>, This<'a, 'py, T>) {
    // SAFETY: as promised by the caller; instances are initialised before they are seen, and
    // Python keeps the object during the call.
    unsafe {
        let instance = this.cast::<Instance<T>>();
        let py = Attached::assume((*instance).interpreter);
        let object = Borrowed::from_ptr(py, this).unwrap_or_else(|| unreachable!());
        (py, This { object, value: &*(*instance).value })
    }
}

unsafe extern "C" fn call_method<T: Class, M: Method<T>>(
    this: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of a class with an instance of it, attached, and with `count`
    // live arguments that it keeps during the call (the address may be null when there are none).
    unsafe {
        let (py, value) = parts::<T>(this);
        let arguments = if count > 0 {
            std::slice::from_raw_parts(arguments.cast::<Borrowed<'_, '_>>(), length_of_size(count))
        } else {
            &[]
        };
        guarded_object(py, || M::call(py, value, arguments))
    }
}

unsafe extern "C" fn get_property<T: Class, P: Property<T>>(
    this: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a getter of a class with an instance of it, attached.
    unsafe {
        let (py, value) = parts::<T>(this);
        guarded_object(py, || P::get(py, &value))
    }
}

unsafe extern "C" fn iterator_of<T: Class, M: Method<T>>(
    this: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_iter with an instance of the class, attached.
    unsafe {
        let (py, value) = parts::<T>(this);
        guarded_object(py, || M::call(py, value, &[]))
    }
}

unsafe extern "C" fn next_of<T: Class, M: Method<T>>(
    this: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_iternext with an instance of the class, attached. Null without an
    // exception is the end.
    unsafe {
        let (py, value) = parts::<T>(this);
        let item = guarded_object(py, || M::call(py, value, &[]));
        if item == ffi::Py_None() {
            ffi::Py_DECREF(item);
            return null_mut();
        }
        item
    }
}

unsafe extern "C" fn attribute_of<T: Class, M: Method<T>>(
    this: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls tp_getattro with an instance of the class and a live name, attached.
    unsafe {
        let (py, value) = parts::<T>(this);
        guarded_object(py, || match Borrowed::from_ptr(py, name) {
            Some(name) => M::call(py, value, &[name]),
            None => Err(Raised),
        })
    }
}

unsafe extern "C" fn dealloc<T: Class>(this: *mut ffi::PyObject) {
    // SAFETY: Python calls tp_dealloc once, attached, with an instance whose count is zero. The
    // instance of a heap class holds a count of its class (bpo-35810), given back here last.
    unsafe {
        let class = ffi::Py_TYPE(this);
        let value = &raw mut (*this.cast::<Instance<T>>()).value;
        guarded((), || ManuallyDrop::drop(&mut *value));
        ffi::PyObject_Free(this.cast());
        ffi::Py_DECREF(class.cast());
    }
}
