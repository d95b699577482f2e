// SPDX-License-Identifier: Apache-2.0
//! The `wsgi_module` record, its command table and its hooks: how httpd reaches the rest, and
//! nothing else.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use crate::config::daemon_process::Account;
use crate::config::directive::{Action, DIRECTIVES, Directive, Here, Place};
use crate::config::{Context, Global, Host, Scoped, ServerConfig, Text, words};
use crate::handler;
use crate::httpd::guard::{self, guard};
use crate::httpd::log::{self, Level};
use crate::httpd::pool::Pool;
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::httpd::{bytes, c_string, mpm, set_module, sys};
use crate::os::identity;
use crate::runtime::Runtime;

/// The module record. It is Rust's because a C one is not exported from a cdylib, and its name must
/// be that of mod_wsgi's source file, for `<IfModule mod_wsgi.c>`.
#[unsafe(no_mangle)]
pub static mut wsgi_module: sys::module = sys::module {
    version: sys::MODULE_MAGIC_NUMBER_MAJOR,
    minor_version: sys::MODULE_MAGIC_NUMBER_MINOR,
    module_index: -1,
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: sys::MODULE_MAGIC_COOKIE as _,
    rewrite_args: None,
    create_dir_config: Some(create_directory_config),
    merge_dir_config: Some(merge_directory_config),
    create_server_config: Some(create_server_config),
    merge_server_config: Some(merge_server_config),
    cmds: COMMANDS.0.as_ptr(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

/// httpd's view of the table of directives, ended by an empty entry.
struct CommandTable([sys::command_rec; DIRECTIVES.len() + 1]);

// SAFETY: the table holds addresses of constants only.
unsafe impl Sync for CommandTable {}

static COMMANDS: CommandTable = CommandTable(commands());

/// Names as C strings, in the order of the table.
const NAMES: [&CStr; DIRECTIVES.len()] = [
    c"WSGIScriptAlias",
    c"WSGIDaemonProcess",
    c"WSGIProcessGroup",
    c"WSGIApplicationGroup",
    c"WSGICallableObject",
    c"WSGIPassAuthorization",
    c"WSGIScriptReloading",
    c"WSGIPythonHome",
    c"WSGIPythonPath",
    c"WSGIRestrictStdout",
    c"WSGIRestrictEmbedded",
    c"WSGIVerboseDebugging",
    c"WSGISocketPrefix",
];

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
        assert!(is_same(DIRECTIVES[index].name.as_bytes(), NAMES[index].to_bytes()));
        table[index].name = NAMES[index].as_ptr();
        table[index].func = sys::cmd_func { raw_args: Some(set_directive) };
        table[index].cmd_data = std::ptr::without_provenance_mut(index);
        table[index].req_override = match DIRECTIVES[index].place {
            Place::Global | Place::Server => sys::RSRC_CONF,
            Place::Directory => sys::RSRC_CONF | sys::ACCESS_CONF,
            Place::FileInfo => sys::OR_FILEINFO,
        };
        index += 1;
    }
    table
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// Key of the collected configuration in the configuration's pool.
const GLOBAL: &CStr = c"mod_wsgi configuration";

/// # Safety
/// `pool` is the configuration's, and this thread alone reads the configuration.
unsafe fn global<'a>(pool: Pool<'a>) -> Option<&'a mut Global> {
    // SAFETY: the caller's promise; the pool keeps the value, and nobody holds it across calls.
    unsafe { pool.state::<Global>(GLOBAL).as_mut() }
}

unsafe extern "C" fn create_directory_config(
    pool: *mut sys::apr_pool_t,
    _path: *mut c_char,
) -> *mut c_void {
    guard("create_dir_config", std::ptr::null_mut(), || {
        // SAFETY: httpd's pool, for the duration of the call.
        unsafe { Pool::from_ptr(pool) }
            .map_or(std::ptr::null_mut(), |pool| pool.own(Scoped::default()).cast())
    })
}

