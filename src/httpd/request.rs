// SPDX-License-Identifier: Apache-2.0
//! A request, as httpd's handler hands it over.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::pool::Pool;
use super::server::Server;
use super::table::Table;
use super::{bytes, c_string, module, sys};
use crate::mapping::ownership::FileOwner;

/// What a request's URL was mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing there.
    Missing,
    /// A directory.
    Directory,
    /// A file, or anything else that is there.
    File,
}

/// A request that lives for `'a`, used by the thread that handles it only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The record.
    request: NonNull<sys::request_rec>,
    /// It is httpd's.
    lifetime: PhantomData<&'a ()>,
}

macro_rules! text_field {
    ($(#[$doc:meta])* $name:ident, $field:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(&self) -> Option<&'a [u8]> {
            // SAFETY: null, or a C string of the request's pool.
            unsafe { bytes(self.record().$field) }
        }
    };
}

impl<'a> Request<'a> {
    /// The request at this address.
    ///
    /// # Safety
    /// It is null or a request that lives for `'a` and is handled by this thread only.
    pub(crate) unsafe fn from_ptr(request: *mut sys::request_rec) -> Option<Self> {
        NonNull::new(request).map(|request| Self { request, lifetime: PhantomData })
    }

    /// The record for a call of C.
    pub(crate) fn as_ptr(&self) -> *mut sys::request_rec {
        self.request.as_ptr()
    }

