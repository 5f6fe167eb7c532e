//! The PID namespace of this process, if it is not the root one: the kernel's programs know tasks by their ids in the
//! root namespace.

use std::{
    collections::HashMap,
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

use anyhow::{Context, Result, anyhow};
use aya::programs::Iter;
use syscost_common::{config::Offsets, scope::TaskIds};

use super::{bpf, interruption, kernel_btf::KernelBtf, object};
use crate::proc::{OWN_PID_NAMESPACE, ROOT_PID_NAMESPACE};

/// A PID namespace that is not the root one.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Its depth; 1 for a child of the root namespace.
    pub(super) level: u32,
    /// The device of its inode, as the kernel encodes it.
    pub(super) dev: u64,
    /// Its inode number.
    pub(super) ino: u64,
    /// The id of each thread in the root namespace, by its id in this one.
    ids: HashMap<u32, u32>,
    /// The iterator that lists these ids.
    list: OwnedFd,
}

// SAFETY: integers only.
unsafe impl bpf::Record for TaskIds {}

impl Namespace {
    /// The namespace of this process; `None` for the root one.
    ///
    /// # Errors
    /// When the kernel cannot list the ids of tasks in both namespaces.
    pub(super) fn own(kernel: &KernelBtf) -> Result<Option<Self>> {
        let own = fs::metadata(OWN_PID_NAMESPACE)
            .with_context(|| format!("cannot look at {OWN_PID_NAMESPACE}"))?;
        if own.ino() == ROOT_PID_NAMESPACE {
            return Ok(None);
        }
        let offsets = kernel.offsets.as_ref().ok().context(
            "in a PID namespace the kernel's own ids are told by its BTF: there is none",
        )?;
        let list = list(*offsets, kernel);
        let tasks = list.and_then(|list| Ok((bpf::run_iterator(list.as_fd())?, list)));
        let (tasks, list): (Vec<TaskIds>, _) = tasks.context(
            "cannot tell which ids the kernel gives the tasks of this PID namespace: that takes \
             Linux 5.11; run syscost outside, with the PID that the host gives the process",
        )?;
        let level = tasks.first().context("this PID namespace seems empty")?.reader_level;
        let (major, minor) = (libc::major(own.dev()), libc::minor(own.dev()));
        // As `MKDEV` (include/linux/kdev_t.h). User space encodes device numbers in another way.
        let dev = u64::from(major) << 20 | u64::from(minor);
        Ok(Some(Self { level, dev, ino: own.ino(), ids: by_shown_id(&tasks), list }))
    }

    /// The id in the root namespace of the thread `id` of this one.
    ///
    /// # Errors
    /// When the thread is gone.
    pub(super) fn root_id(&self, id: u32) -> Result<u32> {
        self.ids.get(&id).copied().ok_or_else(|| {
            anyhow!("no process {id}: it has exited, or the PID is wrong (ps -e lists them)")
        })
    }

    /// Lists the tasks again.
    ///
    /// # Errors
    /// When the kernel does not list them.
    pub(super) fn refresh(&mut self) -> Result<()> {
        self.ids = by_shown_id(&bpf::run_iterator(self.list.as_fd())?);
        Ok(())
    }
}

fn by_shown_id(tasks: &[TaskIds]) -> HashMap<u32, u32> {
    tasks.iter().map(|task| (task.shown_tid, task.tid)).collect()
}

/// The iterator over the tasks of this namespace. Its program is loaded for this alone, and unloaded when the iterator
/// is closed.
fn list(offsets: Offsets, kernel: &KernelBtf) -> Result<OwnedFd> {
    let mut ebpf = object::smallest(offsets)?;
    let btf = kernel.attachable()?;
    let program: &mut Iter = object::program(&mut ebpf, "task_ids")?;
    interruption::retried(|| program.load("task", &btf))
        .context("cannot load the iterator over tasks")?;
    Ok(bpf::link_task_iterator(program.fd()?.as_fd(), bpf::Tasks::All)?)
}
