// SPDX-License-Identifier: Apache-2.0
//! What an httpd child is to embedded mode, without httpd: loads libpython and the library, and
//! serves frames on a socket with the table that they hand back. So the same client tests both modes.
//!
//! `embedded_host build-id` prints that of the sources.
//!
//! `embedded_host <libpython> <argv0> <library> <bootstrap> <settings file> <socket>`; SIGTERM, as
//! end of standard input, ends it the way a child ends: `stop`, then exit().
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};

use mod_wsgi_protocol::BUILD_ID;
use mod_wsgi_protocol::embedded::{BUILD_ID_SIZE, Host, Python};
use mod_wsgi_protocol::frame::{BodyError, HEADER_SIZE, Header, Kind, LAST};
use mod_wsgi_protocol::log::{Entry, lines};

static READY: OnceLock<Sender<Option<&'static Python>>> = OnceLock::new();
static STOP: Mutex<Option<Receiver<()>>> = Mutex::new(None);

/// A request: the connection that it came on.
struct Request {
    stream: UnixStream,
    body_ended: bool,
    /// What `lookup` has lent.
    values: Vec<Vec<u8>>,
}

impl Request {
    fn read_frame(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; HEADER_SIZE];
        self.stream.read_exact(&mut header).ok()?;
        let header = Header::decode(&header).ok()?;
        let mut payload = vec![0; header.length];
        self.stream.read_exact(&mut payload).ok()?;
        Some((header, payload))
    }

    fn write_frame(&mut self, kind: Kind, flags: u8, payload: &[u8]) -> i32 {
        let mut frame = Header { kind, flags, length: payload.len() }.encode().to_vec();
        frame.extend_from_slice(payload);
        if self.stream.write_all(&frame).is_ok() { 0 } else { -1 }
    }
}

/// # Safety
/// As the table says.
unsafe fn request<'a>(request: *mut c_void) -> &'a mut Request {
    // SAFETY: what `serve` passed, during its call, from one thread at a time.
    unsafe { &mut *request.cast() }
}

/// # Safety
/// As the table says.
unsafe fn bytes<'a>(data: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: as the table says; an empty slice may be anywhere.
    unsafe { if length == 0 { &[] } else { std::slice::from_raw_parts(data, length) } }
}

unsafe extern "C" fn ready(python: *const Python) {
    // SAFETY: null, or a table that lives as long as the process.
    let python = unsafe { python.as_ref() };
    READY.get().unwrap().send(python).unwrap();
}

unsafe extern "C" fn wait_for_stop() {
    let stop = STOP.lock().unwrap().take().unwrap();
    stop.recv().unwrap();
}

unsafe extern "C" fn read_body(r: *mut c_void, buffer: *mut u8, length: usize) -> isize {
    // SAFETY: as the table says.
    let request = unsafe { request(r) };
    if request.body_ended {
        return 0;
    }
    let most = u32::try_from(length).unwrap().to_le_bytes();
    request.write_frame(Kind::Pull, 0, &most);
    match request.read_frame() {
        Some((header, payload)) if header.kind == Kind::Body && payload.len() <= length => {
            request.body_ended = length > 0 && header.flags & LAST != 0;
            // SAFETY: as the table says; the length was compared.
            unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), buffer, payload.len()) };
            isize::try_from(payload.len()).unwrap()
        }
        Some((header, payload)) if header.kind == Kind::BodyError => -isize::from(payload[0]),
        _ => -(BodyError::Aborted as isize),
    }
}

unsafe extern "C" fn send(
    r: *mut c_void,
    kind: u8,
    flags: u8,
    payload: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as the table says.
    let (request, payload) = unsafe { (request(r), bytes(payload, length)) };
    request.write_frame(Kind::from_u8(kind).unwrap(), flags, payload)
}

