// SPDX-License-Identifier: Apache-2.0
//! Reading the configuration: from a directive as httpd hands it over to the tables of `config/`,
//! and what is told of the whole when all is read.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::config::alias::Pattern;
use crate::config::daemon_process::Account;
use crate::config::directive::{Directive, Here, Place, parse_block};
use crate::config::lint::{self, ServerFacts};
use crate::config::{Context, Global, Host, Scoped, ServerConfig, Text, words};
use crate::httpd::c_string;
use crate::httpd::command::Command;
use crate::httpd::server::Server;
use crate::os::identity;
use crate::supervisor::plan;

/// Compiles a regular expression; None when it is none.
pub(crate) type Compile<'a> = dyn Fn(&[u8]) -> Option<Arc<dyn Pattern>> + 'a;

/// What a directive asks of, and tells to, its reader.
struct Reader<'a> {
    /// The directive.
    command: Command<'a>,
    /// Compiles regular expressions.
    compile: &'a Compile<'a>,
    /// Warnings of this directive.
    warnings: Vec<String>,
    /// Notices of this directive.
    notices: Vec<String>,
}

impl Context for Reader<'_> {
    fn user(&self, name: &[u8]) -> Result<Account, String> {
        let missing = || format!("there is no user {}", words::text(name));
        let found = match numeric(name) {
            Some(uid) => identity::user_by_id(uid),
            None if name.is_empty() => return Err("a user name is missing".into()),
            None => identity::user_by_name(&c_string(name)),
        };
        found.map(|user| Account { name: user.name, uid: user.uid }).ok_or_else(missing)
    }

    fn group(&self, name: &[u8]) -> Result<u32, String> {
        match numeric(name) {
            Some(gid) => Ok(gid),
            None if name.is_empty() => Err("a group name is missing".into()),
            None => identity::group_by_name(&c_string(name))
                .ok_or_else(|| format!("there is no group {}", words::text(name))),
        }
    }

    fn is_root(&self) -> bool {
        identity::effective_uid() == 0
    }

    fn server_root_relative(&self, path: &[u8]) -> Option<Text> {
        self.command.server_root_relative(path).map(Text::from)
    }

    fn compile(&self, pattern: &[u8]) -> Result<Arc<dyn Pattern>, String> {
        (self.compile)(pattern).ok_or_else(|| {
            format!("regular expression could not be compiled: {}", words::text(pattern))
        })
    }

    fn place(&self) -> String {
        let place = self.command.place();
        place.map_or_else(String::new, |(file, line)| format!(" ({}:{line})", words::text(file)))
    }

    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn notice(&mut self, text: String) {
        self.notices.push(text);
    }
}

fn numeric(name: &[u8]) -> Option<u32> {
    // The largest number means "leave it" to the system calls that set ids.
    std::str::from_utf8(name.strip_prefix(b"#")?).ok()?.parse().ok().filter(|id| *id != u32::MAX)
}

/// The records that a directive may write.
pub(crate) struct Records<'a> {
    /// Of its server; None in .htaccess.
    pub(crate) server: Option<&'a mut ServerConfig>,
    /// Of the section or .htaccess that it stands in.
    pub(crate) directory: Option<&'a mut Scoped>,
    /// Of the whole configuration; None in .htaccess.
    pub(crate) global: Option<&'a mut Global>,
}

/// Reads one directive that is no section.
///
/// # Errors
/// What is wrong, for httpd to show.
pub(crate) fn directive(
    directive: &Directive,
    command: Command<'_>,
    records: Records<'_>,
    compile: &Compile<'_>,
    line: &[u8],
) -> Result<(), String> {
    let in_block = records.global.as_ref().is_some_and(|global| global.block.is_some());
    let is_virtual = command.server().is_some_and(|server| server.is_virtual());
    if directive.place == Place::Global
        && (!in_block || is_virtual)
        && let Some(problem) = command.problem_outside_main_server()
    {
        return Err(words::text(problem));
    }
    let server = command.server().ok_or("no server")?;
    let mut reader = Reader { command, compile, warnings: Vec::new(), notices: Vec::new() };
    let Records { server: server_record, directory, mut global } = records;
    let mut here = Here {
        server: server_record,
        directory,
        global: global.as_deref_mut(),
        host: host_of(&server),
        context: &mut reader,
    };
    directive.apply(line, &mut here)?;
    let place = reader.place();
    if let Some(global) = global {
        let warnings = reader.warnings.into_iter().map(|text| format!("{text}{place}"));
        global.warnings.extend(warnings);
        for notice in reader.notices {
            global.notice(notice);
        }
    }
    Ok(())
}

/// Opens a `<WSGIInterpreterOptions>`. Returns which one was open before.
///
/// # Errors
/// What is wrong, for httpd to show.
pub(crate) fn open_block(
    command: Command<'_>,
    global: &mut Global,
    line: &[u8],
) -> Result<Option<usize>, String> {
    if let Some(problem) = command.problem_outside_main_server() {
        return Err(words::text(problem));
    }
    let block = parse_block(line)?;
    global.blocks.push(block);
    Ok(global.block.replace(global.blocks.len() - 1))
}

/// Whether a text begins with a number of its own.
fn is_number(text: &str) -> bool {
    text.strip_prefix("WSGI")
        .is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn host_of(server: &Server<'_>) -> Host {
    Host {
        identity: server.identity(),
        is_virtual: server.is_virtual(),
        name: server.name().map(<[u8]>::to_vec),
    }
}

/// What is to be told of the whole configuration: (whether it is a warning, the line). `is_test` is
/// `configtest`.
pub(crate) fn report<'a>(
    global: &Global,
    servers: impl Iterator<Item = (Server<'a>, &'a ServerConfig)>,
    is_test: bool,
) -> Vec<(bool, String)> {
    let servers: Vec<ServerFacts<'_>> = servers
        .map(|(server, config)| ServerFacts {
            host: host_of(&server),
            config,
            has_unlimited_bodies: server.body_limit() == Some(0),
        })
        .collect();
    let warnings = global.warnings.iter().map(|text| match text.split_once(": ") {
        Some((number, _)) if is_number(number) => text.clone(),
        _ => format!("WSGI0315: {text}"),
    });
    let interpreter = |home: &[u8]| plan::interpreter(Some(home));
    let checked = lint::check(global, &servers);
    let before_start =
        if is_test { lint::check_before_start(global, &interpreter) } else { Vec::new() };
    let notices = global.notices.iter().map(|text| (false, text.clone()));
    warnings.chain(checked).chain(before_start).map(|text| (true, text)).chain(notices).collect()
}
