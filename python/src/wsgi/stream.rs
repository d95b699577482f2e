// SPDX-License-Identifier: Apache-2.0
//! `sys.stdout`, `sys.stderr` and `wsgi.errors`: text wrappers of Python's over a raw stream that
//! ends in the log. What is printed on the thread of a request belongs to that request; all else
//! goes to the log of the process.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;

use parking_lot::Mutex;

use super::arguments::wrong_count;
use super::call::{Call, current_call, request_is_over};
use crate::api::Constants;
use crate::interp::{
    Attached, Borrowed, Class, END_OF_METHODS, END_OF_PROPERTIES, Kept, Method, MethodDefinition,
    NativeClassDefinition, Object, Property, PropertyDefinition, PyResult, Raised, SlotDefinition,
    This, clear_exception, every_attribute, method, property,
};
use crate::log::{self, LineBuffer};
use crate::os;

/// Where a raw stream ends.
enum Target {
    /// The request of the calling thread, or the log of the process.
    Process(ThreadLines),
    /// One request.
    Request(Arc<Call>),
    /// A request that is over.
    Over,
}

/// What threads have printed that has no line end yet, each for itself: lines of two threads are
/// not mixed.
type ThreadLines = HashMap<ThreadId, LineBuffer>;

/// Threads that have ended within a line are forgotten, and what they have printed is logged, when
/// there are this many.
const MOST_THREADS: usize = 256;

/// Takes what a thread prints; the result is what is to be logged, each a text of its own.
fn add_for_thread(threads: &mut ThreadLines, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let thread = std::thread::current().id();
    if threads.len() >= MOST_THREADS && !threads.contains_key(&thread) {
        texts = flush_all(threads);
    }
    let buffer = threads.entry(thread).or_default();
    texts.extend(buffer.add(bytes));
    if buffer.is_unused() {
        threads.remove(&thread);
    }
    texts
}

fn flush_all(threads: &mut ThreadLines) -> Vec<Vec<u8>> {
    threads.drain().filter_map(|(_, mut lines)| lines.flush()).collect()
}

/// Whose a raw stream is.
enum Owner {
    /// A running request.
    Request(Arc<Call>),
    /// A request that is over.
    Over,
    /// No request in particular.
    Nobody,
}

/// A raw stream.
pub(crate) struct Stream {
    /// What its `name` is.
    name: &'static str,
    /// Where it ends.
    target: Mutex<Target>,
    /// Whether anything was written or flushed in a request; set by its thread.
    is_used: AtomicBool,
}

impl Stream {
    /// `sys.stdout` or `sys.stderr`.
    pub(crate) fn of_process(name: &'static str) -> Self {
        Self {
            name,
            target: Mutex::new(Target::Process(ThreadLines::new())),
            is_used: AtomicBool::new(false),
        }
    }

    fn of_request(call: Arc<Call>) -> Self {
        Self {
            name: "<wsgi.errors>",
            target: Mutex::new(Target::Request(call)),
            is_used: AtomicBool::new(false),
        }
    }

    /// The request that it belongs to. The lock is held for moments only, and never while Python
    /// runs.
    fn request(&self) -> Owner {
        match &*self.target.lock() {
            // What a forked child prints must not get between the frames of its parent.
            Target::Request(_) if os::is_forked_child() => Owner::Nobody,
            Target::Request(call) => Owner::Request(Arc::clone(call)),
            Target::Over => Owner::Over,
            Target::Process(_) => Owner::Nobody,
        }
    }

    fn write_bytes(&self, py: Attached<'_>, bytes: &[u8]) -> PyResult<()> {
        match self.request() {
            Owner::Request(call) => {
                self.is_used.store(true, Ordering::Relaxed);
                return call.print(py, bytes);
            }
            Owner::Over => return Err(request_is_over(py, "write() called on wsgi.errors")),
            Owner::Nobody => {}
        }
        if let Some(call) = current_call() {
            // The request may be over while its thread still cleans up.
            if call.print(py, bytes).is_ok() {
                return Ok(());
            }
            clear_exception(py);
        }
        let texts = match &mut *self.target.lock() {
            Target::Process(threads) => add_for_thread(threads, bytes),
            Target::Request(_) | Target::Over => vec![bytes.to_vec()],
        };
        log_printed(py, &texts);
        Ok(())
    }

