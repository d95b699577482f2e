// SPDX-License-Identifier: Apache-2.0
//! What becomes of the frames with which an application answers, in both modes: status and headers
//! into the request, data to the client, and in the end what httpd's handler returns. A hook answers
//! with one frame, which is kept for who asked.
#![forbid(unsafe_code)]

mod notes;

use std::fs::File;
use std::os::fd::OwnedFd;

use mod_wsgi_protocol::hook::Answer;
use mod_wsgi_protocol::log::Entry;
use mod_wsgi_protocol::response::{Head, Times};
use mod_wsgi_protocol::wire::{DecodeError, Reader};

use crate::httpd::body;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::httpd::response::{Gone, Repeats, Sender, Taken, take_head};

pub(crate) use notes::{note_process, note_times};

/// Where a response is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing of it has come.
    Waiting,
    /// Head has been taken, data are sent.
    Sending,
    /// All of it is sent; the application goes on.
    Complete,
    /// Data are thrown away: another local URL answers.
    Redirecting(Vec<u8>),
    /// Data are thrown away: httpd's error document for this status answers.
    Overriding(u16),
    /// It is over; what the handler returns.
    Done(i32),
}

/// Why a frame could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The client is gone.
    Gone,
    /// The sender does not keep to the protocol.
    Protocol(DecodeError),
}

impl From<Gone> for Problem {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error)
    }
}

const OUT_OF_ORDER: Problem = Problem::Protocol(DecodeError::Invalid("order of frames"));

/// The first header whose line would be longer than the limit.
fn too_long<'a>(head: &Head<'a>, limit: usize) -> Option<&'a [u8]> {
    // "Name: value".
    let is_long = |(name, value): &(&[u8], &[u8])| name.len() + value.len() + 2 > limit;
    if limit == 0 { None } else { head.headers().find(is_long).map(|(name, _)| name) }
}

/// How a response is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How repeated header names are sent; also whether a local Location redirects.
    pub(crate) repeats: Repeats,
    /// Whether httpd's error documents answer in place of an application's 4xx and 5xx.
    pub(crate) overrides_errors: bool,
    /// Whether the kernel may send files, whatever core's EnableSendfile says.
    pub(crate) sends_files: bool,
    /// Longest header line that is taken, in bytes; 0 is unlimited.
    pub(crate) header_limit: usize,
    /// Seconds for one write to the client; 0 is httpd's `Timeout`.
    pub(crate) client_timeout: u32,
}

/// What is expected of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// A response.
    Response(Manner),
    /// The answer of a hook.
    Answer,
}

/// Turns frames into one response, or keeps the answer of a hook.
pub(crate) struct Responder<'a> {
    /// Whose response.
    request: Request<'a>,
    /// Sends the data.
    sender: Sender<'a>,
    /// What is to come.
    expected: Expected,
    /// Where the response is.
    state: State,
    /// What the hook said.
    answer: Option<Answer>,
    /// httpd has answered itself: what comes is thrown away.
    is_answered: bool,
    /// When the request was run, once that is over.
    times: Option<Times>,
}

impl<'a> Responder<'a> {
    /// A responder; nothing has come yet.
    pub(crate) fn new(request: Request<'a>, manner: Manner) -> Option<Self> {
        let sender = Sender::new(request, manner.sends_files)?;
        Some(Self {
            request,
            sender,
            expected: Expected::Response(manner),
            state: State::Waiting,
            answer: None,
            is_answered: false,
            times: None,
        })
    }

    /// One that waits for the answer of a hook.
    pub(crate) fn for_hook(request: Request<'a>) -> Option<Self> {
        Some(Self {
            request,
            sender: Sender::new(request, false)?,
            expected: Expected::Answer,
            state: State::Waiting,
            answer: None,
            is_answered: false,
            times: None,
        })
    }

    /// httpd has answered itself, because of what it read of the body: nothing may follow.
    pub(crate) fn httpd_has_answered(&mut self) {
        self.is_answered = true;
        if matches!(self.state, State::Sending | State::Redirecting(_)) {
            self.state = State::Overriding(500);
        }
    }

