//! Cgroups of the tests' own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// A cgroup of the unified hierarchy, removed when dropped.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// A new one below the root; `None` where there is no such hierarchy, or it cannot be written.
    pub(crate) fn at_top(name: &str) -> Option<Self> {
        let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
        let mount = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2")?;
        let path = mount.mount_point.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// A new one that holds so many bytes, of whichever hierarchy has the controller for that; `None` without
    /// one.
    pub(crate) fn with_memory_limit(name: &str, bytes: u64) -> Option<Self> {
        let mounts = procfs::process::Process::myself().unwrap().mountinfo().unwrap();
        for mount in mounts {
            let version_1 = mount.fs_type == "cgroup" && mount.super_options.contains_key("memory");
            if !version_1 && mount.fs_type != "cgroup2" {
                continue;
            }
            if !version_1 {
                // Fails where it is on already, or belongs to the other version.
                let _ = fs::write(mount.mount_point.join("cgroup.subtree_control"), "+memory");
            }
            let path = mount.mount_point.join(name);
            let file = if version_1 { "memory.limit_in_bytes" } else { "memory.max" };
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let cgroup = Self(path);
            if fs::write(cgroup.0.join(file), bytes.to_string()).is_ok() {
                return Some(cgroup);
            }
        }
        None
    }

    /// A new one below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Where it is in the file system.
    pub(crate) fn path(&self) -> &str {
        Path::to_str(&self.0).unwrap()
    }

    /// Moves a process into it.
    pub(crate) fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel takes a moment to let go of what has just died in it.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
