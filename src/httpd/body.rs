// SPDX-License-Identifier: Apache-2.0
//! Reading the request body through httpd's input filters, no more than was asked for.

use mod_wsgi_protocol::frame::BodyError;

use super::request::Request;
use super::sys;

/// Reads the body of one request.
pub(crate) struct BodyReader<'a> {
    /// Whose body.
    request: Request<'a>,
    /// What filters gave beyond what was asked for.
    left: Vec<u8>,
    /// What filters fill, made once: each costs memory of the request, which lasts as long as it.
    brigade: *mut sys::apr_bucket_brigade,
    /// The end was seen.
    ended: bool,
    /// Why it cannot be read further.
    failed: Option<BodyError>,
    /// httpd's filter has sent an error document for that.
    is_answered: bool,
}

impl<'a> BodyReader<'a> {
    /// A reader; nothing is read yet.
    pub(crate) fn new(request: Request<'a>) -> Self {
        Self {
            request,
            left: Vec::new(),
            brigade: std::ptr::null_mut(),
            ended: false,
            failed: None,
            is_answered: false,
        }
    }

    /// Whose body it is.
    pub(crate) fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// Whether everything has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.ended && self.left.is_empty()
    }

    /// Whether httpd has sent an error document itself, because of what it read: nothing may be sent
    /// behind that, and its handler returns [`ANSWERED`].
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Appends up to `limit` bytes to `out`, at least one unless the body is at its end. Returns
    /// whether it is at its end now.
    ///
    /// # Errors
    /// Why the body cannot be read further, again at every later call.
    pub(crate) fn read(&mut self, limit: usize, out: &mut Vec<u8>) -> Result<bool, BodyError> {
        let start = out.len();
        let kept = limit.min(self.left.len());
        out.extend_from_slice(self.left.get(..kept).unwrap_or_default());
        self.left.drain(..kept);
        while !self.ended && limit > 0 && out.len() == start {
            self.fill(limit, true, out)?;
        }
        // httpd gives one socket buffer at a time: take what else is there already.
        while !self.ended && out.len() - start < limit && self.failed.is_none() {
            let before = out.len();
            // An error is kept and told at the next call: what came before it counts.
            if self.fill(limit - (before - start), false, out).is_err() || out.len() == before {
                break;
            }
        }
        if let Some(beyond) = out.get(start + limit..).filter(|beyond| !beyond.is_empty()) {
            self.left.extend_from_slice(beyond);
            out.truncate(start + limit);
        }
        Ok(self.is_at_end())
    }

    /// Makes httpd send `100 Continue` if the client waits for it. Does not wait for the body.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub(crate) fn provoke_continue(&mut self) -> Result<(), BodyError> {
        if self.ended || !self.left.is_empty() || !self.request.expects_continue() {
            return Ok(());
        }
        let mut left = std::mem::take(&mut self.left);
        let result = self.fill(8192, false, &mut left);
        self.left = left;
        result
    }

    fn fill(&mut self, limit: usize, wait: bool, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(pool) = self.request.pool() else { return Err(BodyError::Failed) };
        let mode = if wait { sys::APR_BLOCK_READ } else { sys::APR_NONBLOCK_READ };
        let limit = sys::apr_off_t::try_from(limit).unwrap_or(8192);
        // SAFETY: the brigade is of the request's pool, which lives as long as the request that
        // `self` borrows, and the connection's allocator; it is used by this thread only, and empty
        // between calls. Bucket data are copied before their bucket is deleted.
        unsafe {
            let record = self.request.as_ptr();
            if self.brigade.is_null() {
                self.brigade =
                    sys::apr_brigade_create(pool.as_ptr(), (*(*record).connection).bucket_alloc);
            }
            let brigade = self.brigade;
            let status = sys::ap_get_brigade(
                (*record).input_filters,
                brigade,
                sys::AP_MODE_READBYTES,
                mode,
                limit,
            );
            let mut result = if status == sys::APR_SUCCESS {
                Ok(())
            } else if !wait && is_would_block(status) {
                sys::apr_brigade_cleanup(brigade.cast());
                return Ok(());
            } else {
                Err(self.reason(status))
            };
            while result.is_ok() && sys::mod_wsgi_shim_brigade_is_empty(brigade) == 0 {
                let bucket = sys::mod_wsgi_shim_brigade_first(brigade);
                if sys::mod_wsgi_shim_bucket_is_eos(bucket) != 0 {
                    self.ended = true;
                } else if sys::mod_wsgi_shim_bucket_is_metadata(bucket) == 0 {
                    let mut data = std::ptr::null();
                    let mut length = 0;
                    let status =
                        sys::mod_wsgi_shim_bucket_read(bucket, &raw mut data, &raw mut length);
                    if status != sys::APR_SUCCESS {
                        result = Err(self.reason(status));
                    } else if length > 0 && !data.is_null() {
                        out.extend_from_slice(std::slice::from_raw_parts(
                            data.cast::<u8>(),
                            length,
                        ));
                    }
                }
                sys::mod_wsgi_shim_bucket_delete(bucket);
            }
            sys::apr_brigade_cleanup(brigade.cast());
            if let Err(error) = result {
                self.failed = Some(error);
            }
            result
        }
    }

    fn reason(&mut self, status: sys::apr_status_t) -> BodyError {
        // SAFETY: compares an integer.
        if unsafe { sys::mod_wsgi_shim_is_timeup(status) } != 0 {
            BodyError::TimedOut
        } else if status == libc::ENOSPC {
            // ap_http_filter's way to say that LimitRequestBody is passed.
            BodyError::TooLarge
        } else if status == sys::AP_FILTER_ERROR {
            // ap_http_filter answers malformed chunks, and chunks beyond LimitRequestBody, before it
            // returns (bail_out_on_error in http_filters.c).
            self.is_answered = true;
            if self.request.status() == 413 { BodyError::TooLarge } else { BodyError::Failed }
        } else if status == libc::EINVAL || status == sys::APR_EGENERAL {
            BodyError::Failed
        } else {
            BodyError::Aborted
        }
    }
}

/// What httpd's handler returns when a filter has answered.
pub(crate) const ANSWERED: i32 = sys::AP_FILTER_ERROR;

/// The HTTP status that says why a body cannot be read.
pub(crate) fn status(error: BodyError) -> u16 {
    match error {
        BodyError::Aborted | BodyError::Failed => 400,
        BodyError::TimedOut => 408,
        BodyError::TooLarge => 413,
        BodyError::Lost => 500,
    }
}

fn is_would_block(status: sys::apr_status_t) -> bool {
    status == libc::EAGAIN || status == libc::EWOULDBLOCK
}
