//! The kernel side: program attributes only, one line each into a module.
//!
//! Two families do the same job. The `btf` programs hook BTF tracepoints and keep the open call in
//! task storage; the `raw` ones serve kernels without BTF and keep it in a hash by tid. User space
//! loads one family.
#![no_std]
#![no_main]
// Only the BPF target's assembly is unstable; `atomic` needs it.
#![feature(asm_experimental_arch)]

mod atomic;
mod lifecycle;
mod maps;
mod record;
mod scope;
mod syscall;
mod task;
mod threads;

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use threads::{ByTask, ByTid};

#[btf_tracepoint(function = "sys_enter")]
fn sys_enter_btf(ctx: BtfTracePointContext) {
    syscall::on_enter::<ByTask>(ctx.arg(1));
}

#[btf_tracepoint(function = "sys_exit")]
fn sys_exit_btf(ctx: BtfTracePointContext) {
    syscall::on_exit::<ByTask>(ctx.arg(1));
}

#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork_btf(ctx: BtfTracePointContext) {
    lifecycle::on_fork(ctx.arg(1));
}

#[btf_tracepoint(function = "sched_process_exit")]
fn process_exit_btf(_ctx: BtfTracePointContext) {
    lifecycle::on_thread_exit::<ByTask>();
}

#[raw_tracepoint(tracepoint = "sys_enter")]
fn sys_enter_raw(ctx: RawTracePointContext) {
    syscall::on_enter::<ByTid>(ctx.arg(1));
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit_raw(ctx: RawTracePointContext) {
    syscall::on_exit::<ByTid>(ctx.arg(1));
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec_raw(ctx: RawTracePointContext) {
    lifecycle::on_exec(ctx.arg(1));
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn process_exit_raw(_ctx: RawTracePointContext) {
    lifecycle::on_thread_exit::<ByTid>();
}

/// Some helpers are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
