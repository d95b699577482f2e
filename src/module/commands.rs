// SPDX-License-Identifier: Apache-2.0
//! The command table, and how httpd reaches the records of the configuration.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use crate::config::alias::Pattern;
use crate::config::directive::{Action, DIRECTIVES, Directive, Place};
use crate::config::{Global, Scoped, ServerConfig, words};
use crate::httpd::command::Command;
use crate::httpd::guard::guard;
use crate::httpd::pool::Pool;
use crate::httpd::regex::Regex;
use crate::httpd::{bytes, sys};
use crate::reading;

/// httpd's view of the table of directives, ended by an empty entry.
pub(super) struct CommandTable(pub(super) [sys::command_rec; DIRECTIVES.len() + 1]);

// SAFETY: the table holds addresses of constants only.
unsafe impl Sync for CommandTable {}

pub(super) static TABLE: CommandTable = CommandTable(commands());

const fn commands() -> [sys::command_rec; DIRECTIVES.len() + 1] {
    let empty = sys::command_rec {
        name: std::ptr::null(),
        func: sys::cmd_func { raw_args: None },
        cmd_data: std::ptr::null_mut(),
        req_override: 0,
        args_how: sys::RAW_ARGS,
        errmsg: std::ptr::null(),
    };
    let mut table = [empty; DIRECTIVES.len() + 1];
    let mut index = 0;
    while index < DIRECTIVES.len() {
        table[index].name = DIRECTIVES[index].name.as_ptr();
        table[index].errmsg = DIRECTIVES[index].meaning.as_ptr();
        table[index].func = sys::cmd_func { raw_args: Some(set_directive) };
        table[index].cmd_data = std::ptr::without_provenance_mut(index);
        table[index].req_override = match DIRECTIVES[index].place {
            Place::Global | Place::Server => sys::RSRC_CONF,
            Place::Directory => sys::RSRC_CONF | sys::ACCESS_CONF,
            Place::FileInfo => sys::OR_FILEINFO,
            Place::AuthConfig => sys::OR_AUTHCFG,
        };
        index += 1;
    }
    table
}

/// Key of the collected configuration in the configuration's pool.
const GLOBAL: &CStr = c"mod_wsgi configuration";

/// # Safety
/// `pool` is the configuration's, and this thread alone reads the configuration.
pub(super) unsafe fn global<'a>(pool: Pool<'a>) -> Option<&'a mut Global> {
    // SAFETY: the caller's promise; the pool keeps the value, and nobody holds it across calls.
    unsafe { pool.state::<Global>(GLOBAL).as_mut() }
}

pub(super) unsafe extern "C" fn create_directory_config(
    pool: *mut sys::apr_pool_t,
    _path: *mut c_char,
) -> *mut c_void {
    guard("create_dir_config", std::ptr::null_mut(), || {
        // SAFETY: httpd's pool, for the duration of the call.
        unsafe { Pool::from_ptr(pool) }
            .map_or(std::ptr::null_mut(), |pool| pool.own(Scoped::default()).cast())
    })
}

pub(super) unsafe extern "C" fn merge_directory_config(
    pool: *mut sys::apr_pool_t,
    base: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    guard("merge_dir_config", base, || {
        // SAFETY: httpd's pool; both are null or what create or merge made, alive during the call.
        let (pool, base_config, inner) = unsafe {
            (Pool::from_ptr(pool), base.cast::<Scoped>().as_ref(), inner.cast::<Scoped>().as_ref())
        };
        match (pool, base_config, inner) {
            (Some(pool), Some(base), Some(inner)) => pool.own(inner.or(base)).cast(),
            _ => base,
        }
    })
}

pub(super) unsafe extern "C" fn create_server_config(
    pool: *mut sys::apr_pool_t,
    _server: *mut sys::server_rec,
) -> *mut c_void {
    guard("create_server_config", std::ptr::null_mut(), || {
        // SAFETY: httpd's pool, for the duration of the call.
        unsafe { Pool::from_ptr(pool) }
            .map_or(std::ptr::null_mut(), |pool| pool.own(ServerConfig::default()).cast())
    })
}

