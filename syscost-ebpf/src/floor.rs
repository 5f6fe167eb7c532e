//! The programs that `cargo xtask bench` compares syscost with: nothing at all, and the least that
//! a latency tracer must do. They are of the type that syscost's own are, so that only what they do
//! differs.
#![no_std]
#![no_main]

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};

/// The process whose calls `floor_*` times.
#[unsafe(no_mangle)]
static TARGET_TGID: Global<u32> = Global::new(0);

#[btf_tracepoint(function = "sys_enter")]
fn empty_enter(_ctx: BtfTracePointContext) {}

#[btf_tracepoint(function = "sys_exit")]
fn empty_exit(_ctx: BtfTracePointContext) {}

#[btf_tracepoint(function = "sched_switch")]
fn empty_switch(_ctx: BtfTracePointContext) {}

#[btf_tracepoint(function = "sched_wakeup")]
fn empty_wakeup(_ctx: BtfTracePointContext) {}

#[btf_tracepoint(function = "sys_enter")]
fn floor_enter(_ctx: BtfTracePointContext) {
    read_clock();
}

#[btf_tracepoint(function = "sys_exit")]
fn floor_exit(_ctx: BtfTracePointContext) {
    read_clock();
}

/// A PID check and one clock read; nothing is stored.
#[inline(always)]
fn read_clock() {
    if (bpf_get_current_pid_tgid() >> 32) as u32 == TARGET_TGID.load() {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_ns() };
    }
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
