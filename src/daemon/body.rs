// SPDX-License-Identifier: Apache-2.0
//! The request body in daemon mode: what is collected before a thread of a process is taken
//! (`body-spool=`), and what answers the process when its application reads on. What is collected
//! stays until the request is over, so that another process can be given it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use mod_wsgi_protocol::frame::{self, BodyError, Kind, MAX_DATA, MAX_INITIAL_BODY};

use super::connection::{Connection, Failure};
use crate::config::body_spool::BodySpool;
use crate::httpd::body::{self, BodyReader};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::os::temporary;

/// The body of one request: first what was collected, then what is still to be had of the client.
pub(super) struct RequestBody<'a> {
    /// What is still to be had.
    reader: BodyReader<'a>,
    /// Content-Length, if there is one.
    announced: Option<i64>,
    /// Whether there is anything behind what was collected.
    more: bool,
    /// Beginning of the body, as far as it was collected in memory.
    memory: Vec<u8>,
    /// What was collected behind that.
    file: Option<Spooled>,
    /// Bytes of what was collected that the process has been given.
    position: u64,
    /// The process has been given bytes that are not kept.
    is_spent: bool,
    /// Why the process was given no more.
    refused: Option<BodyError>,
}

/// A part of a body in a temporary file.
#[derive(Debug)]
struct Spooled {
    /// The file.
    file: File,
    /// Its length.
    length: u64,
}

/// Why a body was not collected.
#[derive(Debug)]
pub(super) enum CollectError {
    /// It cannot be read.
    Client(BodyError),
    /// It cannot be kept.
    Disk(io::Error),
}

impl From<BodyError> for CollectError {
    fn from(error: BodyError) -> Self {
        Self::Client(error)
    }
}

impl<'a> RequestBody<'a> {
    /// The body of a request, nothing of which has been read.
    pub(super) fn new(request: &Request<'a>) -> Self {
        let headers = request.headers();
        let is_chunked = headers.is_some_and(|headers| headers.get(c"Transfer-Encoding").is_some());
        let announced = headers
            .and_then(|headers| headers.get(c"Content-Length"))
            .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
        Self {
            reader: BodyReader::new(*request),
            announced,
            more: is_chunked || announced.is_some_and(|length: i64| length > 0),
            memory: Vec::new(),
            file: None,
            position: 0,
            is_spent: false,
            refused: None,
        }
    }

    /// Content-Length, if there is one.
    pub(super) fn announced(&self) -> Option<i64> {
        self.announced
    }

    /// Why the process was given no more, if that is so.
    pub(super) fn refused(&self) -> Option<BodyError> {
        self.refused
    }

    /// Whether httpd has sent an error document itself, because of what it read.
    pub(super) fn is_answered(&self) -> bool {
        self.reader.is_answered()
    }

    /// Reads as much of the body ahead as the configuration says.
    ///
    /// # Errors
    /// It cannot be read or kept; nothing will come of the request.
    pub(super) fn collect(&mut self, spool: BodySpool) -> Result<(), CollectError> {
        let announced = self.announced.and_then(|length| usize::try_from(length).ok());
        let fits = announced.is_some_and(|length| length <= spool.memory);
        let is_wanted = self.more
            && spool.memory > 0
            && (fits || spool.disk)
            && !self.reader.request().expects_continue();
        if !is_wanted {
            return Ok(());
        }
        while self.memory.len() < spool.memory {
            let length = self.memory.len();
            let left = announced.map_or(0, |announced| announced.saturating_sub(length));
            // Memory that is not written to costs nothing; an input filter may make more of the
            // body than was announced.
            let step = left.clamp(UNANNOUNCED_STEP, MAX_DATA).min(spool.memory - length);
            if self.memory.capacity() - length < step {
                let room = left.max(length).clamp(step, spool.memory - length);
                if self.memory.try_reserve_exact(room).is_err() {
                    // It is pulled.
                    return Ok(());
                }
            }
            if self.reader.read(step, &mut self.memory)? {
                self.more = false;
                return Ok(());
            }
        }
        if spool.disk { self.collect_on_disk() } else { Ok(()) }
    }

    fn collect_on_disk(&mut self) -> Result<(), CollectError> {
        let file = temporary::unnamed_file().map_err(CollectError::Disk)?;
        let mut length = 0;
        let mut data = Vec::with_capacity(MAX_DATA);
        while self.more {
            data.clear();
            self.more = !self.reader.read(MAX_DATA, &mut data)?;
            file.write_all_at(&data, length).map_err(CollectError::Disk)?;
            length += data.len() as u64;
        }
        self.file = Some(Spooled { file, length });
        Ok(())
    }

    /// What goes with the request itself.
    pub(super) fn first_part(&self) -> &[u8] {
        self.memory.get(..MAX_INITIAL_BODY).unwrap_or(&self.memory)
    }

