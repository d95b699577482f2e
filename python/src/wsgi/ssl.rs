// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's view of the connection: `mod_ssl.is_https()` and `mod_ssl.var_lookup(name)` in the
//! environ of a hook, and the same two behind `start_response`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::arguments::wrong_count;
use super::call::{Call, request_is_over};
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Method, MethodDefinition, NativeClassDefinition,
    Object, PyResult, This, clear_exception, method,
};
use crate::os;

/// The object whose methods the two are.
pub(crate) struct Ssl {
    /// The request.
    call: Arc<Call>,
}

impl Ssl {
    /// For a request.
    pub(super) fn new(call: Arc<Call>) -> Self {
        Self { call }
    }
}

/// Asks httpd; the empty name asks whether the connection is encrypted. An application in a daemon
/// process gets nothing: there is no connection to look at, as in mod_wsgi.
fn look_up(py: Attached<'_>, call: &Call, name: &[u8]) -> PyResult<Option<Vec<u8>>> {
    let mut state = call.lock_if_free(py)?;
    // A forked child must not get between the frames of its parent.
    let exchange = state.exchange.as_deref_mut().filter(|_| !os::is_forked_child());
    let Some(exchange) = exchange else { return Err(request_is_over(py, "asked")) };
    py.detach(|| exchange.look_up(name)).map_err(|error| {
        py.raise(Class::Os, &format!("a variable of mod_ssl can not be had: {error}"))
    })
}

/// 1 if the connection is encrypted, 0 if it is not; the method is called `method`.
pub(super) fn is_https<'py>(
    py: Attached<'py>,
    call: &Call,
    method: &str,
    arguments: &[Borrowed<'_, 'py>],
) -> PyResult<Object<'py>> {
    call.check_running(py, &format!("{method}() called"))?;
    if !arguments.is_empty() {
        return Err(wrong_count(py, method, 0..=0, arguments.len()));
    }
    let is_encrypted = look_up(py, call, b"")?.is_some();
    py.integer(i64::from(is_encrypted))
}

/// The value of a variable, or None; the method is called `method`.
pub(super) fn var_lookup<'py>(
    py: Attached<'py>,
    call: &Call,
    method: &str,
    arguments: &[Borrowed<'_, 'py>],
) -> PyResult<Object<'py>> {
    call.check_running(py, &format!("{method}() called"))?;
    let [argument] = arguments else {
        return Err(wrong_count(py, method, 1..=1, arguments.len()));
    };
    let mut text = Vec::new();
    let name = if let Some(bytes) = argument.as_bytes() {
        bytes
    } else if argument.is_text() {
        if argument.append_latin1(py, &mut text).is_err() {
            clear_exception(py);
            let message = format!("{method}() argument must be bytes or a latin-1 str");
            return Err(py.raise(Class::Type, &message));
        }
        &text
    } else {
        let class = argument.class_name(py);
        let message = format!("{method}() argument must be bytes, not {class}");
        return Err(py.raise(Class::Type, &message));
    };
    // No variable has an empty name; asking for it would mean something else.
    let value = if name.is_empty() { None } else { look_up(py, call, name)? };
    value.map_or_else(|| Ok(py.none()), |value| py.latin1(&value))
}

struct IsHttps;
impl Method<Ssl> for IsHttps {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Ssl>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        is_https(py, &this.call, "is_https", arguments)
    }
}

struct VarLookup;
impl Method<Ssl> for VarLookup {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Ssl>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        var_lookup(py, &this.call, "var_lookup", arguments)
    }
}

impl NativeClassDefinition for Ssl {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Ssl";
    const METHODS: &'static [MethodDefinition] = &[
        method::<Self, IsHttps>(c"is_https"),
        method::<Self, VarLookup>(c"var_lookup"),
        END_OF_METHODS,
    ];
}