unsafe extern "C" fn merge_directory_config(
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

unsafe extern "C" fn create_server_config(
    pool: *mut sys::apr_pool_t,
    _server: *mut sys::server_rec,
) -> *mut c_void {
    guard("create_server_config", std::ptr::null_mut(), || {
        // SAFETY: httpd's pool, for the duration of the call.
        unsafe { Pool::from_ptr(pool) }
            .map_or(std::ptr::null_mut(), |pool| pool.own(ServerConfig::default()).cast())
    })
}

unsafe extern "C" fn merge_server_config(
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

/// Users, groups and warnings, for directives.
struct Accounts {
    /// Warnings of this directive.
    warnings: Vec<String>,
}

impl Context for Accounts {
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

    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }
}

fn numeric(name: &[u8]) -> Option<u32> {
    // The largest number means "leave it" to the system calls that set ids.
    std::str::from_utf8(name.strip_prefix(b"#")?).ok()?.parse().ok().filter(|id| *id != u32::MAX)
}

unsafe extern "C" fn set_directive(
    command: *mut sys::cmd_parms,
    directory: *mut c_void,
    line: *const c_char,
) -> *const c_char {
    let failed = c"internal error, see the log".as_ptr();
    guard("directive", failed, || {
        // SAFETY: httpd's description of the directive, alive during the call.
        let Some(command) = (unsafe { command.as_ref() }) else { return failed };
        // SAFETY: the pool of the configuration (or of the request, for .htaccess).
        let Some(pool) = (unsafe { Pool::from_ptr(command.pool) }) else { return failed };
        // SAFETY: a C string of httpd's, alive during the call.
        let line = unsafe { bytes(line) }.unwrap_or_default();
        // SAFETY: the entry of our own table that httpd matched.
        let index = unsafe { (*command.cmd).cmd_data }.addr();
        let Some(directive) = DIRECTIVES.get(index) else { return failed };
        // SAFETY: directory is what create_directory_config made, or null.
        let directory = unsafe { directory.cast::<Scoped>().as_mut() };
        match apply(directive, command, pool, directory, line) {
            Ok(()) => std::ptr::null(),
            Err(text) if text.contains(directive.name) => pool.copy(text.as_bytes()).cast_const(),
            Err(text) => pool.copy(format!("{}: {text}", directive.name).as_bytes()).cast_const(),
        }
    })
}

fn apply(
    directive: &Directive,
    command: &sys::cmd_parms,
    pool: Pool<'_>,
    directory: Option<&mut Scoped>,
    line: &[u8],
) -> Result<(), String> {
    if directive.place == Place::Global {
        // SAFETY: reads the description and returns null or a C string of the pool.
        let problem = unsafe {
            bytes(sys::ap_check_cmd_context(
                std::ptr::from_ref(command).cast_mut(),
                sys::GLOBAL_ONLY as _,
            ))
        };
        if let Some(problem) = problem {
            return Err(words::text(problem));
        }
    }
    // Sections have a path; what stands outside of them belongs to the server.
    let in_section = !command.path.is_null();
    // SAFETY: the server in which the directive stands, alive during the call.
    let server = unsafe { Server::from_ptr(command.server) }.ok_or("no server")?;
    // SAFETY: the record is what create_server_config made for this server. Outside of sections, and
    // so not in .htaccess, the configuration is being read, by this thread alone.
    let server_config = || unsafe {
        sys::ap_get_module_config((*command.server).module_config, &raw const wsgi_module)
            .cast::<ServerConfig>()
            .as_mut()
            .ok_or("no record of the server")
    };
    let scoped = match directory {
        Some(directory) if in_section => directory,
        _ if in_section => return Err("no record of the directory".to_owned()),
        _ => &mut server_config()?.scoped,
    };
    match directive.action {
        Action::ScopedBoolean(set) => set(scoped, directive.boolean(line)?),
        Action::ScopedText(set) => set(scoped, directive.one_word(line)?.into()),
        Action::GlobalBoolean(set) => set(collected(pool)?, directive.boolean(line)?),
        Action::GlobalText(set) => set(collected(pool)?, directive.one_word(line)?.into()),
        Action::GlobalPath(set) => {
            let path = directive.one_word(line)?;
            let absolute = server_root_relative(pool, &path).ok_or_else(|| {
                format!(
                    "{} path {} cannot be resolved against ServerRoot",
                    directive.name,
                    words::text(&path)
                )
            })?;
            set(collected(pool)?, absolute);
        }
        Action::Line(set) => {
            let mut accounts = Accounts { warnings: Vec::new() };
            let host = Host {
                identity: server.identity(),
                is_virtual: server.is_virtual(),
                name: server.name().map(<[u8]>::to_vec),
            };
            let global = collected(pool)?;
            let mut here = Here { server: server_config()?, global, host, context: &mut accounts };
            set(line, &mut here)?;
            let place = place(command);
            global_warnings(collected(pool)?, accounts.warnings, &place);
        }
    }
    Ok(())
}

fn global_warnings(global: &mut Global, warnings: Vec<String>, place: &str) {
    global.warnings.extend(warnings.into_iter().map(|text| format!("{text}{place}")));
}

/// File and line of a directive, for warnings.
fn place(command: &sys::cmd_parms) -> String {
    // SAFETY: null, or the directive being read, with a C string or null for its file.
    unsafe {
        command.directive.as_ref().and_then(|directive| {
            let file = bytes(directive.filename)?;
            Some(format!(" ({}:{})", words::text(file), directive.line_num))
        })
    }
    .unwrap_or_default()
}

fn collected<'a>(pool: Pool<'a>) -> Result<&'a mut Global, String> {
    // SAFETY: directives that are collected cannot stand in .htaccess, so that the pool is the
    // configuration's; this thread alone reads it.
    unsafe { global(pool) }.ok_or_else(|| "no configuration".to_owned())
}

