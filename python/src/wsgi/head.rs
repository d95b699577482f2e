// SPDX-License-Identifier: Apache-2.0
//! Status and headers as the application gave them: what is allowed, and what `Content-Length`
//! means. Pure; conversion from Python objects is done by `adapter`.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::response::HeadWriter;

/// Status and headers, checked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The number that the status begins with.
    pub(crate) status: u16,
    /// The status as given, then names and values, one after the other.
    text: Vec<u8>,
    /// Ends in `text`: of the status, then of each name and each value.
    ends: Vec<usize>,
    /// What the last `Content-Length` says.
    content_length: Option<Result<u64, InvalidLength>>,
    /// Whether the application names a transfer coding.
    has_transfer_encoding: bool,
}

/// A `Content-Length` that is no length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidLength {
    /// What the application gave.
    value: String,
}

impl std::fmt::Display for InvalidLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid Content-Length header value: '{}'", self.value)
    }
}

/// Why a status or header is refused; the texts are mod_wsgi's where it refuses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The status does not begin with a number of three digits.
    StatusNumber,
    /// The status has something else than a blank behind its number.
    StatusBlank,
    /// The status has a control character.
    StatusCharacter,
    /// The name of a header is empty.
    EmptyName,
    /// The name of a header has a control character.
    NameControl,
    /// The name of a header has a blank.
    NameBlank,
    /// The name of a header has another character that names do not have (RFC 9110, 5.6.2).
    NameCharacter,
    /// The value of a header has a line end.
    ValueLineEnd,
    /// The value of a header has a NUL.
    ValueNul,
    /// The name of a header has more than 65,535 bytes, or there are more headers than that.
    TooMany,
}

impl Invalid {
    /// The text; `part` is the status, name or value that is refused.
    pub(crate) fn text(self, part: &[u8]) -> String {
        let problem = match self {
            Self::StatusNumber => "status code must be a 3 digit integer",
            Self::StatusBlank => "no space following status code",
            Self::StatusCharacter => "control character in status reason phrase",
            Self::EmptyName => return "header name is empty".to_owned(),
            Self::NameControl => "control character in header name",
            Self::NameBlank => "space character in header name",
            Self::NameCharacter => "character that is not allowed in header name",
            Self::ValueLineEnd => "carriage return/line feed character in header value",
            Self::ValueNul => "null character in header value",
            Self::TooMany => {
                return "header name or number of headers is beyond 65,535".to_owned();
            }
        };
        format!("{problem}: {}", BytesLiteral(part))
    }
}

/// Bytes as Python writes them in its source.
struct BytesLiteral<'a>(&'a [u8]);

impl std::fmt::Display for BytesLiteral<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quote = match self.0.contains(&b'\'') && !self.0.contains(&b'"') {
            true => b'"',
            false => b'\'',
        };
        write!(f, "b{}", char::from(quote))?;
        for byte in self.0 {
            match byte {
                b'\'' | b'"' if *byte != quote => write!(f, "{}", char::from(*byte))?,
                _ => write!(f, "{}", byte.escape_ascii())?,
            }
        }
        write!(f, "{}", char::from(quote))
    }
}

impl Head {
    /// Bytes that names and values are appended to before they are checked.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// What was appended to [`Self::text`] last.
    pub(crate) fn tail(&self) -> &[u8] {
        let start = self.ends.last().copied().unwrap_or(0);
        self.text.get(start..).unwrap_or_default()
    }

    /// Takes what was appended to [`Self::text`] as the status.
    pub(crate) fn status_appended(&mut self) -> Result<(), Invalid> {
        let status = self.tail();
        let Some((number, rest)) = status.split_first_chunk::<3>() else {
            return Err(Invalid::StatusNumber);
        };
        if !number.iter().all(u8::is_ascii_digit) || rest.first().is_some_and(u8::is_ascii_digit) {
            return Err(Invalid::StatusNumber);
        }
        if rest.first().is_some_and(|byte| *byte != b' ') {
            return Err(Invalid::StatusBlank);
        }
        if rest.iter().any(u8::is_ascii_control) {
            return Err(Invalid::StatusCharacter);
        }
        self.status = number.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        self.ends.push(self.text.len());
        Ok(())
    }

