// SPDX-License-Identifier: Apache-2.0
//! A server or virtual host of httpd.

use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

use super::pool::Pool;
use super::{bytes, module, sys};

/// A server record that lives for `'a`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    /// The record.
    server: NonNull<sys::server_rec>,
    /// It is httpd's.
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Server<'a> {
    /// The server at this address.
    ///
    /// # Safety
    /// It is null or a record that lives for `'a`.
    pub(crate) unsafe fn from_ptr(server: *mut sys::server_rec) -> Option<Self> {
        NonNull::new(server).map(|server| Self { server, lifetime: PhantomData })
    }

    /// The record for a call of C.
    pub(crate) fn as_ptr(self) -> *mut sys::server_rec {
        self.server.as_ptr()
    }

    fn record(&self) -> &'a sys::server_rec {
        // SAFETY: from_ptr's promise. httpd changes a server record only while it reads its
        // configuration, which is not while we hold a reference from this.
        unsafe { self.server.as_ref() }
    }

    /// Number that tells servers of one configuration apart.
    pub(crate) fn identity(&self) -> usize {
        self.server.as_ptr() as usize
    }

    /// Whether it is a virtual host.
    pub(crate) fn is_virtual(&self) -> bool {
        self.record().is_virtual != 0
    }

    /// ServerName.
    pub(crate) fn name(&self) -> Option<&'a [u8]> {
        // SAFETY: a C string of the configuration, or null.
        unsafe { bytes(self.record().server_hostname) }
    }

    /// ServerAdmin.
    pub(crate) fn admin(&self) -> Option<&'a [u8]> {
        // SAFETY: a C string of the configuration, or null.
        unsafe { bytes(self.record().server_admin) }
    }

    /// Port of ServerName; 0 when it has none.
    pub(crate) fn port(&self) -> u16 {
        self.record().port
    }

    /// `Timeout`, in seconds.
    pub(crate) fn timeout(&self) -> u32 {
        u32::try_from(self.record().timeout / 1_000_000).unwrap_or(60)
    }

    /// LimitRequestBody outside of sections; None when it is not written, 0 is unlimited.
    pub(crate) fn body_limit(&self) -> Option<i64> {
        // SAFETY: the directory configuration of core is a core_dir_config, at core's index, which
        // core_module names; it lives as long as the server.
        let config = unsafe {
            sys::ap_get_module_config(self.record().lookup_defaults, &raw const sys::core_module)
                .cast::<sys::core_dir_config>()
                .as_ref()
        };
        config.map(|config| config.limit_req_body).filter(|limit| *limit >= 0)
    }

    /// The next server of the configuration.
    pub(crate) fn next(&self) -> Option<Self> {
        // SAFETY: the list of servers lives as long as each of them.
        unsafe { Self::from_ptr(self.record().next) }
    }

    /// The pool in which the server's own memory is (the configuration's).
    pub(crate) fn process_pool(&self) -> Option<Pool<'a>> {
        // SAFETY: the process record outlives every server.
        unsafe { self.record().process.as_ref().and_then(|process| Pool::from_ptr(process.pconf)) }
    }

    /// A new pool that lives until it is destroyed, or the process ends.
    pub(crate) fn subpool_of_process(&self) -> Option<*mut sys::apr_pool_t> {
        let mut pool = std::ptr::null_mut();
        // SAFETY: the process record and its pool outlive every server; one pointer is written.
        unsafe {
            let parent = self.record().process.as_ref()?.pool;
            let none = std::ptr::null_mut();
            let status = sys::apr_pool_create_ex(&raw mut pool, parent, None, none);
            (status == sys::APR_SUCCESS && !pool.is_null()).then_some(pool)
        }
    }

    /// A path in httpd's runtime directory.
    pub(crate) fn runtime_path(&self, name: &str) -> std::path::PathBuf {
        let name = super::c_string(name.as_bytes());
        // SAFETY: the pool is alive; returns null or a C string of it, which is copied.
        let path = self.process_pool().and_then(|pool| unsafe {
            bytes(sys::ap_runtime_dir_relative(pool.as_ptr(), name.as_ptr()))
        });
        let path = std::ffi::OsStr::from_bytes(path.unwrap_or(b"/run/wsgi"));
        std::path::PathBuf::from(path)
    }

    /// Descriptor of its error log, if that is a file or a pipe.
    pub(crate) fn log_descriptor(&self) -> Option<i32> {
        let mut descriptor = -1;
        let log = self.record().error_log;
        if log.is_null() {
            return None;
        }
        // SAFETY: the log is an open APR file; its descriptor is written to one integer.
        let status = unsafe { sys::apr_os_file_get(&raw mut descriptor, log) };
        (status == sys::APR_SUCCESS && descriptor >= 0).then_some(descriptor)
    }

    /// The module's record of this server.
    ///
    /// # Safety
    /// `T` is what the module's create_server_config and merge_server_config make.
    pub(crate) unsafe fn config<T>(&self) -> Option<&'a T> {
        // SAFETY: the vector holds what those two returned, for as long as the server.
        unsafe {
            sys::ap_get_module_config(self.record().module_config, module()).cast::<T>().as_ref()
        }
    }
}

/// Name and version of httpd and its modules, as ServerTokens allows.
pub(crate) fn banner() -> &'static [u8] {
    // SAFETY: a C string that httpd makes once its configuration is read, before children exist,
    // and keeps until they have ended; requests are handled in children only.
    unsafe { bytes(sys::ap_get_server_banner()) }.unwrap_or_default()
}
