//! The programs for kernels without BTF or task storage: attributes only, one line each into a module. There are two for
//! `sys_exit`. User space tries whether the kernel has a compare-exchange, and loads the one that suits; a program that is
//! not loaded is never verified.
#![no_std]
#![no_main]
// Only the BPF target's assembly is unstable; `atomic` needs it.
#![feature(asm_experimental_arch)]

mod atomic;
mod by_store;
mod cached_call;
mod call;
mod cells;
mod clock;
mod constant;
mod diagnostics;
mod event;
mod filter;
mod finish;
mod finished;
mod interrupted;
mod kind;
mod maps;
mod raw_thread;
mod result;
mod scope;
mod scope_of;
mod slots;
mod storage;
mod syscall;
mod this_cpu;
mod thread;
mod tid_hash;
mod totals;
mod update;

use atomic::ByExchange;
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use by_store::ByStore;
use event::Given;
use raw_thread::RawThread;

#[raw_tracepoint(tracepoint = "sys_enter")]
fn sys_enter(ctx: RawTracePointContext) {
    syscall::on_enter::<RawThread, ByStore, _>(&ctx, Given::new(&ctx));
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit(ctx: RawTracePointContext) {
    syscall::on_exit::<RawThread, ByStore, _>(&ctx, Given::new(&ctx));
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit_cmpxchg(ctx: RawTracePointContext) {
    syscall::on_exit::<RawThread, ByExchange, _>(&ctx, Given::new(&ctx));
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn process_fork(ctx: RawTracePointContext) {
    syscall::on_fork(&RawThread::of(ctx.arg(1)));
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(ctx: RawTracePointContext) {
    tid_hash::on_exec(ctx.arg(1));
}

#[raw_tracepoint(tracepoint = "signal_deliver")]
fn signal_deliver(ctx: RawTracePointContext) {
    interrupted::on_signal::<RawThread>(raw_thread::handler_of(ctx.arg(2)));
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn process_exit(_ctx: RawTracePointContext) {
    syscall::on_thread_exit::<RawThread, ByStore>();
}

/// Some helpers are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
