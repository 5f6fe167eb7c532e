//! Where a thread's open call is kept: in the task itself, or in a hash by tid.

use core::ptr::null_mut;

use aya_ebpf::{
    bindings::{BPF_LOCAL_STORAGE_GET_F_CREATE, BPF_NOEXIST, task_struct},
    helpers::{bpf_get_current_pid_tgid, generated::bpf_task_storage_get},
};
use syscost_common::{
    ledger::Counter,
    open_call::{ORIGIN_UNKNOWN, OpenCall},
};

use crate::{
    maps::{OPEN_BY_TASK, OPEN_BY_TID},
    scope, task,
};

/// A way to identify the running thread and to keep its open call.
pub(crate) trait Threads {
    /// What an exit means of a thread about which nothing is kept.
    const EXIT_OF_UNKNOWN: Counter;

    /// The running thread, if it is in scope.
    fn current() -> Option<Self>
    where
        Self: Sized;

    /// The kind of the call `nr` that the thread has just entered.
    fn kind_of(&self, nr: u64) -> u32;

    /// The thread's open call, if anything is kept of the thread.
    fn open_call(&self) -> Option<&mut OpenCall>;

    /// The same, made when missing; `None` when there is no room.
    fn open_call_or_new(&self) -> Option<&mut OpenCall>;

    /// Forgets the thread.
    fn forget(&self);
}

/// Task storage, reached by a BTF pointer.
pub(crate) struct ByTask(pub(crate) *mut task_struct);

impl ByTask {
    #[inline(always)]
    fn get(&self, flags: u32) -> Option<&mut OpenCall> {
        // SAFETY: the map and the task are live; the value belongs to this task alone, whose
        // programs do not interrupt each other.
        unsafe {
            bpf_task_storage_get(OPEN_BY_TASK.as_ptr(), self.0.cast(), null_mut(), flags.into())
                .cast::<OpenCall>()
                .as_mut()
        }
    }
}

impl Threads for ByTask {
    // The fork hook, attached first, makes storage for every thread born from then on.
    const EXIT_OF_UNKNOWN: Counter = Counter::OpenAtAttach;

    #[inline(always)]
    fn current() -> Option<Self> {
        let task = task::current();
        scope::covers(task).then_some(Self(task))
    }

    #[inline(always)]
    fn kind_of(&self, nr: u64) -> u32 {
        task::kind_of(self.0, nr)
    }

    #[inline(always)]
    fn open_call(&self) -> Option<&mut OpenCall> {
        self.get(0)
    }

    #[inline(always)]
    fn open_call_or_new(&self) -> Option<&mut OpenCall> {
        self.get(BPF_LOCAL_STORAGE_GET_F_CREATE)
    }

    #[inline(always)]
    fn forget(&self) {
        // The storage is freed with the task.
    }
}

/// A hash by tid, for kernels without BTF or task storage.
pub(crate) struct ByTid(pub(crate) u32);

impl Threads for ByTid {
    // User space enters the threads it finds while attaching; an unknown one is younger.
    const EXIT_OF_UNKNOWN: Counter = Counter::NewbornExits;

    #[inline(always)]
    fn current() -> Option<Self> {
        scope::covers_current().then(|| Self(bpf_get_current_pid_tgid() as u32))
    }

    #[inline(always)]
    fn kind_of(&self, nr: u64) -> u32 {
        task::kind_without_task(nr as u32)
    }

    #[inline(always)]
    fn open_call(&self) -> Option<&mut OpenCall> {
        // SAFETY: the entry belongs to this thread alone and lives until it dies.
        OPEN_BY_TID.get_ptr_mut(&self.0).map(|call| unsafe { &mut *call })
    }

    #[inline(always)]
    fn open_call_or_new(&self) -> Option<&mut OpenCall> {
        if let Some(call) = self.open_call() {
            return Some(call);
        }
        let fresh = OpenCall { entered_at: 0, kind: 0, origin: ORIGIN_UNKNOWN };
        OPEN_BY_TID.insert(&self.0, &fresh, BPF_NOEXIST.into()).ok()?;
        self.open_call()
    }

    #[inline(always)]
    fn forget(&self) {
        // Nothing is kept of a thread that made no call while attached.
        let _ = OPEN_BY_TID.remove(&self.0);
    }
}