    fn flush(&self, py: Attached<'_>) {
        let call = match self.request() {
            Owner::Request(call) => {
                self.is_used.store(true, Ordering::Relaxed);
                Some(call)
            }
            Owner::Over => None,
            Owner::Nobody => current_call(),
        };
        if let Some(call) = call {
            call.flush(py);
        }
        let rest = match &mut *self.target.lock() {
            Target::Process(threads) => {
                threads.get_mut(&std::thread::current().id()).and_then(LineBuffer::flush)
            }
            Target::Request(_) | Target::Over => None,
        };
        log_printed(py, rest.as_slice());
    }

    /// Logs what any thread has printed without a line end: the process ends.
    fn flush_all(&self, py: Attached<'_>) {
        let texts = match &mut *self.target.lock() {
            Target::Process(threads) => flush_all(threads),
            Target::Request(_) | Target::Over => Vec::new(),
        };
        log_printed(py, &texts);
    }
}

/// Logs what was printed outside of requests.
fn log_printed(py: Attached<'_>, texts: &[Vec<u8>]) {
    if !texts.is_empty() {
        py.detach(|| texts.iter().for_each(|text| log::process_entry(&log::printed(text))));
    }
}

/// A text wrapper as applications expect it, over `raw`.
pub(crate) fn text_wrapper<'py>(
    py: Attached<'py>,
    constants: &Constants,
    raw: Borrowed<'_, 'py>,
) -> PyResult<Object<'py>> {
    // TextIOWrapper(buffer, encoding, errors, newline, line_buffering, write_through)
    let names = &constants.names;
    let none = py.none();
    let yes = py.boolean(true)?;
    let arguments = py.tuple([
        raw,
        names.utf8.get(py),
        names.replace.get(py),
        none.borrow(),
        yes.borrow(),
        yes.borrow(),
    ])?;
    constants.text_io_wrapper.get(py).call_with(py, &arguments, None)
}

/// `wsgi.errors` of a thread: the wrapper costs more than the rest of an environ together, and is
/// used again for the next request when the application has kept no reference to it, and has not used
/// it: `reconfigure()`, which flushes first, would hold for the requests after.
pub(crate) struct ErrorsPair {
    /// The text wrapper.
    wrapper: Kept,
    /// The raw stream below it.
    raw: Kept,
}

impl ErrorsPair {
    /// The `wsgi.errors` of a new request: the last one, or a new one.
    pub(crate) fn for_request<'py>(
        py: Attached<'py>,
        constants: &Constants,
        last: &mut Option<Self>,
        call: &Arc<Call>,
    ) -> PyResult<Object<'py>> {
        if let Some(pair) = last.take_if(|pair| !pair.is_unused(py, constants)) {
            // Where somebody kept it, it stays bound to the request that is over, and raises.
            pair.release(py);
        }
        if let Some(pair) = last {
            if let Some(stream) = constants.classes.stream.value(py, &pair.raw.get(py)) {
                *stream.target.lock() = Target::Request(Arc::clone(call));
            }
            return Ok(pair.wrapper.get(py).share());
        }
        let raw = constants.classes.stream.instance(py, Stream::of_request(Arc::clone(call)))?;
        let wrapper = text_wrapper(py, constants, raw.borrow())?;
        *last = Some(Self { wrapper: wrapper.share().keep(py), raw: raw.keep(py) });
        Ok(wrapper)
    }

    /// The request is over: what the application has kept of it raises.
    pub(super) fn end_request(&self, py: Attached<'_>, constants: &Constants) {
        if let Some(stream) = constants.classes.stream.value(py, &self.raw.get(py)) {
            *stream.target.lock() = Target::Over;
        }
    }

    /// Gives both up.
    pub(super) fn release(self, py: Attached<'_>) {
        self.wrapper.release(py);
        self.raw.release(py);
    }

    /// Whether only this pair refers to the wrapper, and only the wrapper and this pair to the raw
    /// stream (which is not so after `detach()`), and nothing went through them.
    fn is_unused(&self, py: Attached<'_>, constants: &Constants) -> bool {
        let raw = self.raw.get(py);
        self.wrapper.get(py).reference_count(py) == 1
            && raw.reference_count(py) == 2
            && constants
                .classes
                .stream
                .value(py, &raw)
                .is_some_and(|stream| !stream.is_used.load(Ordering::Relaxed))
    }
}

