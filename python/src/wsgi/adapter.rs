// SPDX-License-Identifier: Apache-2.0
//! `start_response` and `write`: methods of an object that belongs to one request.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::call::{Call, request_is_over};
use super::head::{Head, Invalid};
use super::output::Stop;
use super::ssl;
use crate::api;
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Exception, Method, MethodDefinition,
    NativeClassDefinition, Object, PyResult, Raised, This, method,
};

/// The object whose methods `start_response` and `write` are.
pub(crate) struct Adapter {
    /// The request.
    call: Arc<Call>,
}

impl Adapter {
    /// The adapter of a request.
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self { call }
    }
}

fn invalid(py: Attached<'_>, problem: Invalid) -> Raised {
    py.raise(Class::Value, problem.text())
}

/// Converts and checks what the application passes.
fn head_of<'py>(py: Attached<'py>, status: &Object<'py>, headers: &Object<'py>) -> PyResult<Head> {
    let mut head = Head::default();
    if !status.is_text() {
        let class = status.class_name(py);
        return Err(py.raise(Class::Type, &format!("status must be str, not {class}")));
    }
    status.append_latin1(py, head.text())?;
    head.status_appended().map_err(|problem| invalid(py, problem))?;
    let mut index = 0;
    while let Some(header) = headers.item(py, index) {
        index += 1;
        if !header.is_tuple() {
            let class = header.class_name(py);
            return Err(py.raise(Class::Type, &format!("header must be a tuple, not {class}")));
        }
        if header.item_count() != 2 {
            return Err(py.raise(Class::Value, "header must be a tuple of a name and a value"));
        }
        let (Some(name), Some(value)) = (header.item(py, 0), header.item(py, 1)) else {
            return Err(py.raise(Class::Value, "header must be a tuple of a name and a value"));
        };
        for (part, what) in [(&name, "name"), (&value, "value")] {
            if !part.is_text() {
                let class = part.class_name(py);
                let message = format!("header {what} must be str, not {class}");
                return Err(py.raise(Class::Type, &message));
            }
        }
        name.append_latin1(py, head.text())?;
        head.name_appended().map_err(|problem| invalid(py, problem))?;
        value.append_latin1(py, head.text())?;
        head.value_appended().map_err(|problem| invalid(py, problem))?;
    }
    Ok(head)
}

struct StartResponse;
impl Method<Adapter> for StartResponse {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Adapter>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let (status, headers, exc_info) = match arguments {
            [status, headers] => (status, headers, None),
            [status, headers, exc_info] => {
                (status, headers, Some(exc_info).filter(|exc_info| !exc_info.is_none()))
            }
            _ => {
                let message = "start_response() takes status, headers and perhaps exc_info";
                return Err(py.raise(Class::Type, message));
            }
        };
        {
            let state = this.call.lock_if_free(py)?;
            if state.exchange.is_none() {
                return Err(request_is_over(py));
            }
        }
        if !headers.is_list() {
            let class = headers.class_name(py);
            return Err(py.raise(Class::Type, &format!("headers must be a list, not {class}")));
        }
        if exc_info.is_some_and(|exc_info| !exc_info.is_tuple()) {
            return Err(py.raise(Class::Runtime, "exc_info must be a tuple"));
        }
        api::response_started(py, status, headers, exc_info.map(|exc_info| &**exc_info))?;
        if this.call.lock_if_free(py)?.response.committed {
            let Some(exc_info) = exc_info else {
                return Err(py.raise(Class::Runtime, "the response has begun already"));
            };
            return match (exc_info.item(py, 0), exc_info.item(py, 1), exc_info.item(py, 2)) {
                (Some(class), Some(value), Some(traceback)) if exc_info.item_count() == 3 => {
                    Err(Exception::raise_triple(py, class, value, traceback))
                }
                _ => Err(py.raise(Class::Type, "exc_info must be a tuple of three")),
            };
        }
        let head = head_of(py, status, headers)?;
        let mut state = this.call.lock_if_free(py)?;
        state.head = Some(head);
        drop(state);
        let Some(constants) = py.interpreter().constants() else { return Err(Raised) };
        this.object.attribute_named(py, constants.names.write.get(py))
    }
}

struct Write;
impl Method<Adapter> for Write {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Adapter>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [data] = arguments else {
            return Err(py.raise(Class::Type, "write() takes one argument: bytes"));
        };
        let Some(bytes) = data.as_bytes() else {
            let class = data.class_name(py);
            return Err(py.raise(Class::Type, &format!("data must be bytes, not {class}")));
        };
        match this.call.output(py, bytes) {
            Ok(()) => Ok(py.none()),
            Err(Stop::Raised) => Err(Raised),
            Err(Stop::Gone) => {
                Err(py.raise(Class::Os, "the response can not be sent: the client is gone"))
            }
        }
    }
}

struct SslIsHttps;
impl Method<Adapter> for SslIsHttps {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Adapter>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        ssl::is_https(py, &this.call)
    }
}

struct SslVarLookup;
impl Method<Adapter> for SslVarLookup {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Adapter>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        ssl::var_lookup(py, &this.call, arguments)
    }
}

impl NativeClassDefinition for Adapter {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Adapter";
    const METHODS: &'static [MethodDefinition] = &[
        method::<Self, StartResponse>(c"start_response"),
        method::<Self, Write>(c"write"),
        method::<Self, SslIsHttps>(c"ssl_is_https"),
        method::<Self, SslVarLookup>(c"ssl_var_lookup"),
        END_OF_METHODS,
    ];
}
