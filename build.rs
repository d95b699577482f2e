// SPDX-License-Identifier: Apache-2.0
//! Asks apxs (`APXS=` overrides) where httpd's headers are, makes bindings for what
//! apache/wrapper.h names, and compiles the shim over httpd's macros and variadic functions.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const FUNCTIONS: &[&str] = &[
    "ap_add_version_component",
    "ap_bucket_error_create",
    "ap_server_root_relative",
    "ap_check_cmd_context",
    "ap_context_document_root",
    "ap_context_prefix",
    "ap_document_root",
    "ap_escape_html2",
    "ap_find_path_info",
    "ap_get_brigade",
    "ap_get_conn_socket",
    "ap_get_limit_req_body",
    "ap_get_module_config",
    "ap_get_request_module_loglevel",
    "ap_get_server_module_loglevel",
    "ap_get_useragent_host",
    "ap_get_server_banner",
    "ap_get_server_description",
    "ap_get_server_name",
    "ap_get_server_name_for_url",
    "ap_get_server_port",
    "ap_get_server_built",
    "ap_hook_child_init",
    "ap_hook_handler",
    "ap_hook_post_config",
    "ap_hook_pre_mpm",
    "ap_hook_test_config",
    "ap_hook_translate_name",
    "ap_http_scheme",
    "ap_internal_redirect_handler",
    "ap_mpm_query",
    "ap_pass_brigade",
    "ap_pregcomp",
    "ap_regexec",
    "ap_pregsub",
    "ap_run_generate_log_id",
    "ap_run_http_scheme",
    "ap_runtime_dir_relative",
    "ap_set_content_type",
    "ap_set_content_length",
    "ap_show_mpm",
    "ap_state_query",
    "ap_uname2id",
    "ap_gname2id",
    "ap_update_mtime",
    "ap_walk_config",
    "ap_psignature",
    "apr_hash_get",
    "apr_uri_unparse",
    "ap_register_auth_provider",
    "ap_hook_access_checker",
    "ap_satisfies",
    "ap_some_auth_required",
    "ap_getword_conf",
    "ap_allow_options",
    "apr_brigade_cleanup",
    "apr_brigade_create",
    "apr_bucket_eos_create",
    "apr_bucket_flush_create",
    "apr_bucket_transient_create",
    "apr_dynamic_fn_retrieve",
    "apr_os_file_put",
    "apr_os_file_get",
    "apr_file_dup",
    "apr_file_dup",
    "apr_palloc",
    "apr_pstrmemdup",
    "apr_pool_cleanup_register",
    "apr_pool_cleanup_null",
    "apr_pool_cleanup_kill",
    "apr_pool_create_ex",
    "apr_pool_destroy",
    "apr_pool_userdata_get",
    "apr_pool_userdata_set",
    "apr_proc_other_child_register",
    "apr_proc_other_child_unregister",
    "apr_strerror",
    "apr_table_add",
    "apr_table_addn",
    "apr_table_do",
    "apr_table_elts",
    "apr_table_get",
    "apr_table_merge",
    "apr_table_setn",
    "apr_table_unset",
    "apr_socket_timeout_get",
    "apr_socket_timeout_set",
    "apr_stat",
    "apr_time_now",
    "apr_uid_get",
];

const TYPES: &[&str] = &[
    "ap_regmatch_t",
    "cmd_parms",
    "command_rec",
    "conn_rec",
    "module",
    "request_rec",
    "server_rec",
    "apr_bucket",
    "apr_bucket_brigade",
    "apr_finfo_t",
    "apr_table_entry_t",
    "apr_array_header_t",
    "apr_sockaddr_t",
    "unixd_config_rec",
    "core_dir_config",
    "authn_provider",
    "authz_provider",
];

