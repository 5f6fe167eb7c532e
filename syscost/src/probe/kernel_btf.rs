//! What the running kernel's BTF says about it: where it keeps the members that the programs read, and the ids by
//! which programs are attached.
//!
//! Rust has no CO-RE relocations, so offsets are looked up here and handed to the programs as constants. Knows no
//! program and no map.

use std::{
    fs::{self, File},
    io,
    ops::Deref,
};

use anyhow::{Context, Result, anyhow, ensure};
use aya::Endianness;
use memmap2::{Mmap, MmapOptions};
use syscost_common::config::Offsets;

use super::btf::{self, Btf, Struct};

/// Where the kernel shows its BTF.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What attaching needs of the kernel's BTF, which has several MiB and is read once.
pub(super) struct KernelBtf {
    /// Where the kernel keeps what the programs read.
    pub(super) offsets: Result<Offsets>,
    /// Where the kernel counts what keeps a task on its CPU.
    pub(super) counts: Result<Counts>,
    /// See [`KernelBtf::attachable`].
    attachable: Result<Vec<u8>>,
}

impl KernelBtf {
    /// Of the running kernel.
    pub(super) fn read() -> Self {
        let bytes = Bytes::open().with_context(|| format!("no kernel BTF in {VMLINUX}"));
        match bytes.as_ref().map(|bytes| Btf::parse(bytes)) {
            Ok(Ok(btf)) => Self {
                offsets: offsets(&btf),
                counts: counts(&btf),
                attachable: Ok(attachable(&btf)),
            },
            Ok(Err(why)) => Self::without(&why),
            Err(why) => Self::without(why),
        }
    }

    /// BTF with the ids of the kernel's tracepoints and iterators, by which programs are loaded, and of nothing else.
    /// Whole, the kernel's BTF takes some 20 MiB once the library has parsed it.
    ///
    /// # Errors
    /// When there is no kernel BTF.
    pub(super) fn attachable(&self) -> Result<aya::Btf> {
        let bytes = self.attachable.as_ref().map_err(|why| anyhow!("{why:#}"));
        let btf = bytes.and_then(|bytes| Ok(aya::Btf::parse(bytes, Endianness::default())?));
        btf.context("cannot read the kernel's BTF")
    }

    fn without(why: &anyhow::Error) -> Self {
        let why = || anyhow!("{why:#}");
        Self { offsets: Err(why()), counts: Err(why()), attachable: Err(why()) }
    }
}

