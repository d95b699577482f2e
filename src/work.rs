// SPDX-License-Identifier: Apache-2.0
//! What Python is asked to do for a request: to run the application of a route, or to answer a hook.
//! The same in both modes: here it becomes the payload of a `Request` frame.
#![forbid(unsafe_code)]

use mod_wsgi_protocol::frame::MAX_HEAD;
use mod_wsgi_protocol::hook::{Hook, encode_arguments};
use mod_wsgi_protocol::request::{Body, Head};

use crate::access::Question;
use crate::daemon::Group;
use crate::environ;
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::mapping::routing::Route;

/// Longest name of an application group: names are keys, and travel with a short length.
const MAX_GROUP: usize = 4096;

/// What Python is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work<'r> {
    /// To run the application.
    Application(&'r Route<'r>),
    /// To answer a hook.
    Hook(&'r Question<'r>),
}

/// What differs from one way to Python to the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'r> {
    /// Slot of the started mark.
    pub(crate) slot: u32,
    /// Mark of the request.
    pub(crate) mark: u32,
    /// How the body arrives.
    pub(crate) body: Body,
    /// Content-Length; -1 when it is not known.
    pub(crate) content_length: i64,
    /// When the child turned to the daemon, µs since the epoch; 0 in embedded mode.
    pub(crate) queue_start: i64,
    /// The process group, which may know paths by other names; None in embedded mode.
    pub(crate) group: Option<&'r Group>,
}

impl Delivery<'_> {
    /// A path as Python is to know it. One that it cannot reach stays as it is.
    pub(crate) fn path<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        self.group.and_then(|group| group.path_inside(path)).unwrap_or(path)
    }
}

impl Work<'_> {
    /// The application group that it is for.
    pub(crate) fn application_group(&self) -> &[u8] {
        match self {
            Self::Application(route) => &route.application_group,
            Self::Hook(question) => &question.application_group,
        }
    }

    /// The script that it needs.
    pub(crate) fn script(&self) -> &[u8] {
        match self {
            Self::Application(route) => route.script,
            Self::Hook(question) => question.script,
        }
    }

    /// Whether its process counts as idle all the same (WSGIIgnoreActivity).
    pub(crate) fn ignores_activity(&self) -> bool {
        matches!(self, Self::Application(route) if route.ignore_activity)
    }

    /// Whether the body of the request belongs to it.
    pub(crate) fn takes_body(&self) -> bool {
        matches!(self, Self::Application(_))
    }

    /// Appends the payload of a `Request` frame, without body. False when the request has more than
    /// fits, which is logged.
    pub(crate) fn write(
        &self,
        request: &Request<'_>,
        delivery: &Delivery<'_>,
        frame: &mut Vec<u8>,
    ) -> bool {
        let is_whole = self.write_whole(request, delivery, frame)
            && self.application_group().len() <= MAX_GROUP
            && frame.len() <= MAX_HEAD;
        if !is_whole {
            log::request(
                request,
                Level::Error,
                b"WSGI0125: The request is too large to be passed on: it has too many headers or variables, or too long ones",
            );
        }
        is_whole
    }

    fn write_whole(
        &self,
        request: &Request<'_>,
        delivery: &Delivery<'_>,
        frame: &mut Vec<u8>,
    ) -> bool {
        let Delivery { slot, mark, body, content_length, queue_start, .. } = *delivery;
        let head = Head {
            slot,
            mark,
            body,
            script_reloading: true,
            enable_sendfile: false,
            ignore_activity: false,
            pass_request: false,
            hook: Hook::None,
            log_level: log::request_level(request),
            request_start: request.time(),
            queue_start,
            content_length,
            script_mtime: -1,
            script: b"",
            application_group: self.application_group(),
            callable: b"",
            resource: b"",
        };
        match self {
            Self::Application(route) => {
                let file = request.filename().unwrap_or_default();
                Head {
                    script_reloading: route.script_reloading,
                    enable_sendfile: route.enable_sendfile,
                    ignore_activity: route.ignore_activity,
                    pass_request: route.pass_apache_request,
                    // httpd has looked at the file of the URL, and at no other.
                    script_mtime: if route.is_handler_script { -1 } else { request.file_time() },
                    script: delivery.path(route.script),
                    callable: &route.callable,
                    resource: if route.is_handler_script { delivery.path(file) } else { b"" },
                    ..head
                }
                .encode(frame);
                environ::write(request, route, delivery, frame)
            }
            Self::Hook(question) => {
                Head {
                    script_reloading: question.script_reloading,
                    pass_request: question.pass_request,
                    hook: question.hook,
                    script: delivery.path(question.script),
                    ..head
                }
                .encode(frame);
                let is_whole = match question.route {
                    Some(route) => {
                        environ::write_dispatch(request, route, question, delivery, frame)
                    }
                    None => environ::write_hook(request, question, frame),
                };
                encode_arguments(&question.arguments, frame);
                is_whole
            }
        }
    }
}
