// SPDX-License-Identifier: Apache-2.0
//! The decoders of the protocol: a stream of frames, and the messages that come whole. The first byte
//! says which. What is decoded must be sound, and what can be encoded again must come out the same.

use mod_wsgi_protocol::cause::Cause;
use mod_wsgi_protocol::control::{Control, Lease};
use mod_wsgi_protocol::frame::{BodyError, HEADER_SIZE, Header, Kind, Reject};
use mod_wsgi_protocol::hook::{self, Answer, Hook};
use mod_wsgi_protocol::request::Request;
use mod_wsgi_protocol::response::Head;
use mod_wsgi_protocol::scoreboard::Question;
use mod_wsgi_protocol::settings::Settings;
use mod_wsgi_protocol::wire::Reader;

/// Decodes `data` as what its first byte says.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    match first % 5 {
        0 => stream(rest),
        1 => settings(rest),
        2 => {
            if let Ok((control, value)) = Control::decode(rest) {
                assert_eq!(Control::decode(&control.encode(value)), Ok((control, value)));
            }
            if let Ok(question) = Question::decode(rest) {
                assert_eq!(Question::decode(&question.encode()), Ok(question));
            }
        }
        3 => {
            if let Ok(lease) = Lease::decode(rest) {
                assert_eq!(Lease::decode(&lease.encode()), Ok(lease));
            }
        }
        _ => {
            if let Some(word) = rest.first_chunk::<4>().map(|word| u32::from_le_bytes(*word))
                && let Some(cause) = Cause::decode(word)
            {
                assert_eq!(Cause::decode(cause.encode()), Some(cause));
            }
        }
    }
}

/// Frame after frame, as both sides read them.
fn stream(mut data: &[u8]) {
    while let Some((header, rest)) = data.split_first_chunk::<HEADER_SIZE>() {
        let Ok(header) = Header::decode(header) else { return };
        assert!(header.length <= header.kind.max_payload());
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        let Some((payload, rest)) = rest.split_at_checked(header.length) else { return };
        frame(header.kind, payload);
        data = rest;
    }
}

fn frame(kind: Kind, payload: &[u8]) {
    let mut reader = Reader::new(payload);
    match kind {
        Kind::Request => request(payload),
        Kind::Head => head(payload),
        Kind::Answer => {
            if let Ok(answer) = Answer::decode(payload) {
                assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
            }
        }
        Kind::BodyError => {
            if let Some(number) = payload.first() {
                let error = BodyError::from_u8(*number);
                assert_eq!(BodyError::from_u8(error as u8), error);
            }
        }
        Kind::Reject => {
            if let Some(reason) = payload.first().copied().and_then(Reject::from_u8) {
                assert_eq!(Reject::from_u8(reason as u8), Some(reason));
            }
        }
        Kind::File => {
            let _ = reader.u64().and_then(|_| reader.u64());
        }
        Kind::Pull => {
            let _ = reader.u32();
        }
        Kind::Error => {
            let _ = reader.u16();
        }
        _ => {}
    }
}

fn request(payload: &[u8]) {
    let Ok(request) = Request::decode(payload) else { return };
    assert_ne!(request.head.mark, 0);
    let mut bytes = request.initial_body.len();
    for (_, value) in request.entries() {
        bytes += value.len();
    }
    assert!(bytes <= payload.len());
    if request.head.hook != Hook::None {
        let _ = hook::decode_arguments(request.initial_body);
    }
    let mut again = Vec::new();
    request.head.encode(&mut again);
    assert!(payload.starts_with(&again[..2 * size_of::<u32>()]));
}

fn head(payload: &[u8]) {
    let Ok(head) = Head::decode(payload) else { return };
    assert!(head.status <= 999 && head.status_line.len() >= 3);
    let breaks = |text: &[u8]| text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    assert!(!breaks(head.status_line));
    let mut bytes = head.data.len();
    for (name, value) in head.headers() {
        assert!(!name.is_empty() && !breaks(name) && !breaks(value));
        bytes += name.len() + value.len();
    }
    assert!(bytes <= payload.len());
}

fn settings(bytes: &[u8]) {
    let _ = Settings::decode_build_id(bytes);
    if let Ok(settings) = Settings::decode(bytes) {
        assert_eq!(Settings::decode(&settings.encode()), Ok(settings));
    }
}
