// SPDX-License-Identifier: Apache-2.0
//! The safe face of CPython: an attachment token, references bound to it, classes with a Rust
//! value, thread states, interpreters, and the entry points. Raw pointers and `unsafe` stay in here.
//! Written against `pyo3::ffi` alone: pyo3's own high-level types keep process-wide state, which
//! does not go together with several interpreters.

mod call;
mod container;
mod entry;
mod exception;
mod fork;
mod gil;
mod guard;
mod interpreter;
mod interrupt;
mod native;
mod object;
mod thread;
mod token;
mod value;

pub(crate) use entry::Outcome;
pub(crate) use exception::{Class, Exception, clear_exception};
pub(crate) use gil::Gil;
pub(crate) use guard::guarded;
pub(crate) use interpreter::{Interpreter, register_module};
pub(crate) use interrupt::Interruptible;
pub(crate) use native::{
    Class as NativeClassDefinition, END_OF_METHODS, END_OF_PROPERTIES, Method, MethodDefinition,
    NativeClass, Property, PropertyDefinition, SlotDefinition, This, every_attribute, iterator,
    method, next_item, property,
};
pub(crate) use object::{Borrowed, Kept, Object};
pub(crate) use thread::Seat;
pub(crate) use token::{Attached, PyResult, Raised};

use exception::status;
