//! The children that exist when a process is attached to, and theirs: found in `/proc`, and entered into
//! the map of targets as if they had been followed.
//!
//! The hooks at fork and exit are attached by now. A child of a target is either entered by the hook,
//! because its parent was a target by then, or `/proc` has it. Its parent may exit before it is found there: which
//! process is whose child is therefore also known from a look before the hooks were attached, and of younger ones
//! from the hook, which notes all forks meanwhile. The search is over when a look at all processes, and at the
//! forks that were noted until then, finds none to enter.

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

use super::{load, namespace::Namespace};
use crate::proc::{children_listed_by, is_own, lives, pids, stat::Stat, within};

/// `BPF_NOEXIST` and `BPF_EXIST` (include/uapi/linux/bpf.h).
const NOEXIST: u64 = 1;
const EXIST: u64 = 2;

/// More generations than that lie between no two processes.
const MOST_GENERATIONS: usize = 1_000;

/// What came of the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adopted {
    /// Children that were entered, and lived then.
    pub(super) children: u64,
    /// Children without room in the map.
    pub(super) without_room: u64,
    /// Children that `/proc` hides (hidepid). Theirs are not known.
    pub(super) hidden: u64,
}

/// Enters the descendants of `given`, processes by what the root namespace calls them, into the map of targets.
/// `parents`: what [`crate::proc::parents`] said before the hooks were attached.
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
    loop {
        search.parent_of.extend(load::forks(ebpf)?);
        // Before the look: an id stays its process's while that lives, which is asked afterwards.
        let mut found = false;
        for pid in pids()? {
            found |= search.look_at(pid, ebpf, namespace.as_deref_mut())?;
        }
        if !found && !search.is_any_new(&load::forks(ebpf)?) {
            search.adopted.hidden = search.hidden_children(namespace.as_deref())?;
            return Ok(search.adopted);
        }
    }
}

/// What the root namespace calls `pid`; `None` where there is no such process any more.
fn root_id(pid: u32, namespace: Option<&mut Namespace>) -> Result<Option<u32>> {
    let Some(namespace) = namespace else { return Ok(Some(pid)) };
    // The parent of what has its parent outside.
    if pid == 0 {
        return Ok(None);
    }
    if let Ok(id) = namespace.root_id(pid) {
        return Ok(Some(id));
    }
    namespace.refresh()?;
    Ok(namespace.root_id(pid).ok())
}

/// Processes by what the root namespace calls them.
struct Search {
    /// The parent that a process had when it was seen last, or forked.
    parent_of: BTreeMap<u32, u32>,
    /// Those that are targets, or have been.
    family: BTreeSet<u32>,
    refused: BTreeSet<u32>,
    adopted: Adopted,
}

impl Search {
    /// Whether `pid` is a target that was not one before.
    fn look_at(
        &mut self,
        pid: u32,
        ebpf: &mut Ebpf,
        mut namespace: Option<&mut Namespace>,
    ) -> Result<bool> {
        // This program is not measured, also where the target has started it.
        if pid == std::process::id() {
            return Ok(false);
        }
        // Held open: what is read below it is about this process, or fails.
        let folder = match File::open(format!("/proc/{pid}")) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at process {pid}"));
            }
        };
        let Some(stat) = Stat::at(&format!("{}/stat", within(&folder))) else { return Ok(false) };
        let Some(id) = root_id(pid, namespace.as_deref_mut())? else { return Ok(false) };
        let mut targets = load::target_map(ebpf)?;
        let is_in =
            |targets: &HashMap<&mut MapData, u32, u32>, id: &u32| targets.get(id, 0).is_ok();
        // A target is taken out when it ends: while it is in, its PID is its own.
        let parent = root_id(stat.ppid, namespace)?;
        let is_child =
            parent.is_some_and(|parent| self.family.contains(&parent) && is_in(&targets, &parent));
        if self.refused.contains(&id) || !(is_child || self.descends(id)) {
            return Ok(false);
        }
        if is_in(&targets, &id) {
            // Followed when it was forked, and so are its children: no other look is needed for them.
            self.family.insert(id);
            return Ok(false);
        }
        match targets.insert(id, CHECKED, NOEXIST).map_err(errno) {
            Ok(()) => {}
            // The same, a moment later.
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
        // The hook at exit takes it out from here on. What began to exit before has no hook to come.
        if !lives(&folder) {
            // Whoever takes it out uncounts it.
            if targets.remove(&id).is_err() {
                self.adopted.children += 1;
            }
            return Ok(false);
        }
        self.adopted.children += 1;
        match targets.insert(id, FOLLOWED, EXIST).map_err(errno) {
            // It may have ended this moment.
            Ok(()) | Err(Some(libc::ENOENT)) => {}
            Err(_) => return Err(no_change()),
        }
        self.family.insert(id);
        Ok(true)
    }

    /// Whether the process `id` descends from the family through parents that have exited, or are about to be found.
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

    /// How many children of the family there are that `/proc` does not show as processes: it names them all the
    /// same (CONFIG_PROC_CHILDREN).
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
            // Or they have ended meanwhile.
            let still = children()?;
            hidden.retain(|pid| still.contains(pid));
        }
        Ok(hidden.len() as u64)
    }

    /// Whether one of `forks` made a descendant that may not have been there for the last look.
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
