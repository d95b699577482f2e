// SPDX-License-Identifier: Apache-2.0
//! What httpd is and how many children and threads it may have.

use super::{bytes, sys};

fn query(code: i32) -> i32 {
    let mut value = 0;
    // SAFETY: ap_mpm_query writes one integer.
    let status = unsafe { sys::ap_mpm_query(code, &raw mut value) };
    if status == sys::APR_SUCCESS { value } else { 0 }
}

/// Most children that can ever be.
pub(crate) fn hard_limit_children() -> u32 {
    u32::try_from(query(sys::AP_MPMQ_HARD_LIMIT_DAEMONS)).unwrap_or(0).max(1)
}

/// Most children that are configured.
pub(crate) fn maximum_children() -> u32 {
    u32::try_from(query(sys::AP_MPMQ_MAX_DAEMONS)).unwrap_or(0).max(1)
}

/// Threads of each child; 1 where a child is one thread.
pub(crate) fn threads_per_child() -> u32 {
    u32::try_from(query(sys::AP_MPMQ_MAX_THREADS)).unwrap_or(0).max(1)
}

/// Whether children have several threads.
pub(crate) fn is_threaded() -> bool {
    query(sys::AP_MPMQ_IS_THREADED) != sys::AP_MPMQ_NOT_SUPPORTED
}

/// How often httpd was restarted.
pub(crate) fn generation() -> u32 {
    u32::try_from(query(sys::AP_MPMQ_GENERATION)).unwrap_or(0)
}

/// In the parent: whether it is stopping or restarting, and starts no more children.
pub(crate) fn is_stopping() -> bool {
    query(sys::AP_MPMQ_MPM_STATE) == sys::AP_MPMQ_STOPPING
}

/// Where httpd's main loop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The configuration is read for the first time, to be checked only.
    Check,
    /// httpd is ending.
    Exiting,
    /// Any other.
    Running,
}

/// Where httpd's main loop is.
pub(crate) fn phase() -> Phase {
    // SAFETY: ap_state_query takes an integer.
    match unsafe { sys::ap_state_query(sys::AP_SQ_MAIN_STATE) } {
        sys::AP_SQ_MS_CREATE_PRE_CONFIG => Phase::Check,
        sys::AP_SQ_MS_EXITING => Phase::Exiting,
        _ => Phase::Running,
    }
}

/// Version of the httpd whose headers this was compiled with.
pub(crate) fn compiled_version() -> (u32, u32, u32) {
    let number = |value: i32| u32::try_from(value).unwrap_or(0);
    (
        number(sys::AP_SERVER_MAJORVERSION_NUMBER),
        number(sys::AP_SERVER_MINORVERSION_NUMBER),
        number(sys::AP_SERVER_PATCHLEVEL_NUMBER),
    )
}

/// How the running httpd describes itself.
pub(crate) fn description() -> Vec<u8> {
    // SAFETY: returns a C string that lives as long as the configuration; it is copied.
    unsafe { bytes(sys::ap_get_server_description()) }.unwrap_or_default().to_vec()
}

/// When the running httpd was built.
pub(crate) fn build_date() -> Vec<u8> {
    // SAFETY: returns a constant C string; it is copied.
    unsafe { bytes(sys::ap_get_server_built()) }.unwrap_or_default().to_vec()
}

/// Name of the MPM.
pub(crate) fn name() -> Vec<u8> {
    // SAFETY: returns a constant C string; it is copied.
    unsafe { bytes(sys::ap_show_mpm()) }.unwrap_or_default().to_vec()
}

/// User that children run as: id and name.
pub(crate) fn child_user() -> (u32, Vec<u8>) {
    // SAFETY: httpd writes this record while it reads the configuration, in the one thread that
    // also calls this; the name is a C string of the configuration, copied here.
    let (uid, name) = unsafe {
        let config = &raw const sys::ap_unixd_config;
        ((*config).user_id, bytes((*config).user_name).unwrap_or_default().to_vec())
    };
    // `User #33` leaves the number as the name.
    match crate::os::identity::user_by_id(uid) {
        Some(user) if name.starts_with(b"#") => (uid, user.name.into_bytes()),
        _ => (uid, name),
    }
}

/// Group id that children run with.
pub(crate) fn child_group() -> u32 {
    // SAFETY: as in child_user.
    unsafe { (&raw const sys::ap_unixd_config.group_id).read() }
}
