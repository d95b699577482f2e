// SPDX-License-Identifier: Apache-2.0
//! Directives that mod_wsgi 4 had and 6 has not: accepted, so that old configurations load.
#![forbid(unsafe_code)]

use super::{Action, Directive, Place};

/// A directive that nothing hears.
const fn legacy(
    name: &'static std::ffi::CStr,
    usage: &'static str,
    meaning: &'static std::ffi::CStr,
    action: Action,
) -> Directive {
    Directive { name, place: Place::Global, usage, default: "none", meaning, action }
}

pub(super) const DIRECTIVES: &[Directive] = &[
    legacy(
        c"WSGILazyInitialization",
        "On|Off",
        c"Of mod_wsgi 4; no effect: Python starts in the process that needs it",
        Action::GlobalBoolean(|global, _| {
            global.notice(
                "WSGILazyInitialization has no effect any more, remove it: Python starts in the process that needs it"
                    .into(),
            );
        }),
    ),
    legacy(
        c"WSGINewRelicConfigFile",
        "file-path",
        c"Of mod_wsgi 4; no effect: newrelic-admin or the WSGI script starts the agent",
        Action::GlobalText(|global, _| global.notice(NEW_RELIC.into())),
    ),
    legacy(
        c"WSGINewRelicEnvironment",
        "name",
        c"Of mod_wsgi 4; no effect: newrelic-admin or the WSGI script starts the agent",
        Action::GlobalText(|global, _| global.notice(NEW_RELIC.into())),
    ),
];

/// What is told of them, once.
pub(crate) const NEW_RELIC: &str = "directives and options of New Relic have no effect any more, remove them: call newrelic.agent.initialize() in the WSGI script";

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn old_directives_are_noticed_once() {
        let (global, _) = read(&[
            "WSGILazyInitialization On",
            "WSGINewRelicConfigFile /x",
            "WSGINewRelicEnvironment production",
        ])
        .unwrap();
        assert_eq!(global.notices.len(), 2);
        assert!(read(&["WSGILazyInitialization maybe"]).is_err());
    }
}
