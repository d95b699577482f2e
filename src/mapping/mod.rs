// SPDX-License-Identifier: Apache-2.0
//! From a request to what answers it: the parts of the URL path, the gates before an application is
//! run (spec-config 4.4), and the names of its groups and callable.

pub(crate) mod gate;
pub(crate) mod ownership;
pub(crate) mod path;
pub(crate) mod routing;
