// SPDX-License-Identifier: Apache-2.0
//! The environ: a copy of a template with what is the same for every request, then the entries of
//! the request, then the objects of the request.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::request::{Name, Request};
use mod_wsgi_protocol::settings::Settings;
use mod_wsgi_protocol::{COMPATIBLE_VERSION, key};

use crate::interp::{Attached, Borrowed, Kept, Object, PyResult};

const REQUEST_METHOD: u8 = key::number("REQUEST_METHOD");
const HTTPS: u8 = key::number("HTTPS");
const DOCUMENT_ROOT: u8 = key::number("DOCUMENT_ROOT");
const SCRIPT_FILENAME: u8 = key::number("SCRIPT_FILENAME");

/// What environs of one interpreter have in common.
pub(crate) struct Template {
    /// Entries that are the same in every environ.
    dict: Kept,
    /// Names by number, see [`key::KEYS`].
    keys: Vec<Kept>,
    /// Names that are set for each request, and values they often have.
    names: EntryNames,
}

/// Names that are set for each request; each field is the name that it is called by.
struct EntryNames {
    /// `wsgi.url_scheme`.
    url_scheme: Kept,
    /// The value `https`.
    https: Kept,
    /// `wsgi.input`.
    input: Kept,
    /// `wsgi.errors`.
    errors: Kept,
    /// `mod_wsgi.thread_id`.
    thread_id: Kept,
    /// `mod_wsgi.request_start`.
    request_start: Kept,
    /// `mod_wsgi.queue_start`.
    queue_start: Kept,
    /// `mod_wsgi.daemon_start`.
    daemon_start: Kept,
    /// `mod_wsgi.application_start`.
    application_start: Kept,
    /// `mod_wsgi.script_start`.
    script_start: Kept,
    /// The value 0.0.
    zero: Kept,
}

/// Entries whose value is mostly the one of the request before: it is compared and used again,
/// which costs less than making it. None that identifies a person or opens a door is among them.
const REPEATED: [bool; 256] = {
    const NAMES: &[&str] = &[
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "QUERY_STRING",
        "REQUEST_SCHEME",
        "SERVER_PROTOCOL",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_ADDR",
        "SERVER_SOFTWARE",
        "SERVER_ADMIN",
        "DOCUMENT_ROOT",
        "CONTEXT_PREFIX",
        "CONTEXT_DOCUMENT_ROOT",
        "SCRIPT_FILENAME",
        "HTTP_HOST",
        "HTTP_ACCEPT",
        "HTTP_ACCEPT_ENCODING",
        "HTTP_ACCEPT_LANGUAGE",
        "HTTP_CONNECTION",
        "mod_wsgi.process_group",
        "mod_wsgi.application_group",
        "mod_wsgi.callable_object",
        "mod_wsgi.request_handler",
        "mod_wsgi.handler_script",
        "mod_wsgi.script_name",
        "mod_wsgi.listener_host",
        "mod_wsgi.listener_port",
        "mod_wsgi.server_pid",
    ];
    let mut repeated = [false; 256];
    let mut index = 0;
    while index < NAMES.len() {
        repeated[key::number(NAMES[index]) as usize] = true;
        index += 1;
    }
    // Number 0 is a name that follows as text.
    repeated[0] = false;
    repeated
};

/// Values of a thread's last request, by the number of their name.
#[derive(Default)]
pub(crate) struct LastValues {
    /// The bytes that came, and the `str` that was made of them.
    values: Vec<Option<(Vec<u8>, Kept)>>,
}

impl LastValues {
    /// The value of the entry with this number.
    fn value<'py>(&mut self, py: Attached<'py>, number: u8, bytes: &[u8]) -> PyResult<Object<'py>> {
        let index = usize::from(number);
        if self.values.len() <= index {
            self.values.resize_with(index + 1, || None);
        }
        let Some(last) = self.values.get_mut(index) else { return decode(py, number, bytes) };
        if let Some((known, value)) = last
            && known == bytes
        {
            return Ok(value.get(py).share());
        }
        let value = decode(py, number, bytes)?;
        if let Some((_, before)) = last.replace((bytes.to_vec(), value.share().keep(py))) {
            before.release(py);
        }
        Ok(value)
    }

    /// Gives all up.
    pub(super) fn release(self, py: Attached<'_>) {
        for (_, value) in self.values.into_iter().flatten() {
            value.release(py);
        }
    }
}