fn server_root_relative(pool: Pool<'_>, path: &[u8]) -> Option<Text> {
    // SAFETY: reads a C string and returns null or one of the pool.
    unsafe {
        bytes(sys::ap_server_root_relative(pool.as_ptr(), c_string(path).as_ptr())).map(Text::from)
    }
}

unsafe extern "C" fn register_hooks(_pool: *mut sys::apr_pool_t) {
    guard("register_hooks", (), || {
        set_module(&raw mut wsgi_module);
        guard::install_hook();
        let after_alias = [c"mod_alias.c".as_ptr(), std::ptr::null()];
        let before_users =
            [c"mod_userdir.c".as_ptr(), c"mod_vhost_alias.c".as_ptr(), std::ptr::null()];
        // SAFETY: functions of this library, which stays mapped; httpd reads the lists of names
        // during sort, later: they must be static.
        unsafe {
            sys::ap_hook_post_config(
                Some(post_config),
                std::ptr::null(),
                std::ptr::null(),
                sys::APR_HOOK_REALLY_LAST,
            );
            sys::ap_hook_test_config(
                Some(test_config),
                std::ptr::null(),
                std::ptr::null(),
                sys::APR_HOOK_MIDDLE,
            );
            sys::ap_hook_child_init(
                Some(child_init),
                std::ptr::null(),
                std::ptr::null(),
                sys::APR_HOOK_MIDDLE,
            );
            sys::ap_hook_translate_name(
                Some(translate_name),
                Box::leak(Box::new(after_alias)).as_ptr(),
                Box::leak(Box::new(before_users)).as_ptr(),
                sys::APR_HOOK_MIDDLE,
            );
            sys::ap_hook_handler(
                Some(handle),
                std::ptr::null(),
                std::ptr::null(),
                sys::APR_HOOK_MIDDLE,
            );
        }
    });
}

