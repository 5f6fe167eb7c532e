//! The programs for kernels with BTF and task storage: attributes only, one line each into a module.
#![no_std]
#![no_main]
// Only the BPF target's assembly is unstable; `atomic` needs it.
#![feature(asm_experimental_arch)]

mod atomic;
mod btf_thread;
mod cache;
mod cached_call;
mod call;
mod cells;
mod clock;
mod constant;
mod cpu_time;
mod diagnostics;
mod event;
mod exchange;
mod filter;
mod finish;
mod finished;
mod groups;
mod in_flight;
mod interrupted;
mod iterator;
mod kind;
mod maps;
mod namespace;
mod off_cpu;
mod perf;
mod result;
mod sched;
mod scope;
mod scope_of;
mod slices;
mod slots;
mod storage;
mod syscall;
mod task;
mod task_storage;
mod this_cpu;
mod thread;
mod totals;
mod update;

use atomic::ByExchange;
use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use btf_thread::BtfThread;
use event::Given;
use off_cpu::SwitchOut;
use perf::LookedUp;
use thread::Thread;

#[btf_tracepoint(function = "sys_enter")]
fn sys_enter(ctx: BtfTracePointContext) {
    syscall::on_enter::<BtfThread, ByExchange, _>(&ctx, Given::new(&ctx));
}

#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) {
    syscall::on_exit::<BtfThread, ByExchange, _>(&ctx, Given::new(&ctx));
}

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) {
    let preempt: u64 = ctx.arg(0);
    // Where the kernel does not hand the state over, the verifier removes the branch that reads it.
    let state = if sched::is_told_the_state() { Some(ctx.arg(3)) } else { None };
    let out = SwitchOut { preempt: preempt != 0, state };
    sched::on_switch(out, &BtfThread(ctx.arg(1)), &BtfThread(ctx.arg(2)));
}

#[btf_tracepoint(function = "sched_wakeup")]
fn sched_wakeup(ctx: BtfTracePointContext) {
    sched::on_wakeup(&BtfThread(ctx.arg(0)));
}

#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork(ctx: BtfTracePointContext) {
    syscall::on_fork(&BtfThread(ctx.arg(1)));
}

/// Attached only where threads are measured: everything else about a thread stays when exec changes its tid.
#[btf_tracepoint(function = "sched_process_exec")]
fn process_exec(ctx: BtfTracePointContext) {
    scope::on_exec(&BtfThread::current(), ctx.arg(1));
    cpu_time::on_exec();
}

#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit(_ctx: BtfTracePointContext) {
    syscall::on_thread_exit::<BtfThread, ByExchange>();
    groups::on_thread_exit();
}

/// Interrupts are off cpu, under the lock of the thread's signals: nothing preempts it.
#[btf_tracepoint(function = "signal_deliver")]
fn signal_deliver(ctx: BtfTracePointContext) {
    let action: *const u64 = ctx.arg(2);
    // SAFETY: a BTF pointer to a `struct k_sigaction`, which begins with `sa.sa_handler`.
    interrupted::on_signal::<BtfThread>(unsafe { action.read_volatile() });
}

// The same at perf's tracepoints, which run programs with preemption off on every kernel.

#[tracepoint]
fn sys_enter_perf(ctx: TracePointContext) -> u32 {
    syscall::on_enter::<BtfThread, ByExchange, _>(
        &ctx,
        LookedUp(perf::field(&ctx, perf::SYS_ENTER_ID)),
    );
    0
}

#[tracepoint]
fn sys_exit_perf(ctx: TracePointContext) -> u32 {
    let ret = perf::field(&ctx, perf::SYS_EXIT_RET);
    syscall::on_exit::<BtfThread, ByExchange, _>(&ctx, LookedUp(ret));
    0
}

/// Perf's tracepoint at forks does not hand over the child. This one does, a moment later, and runs with
/// interrupts off.
#[btf_tracepoint(function = "sched_wakeup_new")]
fn wakeup_new(ctx: BtfTracePointContext) {
    syscall::on_fork(&BtfThread(ctx.arg(0)));
}

#[tracepoint]
fn exec_perf(ctx: TracePointContext) -> u32 {
    scope::on_exec(&BtfThread::current(), perf::field32(&ctx, perf::EXEC_OLD_TID));
    cpu_time::on_exec();
    0
}

#[tracepoint]
fn exit_perf(_ctx: TracePointContext) -> u32 {
    syscall::on_thread_exit::<BtfThread, ByExchange>();
    groups::on_thread_exit();
    0
}

/// Runs once for each task on the host whenever user space reads the iterator.
// aya-ebpf has no attribute for iterators; this is what one would expand to.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn open_calls(ctx: *mut iterator::Context) -> i32 {
    in_flight::on_task(ctx);
    0
}

/// The same, for totals by thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn thread_totals(ctx: *mut iterator::Context) -> i32 {
    groups::on_task(ctx);
    0
}

/// The same as `open_calls`, for the ids that tasks have in PID namespaces.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn task_ids(ctx: *mut iterator::Context) -> i32 {
    namespace::on_task(ctx);
    0
}

/// The same, for the tasks that run when the probes are attached.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn running_tasks(ctx: *mut iterator::Context) -> i32 {
    cpu_time::on_task(ctx);
    0
}

/// Some helpers are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
