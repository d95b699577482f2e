// SPDX-License-Identifier: Apache-2.0
//! Processes of httpd's parent that are not MPM children: httpd reaps them and says that they ended.
//! A record outlives a restart of httpd, as its process does: without one, the MPM would warn of a
//! "long lost child" when that process ends.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::guard::guard;
use super::pool::Pool;
use super::server::Server;
use super::sys;

/// Who wants to know; a `fn(i32)` as a number, 0 for nobody.
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Processes that are watched: id, and the pool of the record as a number.
static WATCHED: Mutex<Vec<(i32, usize)>> = Mutex::new(Vec::new());

/// A process that is watched; dropped with its pool.
struct Record {
    /// The process, as APR wants it.
    process: sys::apr_proc_t,
}

impl Drop for Record {
    /// httpd ends, and destroys the pool before anybody forgot the process.
    fn drop(&mut self) {
        WATCHED.lock().retain(|(pid, _)| *pid != self.process.pid);
    }
}

/// Has `ended` called, in the parent, with the id of the process when that has ended.
pub(crate) fn watch(pid: i32, server: Server<'_>, ended: fn(i32)) {
    let Some(pool) = server.subpool_of_process() else { return };
    ENDED.store(ended as usize, Ordering::Relaxed);
    // SAFETY: an all-zero apr_proc_t is a process without pipes.
    let mut process: sys::apr_proc_t = unsafe { std::mem::zeroed() };
    process.pid = pid;
    // SAFETY: the pool was just made and is used by this thread only.
    let Some(owner) = (unsafe { Pool::from_ptr(pool) }) else { return };
    let record = owner.own(Record { process });
    WATCHED.lock().push((pid, pool.expose_provenance()));
    // SAFETY: process and record live in the pool, which is destroyed in `forget`, after the record
    // is taken out of APR's list; the data are a number and no address.
    unsafe {
        sys::apr_proc_other_child_register(
            &raw mut (*record).process,
            Some(maintain),
            data(pid),
            std::ptr::null_mut(),
            pool,
        );
    }
}

/// Does not want to know any more.
pub(crate) fn forget(pid: i32) {
    let pools: Vec<usize> = {
        let mut watched = WATCHED.lock();
        let pools =
            watched.iter().filter(|(known, _)| *known == pid).map(|(_, pool)| *pool).collect();
        watched.retain(|(known, _)| *known != pid);
        pools
    };
    for pool in pools {
        // SAFETY: the number is the address of a pool that `watch` made; it has just been taken out
        // of the list, so that it is destroyed once. APR takes the record out of its own first.
        unsafe {
            sys::apr_proc_other_child_unregister(data(pid));
            sys::apr_pool_destroy(std::ptr::with_exposed_provenance_mut(pool));
        }
    }
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
