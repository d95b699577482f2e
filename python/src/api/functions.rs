// SPDX-License-Identifier: Apache-2.0
//! Functions that our Python source takes from the Rust code: methods of one object.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::log::Origin;

use super::events;
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Method, MethodDefinition, NativeClassDefinition,
    Object, PyResult, Seat, This, clear_exception, method,
};
use crate::log::{self, Level};
use crate::wsgi::{Inside, is_logged, log_entry};

/// The object with the functions.
pub(crate) struct Api;

/// `log(level, text)` and `log(level, text, file, line)`: for the request of this thread, or for the
/// process. With the place in the source, each line is a record like the first.
struct Log;
impl Method<Api> for Log {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [level, text, place @ ..] = arguments else {
            return Err(py.raise(Class::Type, "log() takes a level and a text"));
        };
        let level = Level::from_number(level.to_integer(py)?);
        let text = encoded(py, text)?;
        let file;
        let mut entry = log::entry(level, text.as_bytes().unwrap_or_default());
        if let [name, line] = place {
            file = encoded(py, name)?;
            let file = file.as_bytes().unwrap_or_default();
            let line = u32::try_from(line.to_integer(py)?).unwrap_or(0);
            entry.origin = Some(Origin { file, line });
            entry.each_line = true;
        }
        log_entry(py, &entry);
        Ok(py.none())
    }
}

/// A `str` in UTF-8; lone surrogates are written as escape sequences.
fn encoded<'py>(py: Attached<'py>, text: &Borrowed<'_, 'py>) -> PyResult<Object<'py>> {
    let (encoding, errors) = (py.text("utf-8")?, py.text("backslashreplace")?);
    text.call_method(py, c"encode", [encoding.borrow(), errors.borrow()])
}

/// `logs(level)`: whether that is logged for the request of this thread, or for the process.
struct Logs;
impl Method<Api> for Logs {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Api>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [level] = arguments else {
            return Err(py.raise(Class::Type, "logs() takes a level"));
        };
        py.boolean(is_logged(Level::from_number(level.to_integer(py)?)))
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
        method::<Self, Logs>(c"logs"),
        method::<Self, RequestData>(c"request_data"),
        method::<Self, CreateInMain>(c"create_in_main"),
        END_OF_METHODS,
    ];
}
