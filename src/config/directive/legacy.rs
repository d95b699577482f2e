// SPDX-License-Identifier: Apache-2.0
//! Directives that mod_wsgi 4 had and 6 has not: accepted, so that old configurations load.
#![forbid(unsafe_code)]

use super::{Action, Directive, global};

pub(super) const DIRECTIVES: &[Directive] = &[
    global(
        c"WSGILazyInitialization",
        "On|Off",
        "none",
        c"Of mod_wsgi 4; no effect: Python starts in the process that needs it",
        Action::GlobalBoolean(|global, _| {
            global.notice(
                "WSGILazyInitialization has no effect any more, remove it: Python starts in the process that needs it"
                    .into(),
            );
        }),
    ),
    global(
        c"WSGINewRelicConfigFile",
        "file-path",
        "none",
        c"Of mod_wsgi 4; no effect: newrelic-admin or the WSGI script starts the agent",
        Action::GlobalText(|global, _| global.notice(new_relic("WSGINewRelicConfigFile"))),
    ),
    global(
        c"WSGINewRelicEnvironment",
        "name",
        "none",
        c"Of mod_wsgi 4; no effect: newrelic-admin or the WSGI script starts the agent",
        Action::GlobalText(|global, _| global.notice(new_relic("WSGINewRelicEnvironment"))),
    ),
];

/// What is told of a directive or option of New Relic's agent.
pub(crate) fn new_relic(name: &str) -> String {
    format!(
        "{name} has no effect any more, remove it: call newrelic.agent.initialize() in the WSGI script"
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn old_directives_are_noticed_once() {
        let (global, _) = read(&[
            "WSGILazyInitialization On",
            "WSGILazyInitialization Off",
            "WSGINewRelicConfigFile /x",
            "WSGINewRelicEnvironment production",
        ])
        .unwrap();
        assert_eq!(global.notices.len(), 3);
        assert!(read(&["WSGILazyInitialization maybe"]).is_err());
    }
}
