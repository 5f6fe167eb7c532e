//! A sink: each thread's own totals of its calls, while calls are added up by group (`--by`).
//!
//! They are kept for the living thread alone, where no other thread writes. When it dies, `groups` moves them.

use syscost_common::{
    cell::PartOf,
    group::{NONE, OwnTotals},
};

use crate::{
    call::Call,
    finished::Finished,
    maps::GROUP_BY,
    storage::Storage,
    update::{Plain, Update},
};

/// Whether totals are kept. Constant to the verifier.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    GROUP_BY.load() != NONE
}

/// Adds a call of the running thread to its totals, whichever call it is. `false`: there is no room for them.
#[inline(always)]
pub(crate) fn add<T: Storage>(thread: &T, finished: &Finished, _call: &impl Call) -> bool {
    let Some(own) = thread.totals_or_new() else { return false };
    add_to(own, finished);
    true
}

/// The order of the writes lets a reader on another CPU, an iterator in `groups`, see whether it has all of the call.
#[inline(always)]
fn add_to(own: &mut OwnTotals, finished: &Finished) {
    let Finished { latency_ns, seen, off, weight, errno } = *finished;
    let weight = u64::from(weight);
    let totals = &raw mut own.totals;
    // SAFETY: the pointers are to fields of a live map value, which only this thread writes to.
    unsafe {
        Plain::add64(&raw mut (*totals).calls, weight);
        Plain::add64(&raw mut (*totals).errors, u64::from(errno != 0) * weight);
        Plain::add64(&raw mut (*totals).total_ns, latency_ns * weight);
        if seen {
            let off = off.within(latency_ns);
            let on_cpu_ns = latency_ns - off.runq_ns - off.blocked_ns;
            let parts = (&raw mut (*totals).parts_ns).cast::<u64>();
            Plain::add64(&raw mut (*totals).parted, 1);
            Plain::add64(parts.add(PartOf::OnCpu as usize), on_cpu_ns);
            Plain::add64(parts.add(PartOf::Runq as usize), off.runq_ns);
            Plain::add64(parts.add(PartOf::Blocked as usize), off.blocked_ns);
        }
        Plain::add64(&raw mut own.complete, weight);
    }
}
