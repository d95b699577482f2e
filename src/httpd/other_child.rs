// SPDX-License-Identifier: Apache-2.0
//! Processes of httpd's parent that are not MPM children: httpd reaps them and says that they ended.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::guard::guard;
use super::server::Server;
use super::sys;

/// Who wants to know; a `fn(i32)` as a number, 0 for nobody.
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Has `ended` called, in the parent, with the id of the process when that has ended.
pub(crate) fn watch(pid: i32, server: Server<'_>, ended: fn(i32)) {
    let Some(pool) = server.process_pool() else { return };
    ENDED.store(ended as usize, Ordering::Relaxed);
    // SAFETY: an all-zero apr_proc_t is a process without pipes.
    let mut process: sys::apr_proc_t = unsafe { std::mem::zeroed() };
    process.pid = pid;
    let process = pool.own(process);
    // SAFETY: the record lives in the configuration's pool, until `forget` or its end; the data are
    // a number and no address.
    unsafe {
        sys::apr_proc_other_child_register(
            process,
            Some(maintain),
            data(pid),
            std::ptr::null_mut(),
            pool.as_ptr(),
        );
    }
}

/// Does not want to know any more.
pub(crate) fn forget(pid: i32) {
    // SAFETY: compares the number with those registered.
    unsafe { sys::apr_proc_other_child_unregister(data(pid)) };
}

fn data(pid: i32) -> *mut c_void {
    std::ptr::without_provenance_mut(usize::try_from(pid).unwrap_or(0))
}

unsafe extern "C" fn maintain(reason: i32, data: *mut c_void, _status: i32) {
    guard("other child", (), || {
        let pid = i32::try_from(data.addr()).unwrap_or(0);
        if reason != sys::APR_OC_REASON_DEATH && reason != sys::APR_OC_REASON_LOST {
            return;
        }
        forget(pid);
        let ended = ENDED.load(Ordering::Relaxed);
        if ended != 0 && super::mpm::phase() != super::mpm::Phase::Exiting {
            // SAFETY: the number is that of a `fn(i32)` of this library, stored in `watch`.
            let ended: fn(i32) = unsafe { std::mem::transmute(ended) };
            ended(pid);
        }
    });
}
