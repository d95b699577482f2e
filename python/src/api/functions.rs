// SPDX-License-Identifier: Apache-2.0
//! Functions that our Python source takes from the Rust code: methods of one object.
#![forbid(unsafe_code)]

use super::events;
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Method, MethodDefinition, NativeClassDefinition,
    Object, PyResult, Seat, This, clear_exception, method,
};
use crate::log::Level;
use crate::wsgi::{Inside, log_text};

/// The object with the functions.
pub(crate) struct Api;

/// `log(level, text)`: for the request of this thread, or for the process.
struct Log;
impl Method<Api> for Log {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [level, text] = arguments else {
            return Err(py.raise(Class::Type, "log() takes a level and a text"));
        };
        let level = Level::from_number(level.to_integer(py)?);
        log_text(py, level, &text.to_text(py)?);
        Ok(py.none())
    }
}

/// `request_data()`: a dict of the request of this thread.
struct RequestData;
impl Method<Api> for RequestData {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        events::request_data(py)
    }
}

/// `create_in_main(name, path)`: has the main interpreter look at an extension module, see
/// `guard_extensions`.
struct CreateInMain;
impl Method<Api> for CreateInMain {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [name, path] = arguments else {
            return Err(py.raise(Class::Type, "create_in_main() takes a name and a path"));
        };
        let main = py.interpreter().main();
        let (name, path) = (name.to_text(py)?, path.to_bytes_object(py)?);
        let path = path.as_bytes().unwrap_or_default().to_vec();
        // What runs there (destructors, too) is no part of this thread's request.
        let inside = Inside::of_none();
        py.detach(|| {
            let seat = Seat::take(main);
            seat.attach(|py| {
                let Some(constants) = py.interpreter().constants() else { return };
                let create = || {
                    let (name, path) = (py.text(&name)?, py.bytes(&path)?);
                    constants.support(py, c"create_extension", [name.borrow(), path.borrow()])
                };
                if create().is_err() {
                    // The interpreter that wants the module will see for itself.
                    clear_exception(py);
                }
            });
            seat.leave();
        });
        drop(inside);
        Ok(py.none())
    }
}

impl NativeClassDefinition for Api {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Api";
    const METHODS: &'static [MethodDefinition] = &[
        method::<Self, Log>(c"log"),
        method::<Self, RequestData>(c"request_data"),
        method::<Self, CreateInMain>(c"create_in_main"),
        END_OF_METHODS,
    ];
}
