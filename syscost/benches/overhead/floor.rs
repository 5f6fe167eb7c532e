//! The programs that syscost is held against: nothing at all, and the least a tracer must do.

use anyhow::{Context, Result};
use aya::{Btf, Ebpf, EbpfLoader, include_bytes_aligned, programs::BtfTracePoint};

static OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/floor.bpf.o"));

/// A program of the object, and its tracepoint.
pub(crate) type Hook = (&'static str, &'static str);

/// Return at once, where syscost has programs for calls.
pub(crate) const EMPTY_PAIR: &[Hook] = &[("empty_exit", "sys_exit"), ("empty_enter", "sys_enter")];

/// Return at once, wherever a context switch meets programs of syscost's.
pub(crate) const EMPTY_ON_ALL: &[Hook] = &[
    ("empty_switch", "sched_switch"),
    ("empty_wakeup", "sched_wakeup"),
    ("empty_exit", "sys_exit"),
    ("empty_enter", "sys_enter"),
];

/// A PID check and a clock read in each, nothing stored.
pub(crate) const TWO_CLOCKS: &[Hook] = &[("floor_exit", "sys_exit"), ("floor_enter", "sys_enter")];

/// Attached until dropped.
pub(crate) fn attach(hooks: &[Hook], target_tgid: u32) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let mut ebpf = EbpfLoader::new()
        .override_global("TARGET_TGID", &target_tgid, true)
        .load(OBJECT)
        .context("cannot load the floor programs")?;
    for (name, tracepoint) in hooks {
        let program: &mut BtfTracePoint =
            ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
        program.load(tracepoint, &btf)?;
        program.attach()?;
    }
    Ok(ebpf)
}
