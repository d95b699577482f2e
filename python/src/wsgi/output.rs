// SPDX-License-Identifier: Apache-2.0
//! From blocks of bytes to frames of the response: the head goes with the first block, what is
//! beyond `Content-Length` is dropped, and a response of known length is one frame.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::frame::{INCOMPLETE, Kind, LAST, MAX_DATA};
use mod_wsgi_protocol::hook::Answer;
use mod_wsgi_protocol::response::{HeadWriter, Times};

use super::call::{Call, State, request_is_over, transmit};
use crate::exchange::{Exchange, Frame, Gone};
use crate::interp::{Attached, Class, PyResult, Raised};

/// Why an output did not happen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// An exception is set.
    Raised,
    /// The client is gone; no exception is set.
    Gone,
}

impl From<Raised> for Stop {
    fn from(Raised: Raised) -> Self {
        Self::Raised
    }
}

impl From<Gone> for Stop {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// What is left to be said at the end, when no Python object is needed any more.
#[derive(Debug)]
pub(super) enum Ending {
    /// One frame with the whole response.
    Whole(Vec<u8>),
    /// An `End` frame with these flags.
    End(u8),
    /// An `Error` frame with this HTTP status.
    Error(u16),
    /// An `Answer` frame: what a hook said.
    Answer(Answer),
    /// Nothing: it is said, or nobody listens.
    Silent,
}

impl Ending {
    /// Sends it; called without the GIL.
    pub(super) fn send(self, exchange: &mut dyn Exchange, times: Times) -> Result<(), Gone> {
        let times = times.encode();
        let (kind, flags, payload) = match self {
            Self::Whole(mut payload) => {
                payload.extend_from_slice(&times);
                (Kind::Head, LAST, payload)
            }
            Self::End(flags) => (Kind::End, flags, times.to_vec()),
            Self::Error(status) => (Kind::Error, 0, [&status.to_le_bytes()[..], &times].concat()),
            Self::Answer(answer) => (Kind::Answer, 0, answer.encode()),
            Self::Silent => return Ok(()),
        };
        exchange.send(&Frame { kind, flags, parts: [&payload, &[]] }, 0)
    }
}

/// A body up to this size goes with its head in one frame that is copied.
const LARGEST_WHOLE: usize = 128 << 10;

fn length_of(py: Attached<'_>, state: &State) -> PyResult<Option<u64>> {
    let Some(head) = &state.head else {
        let message = "start_response() must be called before response content is produced";
        return Err(py.raise(Class::Runtime, message));
    };
    head.content_length().map_err(|invalid| py.raise(Class::Value, &invalid.to_string()))
}

/// Outputs one block; an empty one sends the head at least. `is_last` says that nothing follows:
/// its frame then ends the response where it can.
fn send_block(
    py: Attached<'_>,
    state: &mut State,
    data: &[u8],
    added_length: Option<u64>,
) -> Result<(), Stop> {
    if state.response.gone {
        return Err(Stop::Gone);
    }
    let mut head = Vec::new();
    if !state.response.committed {
        state.response.length = added_length.or(length_of(py, state)?);
        if let Some(pending) = &state.head {
            pending.encode(&mut head, added_length);
        }
        state.response.committed = true;
    }
    let Some(exchange) = state.exchange.as_deref_mut() else {
        return Err(request_is_over(py, "write() called").into());
    };
    let response = &mut state.response;
    response.writes += 1;
    let room = response.length.map_or(u64::MAX, |length| length - response.sent.min(length));
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let mut data = data.get(..room).unwrap_or(data);
    while !data.is_empty() || !head.is_empty() {
        let kind = if head.is_empty() { Kind::Data } else { Kind::Head };
        let (part, rest) = data.split_at(data.len().min(MAX_DATA));
        let frame = Frame { kind, flags: 0, parts: [&head, part] };
        if let Err(gone) = transmit(py, exchange, &frame, &mut response.writing) {
            response.gone = true;
            return Err(gone.into());
        }
        response.sent += part.len() as u64;
        head.clear();
        data = rest;
    }
    Ok(())
}

impl Call {
    /// Outputs one block; an empty one sends the head at least.
    pub(super) fn output(&self, py: Attached<'_>, data: &[u8]) -> Result<(), Stop> {
        let mut state = self.lock_if_free(py)?;
        if state.exchange.is_none() {
            return Err(request_is_over(py, "write() called").into());
        }
        send_block(py, &mut state, data, None)
    }

