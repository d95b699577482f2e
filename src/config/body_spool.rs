// SPDX-License-Identifier: Apache-2.0
//! `body-spool=`: how much of a request body an httpd child collects before a thread of a daemon
//! process is taken for the request. What is done with it is in `daemon/body.rs`.
#![forbid(unsafe_code)]

/// What is collected ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodySpool {
    /// Bytes of a body that are collected in memory; 0 is nothing.
    pub(crate) memory: usize,
    /// What is longer than `memory`, or of unknown length, is collected too, in a temporary file.
    pub(crate) disk: bool,
}

impl Default for BodySpool {
    fn default() -> Self {
        Self { memory: 1 << 20, disk: false }
    }
}

/// Most that is held in memory for one request.
const LARGEST: u64 = 1 << 30;

impl BodySpool {
    /// The value in `text`: bytes, or a number with K, M or G behind it, and perhaps `,disk`.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let wrong = || {
            Err("it must be a size such as 65536, 512K or 1M, or 0 for off, and may have \",disk\" behind it".to_owned())
        };
        let (size, disk) = match text.strip_suffix(b",disk") {
            Some(size) => (size, true),
            None => (text, false),
        };
        let (digits, unit) = match size.split_last() {
            Some((b'k' | b'K', digits)) => (digits, 1 << 10),
            Some((b'm' | b'M', digits)) => (digits, 1 << 20),
            Some((b'g' | b'G', digits)) => (digits, 1 << 30),
            _ => (size, 1_u64),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return wrong();
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        match number.and_then(|number: u64| number.checked_mul(unit)) {
            Some(0) if disk => {
                Err("0 is off, so that nothing can be collected on disk: write a size".to_owned())
            }
            Some(bytes) if bytes <= LARGEST => {
                Ok(Self { memory: usize::try_from(bytes).unwrap_or(0), disk })
            }
            _ => Err("it must be at most 1G for each request".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_may_go_to_disk() {
        for (text, memory, disk) in [
            ("0", 0, false),
            ("65536", 65_536, false),
            ("64k", 65_536, false),
            ("512K,disk", 524_288, true),
            ("2m", 2 << 20, false),
            ("1G", 1 << 30, false),
            ("1g,disk", 1 << 30, true),
        ] {
            assert_eq!(BodySpool::parse(text.as_bytes()), Ok(BodySpool { memory, disk }), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "K", "-1", "1.5M", "1KB", "1 M", "1M,file", ",disk", "disk", "1M,disk,"] {
            assert!(BodySpool::parse(text.as_bytes()).unwrap_err().contains("512K"), "{text}");
        }
        assert!(BodySpool::parse(b"2G").unwrap_err().contains("at most 1G"));
        assert!(BodySpool::parse(b"18446744073709551615G").unwrap_err().contains("at most 1G"));
        assert!(BodySpool::parse(b"0,disk").unwrap_err().contains("write a size"));
    }
}
