// SPDX-License-Identifier: Apache-2.0
//! Status and headers as an application gives them: what is accepted must be a head that the child
//! accepts, with the same names and values. Parts are separated by 0xff: the status, then names and
//! values in turn.

use mod_wsgi_protocol::response;

use crate::python_head::{Head, Invalid};

/// Builds a head of the parts of `data`.
pub fn run(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xff);
    let status = parts.next().unwrap_or_default();
    let headers: Vec<_> = parts.collect();
    let Ok(head) = build(status, &headers) else { return };
    let added = head.may_add_length(data.len(), false).then_some(data.len() as u64);
    let mut payload = Vec::new();
    head.encode(&mut payload, added);
    let decoded = response::Head::decode(&payload).unwrap();
    assert_eq!((decoded.status, decoded.status_line), (head.status, status));
    assert!(decoded.data.is_empty());
    let mut given = headers.chunks_exact(2);
    let mut rest = decoded.headers();
    for pair in &mut given {
        assert_eq!(rest.next(), Some((pair[0], pair[1])));
    }
    let length = added.map(|length| length.to_string());
    assert_eq!(
        rest.next(),
        length.as_ref().map(|length| (&b"Content-Length"[..], length.as_bytes()))
    );
    assert_eq!(rest.next(), None);
    // httpd's side gives these to functions that take C strings.
    assert!(!payload_has_line_end(&decoded));
    if head.allows_body() {
        let _ = head.content_length();
    }
}

fn build(status: &[u8], headers: &[&[u8]]) -> Result<Head, Invalid> {
    let mut head = Head::default();
    head.text().extend_from_slice(status);
    head.status_appended()?;
    for pair in headers.chunks_exact(2) {
        head.text().extend_from_slice(pair[0]);
        head.name_appended()?;
        head.text().extend_from_slice(pair[1]);
        head.value_appended()?;
    }
    Ok(head)
}

fn payload_has_line_end(head: &response::Head<'_>) -> bool {
    let breaks = |text: &[u8]| text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    breaks(head.status_line) || head.headers().any(|(name, value)| breaks(name) || breaks(value))
}
