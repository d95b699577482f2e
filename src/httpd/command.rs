// SPDX-License-Identifier: Apache-2.0
//! A directive while httpd reads it: where it stands, and what httpd can do for its reader.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::pool::Pool;
use super::server::Server;
use super::{bytes, c_string, module, sys};

/// A directive that is being read.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// httpd's description; it writes to it while it reads a section.
    record: NonNull<sys::cmd_parms>,
    /// It is httpd's.
    lifetime: PhantomData<&'a ()>,
}

impl<'a> Command<'a> {
    /// The directive at this address.
    ///
    /// # Safety
    /// It is null or what httpd gives to a directive's function, during that call.
    pub(crate) unsafe fn from_ptr(record: *mut sys::cmd_parms) -> Option<Self> {
        NonNull::new(record).map(|record| Self { record, lifetime: PhantomData })
    }

    fn as_ptr(self) -> *mut sys::cmd_parms {
        self.record.as_ptr()
    }

    fn record(&self) -> &sys::cmd_parms {
        // SAFETY: from_ptr's promise. No reference from here is held while httpd reads a section:
        // all users copy a pointer out.
        unsafe { self.record.as_ref() }
    }

    /// The number that the command table has for it.
    pub(crate) fn number(self) -> Option<usize> {
        // SAFETY: the entry of our own table that httpd matched.
        unsafe { self.record().cmd.as_ref() }.map(|command| command.cmd_data.addr())
    }

    /// The pool of the configuration, or of the request for .htaccess.
    pub(crate) fn pool(self) -> Option<Pool<'a>> {
        // SAFETY: the pool outlives the directive.
        unsafe { Pool::from_ptr(self.record().pool) }
    }

    /// The server in which it stands.
    pub(crate) fn server(self) -> Option<Server<'a>> {
        // SAFETY: the server outlives the directive.
        unsafe { Server::from_ptr(self.record().server) }
    }

    /// Whether it stands in a section with a path, or in .htaccess.
    pub(crate) fn is_in_section(self) -> bool {
        !self.record().path.is_null()
    }

    /// Whether it stands in .htaccess: httpd is serving requests then, and only its record of the
    /// directory may be written.
    pub(crate) fn is_in_htaccess(self) -> bool {
        let configuration = self.server().and_then(|server| server.process_pool());
        self.pool().map(Pool::as_ptr) != configuration.map(Pool::as_ptr)
    }

    /// Why the directive may not stand here, if it is for the main server only.
    pub(crate) fn problem_outside_main_server(self) -> Option<&'a [u8]> {
        // SAFETY: reads the description, and returns null or a C string of the pool.
        unsafe { bytes(sys::ap_check_cmd_context(self.as_ptr(), sys::GLOBAL_ONLY as _)) }
    }

    /// File and line.
    pub(crate) fn place(self) -> Option<(&'a [u8], i32)> {
        // SAFETY: null, or the directive being read, with a C string or null for its file.
        unsafe {
            let directive = self.record().directive.as_ref()?;
            Some((bytes(directive.filename)?, directive.line_num))
        }
    }

    /// Reads the directives inside of this section.
    ///
    /// # Errors
    /// The complaint of one of them.
    pub(crate) fn read_section(self) -> Result<(), &'a [u8]> {
        // SAFETY: the directive being read; its children are read with the same description and
        // context, as httpd does it for its own sections. The result is null or a C string of the
        // pool.
        let problem = unsafe {
            let Some(directive) = self.record().directive.as_ref() else { return Ok(()) };
            bytes(sys::ap_walk_config(directive.first_child, self.as_ptr(), self.record().context))
        };
        problem.map_or(Ok(()), Err)
    }

    /// A path made absolute by ServerRoot.
    pub(crate) fn server_root_relative(self, path: &[u8]) -> Option<&'a [u8]> {
        let (pool, path) = (self.pool()?, c_string(path));
        // SAFETY: reads a C string and returns null or one of the pool.
        unsafe { bytes(sys::ap_server_root_relative(pool.as_ptr(), path.as_ptr())) }
    }

    /// The module's record of the server.
    ///
    /// # Safety
    /// `T` is what the module's create_server_config makes, and the caller is the only one who uses
    /// the record: the configuration is being read, by this thread.
    pub(crate) unsafe fn server_record<T>(self) -> Option<&'a mut T> {
        // SAFETY: the caller's promise; the server lives while its directives are read.
        unsafe {
            let server = self.record().server.as_ref()?;
            sys::ap_get_module_config(server.module_config, module()).cast::<T>().as_mut()
        }
    }
}