    /// Takes what was appended to [`Self::text`] as the name of a header.
    pub(crate) fn name_appended(&mut self) -> Result<(), Invalid> {
        let name = self.tail();
        if name.is_empty() {
            return Err(Invalid::EmptyName);
        }
        if let Some(byte) = name.iter().find(|byte| !is_token(**byte)) {
            return Err(match byte {
                b' ' => Invalid::NameBlank,
                byte if byte.is_ascii_control() => Invalid::NameControl,
                _ => Invalid::NameCharacter,
            });
        }
        if name.len() > usize::from(u16::MAX) || self.ends.len() > 2 * usize::from(u16::MAX) - 2 {
            return Err(Invalid::TooMany);
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    /// Takes what was appended to [`Self::text`] as the value of the header named last.
    pub(crate) fn value_appended(&mut self) -> Result<(), Invalid> {
        let value = self.tail();
        match value.iter().find(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            None => {}
            Some(0) => return Err(Invalid::ValueNul),
            Some(_) => return Err(Invalid::ValueLineEnd),
        }
        let end = self.ends.last().copied().unwrap_or(0);
        let start = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
        let name = self.text.get(start..end).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.content_length = Some(parse_length(value).ok_or_else(|| InvalidLength {
                value: String::from_utf8_lossy(value).into_owned(),
            }));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.has_transfer_encoding = true;
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    /// What the application says of the length of the response.
    pub(crate) fn content_length(&self) -> Result<Option<u64>, &InvalidLength> {
        self.content_length.as_ref().map(|length| length.as_ref().copied()).transpose()
    }

    /// Whether a server may add `Content-Length` for a body of `length` bytes.
    pub(crate) fn may_add_length(&self, length: usize, is_head_request: bool) -> bool {
        self.content_length.is_none()
            && !self.has_transfer_encoding
            && self.allows_body()
            // Without a body nobody knows how long the answer to GET would be.
            && !(is_head_request && length == 0)
    }

    /// Whether a response with this status can have a body (RFC 9110, 6.4.1).
    pub(crate) fn allows_body(&self) -> bool {
        !matches!(self.status, 100..=199 | 204 | 304)
    }

    /// Appends the payload of a `Head` frame, without data; `added_length` is a `Content-Length`
    /// that the application did not give.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, added_length: Option<u64>) {
        out.reserve(self.text.len() + self.ends.len() * 3 + 48);
        let mut start = 0;
        let mut parts = self.ends.iter().map(|end| {
            let part = self.text.get(start..*end).unwrap_or_default();
            start = *end;
            part
        });
        let mut writer = HeadWriter::new(out, self.status, parts.next().unwrap_or_default());
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            writer.header(name, value);
        }
        if let Some(length) = added_length {
            writer.header(b"Content-Length", length.to_string().as_bytes());
        }
        writer.finish();
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Blanks and a plus sign in front are allowed, and nothing is 0, as mod_wsgi has it.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return Some(0);
    }
    let value = value.trim_ascii_start();
    let digits = value.strip_prefix(b"+").unwrap_or(value);
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse::<i64>().ok()?;
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use mod_wsgi_protocol::response;

    use super::*;

    fn status(text: &str) -> Result<u16, Invalid> {
        let mut head = Head::default();
        head.text().extend_from_slice(text.as_bytes());
        head.status_appended().map(|()| head.status)
    }

    fn with_header(name: &str, value: &str) -> Result<Head, Invalid> {
        let mut head = Head::default();
        head.text().extend_from_slice(b"200 OK");
        head.status_appended()?;
        head.text().extend_from_slice(name.as_bytes());
        head.name_appended()?;
        head.text().extend_from_slice(value.as_bytes());
        head.value_appended()?;
        Ok(head)
    }

    #[test]
    fn status_is_three_digits_and_perhaps_a_reason() {
        for (text, number) in
            [("200 OK", 200), ("200", 200), ("200 ", 200), ("099 x", 99), ("999 x", 999)]
        {
            assert_eq!(status(text), Ok(number), "{text}");
        }
        for (text, problem) in [
            ("", Invalid::StatusNumber),
            ("20", Invalid::StatusNumber),
            ("2000", Invalid::StatusNumber),
            ("2x0 OK", Invalid::StatusNumber),
            ("200OK", Invalid::StatusBlank),
            ("200\tOK", Invalid::StatusBlank),
            ("200 O\tK", Invalid::StatusCharacter),
            ("200 OK\r\nX: y", Invalid::StatusCharacter),
            ("200 OK\0", Invalid::StatusCharacter),
            ("200 \x7f", Invalid::StatusCharacter),
        ] {
            assert_eq!(status(text), Err(problem), "{text:?}");
        }
    }

    #[test]
    fn names_are_tokens_and_values_are_one_line() {
        assert!(with_header("X-Name", "a\tb \u{7f}").is_ok());
        for (name, problem) in [
            ("X Y\n", Invalid::NameBlank),
            ("X\n ", Invalid::NameControl),
            ("X\0", Invalid::NameControl),
            ("X:Y", Invalid::NameCharacter),
            ("X(", Invalid::NameCharacter),
            ("N\u{e4}me", Invalid::NameCharacter),
        ] {
            assert_eq!(with_header(name, ""), Err(problem), "{name:?}");
        }
        assert_eq!(with_header("", ""), Err(Invalid::EmptyName));
        for (value, problem) in [
            ("a\r", Invalid::ValueLineEnd),
            ("a\nb\0", Invalid::ValueLineEnd),
            ("\0", Invalid::ValueNul),
        ] {
            assert_eq!(with_header("X", value), Err(problem), "{value:?}");
        }
    }

    #[test]
    fn what_is_refused_is_told_as_python_writes_it() {
        for (part, text) in [
            (&b"20"[..], "status code must be a 3 digit integer: b'20'"),
            (b"a'b", "status code must be a 3 digit integer: b\"a'b\""),
            (b"a'\"b", "status code must be a 3 digit integer: b'a\\'\"b'"),
            (b"\\\n\x7f\xe4", "status code must be a 3 digit integer: b'\\\\\\n\\x7f\\xe4'"),
        ] {
            assert_eq!(Invalid::StatusNumber.text(part), text);
        }
    }

    #[test]
    fn content_length_is_read_as_mod_wsgi_reads_it() {
        for (value, length) in [("10", 10), (" +7", 7), ("", 0)] {
            let head = with_header("content-LENGTH", value).unwrap();
            assert_eq!(head.content_length(), Ok(Some(length)), "{value:?}");
        }
        for value in ["-1", " ", "1x", "+", "1 ", "99999999999999999999", "0x10"] {
            let head = with_header("Content-Length", value).unwrap();
            assert!(head.content_length().is_err(), "{value:?}");
        }
        assert_eq!(with_header("X", "10").unwrap().content_length(), Ok(None));
    }

    #[test]
    fn a_length_is_added_only_where_it_is_true() {
        let head = with_header("X", "y").unwrap();
        assert!(head.may_add_length(0, false) && head.may_add_length(5, true));
        assert!(!head.may_add_length(0, true));
        assert!(!with_header("Content-Length", "3").unwrap().may_add_length(3, false));
        assert!(!with_header("Transfer-Encoding", "chunked").unwrap().may_add_length(3, false));
        for status in [204, 304, 100, 199] {
            let head = Head { status, ..Head::default() };
            assert!(!head.may_add_length(0, false), "{status}");
        }
    }

    #[test]
    fn what_is_encoded_is_what_the_child_decodes() {
        let mut out = Vec::new();
        with_header("Set-Cookie", "a=1").unwrap().encode(&mut out, Some(1204));
        let head = response::Head::decode(&out).unwrap();
        assert_eq!((head.status, head.status_line), (200, &b"200 OK"[..]));
        let headers: Vec<_> = head.headers().collect();
        assert_eq!(
            headers,
            [(&b"Set-Cookie"[..], &b"a=1"[..]), (&b"Content-Length"[..], &b"1204"[..])]
        );
    }
}