unsafe extern "C" fn post_config(
    pool: *mut sys::apr_pool_t,
    _log: *mut sys::apr_pool_t,
    _temporary: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    guard("post_config", sys::HTTP_INTERNAL_SERVER_ERROR, || {
        // SAFETY: httpd's configuration pool and main server, which live until the pool is cleared;
        // the runtime that keeps the server is owned by that pool.
        let (pool, server) = unsafe { (Pool::from_ptr(pool), Server::from_ptr(server)) };
        let (Some(pool), Some(server)) = (pool, server) else {
            return sys::HTTP_INTERNAL_SERVER_ERROR;
        };
        let (major, minor, patch) = mod_wsgi_protocol::COMPATIBLE_VERSION;
        let component = c_string(format!("mod_wsgi/{major}.{minor}.{patch}").as_bytes());
        // SAFETY: copies the text into the pool.
        unsafe { sys::ap_add_version_component(pool.as_ptr(), component.as_ptr()) };
        if mpm::phase() == mpm::Phase::Check {
            return sys::OK;
        }
        // SAFETY: the configuration is read; this thread alone has it.
        let global = unsafe { global(pool) }.map(std::mem::take).unwrap_or_default();
        report(&global, |text| log::server(server, Level::Warning, text));
        if global.verbose_debugging == Some(true) {
            log::server(
                server,
                Level::Info,
                "WSGIVerboseDebugging has no effect any more: write LogLevel wsgi:debug",
            );
        }
        match Runtime::start(global, server) {
            Ok(owner) => {
                pool.own(owner);
                sys::OK
            }
            Err(error) => {
                log::server(
                    server,
                    Level::Alert,
                    &format!("WSGI0314: WSGI cannot be started: {error}"),
                );
                sys::HTTP_INTERNAL_SERVER_ERROR
            }
        }
    })
}

unsafe extern "C" fn test_config(pool: *mut sys::apr_pool_t, _server: *mut sys::server_rec) {
    guard("test_config", (), || {
        // SAFETY: httpd's configuration pool; this thread alone has it.
        let global = unsafe { Pool::from_ptr(pool).and_then(|pool| global(pool)) };
        if let Some(global) = global {
            report(global, |text| log::startup(Level::Warning, text));
        }
    });
}

fn report(global: &Global, mut tell: impl FnMut(&str)) {
    for warning in &global.warnings {
        tell(&format!("WSGI0315: {warning}"));
    }
    for preload in &global.preloads {
        let path = words::text(&preload.script);
        if !Path::new(&path).exists() {
            tell(&format!("WSGI0316: the WSGI script {path} does not exist"));
        }
    }
}

unsafe extern "C" fn child_init(pool: *mut sys::apr_pool_t, _server: *mut sys::server_rec) {
    guard("child_init", (), || {
        let Some(runtime) = Runtime::current() else { return };
        runtime.enter_child();
        // SAFETY: the child's pool, destroyed when the child ends.
        if let Some(pool) = unsafe { Pool::from_ptr(pool) } {
            pool.own(handler::ChildEnd);
        }
    });
}

unsafe extern "C" fn translate_name(request: *mut sys::request_rec) -> c_int {
    guard("translate_name", sys::HTTP_INTERNAL_SERVER_ERROR, || {
        // SAFETY: httpd's request, handled by this thread during the call.
        let Some(request) = (unsafe { Request::from_ptr(request) }) else { return sys::DECLINED };
        // SAFETY: the record of the server is what the two functions above made.
        let config = request.server().and_then(|server| unsafe { server.config::<ServerConfig>() });
        match config {
            Some(config) if handler::map(&request, config) => sys::OK,
            _ => sys::DECLINED,
        }
    })
}

unsafe extern "C" fn handle(request: *mut sys::request_rec) -> c_int {
    guard("handler", sys::HTTP_INTERNAL_SERVER_ERROR, || {
        // SAFETY: httpd's request, handled by this thread during the call.
        let Some(request) = (unsafe { Request::from_ptr(request) }) else { return sys::DECLINED };
        if !request.handler().is_some_and(handler::is_ours) {
            return sys::DECLINED;
        }
        // SAFETY: the records are what the functions above made.
        let (directory, config) = unsafe {
            (
                request.directory_config::<Scoped>(),
                request.server().and_then(|server| server.config::<ServerConfig>()),
            )
        };
        let nothing = ServerConfig::default();
        handler::handle(&request, directory, config.unwrap_or(&nothing))
    })
}
