// SPDX-License-Identifier: Apache-2.0
//! Directives of process groups, sockets, embedded mode and what is measured.
#![forbid(unsafe_code)]

use super::{Action, Directive, Here, Place, global};
use crate::config::daemon_process;
use crate::config::words::{self, Words, text};

const BOOLEAN: &str = "On|Off";

pub(super) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: c"WSGIDaemonProcess",
        place: Place::Server,
        usage: "name [option=value ...]",
        default: "none",
        meaning: c"Defines a process group: daemon processes that run applications",
        action: Action::Line(daemon_process_line),
    },
    global(
        c"WSGIRestrictEmbedded",
        BOOLEAN,
        "Off",
        c"Whether requests that go to no process group are refused",
        Action::GlobalBoolean(|global, value| {
            global.restrict_embedded = Some(value);
            global.needs_embedded |= !value;
        }),
    ),
    global(
        c"WSGISocketPrefix",
        "path prefix of the sockets",
        "wsgi in httpd's runtime directory",
        c"Where sockets to daemon processes are made, relative to ServerRoot",
        Action::Line(socket_prefix),
    ),
    global(
        c"WSGISocketRotation",
        BOOLEAN,
        "On",
        c"No effect: each daemon process has a socket of its own, which lives as long as it",
        Action::Line(|line, here| {
            inert(
                "WSGISocketRotation",
                line,
                here,
                "a socket lives as long as its daemon process, also across restarts of httpd",
            )
        }),
    ),
    global(
        c"WSGIAcceptMutex",
        "default|flock|fcntl|sysvsem|posixsem|pthread",
        "none",
        c"No effect: daemon processes do not compete for connections",
        Action::Line(accept_mutex),
    ),
    global(
        c"WSGIVerboseDebugging",
        BOOLEAN,
        "Off",
        c"No effect: LogLevel wsgi:debug says more",
        Action::GlobalBoolean(|global, value| {
            if value {
                global.notice(
                    "WSGIVerboseDebugging has no effect any more: write LogLevel wsgi:debug".into(),
                );
            }
        }),
    ),
    global(
        c"WSGIServerMetrics",
        BOOLEAN,
        "Off",
        c"Whether mod_wsgi.server_metrics() tells what httpd's scoreboard has, in embedded mode; server-metrics= says so for a process group",
        Action::GlobalBoolean(|global, value| global.server_metrics = value),
    ),
    global(
        c"WSGITelemetryService",
        "unix:path [interval=seconds]",
        "off",
        c"Accepted, nothing is reported",
        Action::Line(telemetry_service),
    ),
    global(
        c"WSGITelemetryOptions",
        "[+|-]CaptureUserAgent|None|All ...",
        "none",
        c"Accepted, nothing is reported",
        Action::Line(telemetry_options),
    ),
    global(
        c"WSGISlowRequests",
        "seconds",
        "0 (off)",
        c"Seconds from which on a request is slow, and the log says so: while it runs in a daemon process, with its Python stack; and when it is over",
        Action::Line(slow_requests),
    ),
];

fn daemon_process_line(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let process = daemon_process::parse(line, here.context)?;
    let (host, place) = (here.host.clone(), here.context.place());
    if let Some(warning) = here.global()?.add_group(process, host, place)? {
        here.context.warn(warning);
    }
    Ok(())
}

fn socket_prefix(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let path = super::single("WSGISocketPrefix", "path prefix of the sockets", line)?;
    let absolute = here.context.server_root_relative(&path).ok_or_else(|| {
        format!("WSGISocketPrefix path {} cannot be resolved against ServerRoot", text(&path))
    })?;
    here.global()?.socket_prefix = Some(absolute);
    Ok(())
}

/// On or Off, with nothing to switch.
fn inert(name: &str, line: &[u8], here: &mut Here<'_>, instead: &str) -> Result<(), String> {
    let word = super::single(name, BOOLEAN, line)?;
    if words::boolean(&word).is_none() {
        return Err(format!("{name} must be one of: Off | On, and not \"{}\"", text(&word)));
    }
    here.global()?.notice(format!("{name} has no effect: {instead}"));
    Ok(())
}

fn accept_mutex(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    const KNOWN: [&str; 6] = ["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];
    let word = super::single("WSGIAcceptMutex", &KNOWN.join("|"), line)?;
    if !KNOWN.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())) {
        return Err(format!(
            "Accept mutex lock mechanism \"{}\" is invalid: WSGIAcceptMutex must be one of {}",
            text(&word),
            KNOWN.join(", ")
        ));
    }
    here.global()?.notice(
        "WSGIAcceptMutex has no effect: httpd's children choose the daemon process, so that none waits for another"
            .into(),
    );
    Ok(())
}

