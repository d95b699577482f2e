// SPDX-License-Identifier: Apache-2.0
//! The exchange of embedded mode: httpd's functions, by the table that `mod_wsgi.so` handed over.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use mod_wsgi_protocol::embedded::Host;
use mod_wsgi_protocol::frame::{BodyError, Kind, LAST};
use mod_wsgi_protocol::log::Entry;
use mod_wsgi_protocol::scoreboard::MAX_PART;

use super::{Exchange, Frame, Gone, Progress, ReadError};
use crate::log::ProcessLog;

/// The table, which lives as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostTable(&'static Host);

// SAFETY: the table is constant, and its functions may be called from any thread.
unsafe impl Send for HostTable {}
// SAFETY: as above.
unsafe impl Sync for HostTable {}

impl HostTable {
    /// # Safety
    /// `host` is the table of the build whose id it carries, and was compared with ours.
    pub(crate) unsafe fn new(host: &'static Host) -> Self {
        Self(host)
    }

    /// The table.
    pub(crate) fn table(self) -> &'static Host {
        self.0
    }

    /// The part of httpd's scoreboard that begins at this place, with number 0; empty when the
    /// configuration does not allow it.
    pub(crate) fn scoreboard(self, place: u32) -> Vec<u8> {
        let mut part = vec![0; MAX_PART];
        // SAFETY: `scoreboard` writes at most that many bytes to the address.
        let count = unsafe { (self.0.scoreboard)(place, part.as_mut_ptr(), part.len()) };
        part.truncate(count);
        part
    }

    fn log(self, request: *mut c_void, payload: &[u8]) {
        // SAFETY: `log` reads that many bytes of payload; `request` is null or a request that httpd
        // is in the middle of, see EmbeddedExchange.
        unsafe { (self.0.log)(request, payload.as_ptr(), payload.len()) }
    }
}

/// Lines that belong to no request, in httpd's log.
pub(crate) struct EmbeddedLog(pub(crate) HostTable);

impl ProcessLog for EmbeddedLog {
    fn log(&self, entry: &Entry<'_>) {
        self.0.log(std::ptr::null_mut(), &[&entry.head(), entry.text].concat());
    }
}

/// The exchange of one request that httpd runs on the calling thread.
#[derive(Debug)]
pub(crate) struct EmbeddedExchange {
    /// httpd's functions.
    host: HostTable,
    /// httpd's request.
    request: *mut c_void,
}

// SAFETY: the request is only passed to the functions of the table, which may be called from any
// thread, one at a time (the exchange is behind a lock), until the exchange is dropped.
unsafe impl Send for EmbeddedExchange {}

impl EmbeddedExchange {
    /// # Safety
    /// `request` is a request of httpd's that lasts until the exchange is dropped.
    pub(crate) unsafe fn new(host: HostTable, request: *mut c_void) -> Self {
        Self { host, request }
    }

    /// httpd's request.
    pub(crate) fn request(&self) -> *mut c_void {
        self.request
    }
}

impl Exchange for EmbeddedExchange {
    fn try_send(&mut self, _frame: &Frame<'_>) -> Result<Progress, Gone> {
        // httpd's filters may wait for the client.
        Ok(Progress::Part(0))
    }

    fn send(&mut self, frame: &Frame<'_>, _from: usize) -> Result<(), Gone> {
        let [first, second] = frame.parts;
        let joined;
        let payload = if second.is_empty() {
            first
        } else if first.is_empty() {
            second
        } else {
            joined = [first, second].concat();
            &joined
        };
        if frame.kind == Kind::Log {
            self.host.log(self.request, payload);
            return Ok(());
        }
        // SAFETY: `send` reads that many bytes of payload, of a kind that it takes.
        let result = unsafe {
            (self.host.table().send)(
                self.request,
                frame.kind as u8,
                frame.flags,
                payload.as_ptr(),
                payload.len(),
            )
        };
        if result == 0 { Ok(()) } else { Err(Gone) }
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        whole: bool,
    ) -> Result<(), Gone> {
        let flags = if whole { LAST } else { 0 };
        // SAFETY: `send_file` uses the descriptor during the call only.
        let result = unsafe {
            (self.host.table().send_file)(self.request, file.as_raw_fd(), offset, length, flags)
        };
        if result == 0 { Ok(()) } else { Err(Gone) }
    }

    fn read_body(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, ReadError> {
        let start = buffer.len();
        buffer.resize(start + most, 0);
        let room = buffer.get_mut(start..).unwrap_or_default();
        // SAFETY: `read_body` writes at most that many bytes to the address.
        let count =
            unsafe { (self.host.table().read_body)(self.request, room.as_mut_ptr(), room.len()) };
        if let Ok(count) = usize::try_from(count) {
            buffer.truncate(start + count.min(most));
            return Ok(most == 0 || count > 0);
        }
        buffer.truncate(start);
        let reason = u8::try_from(count.unsigned_abs()).unwrap_or(BodyError::Failed as u8);
        Err(ReadError::Refused(BodyError::from_u8(reason)))
    }
    fn look_up(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let (mut value, mut length) = (std::ptr::null(), 0);
        // SAFETY: `lookup` reads that many bytes of a name, and sets the two before it returns 1, to
        // bytes that stay as long as the request; they are copied here.
        unsafe {
            let found = (self.host.table().lookup)(
                self.request,
                name.as_ptr(),
                name.len(),
                &raw mut value,
                &raw mut length,
            );
            if found != 1 || value.is_null() {
                return Ok(None);
            }
            Ok(Some(std::slice::from_raw_parts(value, length).to_vec()))
        }
    }

    fn request_record(&self) -> Option<NonNull<c_void>> {
        // SAFETY: `request_record` takes a request, and gives the address of httpd's record of it.
        NonNull::new(unsafe { (self.host.table().request_record)(self.request) })
    }
}
