// SPDX-License-Identifier: Apache-2.0
//! A process group of the running configuration: its options, resolved, and its shared memory.
//! Made in the httpd parent, used by the supervisor and by all children of the generation.
#![forbid(unsafe_code)]

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use mod_wsgi_protocol::region::{Geometry, Region};

use crate::config::daemon_process::{Isolation, Options};
use crate::config::{Host, Preload, Text};
use crate::os::memory::{SharedMemory, futex_wake};
use crate::os::socket::Address;

/// How long a process that was started for many requests is kept without any, where
/// `inactivity-timeout` does not say it.
const IDLE: Duration = Duration::from_secs(300);

/// What the sockets of all groups have in common.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    /// Prefix of socket names; absolute.
    pub(crate) prefix: PathBuf,
    /// Process id of the httpd parent.
    pub(crate) parent: u32,
    /// Restarts of httpd before this configuration.
    pub(crate) generation: u32,
    /// The directory cannot be entered by httpd's children: names are in the abstract space.
    pub(crate) is_abstract: bool,
    /// Owner of socket files, when the parent is root.
    pub(crate) owner: Option<u32>,
    /// User id of those who may listen: the parent's.
    pub(crate) listener: u32,
}

/// A process group.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its place in the configuration, from 0.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: Text,
    /// Its options.
    pub(crate) options: Options,
    /// Where it is defined.
    pub(crate) host: Host,
    /// Scripts to load at start.
    pub(crate) preloads: Vec<Preload>,
    /// Names of its sockets.
    sockets: Sockets,
    /// Shared memory.
    memory: SharedMemory,
    /// Division of it.
    geometry: Geometry,
}

impl Group {
    /// A group with fresh shared memory, for so many children with so many requests each.
    pub(crate) fn new(
        index: u32,
        group: crate::config::Group,
        preloads: Vec<Preload>,
        sockets: Sockets,
        children: u32,
        slots: u32,
    ) -> io::Result<Self> {
        let options = group.process.options;
        let sets = match options.isolation {
            Isolation::Process => options.application_groups,
            Isolation::Interpreter => 1,
        };
        let processes = options.processes.map_or(1, |processes| processes.most);
        // Each process may have its replacement, and a few more may be finishing old requests.
        let geometry = Geometry {
            children,
            slots,
            sets,
            processes: processes
                .saturating_mul(sets)
                .saturating_mul(2)
                .saturating_add(8)
                .min(20_000),
        };
        let memory = SharedMemory::new(geometry.words())?;
        Ok(Self {
            index,
            name: group.process.name,
            options,
            host: group.host,
            preloads,
            sockets,
            memory,
            geometry,
        })
    }

    /// The shared memory.
    pub(crate) fn region(&self) -> Region<'_> {
        // The memory was made for this geometry: the fallback cannot be reached.
        Region::new(self.memory.words(), self.geometry).unwrap_or_else(|| self.empty_region())
    }

    fn empty_region(&self) -> Region<'_> {
        let none = Geometry { children: 0, slots: 0, processes: 0, sets: 0 };
        match Region::new(self.memory.words(), none) {
            Some(region) => region,
            None => unreachable!("a region has at least its header"),
        }
    }

    /// The shared memory, for processes that map it.
    pub(crate) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Division of the shared memory.
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Tells all who wait that a set or process changed.
    pub(crate) fn announce(&self) {
        let region = self.region();
        region.advance_epoch();
        futex_wake(region.epoch());
        // Another process is as good as a thread that became free.
        let sets = (0..self.geometry.sets).filter_map(|set| region.set(set));
        for set in sets {
            let awaited = set.awaited();
            if awaited != 0 {
                set.forget_awaited(awaited);
                set.free_thread();
                futex_wake(set.freed());
            }
        }
    }

    /// Where the process with this serial listens.
    pub(crate) fn address(&self, serial: u32) -> Address {
        let Sockets { prefix, parent, generation, .. } = &self.sockets;
        let suffix = format!(".{parent}.{generation}.{}.{serial}.sock", self.index + 1);
        let mut name = prefix.clone().into_os_string();
        name.push(&suffix);
        if self.sockets.is_abstract {
            Address::Abstract(std::os::unix::ffi::OsStringExt::into_vec(name))
        } else {
            Address::Path(name.into())
        }
    }

    /// User id that the listener of a socket must have.
    pub(crate) fn listener_uid(&self) -> u32 {
        self.sockets.listener
    }

    /// Removes the socket files that a supervisor of this generation has left.
    pub(crate) fn remove_stale_sockets(&self) {
        let Sockets { prefix, parent, generation, .. } = &self.sockets;
        let (Some(folder), Some(name)) = (prefix.parent(), prefix.file_name()) else { return };
        if self.sockets.is_abstract {
            return;
        }
        let mut start = name.to_os_string();
        start.push(format!(".{parent}.{generation}.{}.", self.index + 1));
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let file = entry.file_name();
            let file = file.as_encoded_bytes();
            if file.starts_with(start.as_encoded_bytes()) && file.ends_with(b".sock") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// A path as the group's processes know it: without the directory that is their root directory
    /// (`chroot=`). None when it is not below that.
    pub(crate) fn path_inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let Some(root) = &self.options.chroot else { return Some(path) };
        inside(root.as_os_str().as_bytes(), path)
    }

    /// Owner of socket files, when the parent is root.
    pub(crate) fn socket_owner(&self) -> Option<u32> {
        self.sockets.owner.map(|owner| self.options.socket_user.unwrap_or(owner))
    }

    /// Most processes of each set, but for replacements.
    pub(crate) fn most_processes(&self) -> u32 {
        self.options.processes.map_or(1, |processes| processes.most)
    }

    /// Processes that each set keeps without a request.
    pub(crate) fn least_processes(&self) -> u32 {
        self.options.processes.map_or(1, |processes| processes.least)
    }

    /// Whether the number of processes follows the requests.
    pub(crate) fn is_elastic(&self) -> bool {
        self.least_processes() < self.most_processes()
    }

    /// How long without a request a process is kept that need not be there; None is for ever.
    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        match self.options.inactivity_timeout {
            0 => self.is_elastic().then_some(IDLE),
            seconds => Some(Duration::from_secs(seconds.into())),
        }
    }

    /// Whether application groups share processes.
    pub(crate) fn shares_processes(&self) -> bool {
        self.options.isolation == Isolation::Interpreter
    }

    /// Name for messages.
    pub(crate) fn label(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether requests of this virtual host may use the group (spec-config 2.6).
    pub(crate) fn is_visible_from(&self, server: crate::httpd::server::Server<'_>) -> bool {
        !self.host.is_virtual
            || self.host.identity == server.identity()
            || self.host.name.as_deref() == server.name()
    }
}

/// The rest of a path below a directory, from the slash on.
fn inside<'p>(root: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    path.strip_prefix(root).filter(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_of_a_root_directory() {
        assert_eq!(inside(b"/jail", b"/jail/app.wsgi"), Some(&b"/app.wsgi"[..]));
        assert_eq!(inside(b"/jail/", b"/jail/app.wsgi"), Some(&b"/app.wsgi"[..]));
        assert_eq!(inside(b"/", b"/app.wsgi"), Some(&b"/app.wsgi"[..]));
        assert_eq!(inside(b"/jail", b"/jailed/app.wsgi"), None);
        assert_eq!(inside(b"/jail", b"/app.wsgi"), None);
    }
}
