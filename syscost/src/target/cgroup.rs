//! A cgroup of the unified hierarchy: from a path to its id and depth, by which the kernel's programs know it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::decode::printable;

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its path as `/proc/PID/cgroup` shows it, printable; "/" for the root.
    pub path: String,
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Its depth; 0 for the root.
    pub level: u32,
}

impl Cgroup {
    /// The path of its `cpu.stat`: what the kernel accounts for it.
    pub(super) fn cpu_stat(&self) -> Result<PathBuf> {
        Ok(self.directory()?.join("cpu.stat"))
    }

    /// Its directory.
    pub(super) fn directory(&self) -> Result<PathBuf> {
        let path = printable::original(&self.path).context("not the path of a cgroup")?;
        // An absolute path would replace the mount.
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        Ok(mount()?.join(OsStr::from_bytes(path)))
    }

    /// The cgroup at `path`: a directory below the mount, or a path as `/proc/PID/cgroup` shows
    /// it.
    ///
    /// # Errors
    /// When there is none, or it is of a version 1 hierarchy.
    pub fn resolve(path: &Path) -> Result<Self> {
        Self::resolve_below(&mount()?, path)
    }

    fn resolve_below(mount: &Path, path: &Path) -> Result<Self> {
        let shown = printable::path(path);
        let inside = mount.join(path.strip_prefix("/").unwrap_or(path));
        // A path that is a directory comes first, except `/`: that is the root of cgroups, not of files.
        let directory = [path.to_owned(), inside]
            .into_iter()
            .filter_map(|path| path.canonicalize().ok())
            .find(|path| path.is_dir() && path.starts_with(mount));
        let Some(directory) = directory else {
            if path.join("cgroup.procs").exists() {
                bail!(
                    "{shown} is in a version 1 hierarchy: the kernel's programs see the unified \
                     one only (at {})",
                    printable::path(mount)
                );
            }
            let mount = printable::path(mount);
            bail!("no cgroup {shown} below {mount} (systemd-cgls shows them)");
        };
        Self::at(mount, &directory)
    }

    /// The cgroup of `directory`, which is below `mount`.
    pub(super) fn at(mount: &Path, directory: &Path) -> Result<Self> {
        let below = directory.strip_prefix(mount).context("not below the mount")?;
        let names = below.components().filter(|part| matches!(part, Component::Normal(_)));
        let metadata = fs::metadata(directory)
            .with_context(|| format!("cannot look at {}", printable::path(directory)))?;
        Ok(Self {
            path: format!("/{}", printable::path(below)),
            id: metadata.ino(),
            level: u32::try_from(names.count()).context("a path of many parts")?,
        })
    }
}

/// Where the unified hierarchy is mounted.
///
/// # Errors
/// When it is mounted nowhere, or only a part of it is, as inside a container.
pub(super) fn mount() -> Result<PathBuf> {
    let mounts = procfs::process::Process::myself()
        .and_then(|process| process.mountinfo())
        .context("cannot read /proc/self/mountinfo")?;
    let mount = mounts.into_iter().find(|mount| mount.fs_type == "cgroup2").context(
        "no unified cgroup hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup, or measure \
         by PID",
    )?;
    // The programs compare depths of the host. A cgroup namespace shows others.
    if mount.root != "/" || !in_root_namespace() {
        bail!(
            "in a cgroup namespace the depth of cgroups cannot be told: run syscost outside the \
             container"
        );
    }
    Ok(mount.mount_point)
}

/// The inode of the root cgroup namespace (PROC_CGROUP_INIT_INO, include/linux/proc_ns.h).
const ROOT_NAMESPACE: u64 = 0xEFFF_FFFB;

fn in_root_namespace() -> bool {
    // Kernels without cgroup namespaces have no such file.
    fs::metadata("/proc/self/ns/cgroup").map_or(true, |own| own.ino() == ROOT_NAMESPACE)
}

/// The paths of cgroups by their ids.
#[derive(Debug, Default)]
pub struct Cgroups {
    paths: BTreeMap<u64, String>,
}

impl Cgroups {
    /// The path of the cgroup `id`; `None` if it is unknown or gone.
    pub fn path(&mut self, id: u64) -> Option<String> {
        if !self.paths.contains_key(&id)
            && let Ok(mount) = mount()
        {
            // A new cgroup: list all of them again, and keep the paths of cgroups that are gone.
            visit(&mount, &mut |directory| {
                if let Ok(cgroup) = Cgroup::at(&mount, directory) {
                    self.paths.insert(cgroup.id, cgroup.path);
                }
            });
            // Do not look for it again every second.
            self.paths.entry(id).or_default();
        }
        self.paths.get(&id).filter(|path| !path.is_empty()).cloned()
    }
}

/// Calls `found` with `directory` and every directory below it.
pub(super) fn visit(directory: &Path, found: &mut impl FnMut(&Path)) {
    found(directory);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_found_by_its_directory_and_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().canonicalize().unwrap();
        let inner = mount.join("system.slice/nginx.service");
        fs::create_dir_all(&inner).unwrap();
        let id = fs::metadata(&inner).unwrap().ino();
        let expected = Cgroup { path: "/system.slice/nginx.service".to_owned(), id, level: 2 };
        for path in [inner.as_path(), Path::new("/system.slice/nginx.service")] {
            assert_eq!(Cgroup::resolve_below(&mount, path).unwrap(), expected);
        }
        let relative = Path::new("system.slice/nginx.service");
        assert_eq!(Cgroup::resolve_below(&mount, relative).unwrap(), expected);
        let root = Cgroup::resolve_below(&mount, Path::new("/")).unwrap();
        assert_eq!((root.path.as_str(), root.level), ("/", 0));
        let error = Cgroup::resolve_below(&mount, Path::new("/none")).unwrap_err().to_string();
        assert!(error.starts_with("no cgroup /none below "), "{error}");
    }

    #[test]
    fn a_cgroup_of_a_version_1_hierarchy_is_refused() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let old = folders[1].path().join("old");
        fs::create_dir(&old).unwrap();
        fs::write(old.join("cgroup.procs"), "").unwrap();
        let mount = folders[0].path().canonicalize().unwrap();
        let error = Cgroup::resolve_below(&mount, &old).unwrap_err().to_string();
        assert!(error.contains("version 1"), "{error}");
    }
}
