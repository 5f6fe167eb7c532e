//! Every map and global that all programs share: its bound, key, writer, and what happens when it is full.

use crate::frozen::Frozen;
use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, Queue},
    macros::btf_map,
};
use syscost_common::{
    cell::{Cell, SLOTS},
    config::{Machine, Offsets},
    kind::KINDS,
    ledger::Ledger,
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// The process to measure, by its tgid in the root PID namespace.
#[unsafe(no_mangle)]
pub(crate) static TARGET_TGID: Global<u32> = Global::new(0);

/// What differs between machines in how syscalls are made.
#[unsafe(no_mangle)]
pub(crate) static MACHINE: Frozen<Machine> = Frozen::new(Machine {
    regs_stack_pointer: 0,
    restart_syscall: 0,
    rt_sigreturn: 0,
    regs_nr: 0,
    regs_args: [0; 6],
    regs_compat_args: [0; 6],
});

/// Where the kernel keeps what is read of a task; all 0 without kernel BTF.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Frozen<Offsets> =
    Frozen::new(Offsets { task_tgid: 0, task_status: 0, task_pid: 0, task_state: 0 });

/// What was measured. Key: CPU and slot. Written by the programs on that CPU. Cannot fill up: user
/// space sizes it by the number of possible CPUs.
#[btf_map]
pub(crate) static CELLS: Array<Cell, { SLOTS as usize }, MMAPABLE> = Array::new();

/// The slot of each kind, 0 before it occurs. A cache of `SLOT_OWNERS` that costs no hash.
#[btf_map]
pub(crate) static SLOT_OF_KIND: Array<u32, { KINDS as usize }, MMAPABLE> = Array::new();

/// Slots not handed out yet; user space puts all but the overflow slot in. When it runs empty,
/// further kinds share the overflow slot and are counted in `SlotsFull`.
#[btf_map]
pub(crate) static FREE_SLOTS: Queue<u32, { SLOTS as usize }> = Queue::new();

/// Which kind owns which slot. Key: kind. The insert that must not overwrite decides between CPUs
/// that meet a new kind at the same time. At most one entry a slot, so it cannot fill up.
#[btf_map]
pub(crate) static SLOT_OWNERS: HashMap<u32, u32, { SLOTS as usize }> = HashMap::new();

/// The ledger. Key: CPU. Written by the programs on that CPU. Sized like `CELLS`.
#[btf_map]
pub(crate) static LEDGER: Array<Ledger, 1, MMAPABLE> = Array::new();
