// SPDX-License-Identifier: Apache-2.0
//! The directives, one table entry each and one file a family: name, context, how its arguments are
//! read and where they go (spec-config 1). httpd's command table and the reference of directives are
//! made from these entries.
#![forbid(unsafe_code)]

mod access;
mod legacy;
mod python;
mod request;
mod routing;
mod server;

use std::ffi::CStr;

use super::words::{self, Words, text};
use super::{Context, Global, Host, InterpreterOptions, Scoped, ServerConfig, Text};

pub(crate) use legacy::new_relic;
pub(crate) use python::parse_block;

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
    /// Directory sections, and .htaccess with `AllowOverride AuthConfig`.
    AuthConfig,
}

/// What a directive has at hand.
pub(crate) struct Here<'a> {
    /// Record of the server or virtual host; None in .htaccess.
    pub(crate) server: Option<&'a mut ServerConfig>,
    /// Record of the directory section or .htaccess that the directive stands in.
    pub(crate) directory: Option<&'a mut Scoped>,
    /// What holds for the whole of httpd; None in .htaccess.
    pub(crate) global: Option<&'a mut Global>,
    /// Which server or virtual host it is.
    pub(crate) host: Host,
    /// Users, groups, paths, warnings.
    pub(crate) context: &'a mut dyn Context,
}

impl Here<'_> {
    /// The record that settings of the place go to.
    fn scoped(&mut self) -> Result<&mut Scoped, String> {
        match (&mut self.directory, &mut self.server) {
            (Some(directory), _) => Ok(directory),
            (None, Some(server)) => Ok(&mut server.scoped),
            (None, None) => Err("not allowed here".into()),
        }
    }

    fn server(&mut self) -> Result<&mut ServerConfig, String> {
        self.server.as_deref_mut().ok_or_else(|| "not allowed here".into())
    }

    fn global(&mut self) -> Result<&mut Global, String> {
        self.global.as_deref_mut().ok_or_else(|| "not allowed here".into())
    }

    /// Remembers that something goes to a process group of this name, for the check of the whole.
    fn refer_to_group(&mut self, name: &[u8]) {
        let place = self.context.place();
        if let Some(global) = &mut self.global {
            global.refer_to_group(name, self.host.clone(), place);
        }
    }

    /// Remembers a script, for the check of the whole.
    fn refer_to_script(&mut self, script: &[u8]) {
        let place = self.context.place();
        if let Some(global) = &mut self.global {
            global.scripts.push((script.into(), place));
        }
    }

    /// Remembers that httpd's children need Python, whatever WSGIRestrictEmbedded says.
    fn need_embedded(&mut self) {
        if let Some(global) = &mut self.global {
            global.needs_embedded = true;
        }
    }
}

