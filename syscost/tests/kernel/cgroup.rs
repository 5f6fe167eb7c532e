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
