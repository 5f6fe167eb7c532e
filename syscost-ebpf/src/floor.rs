//! The programs that `cargo xtask bench` compares syscost with: nothing at all, and the least that
//! a latency tracer must do.
#![no_std]
#![no_main]

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};

/// The process whose calls `floor_*` times.
#[unsafe(no_mangle)]
static TARGET_TGID: Global<u32> = Global::new(0);

#[raw_tracepoint(tracepoint = "sys_enter")]
fn empty_enter(_ctx: RawTracePointContext) {}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn empty_exit(_ctx: RawTracePointContext) {}

#[raw_tracepoint(tracepoint = "sys_enter")]
fn floor_enter(_ctx: RawTracePointContext) {
    read_clock();
}

#[raw_tracepoint(tracepoint = "sys_exit")]
fn floor_exit(_ctx: RawTracePointContext) {
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
