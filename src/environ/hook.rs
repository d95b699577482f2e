// SPDX-License-Identifier: Apache-2.0
//! The environ of access, authentication and group scripts (spec-config 7.4): the request as it
//! came, before it is anyone's.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::key;

use super::writer::{Writer, number, put};
use super::{original_uri, variable_of};
use crate::access::Question;
use crate::httpd::request::Request;
use crate::httpd::server::banner;
use crate::mapping::path;

/// Appends the entries of the request to the frame. False when the request has more than fits.
pub(crate) fn write_hook(
    request: &Request<'_>,
    question: &Question<'_>,
    frame: &mut Vec<u8>,
) -> bool {
    let mut writer = Writer::new(frame);
    if let Some(headers) = request.headers() {
        let mut variable = Vec::with_capacity(40);
        for (name, value) in headers.iter() {
            if !variable_of(name, &mut variable) {
                continue;
            }
            match variable.get(5..).unwrap_or_default() {
                b"CONTENT_TYPE" => put!(writer, "CONTENT_TYPE", value),
                b"CONTENT_LENGTH" => put!(writer, "CONTENT_LENGTH", value),
                // Credentials are for httpd to check; `Proxy` is no variable of ours (CVE-2016-5385).
                b"AUTHORIZATION" | b"PROXY_AUTHORIZATION" | b"PROXY" => {}
                _ => writer.named(&variable, value),
            }
        }
    }
    writer.named(b"SERVER_SIGNATURE", request.server_signature());
    put!(writer, "SERVER_SOFTWARE", banner());
    put!(writer, "SERVER_NAME", request.canonical_name());
    put!(writer, "SERVER_ADDR", request.local_address().unwrap_or_default());
    number(&mut writer, const { key::number("SERVER_PORT") }, request.server_port().into());
    if let Some(admin) = request.server().and_then(|server| server.admin()) {
        put!(writer, "SERVER_ADMIN", admin);
    }
    put!(writer, "SERVER_PROTOCOL", request.protocol().unwrap_or_default());
    put!(writer, "DOCUMENT_ROOT", request.document_root());
    if let Some(host) = request.remote_host() {
        writer.named(b"REMOTE_HOST", host);
    }
    put!(writer, "REMOTE_ADDR", request.client_address().unwrap_or_default());
    number(&mut writer, const { key::number("REMOTE_PORT") }, request.client_port().into());
    put!(writer, "REQUEST_METHOD", request.method().unwrap_or_default());
    put!(writer, "QUERY_STRING", request.arguments().unwrap_or_default());
    put!(writer, "REQUEST_URI", original_uri(request.request_line().unwrap_or_default()));
    let uri = request.uri().unwrap_or_default();
    let info = request.path_info().unwrap_or_default();
    put!(writer, "SCRIPT_NAME", path::script_part(uri, info));
    put!(writer, "PATH_INFO", info);
    put!(writer, "mod_wsgi.process_group", &question.process_group);
    put!(writer, "mod_wsgi.application_group", &question.application_group);
    writer.finish()
}