unsafe extern "C" fn send_file(
    r: *mut c_void,
    descriptor: i32,
    offset: u64,
    length: u64,
    _flags: u8,
) -> i32 {
    // SAFETY: as the table says.
    let request = unsafe { request(r) };
    let mut payload = offset.to_le_bytes().to_vec();
    payload.extend_from_slice(&length.to_le_bytes());
    let mut frame = Header { kind: Kind::File, flags: 0, length: 16 }.encode().to_vec();
    frame.extend_from_slice(&payload);
    // SAFETY: sendmsg reads the frame and one descriptor in a control message of the right size.
    let sent = unsafe {
        let mut space = [0_u64; 4];
        let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = space.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let control = libc::CMSG_FIRSTHDR(&raw const message);
        (*control).cmsg_level = libc::SOL_SOCKET;
        (*control).cmsg_type = libc::SCM_RIGHTS;
        (*control).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(control).cast::<i32>().write(descriptor);
        libc::sendmsg(request.stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if usize::try_from(sent) == Ok(frame.len()) { 0 } else { -1 }
}

unsafe extern "C" fn log(r: *mut c_void, payload: *const u8, length: usize) {
    // SAFETY: as the table says.
    let payload = unsafe { bytes(payload, length) };
    // SAFETY: as the table says.
    let request = (!r.is_null()).then(|| unsafe { request(r) });
    // A log line is not lost because the client is.
    if request.is_none_or(|request| request.write_frame(Kind::Log, 0, payload) != 0) {
        let entry = Entry::decode(payload).unwrap();
        for line in lines(entry.text) {
            eprintln!("\x01{}{}", entry.level, String::from_utf8_lossy(line));
        }
    }
}

unsafe extern "C" fn lookup(
    r: *mut c_void,
    name: *const u8,
    name_length: usize,
    value: *mut *const u8,
    value_length: *mut usize,
) -> i32 {
    // SAFETY: as the table says.
    let (request, name) = unsafe { (request(r), bytes(name, name_length)) };
    request.write_frame(Kind::Lookup, 0, name);
    let Some((header, payload)) = request.read_frame() else { return 0 };
    assert_eq!(header.kind, Kind::Value);
    if payload[0] == 0 {
        return 0;
    }
    request.values.push(payload[1..].to_vec());
    let kept = request.values.last().unwrap();
    // SAFETY: two places of the caller's; the value stays until the request is over.
    unsafe {
        *value = kept.as_ptr();
        *value_length = kept.len();
    }
    1
}

/// There is no httpd here: an address that only has to be told apart from none.
unsafe extern "C" fn request_record(r: *mut c_void) -> *mut c_void {
    r
}

/// Nor a scoreboard.
unsafe extern "C" fn scoreboard(_place: u32, _buffer: *mut u8, _length: usize) -> usize {
    0
}

fn serve(python: &Python, stream: UnixStream) {
    let mut request = Request { stream, body_ended: false, values: Vec::new() };
    while let Some((header, payload)) = request.read_frame() {
        assert_eq!(header.kind, Kind::Request);
        request.body_ended = false;
        request.values.clear();
        // SAFETY: the request and the payload last during the call.
        unsafe {
            (python.handle)((&raw mut request).cast(), payload.as_ptr(), payload.len());
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word] = arguments.as_slice()
        && word == "build-id"
    {
        print!("{BUILD_ID}");
        return;
    }
    let [_, libpython, argv0, library, bootstrap, settings, socket] = arguments.as_slice() else {
        panic!("see the top of the file");
    };
    let listener = UnixListener::bind(socket).unwrap();
    let settings: &'static [u8] = std::fs::read(settings).unwrap().leak();
    let mut build_id = [0; BUILD_ID_SIZE];
    build_id[..BUILD_ID.len()].copy_from_slice(BUILD_ID.as_bytes());
    let host: &'static Host = Box::leak(Box::new(Host {
        build_id,
        settings: settings.as_ptr(),
        settings_length: settings.len(),
        ready,
        wait_for_stop,
        read_body,
        send,
        send_file,
        log,
        lookup,
        request_record,
        scoreboard,
    }));
    let (ready, is_ready) = channel();
    READY.set(ready).unwrap();
    let (stop, is_stopped) = channel();
    *STOP.lock().unwrap() = Some(is_stopped);

    let address = std::ptr::from_ref(host).expose_provenance().to_string();
    let words = [argv0.as_str(), "-c", bootstrap, library, "embedded", &address];
    let words: Vec<CString> = words.into_iter().map(|w| CString::new(w).unwrap()).collect();
    let libpython = CString::new(libpython.as_str()).unwrap();
    std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(move || {
            // SAFETY: libpython exports Py_BytesMain with this type; the words last for ever.
            unsafe {
                let handle = libc::dlopen(libpython.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
                assert!(!handle.is_null(), "dlopen");
                let symbol = libc::dlsym(handle, c"Py_BytesMain".as_ptr());
                assert!(!symbol.is_null(), "dlsym");
                let main: unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int =
                    std::mem::transmute(symbol);
                let mut pointers: Vec<*mut c_char> =
                    words.leak().iter().map(|word| word.as_ptr().cast_mut()).collect();
                let count = c_int::try_from(pointers.len()).unwrap();
                pointers.push(std::ptr::null_mut());
                std::process::exit(main(count, pointers.leak().as_mut_ptr()));
            }
        })
        .unwrap();
    let Some(python) = is_ready.recv().unwrap() else { std::process::exit(3) };
    println!("ready");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::Builder::new()
                .stack_size(8 << 20)
                .spawn(move || serve(python, stream))
                .unwrap();
        }
    });
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
    stop.send(()).unwrap();
    // SAFETY: no request is running.
    unsafe { (python.stop)() };
    std::process::exit(0);
}
