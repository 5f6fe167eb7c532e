//! The ids that tasks have in PID namespaces: an iterator, for a tracer that does not run in the root namespace.

use core::mem::size_of;

use syscost_common::scope::TaskIds;

use crate::{
    iterator::{Context, write},
    task,
};

/// Writes a task's ids.
#[inline(always)]
pub(crate) fn on_task(ctx: *mut Context) {
    // SAFETY: the kernel hands over a context of this layout, which the verifier knows.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return;
    }
    let reader_level = task::level_of(task::current());
    let record =
        TaskIds { tid: task::tid(task), shown_tid: task::id_at(task, reader_level), reader_level };
    // SAFETY: plain integers without padding.
    unsafe { write(meta, (&raw const record).cast(), size_of::<TaskIds>()) };
}
