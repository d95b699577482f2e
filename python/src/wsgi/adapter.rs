// SPDX-License-Identifier: Apache-2.0
//! `start_response` and `write`: methods of an object that belongs to one request.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::arguments::wrong_count;
use super::call::Call;
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

/// Said of an `exc_info` that is none.
const NO_EXC_INFO: &str = "start_response() argument 'exc_info' must be a 3-tuple or None";

/// Appends a text to a head, which checks it with `take`; `what` it is stands in front of what
/// mod_wsgi says of another type.
fn append<'py>(
    py: Attached<'py>,
    head: &mut Head,
    part: &Object<'py>,
    what: &str,
    take: impl FnOnce(&mut Head) -> Result<(), Invalid>,
) -> PyResult<()> {
    if !part.is_text() {
        let class = part.class_name(py);
        return Err(py.raise(Class::Type, &format!("{what} must be str, not {class}")));
    }
    part.append_latin1(py, head.text())?;
    take(head).map_err(|problem| py.raise(Class::Value, &problem.text(head.tail())))
}

/// Converts and checks what the application passes.
fn head_of<'py>(py: Attached<'py>, status: &Object<'py>, headers: &Object<'py>) -> PyResult<Head> {
    let mut head = Head::default();
    append(py, &mut head, status, "status", Head::status_appended)?;
    let mut index = 0;
    while let Some(header) = headers.item(py, index) {
        index += 1;
        if !header.is_tuple() {
            let class = header.class_name(py);
            let message = format!("each header must be a 2-tuple, not {class}");
            return Err(py.raise(Class::Type, &message));
        }
        let (Some(name), Some(value), None) =
            (header.item(py, 0), header.item(py, 1), header.item(py, 2))
        else {
            let message =
                format!("each header must be a 2-tuple, got length {}", header.item_count());
            return Err(py.raise(Class::Value, &message));
        };
        append(py, &mut head, &name, "header name", Head::name_appended)?;
        append(py, &mut head, &value, "header value", Head::value_appended)?;
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
        this.call.check_running(py, "start_response() called")?;
        let (status, headers, exc_info) = match arguments {
            [status, headers] => (status, headers, None),
            [status, headers, exc_info] => {
                (status, headers, Some(exc_info).filter(|exc_info| !exc_info.is_none()))
            }
            _ => return Err(wrong_count(py, "start_response", 2..=3, arguments.len())),
        };
        if !headers.is_list() {
            let class = match headers.is_none() {
                true => "None".to_owned(),
                false => headers.class_name(py),
            };
            let message = format!("start_response() argument 2 must be list, not {class}");
            return Err(py.raise(Class::Type, &message));
        }
        if exc_info.is_some_and(|exc_info| !exc_info.is_tuple()) {
            return Err(py.raise(Class::Runtime, NO_EXC_INFO));
        }
        api::response_started(py, status, headers, exc_info.map(|exc_info| &**exc_info))?;
        if this.call.lock_if_free(py)?.response.committed {
            let Some(exc_info) = exc_info else {
                let message = "start_response() called more than once without exc_info";
                return Err(py.raise(Class::Runtime, message));
            };
            return match (exc_info.item(py, 0), exc_info.item(py, 1), exc_info.item(py, 2)) {
                (Some(class), Some(value), Some(traceback)) if exc_info.item_count() == 3 => {
                    Err(Exception::raise_triple(py, class, value, traceback))
                }
                _ => Err(py.raise(Class::Type, NO_EXC_INFO)),
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
        this.call.check_running(py, "write() called")?;
        let [data] = arguments else {
            return Err(wrong_count(py, "write", 1..=1, arguments.len()));
        };
        let Some(bytes) = data.as_bytes() else {
            let class = data.class_name(py);
            let message = format!("write() argument must be bytes, not {class}");
            return Err(py.raise(Class::Type, &message));
        };
        match this.call.output(py, bytes) {
            Ok(()) => Ok(py.none()),
            Err(Stop::Raised) => Err(Raised),
            Err(Stop::Gone) => {
                let message = "mod_wsgi failed to write response data: the client is gone";
                Err(py.raise(Class::Os, message))
            }
        }
    }
}

struct SslIsHttps;
impl Method<Adapter> for SslIsHttps {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Adapter>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        ssl::is_https(py, &this.call, "ssl_is_https", arguments)
    }
}

struct SslVarLookup;
impl Method<Adapter> for SslVarLookup {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Adapter>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        ssl::var_lookup(py, &this.call, "ssl_var_lookup", arguments)
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
