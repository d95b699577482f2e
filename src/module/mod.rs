// SPDX-License-Identifier: Apache-2.0
//! The `wsgi_module` record and its hooks: how httpd reaches the rest, and nothing else.

mod commands;
mod providers;

use std::ffi::c_int;

use crate::config::{Global, Scoped, ServerConfig};
use crate::handler;
use crate::httpd::guard::{self, guard};
use crate::httpd::log::{self, Level};
use crate::httpd::pool::Pool;
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::httpd::{c_string, mpm, set_module, sys};
use crate::reading;
use crate::runtime::Runtime;
use commands::{
    create_directory_config, create_server_config, global, merge_directory_config,
    merge_server_config,
};

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
    cmds: commands::TABLE.0.as_ptr(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

unsafe extern "C" fn register_hooks(pool: *mut sys::apr_pool_t) {
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
            sys::ap_hook_pre_mpm(
                Some(pre_mpm),
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
            sys::mod_wsgi_shim_hook_child_stopping(Some(child_stopping));
            sys::ap_hook_translate_name(
                Some(translate_name),
                Box::leak(Box::new(after_alias)).as_ptr(),
                Box::leak(Box::new(before_users)).as_ptr(),
                sys::APR_HOOK_MIDDLE,
            );
            providers::register(pool);
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
        for (is_warning, text) in report(&global, server, false) {
            let level = if is_warning { Level::Warning } else { Level::Notice };
            log::server(server, level, &text);
        }
        match Runtime::start(global, server) {
            Ok(owner) => {
                pool.own(owner);
                sys::OK
            }
            Err(error) => cannot_start(server, &error),
        }
    })
}

fn cannot_start(server: Server<'_>, error: &std::io::Error) -> c_int {
    let text = format!("WSGI0314: WSGI cannot be started: {error}");
    log::server(server, Level::Alert, &text);
    sys::HTTP_INTERNAL_SERVER_ERROR
}

/// After `post_config`, at each start but a graceful one: httpd's own hook, which makes the
/// scoreboard, has run.
unsafe extern "C" fn pre_mpm(_pool: *mut sys::apr_pool_t, _type: sys::ap_scoreboard_e) -> c_int {
    guard("pre_mpm", sys::HTTP_INTERNAL_SERVER_ERROR, || {
        let Some(runtime) = Runtime::current() else { return sys::OK };
        match runtime.scoreboard_is_made() {
            Ok(()) => sys::OK,
            Err(error) => cannot_start(runtime.main(), &error),
        }
    })
}

unsafe extern "C" fn test_config(pool: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    guard("test_config", (), || {
        // SAFETY: httpd's configuration pool and main server; this thread alone has them.
        let (global, server) = unsafe {
            (Pool::from_ptr(pool).and_then(|pool| global(pool)), Server::from_ptr(server))
        };
        if let (Some(global), Some(server)) = (global, server) {
            for (is_warning, text) in report(global, server, true) {
                let level = if is_warning { Level::Warning } else { Level::Notice };
                log::startup(level, &text);
            }
        }
    });
}

fn report(global: &Global, main: Server<'_>, is_test: bool) -> Vec<(bool, String)> {
    let servers = std::iter::successors(Some(main), Server::next);
    let servers = servers.filter_map(|server| {
        // SAFETY: the record is what create_server_config and merge_server_config made.
        unsafe { server.config::<ServerConfig>() }.map(|config| (server, config))
    });
    reading::report(global, servers, is_test)
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

/// A child ends. With threads, an end that is not graceful is the end of all children, and httpd's
/// parent says so to nobody before the last of them is gone or killed. Under prefork a child says
/// this of every end, in a signal handler, and does not wait for its request.
unsafe extern "C" fn child_stopping(_pool: *mut sys::apr_pool_t, graceful: c_int) {
    guard("child_stopping", (), || {
        if graceful == 0
            && mpm::is_threaded()
            && let Some(runtime) = Runtime::current()
        {
            runtime.tell_stop();
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
        // SAFETY: the records are what the functions above made.
        let (directory, config) = unsafe {
            (
                request.directory_config::<Scoped>(),
                request.server().and_then(|server| server.config::<ServerConfig>()),
            )
        };
        let nothing = ServerConfig::default();
        handler::handle(&request, directory, config.unwrap_or(&nothing)).unwrap_or(sys::DECLINED)
    })
}
