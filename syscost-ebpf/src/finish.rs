//! The end of a call: every finished call passes through here, and goes from here to the sinks.
//!
//! A sink is a module that keeps something of finished calls. Only this module names them. The cells are always on. Each
//! other sink is on or off by a constant, so that the verifier removes the code of a sink that is off. To add one, write
//! its module, with `is_on` and `add`, and add its name to the list below. A sink gets the thread, what is known of the
//! finished call, and the call itself, of which it can read kind and arguments.

use syscost_common::ledger::Counter;

use crate::{
    call::Call, cells, filter, finished::Finished, storage::Storage, this_cpu::ThisCpu, totals,
    update::Update,
};

macro_rules! sinks {
    ($($sink:ident),*) => {
        /// Whether a finished call goes to the cells and nowhere else, whatever its result. Constant to the verifier.
        #[inline(always)]
        pub(crate) fn goes_to_cells_only() -> bool {
            !filter::depends_on_result() $(&& !$sink::is_on())*
        }

        /// Adds a call to each sink that is on, except the cells. `false`: one of them has no room.
        #[inline(always)]
        fn add_to_sinks<T: Storage>(thread: &T, finished: &Finished, call: &impl Call) -> bool {
            $((!$sink::is_on() || $sink::add(thread, finished, call)))&&*
        }
    };
}

sinks!(totals);

/// The running thread has finished `call`. `cell`: finds the cell of its kind; it is asked only for calls that are recorded.
#[inline(always)]
pub(crate) fn call<U: Update, T: Storage, C: Call>(
    cpu: ThisCpu,
    thread: &T,
    finished: Finished,
    call: &C,
    cell: impl FnOnce(u32) -> u32,
) {
    if !filter::wants(finished.errno) {
        return cpu.count_by(Counter::Filtered, finished.weight);
    }
    if !add_to_sinks(thread, &finished, call) {
        // As if it had never been entered: no sink has it, and it is counted as lost.
        cpu.uncount(Counter::Enters, finished.weight);
        return cpu.count_by(Counter::OpenCallsFull, finished.weight);
    }
    add_to_cell::<U>(cpu, cell(call.kind()), &finished);
}

/// The same, where [`goes_to_cells_only`] is known to hold. `cell`: the number of its cell.
#[inline(always)]
pub(crate) fn call_to_cells_only<U: Update>(
    cpu: ThisCpu,
    finished: Finished,
    cell: impl FnOnce() -> u32,
) {
    add_to_cell::<U>(cpu, cell(), &finished);
}

#[inline(always)]
fn add_to_cell<U: Update>(cpu: ThisCpu, cell: u32, finished: &Finished) {
    if let Some(cell) = cells::at(cell) {
        cells::add::<U>(cpu, cell, finished);
    }
}
