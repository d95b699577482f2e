// SPDX-License-Identifier: Apache-2.0
//! Hooks: scripts that httpd asks who may have a resource, who a user is, and which groups answer a
//! request (spec-config 1.5 and 7). What their answers mean to httpd is here; how they are asked, in
//! `question`.
#![forbid(unsafe_code)]

mod question;

use mod_wsgi_protocol::hook::{Hook, Outcome};

use crate::config::Scoped;
use crate::config::script::{HandlerScript, HookScript};
use crate::httpd::log::{self, Level};
use crate::httpd::request::Request;
use crate::mapping::routing::{Effective, Route};

pub(crate) use question::Question;
use question::{Numbers, Unasked};

/// What an access script decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It allows the request.
    Allowed,
    /// It has no opinion, or there is none.
    Declined,
    /// 403; the reason is in the log.
    Denied,
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// The password is right.
    Granted,
    /// There is such a user; what httpd computes with.
    Hash(Vec<u8>),
    /// The password is wrong.
    Denied,
    /// There is no such user.
    Unknown,
    /// 500; the reason is in the log.
    Failed,
}

fn refuse(request: &Request<'_>, text: &str) {
    log::request(request, Level::Error, text.as_bytes());
}

/// WSGIAccessScript.
pub(crate) fn allow_access(request: &Request<'_>, directory: &Scoped, server: &Scoped) -> Access {
    let Some(script) = &directory.access_script else { return Access::Declined };
    let host = request.client_host();
    let settings = Effective::new(Some(directory), server);
    let question = Question::new(request, Hook::Access, script, &settings, vec![host]);
    const NUMBERS: Numbers = Numbers { interpreter: "WSGI0054" };
    match question.ask(request, &settings, NUMBERS).map(|answer| answer.outcome) {
        Ok(Outcome::Yes) => Access::Allowed,
        Ok(Outcome::Unknown) => Access::Declined,
        Ok(Outcome::No | Outcome::Failed) | Err(Unasked) => {
            if !request.may_satisfy_otherwise() {
                let file = String::from_utf8_lossy(request.filename().unwrap_or_default());
                refuse(
                    request,
                    &format!(
                        "WSGI0057: Client denied by server configuration: '{file}' (WSGIAccessScript)"
                    ),
                );
            }
            Access::Denied
        }
    }
}

/// Basic and form authentication by WSGIAuthUserScript.
pub(crate) fn check_password(
    request: &Request<'_>,
    directory: &Scoped,
    server: &Scoped,
    user: &[u8],
    password: &[u8],
) -> Authentication {
    const NUMBERS: Numbers = Numbers { interpreter: "WSGI0042" };
    let Some(script) = &directory.auth_user_script else {
        return without_script(request, "WSGI0041");
    };
    let settings = Effective::new(Some(directory), server);
    let arguments = vec![user, password];
    let question = Question::new(request, Hook::Password, script, &settings, arguments);
    let Ok(answer) = question.ask(request, &settings, NUMBERS) else {
        return Authentication::Failed;
    };
    match answer.outcome {
        Outcome::Yes => {
            if let Some(Some(name)) = answer.values.first() {
                request.set_user(name);
            }
            Authentication::Granted
        }
        Outcome::No => Authentication::Denied,
        Outcome::Unknown => Authentication::Unknown,
        Outcome::Failed => Authentication::Failed,
    }
}

/// Digest authentication by WSGIAuthUserScript.
pub(crate) fn realm_hash(
    request: &Request<'_>,
    directory: &Scoped,
    server: &Scoped,
    user: &[u8],
    realm: &[u8],
) -> Authentication {
    const NUMBERS: Numbers = Numbers { interpreter: "WSGI0045" };
    let Some(script) = &directory.auth_user_script else {
        return without_script(request, "WSGI0044");
    };
    let settings = Effective::new(Some(directory), server);
    let question = Question::new(request, Hook::RealmHash, script, &settings, vec![user, realm]);
    let Ok(answer) = question.ask(request, &settings, NUMBERS) else {
        return Authentication::Failed;
    };
    match (answer.outcome, answer.values.into_iter().next()) {
        // httpd would take what is before a NUL.
        (Outcome::Yes, Some(Some(hash))) if !hash.contains(&0) => Authentication::Hash(hash),
        (Outcome::Unknown, _) => Authentication::Unknown,
        _ => Authentication::Failed,
    }
}

fn without_script(request: &Request<'_>, number: &str) -> Authentication {
    refuse(
        request,
        &format!(
            "{number}: Location of WSGI user authentication script not provided: the provider wsgi needs WSGIAuthUserScript here"
        ),
    );
    Authentication::Failed
}

/// Whether a user is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// In one of them.
    Member,
    /// In none of them, or the script failed to say.
    Stranger,
    /// 500; nobody could be asked, and the reason is in the log.
    Failed,
}

/// `Require wsgi-group`: whether the user is in one of the groups. Case makes no difference, as in
/// mod_wsgi. A script that fails has no groups, as there; that nobody can be asked is no answer, which
/// `Require not` must not turn round.
pub(crate) fn is_in_group(
    request: &Request<'_>,
    directory: &Scoped,
    server: &Scoped,
    user: &[u8],
    required: &[Vec<u8>],
) -> Membership {
    const NUMBERS: Numbers = Numbers { interpreter: "WSGI0048" };
    let Some(script) = &directory.auth_group_script else {
        refuse(
            request,
            "WSGI0058: Location of WSGI group authorization script not provided: Require wsgi-group needs WSGIAuthGroupScript here",
        );
        return Membership::Stranger;
    };
    let settings = Effective::new(Some(directory), server);
    let question = Question::new(request, Hook::Groups, script, &settings, vec![user]);
    let Ok(answer) = question.ask(request, &settings, NUMBERS) else {
        return Membership::Failed;
    };
    if answer.outcome != Outcome::Yes {
        return Membership::Stranger;
    }
    let name = String::from_utf8_lossy(user);
    if answer.values.is_empty() {
        refuse(
            request,
            &format!(
                "WSGI0059: Authorization of user '{name}' to access resource failed: user is not a member of any groups"
            ),
        );
        return Membership::Stranger;
    }
    let is_member = answer
        .values
        .iter()
        .flatten()
        .any(|group| required.iter().any(|required| required.eq_ignore_ascii_case(group)));
    if !is_member {
        refuse(
            request,
            &format!(
                "WSGI0060: Authorization of user '{name}' to access resource failed: user is not a member of the required groups"
            ),
        );
    }
    if is_member { Membership::Member } else { Membership::Stranger }
}

/// WSGIDispatchScript: lets the script change the route.
///
/// # Errors
/// The HTTP status for the request; the reason is in the log.
pub(crate) fn dispatch(
    request: &Request<'_>,
    script: &HookScript,
    settings: &Effective<'_>,
    handler: Option<&HandlerScript>,
    route: &mut Route<'_>,
) -> Result<(), u16> {
    const NUMBERS: Numbers = Numbers { interpreter: "WSGI0086" };
    let mut question = Question::new(request, Hook::Dispatch, script, settings, Vec::new());
    question.route = Some(route);
    let answer = question.ask(request, settings, NUMBERS).map_err(|Unasked| 500_u16)?;
    match answer.outcome {
        Outcome::Yes => {
            route.follow(request, handler, &answer.values);
            Ok(())
        }
        // A script that cannot be loaded changes nothing, as in mod_wsgi.
        Outcome::Unknown => Ok(()),
        Outcome::No | Outcome::Failed => Err(500),
    }
}