const VARS: &[&str] = &[
    "ap_unixd_config",
    "ap_server_root",
    "core_module",
    "AP_CGI_PASS_AUTH_.*",
    "AP_FILTER_ERROR",
    "APR_FOPEN_.*",
    "ENABLE_MMAP_.*",
    "ENABLE_SENDFILE_.*",
    "AP_FILTER_.*",
    "AP_FTYPE_.*",
    "AP_MPMQ_.*",
    "AP_SQ_.*",
    "AP_MODE_.*",
    "AP_SERVER_.*_NUMBER",
    "AP_SERVER_PATCHLEVEL_NUMBER",
    "APLOG_.*",
    "APR_BLOCK_READ",
    "APR_NONBLOCK_READ",
    "APR_EOF",
    "APR_EGENERAL",
    "APR_SUCCESS",
    "APR_TIMEUP",
    "APR_HOOK_.*",
    "APR_OC_REASON_.*",
    "APR_REG",
    "APR_DIR",
    "APR_NOFILE",
    "APR_FINFO_.*",
    "AP_REG_.*",
    "DECLINED",
    "DONE",
    "OK",
    "HTTP_.*",
    "MODULE_MAGIC_.*",
    "M_GET",
    "NOT_IN_.*",
    "GLOBAL_ONLY",
    "OPT_EXECCGI",
    "OR_.*",
    "RSRC_CONF",
    "ACCESS_CONF",
    "EXEC_ON_READ",
    "AP_CONN_.*",
    "AP_CORE_CONFIG_ON",
    "APR_HASH_KEY_STRING",
    "AUTHN_PROVIDER_.*",
    "REMOTE_HOST",
    "AUTHZ_PROVIDER_.*",
    "AUTH_.*",
    "AUTHZ_.*",
    "AP_AUTH_INTERNAL_.*",
    "SATISFY_.*",
    "AP_REQ_.*",
    "CONN_.*",
];

fn main() {
    println!("cargo::rerun-if-changed=apache/wrapper.h");
    println!("cargo::rerun-if-changed=c_shim");
    println!("cargo::rerun-if-env-changed=APXS");
    let apxs = find_apxs();
    let query = |name: &str| {
        let output = Command::new(&apxs).args(["-q", name]).output();
        let text = output
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_else(|| panic!("{apxs} -q {name} failed: is this an apxs of httpd 2.4?"))
    };
    let mut flags: Vec<String> = ["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"]
        .map(|name| format!("-I{}", query(name)))
        .to_vec();
    flags.sort();
    flags.dedup();
    flags.extend(
        format!("{} {}", query("CFLAGS"), query("EXTRA_CPPFLAGS"))
            .split_whitespace()
            .filter(|flag| flag.starts_with("-D") && !flag.contains("_FORTIFY_SOURCE"))
            .map(str::to_owned),
    );

    let mut bindings = bindgen::Builder::default()
        .header("apache/wrapper.h")
        .clang_args(&flags)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .default_macro_constant_type(bindgen::MacroTypeVariation::Signed)
        .derive_debug(false)
        .layout_tests(false)
        .generate_comments(false)
        .generate_cstr(true)
        .merge_extern_blocks(true);
    for function in FUNCTIONS {
        bindings = bindings.allowlist_function(function);
    }
    bindings = bindings.allowlist_function("mod_wsgi_shim_.*");
    for ty in TYPES {
        bindings = bindings.allowlist_type(ty);
    }
    for var in VARS {
        bindings = bindings.allowlist_var(var);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("httpd.rs");
    match bindings.generate() {
        Ok(bindings) => {
            if let Err(error) = bindings.write_to_file(&out) {
                panic!("cannot write {}: {error}", out.display());
            }
        }
        Err(error) => panic!("no bindings from apache/wrapper.h: {error}"),
    }

    let mut shim = cc::Build::new();
    shim.file("c_shim/shim.c")
        .include("apache")
        .warnings(true)
        .flag_if_supported("-Wno-unused-parameter");
    for flag in &flags {
        shim.flag(flag);
    }
    shim.compile("mod_wsgi_shim");
    // httpd unloads modules on a restart and loads them again: what has thread-local state, as every
    // Rust library has, must stay mapped.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}

fn find_apxs() -> String {
    if let Some(apxs) = env::var("APXS").ok().filter(|name| !name.is_empty()) {
        return apxs;
    }
    let candidates =
        ["apxs", "apxs2", "/usr/bin/apxs", "/usr/sbin/apxs", "/usr/local/apache2/bin/apxs"];
    for candidate in candidates {
        if Command::new(candidate).args(["-q", "INCLUDEDIR"]).output().is_ok() {
            return candidate.to_owned();
        }
    }
    panic!(
        "apxs not found: install apache2-dev (Debian) or httpd-devel, or set APXS=/path/to/apxs"
    );
}