fn decode<'py>(py: Attached<'py>, number: u8, bytes: &[u8]) -> PyResult<Object<'py>> {
    match number {
        DOCUMENT_ROOT | SCRIPT_FILENAME => py.file_name(bytes),
        _ => py.latin1(bytes),
    }
}

/// A name as a key: UTF-8, as configurations are written, where it is that.
fn key_of<'py>(py: Attached<'py>, name: &[u8]) -> PyResult<Object<'py>> {
    match std::str::from_utf8(name) {
        Ok(name) => py.text(name),
        Err(_) => py.latin1(name),
    }
}

/// Objects and times of one request.
pub(super) struct Extras<'a, 'py> {
    /// `wsgi.input`.
    pub(super) input: Borrowed<'a, 'py>,
    /// `wsgi.errors`.
    pub(super) errors: Borrowed<'a, 'py>,
    /// `mod_wsgi.thread_id`.
    pub(super) thread_id: Borrowed<'a, 'py>,
    /// When the daemon took the request, µs since the epoch; 0 in embedded mode.
    pub(super) daemon_start: i64,
    /// When the application is called, µs since the epoch.
    pub(super) application_start: i64,
}

/// Microseconds as applications get times: seconds.
fn seconds(micros: i64) -> f64 {
    // Exact to the microsecond until the year 2255.
    micros as f64 / 1e6
}

/// The digits of a number, without a `String` for each request.
fn decimal(digits: &mut [u8; 20], mut number: u64) -> &[u8] {
    let mut start = digits.len();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = place;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

fn version<'py>(py: Attached<'py>, numbers: (u32, u32, u32)) -> PyResult<Object<'py>> {
    let number = |number: u32| py.integer(i64::from(number));
    let (major, minor, patch) = (number(numbers.0)?, number(numbers.1)?, number(numbers.2)?);
    py.tuple([major.borrow(), minor.borrow(), patch.borrow()])
}

