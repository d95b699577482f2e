// SPDX-License-Identifier: Apache-2.0
//! `wsgi.file_wrapper`: when the application returns a wrapped regular file, httpd gets the file
//! itself instead of its bytes. The class is Python source in `api`; here is the fast path.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd, RawFd};

use mod_wsgi_protocol::frame::{INCOMPLETE, Kind};

use super::call::{Call, transmit};
use super::output::{Ending, Stop};
use crate::exchange::Frame;
use crate::interp::{Attached, Class, Exception, Object, PyResult, clear_exception};
use crate::os;
use crate::timing::timed;

/// An open regular file, and the part of it that is to be sent.
pub(super) struct FilePart {
    /// A descriptor of our own, so that the application may close its one; with a position of its
    /// own, since httpd may still read when the application uses the file for another request.
    file: OwnedFd,
    /// Where to begin.
    offset: u64,
    /// Bytes from there to the end of the file.
    rest: u64,
}

impl FilePart {
    /// What `result`, a file wrapper, wraps; nothing when it has to be read block by block.
    pub(super) fn of<'py>(py: Attached<'py>, result: &Object<'py>) -> PyResult<Option<Self>> {
        match Self::try_of(py, result) {
            Ok(part) => Ok(part),
            Err(raised) => {
                // Objects without descriptor or position say so with an exception of some kind.
                if let Some(exception) = Exception::take(py)
                    && !exception.is(Class::Exception)
                {
                    exception.restore();
                    return Err(raised);
                }
                clear_exception(py);
                Ok(None)
            }
        }
    }

    fn try_of<'py>(py: Attached<'py>, result: &Object<'py>) -> PyResult<Option<Self>> {
        let wrapped = result.attribute(py, c"filelike")?;
        let number = wrapped.call_method(py, c"fileno", [])?;
        let Some(number) = number.as_plain_integer(py).and_then(|n| RawFd::try_from(n).ok()) else {
            return Ok(None);
        };
        let position = wrapped.call_method(py, c"tell", [])?;
        let Some(offset) = position.as_plain_integer(py).and_then(|n| u64::try_from(n).ok()) else {
            return Ok(None);
        };
        let Some((file, size)) = os::open_again(number) else { return Ok(None) };
        Ok(Some(Self { file, offset, rest: size.saturating_sub(offset) }))
    }
}

impl Call {
    /// Sends the part of a file as the whole response. Nothing when the response must be sent in
    /// blocks after all: it has begun, or has no body.
    pub(super) fn output_file(
        &self,
        py: Attached<'_>,
        part: &FilePart,
    ) -> Result<Option<Ending>, Stop> {
        let mut state = self.lock(py);
        let state = &mut *state;
        let Some(head) = state.head.as_ref().filter(|_| !state.response.committed) else {
            return Ok(None);
        };
        if !head.allows_body() {
            return Ok(None);
        }
        let given = head
            .content_length()
            .map_err(|invalid| py.raise(Class::Value, &invalid.to_string()))?;
        let length = given.unwrap_or(part.rest).min(part.rest);
        let mut payload = Vec::new();
        head.encode(&mut payload, given.is_none().then_some(part.rest));
        let Some(exchange) = state.exchange.as_deref_mut() else { return Ok(None) };
        let response = &mut state.response;
        response.committed = true;
        response.length = Some(given.unwrap_or(part.rest));
        let frame = Frame { kind: Kind::Head, flags: 0, parts: [&payload, &[]] };
        let spent = &mut response.writing;
        let mut sent = transmit(py, exchange, &frame, spent);
        let is_short = given.is_some_and(|given| given > length) && !response.is_head_request;
        if sent.is_ok() && length > 0 && !response.is_head_request {
            let file = part.file.as_fd();
            sent = py.detach(|| {
                timed(spent, || exchange.send_file(file, part.offset, length, !is_short))
            });
        }
        if let Err(gone) = sent {
            response.gone = true;
            return Err(gone.into());
        }
        response.sent = length;
        response.writes += 1;
        Ok(Some(Ending::End(if is_short { INCOMPLETE } else { 0 })))
    }
}
