// SPDX-License-Identifier: Apache-2.0
//! The directives, one table entry each: name, context, how its arguments are read and where they
//! go. httpd's command table is made from this one.
#![forbid(unsafe_code)]

use super::words::{self, Words, text};
use super::{Context, Global, Host, Preload, Scoped, ServerConfig, alias, daemon_process};

/// Where a directive may stand (spec-config 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Main server only.
    Global,
    /// Main server and virtual hosts.
    Server,
    /// These and directory sections.
    Directory,
    /// These and .htaccess with `AllowOverride FileInfo`.
    FileInfo,
}

/// What a directive of a server has at hand.
pub(crate) struct Here<'a> {
    /// Record of the server or virtual host.
    pub(crate) server: &'a mut ServerConfig,
    /// What holds for the whole of httpd.
    pub(crate) global: &'a mut Global,
    /// Which server or virtual host it is.
    pub(crate) host: Host,
    /// Users, groups, warnings.
    pub(crate) context: &'a mut dyn Context,
}

/// How arguments are read and where they go.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// One `On` or `Off`.
    GlobalBoolean(fn(&mut Global, bool)),
    /// One word.
    GlobalText(fn(&mut Global, super::Text)),
    /// One word that is a path relative to ServerRoot; the reader of the configuration resolves it.
    GlobalPath(fn(&mut Global, super::Text)),
    /// One `On` or `Off`, of a server or a directory.
    ScopedBoolean(fn(&mut Scoped, bool)),
    /// One word, of a server or a directory.
    ScopedText(fn(&mut Scoped, super::Text)),
    /// The whole line.
    Line(fn(&[u8], &mut Here<'_>) -> Result<(), String>),
}

/// One directive.
pub(crate) struct Directive {
    /// Its name; httpd compares it without regard to case.
    pub(crate) name: &'static str,
    /// Where it may stand.
    pub(crate) place: Place,
    /// How it is written.
    pub(crate) usage: &'static str,
    /// How its arguments are read.
    pub(crate) action: Action,
}

/// All directives.
pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "WSGIScriptAlias",
        place: Place::Server,
        usage: "URL-path file-path [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]",
        action: Action::Line(script_alias),
    },
    Directive {
        name: "WSGIDaemonProcess",
        place: Place::Server,
        usage: "name [option=value ...]",
        action: Action::Line(daemon_process_line),
    },
    Directive {
        name: "WSGIProcessGroup",
        place: Place::Directory,
        usage: "name|%{GLOBAL}|%{ENV:variable}",
        action: Action::ScopedText(|scoped, value| scoped.process_group = Some(value)),
    },
    Directive {
        name: "WSGIApplicationGroup",
        place: Place::Directory,
        usage: "name|%{GLOBAL}|%{RESOURCE}|%{SERVER}|%{HOST}|%{ENV:variable}",
        action: Action::ScopedText(|scoped, value| scoped.application_group = Some(value)),
    },
    Directive {
        name: "WSGICallableObject",
        place: Place::FileInfo,
        usage: "name|%{ENV:variable}",
        action: Action::ScopedText(|scoped, value| scoped.callable_object = Some(value)),
    },
    Directive {
        name: "WSGIPassAuthorization",
        place: Place::FileInfo,
        usage: "On|Off",
        action: Action::ScopedBoolean(|scoped, value| scoped.pass_authorization = Some(value)),
    },
    Directive {
        name: "WSGIScriptReloading",
        place: Place::FileInfo,
        usage: "On|Off",
        action: Action::ScopedBoolean(|scoped, value| scoped.script_reloading = Some(value)),
    },
    Directive {
        name: "WSGIPythonHome",
        place: Place::Global,
        usage: "directory of a virtual environment or a Python installation",
        action: Action::GlobalText(|global, value| global.python_home = Some(value)),
    },
    Directive {
        name: "WSGIPythonPath",
        place: Place::Global,
        usage: "directory[:directory ...]",
        action: Action::GlobalText(|global, value| global.python_path = Some(value)),
    },
    Directive {
        name: "WSGIRestrictStdout",
        place: Place::Global,
        usage: "On|Off",
        action: Action::GlobalBoolean(|global, value| global.restrict_stdout = Some(value)),
    },
    Directive {
        name: "WSGIRestrictEmbedded",
        place: Place::Global,
        usage: "On|Off",
        action: Action::GlobalBoolean(|global, value| global.restrict_embedded = Some(value)),
    },
    Directive {
        name: "WSGIVerboseDebugging",
        place: Place::Global,
        usage: "On|Off",
        action: Action::GlobalBoolean(|global, value| global.verbose_debugging = Some(value)),
    },
    Directive {
        name: "WSGISocketPrefix",
        place: Place::Global,
        usage: "path prefix of the sockets",
        action: Action::GlobalPath(|global, value| global.socket_prefix = Some(value)),
    },
];

impl Directive {
    /// Reads the one word that most directives have.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub(crate) fn one_word(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        let mut words = Words::new(line);
        match words.next() {
            Some(word) if words.is_empty() => Ok(word),
            _ => Err(format!("{} takes one argument, {}", self.name, self.usage)),
        }
    }

    /// Reads one `On` or `Off`.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn boolean(&self, line: &[u8]) -> Result<bool, String> {
        let word = self.one_word(line)?;
        words::boolean(&word).ok_or_else(|| {
            format!("{} must be one of: Off | On, and not \"{}\"", self.name, text(&word))
        })
    }
}

fn script_alias(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let alias = alias::parse(line)?;
    if alias.is_preloaded()
        && let (Some(process_group), Some(application_group)) =
            (&alias.process_group, &alias.application_group)
    {
        let preload = Preload {
            script: alias.target.clone(),
            process_group: process_group.clone(),
            application_group: application_group.clone(),
        };
        here.global.add_preload(preload, &here.host)?;
    }
    std::sync::Arc::make_mut(&mut here.server.aliases).push(alias);
    Ok(())
}

fn daemon_process_line(line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
    let process = daemon_process::parse(line, here.context)?;
    if let Some(warning) = here.global.add_group(process, here.host.clone())? {
        here.context.warn(warning);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directive(name: &str) -> &'static Directive {
        DIRECTIVES.iter().find(|directive| directive.name == name).unwrap()
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = DIRECTIVES.iter().map(|directive| directive.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DIRECTIVES.len());
    }

    #[test]
    fn one_word_is_one_word() {
        let directive = directive("WSGIProcessGroup");
        assert_eq!(directive.one_word(b" \"a b\" ").unwrap(), b"a b");
        assert!(
            directive.one_word(b"").unwrap_err().contains("WSGIProcessGroup takes one argument")
        );
        assert!(directive.one_word(b"a b").is_err());
    }

    #[test]
    fn booleans_name_what_was_said() {
        let directive = directive("WSGIScriptReloading");
        assert_eq!(directive.boolean(b"oFF"), Ok(false));
        let error = directive.boolean(b"yes").unwrap_err();
        assert!(
            error.contains("WSGIScriptReloading")
                && error.contains("yes")
                && error.contains("Off | On")
        );
    }
}
