//! Where the running kernel keeps the members that the programs read, from its own BTF.
//!
//! There is no CO-RE relocation from Rust, so that offsets are looked up here and handed to the
//! programs as constants. Reads the BTF format (Documentation/bpf/btf.rst in the kernel's tree)
//! just as far as that needs. Knows no program and no map.

use std::fs;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aya::Endianness;
use syscost_common::config::Offsets;

use super::memory;

/// Where the kernel shows its BTF.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_HEADER_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// What attaching takes of the kernel's BTF. Read at once: BTF has several MiB, which takes milliseconds.
pub(super) struct KernelBtf {
    /// Where the kernel keeps what the programs read.
    pub(super) offsets: Result<Offsets>,
    /// Where it counts what keeps a task on its CPU.
    pub(super) counts: Result<Counts>,
    /// See [`attachable`].
    attachable: Result<Vec<u8>>,
}

impl KernelBtf {
    /// Of the running kernel.
    pub(super) fn read() -> Self {
        let bytes = fs::read(VMLINUX).with_context(|| format!("no kernel BTF in {VMLINUX}"));
        match bytes.as_ref().map(|bytes| Btf::parse(bytes)) {
            Ok(Ok(btf)) => {
                Self { offsets: offsets(&btf), counts: counts(&btf), attachable: attachable(&btf) }
            }
            Ok(Err(why)) => Self::without(&why),
            Err(why) => Self::without(why),
        }
    }

    /// BTF by which programs are loaded that the kernel attaches by id.
    ///
    /// # Errors
    /// When there is no kernel BTF.
    pub(super) fn attachable(&self) -> Result<aya::Btf> {
        let bytes = self.attachable.as_ref().map_err(|why| anyhow!("{why:#}"));
        let btf = bytes.and_then(|bytes| Ok(aya::Btf::parse(bytes, Endianness::default())?));
        // The verifier is about to take some as well, which counts in a cgroup.
        memory::give_back();
        btf.context("cannot read the kernel's BTF")
    }

    fn without(why: &anyhow::Error) -> Self {
        let why = || anyhow!("{why:#}");
        Self { offsets: Err(why()), counts: Err(why()), attachable: Err(why()) }
    }
}

/// The offsets that the programs need.
fn offsets(btf: &Btf<'_>) -> Result<Offsets> {
    let task = Struct::find(btf, "task_struct", &["tgid", "thread_info"])?;
    let thread_info = Struct::find(btf, "thread_info", &["flags"])?;
    let signal = Struct::find(btf, "signal_struct", &["live"])?;
    let pid = Struct::find(btf, "pid", &["level", "numbers"])?;
    let namespace = Struct::find(btf, "pid_namespace", &["ns", "level"])?;
    let common = Struct::find(btf, "ns_common", &["inum"])?;
    let cred = Struct::find(btf, "cred", &["uid", "euid"])?;
    let css_set = Struct::find(btf, "css_set", &["dfl_cgrp"])?;
    let cgroup = Struct::find(btf, "cgroup", &["kn", "level"])?;
    let node = Struct::find(btf, "kernfs_node", &["id"])?;
    let entity = Struct::find(btf, "sched_entity", &["sum_exec_runtime"])?;
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
        switch_tells_state: btf.switch_tells_state().unwrap_or(false).into(),
    })
}

/// Where a task's rings are, in what the kernel keeps of them for a task: nowhere where it has no io_uring.
fn io_uring_rings(btf: &Btf<'_>) -> Result<u32> {
    let rings = Struct::find(btf, "io_uring_task", &["xa"])?;
    let array = Struct::find(btf, "xarray", &["xa_head"])?;
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
    let task = Struct::find(btf, "task_struct", &["tgid", "thread_info"])?;
    let migration = task.offset(&["migration_disabled"]).ok();
    let migration = migration.map(|offset| Place::InTask { offset, size: 2 });
    Ok(Counts { migration, preemption: preempt_count(btf).ok() })
}

fn preempt_count(btf: &Btf<'_>) -> Result<Place> {
    const NAME: &str = "preempt_count";
    const SIZE: u8 = 4;
    let thread_info = Struct::find(btf, "thread_info", &["flags"])?;
    // On arm64.
    if let Ok(offset) = thread_info.offset(&[NAME]) {
        let task = Struct::find(btf, "task_struct", &["thread_info"])?;
        let offset = task.offset(&["thread_info"])? + offset;
        return Ok(Place::InTask { offset, size: SIZE });
    }
    if let Ok((variable, _)) = btf.find(KIND_VAR, "__preempt_count") {
        return Ok(Place::PerCpu { variable, offset: 0, size: SIZE });
    }
    // From 6.2 to 6.14, with other things that are often asked for.
    let (variable, _) = btf.find(KIND_VAR, "pcpu_hot").context("no count of preemption")?;
    let hot = Struct::find(btf, "pcpu_hot", &[NAME])?;
    Ok(Place::PerCpu { variable, offset: hot.offset(&[NAME])?, size: SIZE })
}

