//! The memory of this process: the limit that its cgroups set, and what the allocator keeps.

use std::{fs, path::Path};

use procfs::process::Process;

/// The smallest memory limit of this process's cgroup and its visible ancestors, bytes. `None`: no limit.
pub(super) fn limit() -> Option<u64> {
    let process = Process::myself().ok()?;
    let (mounts, cgroups) = (process.mountinfo().ok()?, process.cgroups().ok()?);
    let limits = mounts.into_iter().filter_map(|mount| {
        let (file, controller) = match mount.fs_type.as_str() {
            "cgroup2" => ("memory.max", None),
            "cgroup" if mount.super_options.contains_key("memory") => {
                ("memory.limit_in_bytes", Some("memory"))
            }
            _ => return None,
        };
        let mut cgroups = cgroups.0.iter();
        let own = cgroups.find(|cgroup| match controller {
            None => cgroup.hierarchy == 0,
            Some(controller) => cgroup.controllers.iter().any(|one| one == controller),
        })?;
        // In a container the mount may show only a part, of which this cgroup may be no part.
        let below = own.pathname.strip_prefix(&mount.root).unwrap_or_default();
        smallest(&mount.mount_point, below, file)
    });
    limits.min()
}

/// The smallest number in the files called `file`, from the directory `below` up to `top`.
fn smallest(top: &Path, below: &str, file: &str) -> Option<u64> {
    let own = top.join(below.trim_start_matches('/'));
    let directories = own.ancestors().take_while(|directory| directory.starts_with(top));
    let limit =
        |directory: &Path| fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok();
    directories.filter_map(limit).min()
}

/// Gives free memory back to the kernel. Reading the kernel's BTF takes several MiB for a moment, which the
/// allocator would keep.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer; may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts() {
        let top = tempfile::tempdir().unwrap();
        let (outer, inner) = (top.path().join("outer"), top.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        let of = |below: &str| smallest(top.path(), below, "memory.max");
        assert_eq!(of("/outer/inner"), None, "no file says");
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(of("/outer/inner"), None, "unlimited");
        fs::write(outer.join("memory.max"), "300\n").unwrap();
        assert_eq!(of("/outer/inner"), Some(300));
        fs::write(inner.join("memory.max"), "200\n").unwrap();
        assert_eq!(of("/outer/inner"), Some(200));
        assert_eq!(of("/outer"), Some(300), "what is below does not count");
        assert_eq!(of("/"), None);
    }
}
