//! Where the running kernel keeps the members that the programs read, from its own BTF.
//!
//! There is no CO-RE relocation from Rust, so that offsets are looked up here and handed to the
//! programs as constants. Reads the BTF format (Documentation/bpf/btf.rst in the kernel's tree)
//! just as far as that needs. Knows no program and no map.

use anyhow::{Context, Result, bail, ensure};
use syscost_common::config::Offsets;

/// Where the kernel shows its BTF.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const TYPE_HEADER_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// The offsets that the programs need, read from BTF data in `bytes`.
pub(super) fn offsets(bytes: &[u8]) -> Result<Offsets> {
    let btf = Btf::parse(bytes)?;
    let task = Struct::find(&btf, "task_struct", &["tgid", "thread_info"])?;
    let thread_info = Struct::find(&btf, "thread_info", &["flags"])?;
    let signal = Struct::find(&btf, "signal_struct", &["live"])?;
    let pid = Struct::find(&btf, "pid", &["level", "numbers"])?;
    let cred = Struct::find(&btf, "cred", &["uid", "euid"])?;
    let css_set = Struct::find(&btf, "css_set", &["dfl_cgrp"])?;
    let cgroup = Struct::find(&btf, "cgroup", &["kn", "level"])?;
    let node = Struct::find(&btf, "kernfs_node", &["id"])?;
    let info = task.offset(&["thread_info"])?;
    Ok(Offsets {
        task_tgid: task.offset(&["tgid"])?,
        // Only x86 keeps the compat bit there; elsewhere there is no such member.
        task_status: thread_info.offset(&["status"]).map_or(0, |status| info + status),
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
        task_cgroups: task.offset(&["cgroups"])?,
        css_set_cgroup: css_set.offset(&["dfl_cgrp"])?,
        cgroup_kn: cgroup.offset(&["kn"])?,
        cgroup_level: cgroup.offset(&["level"])?,
        cgroup_ancestors: cgroup.offset(&["ancestors", "ancestor_ids"])?,
        cgroup_ancestors_are_ids: cgroup.offset(&["ancestors"]).is_err().into(),
        kn_id: node.offset(&["id"])?,
        task_cred: task.offset(&["cred"])?,
        cred_uid: cred.offset(&["uid"])?,
        task_run_delay: run_delay(&btf, &task).unwrap_or(0),
        // Only spares a look-up.
        task_bpf_storage: task.offset(&["bpf_storage"]).unwrap_or(0),
    })
}

/// Kernels built without CONFIG_SCHED_INFO have an empty struct there.
fn run_delay(btf: &Btf<'_>, task: &Struct<'_>) -> Result<u32> {
    let info = Struct::find(btf, "sched_info", &["run_delay"])?;
    Ok(task.offset(&["sched_info"])? + info.offset(&["run_delay"])?)
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