fn telemetry_notice(name: &str, here: &mut Here<'_>) -> Result<(), String> {
    here.global()?.notice(format!("{name} is accepted, but nothing is reported yet"));
    Ok(())
}

fn telemetry_service(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let mut words = Words::new(line);
    let Some(target) = words.next() else {
        return Err(
            "WSGITelemetryService takes one or two arguments, unix:path [interval=seconds]".into(),
        );
    };
    if !target.starts_with(b"unix:") {
        return Err(format!(
            "WSGITelemetryService target must start with \"unix:\", and \"{}\" does not",
            text(&target)
        ));
    }
    if let Some(option) = words.next_filled() {
        let interval = option.strip_prefix(b"interval=").map(words::lenient_float);
        if interval.is_none_or(|seconds| seconds < 0.5) {
            return Err(format!(
                "WSGITelemetryService takes interval=seconds as second argument, of at least 0.5, and not \"{}\"",
                text(&option)
            ));
        }
        if !words.is_empty() {
            return Err(
                "WSGITelemetryService takes one or two arguments, unix:path [interval=seconds]"
                    .into(),
            );
        }
    }
    telemetry_notice("WSGITelemetryService", here)
}

fn slow_requests(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let word = super::single("WSGISlowRequests", "seconds", line)?;
    let seconds = words::lenient_float(&word);
    if seconds < 0.0 {
        return Err(format!(
            "WSGISlowRequests must be a number of seconds, not a negative one, and not \"{}\"",
            text(&word)
        ));
    }
    here.global()?.slow_requests = (seconds * 1e6) as u64;
    Ok(())
}

fn telemetry_options(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let mut words = Words::new(line);
    let (mut signed, mut is_empty) = (None, true);
    for word in std::iter::from_fn(|| words.next()) {
        is_empty = false;
        if word.is_empty() {
            continue;
        }
        let (is_signed, flag) = match word.first() {
            Some(b'+' | b'-') => (true, word.get(1..).unwrap_or_default()),
            _ => (false, word.as_slice()),
        };
        if flag.is_empty() {
            return Err(
                "WSGITelemetryOptions: + and - need the name of an option behind them".into()
            );
        }
        if signed.is_some_and(|signed| signed != is_signed) {
            return Err("WSGITelemetryOptions: options with + or - and options without cannot be mixed in one line".into());
        }
        signed = Some(is_signed);
        match flag.to_ascii_lowercase().as_slice() {
            b"none" | b"all" if is_signed => {
                return Err(format!(
                    "WSGITelemetryOptions: {} cannot have + or - as prefix",
                    text(flag)
                ));
            }
            b"none" | b"all" | b"captureuseragent" => {}
            _ => {
                return Err(format!(
                    "WSGITelemetryOptions: there is no option \"{}\", known are CaptureUserAgent, None and All",
                    text(flag)
                ));
            }
        }
    }
    if is_empty {
        return Err(
            "WSGITelemetryOptions needs at least one argument, [+|-]CaptureUserAgent|None|All"
                .into(),
        );
    }
    telemetry_notice("WSGITelemetryOptions", here)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn what_has_no_effect_is_checked_and_told_once() {
        let (global, _) = read(&[
            "WSGIAcceptMutex FCNTL",
            "WSGIAcceptMutex default",
            "WSGISocketRotation Off",
            "WSGITelemetryService unix:/x interval=0.5",
            "WSGITelemetryOptions +captureUserAgent",
            "WSGISlowRequests 2.5",
        ])
        .unwrap();
        assert_eq!(global.notices.len(), 4);
        assert_eq!(global.slow_requests, 2_500_000);
        for line in [
            "WSGIAcceptMutex semaphore",
            "WSGISocketRotation yes",
            "WSGITelemetryService tcp:1",
            "WSGITelemetryService unix:/x interval=0.1",
            "WSGITelemetryService unix:/x 5",
            "WSGITelemetryOptions ",
            "WSGITelemetryOptions +",
            "WSGITelemetryOptions +All",
            "WSGITelemetryOptions All -CaptureUserAgent",
            "WSGITelemetryOptions Other",
            "WSGISlowRequests -1",
        ] {
            assert!(read(&[line]).is_err(), "{line}");
        }
    }
}
