//! Descendants of the targets that exist when the hooks are attached. They are found in `/proc` and entered into the
//! map of targets, as the fork hook enters later ones.
//!
//! The hooks at fork and exit are attached before this. A child is either entered by the fork hook, because its parent
//! was a target by then, or `/proc` shows it. Its parent may exit before the child is found. So parents are also known
//! from a look at `/proc` before the hooks were attached, and from the fork hook, which notes all forks meanwhile. The
//! search ends when a look at all processes and at the noted forks finds no child to enter.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
};

use anyhow::{Context, Result, bail};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use syscost_common::scope::{CHECKED, FOLLOWED};

use super::{namespace::Namespace, target_map};
use crate::proc::{children_listed_by, is_own, lives, pids, stat::Stat, within};

/// `BPF_NOEXIST` and `BPF_EXIST` (include/uapi/linux/bpf.h).
const NOEXIST: u64 = 1;
const EXIST: u64 = 2;

/// An upper limit of the generations between two processes.
const MOST_GENERATIONS: usize = 1_000;

/// The result of the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adopted {
    /// Children that were entered and lived then.
    pub(super) children: u64,
    /// Children that were not entered because the map was full.
    pub(super) without_room: u64,
    /// Children that `/proc` hides (hidepid). Their own children are not known.
    pub(super) hidden: u64,
}

/// Enters the descendants of the processes `given` into the map of targets. These are ids in the root namespace.
/// `parents`: what [`crate::proc::parents`] returned before the hooks were attached.
///
/// # Errors
/// When `/proc` cannot be read, or the map cannot be changed.
pub(super) fn adopt(
    ebpf: &mut Ebpf,
    given: &[u32],
    parents: &[(u32, u32)],
    mut namespace: Option<&mut Namespace>,
) -> Result<Adopted> {
    if !is_own() {
        bail!(
            "cannot find the children that exist: /proc is that of another PID namespace (mount -t proc proc /proc)"
        );
    }
    let mut search = Search {
        parent_of: BTreeMap::new(),
        family: given.iter().copied().collect(),
        refused: BTreeSet::new(),
        adopted: Adopted::default(),
    };
    let id = |pid: u32| match &namespace {
        None => Some(pid),
        Some(namespace) => namespace.root_id(pid).ok(),
    };
    for (child, parent) in parents {
        // What this program has started is not measured, unless it is given.
        if *parent == std::process::id() {
            continue;
        }
        if let (Some(child), Some(parent)) = (id(*child), id(*parent)) {
            search.parent_of.insert(child, parent);
        }
    }
    // Before each look: a process keeps its id while it lives, and the look asks whether it does.
    search.parent_of.extend(target_map::forks(ebpf)?);
    loop {
        let mut found = false;
        for pid in pids()? {
            found |= search.look_at(pid, ebpf, namespace.as_deref_mut())?;
        }
        let was_forked = search.is_any_new(&target_map::forks(ebpf)?);
        if !found && !was_forked {
            search.adopted.hidden = search.hidden_children(namespace.as_deref())?;
            return Ok(search.adopted);
        }
    }
}

/// The id of `pid` in the root namespace; `None` if the process is gone.
fn root_id(pid: u32, namespace: Option<&mut Namespace>) -> Result<Option<u32>> {
    let Some(namespace) = namespace else { return Ok(Some(pid)) };
    // Stands for a parent outside of this namespace.
    if pid == 0 {
        return Ok(None);
    }
    if let Ok(id) = namespace.root_id(pid) {
        return Ok(Some(id));
    }
    namespace.refresh()?;
    Ok(namespace.root_id(pid).ok())
}

/// The state of the search. Processes are known by their ids in the root namespace.
struct Search {
    /// The parent of each process when it was seen last, or forked.
    parent_of: BTreeMap<u32, u32>,
    /// Processes that are targets or have been.
    family: BTreeSet<u32>,
    refused: BTreeSet<u32>,
    adopted: Adopted,
}