    /// When the request was run, once that is over.
    pub(crate) fn times(&self) -> Option<Times> {
        self.times
    }

    /// Whether nothing of the response has come yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// `Head`: status, headers and first data.
    ///
    /// # Errors
    /// The client is gone, or the frame makes no sense here.
    pub(crate) fn head(&mut self, payload: &[u8], last: bool, flush: bool) -> Result<(), Problem> {
        let (Expected::Response(manner), State::Waiting) = (self.expected, &self.state) else {
            return Err(OUT_OF_ORDER);
        };
        let payload = if last { self.take_times(payload)? } else { payload };
        let head = Head::decode(payload)?;
        if self.is_answered {
            self.state = State::Overriding(500);
            return self.pass(&[head.data], last, false);
        }
        self.sender.limit_writes(manner.client_timeout);
        if let Some(name) = too_long(&head, manner.header_limit) {
            let text = format!(
                "WSGI0144: Response header '{}' is longer than header-buffer-size allows ({})",
                String::from_utf8_lossy(name),
                manner.header_limit
            );
            log::request(&self.request, Level::Error, text.as_bytes());
            self.state = State::Overriding(500);
            return self.pass(&[head.data], last, false);
        }
        self.state = match take_head(&self.request, &head, manner.repeats) {
            Taken::Redirect(location) if manner.repeats == Repeats::Merged => {
                State::Redirecting(location)
            }
            _ if manner.overrides_errors && (400..600).contains(&head.status) => {
                // httpd makes no error document for a request that has a status of its own.
                self.request.set_status(200, None);
                State::Overriding(head.status)
            }
            _ => State::Sending,
        };
        // A head alone waits for what follows: httpd sends ranges only of what it gets at once.
        self.pass(&[head.data], last, flush && !head.data.is_empty())
    }

    /// `Data`, of one frame or of several that follow one another.
    ///
    /// # Errors
    /// As for [`Self::head`].
    pub(crate) fn data(&mut self, blocks: &[&[u8]], flush: bool) -> Result<(), Problem> {
        match self.state {
            State::Sending | State::Redirecting(_) | State::Overriding(_) => {
                self.pass(blocks, false, flush)
            }
            State::Waiting | State::Complete | State::Done(_) => Err(OUT_OF_ORDER),
        }
    }

