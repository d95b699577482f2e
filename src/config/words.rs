// SPDX-License-Identifier: Apache-2.0
//! The lexical rules of configuration lines (spec-config 1.1): words, `name=value` options and the
//! kinds of values. The leniency of C's `atoi` is kept, because configurations rely on it; what was
//! ignored is told, so that it can be warned of.
#![forbid(unsafe_code)]

/// What is left of a line after the directive's name.
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    /// Not read yet.
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The words of a line.
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.skip_blanks();
        self.rest.is_empty()
    }

    /// The next word that must not be empty; None for one that is, and at the end of the line.
    pub(crate) fn next_filled(&mut self) -> Option<Vec<u8>> {
        self.next().filter(|word| !word.is_empty())
    }

    /// The next word, without its quotes; None at the end of the line.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        self.skip_blanks();
        if self.rest.is_empty() { None } else { Some(self.value()) }
    }

    /// A word that starts right here and may be empty.
    fn value(&mut self) -> Vec<u8> {
        match self.rest.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let mut word = Vec::new();
                let mut bytes = self.rest.iter().enumerate().skip(1);
                while let Some((index, byte)) = bytes.next() {
                    match byte {
                        b'\\' => match self.rest.get(index + 1) {
                            Some(escaped) if escaped == quote || *escaped == b'\\' => {
                                word.push(*escaped);
                                bytes.next();
                            }
                            _ => word.push(b'\\'),
                        },
                        byte if byte == quote => {
                            self.rest = self.rest.get(index + 1..).unwrap_or_default();
                            return word;
                        }
                        byte => word.push(*byte),
                    }
                }
                self.rest = &[];
                word
            }
            _ => {
                let end = self.rest.iter().position(u8::is_ascii_whitespace);
                let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest;
                word.to_vec()
            }
        }
    }

    /// The next `name=value`. None at the end of the line.
    ///
    /// # Errors
    /// The word that is no option: no `=`, a blank before it, or an empty name.
    pub(crate) fn option(&mut self) -> Option<Result<(String, Vec<u8>), String>> {
        if self.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|byte| *byte == b'=' || byte.is_ascii_whitespace());
        match end {
            Some(end) if end > 0 && self.rest.get(end) == Some(&b'=') => {
                let name = text(self.rest.get(..end).unwrap_or_default());
                self.rest = self.rest.get(end + 1..).unwrap_or_default();
                // httpd's own reader of words lets blanks stand in front of one.
                self.skip_blanks();
                Some(Ok((name, self.value())))
            }
            _ => Some(Err(text(&self.value()))),
        }
    }
}

/// Bytes for a message.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number, and whether text was ignored behind it (or all of it was no number).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lenient {
    /// What C's `atoi` makes of the text, within 64 bits.
    pub(crate) value: i64,
    /// Whether the text is more than the number.
    pub(crate) ignored: bool,
}

/// Reads a number as C's `atoi` does.
pub(crate) fn lenient_integer(value: &[u8]) -> Lenient {
    let value = value.trim_ascii_start();
    let (negative, digits) = match value.first() {
        Some(b'-') => (true, value.get(1..).unwrap_or_default()),
        Some(b'+') => (false, value.get(1..).unwrap_or_default()),
        _ => (false, value),
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = digits.iter().take(length).fold(0_i64, |number, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Lenient {
        value: if negative { -number } else { number },
        ignored: length == 0 || length != digits.len(),
    }
}

/// `On` or `Off` in any case.
pub(crate) fn boolean(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"on") {
        Some(true)
    } else if value.eq_ignore_ascii_case(b"off") {
        Some(false)
    } else {
        None
    }
}

/// An octal number that is not negative, the whole text but for blanks in front, as C's `strtol`.
pub(crate) fn octal(value: &[u8]) -> Option<u32> {
    let value = value.trim_ascii_start();
    let (is_negative, digits) = match value.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return None;
    }
    let number = digits.iter().fold(0_u32, |number, digit| {
        number.saturating_mul(8).saturating_add(u32::from(digit - b'0'))
    });
    (number == 0 || !is_negative).then_some(number)
}

/// A number as C's `atof` reads it: the beginning that is a number, or 0.
pub(crate) fn lenient_float(value: &[u8]) -> f64 {
    let value = value.trim_ascii_start();
    let ends = (1..=value.len()).rev();
    ends.filter_map(|end| {
        let text = std::str::from_utf8(value.get(..end)?).ok()?;
        hexadecimal_float(text).or_else(|| text.parse().ok())
    })
    .next()
    .unwrap_or(0.0)
}

