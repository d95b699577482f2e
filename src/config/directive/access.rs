// SPDX-License-Identifier: Apache-2.0
//! Directives that let a script decide who may have a resource (spec-config 7).
#![forbid(unsafe_code)]

use super::{Action, Directive, Here, Place};
use crate::config::script::{self, HookScript};

const USAGE: &str = "file-path [application-group=name] [process-group=name]";

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: c"WSGIAccessScript",
        place: Place::AuthConfig,
        usage: USAGE,
        default: "none",
        meaning: c"A script whose allow_access says which hosts may have the resource",
        action: Action::Line(|line, here| {
            let found = hook("WSGIAccessScript", "access script", line, here)?;
            here.scoped()?.access_script = Some(found);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIAuthUserScript",
        place: Place::AuthConfig,
        usage: USAGE,
        default: "none",
        meaning:
            c"A script whose check_password or get_realm_hash knows the users of the provider wsgi",
        action: Action::Line(|line, here| {
            let found = hook("WSGIAuthUserScript", "auth user script", line, here)?;
            here.scoped()?.auth_user_script = Some(found);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIAuthGroupScript",
        place: Place::AuthConfig,
        usage: USAGE,
        default: "none",
        meaning: c"A script whose groups_for_user says what Require wsgi-group compares",
        action: Action::Line(|line, here| {
            let found = hook("WSGIAuthGroupScript", "auth group script", line, here)?;
            here.scoped()?.auth_group_script = Some(found);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIGroupAuthoritative",
        place: Place::AuthConfig,
        usage: "On|Off",
        default: "On",
        meaning: c"No effect with httpd 2.4, as in mod_wsgi",
        action: Action::ScopedBoolean(|_, _| {}),
    },
];

fn hook(
    directive: &str,
    what: &str,
    line: &[u8],
    here: &mut Here<'_>,
) -> Result<std::sync::Arc<HookScript>, String> {
    let found = script::parse_hook(directive, what, line, here.global.is_none())?;
    register(&found, here);
    Ok(found)
}

/// Remembers what the hook refers to.
pub(super) fn register(hook: &HookScript, here: &mut Here<'_>) {
    here.refer_to_script(&hook.script);
    match &hook.process_group {
        Some(group) if !group.is_empty() => here.refer_to_group(group),
        _ => here.need_embedded(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn a_hook_needs_python_in_httpd_unless_it_has_a_process_group() {
        let (global, server) =
            read(&["WSGIDispatchScript /x process-group=p application-group=a"]).unwrap();
        assert!(!global.needs_embedded && global.is_dynamic);
        assert_eq!(
            server.scoped.dispatch_script.unwrap().process_group.as_deref(),
            Some(&b"p"[..])
        );
        assert!(read(&["WSGIDispatchScript /x"]).unwrap().0.needs_embedded);
        assert!(read(&["WSGIDispatchScript /x process-group=%{GLOBAL}"]).unwrap().0.needs_embedded);
    }
}