    fn record(&self) -> &'a sys::request_rec {
        // SAFETY: from_ptr's promise. Fields are written through `field` below, by this thread, and
        // no reference from here is held across that: all getters copy a pointer or a number out.
        unsafe { &*self.request.as_ptr() }
    }

    fn connection(&self) -> &'a sys::conn_rec {
        // SAFETY: a request has a connection that outlives it.
        unsafe { &*self.record().connection }
    }

    text_field!(
        /// Handler that httpd chose.
        handler, handler);
    text_field!(
        /// File that the URL was mapped to.
        filename, filename);
    text_field!(
        /// Method.
        method, method);
    text_field!(
        /// Decoded URL path.
        uri, uri);
    text_field!(
        /// What is behind the file in the URL path.
        path_info, path_info);
    text_field!(
        /// Query string.
        arguments, args);
    text_field!(
        /// First line of the request.
        request_line, the_request);
    text_field!(
        /// Protocol and its version.
        protocol, protocol);
    text_field!(
        /// Authenticated user.
        user, user);
    text_field!(
        /// How the user was authenticated.
        auth_type, ap_auth_type);
    text_field!(
        /// Address of the client.
        client_address, useragent_ip);
    text_field!(
        /// Host that the client asked for.
        hostname, hostname);

    /// Virtual host.
    pub(crate) fn server(&self) -> Option<Server<'a>> {
        // SAFETY: the server outlives the request.
        unsafe { Server::from_ptr(self.record().server) }
    }

    /// Pool of the request.
    pub(crate) fn pool(&self) -> Option<Pool<'a>> {
        // SAFETY: the request's own pool, used by this thread only.
        unsafe { Pool::from_ptr(self.record().pool) }
    }

    /// Request headers.
    pub(crate) fn headers(&self) -> Option<Table<'a>> {
        // SAFETY: a table of the request.
        unsafe { Table::from_ptr(self.record().headers_in) }
    }

    /// Response headers.
    pub(crate) fn headers_out(&self) -> Option<Table<'a>> {
        // SAFETY: a table of the request.
        unsafe { Table::from_ptr(self.record().headers_out) }
    }

    /// Response headers that error documents keep.
    pub(crate) fn error_headers_out(&self) -> Option<Table<'a>> {
        // SAFETY: a table of the request.
        unsafe { Table::from_ptr(self.record().err_headers_out) }
    }

    /// Variables that modules and SetEnv set.
    pub(crate) fn variables(&self) -> Option<Table<'a>> {
        // SAFETY: a table of the request.
        unsafe { Table::from_ptr(self.record().subprocess_env) }
    }

    /// Notes between modules.
    pub(crate) fn notes(&self) -> Option<Table<'a>> {
        // SAFETY: a table of the request.
        unsafe { Table::from_ptr(self.record().notes) }
    }

    /// The request that was redirected to this one inside httpd.
    pub(crate) fn previous(&self) -> Option<Request<'a>> {
        // SAFETY: it outlives this one, and is idle meanwhile.
        unsafe { Request::from_ptr(self.record().prev) }
    }

    /// When httpd began with it, µs since the epoch.
    pub(crate) fn time(&self) -> i64 {
        self.record().request_time
    }

    /// Status of its response, as far as that is known.
    pub(crate) fn status(&self) -> i32 {
        self.record().status
    }

    /// Whether it is HEAD.
    pub(crate) fn is_head(&self) -> bool {
        self.record().header_only != 0
    }

    /// Whether the first output filter changes content (mod_deflate, mod_include).
    pub(crate) fn has_content_filter(&self) -> bool {
        // SAFETY: the filter chain and its records live as long as the request.
        unsafe {
            let filter = self.record().output_filters.as_ref();
            let record = filter.and_then(|filter| filter.frec.as_ref());
            record.is_some_and(|record| record.ftype < sys::AP_FTYPE_PROTOCOL)
        }
    }

    /// Whether what is sent reaches the client's socket without being looked at in this process: all
    /// output filters are those of a plain HTTP/1 response.
    pub(crate) fn is_sent_untouched(&self) -> bool {
        const PLAIN: &[&[u8]] =
            &[b"byterange", b"content_length", b"http_header", b"http_outerror", b"core"];
        // SAFETY: the filter chain and its records, with C strings as names, live as long as the
        // request.
        unsafe {
            let mut filter = self.record().output_filters.as_ref();
            while let Some(here) = filter {
                let name = here.frec.as_ref().and_then(|record| bytes(record.name));
                if !name.is_some_and(|name| PLAIN.contains(&name)) {
                    return false;
                }
                filter = here.next.as_ref();
            }
        }
        self.has_own_connection()
    }

    /// Whether the client waits for `100 Continue`.
    pub(crate) fn expects_continue(&self) -> bool {
        // SAFETY: only reads the request.
        unsafe { sys::mod_wsgi_shim_expects_continue(self.as_ptr()) != 0 }
    }

    /// What the URL was mapped to.
    pub(crate) fn target(&self) -> Target {
        match self.record().finfo.filetype {
            sys::APR_NOFILE => Target::Missing,
            sys::APR_DIR => Target::Directory,
            _ => Target::File,
        }
    }

    /// When the file was changed last, µs since the epoch; -1 when httpd did not look.
    pub(crate) fn file_time(&self) -> i64 {
        let info = &self.record().finfo;
        if info.valid & sys::APR_FINFO_MTIME != 0 { info.mtime } else { -1 }
    }

    /// Owner and permissions of the file that the URL was mapped to, if httpd knows them.
    pub(crate) fn file_owner(&self) -> Option<FileOwner> {
        let info = &self.record().finfo;
        let wanted = sys::APR_FINFO_USER | sys::APR_FINFO_GROUP | sys::APR_FINFO_PROT;
        // APR's bits are the system's, but in groups of four (apr_file_info.h).
        let mode =
            (info.protection & 7) | (info.protection & 0x70) >> 1 | (info.protection & 0x700) >> 2;
        (info.filetype != sys::APR_NOFILE && info.valid & wanted == wanted).then(|| FileOwner {
            uid: info.user,
            gid: info.group,
            mode: u32::try_from(mode).unwrap_or(0),
        })
    }

    /// Name of the client, where httpd has looked it up, or its address.
    pub(crate) fn client_host(&self) -> &'a [u8] {
        self.remote_host().or_else(|| self.client_address()).unwrap_or_default()
    }

    /// Name of the client, where HostnameLookups has httpd look it up.
    pub(crate) fn remote_host(&self) -> Option<&'a [u8]> {
        // SAFETY: reads the request and the configuration; returns null or a C string that lives as
        // long as the request.
        unsafe {
            bytes(sys::ap_get_useragent_host(
                self.as_ptr(),
                sys::REMOTE_HOST as _,
                std::ptr::null_mut(),
            ))
        }
    }

    /// Name of the server as httpd sees it (UseCanonicalName), as text of HTML.
    pub(crate) fn canonical_name(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a C string of it or of the configuration.
        let name = unsafe { bytes(sys::ap_get_server_name(self.as_ptr())) };
        self.escaped(name.unwrap_or_default())
    }

    /// Signature of httpd for pages that it makes, as ServerSignature says.
    pub(crate) fn server_signature(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a C string of its pool, or a constant.
        unsafe { bytes(sys::ap_psignature(c"".as_ptr(), self.as_ptr())) }.unwrap_or_default()
    }

    /// Whether `Satisfy Any` lets a user in whose host is denied.
    pub(crate) fn may_satisfy_otherwise(&self) -> bool {
        // SAFETY: both read the request.
        unsafe {
            sys::ap_satisfies(self.as_ptr()) == sys::SATISFY_ANY
                && sys::ap_some_auth_required(self.as_ptr()) != 0
        }
    }

    /// Replaces the authenticated user.
    pub(crate) fn set_user(&self, user: &[u8]) {
        let Some(pool) = self.pool() else { return };
        // SAFETY: this thread alone has the request; the string lives as long as it.
        unsafe { (*self.as_ptr()).user = pool.copy(user) }
    }

    /// Whether `AcceptPathInfo Off` holds.
    pub(crate) fn rejects_path_info(&self) -> bool {
        self.record().used_path_info == sys::AP_REQ_REJECT_PATH_INFO
    }

    /// Whether `Options ExecCGI` holds.
    pub(crate) fn may_execute(&self) -> bool {
        // SAFETY: only reads the request.
        unsafe { sys::ap_allow_options(self.as_ptr()) & sys::OPT_EXECCGI != 0 }
    }

    /// `LimitRequestBody`; 0 is unlimited.
    pub(crate) fn body_limit(&self) -> i64 {
        // SAFETY: only reads the request.
        unsafe { sys::ap_get_limit_req_body(self.as_ptr()) }
    }

    /// Port of the server as httpd sees it (UseCanonicalName, UseCanonicalPhysicalPort).
    pub(crate) fn server_port(&self) -> u16 {
        // SAFETY: only reads the request.
        unsafe { sys::ap_get_server_port(self.as_ptr()) }
    }

    /// Name of the server as httpd sees it, with brackets around an IPv6 address.
    pub(crate) fn server_name(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a C string of its pool.
        unsafe { bytes(sys::ap_get_server_name_for_url(self.as_ptr())) }.unwrap_or_default()
    }

    /// The text with `& < > "` escaped.
    pub(crate) fn escaped(&self, text: &[u8]) -> &'a [u8] {
        let text = c_string(text);
        // SAFETY: reads a C string and returns one of the request's pool.
        unsafe { bytes(sys::ap_escape_html2(self.record().pool, text.as_ptr(), 0)) }
            .unwrap_or_default()
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a static or pool string.
        unsafe { bytes(sys::ap_run_http_scheme(self.as_ptr())) }.unwrap_or(b"http")
    }

    /// Address on which the client was accepted.
    pub(crate) fn local_address(&self) -> Option<&'a [u8]> {
        // SAFETY: null, or a C string of the connection.
        unsafe { bytes(self.connection().local_ip) }
    }

    /// Port on which the client was accepted.
    pub(crate) fn local_port(&self) -> u16 {
        // SAFETY: null, or an address of the connection.
        unsafe { self.connection().local_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// Host name of the address on which the client was accepted, if it has one.
    pub(crate) fn local_host(&self) -> Option<&'a [u8]> {
        // SAFETY: null, or an address of the connection with a C string or null.
        unsafe { self.connection().local_addr.as_ref().and_then(|at| bytes(at.hostname)) }
    }

    /// Port of the client.
    pub(crate) fn client_port(&self) -> u16 {
        // SAFETY: null, or an address of the request or connection.
        unsafe { self.record().useragent_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// Identity of the request in logs, made on demand.
    pub(crate) fn log_id(&self) -> Option<&'a [u8]> {
        // SAFETY: null or a C string.
        if let Some(id) = unsafe { bytes(self.record().log_id) } {
            return Some(id);
        }
        // SAFETY: httpd's own hook writes a pointer to a string of the request's pool into the
        // place of the request for it; nobody else reads that place meanwhile.
        unsafe {
            let place = &raw mut (*self.as_ptr()).log_id;
            sys::ap_run_generate_log_id(self.record().connection, self.as_ptr(), place);
            bytes(*place)
        }
    }

    /// Identity of the connection in logs, if it has one.
    pub(crate) fn connection_log_id(&self) -> Option<&'a [u8]> {
        // SAFETY: null or a C string.
        unsafe { bytes(self.connection().log_id) }
    }

    /// DocumentRoot.
    pub(crate) fn document_root(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a C string of the configuration.
        unsafe { bytes(sys::ap_document_root(self.as_ptr())) }.unwrap_or_default()
    }

    /// URL prefix of the context (mod_alias, mod_userdir).
    pub(crate) fn context_prefix(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a C string.
        unsafe { bytes(sys::ap_context_prefix(self.as_ptr())) }.unwrap_or_default()
    }

    /// Directory of the context.
    pub(crate) fn context_document_root(&self) -> &'a [u8] {
        // SAFETY: reads the request and returns a C string.
        unsafe { bytes(sys::ap_context_document_root(self.as_ptr())) }.unwrap_or_default()
    }

    /// Whether mod_ssl, or whoever stands for it, says that the connection is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        // SAFETY: apr_dynamic_fn_retrieve returns null or the function that registered the name,
        // which has had this signature since httpd 2.0; it only reads the connection.
        unsafe {
            match sys::apr_dynamic_fn_retrieve(c"ssl_is_https".as_ptr()) {
                Some(function) => {
                    let function: unsafe extern "C" fn(*mut sys::conn_rec) -> i32 =
                        std::mem::transmute(function);
                    function(self.record().connection) != 0
                }
                None => false,
            }
        }
    }

    /// A variable of mod_ssl; the empty name has the empty value if the connection is encrypted.
    pub(crate) fn ssl_variable(&self, name: &[u8]) -> Option<&'a [u8]> {
        if name.is_empty() {
            return self.is_encrypted().then_some(&b""[..]);
        }
        let (pool, name) = (self.pool()?, c_string(name));
        // SAFETY: apr_dynamic_fn_retrieve returns null or the function that registered the name,
        // which has had this signature since httpd 2.0; it reads the five, and returns null or a C
        // string of the pool, which lives as long as the request. It does not change the name.
        unsafe {
            let function = sys::apr_dynamic_fn_retrieve(c"ssl_var_lookup".as_ptr())?;
            let function: unsafe extern "C" fn(
                *mut sys::apr_pool_t,
                *mut sys::server_rec,
                *mut sys::conn_rec,
                *mut sys::request_rec,
                *mut std::ffi::c_char,
            ) -> *const std::ffi::c_char = std::mem::transmute(function);
            let record = self.record();
            bytes(function(
                pool.as_ptr(),
                record.server,
                record.connection,
                self.as_ptr(),
                name.as_ptr().cast_mut(),
            ))
        }
    }

    /// Settings of core that tell which Authorization headers CGI-like programs see, and how
    /// REQUEST_URI is made.
    pub(crate) fn core_settings(&self) -> CoreSettings {
        // SAFETY: the directory configuration of core is a core_dir_config, at core's index, which
        // core_module names; it lives as long as the request.
        let config = unsafe {
            sys::ap_get_module_config(self.record().per_dir_config, &raw const sys::core_module)
                .cast::<sys::core_dir_config>()
                .as_ref()
        };
        CoreSettings {
            pass_authorization: config
                .is_some_and(|config| config.cgi_pass_auth() == sys::AP_CGI_PASS_AUTH_ON as u32),
            maps_files: config
                .is_none_or(|config| config.enable_mmap() != sys::ENABLE_MMAP_OFF as u32),
            send_file: config
                .is_some_and(|config| config.enable_sendfile() == sys::ENABLE_SENDFILE_ON as u32),
            qualifies_redirect_url: config.is_some_and(|config| {
                config.qualify_redirect_url() == sys::AP_CORE_CONFIG_ON as u32
            }),
            uri_is_current: config.is_some_and(|config| {
                // SAFETY: null, or a hash of the configuration that is only read; keys and values
                // are C strings (http_core.h, cgi_var_rules).
                unsafe {
                    !config.cgi_var_rules.is_null()
                        && bytes(
                            sys::apr_hash_get(
                                config.cgi_var_rules,
                                c"REQUEST_URI".as_ptr().cast(),
                                sys::APR_HASH_KEY_STRING as _,
                            )
                            .cast(),
                        ) == Some(b"current-uri")
                }
            }),
        }
    }

    /// The whole URL of the request, for QualifyRedirectURL.
    pub(crate) fn qualified_url(&self) -> Option<&'a [u8]> {
        let pool = self.pool()?;
        // SAFETY: a copy of the request's URL is completed with C strings that live as long as the
        // request, and made text in its pool, as httpd's ap_add_common_vars does.
        unsafe {
            let mut url = self.record().parsed_uri;
            if url.scheme.is_null() {
                url.scheme = sys::ap_run_http_scheme(self.as_ptr()).cast_mut();
            }
            if url.port == 0 {
                url.port = sys::ap_get_server_port(self.as_ptr());
            }
            if url.port_str.is_null() {
                url.port_str = pool.copy(url.port.to_string().as_bytes());
            }
            if url.hostname.is_null() {
                url.hostname = sys::ap_get_server_name_for_url(self.as_ptr()).cast_mut();
            }
            bytes(sys::apr_uri_unparse(pool.as_ptr(), &raw const url, 0))
        }
    }

    /// The module's record of the directory.
    ///
    /// # Safety
    /// `T` is what the module's create_dir_config and merge_dir_config make.
    pub(crate) unsafe fn directory_config<T>(&self) -> Option<&'a T> {
        // SAFETY: the vector holds what those two returned, for as long as the request.
        unsafe {
            sys::ap_get_module_config(self.record().per_dir_config, module()).cast::<T>().as_ref()
        }
    }

    /// Says what the URL is mapped to, and which handler serves it.
    pub(crate) fn map_to(&self, file: &[u8], handler: &'static CStr) {
        let Some(pool) = self.pool() else { return };
        let file = pool.copy(file);
        // SAFETY: this thread alone has the request; both strings live as long as it.
        unsafe {
            (*self.as_ptr()).filename = file;
            (*self.as_ptr()).handler = handler.as_ptr();
        }
    }

    /// Sets status and, where the application gave a reason, its line.
    pub(crate) fn set_status(&self, status: u16, line: Option<&[u8]>) {
        let Some(pool) = self.pool() else { return };
        let line = line.map_or(std::ptr::null_mut(), |line| pool.copy(line));
        // SAFETY: this thread alone has the request; the line lives as long as it.
        unsafe {
            (*self.as_ptr()).status = i32::from(status);
            (*self.as_ptr()).status_line = line;
        }
    }

    /// Sets the response's Content-Type, through httpd, so that filters by type apply.
    pub(crate) fn set_content_type(&self, value: &[u8]) {
        let Some(pool) = self.pool() else { return };
        // SAFETY: the string lives as long as the request.
        unsafe { sys::ap_set_content_type(self.as_ptr(), pool.copy(value)) }
    }

    /// Sets the response's Content-Length.
    pub(crate) fn set_content_length(&self, length: i64) {
        // SAFETY: this thread alone has the request.
        unsafe { sys::ap_set_content_length(self.as_ptr(), length) }
    }

    /// No `100 Continue` any more: a final response is on its way.
    pub(crate) fn forget_continue(&self) {
        // SAFETY: this thread alone has the request.
        unsafe { sys::mod_wsgi_shim_forget_continue(self.as_ptr()) }
    }

    /// The connection ends with this response.
    pub(crate) fn end_connection(&self) {
        // SAFETY: this thread alone has the connection while it has the request.
        unsafe { (*self.record().connection).keepalive = sys::AP_CONN_CLOSE }
    }

    /// Whether the connection carries one request at a time (HTTP/1), and is not a stream of another.
    pub(crate) fn has_own_connection(&self) -> bool {
        self.connection().master.is_null()
    }

    /// Whether the client is known to be gone.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: only reads the connection.
        unsafe { sys::mod_wsgi_shim_is_aborted(self.record().connection) != 0 }
    }

    /// Answers by another local URL instead, as GET without a body.
    pub(crate) fn redirect_to(&self, location: &[u8]) {
        let Some(pool) = self.pool() else { return };
        if let Some(headers) = self.headers() {
            headers.unset(c"Content-Length");
        }
        // SAFETY: this thread alone has the request; the strings live as long as it.
        unsafe {
            (*self.as_ptr()).method = c"GET".as_ptr();
            (*self.as_ptr()).method_number = sys::M_GET;
            (*self.as_ptr()).status = sys::HTTP_OK;
            sys::ap_internal_redirect_handler(pool.copy(location), self.as_ptr());
        }
    }
}

/// What core's directives say that concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreSettings {
    /// CGIPassAuth On.
    pub(crate) pass_authorization: bool,
    /// No EnableMMAP Off.
    pub(crate) maps_files: bool,
    /// EnableSendfile On.
    pub(crate) send_file: bool,
    /// QualifyRedirectURL On.
    pub(crate) qualifies_redirect_url: bool,
    /// CGIVar REQUEST_URI current-uri.
    pub(crate) uri_is_current: bool,
}
