// SPDX-License-Identifier: Apache-2.0
//! Writing environ entries into a frame: names that have numbers travel as them, and what another
//! module has set under a name that is written already yields.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use mod_wsgi_protocol::key;
use mod_wsgi_protocol::request::Entries;
use once_cell::sync::Lazy;

/// FNV-1a: the keys are short and the table is ours.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Numbers of the names that have one.
static NUMBERS: Lazy<HashMap<&'static [u8], u8, BuildHasherDefault<Fnv>>> =
    Lazy::new(|| key::KEYS.iter().map(|name| (name.as_bytes(), key::number(name))).collect());

/// Writes entries and remembers which names are written.
pub(super) struct Writer<'a> {
    /// The frame.
    entries: Entries<'a>,
    /// Numbers that are written, a bit each.
    numbers: [u64; 4],
    /// Other names that are written.
    names: Vec<Vec<u8>>,
    /// Names as another module spells them: httpd's tables have no case, and keep the first
    /// spelling.
    spellings: Vec<&'a [u8]>,
}

/// Writes an entry whose name has a number.
macro_rules! put {
    ($writer:expr, $name:literal, $value:expr) => {{
        const NUMBER: u8 = mod_wsgi_protocol::key::number($name);
        const { assert!(NUMBER != 0) };
        $writer.numbered(NUMBER, $value);
    }};
}

pub(super) use put;

impl<'a> Writer<'a> {
    /// A writer at the end of the frame.
    pub(super) fn new(frame: &'a mut Vec<u8>) -> Self {
        Self {
            entries: Entries::new(frame),
            numbers: [0; 4],
            names: Vec::new(),
            spellings: Vec::new(),
        }
    }

    /// Remembers names of another module's variables that differ from ours in case only.
    pub(super) fn respect_spellings(&mut self, names: impl Iterator<Item = &'a [u8]>) {
        self.spellings.extend(names.filter(|name| {
            let is_lower = name.iter().any(u8::is_ascii_lowercase);
            is_lower != name.to_ascii_lowercase().starts_with(b"mod_wsgi.")
        }));
    }

    fn spelling(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.spellings.iter().copied().find(|spelling| spelling.eq_ignore_ascii_case(name))
    }

    /// Ends the entries. False when not everything found room.
    #[must_use]
    pub(super) fn finish(self) -> bool {
        self.entries.finish()
    }

    /// An entry whose name has this number.
    pub(super) fn numbered(&mut self, number: u8, value: &[u8]) {
        self.numbers[usize::from(number >> 6)] |= 1 << (number & 63);
        if !self.spellings.is_empty()
            && let Some(name) = key::name(number)
            && let Some(spelling) = self.spelling(name.as_bytes())
        {
            return self.entries.named(spelling, value);
        }
        self.entries.numbered(number, value);
    }

    /// An entry of any other name.
    pub(super) fn named(&mut self, name: &[u8], value: &[u8]) {
        match NUMBERS.get(name) {
            Some(number) => self.numbered(*number, value),
            None => {
                self.entries.named(self.spelling(name).unwrap_or(name), value);
                self.names.push(name.to_vec());
            }
        }
    }

    /// A variable of another module: it yields to what is written already, whatever its case.
    pub(super) fn variable(&mut self, name: &[u8], value: &[u8]) {
        let upper = name.to_ascii_uppercase();
        let written = match NUMBERS.get(upper.as_slice()).or_else(|| NUMBERS.get(name)) {
            Some(number) => self.numbers[usize::from(number >> 6)] & (1 << (number & 63)) != 0,
            None => self.names.iter().any(|known| known.eq_ignore_ascii_case(name)),
        };
        if !written {
            match NUMBERS.get(name) {
                Some(number) => self.entries.numbered(*number, value),
                None => self.entries.named(name, value),
            }
        }
    }
}

/// An entry that is a decimal number.
pub(super) fn number(writer: &mut Writer<'_>, key: u8, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    writer.numbered(key, &digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mod_wsgi_protocol::request::Name;

    #[test]
    fn variables_yield_to_what_is_written_whatever_their_case() {
        let mut frame = Vec::new();
        let mut writer = Writer::new(&mut frame);
        writer.respect_spellings([&b"X_NONE"[..], b"Http_x_spelt", b"remote_Addr"].into_iter());
        put!(writer, "REQUEST_METHOD", b"GET");
        writer.named(b"HTTP_X_ODD", b"1");
        writer.named(b"HTTP_X_SPELT", b"2");
        put!(writer, "REMOTE_ADDR", b"3");
        number(&mut writer, const { key::number("SERVER_PORT") }, 8080);
        writer.variable(b"request_method", b"no");
        writer.variable(b"HTTP_X_ODD", b"no");
        writer.variable(b"UNIQUE_ID", b"u");
        writer.variable(b"Own", b"o");
        assert!(writer.finish());
        let mut payload = Vec::new();
        mod_wsgi_protocol::request::Head {
            slot: 0,
            mark: 1,
            body: mod_wsgi_protocol::request::Body::Whole,
            script_reloading: false,
            enable_sendfile: false,
            ignore_activity: false,
            pass_request: false,
            hook: mod_wsgi_protocol::hook::Hook::None,
            log_level: 7,
            request_start: 0,
            queue_start: 0,
            content_length: -1,
            script_mtime: 0,
            script: b"",
            application_group: b"",
            callable: b"",
            resource: b"",
        }
        .encode(&mut payload);
        payload.extend_from_slice(&frame);
        let request = mod_wsgi_protocol::request::Request::decode(&payload).unwrap();
        let entries: Vec<_> = request.entries().collect();
        assert_eq!(
            entries,
            [
                (Name::Numbered(key::number("REQUEST_METHOD")), &b"GET"[..]),
                (Name::Text(b"HTTP_X_ODD"), &b"1"[..]),
                (Name::Text(b"Http_x_spelt"), &b"2"[..]),
                (Name::Text(b"remote_Addr"), &b"3"[..]),
                (Name::Numbered(key::number("SERVER_PORT")), &b"8080"[..]),
                (Name::Numbered(key::number("UNIQUE_ID")), &b"u"[..]),
                (Name::Text(b"Own"), &b"o"[..]),
            ]
        );
    }
}
