// SPDX-License-Identifier: Apache-2.0
//! The reader of a request body, over an httpd's side that gives what the input says: pieces of any
//! size, an end, or an error. Whatever the application calls, it gets the bytes in order, none lost
//! and none twice, and an error stays.

use mod_wsgi_protocol::frame::BodyError;

use crate::exchange::{Exchange, ReadError};
use crate::python_body::Body;

/// Most calls of one run.
const CALLS: usize = 200;

/// httpd's side, as the input has it.
struct Script<'a> {
    /// The whole body, as far as it comes.
    body: &'a [u8],
    /// How much of it was given.
    given: usize,
    /// Sizes of pieces, one for each pull, again and again.
    sizes: &'a [u8],
    /// Pulls so far.
    pulls: usize,
    /// What stands at the end: an error, or the end.
    error: Option<BodyError>,
}

impl Exchange for Script<'_> {
    fn read_body(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<bool, ReadError> {
        assert!(most <= mod_wsgi_protocol::frame::MAX_DATA);
        self.pulls += 1;
        if most == 0 {
            return Ok(true);
        }
        let rest = &self.body[self.given..];
        if rest.is_empty()
            && let Some(error) = self.error
        {
            return Err(ReadError::Refused(error));
        }
        let size = self.sizes.get(self.pulls % self.sizes.len().max(1)).map_or(1, |size| *size);
        let count = usize::from(size).clamp(1, most).min(rest.len());
        buffer.extend_from_slice(&rest[..count]);
        self.given += count;
        // The end may come with the last bytes or after them.
        Ok(self.error.is_some()
            || self.given < self.body.len()
            || (count > 0 && size.is_multiple_of(2)))
    }
}

/// Reads a body as `data` says: four bytes for lengths, then calls, sizes of pieces, the body.
pub fn run(data: &[u8]) {
    let Some(([initial, announced, calls, error], data)) = data.split_first_chunk::<4>() else {
        return;
    };
    let (calls, data) = data.split_at(usize::from(*calls).min(data.len()));
    let (sizes, whole) = data.split_at(8.min(data.len()));
    let (first, rest) = whole.split_at(usize::from(*initial).min(whole.len()));
    let error = (error % 8 < 5).then(|| BodyError::from_u8(error % 8 + 1));
    let mut script = Script { body: rest, given: 0, sizes, pulls: 0, error };
    // As announced, or not.
    let announced = match announced % 4 {
        0 => whole.len() as i64,
        1 => -1,
        2 => i64::MAX,
        _ => i64::from(*announced),
    };
    let more = !rest.is_empty() || error.is_some();
    let mut body = Body::new(first, more, announced);
    let mut read = Vec::new();
    let mut failed = false;
    for call in calls.iter().take(CALLS) {
        let size = usize::from(call >> 2);
        let before = script.pulls;
        let result = match call & 3 {
            0 => body.fill(&mut script, size),
            1 => body.fill_line(&mut script, size),
            2 => body.provoke(&mut script).map(|()| 0),
            _ if size == 0 => body.fill(&mut script, usize::MAX),
            _ => body.fill_line(&mut script, usize::MAX),
        };
        match result {
            Ok(count) => {
                assert!(!failed || count == 0, "bytes behind an error");
                let bytes = &body.unread()[..count];
                match call & 3 {
                    0 => assert!(count == size || !body.has_more()),
                    1 => assert!(count <= size),
                    _ => {}
                }
                if call & 1 == 1 && (call & 3 != 3 || size != 0) {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    assert!(end.is_none_or(|end| end + 1 == count), "more than a line");
                }
                read.extend_from_slice(bytes);
                body.advance(count);
            }
            Err(reason) => {
                assert_eq!(Some(reason), error.map(ReadError::Refused));
                assert!(!failed || script.pulls == before, "asked again behind an error");
                failed = true;
            }
        }
        assert!(whole.starts_with(&read));
    }
    assert_eq!(body.statistics().1, read.len() as u64);
    if !failed && let Ok(count) = body.fill(&mut script, usize::MAX) {
        read.extend_from_slice(&body.unread()[..count]);
        assert!(error.is_some() && more || read == whole, "bytes are lost");
    }
}