pub(super) unsafe extern "C" fn merge_server_config(
    pool: *mut sys::apr_pool_t,
    base: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    guard("merge_server_config", base, || {
        // SAFETY: httpd's pool; both are null or what create or merge made, alive during the call.
        let (pool, base_config, inner) = unsafe {
            (
                Pool::from_ptr(pool),
                base.cast::<ServerConfig>().as_ref(),
                inner.cast::<ServerConfig>().as_ref(),
            )
        };
        match (pool, base_config, inner) {
            (Some(pool), Some(base), Some(inner)) => pool.own(base.merged(inner)).cast(),
            _ => base,
        }
    })
}

unsafe extern "C" fn set_directive(
    command: *mut sys::cmd_parms,
    directory: *mut c_void,
    line: *const c_char,
) -> *const c_char {
    let failed = c"internal error, see the log".as_ptr();
    guard("directive", failed, || {
        // SAFETY: httpd's description of the directive, alive during the call.
        let Some(command) = (unsafe { Command::from_ptr(command) }) else { return failed };
        let (Some(pool), Some(number)) = (command.pool(), command.number()) else { return failed };
        let Some(directive) = DIRECTIVES.get(number) else { return failed };
        // SAFETY: a C string of httpd's, alive during the call.
        let line = unsafe { bytes(line) }.unwrap_or_default();
        let result = match directive.action {
            Action::Section => read_section(command, pool, line),
            _ => read_directive(directive, command, pool, directory, line),
        };
        match result {
            Ok(()) => std::ptr::null(),
            // What stands in a section has its own name in the text.
            Err(text) if text.contains(directive.label()) || directive.is_section() => {
                pool.copy(text.as_bytes()).cast_const()
            }
            Err(text) => {
                pool.copy(format!("{}: {text}", directive.label()).as_bytes()).cast_const()
            }
        }
    })
}

fn read_directive(
    directive: &Directive,
    command: Command<'_>,
    pool: Pool<'_>,
    directory: *mut c_void,
    line: &[u8],
) -> Result<(), String> {
    let in_htaccess = command.is_in_htaccess();
    let in_section = command.is_in_section() || directive.place == Place::AuthConfig;
    // SAFETY: httpd hands over what create_directory_config made for the section, or null; it is
    // this section's own, and nobody reads it before it is whole.
    let directory = unsafe { directory.cast::<Scoped>().as_mut() }.filter(|_| in_section);
    if in_section && directory.is_none() {
        return Err("no record of the directory".to_owned());
    }
    let records = if in_htaccess {
        reading::Records { server: None, directory, global: None }
    } else {
        // SAFETY: outside of .htaccess the configuration is being read, by this thread alone; the
        // record is what create_server_config made.
        unsafe {
            reading::Records {
                server: command.server_record::<ServerConfig>(),
                directory,
                global: global(pool),
            }
        }
    };
    let compile = |pattern: &[u8]| {
        // SAFETY: the pool is the configuration's: directives with patterns cannot stand in
        // .htaccess. The aliases that use the expression are dropped with it.
        unsafe { Regex::compile(pool, pattern) }.map(|regex| Arc::new(regex) as Arc<dyn Pattern>)
    };
    reading::directive(directive, command, records, &compile, line)
}

fn read_section(command: Command<'_>, pool: Pool<'_>, line: &[u8]) -> Result<(), String> {
    let missing = || "no configuration".to_owned();
    // SAFETY: the section cannot stand in .htaccess, so that the pool is the configuration's, which
    // this thread alone reads. The reference is not kept while directives inside are read.
    let before = reading::open_block(command, unsafe { global(pool) }.ok_or_else(missing)?, line)?;
    let result = command.read_section().map_err(words::text);
    // SAFETY: as above.
    unsafe { global(pool) }.ok_or_else(missing)?.block = before;
    result
}