impl Search {
    /// Enters `pid` if it descends from a target. Whether it was entered now.
    fn look_at(
        &mut self,
        pid: u32,
        ebpf: &mut Ebpf,
        mut namespace: Option<&mut Namespace>,
    ) -> Result<bool> {
        // This process is not measured, even if a target has started it.
        if pid == std::process::id() {
            return Ok(false);
        }
        // While the folder is open, a path below it leads to this process or fails.
        let folder = match File::open(format!("/proc/{pid}")) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at process {pid}"));
            }
        };
        let Some(stat) = Stat::at(&format!("{}/stat", within(&folder))) else { return Ok(false) };
        let Some(id) = root_id(pid, namespace.as_deref_mut())? else { return Ok(false) };
        let mut targets = target_map::targets(ebpf)?;
        let is_in =
            |targets: &HashMap<&mut MapData, u32, u32>, id: &u32| targets.get(id, 0).is_ok();
        // A target is removed when it ends: until then, its PID cannot be another process's.
        let parent = root_id(stat.ppid, namespace)?;
        let is_child =
            parent.is_some_and(|parent| self.family.contains(&parent) && is_in(&targets, &parent));
        if self.refused.contains(&id) || !(is_child || self.descends(id)) {
            return Ok(false);
        }
        if is_in(&targets, &id) {
            // The fork hook has entered it, and enters its children as well.
            self.family.insert(id);
            return Ok(false);
        }
        match targets.insert(id, CHECKED, NOEXIST).map_err(errno) {
            Ok(()) => {}
            // The fork hook has entered it just now.
            Err(Some(libc::EEXIST)) => {
                self.family.insert(id);
                return Ok(false);
            }
            Err(Some(libc::E2BIG)) => {
                self.refused.insert(id);
                self.adopted.without_room += 1;
                return Ok(false);
            }
            Err(_) => return Err(no_change()),
        }
        // From here on the exit hook removes it. If it began to exit before, that hook has already run.
        if !lives(&folder) {
            // The exit hook, if it removed it first, has counted one child less.
            if targets.remove(&id).is_err() {
                self.adopted.children += 1;
            }
            return Ok(false);
        }
        self.adopted.children += 1;
        match targets.insert(id, FOLLOWED, EXIST).map_err(errno) {
            // It may have ended just now.
            Ok(()) | Err(Some(libc::ENOENT)) => {}
            Err(_) => return Err(no_change()),
        }
        self.family.insert(id);
        Ok(true)
    }

    /// Whether the process `id` descends from the family, through parents that have exited or are yet to be found.
    fn descends(&self, mut id: u32) -> bool {
        for _ in 0..MOST_GENERATIONS {
            let Some(parent) = self.parent_of.get(&id) else { return false };
            if self.family.contains(parent) {
                return true;
            }
            id = *parent;
        }
        false
    }

    /// How many children of the family `/proc` hides. It lists them among the children of their parents all the same
    /// (CONFIG_PROC_CHILDREN).
    fn hidden_children(&self, namespace: Option<&Namespace>) -> Result<u64> {
        let is_family = |pid: &u32| match namespace {
            None => self.family.contains(pid),
            Some(namespace) => namespace.root_id(*pid).is_ok_and(|id| self.family.contains(&id)),
        };
        let children = || -> Result<BTreeSet<u32>> {
            Ok(pids()?.into_iter().filter(is_family).flat_map(children_listed_by).collect())
        };
        let is_hidden = |pid: &u32| {
            *pid != std::process::id() && Stat::at(&format!("/proc/{pid}/stat")).is_none()
        };
        let mut hidden = children()?;
        hidden.retain(is_hidden);
        if !hidden.is_empty() {
            // They may have ended meanwhile.
            let still = children()?;
            hidden.retain(|pid| still.contains(pid));
        }
        Ok(hidden.len() as u64)
    }

    /// Notes `forks`, for the next look. Whether one of them made a descendant that the last look may have missed.
    fn is_any_new(&mut self, forks: &[(u32, u32)]) -> bool {
        let is_new = |fork: &&(u32, u32)| self.parent_of.get(&fork.0) != Some(&fork.1);
        let new: Vec<_> = forks.iter().filter(is_new).copied().collect();
        self.parent_of.extend(new.iter().copied());
        new.iter().any(|(child, _)| !self.family.contains(child) && self.descends(*child))
    }
}

fn no_change() -> anyhow::Error {
    anyhow::anyhow!(
        "cannot enter children that exist: the kernel refuses to change the map of targets"
    )
}

fn errno(error: MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}