/// A number of seconds above 0, the whole text but for blanks in front.
pub(crate) fn positive_float(value: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(value.trim_ascii_start()).ok()?;
    let number = hexadecimal_float(text).or_else(|| text.parse().ok())?;
    (number > 0.0).then_some(number)
}

/// A number as C's `strtod` reads it behind `0x`: hexadecimal digits, and a power of two.
fn hexadecimal_float(text: &str) -> Option<f64> {
    let text = text.to_ascii_lowercase();
    let digits = text.strip_prefix("0x")?;
    let (digits, power) = match digits.split_once('p') {
        Some((digits, power)) => (digits, power.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, part].concat();
    let shift = power.checked_sub(i32::try_from(part.len()).ok()?.checked_mul(4)?)?;
    let number = u64::from_str_radix(&all, 16).ok()?;
    Some(number as f64 * 2.0_f64.powi(shift))
}

/// A number of bytes, with k, M or G (in any case) for 1024 times as many each.
pub(crate) fn size(word: &[u8]) -> Option<u64> {
    let (digits, shift) = match word.split_last() {
        Some((b'k' | b'K', digits)) => (digits, 10),
        Some((b'm' | b'M', digits)) => (digits, 20),
        Some((b'g' | b'G', digits)) => (digits, 30),
        _ => (word, 0),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_quoted_and_escaped() {
        let mut words = Words::new(br#"  a "b c" 'd"e' "f\"g\\h" "#);
        let all: Vec<_> = std::iter::from_fn(|| words.next()).map(|word| text(&word)).collect();
        assert_eq!(all, ["a", "b c", "d\"e", "f\"g\\h"]);
    }

    #[test]
    fn options_take_the_word_after_the_sign() {
        let mut words = Words::new(b"threads= 5 display-name='%{GROUP}' home=\"/a b\" lang=");
        let mut next = || words.option().map(|option| option.map(|(n, v)| (n, text(&v))));
        assert_eq!(next(), Some(Ok(("threads".into(), "5".into()))));
        assert_eq!(next(), Some(Ok(("display-name".into(), "%{GROUP}".into()))));
        assert_eq!(next(), Some(Ok(("home".into(), "/a b".into()))));
        assert_eq!(next(), Some(Ok(("lang".into(), String::new()))));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert_eq!(Words::new(b"threads = 5").option(), Some(Err("threads".into())));
        assert_eq!(Words::new(b"=5").option(), Some(Err("=5".into())));
        assert_eq!(Words::new(b"alone").option(), Some(Err("alone".into())));
    }

    #[test]
    fn integers_are_as_lenient_as_atoi() {
        assert_eq!(lenient_integer(b"12"), Lenient { value: 12, ignored: false });
        assert_eq!(lenient_integer(b" -3x"), Lenient { value: -3, ignored: true });
        assert_eq!(lenient_integer(b"abc"), Lenient { value: 0, ignored: true });
        assert_eq!(
            lenient_integer(b"2147483647"),
            Lenient { value: 2_147_483_647, ignored: false }
        );
        assert_eq!(lenient_integer(b"99999999999999999999").value, i64::MAX);
    }

    #[test]
    fn other_values() {
        assert_eq!(
            (boolean(b"oN"), boolean(b"OFF"), boolean(b"1")),
            (Some(true), Some(false), None)
        );
        assert_eq!((octal(b"0027"), octal(b"8"), octal(b"")), (Some(0o27), None, None));
        assert_eq!((octal(b" +7"), octal(b"-0"), octal(b"-7")), (Some(7), Some(0), None));
        assert_eq!((octal(b"7 "), octal(b"+"), octal(&[b'7'; 99])), (None, None, Some(u32::MAX)));
        assert_eq!((positive_float(b" 5"), positive_float(b"5 ")), (Some(5.0), None));
        assert_eq!(
            (positive_float(b"0.5"), positive_float(b"0"), positive_float(b"1x")),
            (Some(0.5), None, None)
        );
        assert_eq!(
            (positive_float(b"0x1p-3"), positive_float(b"0x1.8"), positive_float(b"0x")),
            (Some(0.125), Some(1.5), None)
        );
        let floats = [&b"0.5x"[..], b" -1e", b"x", b"0x10y"].map(lenient_float);
        assert!(
            floats
                .iter()
                .zip([0.5, -1.0, 0.0, 16.0])
                .all(|(one, other)| (one - other).abs() < 1e-9)
        );
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(b"300M"), Some(300 << 20));
        assert_eq!(
            (size(b"0"), size(b"64k"), size(b"2g")),
            (Some(0), Some(64 << 10), Some(2 << 30))
        );
        assert_eq!((size(b""), size(b"M"), size(b"1T"), size(b"+1")), (None, None, None, None));
        assert_eq!(size(b"99999999999999999G"), None);
    }
}
