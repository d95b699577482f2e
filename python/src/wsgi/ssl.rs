// SPDX-License-Identifier: Apache-2.0
//! mod_ssl's view of the connection: `mod_ssl.is_https()` and `mod_ssl.var_lookup(name)` in the
//! environ of a hook, and the same two behind `start_response`.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::call::{Call, request_is_over};
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, Method, MethodDefinition, NativeClassDefinition,
    Object, PyResult, This, method,
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
    let Some(exchange) = exchange else { return Err(request_is_over(py)) };
    py.detach(|| exchange.look_up(name)).map_err(|error| {
        py.raise(Class::Os, &format!("a variable of mod_ssl can not be had: {error}"))
    })
}

/// 1 if the connection is encrypted, 0 if it is not.
pub(super) fn is_https<'py>(py: Attached<'py>, call: &Call) -> PyResult<Object<'py>> {
    let is_encrypted = look_up(py, call, b"")?.is_some();
    py.integer(i64::from(is_encrypted))
}

/// The value of a variable, or None.
pub(super) fn var_lookup<'py>(
    py: Attached<'py>,
    call: &Call,
    arguments: &[Borrowed<'_, 'py>],
) -> PyResult<Object<'py>> {
    let [argument] = arguments else {
        return Err(py.raise(Class::Type, "the name of one variable is wanted"));
    };
    let mut text = Vec::new();
    let name = if let Some(bytes) = argument.as_bytes() {
        bytes
    } else if argument.is_text() {
        argument.append_latin1(py, &mut text)?;
        &text
    } else {
        let class = argument.class_name(py);
        let message = format!("the name of a variable must be str or bytes, not {class}");
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
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        is_https(py, &this.call)
    }
}

struct VarLookup;
impl Method<Ssl> for VarLookup {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Ssl>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        var_lookup(py, &this.call, arguments)
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