/// BTF with the ids of what programs are attached to, and with nothing else: tracepoints and iterators.
///
/// Whole, the kernel's BTF takes some 20 MiB once it is parsed. Here, the types before the last one of
/// interest are placeholders, so that ids stay as they are.
fn attachable(btf: &Btf<'_>) -> Result<Vec<u8>> {
    // A name has to begin like this, and is of this kind.
    const KEPT: [(u32, &[u8]); 2] = [(KIND_TYPEDEF, b"btf_trace_"), (KIND_FUNC, b"bpf_iter_")];
    let (mut types, mut strings) = (Vec::new(), vec![0]);
    // How much of the types is needed: up to the last one that is kept.
    let mut end = 0;
    types.reserve_exact(TYPE_HEADER_BYTES * btf.starts.len());
    for &start in &btf.starts[1..] {
        let ty = btf.read(start as usize)?;
        let name = btf.name(ty.name);
        let kept = KEPT.iter().any(|(kind, begin)| ty.kind == *kind && name.starts_with(begin));
        let (name_at, kind) = if kept { (strings.len() as u32, ty.kind) } else { (0, KIND_FWD) };
        for word in [name_at, kind << 24, 0] {
            types.extend(word.to_ne_bytes());
        }
        if kept {
            strings.extend(name);
            strings.push(0);
            end = types.len();
        }
    }
    types.truncate(end);
    let (types_bytes, strings_bytes) = (types.len() as u32, strings.len() as u32);
    let mut reduced = Vec::with_capacity(HEADER_BYTES + types.len() + strings.len());
    reduced.extend(MAGIC.to_ne_bytes());
    // Version 1, no flags; then where the sections are, behind the header.
    reduced.extend([1, 0]);
    for word in [HEADER_BYTES as u32, 0, types_bytes, types_bytes, strings_bytes] {
        reduced.extend(word.to_ne_bytes());
    }
    reduced.extend(types);
    reduced.extend(strings);
    Ok(reduced)
}

/// Kernels built without CONFIG_SCHED_INFO have an empty struct there.
fn run_delay(btf: &Btf<'_>, task: &Struct<'_>) -> Result<u32> {
    let info = Struct::find(btf, "sched_info", &["run_delay"])?;
    Ok(task.offset(&["sched_info"])? + info.offset(&["run_delay"])?)
}

/// Whether a scheduler loaded by BPF serves tasks in place of the fair class (sched_ext).
fn sched_ext_is_used() -> bool {
    fs::read_to_string("/sys/kernel/sched_ext/state").is_ok_and(|state| state.trim() != "disabled")
}

/// A struct of the kernel's.
struct Struct<'a> {
    btf: &'a Btf<'a>,
    name: &'static str,
    ty: Type,
}

impl<'a> Struct<'a> {
    fn find(btf: &'a Btf<'a>, name: &'static str, members: &[&str]) -> Result<Self> {
        Ok(Self { btf, name, ty: btf.find_struct(name, members)? })
    }

    /// The offset of the member with the first of `names` that there is.
    fn offset(&self, names: &[&str]) -> Result<u32> {
        names
            .iter()
            .find_map(|name| self.btf.member(self.ty, name))
            .with_context(|| format!("{} has no member {}", self.name, names[0]))
    }
}

/// BTF data with an index of where each type begins.
struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    starts: Vec<u32>,
}

/// The head of a type: `struct btf_type`.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    members: usize,
    bitfields: bool,
}

