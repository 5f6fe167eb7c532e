//! Slots: which column of cells each kind of call has. A kind gets a slot when it first occurs.

use aya_ebpf::bindings::BPF_NOEXIST;
use syscost_common::{
    cell::{self, OVERFLOW_SLOT},
    kind::KINDS,
    ledger::Counter,
};

use crate::{
    maps::{FREE_SLOTS, NO_SLOT_LEFT, SLOT_OF_KIND, SLOT_OWNERS},
    this_cpu::{self, ThisCpu},
};

/// The entry for `kind` in the table of slots: its slot, [`OVERFLOW_SLOT`] while it has none, or
/// [`LEFT_OUT`](syscost_common::filter::LEFT_OUT).
#[inline(always)]
pub(crate) fn entry(kind: u32) -> u32 {
    // There is an entry for every kind.
    // SAFETY: the pointer is to a live map value.
    SLOT_OF_KIND.get_ptr(kind % KINDS).map_or(OVERFLOW_SLOT, |slot| unsafe { slot.read_volatile() })
}

/// The cell for calls of `kind` on this CPU, see [`cell::index`].
#[inline(always)]
pub(crate) fn cell_of(cpu: ThisCpu, kind: u32, weight: u32) -> u32 {
    cell::index(this_cpu::number(), slot_of(cpu, kind, weight))
}

/// The slot of `kind`. If none is left, `weight` calls are counted in `SlotsFull`.
#[inline(always)]
pub(crate) fn slot_of(cpu: ThisCpu, kind: u32, weight: u32) -> u32 {
    let Some(cached) = SLOT_OF_KIND.get_ptr_mut(kind % KINDS) else { return OVERFLOW_SLOT };
    // SAFETY: the pointer is to a live map value; the only slot ever stored there is the kind's own.
    let slot = unsafe { cached.read_volatile() };
    if slot != OVERFLOW_SLOT {
        return slot;
    }
    let slot = hand_out(kind);
    if slot == OVERFLOW_SLOT {
        cpu.count_by(Counter::SlotsFull, weight);
        return slot;
    }
    // SAFETY: as above.
    unsafe { cached.write_volatile(slot) };
    slot
}

/// Whether the queue of free slots may hold one. Asked first, because a pop takes the queue's lock.
#[inline(always)]
fn may_be_left() -> bool {
    // SAFETY: the pointer is to a live map value.
    NO_SLOT_LEFT.get_ptr(0).is_some_and(|none| unsafe { none.read_volatile() } == 0)
}

#[inline(never)]
fn hand_out(kind: u32) -> u32 {
    // SAFETY: entries are never removed, and written once.
    if let Some(slot) = unsafe { SLOT_OWNERS.get(&kind) } {
        return *slot;
    }
    if !may_be_left() {
        return OVERFLOW_SLOT;
    }
    let Ok(Some(slot)) = FREE_SLOTS.pop() else {
        if let Some(none) = NO_SLOT_LEFT.get_ptr_mut(0) {
            // SAFETY: the pointer is to a live map value; nothing but 1 is ever stored there.
            unsafe { none.write_volatile(1) };
        }
        return OVERFLOW_SLOT;
    };
    if SLOT_OWNERS.insert(&kind, &slot, BPF_NOEXIST.into()).is_ok() {
        return slot;
    }
    // Another CPU was faster. Its slot is the kind's; the one taken here goes back.
    let _ = FREE_SLOTS.push(&slot, 0);
    // SAFETY: as above.
    unsafe { SLOT_OWNERS.get(&kind) }.map_or(OVERFLOW_SLOT, |slot| *slot)
}