    /// Outputs the head of a response without body.
    pub(super) fn output_nothing(&self, py: Attached<'_>) -> Result<Ending, Stop> {
        let mut state = self.lock(py);
        length_of(py, &state)?;
        let is_head_request = state.response.is_head_request;
        let may_add =
            state.head.as_ref().is_some_and(|head| head.may_add_length(0, is_head_request));
        send_block(py, &mut state, &[], may_add.then_some(0))?;
        Ok(Self::ending_of(&state))
    }

    /// Outputs a whole body of which all blocks are there.
    pub(super) fn output_whole(&self, py: Attached<'_>, blocks: &[&[u8]]) -> Result<Ending, Stop> {
        let mut state = self.lock(py);
        let state = &mut *state;
        if state.response.gone {
            return Err(Stop::Gone);
        }
        let size = blocks.iter().map(|block| block.len()).sum::<usize>();
        if state.response.committed {
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                send_block(py, state, block, None)?;
            }
            return Ok(Self::ending_of(state));
        }
        let length = length_of(py, state)?;
        let Some(head) = &state.head else { return Err(Stop::Raised) };
        let added =
            head.may_add_length(size, state.response.is_head_request).then_some(size as u64);
        if size > LARGEST_WHOLE {
            if blocks.iter().all(|block| block.is_empty()) {
                send_block(py, state, &[], added)?;
            }
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                send_block(py, state, block, added)?;
            }
            return Ok(Self::ending_of(state));
        }
        let response = &mut state.response;
        let known = length.or(added);
        let room = known.map_or(size, |length| usize::try_from(length).unwrap_or(size).min(size));
        let is_short = known.is_some_and(|length| length > room as u64);
        if is_short && head.allows_body() && !response.is_head_request {
            for block in blocks.iter().filter(|block| !block.is_empty()) {
                send_block(py, state, block, None)?;
            }
            if !state.response.committed {
                send_block(py, state, &[], None)?;
            }
            return Ok(Self::ending_of(state));
        }
        let mut payload = Vec::new();
        head.encode(&mut payload, added);
        let end = payload.len() + room;
        payload.reserve(room + Times::SIZE);
        for block in blocks {
            payload.extend_from_slice(block);
        }
        payload.truncate(end);
        response.committed = true;
        response.length = known;
        response.sent = room as u64;
        response.writes += blocks.len() as u64;
        Ok(Ending::Whole(payload))
    }

    /// How a response ends whose blocks are all sent.
    pub(super) fn ending(&self, py: Attached<'_>) -> Ending {
        Self::ending_of(&self.lock(py))
    }

    fn ending_of(state: &State) -> Ending {
        let response = &state.response;
        if response.gone {
            return Ending::Silent;
        }
        let allows_body = state.head.as_ref().is_none_or(super::head::Head::allows_body);
        let is_short = response.length.is_some_and(|length| length > response.sent)
            && allows_body
            && !response.is_head_request;
        Ending::End(if is_short { INCOMPLETE } else { 0 })
    }

    /// How a response ends whose request was out of time: as mod_wsgi has it, 504 without a body
    /// where nothing is sent. What `close()` writes comes too late.
    pub(super) fn ending_of_timeout(&self, py: Attached<'_>) -> Ending {
        let ending = self.ending_of_failure(py, 504);
        if !matches!(ending, Ending::Error(_)) {
            return ending;
        }
        self.lock(py).response.gone = true;
        let mut payload = Vec::new();
        let mut head = HeadWriter::new(&mut payload, 504, b"504 Gateway Timeout");
        head.header(b"Content-Length", b"0");
        head.finish();
        Ending::Whole(payload)
    }

    /// How a response ends whose application failed: with an error document where nothing is sent,
    /// incomplete where it is not known that all of it is.
    pub(super) fn ending_of_failure(&self, py: Attached<'_>, status: u16) -> Ending {
        let state = self.lock(py);
        let response = &state.response;
        if response.gone {
            Ending::Silent
        } else if !response.committed {
            Ending::Error(status)
        } else if response.length.is_some_and(|length| length <= response.sent) {
            Ending::End(0)
        } else {
            Ending::End(INCOMPLETE)
        }
    }
}
