// SPDX-License-Identifier: Apache-2.0
//! Sending a response through httpd's output filters: the head into the request record, data as
//! buckets. Knows HTTP's and httpd's rules, not who produced the response.

use std::os::fd::{AsRawFd, OwnedFd};

use mod_wsgi_protocol::response::Head;

use super::pool::Pool;
use super::request::Request;
use super::{c_string, sys};

/// The client is gone, or a filter failed: nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// How repeated header names of an application are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Each on its own line (embedded mode).
    Separate,
    /// In one line with commas, but for Set-Cookie and WWW-Authenticate (daemon mode, as CGI).
    Merged,
}

/// What is to be done with a response whose head was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Send its data.
    Send,
    /// Answer by this local URL instead.
    Redirect(Vec<u8>),
}

/// Takes over status and headers.
pub(crate) fn take_head(request: &Request<'_>, head: &Head<'_>, repeats: Repeats) -> Taken {
    request.forget_continue();
    request.set_status(head.status, (head.status_line.len() > 3).then_some(head.status_line));
    let (Some(headers), Some(error_headers)) = (request.headers_out(), request.error_headers_out())
    else {
        return Taken::Send;
    };
    let mut redirect = None;
    for (name, value) in head.headers() {
        let (c_name, c_value) = (c_string(name), c_string(value));
        if name.eq_ignore_ascii_case(b"content-type") {
            request.set_content_type(value);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            // Validated by the sender; what is no number is left to httpd to frame.
            if let Some(length) =
                std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok())
            {
                request.set_content_length(length);
            }
        } else if name.eq_ignore_ascii_case(b"www-authenticate") {
            error_headers.add(&c_name, &c_value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // The server's own business (PEP 3333, "Other HTTP Features").
        } else if name.eq_ignore_ascii_case(b"set-cookie") || repeats == Repeats::Separate {
            headers.add(&c_name, &c_value);
        } else if name.eq_ignore_ascii_case(b"location")
            || name.eq_ignore_ascii_case(b"content-range")
        {
            if head.status == 200
                && value.starts_with(b"/")
                && name.eq_ignore_ascii_case(b"location")
            {
                redirect = Some(value.to_vec());
            }
            if let Some(pool) = request.pool() {
                headers.replace(pool, &c_name, &c_value);
            }
        } else {
            headers.merge(&c_name, &c_value);
        }
    }
    redirect.map_or(Taken::Send, Taken::Redirect)
}

/// Sends the data of one response.
pub(crate) struct Sender<'a> {
    /// Whose response.
    request: Request<'a>,
    /// The request's pool.
    pool: Pool<'a>,
    /// Reused for every step; empty in between.
    brigade: *mut sys::apr_bucket_brigade,
    /// Bytes of data so far, files not counted.
    sent: usize,
    /// Whether the kernel may send files, whatever core says.
    sends_files: bool,
    /// The client's socket and its timeout in µs, where [`Self::limit_writes`] has set another.
    timeout_before: Option<(*mut sys::apr_socket_t, sys::apr_interval_time_t)>,
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if let Some((socket, before)) = self.timeout_before {
            // SAFETY: the socket is the connection's, which outlives the request.
            unsafe { sys::apr_socket_timeout_set(socket, before) };
        }
    }
}

/// Bytes that are read at once of a file that is neither mapped nor sent by the kernel.
const PIECE: sys::apr_size_t = 64 << 10;

/// Responses up to this size fit into a socket's buffer.
const SMALL: usize = 16 << 10;

impl<'a> Sender<'a> {
    /// A sender for the request.
    pub(crate) fn new(request: Request<'a>, sends_files: bool) -> Option<Self> {
        let pool = request.pool()?;
        // SAFETY: a brigade of the request's pool and its connection's allocator.
        let brigade = unsafe {
            let connection = (*request.as_ptr()).connection;
            sys::apr_brigade_create(pool.as_ptr(), (*connection).bucket_alloc)
        };
        (!brigade.is_null()).then_some(Self {
            request,
            pool,
            brigade,
            sent: 0,
            sends_files,
            timeout_before: None,
        })
    }

    /// Bounds each wait for a client that does not read, in seconds, until this sender is gone; 0
    /// leaves it to httpd's `Timeout`. A stream of HTTP/2 has no socket of its own.
    pub(crate) fn limit_writes(&mut self, seconds: u32) {
        if seconds == 0 || self.timeout_before.is_some() || !self.request.has_own_connection() {
            return;
        }
        // SAFETY: core's socket of the connection, or null; this thread alone has the connection
        // while it has the request. The second writes one number.
        unsafe {
            let socket = sys::ap_get_conn_socket((*self.request.as_ptr()).connection);
            let mut before = 0;
            if !socket.is_null()
                && sys::apr_socket_timeout_get(socket, &raw mut before) == sys::APR_SUCCESS
            {
                self.timeout_before = Some((socket, before));
                sys::apr_socket_timeout_set(socket, i64::from(seconds) * 1_000_000);
            }
        }
    }

