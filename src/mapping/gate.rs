// SPDX-License-Identifier: Apache-2.0
//! What is checked before an application is run, in mod_wsgi's order (spec-config 4.4), with its
//! statuses and its numbers in the log.
#![forbid(unsafe_code)]

use crate::httpd::log::{self, Level};
use crate::httpd::request::{Request, Target};

/// Handler names for which the file itself is the WSGI script.
pub(crate) fn is_script_handler(handler: &[u8]) -> bool {
    handler == b"wsgi-script" || handler == b"application/x-httpd-wsgi"
}

/// Note under which an alias says that it chose the handler.
pub(crate) const ALIAS_NOTE: &std::ffi::CStr = c"alias-forced-type";

/// Checks a request whose file is the WSGI script.
///
/// # Errors
/// The HTTP status for it; the reason is in the log.
pub(crate) fn check_script(request: &Request<'_>) -> Result<(), u16> {
    let refuse = |status: u16, text: &str| {
        log::request(request, Level::Error, text.as_bytes());
        Err(status)
    };
    let is_aliased =
        request.notes().and_then(|notes| notes.get(ALIAS_NOTE)) == Some(b"wsgi-script");
    if !is_aliased && !request.may_execute() {
        return refuse(
            403,
            "WSGI0134: Options ExecCGI is off in this directory, so WSGI scripts are not run here: write Options +ExecCGI, or use WSGIScriptAlias",
        );
    }
    match request.target() {
        Target::Missing => refuse(404, "WSGI0135: Target WSGI script not found or unable to stat"),
        Target::Directory => {
            refuse(403, "WSGI0136: Attempt to invoke directory as WSGI application")
        }
        Target::File => Ok(()),
    }
}

/// Checks a request, whatever script answers it; `takes_chunked` is WSGIChunkedRequest.
///
/// # Errors
/// As for [`check_script`].
pub(crate) fn check_request(request: &Request<'_>, takes_chunked: bool) -> Result<(), u16> {
    let refuse = |status: u16, text: &str| {
        log::request(request, Level::Error, text.as_bytes());
        Err(status)
    };
    if request.rejects_path_info() && request.path_info().is_some_and(|info| !info.is_empty()) {
        return refuse(404, "WSGI0137: AcceptPathInfo off disallows user's path");
    }
    let header = |name: &std::ffi::CStr| request.headers().and_then(|headers| headers.get(name));
    if let Some(encoding) = header(c"Transfer-Encoding") {
        if !encoding.eq_ignore_ascii_case(b"chunked") {
            return refuse(501, "WSGI0138: Unsupported Transfer-Encoding of the request body");
        }
        if !takes_chunked {
            return refuse(
                411,
                "WSGI0139: Chunked request content is not enabled: the client must send a Content-Length, or write WSGIChunkedRequest On",
            );
        }
    }
    if let Some(length) = header(c"Content-Length") {
        let Some(length) =
            std::str::from_utf8(length).ok().and_then(|length| length.trim().parse::<i64>().ok())
        else {
            return refuse(400, "WSGI0141: Invalid Content-Length of the request");
        };
        if length < 0 {
            return refuse(400, "WSGI0141: Invalid Content-Length of the request");
        }
        let limit = request.body_limit();
        if limit != 0 && length > limit {
            return refuse(
                413,
                &format!(
                    "WSGI0317: Requested content-length of {length} is larger than the configured limit of {limit} (LimitRequestBody)"
                ),
            );
        }
    }
    Ok(())
}