impl Template {
    /// The template of the interpreter that `py` is attached to.
    pub(crate) fn new<'py>(
        py: Attached<'py>,
        settings: &Settings,
        file_wrapper: &Object<'py>,
    ) -> PyResult<Self> {
        let dict = py.dict()?;
        let one = py.integer(1)?;
        let zero = py.integer(0)?;
        let set = |name, value: &Object<'py>| dict.set_entry_named(py, name, value);
        set(c"wsgi.version", &py.tuple([one.borrow(), zero.borrow()])?)?;
        set(c"wsgi.url_scheme", &py.interned(c"http")?)?;
        set(c"wsgi.multithread", &py.boolean(settings.multithread)?)?;
        set(c"wsgi.multiprocess", &py.boolean(settings.multiprocess)?)?;
        set(c"wsgi.run_once", &py.boolean(settings.run_once)?)?;
        set(c"wsgi.input_terminated", &py.boolean(true)?)?;
        set(c"wsgi.file_wrapper", file_wrapper)?;
        set(c"mod_wsgi.version", &version(py, COMPATIBLE_VERSION)?)?;
        set(c"apache.version", &version(py, settings.apache_version)?)?;
        let mut keys = Vec::with_capacity(key::KEYS.len());
        for name in key::KEYS {
            let name = std::ffi::CString::new(*name).unwrap_or_default();
            keys.push(py.interned(&name)?.keep(py));
        }
        let name = |name| py.interned(name).map(|name| name.keep(py));
        let names = EntryNames {
            url_scheme: name(c"wsgi.url_scheme")?,
            https: name(c"https")?,
            input: name(c"wsgi.input")?,
            errors: name(c"wsgi.errors")?,
            thread_id: name(c"mod_wsgi.thread_id")?,
            request_start: name(c"mod_wsgi.request_start")?,
            queue_start: name(c"mod_wsgi.queue_start")?,
            daemon_start: name(c"mod_wsgi.daemon_start")?,
            application_start: name(c"mod_wsgi.application_start")?,
            script_start: name(c"mod_wsgi.script_start")?,
            zero: py.float(0.0)?.keep(py),
        };
        Ok(Self { dict: dict.keep(py), keys, names })
    }

    /// The environ of a request.
    pub(super) fn environ<'py>(
        &self,
        py: Attached<'py>,
        request: &Request<'_>,
        extras: &Extras<'_, 'py>,
        last: &mut LastValues,
    ) -> PyResult<Object<'py>> {
        let environ = self.dict.get(py).copy_dict(py)?;
        for (name, value) in request.entries() {
            match name {
                Name::Numbered(HTTPS) => self.set_scheme(py, &environ, value)?,
                Name::Numbered(number) => {
                    let Some(key) = self.keys.get(usize::from(number).wrapping_sub(1)) else {
                        continue;
                    };
                    let value = if REPEATED[usize::from(number)] {
                        last.value(py, number, value)?
                    } else {
                        decode(py, number, value)?
                    };
                    environ.set_entry(py, key.get(py), &value)?;
                }
                Name::Text(b"HTTPS") => self.set_scheme(py, &environ, value)?,
                Name::Text(b"PATH") => {}
                Name::Text(text) if text.starts_with(b"mod_wsgi.x-") => {}
                Name::Text(text) => {
                    if text.eq_ignore_ascii_case(b"HTTPS") {
                        // Names of httpd's variables have no case; this one is kept as it is.
                        self.set_scheme(py, &environ, value)?;
                    }
                    let key = key_of(py, text)?;
                    // What SetEnv says does not replace what the protocol says.
                    let is_reserved = (text.starts_with(b"wsgi.") || text.ends_with(b".version"))
                        && self.dict.get(py).entry(py, key.borrow())?.is_some();
                    if !is_reserved {
                        environ.set_entry(py, key.borrow(), &py.latin1(value)?)?;
                    }
                }
            }
        }
        let names = &self.names;
        environ.set_entry(py, names.input.get(py), &extras.input)?;
        environ.set_entry(py, names.errors.get(py), &extras.errors)?;
        environ.set_entry(py, names.thread_id.get(py), &extras.thread_id)?;
        for (name, micros) in [
            (&names.request_start, request.head.request_start),
            (&names.queue_start, request.head.queue_start),
            (&names.daemon_start, extras.daemon_start),
            (&names.application_start, extras.application_start),
        ] {
            if micros == 0 {
                environ.set_entry(py, name.get(py), &names.zero.get(py))?;
            } else {
                environ.set_entry(py, name.get(py), &py.float(seconds(micros))?)?;
            }
        }
        let (mut digits, start) = ([0; 20], extras.application_start.unsigned_abs());
        let script_start = py.latin1(decimal(&mut digits, start))?;
        environ.set_entry(py, names.script_start.get(py), &script_start)?;
        Ok(environ)
    }

    /// The environ of a hook: its entries as they came, and the versions where the hook gets them.
    pub(super) fn environ_of_hook<'py>(
        &self,
        py: Attached<'py>,
        request: &Request<'_>,
        errors: &Object<'py>,
        with_versions: bool,
    ) -> PyResult<Object<'py>> {
        let environ = py.dict()?;
        for (name, value) in request.entries() {
            match name {
                Name::Numbered(number) => {
                    if let Some(key) = self.keys.get(usize::from(number).wrapping_sub(1)) {
                        environ.set_entry(py, key.get(py), &decode(py, number, value)?)?;
                    }
                }
                Name::Text(text) => {
                    environ.set_entry(py, key_of(py, text)?.borrow(), &py.latin1(value)?)?;
                }
            }
        }
        if with_versions {
            for name in [c"apache.version", c"mod_wsgi.version"] {
                if let Some(version) = self.dict.get(py).entry_named(py, name)? {
                    environ.set_entry_named(py, name, &version)?;
                }
            }
        }
        environ.set_entry(py, self.names.errors.get(py), errors)?;
        Ok(environ)
    }

    fn set_scheme<'py>(
        &self,
        py: Attached<'py>,
        environ: &Object<'py>,
        https: &[u8],
    ) -> PyResult<()> {
        if https == b"1" || https.eq_ignore_ascii_case(b"on") {
            environ.set_entry(py, self.names.url_scheme.get(py), &self.names.https.get(py))?;
        }
        Ok(())
    }
}

/// Whether the application sees a HEAD request.
pub(super) fn is_head_request(request: &Request<'_>) -> bool {
    request
        .entries()
        .find(|(name, _)| *name == Name::Numbered(REQUEST_METHOD))
        .is_some_and(|(_, value)| value == b"HEAD")
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_have_their_digits() {
        for number in [0, 7, 10, 1_700_000_000_000_000, u64::MAX] {
            assert_eq!(decimal(&mut [0; 20], number), number.to_string().as_bytes());
        }
    }
}