    /// Sends data; `flush` makes them (and the head) visible to the client now, `last` ends the
    /// response.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn send(&mut self, blocks: &[&[u8]], flush: bool, last: bool) -> Result<(), Gone> {
        for data in blocks.iter().filter(|data| !data.is_empty()) {
            self.sent = self.sent.saturating_add(data.len());
            // SAFETY: a transient bucket refers to `data`, which lives until pass() has returned;
            // filters that keep it longer copy it.
            unsafe {
                self.append(sys::apr_bucket_transient_create(
                    data.as_ptr().cast(),
                    data.len() as sys::apr_size_t,
                    self.allocator(),
                ));
            }
        }
        self.pass(flush, last)
    }

    /// Sends a part of a file, and with `last` the end of the response in the same brigade, so that
    /// httpd can send ranges of it. The descriptor is closed with the request.
    ///
    /// # Errors
    /// [`Gone`], or that there is no such part.
    pub(crate) fn send_file(
        &mut self,
        descriptor: OwnedFd,
        offset: u64,
        length: u64,
        flush: bool,
        last: bool,
    ) -> Result<(), Gone> {
        let (Ok(offset), Ok(length)) =
            (sys::apr_off_t::try_from(offset), sys::apr_off_t::try_from(length))
        else {
            return Err(Gone);
        };
        self.sent = usize::MAX;
        if length == 0 {
            return self.pass(flush, last);
        }
        let settings = self.request.core_settings();
        // Whoever owns the file may truncate it meanwhile. Then the kernel tells its own reads of the
        // mapping that there is nothing (EFAULT), but a read of this process ends it (SIGBUS).
        let may_map = settings.maps_files && self.request.is_sent_untouched();
        let mut flags = sys::APR_FOPEN_READ;
        if self.sends_files || settings.send_file {
            flags |= sys::APR_FOPEN_SENDFILE_ENABLED;
        }
        let mut number = descriptor.as_raw_fd();
        let mut borrowed = std::ptr::null_mut();
        let mut file = std::ptr::null_mut();
        // SAFETY: the first file only lends the number to the second, which has a descriptor and a
        // cleanup of its own in the request's pool: filters that move it to another pool can.
        unsafe {
            let pool = self.pool.as_ptr();
            let status = sys::apr_os_file_put(&raw mut borrowed, &raw mut number, flags, pool);
            if status != sys::APR_SUCCESS
                || sys::apr_file_dup(&raw mut file, borrowed, pool) != sys::APR_SUCCESS
            {
                return Err(Gone);
            }
            sys::mod_wsgi_shim_insert_file(
                self.brigade,
                file,
                offset,
                length,
                i32::from(may_map),
                PIECE,
                pool,
            );
        }
        drop(descriptor);
        self.pass(flush, last)
    }

    /// Ends a response that is not whole, so that the client sees it: no last chunk, no further
    /// request on the connection.
    pub(crate) fn abandon(&mut self) {
        self.request.end_connection();
        // SAFETY: an error bucket of this status is httpd's sign, for its own chunk filter, that a
        // response which has begun is not whole.
        unsafe {
            self.append(sys::ap_bucket_error_create(
                sys::HTTP_BAD_GATEWAY,
                std::ptr::null(),
                self.pool.as_ptr(),
                self.allocator(),
            ));
        }
        // The client may be gone: then it sees it anyway.
        let _ = self.pass(false, true);
    }

    fn pass(&mut self, flush: bool, last: bool) -> Result<(), Gone> {
        // SAFETY: the brigade and its buckets belong to this request; what filters did not take is
        // cleaned away.
        unsafe {
            if flush {
                self.append(sys::apr_bucket_flush_create(self.allocator()));
            }
            if last {
                self.append(sys::apr_bucket_eos_create(self.allocator()));
            }
            if sys::mod_wsgi_shim_brigade_is_empty(self.brigade) != 0 {
                return Ok(());
            }
            let filters = (*self.request.as_ptr()).output_filters;
            let status = sys::ap_pass_brigade(filters, self.brigade);
            sys::apr_brigade_cleanup(self.brigade.cast());
            if status != sys::APR_SUCCESS || self.request.is_aborted() {
                return Err(Gone);
            }
        }
        if last {
            self.write_now();
        }
        Ok(())
    }

    /// Has the end of a small HTTP/1 response written now and not after httpd has logged and cleaned
    /// up: the client goes on meanwhile. Past the request's filters, which must not be made to
    /// flush: they may still compute a Content-Length, or compress. A large rest is left to the
    /// MPM, which writes it without a thread.
    fn write_now(&mut self) {
        if self.sent <= SMALL && self.request.has_own_connection() {
            // An error is seen by httpd at its next write.
            let _ = self.flush_connection();
        }
    }

    /// Has written what the connection's filters hold back, when the end of the response has passed
    /// those of the request.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn flush_connection(&mut self) -> Result<(), Gone> {
        // SAFETY: the connection's filters outlive the request; the brigade is empty and its
        // bucket is new.
        unsafe {
            self.append(sys::apr_bucket_flush_create(self.allocator()));
            let connection = (*self.request.as_ptr()).connection;
            let status = sys::ap_pass_brigade((*connection).output_filters, self.brigade);
            sys::apr_brigade_cleanup(self.brigade.cast());
            if status == sys::APR_SUCCESS && !self.request.is_aborted() {
                Ok(())
            } else {
                Err(Gone)
            }
        }
    }

    fn allocator(&self) -> *mut sys::apr_bucket_alloc_t {
        // SAFETY: the brigade was made with an allocator and keeps it.
        unsafe { (*self.brigade).bucket_alloc }
    }

    fn append(&mut self, bucket: *mut sys::apr_bucket) {
        // SAFETY: the bucket is new and in no brigade.
        unsafe { sys::mod_wsgi_shim_brigade_append(self.brigade, bucket) }
    }
}