impl<'a> Btf<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let word = |at: usize| read_u32(bytes, at).context("kernel BTF is cut short");
        ensure!(word(0)? as u16 == MAGIC, "kernel BTF does not begin with its magic number");
        let header = word(4)? as usize;
        let section = |at: usize| -> Result<&'a [u8]> {
            let start = header + word(at)? as usize;
            let end = start + word(at + 4)? as usize;
            bytes.get(start..end).context("kernel BTF is cut short")
        };
        let mut btf = Self { types: section(8)?, strings: section(16)?, starts: vec![0] };
        let mut at = 0;
        while at < btf.types.len() {
            btf.starts.push(at as u32);
            at = btf.next(btf.read(at)?);
        }
        Ok(btf)
    }

    fn read(&self, at: usize) -> Result<Type> {
        let word = |at: usize| read_u32(self.types, at).context("kernel BTF is cut short");
        let info = word(at + 4)?;
        Ok(Type {
            at,
            name: word(at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            bitfields: info >> 31 == 1,
        })
    }

    /// Where the type after `ty` begins.
    fn next(&self, ty: Type) -> usize {
        let rest = match ty.kind {
            KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => MEMBER_BYTES * ty.members,
            KIND_ENUM | KIND_FUNC_PROTO => 8 * ty.members,
            _ => 0,
        };
        ty.at + TYPE_HEADER_BYTES + rest
    }

    /// The name at `at` in the strings, without the NUL that ends it.
    fn name(&self, at: u32) -> &'a [u8] {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn is_named(&self, name: u32, wanted: &str) -> bool {
        self.strings.get(name as usize..).is_some_and(|rest| {
            rest.starts_with(wanted.as_bytes()) && rest.get(wanted.len()) == Some(&0)
        })
    }

    /// The struct called `name` that has all of `members`: other structs may share its name.
    fn find_struct(&self, name: &str, members: &[&str]) -> Result<Type> {
        for &start in &self.starts[1..] {
            let ty = self.read(start as usize)?;
            if ty.kind == KIND_STRUCT
                && self.is_named(ty.name, name)
                && members.iter().all(|member| self.member(ty, member).is_some())
            {
                return Ok(ty);
            }
        }
        bail!("kernel BTF has no struct {name} with {}", members.join(" and "))
    }

    /// Whether `sched_switch` hands over whether it is preemption, two tasks, and the state of the first. The
    /// type of its handlers tells, whose first parameter is their own.
    fn switch_tells_state(&self) -> Result<bool> {
        let (_, handler) = self.find(KIND_TYPEDEF, "btf_trace_sched_switch")?;
        let pointer = self.target(handler)?;
        let prototype = self.target(pointer)?;
        ensure!(prototype.kind == KIND_FUNC_PROTO, "a handler is no function");
        if prototype.members != 5 {
            return Ok(false);
        }
        let kind = |parameter: usize| -> Result<u32> {
            let at = prototype.at + TYPE_HEADER_BYTES + 8 * parameter + 4;
            let id = read_u32(self.types, at).context("kernel BTF is cut short")?;
            Ok(self.by_id(id)?.kind)
        };
        Ok(kind(2)? == KIND_PTR && kind(3)? == KIND_PTR && kind(4)? == KIND_INT)
    }

    /// The type of that kind called `name`, and its id.
    fn find(&self, kind: u32, name: &str) -> Result<(u32, Type)> {
        for (id, &start) in self.starts.iter().enumerate().skip(1) {
            let ty = self.read(start as usize)?;
            if ty.kind == kind && self.is_named(ty.name, name) {
                return Ok((id as u32, ty));
            }
        }
        bail!("kernel BTF has no {name}")
    }

    /// What a type that stands for another one stands for, or points to.
    fn target(&self, ty: Type) -> Result<Type> {
        // Where others have their size.
        self.by_id(read_u32(self.types, ty.at + 8).context("kernel BTF is cut short")?)
    }

    fn by_id(&self, id: u32) -> Result<Type> {
        let start = self.starts.get(id as usize).context("kernel BTF is cut short")?;
        self.read(*start as usize)
    }

    /// The offset in bytes of `name` in `ty`, looked for in unnamed structs and unions as well.
    fn member(&self, ty: Type, name: &str) -> Option<u32> {
        for index in 0..ty.members {
            let at = ty.at + TYPE_HEADER_BYTES + index * MEMBER_BYTES;
            let member_name = read_u32(self.types, at)?;
            let offset = read_u32(self.types, at + 8)?;
            // With bit fields in a struct, the upper 8 bits hold a member's width.
            let bits = if ty.bitfields { offset & 0x00ff_ffff } else { offset };
            if self.is_named(member_name, name) {
                return (bits % 8 == 0).then_some(bits / 8);
            }
            if self.is_named(member_name, "") {
                let id = read_u32(self.types, at + 4)? as usize;
                let inner = self.read(*self.starts.get(id)? as usize).ok()?;
                if matches!(inner.kind, KIND_STRUCT | KIND_UNION)
                    && let Some(offset) = self.member(inner, name)
                {
                    return Some(bits / 8 + offset);
                }
            }
        }
        None
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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
        let mut types = vec![0, info(KIND_INT, 0), 4, 32];
        types.extend([0, info(KIND_PTR, 0), VOID]);
        types.extend([0, info(KIND_FUNC_PROTO, parameters.len()), VOID]);
        types.extend(parameters.iter().flat_map(|ty| [0, *ty]));
        types.extend([0, info(KIND_PTR, 0), PROTOTYPE]);
        types.extend([1, info(KIND_TYPEDEF, 0), HANDLER]);
        let (types_bytes, strings_bytes) = (4 * types.len() as u32, name.len() as u32 + 2);
        let header = [HEADER_BYTES as u32, 0, types_bytes, types_bytes, strings_bytes];
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(header.into_iter().chain(types).flat_map(u32::to_ne_bytes));
        bytes.extend(format!("\0{name}\0").bytes());
        bytes
    }

    fn tells_state(parameters: &[u32]) -> bool {
        Btf::parse(&with_switch(parameters)).unwrap().switch_tells_state().unwrap()
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
        if let Ok(bytes) = fs::read(VMLINUX) {
            offsets(&Btf::parse(&bytes).unwrap()).unwrap();
        }
    }
}
