// SPDX-License-Identifier: Apache-2.0
//! How httpd asks who may have a resource: the hook of access scripts, the provider `wsgi` of users
//! (Basic, Digest, Form) and `Require wsgi-group`.

use std::ffi::{c_char, c_int, c_void};

use crate::access::{self, Access, Authentication, Membership};
use crate::config::words::Words;
use crate::config::{Scoped, ServerConfig};
use crate::httpd::guard::guard;
use crate::httpd::request::Request;
use crate::httpd::{bytes, sys};

static USERS: sys::authn_provider =
    sys::authn_provider { check_password: Some(check_password), get_realm_hash: Some(realm_hash) };

static GROUPS: sys::authz_provider = sys::authz_provider {
    check_authorization: Some(check_authorization),
    parse_require_line: None,
};

/// A list of module names, as httpd's hooks take it.
struct Names<const N: usize>([*const c_char; N]);

// SAFETY: addresses of constants only.
unsafe impl<const N: usize> Sync for Names<N> {}

static AFTER: Names<2> = Names([c"mod_ssl.c".as_ptr(), std::ptr::null()]);
static BEFORE: Names<2> = Names([c"mod_authz_host.c".as_ptr(), std::ptr::null()]);

/// Registers the hook and the providers.
///
/// # Safety
/// httpd asks for the hooks, with its pool.
pub(super) unsafe fn register(pool: *mut sys::apr_pool_t) {
    // SAFETY: functions and tables of this library, which stays mapped; the lists are static, as
    // httpd reads them when it sorts the hooks.
    unsafe {
        sys::ap_hook_access_checker(
            Some(check_access),
            AFTER.0.as_ptr(),
            BEFORE.0.as_ptr(),
            sys::APR_HOOK_MIDDLE,
        );
        sys::ap_register_auth_provider(
            pool,
            sys::AUTHN_PROVIDER_GROUP.as_ptr(),
            c"wsgi".as_ptr(),
            sys::AUTHN_PROVIDER_VERSION.as_ptr(),
            (&raw const USERS).cast(),
            sys::AP_AUTH_INTERNAL_PER_CONF,
        );
        sys::ap_register_auth_provider(
            pool,
            sys::AUTHZ_PROVIDER_GROUP.as_ptr(),
            c"wsgi-group".as_ptr(),
            sys::AUTHZ_PROVIDER_VERSION.as_ptr(),
            (&raw const GROUPS).cast(),
            sys::AP_AUTH_INTERNAL_PER_CONF,
        );
    }
}

/// What a hook has: the request, and the records of its directory and server.
struct Asked<'a> {
    /// The request.
    request: Request<'a>,
    /// Of its directory.
    directory: &'a Scoped,
    /// Of its server.
    server: &'a Scoped,
}

/// # Safety
/// `request` is httpd's request, handled by this thread for `'a`.
unsafe fn asked<'a>(request: *mut sys::request_rec) -> Option<Asked<'a>> {
    // SAFETY: the caller's promise; the records are what the module's functions made.
    unsafe {
        let request = Request::from_ptr(request)?;
        let directory = request.directory_config::<Scoped>()?;
        let server = &request.server()?.config::<ServerConfig>()?.scoped;
        Some(Asked { request, directory, server })
    }
}

unsafe extern "C" fn check_access(request: *mut sys::request_rec) -> c_int {
    guard("access_checker", sys::HTTP_INTERNAL_SERVER_ERROR, || {
        // SAFETY: httpd's request, handled by this thread during the call.
        let Some(asked) = (unsafe { asked(request) }) else { return sys::DECLINED };
        match access::allow_access(&asked.request, asked.directory, asked.server) {
            Access::Allowed => sys::OK,
            Access::Declined => sys::DECLINED,
            Access::Denied => sys::HTTP_FORBIDDEN,
        }
    })
}

unsafe extern "C" fn check_password(
    request: *mut sys::request_rec,
    user: *const c_char,
    password: *const c_char,
) -> sys::authn_status {
    guard("check_password", sys::AUTH_GENERAL_ERROR, || {
        // SAFETY: httpd's request, handled by this thread during the call; null or C strings of it.
        let (asked, user, password) = unsafe { (asked(request), bytes(user), bytes(password)) };
        let Some(asked) = asked else { return sys::AUTH_GENERAL_ERROR };
        let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
        let Asked { request, directory, server } = asked;
        match access::check_password(&request, directory, server, user, password) {
            Authentication::Granted => sys::AUTH_GRANTED,
            Authentication::Denied => sys::AUTH_DENIED,
            Authentication::Unknown => sys::AUTH_USER_NOT_FOUND,
            Authentication::Hash(_) | Authentication::Failed => sys::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn realm_hash(
    request: *mut sys::request_rec,
    user: *const c_char,
    realm: *const c_char,
    hash: *mut *mut c_char,
) -> sys::authn_status {
    guard("get_realm_hash", sys::AUTH_GENERAL_ERROR, || {
        // SAFETY: httpd's request, handled by this thread during the call; null or C strings of it.
        let (asked, user, realm) = unsafe { (asked(request), bytes(user), bytes(realm)) };
        let Some(asked) = asked else { return sys::AUTH_GENERAL_ERROR };
        let (user, realm) = (user.unwrap_or_default(), realm.unwrap_or_default());
        let Asked { request, directory, server } = asked;
        let found = access::realm_hash(&request, directory, server, user, realm);
        match (found, request.pool()) {
            (Authentication::Hash(found), Some(pool)) if !hash.is_null() => {
                // SAFETY: httpd's place for the hash, which is to live as long as the request.
                unsafe { *hash = pool.copy(&found) };
                sys::AUTH_USER_FOUND
            }
            (Authentication::Unknown, _) => sys::AUTH_USER_NOT_FOUND,
            _ => sys::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn check_authorization(
    request: *mut sys::request_rec,
    line: *const c_char,
    _parsed: *const c_void,
) -> sys::authz_status {
    guard("check_authorization", sys::AUTHZ_GENERAL_ERROR, || {
        // SAFETY: httpd's request, handled by this thread during the call; a C string of the
        // configuration.
        let (asked, line) = unsafe { (asked(request), bytes(line)) };
        let Some(Asked { request, directory, server }) = asked else { return sys::AUTHZ_DENIED };
        let Some(user) = request.user() else { return sys::AUTHZ_DENIED_NO_USER };
        let mut words = Words::new(line.unwrap_or_default());
        let required: Vec<_> = std::iter::from_fn(|| words.next()).collect();
        match access::is_in_group(&request, directory, server, user, &required) {
            Membership::Member => sys::AUTHZ_GRANTED,
            Membership::Stranger => sys::AUTHZ_DENIED,
            Membership::Failed => sys::AUTHZ_GENERAL_ERROR,
        }
    })
}