/// How arguments are read and where they go.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// One `On` or `Off`.
    GlobalBoolean(fn(&mut Global, bool)),
    /// One word.
    GlobalText(fn(&mut Global, Text)),
    /// One `On` or `Off`, of a server or a directory.
    ScopedBoolean(fn(&mut Scoped, bool)),
    /// One word, of a server or a directory.
    ScopedText(fn(&mut Scoped, Text)),
    /// One `On` or `Off`, of all interpreters or of a `<WSGIInterpreterOptions>`.
    OptionBoolean(fn(&mut InterpreterOptions, bool)),
    /// One word, of all interpreters or of a `<WSGIInterpreterOptions>`.
    OptionText(fn(&mut InterpreterOptions, Text) -> Result<(), String>),
    /// The whole line.
    Line(fn(&[u8], &mut Here<'_>) -> Result<(), String>),
    /// A section, for options of interpreters.
    Section,
}

/// One directive.
#[derive(Clone, Copy)]
pub(crate) struct Directive {
    /// Its name; httpd compares it without regard to case.
    pub(crate) name: &'static CStr,
    /// Where it may stand.
    pub(crate) place: Place,
    /// How it is written.
    pub(crate) usage: &'static str,
    /// What holds when it is not written.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) default: &'static str,
    /// One line of meaning; `httpd -L` shows it.
    pub(crate) meaning: &'static CStr,
    /// How its arguments are read.
    pub(crate) action: Action,
}

/// A main-server directive.
const fn global(
    name: &'static std::ffi::CStr,
    usage: &'static str,
    default: &'static str,
    meaning: &'static std::ffi::CStr,
    action: Action,
) -> Directive {
    Directive { name, place: Place::Global, usage, default, meaning, action }
}

const FAMILIES: [&[Directive]; 6] = [
    routing::DIRECTIVES,
    server::DIRECTIVES,
    python::DIRECTIVES,
    request::DIRECTIVES,
    access::DIRECTIVES,
    legacy::DIRECTIVES,
];

const COUNT: usize = {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
};

/// All directives, in the order of the reference.
pub(crate) const DIRECTIVES: [Directive; COUNT] = {
    let mut all = [routing::DIRECTIVES[0]; COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut index = 0;
        while index < FAMILIES[family].len() {
            all[at] = FAMILIES[family][index];
            at += 1;
            index += 1;
        }
        family += 1;
    }
    all
};

impl Directive {
    /// The name, for messages.
    pub(crate) fn label(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// Whether it is a section.
    pub(crate) fn is_section(&self) -> bool {
        matches!(self.action, Action::Section)
    }

    /// Reads the arguments. Sections are not read here, but by [`parse_block`].
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub(crate) fn apply(&self, line: &[u8], here: &mut Here<'_>) -> Result<(), String> {
        match self.action {
            Action::GlobalBoolean(set) => set(here.global()?, self.boolean(line)?),
            Action::GlobalText(set) => set(here.global()?, self.one_word(line)?.into()),
            Action::ScopedBoolean(set) => set(here.scoped()?, self.boolean(line)?),
            Action::ScopedText(set) => set(here.scoped()?, self.one_word(line)?.into()),
            Action::OptionBoolean(set) => set(here.global()?.options_here(), self.boolean(line)?),
            Action::OptionText(set) => {
                set(here.global()?.options_here(), self.one_word(line)?.into())?;
            }
            Action::Line(read) => read(line, here)?,
            Action::Section => return Err("it is a section".into()),
        }
        Ok(())
    }

    /// Reads the one word that most directives have.
    ///
    /// # Errors
    /// When there is none, or more than one.
    fn one_word(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        let mut words = Words::new(line);
        match words.next() {
            Some(word) if words.is_empty() && !word.is_empty() => Ok(word),
            _ => Err(format!("{} takes one argument, {}", self.label(), self.usage)),
        }
    }

    /// Reads one `On` or `Off`.
    ///
    /// # Errors
    /// When it is neither.
    fn boolean(&self, line: &[u8]) -> Result<bool, String> {
        let word = self.one_word(line)?;
        words::boolean(&word).ok_or_else(|| {
            format!("{} must be one of: Off | On, and not \"{}\"", self.label(), text(&word))
        })
    }
}

/// The one word of a directive that reads its whole line.
fn single(name: &str, usage: &str, line: &[u8]) -> Result<Vec<u8>, String> {
    let mut words = Words::new(line);
    match words.next() {
        Some(word) if words.is_empty() && !word.is_empty() => Ok(word),
        _ => Err(format!("{name} takes one argument, {usage}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Block;
    use super::super::tests::Fixed;
    use super::*;

    /// Applies lines of the main server to a new configuration.
    pub(super) fn read(lines: &[&str]) -> Result<(Global, ServerConfig), String> {
        let (mut global, mut server) = (Global::default(), ServerConfig::default());
        for line in lines {
            let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
            let directive = DIRECTIVES.iter().find(|directive| directive.label() == name).unwrap();
            let mut context = Fixed::default();
            let mut here = Here {
                server: Some(&mut server),
                directory: None,
                global: Some(&mut global),
                host: Host { identity: 0, is_virtual: false, name: None },
                context: &mut context,
            };
            directive.apply(arguments.as_bytes(), &mut here)?;
            global.warnings.extend(context.warnings);
            for notice in context.notices {
                global.notice(notice);
            }
        }
        Ok((global, server))
    }

    fn error(line: &str) -> String {
        read(&[line]).err().unwrap_or_default()
    }

    #[test]
    fn names_are_unique_and_everything_is_described() {
        let mut names: Vec<_> = DIRECTIVES.iter().map(Directive::label).collect();
        assert_eq!(names.len(), 52);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DIRECTIVES.len());
        for directive in DIRECTIVES {
            assert!(!directive.default.is_empty(), "{}", directive.label());
            assert!(!directive.meaning.is_empty(), "{}", directive.label());
        }
    }

    #[test]
    fn one_word_is_one_word() {
        let (_, server) = read(&["WSGIProcessGroup  \"a b\" "]).unwrap();
        assert_eq!(server.scoped.process_group.as_deref(), Some(&b"a b"[..]));
        assert!(error("WSGIProcessGroup ").contains("WSGIProcessGroup takes one argument"));
        assert!(error("WSGIProcessGroup a b").contains("takes one argument"));
    }

    #[test]
    fn booleans_name_what_was_said() {
        let (_, server) = read(&["WSGIScriptReloading oFF"]).unwrap();
        assert_eq!(server.scoped.script_reloading, Some(false));
        let error = error("WSGIScriptReloading yes");
        for needle in ["WSGIScriptReloading", "yes", "Off | On"] {
            assert!(error.contains(needle), "{error}");
        }
    }

    #[test]
    fn in_a_section_of_options_options_go_there() {
        let (mut global, mut server) = (Global::default(), ServerConfig::default());
        global.blocks.push(Block::default());
        global.block = Some(0);
        let directive =
            DIRECTIVES.iter().find(|directive| directive.label() == "WSGIPythonPath").unwrap();
        let mut context = Fixed::default();
        let mut here = Here {
            server: Some(&mut server),
            directory: None,
            global: Some(&mut global),
            host: Host { identity: 0, is_virtual: false, name: None },
            context: &mut context,
        };
        directive.apply(b"/x", &mut here).unwrap();
        assert_eq!(global.options.python_path, None);
        assert_eq!(global.blocks[0].options.python_path.as_deref(), Some(&b"/x"[..]));
    }
}
