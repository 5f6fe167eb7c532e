//! Every map and global: its bound, key, writer, and what happens when it is full.

use core::ptr::null;

use aya_ebpf::{
    Global,
    bindings::bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, Queue},
    macros::btf_map,
};
use syscost_common::{
    cell::{Cell, SLOTS},
    config::Offsets,
    kind::KINDS,
    ledger::Ledger,
    open_call::OpenCall,
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// The process to measure, by its tgid in the root PID namespace.
#[unsafe(no_mangle)]
pub(crate) static TARGET_TGID: Global<u32> = Global::new(0);

/// Where the kernel keeps what the programs read of a task.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Global<Offsets> = Global::new(Offsets { task_tgid: 0, task_status: 0 });

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

/// The open call of each thread, for kernels without task storage. Key: tid. Written by the thread
/// itself; made at its first call, removed when it dies. Full: counted in `OpenCallsFull`.
#[btf_map]
pub(crate) static OPEN_BY_TID: HashMap<u32, OpenCall, 16384> = HashMap::new();

/// The open call of each thread, in the task itself: freed with it, so that a reused tid inherits
/// nothing. Written by the thread itself. No memory: counted in `OpenCallsFull`.
#[btf_map]
pub(crate) static OPEN_BY_TASK: TaskStorage<OpenCall> = TaskStorage::new();

/// A BTF map definition of task storage, which aya-ebpf does not have.
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the pointers only carry types for the loader; nothing ever follows them.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }

    #[inline(always)]
    pub(crate) const fn as_ptr(&self) -> *mut core::ffi::c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}