    /// Whether that is all.
    pub(super) fn is_whole_in_first_part(&self) -> bool {
        !self.more && self.file.is_none() && self.memory.len() <= MAX_INITIAL_BODY
    }

    /// Makes it ready for a process that is sent the first part. False when an earlier process was
    /// given bytes that are not there any more.
    pub(super) fn rewind(&mut self) -> bool {
        self.position = self.first_part().len() as u64;
        !self.is_spent
    }

    /// Answers `Pull`.
    ///
    /// # Errors
    /// The process does not take the answer.
    pub(super) fn answer_pull(
        &mut self,
        connection: &Connection,
        wanted: u32,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let limit = (wanted as usize).min(MAX_DATA);
        let mut data = Vec::new();
        let result = match self.kept(limit, &mut data) {
            Ok(None) if limit == 0 => self.reader.provoke_continue().map(|()| &[][..]),
            Ok(None) if self.more => {
                self.is_spent = true;
                data.reserve_exact(limit);
                self.reader.read(limit, &mut data).map(|at_end| {
                    self.more = !at_end;
                    data.as_slice()
                })
            }
            Ok(None) => Ok(&[][..]),
            Ok(Some(count)) => {
                let start = usize::try_from(self.position).unwrap_or(usize::MAX);
                self.position += count as u64;
                // Bytes of the file are in `data`, those in memory are where they are.
                Ok(match self.memory.get(start..start.saturating_add(count)) {
                    Some(part) => part,
                    None => data.as_slice(),
                })
            }
            Err(error) => {
                self.log_disk(&error);
                Err(BodyError::Lost)
            }
        };
        match result {
            Ok(data) => {
                let is_last = !self.more && self.position >= self.kept_length();
                let flags = if is_last { frame::LAST } else { 0 };
                connection.send(Kind::Body, flags, data, Some(timeout))
            }
            Err(error) => {
                self.refused = Some(error);
                connection.send(Kind::BodyError, 0, &[error as u8], Some(timeout))
            }
        }
    }

    fn kept_length(&self) -> u64 {
        self.memory.len() as u64 + self.file.as_ref().map_or(0, |file| file.length)
    }

    /// How many bytes from `position` on are to be given, of those that were collected; puts them
    /// into `data` when they are in the file. None when all of them have been given.
    fn kept(&self, limit: usize, data: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let in_memory = self.memory.len() as u64;
        if self.position >= self.kept_length() {
            return Ok(None);
        }
        if let Some(left) = in_memory.checked_sub(self.position).filter(|left| *left > 0) {
            return Ok(Some(limit.min(usize::try_from(left).unwrap_or(limit))));
        }
        let Some(Spooled { file, length }) = &self.file else { return Ok(None) };
        let at = self.position - in_memory;
        let count = limit.min(usize::try_from(length.saturating_sub(at)).unwrap_or(limit));
        data.resize(count, 0);
        file.read_exact_at(data, at)?;
        Ok(Some(count))
    }

    /// Says why nothing comes of a request whose body was not collected; returns what httpd's handler
    /// returns.
    pub(super) fn failed(&self, error: &CollectError) -> i32 {
        match error {
            CollectError::Client(error) => {
                let (level, text) = match error {
                    BodyError::Aborted => (Level::Info, "the client closed the connection"),
                    BodyError::TimedOut => (Level::Error, "the client sent nothing in time"),
                    BodyError::TooLarge => (Level::Error, "it is longer than LimitRequestBody"),
                    BodyError::Failed => (Level::Error, "it is malformed"),
                    BodyError::Lost => (Level::Error, "what was kept of it is lost"),
                };
                let text = format!("WSGI0126: The request body cannot be read: {text}");
                log::request(self.reader.request(), level, text.as_bytes());
                if self.is_answered() { body::ANSWERED } else { i32::from(body::status(*error)) }
            }
            CollectError::Disk(error) => {
                self.log_disk(error);
                // What the client still sends is not waited for.
                self.reader.request().end_connection();
                let is_full =
                    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG));
                if is_full { 507 } else { 500 }
            }
        }
    }

    /// As [`Self::failed`], for a body that a process was given a part of.
    pub(super) fn failed_midway(&self) -> i32 {
        self.failed(&CollectError::Client(self.refused.unwrap_or(BodyError::Failed)))
    }

    fn log_disk(&self, error: &io::Error) {
        let text = format!(
            "WSGI0360: The request body cannot be kept in a temporary file in {}, or not be read from it: {error}: make room there, set TMPDIR for httpd, or write body-spool= without disk",
            temporary::folder().display()
        );
        log::request(self.reader.request(), Level::Error, text.as_bytes());
    }
}

/// Bytes that are asked for at once when it is not known how many there are.
const UNANNOUNCED_STEP: usize = 16 << 10;
