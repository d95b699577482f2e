// SPDX-License-Identifier: Apache-2.0
//! Scripts that a directive names with options behind them: hooks, handler scripts, imports
//! (spec-config 1.5).
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::words::{self, Words, text};
use super::{Preload, Text, fold_global};

/// A script with functions that httpd asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookScript {
    /// The script.
    pub(crate) script: Text,
    /// `process-group=`, with `%{GLOBAL}` as ""; None and "" are the httpd child.
    pub(crate) process_group: Option<Text>,
    /// `application-group=`, not expanded yet.
    pub(crate) application_group: Option<Text>,
    /// Whether .htaccess names it, and so perhaps a user that the process group is not for.
    pub(crate) is_in_htaccess: bool,
}

/// A script whose `handle_request` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandlerScript {
    /// Name of the handler.
    pub(crate) name: Text,
    /// The script.
    pub(crate) script: Text,
    /// `process-group=`, not expanded yet.
    pub(crate) process_group: Option<Text>,
    /// `application-group=`, not expanded yet.
    pub(crate) application_group: Option<Text>,
    /// `pass-authorization=`.
    pub(crate) pass_authorization: Option<bool>,
}

/// Options behind a script.
struct Options<'a> {
    /// Of which directive, for messages.
    directive: &'a str,
    /// What it defines, for messages.
    what: &'a str,
    /// Options that it has.
    known: &'a [&'a str],
}

impl Options<'_> {
    /// Reads the options; each value is not empty.
    fn read(
        &self,
        words: &mut Words<'_>,
        mut store: impl FnMut(&str, Vec<u8>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Self { directive, what, known } = self;
        let invalid = |word: &str| {
            let hint = super::nearest(word, known.iter()).map_or_else(
                || format!("known are {}", known.join(", ")),
                |name| format!("did you mean {name}=?"),
            );
            format!("invalid option to WSGI {what} definition: \"{word}\", {hint}")
        };
        while let Some(option) = words.option() {
            let (name, value) = option.map_err(|word| invalid(&word))?;
            if !known.contains(&name.as_str()) {
                return Err(invalid(&name));
            }
            if value.is_empty() {
                let meaning = match name.as_str() {
                    "process-group" => "name for WSGI process group",
                    "application-group" => "name for WSGI application group",
                    _ => "value for authorization flag",
                };
                return Err(format!("invalid {meaning}: {directive} {name}= needs a value"));
            }
            store(&name, value)?;
        }
        Ok(())
    }
}

/// Reads "path [application-group=] [process-group=]".
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse_hook(
    directive: &str,
    what: &str,
    line: &[u8],
    is_in_htaccess: bool,
) -> Result<Arc<HookScript>, String> {
    let mut words = Words::new(line);
    let Some(script) = words.next_filled() else {
        return Err(format!("location of {what} not supplied: write {directive} file-path"));
    };
    let mut found = HookScript {
        script: script.into(),
        process_group: None,
        application_group: None,
        is_in_htaccess,
    };
    let options = Options { directive, what, known: &["application-group", "process-group"] };
    options.read(&mut words, |name, value| {
        match name {
            "process-group" => found.process_group = Some(fold_global(&value)),
            _ => found.application_group = Some(value.into()),
        }
        Ok(())
    })?;
    Ok(Arc::new(found))
}

/// Reads "name path [process-group=] [application-group=] [pass-authorization=]".
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse_handler(line: &[u8]) -> Result<HandlerScript, String> {
    let mut words = Words::new(line);
    let Some(name) = words.next_filled() else {
        return Err(
            "name for handler script not supplied: write WSGIHandlerScript handler-name file-path"
                .into(),
        );
    };
    let Some(script) = words.next_filled() else {
        return Err("location of handler script not supplied: write WSGIHandlerScript handler-name file-path".into());
    };
    let mut found = HandlerScript {
        name: name.into(),
        script: script.into(),
        process_group: None,
        application_group: None,
        pass_authorization: None,
    };
    let options = Options {
        directive: "WSGIHandlerScript",
        what: "handler script",
        known: &["process-group", "application-group", "pass-authorization"],
    };
    options.read(&mut words, |name, value| {
        match name {
            "process-group" => found.process_group = Some(value.into()),
            "application-group" => found.application_group = Some(value.into()),
            _ => {
                found.pass_authorization = Some(words::boolean(&value).ok_or_else(|| {
                    format!("invalid value for authorization flag: WSGIHandlerScript pass-authorization={} must be On or Off", text(&value))
                })?);
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads "path process-group= application-group=".
///
/// # Errors
/// What is wrong and what to write instead.
pub(crate) fn parse_import(line: &[u8]) -> Result<Preload, String> {
    let mut words = Words::new(line);
    let Some(script) = words.next_filled() else {
        return Err("location of import script not supplied: write WSGIImportScript file-path process-group=name application-group=name".into());
    };
    let (mut process_group, mut application_group) = (None, None);
    let options = Options {
        directive: "WSGIImportScript",
        what: "import script",
        known: &["process-group", "application-group"],
    };
    options.read(&mut words, |name, value| {
        match name {
            "process-group" => process_group = Some(fold_global(&value)),
            _ => application_group = Some(fold_global(&value)),
        }
        Ok(())
    })?;
    let missing = |what: &str, option: &str| {
        format!("name of WSGI {what} required: write {option}=, %{{GLOBAL}} for the default one")
    };
    let application_group =
        application_group.ok_or_else(|| missing("application group", "application-group"))?;
    let process_group = process_group.ok_or_else(|| missing("process group", "process-group"))?;
    Ok(Preload { script: script.into(), process_group, application_group, is_import: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_have_two_options() {
        let line = b"/a.py application-group=%{SERVER} process-group=%{GLOBAL}";
        let hook = parse_hook("WSGIAccessScript", "access script", line, false).unwrap();
        assert_eq!(hook.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(hook.application_group.as_deref(), Some(&b"%{SERVER}"[..]));
        for (line, needle) in [
            ("", "location of access script not supplied"),
            ("''", "location of access script not supplied"),
            ("/a stray", "definition: \"stray\""),
            ("/a callable-object=x", "invalid option"),
            ("/a application-group=", "invalid name for WSGI application group"),
            ("/a processgroup=x", "did you mean process-group"),
        ] {
            let error = parse_hook("WSGIAccessScript", "access script", line.as_bytes(), false)
                .unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }

    #[test]
    fn handlers_have_a_name_and_a_script() {
        let handler = parse_handler(b"h /a process-group=%{GLOBAL} pass-authorization=on").unwrap();
        assert_eq!(handler.process_group.as_deref(), Some(&b"%{GLOBAL}"[..]));
        assert_eq!(handler.pass_authorization, Some(true));
        for (line, needle) in [
            ("", "name for handler script"),
            ("h", "location of handler script"),
            ("h /a callable-object=x", "invalid option"),
            ("h /a pass-authorization=yes", "On or Off"),
        ] {
            let error = parse_handler(line.as_bytes()).unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }

    #[test]
    fn imports_need_both_groups() {
        let import = parse_import(b"/a process-group=%{GLOBAL} application-group=x").unwrap();
        assert_eq!((&*import.process_group, &*import.application_group), (&b""[..], &b"x"[..]));
        for (line, needle) in [
            ("", "location of import script"),
            ("/a", "application group required"),
            ("/a application-group=x", "process group required"),
            ("/a process-group=x", "application group required"),
            ("/a other=x", "invalid option"),
        ] {
            let error = parse_import(line.as_bytes()).unwrap_err();
            assert!(error.contains(needle), "{line}: {error}");
        }
    }
}