    /// Makes what was sent so far visible to the client.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        match self.state {
            State::Sending => self.sender.send(&[], true, false),
            State::Complete => self.sender.flush_connection(),
            _ => Ok(()),
        }
    }

    /// `File`: payload and the descriptor that came with it; `whole` when nothing but an end follows.
    ///
    /// # Errors
    /// As for [`Self::head`].
    pub(crate) fn file(
        &mut self,
        payload: &[u8],
        descriptor: OwnedFd,
        whole: bool,
        flush: bool,
    ) -> Result<(), Problem> {
        let mut reader = Reader::new(payload);
        let (offset, length) = (reader.u64()?, reader.u64()?);
        match self.state {
            State::Sending => {
                // Reading a pipe or a device may wait, or not end.
                let file = File::from(descriptor);
                if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                    return Err(Problem::Protocol(DecodeError::Invalid("descriptor of a file")));
                }
                if whole {
                    self.state = State::Complete;
                }
                Ok(self.sender.send_file(file.into(), offset, length, flush, whole)?)
            }
            State::Redirecting(_) | State::Overriding(_) => Ok(()),
            State::Waiting | State::Complete | State::Done(_) => Err(OUT_OF_ORDER),
        }
    }

    /// `Log`: the entry belongs to the request.
    ///
    /// # Errors
    /// The frame is empty.
    pub(crate) fn log(&self, payload: &[u8]) -> Result<(), Problem> {
        log::request_entry(&self.request, &Entry::decode(payload)?);
        Ok(())
    }

    /// `End`.
    ///
    /// # Errors
    /// As for [`Self::head`].
    pub(crate) fn end(&mut self, payload: &[u8], incomplete: bool) -> Result<(), Problem> {
        self.take_times(payload)?;
        match self.state {
            State::Waiting | State::Done(_) => Err(OUT_OF_ORDER),
            State::Overriding(_) => self.pass(&[], true, false),
            State::Complete => {
                self.state = State::Done(0);
                Ok(())
            }
            State::Sending | State::Redirecting(_) if incomplete => {
                self.abandon();
                Ok(())
            }
            State::Sending | State::Redirecting(_) => self.pass(&[], true, false),
        }
    }

    /// All of the response has come, and its `End` will not.
    pub(crate) fn end_without_word(&mut self) {
        match self.state {
            // When the client is gone, nobody has to be told.
            State::Sending | State::Redirecting(_) | State::Overriding(_) => {
                let _ = self.pass(&[], true, false);
            }
            State::Complete => self.state = State::Done(0),
            State::Waiting | State::Done(_) => {}
        }
    }

    /// `Answer`: what the hook said.
    ///
    /// # Errors
    /// The frame makes no sense here.
    pub(crate) fn answer(&mut self, payload: &[u8]) -> Result<(), Problem> {
        if self.expected != Expected::Answer || self.state != State::Waiting {
            return Err(OUT_OF_ORDER);
        }
        self.answer = Some(Answer::decode(payload)?);
        self.state = State::Done(0);
        Ok(())
    }

    /// What the hook said, if it said anything.
    pub(crate) fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// `Error`: httpd makes the error document, for another status where it knows better.
    ///
    /// # Errors
    /// The frame makes no sense here.
    pub(crate) fn error(&mut self, payload: &[u8], instead: Option<u16>) -> Result<(), Problem> {
        let status = Reader::new(self.take_times(payload)?).u16()?;
        let status = instead.unwrap_or(status);
        if self.state != State::Waiting || !(400..600).contains(&status) {
            return Err(OUT_OF_ORDER);
        }
        self.state = State::Done(i32::from(status));
        Ok(())
    }

    /// The rest of the response will not come: makes that visible, if any of it was sent.
    pub(crate) fn abandon(&mut self) {
        let status = match self.state {
            State::Sending => {
                self.sender.abandon();
                0
            }
            State::Overriding(status) => i32::from(status),
            // Nothing of it was sent, and who it was to name may not have been meant.
            State::Redirecting(_) => {
                self.request.set_status(200, None);
                502
            }
            State::Waiting | State::Complete | State::Done(_) => 0,
        };
        self.state = State::Done(status);
    }

    /// As [`Self::abandon`], but leaves a response that has not begun to an error document.
    pub(crate) fn abandon_unless_waiting(&mut self) {
        if !self.is_waiting() {
            self.abandon();
        }
    }

    /// Whether the client has all of the response, or httpd all that is left to be sent.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether the response is over.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// What the handler returns; `otherwise` when no response came.
    pub(crate) fn finish(&self, otherwise: i32) -> i32 {
        match self.state {
            _ if self.is_answered => body::ANSWERED,
            State::Done(status) => status,
            State::Waiting => otherwise,
            State::Overriding(status) => i32::from(status),
            State::Sending | State::Complete | State::Redirecting(_) => 0,
        }
    }

    /// Takes what stands behind the payload of a frame that ends the response; returns the rest.
    fn take_times<'p>(&mut self, payload: &'p [u8]) -> Result<&'p [u8], DecodeError> {
        let (payload, times) = Times::split(payload)?;
        self.times = Some(times);
        Ok(payload)
    }

    fn pass(&mut self, blocks: &[&[u8]], last: bool, flush: bool) -> Result<(), Problem> {
        if let State::Redirecting(location) = &self.state {
            if last {
                let location = location.clone();
                self.state = State::Done(0);
                self.request.redirect_to(&location);
            }
            return Ok(());
        }
        if let State::Overriding(status) = self.state {
            if last {
                self.state = State::Done(i32::from(status));
            }
            return Ok(());
        }
        let result = self.sender.send(blocks, flush, last);
        if last || result.is_err() {
            self.state = State::Done(0);
        }
        Ok(result?)
    }
}
