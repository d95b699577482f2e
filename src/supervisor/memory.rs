// SPDX-License-Identifier: Apache-2.0
//! Whether the kernel has killed for want of memory: its own count and that of our control group,
//! looked at when a process was killed by SIGKILL, and compared with what they were before.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// Counts of kills for want of memory.
#[derive(Debug)]
pub(crate) struct MemoryKills {
    /// File with the count of our control group, if there is one.
    group: Option<PathBuf>,
    /// Its count when it was looked at last.
    in_group: Option<u64>,
    /// That of the whole system.
    in_system: Option<u64>,
}

impl MemoryKills {
    /// With the counts of this moment.
    pub(crate) fn new() -> Self {
        let memberships = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut kills = Self { group: counter(&memberships), in_group: None, in_system: None };
        kills.look();
        kills
    }

    /// What the kernel says of a process that was killed just now, for a log line. None when no kill
    /// for want of memory has been counted since the last time, or nothing can be known.
    pub(crate) fn explain(&mut self) -> Option<&'static str> {
        let (in_group, in_system) = (self.in_group, self.in_system);
        self.look();
        let has_grown = |before: Option<u64>, now: Option<u64>| {
            before.zip(now).is_some_and(|(before, now)| now > before)
        };
        if has_grown(in_group, self.in_group) {
            Some("out of memory: the limit of its control group")
        } else if has_grown(in_system, self.in_system) {
            Some("out of memory, it seems: the kernel has killed for it")
        } else {
            None
        }
    }

    fn look(&mut self) {
        let read = |path: &PathBuf| std::fs::read_to_string(path).ok();
        self.in_group = self.group.as_ref().and_then(read).and_then(|text| count(&text));
        self.in_system = read(&"/proc/vmstat".into()).and_then(|text| count(&text));
    }
}

/// The file that counts kills in the control group of these memberships (/proc/self/cgroup).
fn counter(memberships: &str) -> Option<PathBuf> {
    memberships.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        if hierarchy == "0" && controllers.is_empty() {
            Some(PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"))
        } else if controllers.split(',').any(|name| name == "memory") {
            Some(PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"))
        } else {
            None
        }
    })
}

/// The number behind `oom_kill` in a file of names and numbers.
fn count(text: &str) -> Option<u64> {
    let number = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_that_of_the_control_group() {
        assert_eq!(
            counter("0::/system.slice/apache2.service\n"),
            Some("/sys/fs/cgroup/system.slice/apache2.service/memory.events".into())
        );
        assert_eq!(
            counter("5:cpu,cpuacct:/a\n4:memory:/b\n"),
            Some("/sys/fs/cgroup/memory/b/memory.oom_control".into())
        );
        assert_eq!(counter("1:name=systemd:/\n"), None);
    }

    #[test]
    fn kills_are_counted_where_they_stand() {
        assert_eq!(count("low 0\noom 2\noom_kill 3\noom_group_kill 1\n"), Some(3));
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(count("oom 2\n"), None);
    }

    #[test]
    fn a_kill_is_explained_once() {
        let file = std::env::temp_dir().join(format!("mod_wsgi-kills-{}", std::process::id()));
        std::fs::write(&file, "oom_kill 1\n").unwrap();
        let mut kills =
            MemoryKills { group: Some(file.clone()), in_group: Some(0), in_system: Some(u64::MAX) };
        assert_eq!(kills.explain(), Some("out of memory: the limit of its control group"));
        kills.in_system = Some(u64::MAX);
        assert_eq!(kills.explain(), None);
        std::fs::remove_file(&file).unwrap();
    }
}