struct Write;
impl Method<Stream> for Write {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Stream>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [data] = arguments else {
            return Err(wrong_count(py, "write", 1..=1, arguments.len()));
        };
        let converted;
        let bytes = if let Some(bytes) = data.as_bytes() {
            bytes
        } else if data.is_text() {
            converted = data.to_text(py)?;
            converted.as_bytes()
        } else {
            let Ok(buffer) = data.to_bytes_object(py) else {
                clear_exception(py);
                let message =
                    format!("a bytes-like object is required, not '{}'", data.class_name(py));
                return Err(py.raise(Class::Type, &message));
            };
            let bytes = buffer.as_bytes().unwrap_or_default();
            this.write_bytes(py, bytes)?;
            return py.integer(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        };
        this.write_bytes(py, bytes)?;
        py.integer(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
    }
}

struct WriteLines;
impl Method<Stream> for WriteLines {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Stream>,
        arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let [lines] = arguments else {
            return Err(wrong_count(py, "writelines", 1..=1, arguments.len()));
        };
        let lines = lines.iterate(py)?;
        while let Some(line) = lines.next(py)? {
            this.object.call_method(py, c"write", [line.borrow()])?;
        }
        Ok(py.none())
    }
}

struct Flush;
impl Method<Stream> for Flush {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Stream>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.flush(py);
        Ok(py.none())
    }
}

/// `flush_all()`: for all threads.
struct FlushAll;
impl Method<Stream> for FlushAll {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Stream>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        this.flush_all(py);
        Ok(py.none())
    }
}

struct Nothing;
impl Method<Stream> for Nothing {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Stream>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        Ok(py.none())
    }
}

struct True;
impl Method<Stream> for True {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Stream>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        py.boolean(true)
    }
}

struct False;
impl Method<Stream> for False {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Stream>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        py.boolean(false)
    }
}

impl Property<Stream> for False {
    fn get<'py>(py: Attached<'py>, _this: &Stream) -> PyResult<Object<'py>> {
        py.boolean(false)
    }
}

struct NoDescriptor;
impl Method<Stream> for NoDescriptor {
    fn call<'py>(
        py: Attached<'py>,
        _this: This<'_, 'py, Stream>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        Err(py.raise(Class::Os, "wsgi.errors log object has no file descriptor"))
    }
}

struct Name;
impl Property<Stream> for Name {
    fn get<'py>(py: Attached<'py>, this: &Stream) -> PyResult<Object<'py>> {
        py.text(this.name)
    }
}

struct Encoding;
impl Property<Stream> for Encoding {
    fn get<'py>(py: Attached<'py>, _this: &Stream) -> PyResult<Object<'py>> {
        py.text("utf-8")
    }
}

struct Errors;
impl Property<Stream> for Errors {
    fn get<'py>(py: Attached<'py>, _this: &Stream) -> PyResult<Object<'py>> {
        py.text("replace")
    }
}

impl NativeClassDefinition for Stream {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Log";
    const METHODS: &'static [MethodDefinition] = &[
        method::<Self, Write>(c"write"),
        method::<Self, WriteLines>(c"writelines"),
        method::<Self, Flush>(c"flush"),
        method::<Self, FlushAll>(c"flush_all"),
        method::<Self, Nothing>(c"close"),
        method::<Self, False>(c"isatty"),
        method::<Self, False>(c"readable"),
        method::<Self, False>(c"seekable"),
        method::<Self, True>(c"writable"),
        method::<Self, NoDescriptor>(c"fileno"),
        END_OF_METHODS,
    ];
    const PROPERTIES: &'static [PropertyDefinition] = &[
        property::<Self, Name>(c"name"),
        property::<Self, Encoding>(c"encoding"),
        property::<Self, Errors>(c"errors"),
        property::<Self, False>(c"closed"),
        END_OF_PROPERTIES,
    ];
}

/// What stands in for `sys.stdin` or `sys.stdout` where access is restricted: every attribute
/// raises.
pub(crate) struct Restricted {
    /// Name of the stream.
    pub(crate) name: &'static str,
}

struct Refuse;
impl Method<Restricted> for Refuse {
    fn call<'py>(
        py: Attached<'py>,
        this: This<'_, 'py, Restricted>,
        _arguments: &[Borrowed<'_, 'py>],
    ) -> PyResult<Object<'py>> {
        let directive = if this.name == "sys.stdin" { "Stdin" } else { "Stdout" };
        let message = format!("access to {} is restricted by WSGIRestrict{directive}", this.name);
        let Raised = py.raise(Class::Os, &message);
        Err(Raised)
    }
}

impl NativeClassDefinition for Restricted {
    const NAME: &'static std::ffi::CStr = c"mod_wsgi.Restricted";
    const METHODS: &'static [MethodDefinition] = &[END_OF_METHODS];
    const SLOTS: &'static [SlotDefinition] = &[every_attribute::<Self, Refuse>()];
}