/// The bytes of the kernel's BTF.
enum Bytes {
    /// Since Linux 6.16, mapped: this saves a copy, and a system call for each page.
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Bytes {
    fn open() -> io::Result<Self> {
        let file = File::open(VMLINUX)?;
        // SAFETY: the kernel does not change its BTF.
        match unsafe { MmapOptions::new().map_copy_read_only(&file) } {
            Ok(mapped) => Ok(Self::Mapped(mapped)),
            Err(_) => fs::read(VMLINUX).map(Self::Copied),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

/// See [`KernelBtf::attachable`].
fn attachable(btf: &Btf<'_>) -> Vec<u8> {
    // The names of the types by which a program is attached begin like this.
    const ATTACHABLE: [(u32, &str); 2] = [(btf::TYPEDEF, "btf_trace_"), (btf::FUNC, "bpf_iter_")];
    let types = ATTACHABLE.iter().flat_map(|&(kind, prefix)| {
        btf.beginning_with(kind, prefix).map(move |(id, name)| (id, kind, name))
    });
    let mut types: Vec<_> = types.collect();
    types.sort_unstable_by_key(|(id, ..)| *id);
    btf::write(types.into_iter())
}

/// The offsets that the programs need.
fn offsets(btf: &Btf<'_>) -> Result<Offsets> {
    let task = btf.find_struct("task_struct", &["tgid", "thread_info"])?;
    let thread_info = btf.find_struct("thread_info", &["flags"])?;
    let signal = btf.find_struct("signal_struct", &["live"])?;
    let pid = btf.find_struct("pid", &["level", "numbers"])?;
    let namespace = btf.find_struct("pid_namespace", &["ns", "level"])?;
    let common = btf.find_struct("ns_common", &["inum"])?;
    let cred = btf.find_struct("cred", &["uid", "euid"])?;
    let css_set = btf.find_struct("css_set", &["dfl_cgrp"])?;
    let cgroup = btf.find_struct("cgroup", &["kn", "level"])?;
    let node = btf.find_struct("kernfs_node", &["id"])?;
    let entity = btf.find_struct("sched_entity", &["sum_exec_runtime"])?;
    let info = task.offset(&["thread_info"])?;
    let se = task.offset(&["se"])?;
    Ok(Offsets {
        task_tgid: task.offset(&["tgid"])?,
        // x86 keeps the compat bit in a member of its own, arm64 among the flags.
        task_compat: info + thread_info.offset(&["status", "flags"])?,
        task_pid: task.offset(&["pid"])?,
        task_state: task.offset(&["__state", "state"])?,
        task_leader: task.offset(&["group_leader"])?,
        task_comm: task.offset(&["comm"])?,
        task_start_time: task.offset(&["start_time"])?,
        task_signal: task.offset(&["signal"])?,
        signal_live: signal.offset(&["live"])?,
        task_thread_pid: task.offset(&["thread_pid"])?,
        pid_level: pid.offset(&["level"])?,
        pid_numbers: pid.offset(&["numbers"])?,
        pid_ns_number: namespace.offset(&["ns"])? + common.offset(&["inum"])?,
        task_cgroups: task.offset(&["cgroups"])?,
        css_set_cgroup: css_set.offset(&["dfl_cgrp"])?,
        cgroup_kn: cgroup.offset(&["kn"])?,
        cgroup_level: cgroup.offset(&["level"])?,
        cgroup_ancestors: cgroup.offset(&["ancestors", "ancestor_ids"])?,
        cgroup_ancestors_are_ids: cgroup.offset(&["ancestors"]).is_err().into(),
        kn_id: node.offset(&["id"])?,
        task_cred: task.offset(&["cred"])?,
        cred_uid: cred.offset(&["uid"])?,
        task_run_delay: run_delay(btf, &task).unwrap_or(0),
        task_signal_stack: task.offset(&["sas_ss_sp"])?,
        task_signal_stack_bytes: task.offset(&["sas_ss_size"])?,
        task_flags: task.offset(&["flags"])?,
        // Only tell what runs at the moment of attaching.
        task_on_cpu: task.offset(&["on_cpu"]).unwrap_or(0),
        task_cpu: match thread_info.offset(&["cpu"]) {
            Ok(cpu) => info + cpu,
            Err(_) => task.offset(&["cpu"]).unwrap_or(0),
        },
        task_prio: task.offset(&["prio"])?,
        task_runtime: se + entity.offset(&["sum_exec_runtime"])?,
        task_runtime_before: match sched_ext_is_used() {
            true => 0,
            false => se + entity.offset(&["prev_sum_exec_runtime"])?,
        },
        task_thread_flags: info + thread_info.offset(&["flags"])?,
        // Tried, see `pending_flag`.
        signal_flag: 0,
        task_works: task.offset(&["task_works"])?,
        task_io_uring: task.offset(&["io_uring"]).unwrap_or(0),
        io_uring_rings: io_uring_rings(btf).unwrap_or(0),
        // Only spares a look-up.
        task_bpf_storage: task.offset(&["bpf_storage"]).unwrap_or(0),
        switch_tells_state: switch_tells_state(btf).unwrap_or(false).into(),
    })
}

/// Where a task's rings are, in what the kernel keeps of them for a task: nowhere where it has no io_uring.
fn io_uring_rings(btf: &Btf<'_>) -> Result<u32> {
    let rings = btf.find_struct("io_uring_task", &["xa"])?;
    let array = btf.find_struct("xarray", &["xa_head"])?;
    Ok(rings.offset(&["xa"])? + array.offset(&["xa_head"])?)
}

/// A place where the kernel counts something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a variable of each CPU.
    PerCpu {
        /// The variable's id in the kernel's BTF.
        variable: u32,
        /// How many bytes into it.
        offset: u32,
        /// How many bytes it takes.
        size: u8,
    },
    /// In the running task.
    InTask {
        /// How many bytes into it.
        offset: u32,
        /// How many bytes it takes.
        size: u8,
    },
}

/// Where the kernel counts what keeps a task on its CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// How often the task was kept from leaving its CPU.
    pub(super) migration: Option<Place>,
    /// How often preemption was turned off.
    pub(super) preemption: Option<Place>,
}

fn counts(btf: &Btf<'_>) -> Result<Counts> {
    let task = btf.find_struct("task_struct", &["tgid", "thread_info"])?;
    let migration = task.offset(&["migration_disabled"]).ok();
    let migration = migration.map(|offset| Place::InTask { offset, size: 2 });
    Ok(Counts { migration, preemption: preempt_count(btf).ok() })
}

fn preempt_count(btf: &Btf<'_>) -> Result<Place> {
    const NAME: &str = "preempt_count";
    const SIZE: u8 = 4;
    let thread_info = btf.find_struct("thread_info", &["flags"])?;
    // On arm64.
    if let Ok(offset) = thread_info.offset(&[NAME]) {
        let task = btf.find_struct("task_struct", &["thread_info"])?;
        let offset = task.offset(&["thread_info"])? + offset;
        return Ok(Place::InTask { offset, size: SIZE });
    }
    if let Ok((variable, _)) = btf.find(btf::VAR, "__preempt_count") {
        return Ok(Place::PerCpu { variable, offset: 0, size: SIZE });
    }
    // From 6.2 to 6.14, with other things that are often asked for.
    let (variable, _) = btf.find(btf::VAR, "pcpu_hot").context("no count of preemption")?;
    let hot = btf.find_struct("pcpu_hot", &[NAME])?;
    Ok(Place::PerCpu { variable, offset: hot.offset(&[NAME])?, size: SIZE })
}

/// Kernels built without CONFIG_SCHED_INFO have an empty struct there.
fn run_delay(btf: &Btf<'_>, task: &Struct<'_>) -> Result<u32> {
    let info = btf.find_struct("sched_info", &["run_delay"])?;
    Ok(task.offset(&["sched_info"])? + info.offset(&["run_delay"])?)
}

/// Whether a scheduler loaded by BPF serves tasks in place of the fair class (sched_ext).
fn sched_ext_is_used() -> bool {
    fs::read_to_string("/sys/kernel/sched_ext/state").is_ok_and(|state| state.trim() != "disabled")
}

/// Whether the tracepoint `sched_switch` hands over the state of the task that leaves the CPU: after its own data, the
/// parameters are whether it is preemption, two tasks, and that state. The type of its handlers tells.
fn switch_tells_state(btf: &Btf<'_>) -> Result<bool> {
    let (_, handler) = btf.find(btf::TYPEDEF, "btf_trace_sched_switch")?;
    let pointer = btf.target(handler)?;
    let prototype = btf.target(pointer)?;
    ensure!(prototype.kind == btf::FUNC_PROTO, "a handler is no function");
    if prototype.members != 5 {
        return Ok(false);
    }
    let kind = |index: usize| -> Result<u32> { Ok(btf.parameter(prototype, index)?.kind) };
    Ok(kind(2)? == btf::PTR && kind(3)? == btf::PTR && kind(4)? == btf::INT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOID: u32 = 0;
    const INT: u32 = 1;
    const POINTER: u32 = 2;
    const PROTOTYPE: u32 = 3;
    const HANDLER: u32 = 4;

    /// BTF of a kernel whose handlers of `sched_switch` take parameters of these types.
    fn with_switch(parameters: &[u32]) -> Vec<u8> {
        let name = "btf_trace_sched_switch";
        let info = |kind: u32, members: usize| kind << 24 | members as u32;
        // A name, what it is, its size or what it stands for; then what there is to its kind.
        let mut types = vec![0, info(btf::INT, 0), 4, 32];
        types.extend([0, info(btf::PTR, 0), VOID]);
        types.extend([0, info(btf::FUNC_PROTO, parameters.len()), VOID]);
        types.extend(parameters.iter().flat_map(|ty| [0, *ty]));
        types.extend([0, info(btf::PTR, 0), PROTOTYPE]);
        types.extend([1, info(btf::TYPEDEF, 0), HANDLER]);
        let (types_bytes, strings_bytes) = (4 * types.len() as u32, name.len() as u32 + 2);
        let header = [24_u32, 0, types_bytes, types_bytes, strings_bytes];
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(header.into_iter().chain(types).flat_map(u32::to_ne_bytes));
        bytes.extend(format!("\0{name}\0").bytes());
        bytes
    }

    fn tells_state(parameters: &[u32]) -> bool {
        switch_tells_state(&Btf::parse(&with_switch(parameters)).unwrap()).unwrap()
    }

    #[test]
    fn the_state_is_taken_from_the_tracepoint_where_it_is_handed_over() {
        assert!(tells_state(&[POINTER, INT, POINTER, POINTER, INT]), "newer kernels");
        assert!(!tells_state(&[POINTER, INT, POINTER, POINTER]), "older ones");
        // Linux 5.18 itself: the state comes before the tasks.
        assert!(!tells_state(&[POINTER, INT, INT, POINTER, POINTER]));
    }

    #[test]
    fn every_offset_is_found_in_the_running_kernel() {
        if let Ok(bytes) = Bytes::open() {
            offsets(&Btf::parse(&bytes).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_copy_and_a_mapping_are_the_same() {
        if let (Ok(bytes), Ok(copied)) = (Bytes::open(), fs::read(VMLINUX)) {
            assert!(*bytes == copied[..]);
        }
    }

    /// The library, which parses all of it, finds the same ids.
    #[test]
    fn ids_are_those_of_the_whole_btf() {
        use aya_obj::btf::BtfKind::{Func, Typedef};
        let Ok(whole) = aya::Btf::from_sys_fs() else { return };
        let attachable = KernelBtf::read().attachable().unwrap();
        for (name, kind) in [
            ("btf_trace_sys_enter", Typedef),
            ("btf_trace_sched_switch", Typedef),
            ("btf_trace_sched_process_exit", Typedef),
            ("bpf_iter_task", Func),
        ] {
            let id = attachable.id_by_type_name_kind(name, kind).unwrap();
            assert_eq!(id, whole.id_by_type_name_kind(name, kind).unwrap(), "{name}");
        }
    }
}
