//! Every map and global that all programs share: its bound, key, writer, and what happens when it is full.

use core::{arch::asm, cell::UnsafeCell};

use crate::constant::{Constant, distinct_word};
use aya_ebpf::{
    Global,
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, Queue},
    macros::btf_map,
};
use syscost_common::{
    cell::{Cell, SLOTS},
    config::{Machine, Offsets},
    cpu_state::CpuState,
    filter::{self, ERRNO_WORDS, Filter},
    kind::KINDS,
    scope::{self, Scope},
    settings::Settings,
};

pub(crate) const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// Whose calls are measured.
#[unsafe(no_mangle)]
pub(crate) static SCOPE: Constant<Scope> = Constant::new(Scope {
    mode: scope::PROCESS,
    id: 0,
    follow: 0,
    not_tgid: 0,
    cgroup_level: 0,
    pid_level: 0,
    cgroup_id: 0,
    comm: [0; 2],
    pid_ns_dev: 0,
    pid_ns_ino: 0,
});

/// Which of their calls are recorded.
#[unsafe(no_mangle)]
pub(crate) static FILTER: Constant<Filter> =
    Constant::new(Filter { kinds: 0, results: filter::RESULTS_ALL, errnos: [0; ERRNO_WORDS] });

/// By what calls are added up into groups; a constant of [`syscost_common::group`].
#[unsafe(no_mangle)]
pub(crate) static GROUP_BY: Global<u32> = distinct_word(0x6709_b100);

/// Not 0: this kernel may preempt a thread inside a program, and run another thread on the same CPU meanwhile.
#[unsafe(no_mangle)]
pub(crate) static PREEMPTED: Global<u32> = distinct_word(0x5ca1_ab1e);

/// What differs between machines in how syscalls are made.
#[unsafe(no_mangle)]
pub(crate) static MACHINE: Constant<Machine> = Constant::new(Machine {
    regs_stack_pointer: 0,
    regs_instruction_pointer: 0,
    execve: 0,
    execveat: 0,
    restart_syscall: 0,
    rt_sigreturn: 0,
    syscall_bytes: 0,
    regs_nr: 0,
    regs_result: 0,
    stops_at_the_call: 0,
    regs_args: [0; 6],
    regs_compat_args: [0; 6],
    compat_bit: 0,
    regs_tell_native: 0,
});

/// Offsets of the kernel's structs; all 0 without kernel BTF.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Constant<Offsets> = Constant::new(Offsets::UNKNOWN);

/// The recorded calls. Key: CPU and slot. Written by the programs on that CPU. Cannot fill up: user
/// space sizes it by the number of possible CPUs.
#[btf_map]
pub(crate) static CELLS: Array<Cell, { SLOTS as usize }, MMAPABLE> = Array::new();

/// The slot of each kind, 0 before it occurs: a copy of `SLOT_OWNERS` that is found without a hash. User space marks the
/// kinds that the filter leaves out.
#[btf_map]
pub(crate) static SLOT_OF_KIND: Array<u32, { KINDS as usize }, MMAPABLE> = Array::new();

/// Slots not handed out yet; user space puts all but the overflow slot in. When it runs empty,
/// further kinds share the overflow slot and are counted in `SlotsFull`.
#[btf_map]
pub(crate) static FREE_SLOTS: Queue<u32, { SLOTS as usize }> = Queue::new();

/// 1 once `FREE_SLOTS` was found empty. A slot that comes back later, because two CPUs met a new kind at the same time, is
/// not handed out again.
#[btf_map]
pub(crate) static NO_SLOT_LEFT: Array<u32, 1> = Array::new();

/// Which kind owns which slot. Key: kind. The insert that must not overwrite decides between CPUs
/// that meet a new kind at the same time. At most one entry a slot, so it cannot fill up.
#[btf_map]
pub(crate) static SLOT_OWNERS: HashMap<u32, u32, { SLOTS as usize }> = HashMap::new();

/// A mask that covers the numbers of all possible CPUs: a power of two, minus 1.
#[unsafe(no_mangle)]
static CPU_MASK: Global<u32> = distinct_word(0x0c0f_fee0);

/// The state of each CPU. Written by the programs on that CPU; settings by user space, also while the programs run.
///
/// All CPUs are in the only value of this map. So the value's address is a constant of the programs, and they find their CPU
/// by arithmetic; a look-up takes twice as many instructions. The object has room for one CPU. Before the programs are
/// loaded, user space replaces the map by one with room for all CPUs.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.cpus")]
static CPUS: States =
    States(UnsafeCell::new(CpuState::fresh(Settings { detail: 0, one_in: 0 }, 0)));

/// Memory that programs on all CPUs write.
#[repr(transparent)]
struct States(UnsafeCell<CpuState>);

// SAFETY: each CPU's state is written by programs on that CPU alone, or a word at a time.
unsafe impl Sync for States {}

/// The state of the CPU `number`.
#[inline(always)]
pub(crate) fn cpu_state(number: u32) -> *mut CpuState {
    let mut all = CPUS.0.get();
    // SAFETY: no instruction. It hides from the compiler that the object has room for one CPU only.
    unsafe { asm!("/* {0} */", inout(reg) all, options(nomem, nostack, preserves_flags)) };
    // The kernel names possible CPUs only, but the verifier wants a bound.
    let number = number & CPU_MASK.load();
    // SAFETY: the map has room for every number under the mask.
    unsafe { all.add(number as usize) }
}
